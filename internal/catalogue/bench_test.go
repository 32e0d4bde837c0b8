package catalogue

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"vigil/internal/seal"
)

// BenchmarkRebuild fills a catalogue (VIGIL_ROWS, 1 M unless set) while a
// reader goes on, and then asks it. Run it with -benchtime 1x.
func BenchmarkRebuild(b *testing.B) {
	rows := uint64(1_000_000)
	if n, err := strconv.ParseUint(os.Getenv("VIGIL_ROWS"), 10, 64); err == nil {
		rows = n
	}
	src := synth{streams: 32, segments: rows}
	for b.Loop() {
		path := b.TempDir() + "/catalogue"
		c, err := Open(path, seal.NewKey(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		stop := make(chan any)
		var reads, slowest atomic.Int64
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				at := time.Now()
				if _, err := c.Timeline(synthStream(3), synthStart, synthStart+86400e9, time.Minute); err != nil {
					b.Error(err)
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(at))))
				reads.Add(1)
			}
		}()
		at := time.Now()
		if err := c.CatchUp(context.Background(), src); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(rows)/time.Since(at).Seconds(), "rows/s")
		close(stop)
		b.ReportMetric(float64(slowest.Load())/1e6, "ms/read-max")
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/float64(rows), "B/row")
		days := int64(rows/src.streams) / 1440
		median := 0.0 // of what p99 measured last: on a busy machine the other says who else was there
		p99 := func(n int, fn func(i int)) float64 {
			var all []time.Duration
			for i := range n {
				at := time.Now()
				fn(i)
				all = append(all, time.Since(at))
			}
			slices.Sort(all)
			median = float64(all[n/2].Microseconds()) / 1000
			return float64(all[n*99/100].Microseconds()) / 1000
		}
		b.ReportMetric(p99(200, func(i int) {
			from := synthStart + int64(i*7919)%max(days, 1)*86400e9
			t, err := c.Timeline(synthStream(uint64(i)%src.streams), from, from+86400e9, time.Minute)
			if err != nil || len(t.Ranges) == 0 {
				b.Fatal(len(t.Ranges), err)
			}
		}), "ms/day-p99")
		b.ReportMetric(median, "ms/day-median")
		b.ReportMetric(p99(10, func(i int) {
			for n := range uint64(16) {
				if o, err := c.Outline(synthStream(n), synthStart, synthStart+30*86400e9, 2000); err != nil || len(o.Ranges) == 0 {
					b.Fatal(err)
				}
			}
		}), "ms/month-16")
		b.ReportMetric(median, "ms/month-16-median")
		b.ReportMetric(p99(20, func(i int) {
			if _, err := c.Oldest(1000, nil); err != nil {
				b.Fatal(err)
			}
		}), "ms/oldest-1000")
		b.ReportMetric(p99(100, func(i int) {
			if _, ok, err := c.Find(src.meta(uint64(i) * 1009 % rows).Segment); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}), "ms/find-p99")
		c.Close()
	}
}
