package stream

import (
	"context"
	"errors"
	"sync"
	"testing"

	"vigil/internal/media"
)

var tracks = &media.Tracks{List: []media.Track{{Number: 1, Codec: media.H264, Width: 320, Height: 240}}}

// picture returns a batch with one picture of size bytes at time n.
func picture(n int, key bool, size int) *media.Batch {
	b := media.NewBatch(size)
	b.Tracks = tracks
	b.Units = append(b.Units, media.Unit{Track: 1, RandomAccess: key, DTS: media.Ticks(n), Arrived: int64(n), Data: b.Payload()})
	return b
}

func next(t *testing.T, r *Reader) Item {
	t.Helper()
	it, err := r.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// TestLateReaderLosesWholeGOPs fills a queue and says what comes out.
func TestLateReaderLosesWholeGOPs(t *testing.T) {
	s := New(media.StreamID{}, media.CameraID{})
	r := s.Reader(2500, false)
	defer r.Close()
	if it := next(t, r); it.Down != media.CameraStart {
		t.Fatalf("first item %+v", it)
	}
	for i, key := range []bool{true, false, false, false, true, false} {
		if i == 4 { // the reader catches up before the second GOP
			for _, want := range []media.Ticks{0, 1} {
				it := next(t, r)
				if it.Batch.Units[0].DTS != want {
					t.Fatalf("got %d, want %d", it.Batch.Units[0].DTS, want)
				}
				it.Batch.Release()
			}
		}
		if err := s.Publish(picture(i, key, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	it := next(t, r)
	if it.Batch.Units[0].DTS != 4 || it.Lost != 2 {
		t.Errorf("after the loss: picture %d, %d lost; want 4 and 2", it.Batch.Units[0].DTS, it.Lost)
	}
	it.Batch.Release()
	if got := s.Stats(); got.Pictures != 6 || got.Last != 5 || got.Down != "" {
		t.Errorf("stats %+v", got)
	}
}

// TestHeadStart joins in mid-GOP, with and without the GOP kept.
func TestHeadStart(t *testing.T) {
	s := New(media.StreamID{}, media.CameraID{})
	for i := range 3 {
		s.Publish(picture(i, i == 0, 100))
	}
	r := s.Reader(1<<20, true)
	for want := range 3 {
		it := next(t, r)
		if it.Batch.Units[0].DTS != media.Ticks(want) {
			t.Errorf("got picture %d, want %d", it.Batch.Units[0].DTS, want)
		}
		it.Batch.Release()
	}
	r.Close()
	if _, err := r.Next(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}

	s.Publish(picture(3, false, gopBound))
	r = s.Reader(1<<20, true)
	defer r.Close()
	s.Publish(picture(4, false, 100))
	s.Publish(picture(5, true, 100))
	it := next(t, r)
	if it.Batch.Units[0].DTS != 5 || it.Lost != 0 {
		t.Errorf("a GOP over the bound gave picture %d, %d lost", it.Batch.Units[0].DTS, it.Lost)
	}
	it.Batch.Release()
}

// TestManyReaders runs a writer against readers that come and go; for -race,
// and a batch released twice panics.
func TestManyReaders(t *testing.T) {
	s := New(media.StreamID{}, media.CameraID{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				r := s.Reader(4000, true)
				for range 5 {
					it, err := r.Next(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					if it.Batch != nil {
						it.Batch.Release()
					}
				}
				r.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
			s.Publish(picture(i, i%10 == 0, 500))
			if i%1000 == 999 {
				s.Down(media.CameraLost)
			}
		}
	}
}
