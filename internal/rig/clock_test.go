package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestClock steps the wall clock of a recorder back and forth. Every picture
// is in exactly one place of the record, segments are cut for the clock, and
// nothing is removed although all of it is older than a day for a while.
func TestClock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program of its own: not with -short")
	}
	t.Parallel()
	clock, err := os.OpenFile(filepath.Join(tempDir(t), "clock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()
	offset := time.Duration(0)
	set := func(o time.Duration) {
		t.Helper()
		offset = o
		if _, err := clock.WriteAt(fmt.Appendf(nil, "%-12d\n", o/time.Second), 0); err != nil { // in place: it is mapped
			t.Fatal(err)
		}
	}
	set(0)
	r := New(t, Options{Program: ClockProgram(t, clock.Name())})
	begin := time.Now()
	r.Start()
	r.Simulate(four()...)
	r.Settings(func(storage map[string]any) { storage["retentionDays"] = 1 })
	r.WaitRecording()
	steps := []time.Duration{-time.Hour, time.Hour, -24 * time.Hour, 24 * time.Hour, 24 * time.Hour, 25 * time.Hour, -49 * time.Hour, -4 * time.Second}
	var when []time.Time
	for _, step := range steps {
		time.Sleep(3 * time.Second)
		set(offset + step)
		when = append(when, time.Now())
	}
	time.Sleep(3 * time.Second)
	s := Session{r.Started, time.Now()}
	time.Sleep(500 * time.Millisecond)
	for _, c := range r.Cameras {
		r.Switch(c, false)
	}
	r.Until("all segments are in the ledger", Patience, func() bool {
		return len(r.Audit("segment.open")) == len(r.Audit("segment.close"))
	})

	cuts := map[string]int{}
	for _, rec := range r.Audit("segment.close") {
		if rec.Detail["end"] == "clock" {
			cuts[rec.Camera]++
		}
	}
	for _, c := range r.Cameras {
		if cuts[c.ID] != len(steps) {
			t.Errorf("%s: %d segments were cut for the clock, it was set %d times", c.Name, cuts[c.ID], len(steps))
		}
		f := r.Play(c, begin.Add(-72*time.Hour), begin.Add(72*time.Hour))
		l := c.Loss(s, f.Pictures)
		t.Log(l)
		if l.Have == 0 || l.Head > 0 || l.Holes > 0 || l.Tail > 500*time.Millisecond {
			t.Errorf("the steps cost pictures: %v", l)
			for _, p := range c.Feed.Sent(0) {
				if p.Readers > 0 && f.Pictures[p.Number] == 0 && p.At < s.Ended.UnixMilli() {
					for i := range steps {
						if d := time.UnixMilli(p.At).Sub(when[i]); d > -time.Second && d < 3*time.Second {
							t.Logf("picture %d (key %v) is missing, sent %v after step %d of %v", p.Number, p.Key, d, i, steps[i])
						}
					}
				}
			}
		}
		if d := f.Doubles(); len(d) > 0 {
			t.Errorf("%s: pictures are there twice: %v", c.Name, d)
		}
		x := r.ExportAll(c, begin.Add(-72*time.Hour), begin.Add(72*time.Hour))
		if gone := missing(f.Pictures, x.Pictures); len(gone) > 0 {
			t.Errorf("%s: an export of all lacks %d of %d pictures", c.Name, len(gone), len(f.Pictures))
		}
		if d := x.Doubles(); len(d) > 0 {
			t.Errorf("%s: pictures are twice in an export: %v", c.Name, d)
		}
		t.Logf("%s: gaps %v", c.Name, x.Gaps)
	}
	if l := r.Audit("retention"); len(l) > 0 {
		t.Errorf("footage was removed: %+v", l)
	}
	if l := r.Audit("clock"); len(l) != len(steps) {
		t.Errorf("%d records of the clock, it was set %d times", len(l), len(steps))
	}
	if !r.Stands("clock-step") {
		t.Errorf("nobody is told: %s", describe(r.Alerts(true)))
	}
	r.MustBeClean(true)
}
