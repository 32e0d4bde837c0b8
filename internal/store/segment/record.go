package segment

import (
	"encoding/binary"
	"fmt"
	"math"

	"vigil/internal/media"
	"vigil/internal/seal"
)

// A kind is what a record holds.
type kind uint8

const (
	kindInit     kind = 1 // record 0: tracks and initialisation segment
	kindFragment kind = 2
	kindIndex    kind = 3 // the last: final flag set
)

// A frame stands before each sealed record:
//
//	0   4  length of what follows: nonce, ciphertext, tag
//	4   4  record number, from 0
//	8   1  kind
//	9   1  flags: 1 = final, the last record of the file
//	10  2  zero
//
// Number, kind and flag are also in the associated data.
type frame struct {
	length int
	number uint32
	kind   kind
	final  bool
}

func (f frame) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.length))
	dst = binary.BigEndian.AppendUint32(dst, f.number)
	return append(dst, byte(f.kind), bit(f.final), 0, 0)
}

// parseFrame reads a frame; most is the length there is behind it.
func parseFrame(b []byte, most int64) (f frame, err error) {
	if len(b) < frameSize {
		return f, fmt.Errorf("%d bytes left of a frame", len(b))
	}
	length := binary.BigEndian.Uint32(b)
	f = frame{number: binary.BigEndian.Uint32(b[4:]), kind: kind(b[8]), final: b[9] == 1}
	bound := int64(MaxRecord - frameSize)
	switch f.kind {
	case kindInit:
		bound = maxInitPlain + seal.Overhead
	case kindIndex:
		bound = maxIndex + seal.Overhead
	case kindFragment:
	default:
		return f, fmt.Errorf("unknown kind %d of record", b[8])
	}
	switch {
	case b[9] > 1, b[10] != 0, b[11] != 0:
		return f, fmt.Errorf("frame %x", b[:frameSize])
	case f.final != (f.kind == kindIndex):
		return f, fmt.Errorf("kind %d with final flag %v", f.kind, f.final)
	case int64(length) < seal.Overhead, int64(length) > bound, int64(length) > most:
		return f, fmt.Errorf("record of %d bytes, %d left", length, most)
	}
	f.length = int(length)
	return f, nil
}

// aadSize: segment id, record number, kind, final flag.
const aadSize = 16 + 4 + 1 + 1

// appendAAD appends the associated data of a record: what it belongs to, where
// it stands, what it is and whether it is the last. So reordering, swapping, cutting and
// splicing fail to open.
func appendAAD(dst []byte, id media.SegmentID, f frame) []byte {
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, f.number)
	return append(dst, byte(f.kind), bit(f.final))
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// The metadata of a fragment stands before it in the plaintext, so that a
// segment without index is read without parsing MP4:
//
//	 0   8  decode time of the first unit, ticks since the epoch
//	 8   8  arrival of the first unit, ns since the epoch
//	16   8  arrival of the latest unit
//	24   8  camera's clock at the first unit, ns since the epoch; 0 unknown
//	32   4  duration, ticks
//	36   4  pictures lost directly before
//	40  24  cause of a new timeline, zero padded; all zero: none
//	64   1  flags: 1 = random access
//	65   1  number of tracks n
//	66   6  zero
//	72   n times:
//	     0   2  units
//	     2   2  zero
//	     4   4  bytes
//	     8  32  leaf; zero where there are no units
const (
	metaSize  = 72
	partSize  = 40
	causeSize = 24
	maxMeta   = metaSize + media.MaxTracks*partSize
)

func metaLen(tracks int) int { return metaSize + tracks*partSize }

func (e *Entry) appendMeta(dst []byte, tracks int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.DTS))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.WallStart))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.WallEnd))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.CameraStart))
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Duration))
	dst = binary.BigEndian.AppendUint32(dst, e.Lost)
	dst = appendCause(dst, e.New)
	dst = append(dst, bit(e.RandomAccess), byte(tracks), 0, 0, 0, 0, 0, 0)
	for i := range e.Tracks[:tracks] {
		p := &e.Tracks[i]
		dst = binary.BigEndian.AppendUint16(dst, uint16(p.Units))
		dst = append(dst, 0, 0)
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.Bytes))
		dst = append(dst, p.Leaf[:]...)
	}
	return dst
}

// parseMeta reads the metadata of a fragment of a file with that many tracks.
// It has authenticated; the bounds are for the day when a key was not kept.
func (e *Entry) parseMeta(b []byte, tracks int) error {
	if len(b) < metaLen(tracks) {
		return fmt.Errorf("metadata of %d bytes", len(b))
	}
	e.DTS = media.Ticks(binary.BigEndian.Uint64(b))
	e.WallStart = int64(binary.BigEndian.Uint64(b[8:]))
	e.WallEnd = int64(binary.BigEndian.Uint64(b[16:]))
	e.CameraStart = int64(binary.BigEndian.Uint64(b[24:]))
	e.Duration = media.Ticks(binary.BigEndian.Uint32(b[32:]))
	e.Lost = binary.BigEndian.Uint32(b[36:])
	cause, err := parseCause(b[40:])
	if err != nil {
		return err
	}
	e.New, e.RandomAccess = cause, b[64] == 1
	if b[64] > 1 || int(b[65]) != tracks || !zero(b[66:72]) {
		return fmt.Errorf("metadata flags %x", b[64:72])
	}
	if e.DTS < 0 || e.DTS > maxTicks || e.WallStart < 0 || e.WallEnd < e.WallStart || e.WallEnd > maxNs || e.CameraStart < 0 || e.CameraStart > maxNs {
		return fmt.Errorf("metadata with times out of range")
	}
	b = b[metaSize:]
	for i := range e.Tracks[:tracks] {
		p := &e.Tracks[i]
		p.Units, p.Bytes = int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint32(b[4:]))
		copy(p.Leaf[:], b[8:])
		if b[2] != 0 || b[3] != 0 || p.Units > media.MaxUnits || p.Bytes > media.MaxBatch || p.Units == 0 && (p.Bytes != 0 || !zero(p.Leaf[:])) {
			return fmt.Errorf("track %d: %d units of %d bytes", i+1, p.Units, p.Bytes)
		}
		b = b[partSize:]
	}
	return nil
}

// Sums of times stay far from the end of int64.
const (
	maxNs    = math.MaxInt64 / 2
	maxTicks = media.Ticks(maxNs / 100000 * 9)
)

func appendCause(dst []byte, c media.Cause) []byte {
	var b [causeSize]byte
	copy(b[:], c)
	return append(dst, b[:]...)
}

func parseCause(b []byte) (media.Cause, error) {
	n := 0
	for n < causeSize && b[n] != 0 {
		if b[n] != '-' && (b[n] < 'a' || b[n] > 'z') {
			return "", fmt.Errorf("cause %.24q", b[:causeSize])
		}
		n++
	}
	if !zero(b[n:causeSize]) {
		return "", fmt.Errorf("cause %.24q", b[:causeSize])
	}
	return media.Cause(b[:n]), nil
}
