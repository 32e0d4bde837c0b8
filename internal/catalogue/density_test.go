package catalogue

import (
	"errors"
	"math"
	"testing"
)

// TestPack: a day comes back as it was, whatever is in it.
func TestPack(t *testing.T) {
	full := slotSum{recorded: slot, bytes: 450e6, segments: 15, covered: slot}
	always, odd := daySum{}, daySum{}
	for i := range always {
		always[i] = full
	}
	odd[0] = slotSum{recorded: -5, bytes: math.MinInt64, segments: math.MaxInt64, covered: 2 * slot}
	odd[7] = slotSum{segments: 1} // of no length
	odd[95] = slotSum{recorded: 3 * slot, bytes: 1, segments: 2, covered: slot - 1}
	for name, c := range map[string]struct {
		day  daySum
		most int // bytes
	}{"nothing": {}, "all of it": {always, 96 * 9}, "odd": {odd, 80}, "the last": {daySum{95: full}, 9}} {
		b := c.day.pack(nil)
		if len(b) > c.most {
			t.Errorf("%s: %d bytes", name, len(b))
		}
		var got daySum
		last := -1
		if err := unpack(b, func(i int, s slotSum) {
			if i <= last {
				t.Errorf("%s: slot %d after %d", name, i, last)
			}
			last, got[i] = i, s
		}); err != nil || got != c.day {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		for n := range b { // broken off anywhere it is damaged, or has the slots before
			if err := unpack(b[:n], func(i int, s slotSum) {
				if s != c.day[i] {
					t.Errorf("%s, the first %d bytes: slot %d is %v", name, n, i, s)
				}
			}); err != nil && !errors.Is(err, errReplace) {
				t.Errorf("%s, the first %d bytes: %v", name, n, err)
			}
		}
	}
}

// FuzzUnpack: no row of the database, which is not authenticated, leads beyond a day.
func FuzzUnpack(f *testing.F) {
	f.Add((&daySum{3: {recorded: slot, bytes: 1, segments: 1, covered: slot}, 95: {segments: 1}}).pack(nil))
	f.Add([]byte{95, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var day daySum
		if unpack(b, func(i int, s slotSum) { day[i] = s }) != nil {
			return
		}
		again := daySum{}
		if err := unpack(day.pack(nil), func(i int, s slotSum) { again[i] = s }); err != nil {
			t.Fatal(err)
		}
		for i, s := range day {
			if s.empty() {
				s = slotSum{}
			}
			if again[i] != s {
				t.Fatalf("slot %d: %v, then %v", i, s, again[i])
			}
		}
	})
}
