package segment

import (
	"encoding/binary"
	"fmt"

	"vigil/internal/media"
)

// Sizes of the parts that are not sealed.
const (
	HeaderSize  = 144
	TrailerSize = 64
	frameSize   = 12

	version      = 1
	headerMagic  = "VIGILSEG"
	trailerMagic = "VIGILEND"
)

// A header begins the file:
//
//	  0   8  "VIGILSEG"
//	  8   2  version, 1
//	 10   2  length of the header, 144
//	 12  16  segment id
//	 28  16  stream id
//	 44  16  camera id
//	 60  16  key id
//	 76  60  wrapped segment key
//	136   8  zero
//
// Numbers are big endian. The initialisation record holds its SHA-256: no byte
// of it can change unseen.
type header struct {
	Info
	keyID   [16]byte
	wrapped [WrappedSize]byte
}

func (h *header) append(dst []byte) []byte {
	dst = append(dst, headerMagic...)
	dst = binary.BigEndian.AppendUint16(dst, version)
	dst = binary.BigEndian.AppendUint16(dst, HeaderSize)
	dst = append(dst, h.Segment[:]...)
	dst = append(dst, h.Stream[:]...)
	dst = append(dst, h.Camera[:]...)
	dst = append(dst, h.keyID[:]...)
	dst = append(dst, h.wrapped[:]...)
	return append(dst, make([]byte, 8)...)
}

// ParseInfo reads whose segment a file is from its first HeaderSize bytes. It
// proves nothing: only Open and Recover do.
func ParseInfo(b []byte) (Info, error) {
	h, err := parseHeader(b)
	return h.Info, err
}

func parseHeader(b []byte) (h header, err error) {
	if len(b) < HeaderSize {
		return h, fmt.Errorf("%w: %d bytes", ErrFormat, len(b))
	}
	if string(b[:8]) != headerMagic || binary.BigEndian.Uint16(b[8:]) != version || binary.BigEndian.Uint16(b[10:]) != HeaderSize {
		return h, fmt.Errorf("%w: it begins %x", ErrFormat, b[:12])
	}
	copy(h.Segment[:], b[12:])
	copy(h.Stream[:], b[28:])
	copy(h.Camera[:], b[44:])
	copy(h.keyID[:], b[60:])
	copy(h.wrapped[:], b[76:])
	if !zero(b[136:HeaderSize]) {
		return h, &Damage{h.Segment, InHeader, fmt.Errorf("reserved bytes are %x", b[136:HeaderSize])}
	}
	return h, nil
}

// A trailer ends the file:
//
//	 0   8  "VIGILEND"
//	 8   8  offset of the index record
//	16   8  length of the index record, framing included
//	24   8  number of fragments
//	32  32  SHA-256 of everything before these 32 bytes
type trailer struct {
	index   int64
	length  int64
	records int
	sealed  [32]byte
}

// appendHead is the part that the digest covers.
func (t *trailer) appendHead(dst []byte) []byte {
	dst = append(dst, trailerMagic...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.index))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.length))
	return binary.BigEndian.AppendUint64(dst, uint64(t.records))
}

// parseTrailer reads the last TrailerSize bytes of a file of that size.
func parseTrailer(b []byte, size int64, id media.SegmentID) (t trailer, err error) {
	if len(b) != TrailerSize || string(b[:8]) != trailerMagic {
		return t, fmt.Errorf("segment %v: %w", id, ErrNoTrailer)
	}
	index, length, records := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	switch {
	case records > MaxRecords, index < HeaderSize, index > MaxSize, length > MaxSize, int64(index+length) != size-TrailerSize:
		return t, &Damage{id, InTrailer, fmt.Errorf("index of %d bytes at %d for %d fragments in a file of %d", length, index, records, size)}
	}
	t.index, t.length, t.records = int64(index), int64(length), int(records)
	copy(t.sealed[:], b[32:])
	return t, nil
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
