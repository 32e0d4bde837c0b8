package rig

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"vigil/internal/simcam"
)

// TestSoakMemory records 16 cameras for 40 minutes, while one is watched and
// exported now and then: what all processes use together does not grow.
func TestSoakMemory(t *testing.T) {
	needSoak(t)
	const long, settle, window = 40 * time.Minute, 8 * time.Minute, 8 * time.Minute
	r := New(t, Options{})
	r.Start()
	var streams []simcam.Stream
	for i := range 16 {
		s := simcam.Stream{Path: fmt.Sprint("cam", i), Source: "clock", Shift: time.Duration(i) * 125 * time.Millisecond}
		if i%4 == 0 {
			s.Sound = "aac"
		}
		streams = append(streams, s)
	}
	r.Simulate(streams...)
	r.WaitRecording()
	type reading struct {
		at  time.Duration
		pss int64
	}
	var all []reading
	for begin := time.Now(); time.Since(begin) < long; time.Sleep(10 * time.Second) {
		all = append(all, reading{time.Since(begin), r.memory()})
		if len(all)%6 == 0 {
			c := r.Cameras[len(all)/6%len(r.Cameras)]
			now := time.Now()
			if f := r.Play(c, now.Add(-30*time.Second), now); len(f.Pictures) < 500 {
				t.Errorf("%s: %d pictures of the last half minute", c.Name, len(f.Pictures))
			}
			if f := r.Export(c, now.Add(-time.Minute), now); len(f.Pictures) < 1000 && len(all) > 6 {
				t.Errorf("%s: %d pictures of the last minute in an export", c.Name, len(f.Pictures))
			}
		}
	}
	median := func(from, to time.Duration) int64 {
		var l []int64
		for _, x := range all {
			if x.at >= from && x.at < to {
				l = append(l, x.pss)
			}
		}
		slices.Sort(l)
		return l[len(l)/2]
	}
	for from := time.Duration(0); from < long; from += 4 * time.Minute {
		t.Logf("from %v on: %.1f MB", from, float64(median(from, from+4*time.Minute))/1e6)
	}
	early, late := median(settle, settle+window), median(long-window, long)
	t.Logf("PSS of all processes: %.1f MB early, %.1f MB late, %.1f MB at most", float64(early)/1e6, float64(late)/1e6,
		float64(slices.MaxFunc(all, func(a, b reading) int { return int(a.pss - b.pss) }).pss)/1e6)
	if late > early+early/20+2e6 {
		t.Errorf("memory grows: %d bytes, then %d", early, late)
	}
	r.MustBeClean(true)
}

// memory is the proportional set size of the recorder's processes, bytes.
func (r *Rig) memory() (sum int64) {
	r.t.Helper()
	for _, pid := range processes(r.PID()) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has just ended
		}
		for line := range bytes.Lines(b) {
			if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Pss:" {
				kB, err := strconv.ParseInt(string(f[1]), 10, 64)
				r.must(err)
				sum += kB << 10
			}
		}
	}
	return sum
}
