package catalogue

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"vigil/internal/ledger"
	"vigil/internal/media"
)

// everySegment is the timeline's ranges by the segments alone.
func everySegment(t *testing.T, c *Catalogue, gaps []Gap, from, to int64, near time.Duration) (list []Range) {
	t.Helper()
	seams := (&Timeline{Gaps: gaps}).seams()
	if err := c.segments(str, from, to, func(g Segment) bool {
		a, b := max(g.Start, from), min(g.End, to)
		if n := len(list); a >= b {
			return true
		} else if n > 0 && a <= list[n-1].To+int64(near) && !seams.between(list[n-1].To, a) {
			list[n-1].To = max(list[n-1].To, b)
		} else {
			list = append(list, Range{a, b})
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestStretches: a timeline that reads the segments of no full slot says what all segments say, whatever the clock did and
// retention took; and a catalogue that is made anew is equal to one that followed.
func TestStretches(t *testing.T) {
	full := 0
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 5))
		l := newLedger(t)
		c, _, _ := newCatalogue(t, Options{})
		var there []ledger.SegmentMeta
		at := int64(random.IntN(900)) * 1e9
		for n := range 150 {
			length := int64(60e9)
			switch random.IntN(20) {
			case 0:
				length = random.Int64N(3600e9)
			case 1:
				length = int64(random.IntN(100)) * 1e6
			}
			s := seg(byte(n), 0, 0)
			s.Start, s.End = t0+at, t0+at+length
			switch random.IntN(25) {
			case 0:
				s.Before = &ledger.Gap{Cause: media.Network, From: s.Start - []int64{0, 20e6, 300e6, 5e9}[random.IntN(4)], Lost: 3}
			case 1:
				s.EndCause = media.Stopped
			}
			add(t, l, s)
			there = append(there, s)
			at += length
			switch random.IntN(40) {
			case 0, 1:
				at += []int64{1e6, 20e6, 300e6}[random.IntN(3)]
			case 2:
				at += []int64{2e9, 20e9, 200e9, 5000e9}[random.IntN(4)]
			case 3: // the clock is set back
				at -= random.Int64N(4000e9)
			}
			if random.IntN(30) == 0 {
				i := random.IntN(len(there))
				add(t, l, tomb(there[i], media.Retention))
				there = slices.Delete(there, i, i+1)
			}
			if random.IntN(10) == 0 {
				catchUp(t, c, l)
			}
		}
		catchUp(t, c, l)
		for range 60 {
			from := t0 + random.Int64N(12000e9) - 1000e9
			to := from + random.Int64N(20000e9)
			near := []time.Duration{time.Second, time.Minute}[random.IntN(2)]
			got, err := c.Timeline(str, from, to, near)
			if err != nil {
				t.Fatal(err)
			}
			want := everySegment(t, c, got.Gaps, from, to, near)
			same := slices.EqualFunc(got.Ranges, want, func(a, b Range) bool {
				return max(a.From-b.From, b.From-a.From, a.To-b.To, b.To-a.To) <= spare
			})
			if !same {
				t.Errorf("%d: from %d to %d by %v: %v, the segments say %v", seed, from, to, near, got.Ranges, want)
			}
			if err := c.read(func(r *conn) error {
				sid, _, err := r.sid(str)
				if err != nil {
					return err
				}
				list, _, err := r.stretches(sid, from, to, &got)
				for _, x := range list {
					if x.full {
						full++
					}
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range there { // nothing is left of a slot
			add(t, l, tomb(s, media.Retention))
		}
		if random.IntN(2) == 0 {
			catchUp(t, c, l)
			add(t, l, seg(200, 100, 60))
		}
		catchUp(t, c, l)
		if list, err := c.Days(str, 0, t0+1e15, time.UTC); err != nil || len(list) > 1 {
			t.Errorf("%d: all is removed but one, and there are days %v, %v", seed, list, err)
		}
		anew, _, _ := newCatalogue(t, Options{})
		catchUp(t, anew, l)
		if err := c.Equal(anew); err != nil {
			t.Errorf("%d: %v", seed, err)
		}
	}
	if full < 500 {
		t.Errorf("only %d full stretches were looked at", full)
	}
}

// TestGapsOverlap: where the clock was set back, a gap that ends last is known of all the time.
func TestGapsOverlap(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	short, long := seg(1, 100, 60), seg(2, 200, 60)
	short.Before = &ledger.Gap{Cause: media.CameraLost, From: t0 + 60e9}
	long.Before = &ledger.Gap{Cause: media.Network, From: t0 + 20e9}
	add(t, l, short, long)
	catchUp(t, c, l)
	got, err := c.Timeline(str, t0+30e9, t0+50e9, time.Second)
	if want := []Gap{{From: t0 + 30e9, To: t0 + 50e9, Cause: media.Network}}; err != nil || !slices.Equal(got.Gaps, want) {
		t.Errorf("%v, %v, want %v", got.Gaps, err, want)
	}
	o, err := c.Outline(str, t0-100*86400e9, t0+50e9, 100)
	if n := len(o.Gaps); err != nil || n == 0 || o.Gaps[n-1].Cause != media.Network {
		t.Errorf("from far away %v, %v", o.Gaps, err)
	}
}

// TestStretchesBehind: what is recorded after a clock was ahead for a while is full where it is whole, and only there.
func TestStretchesBehind(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	base := (floor(t0, slot) + 1) * slot
	add(t, l, seg(0, 10_000_000, 60))
	for n := range 60 { // four slots, the third of which has a hole that is filled twice, but for a second
		s := seg(byte(n+1), 0, 0)
		s.Start = base + int64(n)*60e9
		s.End = s.Start + 60e9
		if n == 40 {
			s.End -= 2e9
		}
		add(t, l, s)
	}
	for n := range 2 {
		s := seg(byte(n+100), 0, 0)
		s.Start = base + 41*60e9 - 2e9
		s.End = s.Start + 1e9
		add(t, l, s)
	}
	catchUp(t, c, l)
	if err := c.read(func(r *conn) error {
		sid, _, err := r.sid(str)
		if err != nil {
			return err
		}
		var none Timeline
		list, _, err := r.stretches(sid, base, base+4*slot, &none)
		want := []stretch{{Range{base, base + 2*slot}, true}, {Range{base + 2*slot, base + 3*slot}, false}, {Range{base + 3*slot, base + 4*slot}, true}}
		if !slices.Equal(list, want) {
			t.Errorf("%v, want %v", list, want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
