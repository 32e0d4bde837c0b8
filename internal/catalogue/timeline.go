package catalogue

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/media"
)

// A Range is a stretch with footage. Times are ns since the epoch.
type Range struct{ From, To int64 }

// A Gap is a stretch without footage whose cause is known. Where two overlap
// the later in the list is the newer.
type Gap struct {
	From, To int64
	Cause    media.Cause
	Lost     uint32 // pictures, where they were counted
	Segments int64  // removed, for what was removed
}

// A Timeline is what to draw.
type Timeline struct {
	Ranges []Range // in order, not touching
	Gaps   []Gap   // by From
}

// Timeline returns what there is of a stream in [from, to), all of it: of a few
// days. Ranges nearer to each other than resolution become one, unless a gap with a
// cause is between them. For longer stretches there is Outline.
func (c *Catalogue) Timeline(id media.StreamID, from, to int64, resolution time.Duration) (t Timeline, err error) {
	near := max(int64(resolution), int64(time.Second))
	young := merge(nil, c.newest.of(id, from, to))
	err = c.read(func(r *conn) error {
		sid, _, err := r.sid(id)
		if err != nil || sid == 0 && len(young) == 0 {
			return err
		}
		if err := r.gaps(&t, sid, from, to); err != nil {
			return err
		}
		seams := t.seams()
		add := func(a, b int64) {
			a, b = max(a, from), min(b, to)
			if a >= b {
				return
			}
			if n := len(t.Ranges); n > 0 && a <= t.Ranges[n-1].To+near && !seams.between(t.Ranges[n-1].To, a) {
				t.Ranges[n-1].To = max(t.Ranges[n-1].To, b)
				return
			}
			t.Ranges = append(t.Ranges, Range{a, b})
		}
		until := func(start int64) { // what is young starts before
			for ; len(young) > 0 && young[0].Start < start; young = young[1:] {
				add(young[0].Start, young[0].End)
			}
		}
		stretches, reach, err := r.stretches(sid, from, to, &t)
		if err != nil {
			return err
		}
		for _, x := range stretches {
			if x.full {
				until(x.From)
				add(x.From, x.To)
				continue
			}
			if err := r.query(`SELECT start, len FROM segments WHERE sid = ? AND start > ? AND start < ? ORDER BY start, leaf`, func(s *sqlite3.Stmt) bool {
				start := s.ColumnInt64(0)
				until(start)
				add(start, start+s.ColumnInt64(1))
				return true
			}, sid, x.From-reach, min(x.To, to)); err != nil {
				return err
			}
		}
		until(to)
		return nil
	})
	return t, err
}

// A stretch of slots that have footage. One that is full has nothing else, up to a spare; of others the segments tell.
type stretch struct {
	Range
	full bool
}

// spare is how much of a slot, ns, may be short of footage and it is full all the same. A range that
// begins or ends with a slot may be wrong by it.
const spare = int64(50e6)

// stretches returns those that have the footage of [from, to), in order, and how far before one a segment may start that
// has some of it. Those that are not full are further from each other than that, so that none is read twice.
// Where there is a gap with a cause none is full.
func (r *conn) stretches(sid, from, to int64, t *Timeline) (list []stretch, reach int64, err error) {
	if reach, err = r.reach(sid); err != nil {
		return nil, 0, err
	}
	gaps := slices.Clone(t.Gaps) // by From; how far each and those before it reach:
	for i := 1; i < len(gaps); i++ {
		gaps[i].To = max(gaps[i].To, gaps[i-1].To)
	}
	touched := func(a, b int64) bool { // by a gap, its ends included
		n, _ := slices.BinarySearchFunc(gaps, b+1, func(g Gap, at int64) int { return cmp.Compare(g.From, at) })
		return n > 0 && gaps[n-1].To >= a
	}
	err = r.slots(sid, floor(from, slot), floor(to-1, slot)+1, func(i int64, s slotSum) {
		a := i * slot
		x := stretch{Range{a, a + slot}, s.short() <= spare && !touched(a, a+slot)}
		n := len(list)
		switch {
		case n > 0 && list[n-1].full && x.full && list[n-1].To == a:
			list[n-1].To = x.To
		case !x.full && n > 0 && !list[n-1].full && a-list[n-1].To < reach:
			list[n-1].To = x.To
		case !x.full && n > 1 && list[n-1].full && !list[n-2].full && a-list[n-2].To < reach:
			list[n-2].To = x.To
			list = list[:n-1]
		default:
			list = append(list, x)
		}
	})
	return list, reach, err
}

// seams are where gaps begin and where they end, each in order.
type seams struct{ from, to []int64 }

