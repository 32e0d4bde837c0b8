package store

import (
	"testing"
	"time"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// BenchmarkAppend seals and writes batches of a quarter of a second of a
// camera of 4 Mbit/s on the machine's disk. A refusal, which is the disk being slower
// than the loop, is waited out.
func BenchmarkAppend(b *testing.B) {
	fs, err := durable.OS{}.Sub(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer fs.Close()
	r := rigOn(b, fs)
	r.boot()
	st := r.streams[0]
	w, err := r.store.Create(actor.Of("recorder", ""), segment.Info{Stream: st.id, Camera: st.cam}, st.tracks, nil)
	if err != nil {
		b.Fatal(err)
	}
	const size = 125_000
	now := time.Now()
	bt := media.NewBatch(size)
	bt.Tracks = st.tracks
	bt.Units = append(bt.Units, media.Unit{Track: 1, RandomAccess: true, Arrived: now.UnixNano(), Data: bt.Payload()})
	bt.Fragment = bt.Front(100)
	b.SetBytes(size)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		bt.Units[0].DTS = media.TicksOf(now) + media.Ticks(n)
		for w.Append(bt) != nil {
			time.Sleep(time.Millisecond)
		}
		if n%1000 == 0 {
			b.StopTimer()
			w.Close(media.CutLength)
			if w, err = r.store.Create(actor.Of("recorder", ""), segment.Info{Stream: st.id, Camera: st.cam}, st.tracks, nil); err != nil {
				time.Sleep(time.Second)
				w, err = r.store.Create(actor.Of("recorder", ""), segment.Info{Stream: st.id, Camera: st.cam}, st.tracks, nil)
			}
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	w.Close(media.CutLength)
	r.end()
}
