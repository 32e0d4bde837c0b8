package ledger

import (
	"context"
	"os"
	"testing"
	"time"

	"vigil/internal/durable"
	"vigil/internal/media"
)

func benchLedger(b *testing.B) (*Ledger, Folder) {
	x := newBench(b)
	home := Folder{durable.OS{}, b.TempDir() + "/ledger", "system"}
	l, err := Open(home, nil, x.signer, x.key, testOrigin)
	if err != nil {
		b.Fatal(err)
	}
	return l, home
}

func segments(n int) []Leaf {
	m := SegmentMeta{Stream: media.StreamID{1}, Camera: media.CameraID{1}, Tracks: []SegmentTrack{{Number: 1, Codec: media.H264}, {Number: 2, Codec: media.AAC}}, EndCause: media.CutLength}
	var leaves []Leaf
	for i := range n {
		m.Start = int64(i) * 60e9
		l, _ := m.Leaf()
		leaves = append(leaves, l)
	}
	return leaves
}

// BenchmarkBeat is one beat: three leaves, durable.
func BenchmarkBeat(b *testing.B) {
	l, _ := benchLedger(b)
	leaves := segments(3)
	for b.Loop() {
		if _, err := l.Append(context.Background(), leaves); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFollow reads segment leaves; the figure of interest is leaves/s.
func BenchmarkFollow(b *testing.B) {
	l, home := benchLedger(b)
	leaves := segments(3)
	for range 20000 {
		l.home.FS = syncless{durable.OS{}}
		if _, err := l.Append(context.Background(), leaves); err != nil {
			b.Fatal(err)
		}
	}
	count := 0
	for b.Loop() {
		if err := l.Follow(0, func(uint64, Leaf) error { count++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "leaves/s")
	at := time.Now()
	if _, err := Open(home, nil, l.signer, l.key, testOrigin); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(at).Microseconds())/1000, "ms/open")
	at = time.Now()
	for i := range uint64(100) {
		if _, err := l.Leaf(i * 599); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(at).Microseconds())/1000/100, "ms/leaf")
}

// syncless is a disk that does not sync, to fill benches.
type syncless struct{ durable.OS }

type synclessFile struct{ durable.File }

func (s syncless) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	f, err := s.OS.OpenFile(name, flag, perm)
	return synclessFile{f}, err
}
func (synclessFile) Sync() error           { return nil }
func (syncless) SyncDir(name string) error { return nil }
