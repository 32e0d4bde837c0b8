package depay

import (
	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// A prober is for video whose payload type the description does not name (AJA,
// Avigilon; bluenviron/gortsplib#879, #501), or names in doubt. It waits for a parameter set that
// only one codec can have sent, and becomes the depacketizer of that codec.
type prober struct {
	media sdp.Media
	found Depacketizer
}

// Push takes a packet.
func (d *prober) Push(p Packet) ([]Unit, error) {
	if d.found == nil {
		c := guess(p.Payload)
		if c == 0 {
			return nil, nil
		}
		d.media.Codec, d.media.Doubt = c, false
		d.found, _ = New(d.media)
	}
	return d.found.Push(p)
}

// guess looks for a sequence parameter set (H.264) or a video parameter set
// (H.265): alone, aggregated, or as the first fragment.
func guess(b []byte) media.Codec {
	if len(b) < 4 {
		return 0
	}
	first := b
	switch {
	case b[0]&0x1f == 24: // STAP-A
		first = b[3:]
	case b[0]&0x1f == 28 && b[1]&0x80 != 0: // FU-A
		first = append([]byte{b[0]&0xe0 | b[1]&0x1f}, b[2:min(len(b), 256)]...)
	}
	if n := int(b[1])<<8 | int(b[2]); b[0]&0x1f == 24 && n <= len(first) {
		first = first[:n]
	}
	if _, ok := parseSPS264(first); ok && first[0]&0x80 == 0 {
		return media.H264
	}
	first = b
	if b[0]>>1&0x3f == 48 && len(b) > 6 { // AP
		first = b[4:]
	}
	if b[0]>>1&0x3f == 49 && b[2]&0x80 != 0 { // FU
		first = append([]byte{b[0]&0x81 | b[2]&0x3f<<1, b[1]}, b[3:min(len(b), 64)]...)
	}
	// VPS: layer 0, temporal id 0, and 0xffff where it must be (7.3.2.1).
	if len(first) >= 6 && first[0] == 0x40 && first[1] == 1 && first[4] == 0xff && first[5] == 0xff {
		return media.H265
	}
	return 0
}

// Flush returns what is held back.
func (d *prober) Flush() []Unit {
	if d.found == nil {
		return nil
	}
	return d.found.Flush()
}

// Restart is for a new RTP timeline.
func (d *prober) Restart() {
	if d.found != nil {
		d.found.Restart()
	}
}

// Track is nil until the codec is known.
func (d *prober) Track() *media.Track {
	if d.found == nil {
		return nil
	}
	return d.found.Track()
}

// Slices is that of the codec, once it is known.
func (d *prober) Slices() uint64 {
	if s, ok := d.found.(Slicer); ok {
		return s.Slices()
	}
	return 0
}

// ClockRate is that of every video.
func (d *prober) ClockRate() int { return 90000 }
