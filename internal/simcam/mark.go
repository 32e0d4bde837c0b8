package simcam

import (
	"bytes"
	"strconv"
	"time"

	"vigil/internal/media"
)

// The mark is a user_data_unregistered SEI (H.264 D.1.6, H.265 D.2.7) in front
// of the first slice of a picture, the same that bench/rtspload sends:
//
//	16 bytes  markUUID
//	40 bytes  "s=0000 n=0000000000 t=0000000000000 ....": path, number, ms since the Unix epoch
//
// All of it is ASCII but for the last byte of the UUID, so it never needs
// emulation prevention and can be found by searching for the UUID.
const (
	markUUID = "VIGIL-LOAD-MARK\xa5"
	markText = 40
)

// A Mark is the identity of a picture.
type Mark struct {
	Path   int       // Stream.Mark
	Number uint64    // counts the pictures of the path from 0
	Sent   time.Time // when it was sent, to the ms, by the clock of the machine
}

// Marks returns the marks in a sample, or in any other piece of a recording,
// in order.
func Marks(b []byte) (marks []Mark) {
	for {
		i := bytes.Index(b, []byte(markUUID))
		if i < 0 || len(b) < i+len(markUUID)+markText {
			return marks
		}
		b = b[i+len(markUUID):]
		path, err1 := strconv.ParseUint(string(b[2:6]), 10, 16)
		n, err2 := strconv.ParseUint(string(b[9:19]), 10, 64)
		ms, err3 := strconv.ParseUint(string(b[22:35]), 10, 63)
		if err1 == nil && err2 == nil && err3 == nil {
			marks = append(marks, Mark{Path: int(path), Number: n, Sent: time.UnixMilli(int64(ms))})
		}
	}
}

// markHead is the SEI up to the text.
func markHead(c media.Codec) []byte {
	head := []byte{avcSEI}
	if c == media.H265 {
		head = []byte{hevcPrefixSEI << 1, 1}
	}
	head = append(head, 5, byte(len(markUUID)+markText))
	return append(head, markUUID...)
}

// appendMark completes a mark behind its head.
func appendMark(head []byte, m Mark) []byte {
	b := append(head, "s=0000 n=0000000000 t=0000000000000 ....\x80"...)
	t := b[len(head):]
	putDecimal(t[2:6], uint64(m.Path))
	putDecimal(t[9:19], m.Number)
	putDecimal(t[22:35], uint64(m.Sent.UnixMilli()))
	return b
}

func putDecimal(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}
