package depay

import "testing"

// frames runs a reorderer over presentation times in units of 3000.
func frames(o *reorderer, b bool, pts ...int64) (dts, shown []int64) {
	for i, p := range pts {
		if b {
			o.bidirectional()
		}
		d, s := o.next(p*3000, i == 0)
		dts, shown = append(dts, d), append(shown, s)
	}
	return dts, shown
}

func TestReorder(t *testing.T) {
	cases := []struct {
		name    string
		depth   int
		b       bool
		pts     []int64
		shownAt bool // time stamps are kept
		delay   int64
	}{
		{"none", 0, false, []int64{0, 1, 2, 3, 4, 5, 6}, true, 0},
		{"none, not said", -1, false, []int64{0, 1, 2, 3, 9, 10, 11}, true, 0},
		{"one B", 1, true, []int64{0, 2, 1, 4, 3, 6, 5, 8, 7}, true, 3000},
		{"two B", 1, true, []int64{0, 3, 1, 2, 6, 4, 5, 9, 7, 8}, true, 3000},
		{"pyramid", 2, true, []int64{0, 4, 2, 1, 3, 8, 6, 5, 7}, true, 6000},
		{"learnt", -1, true, []int64{0, 3, 1, 2, 6, 4, 5, 9, 7, 8}, false, 0},
		{"declared, not used", 2, false, []int64{0, 1, 2, 3, 4, 5, 6}, true, 6000},
	}
	for _, c := range cases {
		o := &reorderer{}
		o.set(c.depth, 0)
		dts, shown := frames(o, c.b, c.pts...)
		for i := range dts {
			if dts[i] > shown[i] || i > 0 && dts[i] <= dts[i-1] {
				t.Errorf("%s: %v for %v", c.name, dts, shown)
				break
			}
			if c.shownAt && shown[i] != c.pts[i]*3000 {
				t.Errorf("%s: shown %v", c.name, shown)
				break
			}
		}
		if c.shownAt && shown[0]-dts[0] != c.delay {
			t.Errorf("%s: first decoded %d before it is shown", c.name, shown[0]-dts[0])
		}
		if !c.shownAt { // after the first group the stamps hold
			for i := 4; i < len(shown); i++ {
				if shown[i] != c.pts[i]*3000 {
					t.Errorf("%s: picture %d shown at %d", c.name, i, shown[i])
				}
			}
		}
	}
}

// TestReorderJumps: stamps that jump, once or for good, are passed on as they
// are and stop nothing.
func TestReorderJumps(t *testing.T) {
	o := &reorderer{}
	o.set(-1, 0)
	pts := []int64{0, 1, 2, 100000, 4, 5, -5000, -4999, 8, 7, 9, 10}
	dts, shown := frames(o, false, pts...)
	for i := range pts {
		if dts[i] != pts[i]*3000 || shown[i] != dts[i] {
			t.Errorf("picture %d: %d, %d", i, dts[i], shown[i])
		}
	}
	o = &reorderer{}
	o.set(1, 0)
	pts = []int64{0, 3, 1, 2, 6, 4, 5, 5000, 5003, 5001, 5002, 5006, 5004, 5005}
	dts, shown = frames(o, true, pts...)
	for i := range pts {
		if shown[i] != pts[i]*3000 || dts[i] > shown[i] || shown[i]-dts[i] > 9000*3 {
			t.Errorf("picture %d: %d, %d", i, dts[i], shown[i])
		}
	}
}

// TestReorderRelaxes: depth that is declared and not used goes after a while.
func TestReorderRelaxes(t *testing.T) {
	o := &reorderer{}
	o.set(2, 0)
	last := int64(-1 << 60)
	for i := range int64(300) {
		d, s := o.next(i*3000, i%50 == 0)
		if d <= last || d > s || s != i*3000 {
			t.Fatalf("picture %d: %d, %d", i, d, s)
		}
		if last = d; i > 150 && d != s {
			t.Fatalf("picture %d: still %d late", i, s-d)
		}
	}
}

// TestReorderEqual: two pictures of one stamp follow each other.
func TestReorderEqual(t *testing.T) {
	o := &reorderer{}
	o.set(0, 0)
	dts, shown := frames(o, false, 0, 1, 1, 2)
	if dts[2] != 3001 || shown[2] != 3001 || dts[3] != 6000 {
		t.Errorf("%v %v", dts, shown)
	}
}
