package depay

import (
	"bytes"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// mjpeg takes RFC 2435 apart, and what cameras add to it:
//
//   - restart intervals (types 64 to 127), tables of any multiple of 64 bytes
//     (v4l2rtspserver#361: 192), 16-bit tables, tables sent once per Q
//   - pictures wider or higher than 2040, whose size does not fit: taken from
//     the headers that ONVIF sends in the RTP header extension, from the
//     picture's own headers, or from the description
//   - a whole JPEG file in the packets instead of its scan
//
// Every picture is one unit; there is nothing to wait for after a loss.
type mjpeg struct {
	clock   clock
	buf     []byte
	units   []Unit
	open    bool
	next    int // offset of the next fragment
	time    uint32
	pts     int64
	since   int64
	width   int // of the open picture
	height  int
	lost    uint32
	started bool
	track   *media.Track
	said    [2]int // size by the description
	tables  map[uint8][]byte
}

var (
	errJPEGFragment = &Error{Code: "jpeg-fragment"}
	errJPEGTables   = &Error{Code: "jpeg-tables"}
	errJPEGSize     = &Error{Code: "jpeg-size"}
)

func newMJPEG(m sdp.Media) *mjpeg {
	return &mjpeg{said: [2]int{m.Width, m.Height}, tables: map[uint8][]byte{}}
}

// Push takes a packet.
func (s *mjpeg) Push(p Packet) ([]Unit, error) {
	s.begin()
	if p.Lost > 0 {
		s.drop()
	}
	err := s.push(&p)
	if err != nil {
		s.drop()
	}
	return s.units, err
}

func (s *mjpeg) begin() {
	s.units = s.units[:0]
	if !s.open {
		s.buf = s.buf[:0]
	}
}

// drop gives the open picture up.
func (s *mjpeg) drop() {
	if s.started {
		s.lost++
	}
	s.open = false
}

func (s *mjpeg) push(p *Packet) error {
	b := p.Payload
	if len(b) < 8 {
		return errShort
	}
	offset := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	kind, q := b[4], b[5]
	width, height := int(b[6])*8, int(b[7])*8
	b = b[8:]
	interval := 0
	if kind >= 64 && kind < 128 {
		if len(b) < 4 {
			return errShort
		}
		interval = int(b[0])<<8 | int(b[1])
		b = b[4:]
	}
	if offset == 0 {
		if s.open { // no marker
			_ = s.end()
		}
		var tables []byte
		precision := byte(0)
		if q >= 128 {
			var err error
			if tables, precision, b, err = s.quantization(q, b); err != nil {
				return err
			}
		} else if q >= 1 && q <= 99 {
			if tables = s.tables[q]; tables == nil {
				tables = scaled(nil, int(q))
				s.tables[q] = tables
			}
		}
		s.open, s.next, s.time, s.since = true, 0, p.Time, p.Arrived
		s.pts = s.clock.extend(p.Time)
		s.buf = s.buf[:s.handed()]
		if bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}) {
			s.width, s.height = 0, 0 // a whole file: its own headers say
		} else if err := s.headers(p.Extension, kind, width, height, interval, tables, precision); err != nil {
			return err
		}
	}
	if !s.open {
		if s.started {
			return errJPEGFragment
		}
		return nil // the connection began in the middle of a picture
	}
	if offset != s.next {
		return errJPEGFragment
	}
	if len(s.buf)+len(b) > media.MaxUnit {
		return errTooBig
	}
	s.next += len(b)
	s.buf = append(s.buf, b...)
	if p.Marker {
		return s.end()
	}
	return nil
}

// handed is how much of buf was handed out in this call.
func (s *mjpeg) handed() int {
	n := 0
	for _, u := range s.units {
		n += len(u.Data)
	}
	return n
}

// quantization reads the table header (RFC 2435, 3.1.8). Without tables those
// sent before with the same Q count.
func (s *mjpeg) quantization(q uint8, b []byte) (tables []byte, precision byte, rest []byte, err error) {
	if len(b) < 4 {
		return nil, 0, nil, errShort
	}
	precision = b[1]
	n := int(b[2])<<8 | int(b[3])
	b = b[4:]
	if n == 0 {
		if known := s.tables[q]; len(known) > 1 {
			return known[1:], known[0], b, nil
		}
		return nil, 0, b, nil // an error only if nothing else has tables
	}
	if n > len(b) || n%64 != 0 || n > 1024 {
		return nil, 0, nil, errJPEGTables
	}
	tables, rest = b[:n], b[n:]
	if known := s.tables[q]; len(known) == 0 || known[0] != precision || !bytes.Equal(known[1:], tables) {
		s.tables[q] = append([]byte{precision}, tables...)
	}
	return tables, precision, rest, nil
}