func (t *Timeline) seams() (s seams) {
	for _, g := range t.Gaps {
		if g.To > g.From {
			s.from, s.to = append(s.from, g.From), append(s.to, g.To)
		}
	}
	slices.Sort(s.from)
	slices.Sort(s.to)
	return s
}

// between tells whether a gap begins in [a, b) or ends in (a, b].
func (s seams) between(a, b int64) bool {
	n, _ := slices.BinarySearch(s.from, a)
	m, _ := slices.BinarySearch(s.to, a+1)
	return n < len(s.from) && s.from[n] < b || m < len(s.to) && s.to[m] <= b
}

func (r *conn) gaps(t *Timeline, sid, from, to int64) error {
	over := 0
	if err := r.query(`SELECT since, till, cause, lost FROM gaps WHERE sid = ? AND till > ? ORDER BY till, leaf`, func(s *sqlite3.Stmt) bool {
		if s.ColumnInt64(0) >= to {
			over++
		}
		t.add(s, from, to)
		return over < before
	}, sid, from); err != nil {
		return err
	}
	if err := r.removed(t, sid, from, to); err != nil {
		return err
	}
	t.sort()
	return nil
}

// add takes a row of since, till, cause, lost.
func (t *Timeline) add(s *sqlite3.Stmt, from, to int64) {
	t.clip(Gap{From: s.ColumnInt64(0), To: s.ColumnInt64(1), Cause: media.Cause(s.ColumnText(2)), Lost: uint32(s.ColumnInt64(3))}, from, to)
}

func (t *Timeline) clip(g Gap, from, to int64) {
	if g.From = max(g.From, from); g.From < to && g.To > from {
		g.To = min(g.To, to)
		t.Gaps = append(t.Gaps, g)
	}
}

func (t *Timeline) sort() {
	slices.SortStableFunc(t.Gaps, func(a, b Gap) int { return cmp.Compare(a.From, b.From) })
}

// before is how many removed stretches that ended are looked at before a time, and how many gaps that
// begin behind one: another may reach it all the same, where a clock was set back.
const before = 64

// removed adds what was removed in [from, to). Stretches follow each other but
// where a clock was set back, so that they are read backwards and not all of years.
func (r *conn) removed(t *Timeline, sid, from, to int64) error {
	var list []Gap
	over := 0
	err := r.query(`SELECT start, till, cause, segments FROM removed WHERE sid = ? AND start < ? ORDER BY start DESC, leaf DESC`, func(s *sqlite3.Stmt) bool {
		g := Gap{From: s.ColumnInt64(0), To: s.ColumnInt64(1), Cause: media.Cause(s.ColumnText(2)), Segments: s.ColumnInt64(3)}
		if g.To <= from {
			over++
		} else {
			list = append(list, g)
		}
		return over < before
	}, sid, to)
	for _, g := range slices.Backward(list) {
		t.clip(g, from, to)
	}
	return err
}

// Removed returns what was removed of a stream in [from, to), by From.
func (c *Catalogue) Removed(id media.StreamID, from, to int64) ([]Gap, error) {
	var t Timeline
	err := c.read(func(r *conn) error {
		sid, _, err := r.sid(id)
		if err != nil || sid == 0 {
			return err
		}
		return r.removed(&t, sid, from, to)
	})
	return t.Gaps, err
}

// An Outline is a long stretch of time from far away: how much there is in each
// cell, and where there is nothing for long.
type Outline struct {
	Timeline         // ranges with no hole of a quarter of an hour, and what is known of the gaps between them
	From, Cell int64 // of the first cell, and their length: a multiple of 15 minutes
	Recorded   []int64
}

// Bounds of an outline.
const (
	outlineGaps   = 256 // the longest ones
	outlineCauses = 32  // of a gap, the latest
)

