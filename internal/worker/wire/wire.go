// Package wire is the framed protocol between the core and its ingest
// workers, over a Unix stream socket. docs/format/wire.md is its page.
//
//	camera -> ingest -> [wire] -> worker -> stream
//
// A frame is a header of 16 bytes and a body. Control messages are strict
// JSON: only the very bytes that Append would write are accepted. Batches are
// binary, so that the core reads a payload from the socket to where it stays.
//
// The core trusts nothing that comes out of a worker: every number is bounded
// before it is used, and every error of a Reader means that the other side
// broke the protocol.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A Type says what the body of a frame is.
type Type uint8

// The types. Those below 16 go from the core to a worker, the others back.
const (
	TypeStart Type = 1 // keep this stream alive
	TypeStop  Type = 2 // end it; the worker answers with Status "ended"
	TypeProbe Type = 3 // try a stream once
	TypePing  Type = 4
	TypeNames Type = 5 // which name servers to ask

	TypeHello  Type = 16 // first frame of a worker
	TypeStatus Type = 17 // how a stream is
	TypeTracks Type = 18 // what the units that follow belong to
	TypeBatch  Type = 19 // units
	TypeProbed Type = 20 // answer to a probe
	TypePong   Type = 21
	TypeLog    Type = 22
	TypeFell   Type = 23 // last words: a session panicked
)

// kinds has the rules of each type: the bounds of the body, and whether the
// frame names a stream.
var kinds = [...]struct {
	name  string
	most  uint32
	named int8 // 1: must name a stream, 0: must not, -1: may
}{
	TypeStart:  {"start", 128 << 10, 1},
	TypeStop:   {"stop", 2, 1},
	TypeProbe:  {"probe", 128 << 10, 1},
	TypePing:   {"ping", 64, 0},
	TypeNames:  {"names", 1 << 10, 0},
	TypeHello:  {"hello", 32 << 10, 0},
	TypeStatus: {"status", 192 << 10, 1},
	TypeTracks: {"tracks", 128 << 10, 1},
	TypeBatch:  {"batch", MaxBatchBody, 1},
	TypeProbed: {"probed", 2 << 20, 1},
	TypePong:   {"pong", 64, 0},
	TypeLog:    {"log", 32 << 10, -1},
	TypeFell:   {"fell", 32 << 10, -1},
}

func (t Type) valid() bool { return int(t) < len(kinds) && kinds[t].most > 0 }

// FromWorker tells who sends frames of this type.
func (t Type) FromWorker() bool { return t >= 16 }

// String names the type for logs.
func (t Type) String() string {
	if !t.valid() {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return kinds[t].name
}

// ErrFrame is in every error about a frame that breaks the protocol, to tell
// it from an end of the connection.
var ErrFrame = errors.New("protocol violation")

// HeaderSize is the length of a frame's header.
const HeaderSize = 16

// magic begins every frame; its last byte is the version.
const magic = "VGW\x02"

// A Header stands in front of every frame:
//
//	 0  4  magic "VGW" and the version, 2
//	 4  1  type
//	 5  3  zero
//	 8  4  stream number, 0 for none; big endian like all numbers
//	12  4  length of the body
type Header struct {
	Type   Type
	Stream uint32 // names a stream within one connection; chosen by the core
	Size   uint32 // bytes of body
}

// Append writes the header.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, byte(h.Type), 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.Stream)
	return binary.BigEndian.AppendUint32(dst, h.Size)
}

// ParseHeader reads the first HeaderSize bytes of b and refuses what Append
// of a known type would not write.
func ParseHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderSize {
		return h, fmt.Errorf("%w: header of %d bytes", ErrFrame, len(b))
	}
	if string(b[:4]) != magic {
		return h, fmt.Errorf("%w: magic %x", ErrFrame, b[:4])
	}
	h = Header{Type(b[4]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])}
	if !h.Type.valid() || b[5]|b[6]|b[7] != 0 {
		return h, fmt.Errorf("%w: unknown type %x", ErrFrame, b[4:8])
	}
	k := kinds[h.Type]
	if h.Size > k.most {
		return h, fmt.Errorf("%w: %v of %d bytes", ErrFrame, h.Type, h.Size)
	}
	if k.named >= 0 && (h.Stream != 0) != (k.named == 1) {
		return h, fmt.Errorf("%w: %v for stream number %d", ErrFrame, h.Type, h.Stream)
	}
	return h, nil
}
