package depay

import (
	"bytes"
	"iter"
)

// Some cameras put several NAL units with Annex B start codes into what should
// be one: V380 and Mercury send SPS, PPS and IDR as one fragmented SPS
// (scottlamb/retina#68, bluenviron/gortsplib#199), others begin with a start
// code whose first byte passes as the header (bluenviron/gortsplib#989). Only
// units that begin like that are cut. A start code cannot occur inside a unit,
// but in the messages of ONVIF Media Signing it does (bluenviron/gortsplib#1157):
// those are never cut.

var startCode = []byte{0, 0, 1}

// bundled tells whether a NAL unit is several behind start codes.
func bundled(c coding, nal []byte) bool {
	if len(nal) < 5 {
		return false
	}
	if nal[0] == 0 && nal[1] == 0 && (nal[2] == 1 || nal[2] == 0 && nal[3] == 1) {
		return true
	}
	if _, avc := c.(*h264); avc && nal[0]&0x1f == 0 && bytes.HasPrefix(nal[1:], startCode) {
		return true // 60 00 00 01: the zero in front with reference bits from a fragment's header
	}
	switch c.kind(nal) {
	case set, delimiter:
		return bytes.Contains(nal, startCode)
	}
	return false
}

// pieces cuts at start codes, and takes off the zeros in front of them.
func pieces(c coding, b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if _, avc := c.(*h264); avc && b[0]&0x1f == 0 && b[0] != 0 { // see bundled
			b = b[1:]
		}
		for len(b) > 0 {
			n := 0
			if c.sei(b) {
				n = messageEnd(c, b)
			}
			piece, rest := b, []byte(nil)
			if i := bytes.Index(b[n:], startCode); i >= 0 {
				piece, rest = b[:n+i], b[n+i+3:]
			}
			if rest != nil {
				piece = bytes.TrimRight(piece, "\x00")
			}
			if len(piece) > 0 && !yield(piece) {
				return
			}
			b = rest
		}
	}
}

// messageEnd returns the least length an SEI NAL unit can have by the size its
// first message declares (H.264 7.3.2.3.1, H.265 7.3.5).
func messageEnd(c coding, b []byte) int {
	at := 1
	if _, avc := c.(*h264); !avc {
		at = 2
	}
	size := 0
	for range 2 { // type, then size
		size = 0
		for at < len(b) && b[at] == 0xff {
			size += 255
			at++
		}
		if at < len(b) {
			size += int(b[at])
			at++
		}
	}
	return min(at+size, len(b))
}
