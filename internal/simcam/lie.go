package simcam

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pion/rtp"

	"vigil/internal/media"
)

// A Lie is something malformed that is sent before a picture. The picture
// itself follows unharmed, so that a reader which recovers loses nothing.
type Lie string

// The lies. Those of the first group are RTP packets with good headers; those
// of the second are written into the TCP connection between good frames.
const (
	LieFragment  Lie = "fragment"  // fragments without a start, with the wrong type, and a start without an end
	LieHuge      Lie = "huge"      // a NAL unit of 800 kB in fragments that never ends
	LieAggregate Lie = "aggregate" // an aggregation packet whose part claims 65535 bytes
	LieLengths   Lie = "lengths"   // NAL units behind 4-byte lengths, as in an MP4
	LieAnnexB    Lie = "annexb"    // several NAL units with start codes in one packet
	LieEmpty     Lie = "empty"     // no payload, and NAL units of no bytes

	LieType    Lie = "type"    // a packet of an undeclared payload type with the sequence number of the next
	LieChannel Lie = "channel" // a frame on a channel that was never set up
	LieFrame   Lie = "frame"   // a frame that claims 65535 bytes and has 100
	LieNoise   Lie = "noise"   // 300 bytes that are nothing
)

// Lies returns all lies.
func Lies() []Lie {
	return []Lie{LieFragment, LieHuge, LieAggregate, LieLengths, LieAnnexB, LieEmpty, LieType, LieChannel, LieFrame, LieNoise}
}

func (l Lie) inRTP() bool { return slices.Contains(Lies()[:6], l) }

// Lie precedes each of the next n pictures by something malformed.
func (f *Feed) Lie(l Lie, n int) error {
	if !slices.Contains(Lies(), l) {
		return fmt.Errorf("lie %q is none of %v", l, Lies())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.video.film.codec; l.inRTP() && c != media.H264 && c != media.H265 {
		return fmt.Errorf("lie %q does not suit %v", l, c)
	}
	f.faults.lie, f.faults.lies = l, n
	return nil
}

// lie sends what was ordered. Kept by f.mu.
func (f *Feed) lie(l *line, stamp uint32) {
	if f.faults.lies <= 0 {
		return
	}
	f.faults.lies--
	if f.faults.lie.inRTP() {
		for _, p := range malformed(f.faults.lie, f.video.film.codec) {
			f.emit(l, p, stamp, false)
		}
		return
	}
	for _, c := range f.readers {
		if c != nil {
			b := slipped(f.faults.lie, c.channel, l, stamp)
			go func() { _, _ = c.Write(b) }() // may block on a slow reader, which must not stop the others; ends with the connection
		}
	}
}

// malformed returns the payloads of a lie in RTP.
func malformed(l Lie, codec media.Codec) [][]byte {
	h265 := codec == media.H265
	// fu makes a fragment of a NAL unit of a type; flags: 0x80 start, 0x40 end
	fu := func(flags, typ byte, n int) []byte {
		b := []byte{0x60 | avcFUA, flags | typ}
		if h265 {
			b = []byte{hevcFU << 1, 1, flags | typ}
		}
		for i := range n {
			b = append(b, byte(i*31+1))
		}
		return b
	}
	slice, idr := byte(avcSlice), byte(avcIDR)
	if h265 {
		slice, idr = 1, 19
	}
	switch l {
	case LieFragment:
		return [][]byte{fu(0, slice, 700), fu(0x40, slice, 700), fu(0x80, idr, 700), fu(0, slice, 700), fu(0xc0, slice, 9), fu(0x80, slice, 1300)}
	case LieHuge:
		ps := [][]byte{fu(0x80, idr, 1300)}
		for range 600 {
			ps = append(ps, fu(0, idr, 1350))
		}
		return ps
	case LieAggregate:
		if h265 {
			return [][]byte{{hevcAP << 1, 1, 0xff, 0xff, 1 << 1, 1, 2, 3}, {hevcAP << 1, 1, 0}, {hevcAP << 1, 1}}
		}
		return [][]byte{{0x60 | avcSTAPA, 0xff, 0xff, 0x41, 1, 2, 3}, {0x60 | avcSTAPA, 0}, {0x60 | avcSTAPA}}
	case LieLengths:
		return [][]byte{{0, 0, 0, 6, 0x06, 0x05, 1, 2, 3, 0x80, 0, 0, 0, 2, 0x09, 0xf0}, {0, 0, 0xff, 0xff, 0x41, 1}, {0xff, 0xff, 0xff, 0xff, 0x41, 1}}
	case LieAnnexB: // an access unit delimiter and filler data
		if h265 {
			return [][]byte{{0, 0, 0, 1, hevcAUD << 1, 1, 0x50, 0, 0, 1, 38 << 1, 1, 0xff, 0xff, 0x80}}
		}
		return [][]byte{{0, 0, 0, 1, avcAUD, 0xf0, 0, 0, 1, 12, 0xff, 0xff, 0x80}}
	}
	if h265 {
		return [][]byte{{}, {hevcFU << 1, 1}, {hevcAP << 1, 1, 0, 0}, {1 << 1}}
	}
	return [][]byte{{}, {0x60 | avcFUA}, {0x60 | avcSTAPA, 0, 0}}
}

// slipped returns the bytes of a lie in the TCP connection.
func slipped(l Lie, channel byte, next *line, stamp uint32) []byte {
	frame := func(channel byte, claim int, body []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{'$', channel}, uint16(claim)), body...)
	}
	switch l {
	case LieType:
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 127, SequenceNumber: next.seq, Timestamp: stamp, SSRC: next.ssrc}, Payload: []byte("undeclared")}
		b, _ := p.Marshal() // never fails
		return frame(channel, len(b), b)
	case LieChannel:
		return frame(250, 40, bytes.Repeat([]byte{0x80}, 40))
	case LieFrame:
		return frame(channel, 0xffff, bytes.Repeat([]byte{0x80}, 100))
	}
	return bytes.Repeat([]byte("\x00\x01\xfe noise "), 30)
}
