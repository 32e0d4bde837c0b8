package ingest

import (
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// A batch is what goes out in one write: rows and bytes track by track, so
// that nothing is sorted and nothing copied on the way to the socket.
type batch struct {
	owner    *stream
	new      media.Cause
	lost     uint32
	pictures uint32    // units of video in it
	tracks   []byte    // a frame that goes first, or nil
	since    time.Time // when the first unit came in

	units int
	bytes int
	rows  [media.MaxTracks][]byte
	data  [media.MaxTracks][]byte

	head []byte
	vec  [2 + 2*media.MaxTracks][]byte
}

// full tells whether a unit of n bytes does not fit any more.
func (b *batch) full(n int) bool { return b.units == media.MaxUnits || b.bytes+n > media.MaxBatch }

func (b *batch) add(u media.Unit) {
	i := u.Track - 1
	b.rows[i] = wire.AppendRow(b.rows[i], &u)
	b.data[i] = append(b.data[i], u.Data...)
	b.units++
	b.bytes += len(u.Data)
	if u.Track == 1 {
		b.pictures++
	}
}

// frame returns what is written, in pieces; they are good until reset.
func (b *batch) frame() [][]byte {
	b.head = wire.AppendBatch(b.head[:0], b.owner.id, wire.BatchHead{Units: b.units, New: b.new, Lost: b.lost, Payload: b.bytes})
	v := b.vec[:0]
	if b.tracks != nil {
		v = append(v, b.tracks)
	}
	v = append(v, b.head)
	for _, r := range b.rows {
		if len(r) > 0 {
			v = append(v, r)
		}
	}
	for _, d := range b.data {
		if len(d) > 0 {
			v = append(v, d)
		}
	}
	return v
}

// keepBuffer bounds what an empty batch keeps: one huge picture must not stay
// in memory for good.
const keepBuffer = 512 << 10

func (b *batch) reset() {
	for i := range b.rows {
		b.rows[i], b.data[i] = b.rows[i][:0], b.data[i][:0]
		if cap(b.data[i]) > keepBuffer {
			b.data[i] = nil
		}
	}
	b.owner, b.tracks, b.new, b.lost, b.pictures, b.units, b.bytes = nil, nil, "", 0, 0, 0, 0
	clear(b.vec[:])
}