// headers appends what RFC 2435 leaves out in front of the scan.
func (s *mjpeg) headers(extension []byte, kind uint8, width, height, interval int, tables []byte, precision byte) error {
	e := readSegments(extension)
	s.width, s.height = s.size(e, width, height)
	if s.width == 0 || s.height == 0 || s.width > media.MaxPictureSide || s.height > media.MaxPictureSide {
		return errJPEGSize
	}
	b := append(s.buf, 0xff, 0xd8)
	count := 0
	if e.dqt != nil {
		b = append(b, e.dqt...)
		count = 2
	} else {
		for count < 2 && len(tables) > 0 { // a third is for nothing: three components share two
			n, wide := 64, precision>>count&1
			if wide == 1 {
				n = 128
			}
			if len(tables) < n {
				break
			}
			b = append(b, 0xff, 0xdb, 0, byte(n+3), wide<<4|byte(count))
			b = append(b, tables[:n]...)
			tables = tables[n:]
			count++
		}
		if count == 0 {
			return errJPEGTables
		}
	}
	if e.dri != nil {
		b = append(b, e.dri...)
	} else if interval > 0 {
		b = append(b, 0xff, 0xdd, 0, 4, byte(interval>>8), byte(interval))
	}
	if e.sof != nil {
		b = append(b, e.sof...)
	} else {
		sampling := byte(0x21)
		if kind&1 == 1 {
			sampling = 0x22
		}
		chroma := byte(count - 1)
		b = append(b, 0xff, 0xc0, 0, 17, 8, byte(s.height>>8), byte(s.height), byte(s.width>>8), byte(s.width),
			3, 0, sampling, 0, 1, 0x11, chroma, 2, 0x11, chroma)
	}
	if e.dht != nil {
		b = append(b, e.dht...)
	} else {
		b = append(b, huffman...)
	}
	s.buf = startOfScan(b, e.sof)
	return nil
}

// startOfScan appends the SOS segment, with the component numbers of the frame
// header when that came from the camera.
func startOfScan(b, sof []byte) []byte {
	ids := [3]byte{0, 1, 2}
	if len(sof) >= 19 && sof[9] == 3 {
		ids = [3]byte{sof[10], sof[13], sof[16]}
	}
	return append(b, 0xff, 0xda, 0, 12, 3, ids[0], 0, ids[1], 0x11, ids[2], 0x11, 0, 63, 0)
}

// size finds the size of a picture: RFC 2435 has room for 2040, counted in
// eights; beyond, senders write 0 or the lower bits.
func (s *mjpeg) size(e segments, width, height int) (int, int) {
	if e.width > 0 && e.height > 0 {
		return e.width, e.height
	}
	fits := func(said, sent int) bool { return sent == 0 || (said+7)/8*8%2048 == sent || said/8*8%2048 == sent }
	if w, h := s.said[0], s.said[1]; w > 0 && h > 0 && fits(w, width) && fits(h, height) {
		if width == 0 || height == 0 || w > 2040 || h > 2040 {
			return w, h
		}
	}
	return width, height
}

// end hands the open picture out.
func (s *mjpeg) end() error {
	s.open = false
	from := s.handed()
	data := s.buf[from:]
	if s.width == 0 {
		e := readSegments(data)
		if s.width, s.height = e.width, e.height; s.width == 0 || s.height == 0 || s.width > media.MaxPictureSide || s.height > media.MaxPictureSide {
			return errJPEGSize
		}
	}
	if !bytes.HasSuffix(data, []byte{0xff, 0xd9}) {
		s.buf = append(s.buf, 0xff, 0xd9)
	}
	data = s.buf[from:len(s.buf):len(s.buf)]
	u := Unit{Data: data, PTS: s.pts, DTS: s.pts, Arrived: s.since, RandomAccess: true, Lost: s.lost}
	if s.track == nil || s.track.Width != s.width || s.track.Height != s.height {
		s.track = &media.Track{Codec: media.MJPEG, Codecs: "mp4v.6C", Width: s.width, Height: s.height}
		u.Track = s.track
	}
	s.lost, s.started = 0, true
	s.units = append(s.units, u)
	return nil
}

// Flush returns nothing: a picture without its end is none.
func (s *mjpeg) Flush() []Unit {
	s.open = false
	return nil
}

// Restart is for a new RTP timeline.
func (s *mjpeg) Restart() { s.clock, s.open = clock{}, false }

// Track is what is known of the track.
func (s *mjpeg) Track() *media.Track { return s.track }

// ClockRate is that of every video.
func (s *mjpeg) ClockRate() int { return 90000 }
