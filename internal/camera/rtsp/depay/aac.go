package depay

import (
	"strconv"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// maxFrame bounds an AAC frame: 6144 bits for each of 8 channels and the
// 13-bit length of RFC 3640 are both below.
const maxFrame = 8192

// asc is what matters of an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
// Object types that other parsers refuse (ER AAC LD, ELD) are fine here.
type asc struct {
	object   int // audio object type
	rate     int // of the core
	output   int // rate after spectral band replication, where the text says so
	channels int // 0: in the stream
	samples  int // of a frame, at the core's rate
}

var aacRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

func parseASC(b []byte) (c asc, ok bool) {
	// No emulation prevention here, so bitReader does not fit: it would drop a
	// 3 behind two zeros.
	pos := 0
	u := func(n int) int {
		v := 0
		for range n {
			v <<= 1
			if pos/8 < len(b) {
				v |= int(b[pos/8]>>(7-pos%8)) & 1
			}
			pos++
		}
		return v
	}
	object := func() int {
		if t := u(5); t != 31 {
			return t
		}
		return 32 + u(6)
	}
	rate := func() int {
		if i := u(4); i < len(aacRates) {
			return aacRates[i]
		} else if i == 15 {
			return u(24)
		}
		return 0
	}
	c.object = object()
	c.rate = rate()
	c.output = c.rate
	c.channels = u(4)
	core := c.object
	if c.object == 5 || c.object == 29 {
		c.output = rate()
		core = object()
		if c.object == 29 && c.channels == 1 {
			c.channels = 2 // parametric stereo
		}
	}
	c.samples = 1024
	short := u(1) == 1
	switch core {
	case 1, 2, 3, 4, 6, 7, 17, 19, 20, 22:
		if short {
			c.samples = 960
		}
	case 23:
		if c.samples = 512; short {
			c.samples = 480
		}
	case 39:
		if c.samples = 512; short {
			c.samples = 480
		}
	default:
		return c, false
	}
	if c.channels == 7 {
		c.channels = 8
	} else if c.channels > 7 {
		return c, false
	}
	return c, pos <= len(b)*8+1 && c.rate > 0 && c.rate <= 192000 && c.output > 0 && c.output <= 192000
}

// aacTrack describes a track by its AudioSpecificConfig.
func aacTrack(config []byte, channels int) (*media.Track, asc, bool) {
	c, ok := parseASC(config)
	if !ok {
		return nil, c, false
	}
	if c.channels == 0 {
		c.channels = max(channels, 1)
	}
	return &media.Track{Codec: media.AAC, Codecs: "mp4a.40." + strconv.Itoa(c.object), Config: config, SampleRate: c.output, Channels: c.channels}, c, true
}

// aac takes RFC 3640 apart, modes AAC-hbr and AAC-lbr, without interleaving.
type aac struct {
	sounder
	how   sdp.AAC
	step  int64 // of the time stamp from frame to frame
	frame []byte
	want  int   // bytes of the frame that is being received; 0 unknown: until the marker
	open  bool  // a frame is being received
	at    int64 // its time stamp
	time  uint32
	since int64 // its arrival
}

func newAAC(m sdp.Media) (*aac, error) {
	t, c, ok := aacTrack(m.AAC.Config, m.Channels)
	if !ok {
		return nil, &Error{Code: "audio-config"}
	}
	return &aac{
		sounder: sounder{rate: m.ClockRate, track: t},
		how:     m.AAC,
		step:    int64(c.samples) * int64(m.ClockRate) / int64(c.rate),
	}, nil
}

var (
	errAACHeader      = &Error{Code: "aac-header"}
	errAACInterleaved = &Error{Code: "aac-interleaved"}
	errAACFragment    = &Error{Code: "aac-fragment"}
)

// Push takes a packet.
func (s *aac) Push(p Packet) ([]Unit, error) {
	s.begin(&p)
	if p.Lost > 0 {
		s.giveUp()
	}
	err := s.push(&p)
	if err != nil {
		s.giveUp()
		if s.started {
			s.lost++
		}
	}
	return s.units, err
}

// giveUp forgets the frame that is being received.
func (s *aac) giveUp() { s.open, s.frame = false, s.frame[:0] }

func (s *aac) push(p *Packet) error {
	pts := s.clock.extend(p.Time)
	b := p.Payload
	if s.open && (p.Time != s.time || len(b) == 0) { // no marker, no more of it: it was whole
		s.endFrame()
	}
	if len(b) == 0 {
		return nil
	}
	if s.how.SizeLength == 0 {
		return s.constant(pts, p)
	}
	if len(b) < 2 {
		return errShort
	}
	size := int(b[0])<<8 | int(b[1]) // AU-headers-length, bits
	headers := b[2:]
	if size == 0 || (size+7)/8 > len(headers) {
		return errAACHeader
	}
	b = headers[(size+7)/8:]
	for i, pos := 0, 0; pos+s.how.SizeLength <= size; i++ {
		n := fixed(headers, &pos, s.how.SizeLength)
		index := s.how.IndexDeltaLength
		if i == 0 {
			index = s.how.IndexLength
		}
		if pos+index <= size && fixed(headers, &pos, index) != 0 && i > 0 {
			return errAACInterleaved
		}
		if n == 0 {
			continue
		}
		if n > maxFrame {
			return errTooBig
		}
		only := i == 0 && pos+s.how.SizeLength > size
		if s.open || only && (n > len(b) || !p.Marker) {
			return s.fragment(pts, n, b, only, p)
		}
		if n > len(b) {
			return errAACHeader
		}
		s.give(b[:n], pts, p.Arrived)
		b = b[n:]
		pts += s.step
	}
	return nil
}

// fixed reads n bits of AU headers, at most 32.
func fixed(b []byte, pos *int, n int) int {
	v := 0
	for range n {
		v = v<<1 | int(b[*pos/8]>>(7-*pos%8))&1
		*pos++
	}
	return v
}

// fragment takes a part of a frame. Its header says the size of the whole frame
// (RFC 3640, 3.2.3.1), or that of the part (gortsplib's encoder); the frame
// ends when it is whole, with the marker, or with the next time stamp.
func (s *aac) fragment(pts int64, n int, b []byte, only bool, p *Packet) error {
	if !only {
		return errAACFragment
	}
	if !s.open {
		s.open, s.at, s.time, s.since, s.frame, s.want = true, pts, p.Time, p.Arrived, s.frame[:0], 0
		if n > len(b) {
			s.want = n
		}
	}
	if s.want == 0 {
		b = b[:min(n, len(b))]
	}
	if len(s.frame)+len(b) > maxFrame || s.want > 0 && len(s.frame)+len(b) > s.want {
		return errAACFragment
	}
	s.frame = append(s.frame, b...)
	switch {
	case s.want > 0 && len(s.frame) == s.want, s.want == 0 && p.Marker:
		s.endFrame()
	case p.Marker: // it should be whole now
		return errAACFragment
	}
	return nil
}

func (s *aac) endFrame() {
	if s.want == 0 || len(s.frame) == s.want {
		s.give(s.frame, s.at, s.since)
	} else if s.started {
		s.lost++
	}
	s.giveUp()
}

// constant takes frames of one size without headers (RFC 3640, 3.2.1).
func (s *aac) constant(pts int64, p *Packet) error {
	n := s.how.ConstantSize
	if n == 0 || len(p.Payload)%n != 0 {
		return errAACHeader
	}
	for b := p.Payload; len(b) > 0; b = b[n:] {
		s.give(b[:n], pts, p.Arrived)
		pts += s.step
	}
	return nil
}

// give hands a frame out, without the ADTS header that some cameras leave on.
// No frame begins like one: its first element would be the end.
func (s *aac) give(b []byte, pts, arrived int64) {
	if len(b) > 7 && b[0] == 0xff && b[1]&0xf6 == 0xf0 && int(b[3]&3)<<11|int(b[4])<<3|int(b[5])>>5 == len(b) {
		if b[1]&1 == 0 { // with a checksum
			b = b[min(9, len(b)-1):]
		} else {
			b = b[7:]
		}
	}
	from := len(s.buf)
	s.buf = append(s.buf, b...)
	s.emit(from, pts, arrived)
}

// Flush returns a frame whose end was not marked.
func (s *aac) Flush() []Unit {
	s.begin(&Packet{})
	if s.open && s.want == 0 {
		s.endFrame()
	}
	s.giveUp()
	return s.units
}

// Restart is for a new RTP timeline.
func (s *aac) Restart() {
	s.sounder.Restart()
	s.giveUp()
}