// Outline returns the outline of [from, to) in at most so many cells. It costs as
// much as there are quarters of an hour, however many segments there are. While
// the catalogue is made anew it is without the newest.
func (c *Catalogue) Outline(id media.StreamID, from, to int64, most int) (o Outline, err error) {
	first, last := floor(from, slot), floor(to-1, slot)+1
	per := max((last-first+int64(most)-1)/int64(most), 1)
	first = floor(first, per) * per // the same cells wherever the stretch begins
	o.From, o.Cell = first*slot, per*slot
	o.Recorded = make([]int64, (last-first+per-1)/per)
	var runs []Range // of slots, empty
	err = c.read(func(r *conn) error {
		sid, _, err := r.sid(id)
		if err != nil || sid == 0 {
			return err
		}
		next := floor(from, slot)
		if err := r.slots(sid, first, first+int64(len(o.Recorded))*per, func(n int64, s slotSum) {
			o.Recorded[(n-first)/per] += s.recorded
			if n >= next && s.recorded > 0 {
				if n > next {
					runs = append(runs, Range{next, n})
				}
				next = n + 1
			}
		}); err != nil {
			return err
		}
		if next < last {
			runs = append(runs, Range{next, last})
		}
		if len(runs) > outlineGaps {
			slices.SortStableFunc(runs, func(a, b Range) int { return cmp.Compare(b.To-b.From, a.To-a.From) })
			runs = runs[:outlineGaps]
			slices.SortFunc(runs, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
		}
		at := from
		for _, run := range runs {
			g, err := r.hole(sid, max(run.From*slot, from), min(run.To*slot, to), from, to)
			if err != nil {
				return err
			}
			if g.From > at {
				o.Ranges = append(o.Ranges, Range{at, g.From})
			}
			at = g.To
			most := len(o.Gaps) + outlineCauses
			if err := r.query(`SELECT since, till, cause, lost FROM gaps WHERE sid = ?1 AND till > ?2
				AND till <= ifnull((SELECT till FROM gaps WHERE sid = ?1 AND till >= ?3 ORDER BY till, leaf LIMIT 1 OFFSET ?4), ?5)
				ORDER BY till DESC, leaf DESC`, func(s *sqlite3.Stmt) bool {
				o.add(s, g.From, g.To)
				return len(o.Gaps) < most
			}, sid, g.From, g.To, before, int64(math.MaxInt64)); err != nil {
				return err
			}
			if err := r.removed(&o.Timeline, sid, g.From, g.To); err != nil {
				return err
			}
		}
		if at < to {
			o.Ranges = append(o.Ranges, Range{at, to})
		}
		o.sort()
		return nil
	})
	return o, err
}

// hole returns where footage ends before a and begins after b, which are to the
// quarter of an hour, within [from, to).
func (r *conn) hole(sid, a, b, from, to int64) (g Range, err error) {
	g = Range{a, b}
	if a > from {
		err = r.query(`SELECT start + len FROM segments WHERE sid = ? AND start < ? ORDER BY start DESC, leaf DESC LIMIT 1`, func(s *sqlite3.Stmt) bool {
			if end := s.ColumnInt64(0); end > a-slot && end < a {
				g.From = max(end, from)
			}
			return false
		}, sid, a)
	}
	if b < to && err == nil {
		err = r.query(`SELECT start FROM segments WHERE sid = ? AND start >= ? ORDER BY start LIMIT 1`, func(s *sqlite3.Stmt) bool {
			if start := s.ColumnInt64(0); start < b+slot {
				g.To = min(start, to)
			}
			return false
		}, sid, b)
	}
	return g, err
}

// A Bucket is the density of a stretch of time.
type Bucket struct {
	From, To int64 // ns since the epoch
	Recorded int64 // ns; may be more than the stretch where the clock was stepped back
	Bytes    int64
	Segments int64 // that start in it
}

// Density returns the buckets of [from, to) that have footage. The bucket is
// rounded up to a multiple of 15 minutes, and from down to one of the bucket.
func (c *Catalogue) Density(id media.StreamID, from, to int64, bucket time.Duration) ([]Bucket, error) {
	b := max(floor(int64(bucket)+slot-1, slot), 1) * slot
	begin := floor(from, b) * b
	return c.density(id, begin, to, func(at int64) (int64, int64) {
		n := begin + floor(at-begin, b)*b
		return n, n + b
	})
}

// Days returns the days of [from, to) that have footage, as the location has
// days: of 23 or 25 hours when clocks change.
func (c *Catalogue) Days(id media.StreamID, from, to int64, in *time.Location) ([]Bucket, error) {
	a, _ := day(from, in)
	return c.density(id, a, to, func(at int64) (int64, int64) { return day(at, in) })
}

func day(at int64, in *time.Location) (from, to int64) {
	y, m, d := time.Unix(0, at).In(in).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, in).UnixNano(), time.Date(y, m, d+1, 0, 0, 0, 0, in).UnixNano()
}

func (c *Catalogue) density(id media.StreamID, from, to int64, bucket func(at int64) (from, to int64)) (list []Bucket, err error) {
	err = c.read(func(r *conn) error {
		sid, _, err := r.sid(id)
		if err != nil || sid == 0 {
			return err
		}
		return r.slots(sid, floor(from, slot), floor(to-1, slot)+1, func(i int64, s slotSum) {
			at := i * slot
			if n := len(list); n == 0 || at >= list[n-1].To {
				a, b := bucket(at)
				list = append(list, Bucket{From: a, To: b})
			}
			b := &list[len(list)-1]
			b.Recorded += s.recorded
			b.Bytes += s.bytes
			b.Segments += s.segments
		})
	})
	return list, err
}
