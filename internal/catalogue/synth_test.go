package catalogue

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"vigil/internal/ledger"
	"vigil/internal/media"
)

// synth is a ledger made up as it is read: segments of a minute of many
// streams, with gaps, and in the end tombstones for the oldest.
type synth struct {
	streams, segments, tombstones uint64
}

const synthStart = int64(1767225600e9) // 2026-01-01 UTC

func (s synth) Size() uint64 { return s.segments + s.tombstones }

func (s synth) RootAt(size uint64) (d ledger.Digest, err error) {
	binary.BigEndian.PutUint64(d[:], size)
	return d, nil
}

func (s synth) Changed() <-chan struct{} { return make(chan struct{}) }

func synthStream(n uint64) media.StreamID { return media.StreamID{1, byte(n)} }

// meta is the i-th segment.
func (s synth) meta(i uint64) ledger.SegmentMeta {
	n, row := i%s.streams, int64(i/s.streams)
	r := rand.New(rand.NewPCG(i, 7))
	m := ledger.SegmentMeta{Stream: synthStream(n), Camera: media.CameraID{2, byte(n / 2)},
		Start: synthStart + row*60e9 + int64(n)*1e6, Bytes: 30e6 + r.Int64N(1e6), Records: 120, EndCause: media.CutLength}
	binary.BigEndian.PutUint64(m.Segment[:], r.Uint64())
	binary.BigEndian.PutUint64(m.Segment[8:], i)
	m.End = m.Start + 60e9
	m.First = media.TicksOf(time.Unix(0, m.Start))
	m.Last = m.First + 60*media.TicksPerSecond
	m.Tracks = []ledger.SegmentTrack{{Number: 1, Codec: media.H264}, {Number: 2, Codec: media.AAC}}
	if row > 0 && (row+int64(n))%97 == 0 {
		m.Start += 10e9
		m.Before = &ledger.Gap{Cause: media.CameraLost, From: m.Start - 10e9, Lost: 250}
	}
	return m
}

func (s synth) leaf(i uint64) (ledger.Leaf, error) {
	if i < s.segments {
		return s.meta(i).Leaf()
	}
	m := s.meta(i - s.segments)
	return ledger.TombstoneMeta{Segment: m.Segment, Stream: m.Stream, Camera: m.Camera, Start: m.Start, End: m.End, Bytes: m.Bytes,
		At: m.Start, Why: media.Retention, By: "system retention"}.Leaf(), nil
}

func (s synth) Follow(from uint64, fn func(uint64, ledger.Leaf) error) error {
	for i := from; i < s.Size(); i++ {
		l, err := s.leaf(i)
		if err == nil {
			err = fn(i, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
