package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"vigil/internal/media"
)

// A batch frame's body is a head, a table with one row per unit, and the
// payload: the bytes of all units, in the order of the table.
//
//	 0  2  number of units
//	 2  1  why this batch starts a new timeline: place in causes, 0 for "it does not"
//	 3  1  zero
//	 4  4  pictures lost directly before this batch
//	 8  4  bytes of payload
//	12  4  zero
//
// A row:
//
//	 0  1  track
//	 1  1  flags: 1 random access
//	 2  2  zero
//	 4  4  bytes of the unit
//	 8  8  decode time, ticks since the epoch
//	16  4  composition offset, ticks
//	20  4  zero
//	24  8  arrived, ns since the epoch
//	32  8  the camera's time, ns since the epoch; 0 unknown
const (
	BatchHeadSize = 16
	RowSize       = 40
	MaxBatchBody  = BatchHeadSize + media.MaxUnits*RowSize + media.MaxBatch

	flagRandomAccess = 1
)

// causes are the reasons a worker may give for a new timeline; the place is
// the number on the wire. Only the core knows of lost workers.
var causes = [...]media.Cause{"", media.CameraStart, media.CameraLost, media.Network, media.CutClock, media.CameraClock, media.CutCodec, media.Overload}

// ValidCause tells whether a worker may give this cause for a new timeline.
func ValidCause(c media.Cause) bool { return slices.Contains(causes[:], c) }

// A BatchHead is the fixed part of a batch frame's body.
type BatchHead struct {
	Units   int
	New     media.Cause
	Lost    uint32
	Payload int // bytes
}

// AppendBatch writes a frame's header and a batch's head; the rows and the
// payload must follow. An unknown cause is a fault of the caller: it panics.
func AppendBatch(dst []byte, stream uint32, h BatchHead) []byte {
	c := slices.Index(causes[:], h.New)
	if c < 0 {
		panic("wire: cause " + h.New + " is none a worker may give")
	}
	dst = Header{TypeBatch, stream, uint32(BatchHeadSize + h.Units*RowSize + h.Payload)}.Append(dst)
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Units))
	dst = append(dst, byte(c), 0)
	dst = binary.BigEndian.AppendUint32(dst, h.Lost)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Payload))
	return append(dst, 0, 0, 0, 0)
}

// AppendRow writes a unit's row.
func AppendRow(dst []byte, u *media.Unit) []byte {
	var flags byte
	if u.RandomAccess {
		flags = flagRandomAccess
	}
	dst = append(dst, u.Track, flags, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(u.Data)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(u.DTS))
	dst = binary.BigEndian.AppendUint32(dst, uint32(u.CTO))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(u.Arrived))
	return binary.BigEndian.AppendUint64(dst, uint64(u.Camera))
}

// parseBatchHead reads BatchHeadSize bytes of a body of size bytes.
func parseBatchHead(b []byte, size uint32) (h BatchHead, err error) {
	h.Units = int(binary.BigEndian.Uint16(b))
	h.Lost = binary.BigEndian.Uint32(b[4:])
	payload := binary.BigEndian.Uint32(b[8:])
	if int(b[2]) >= len(causes) || b[3] != 0 || binary.BigEndian.Uint32(b[12:]) != 0 {
		return h, fmt.Errorf("%w: batch head %x", ErrFrame, b[:BatchHeadSize])
	}
	h.New = causes[b[2]]
	if h.Units == 0 || h.Units > media.MaxUnits || payload > media.MaxBatch {
		return h, fmt.Errorf("%w: batch of %d units, %d bytes", ErrFrame, h.Units, payload)
	}
	h.Payload = int(payload)
	if int(size) != BatchHeadSize+h.Units*RowSize+h.Payload {
		return h, fmt.Errorf("%w: batch of %d units and %d bytes in a body of %d", ErrFrame, h.Units, h.Payload, size)
	}
	return h, nil
}

// parseRow reads a row and takes the unit's bytes off the front of payload.
func parseRow(b, payload []byte) (u media.Unit, rest []byte, err error) {
	size := binary.BigEndian.Uint32(b[4:])
	if b[1]&^flagRandomAccess != 0 || b[2]|b[3] != 0 || binary.BigEndian.Uint32(b[20:]) != 0 {
		return u, nil, fmt.Errorf("%w: batch row %x", ErrFrame, b[:RowSize])
	}
	if uint64(size) > uint64(len(payload)) {
		return u, nil, fmt.Errorf("%w: unit of %d bytes, %d left", ErrFrame, size, len(payload))
	}
	return media.Unit{
		Track:        b[0],
		RandomAccess: b[1]&flagRandomAccess != 0,
		DTS:          media.Ticks(binary.BigEndian.Uint64(b[8:])),
		CTO:          int32(binary.BigEndian.Uint32(b[16:])),
		Arrived:      int64(binary.BigEndian.Uint64(b[24:])),
		Camera:       int64(binary.BigEndian.Uint64(b[32:])),
		Data:         payload[:size:size],
	}, payload[size:], nil
}
