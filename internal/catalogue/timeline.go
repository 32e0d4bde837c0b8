package catalogue

import (
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

// Timeline returns what there is of a stream in [from, to). Ranges nearer to
// each other than resolution become one, unless a gap with a cause is between
// them; a resolution of 15 minutes or more over more than two days answers from
// the density, to the slot.
func (c *Catalogue) Timeline(id media.StreamID, from, to int64, resolution time.Duration) (t Timeline, err error) {
	near := max(int64(resolution), int64(time.Second))
	coarse := near >= slot && to-from > 48*int64(time.Hour)
	young := merge(nil, c.newest.of(id, from, to))
	err = c.read(func(r *conn) error {
		sid, _, err := r.sid(id)
		if err != nil || sid == 0 && len(young) == 0 {
			return err
		}
		if err := r.gaps(&t, sid, from, to); err != nil {
			return err
		}
		add := func(a, b int64, near int64) {
			a, b = max(a, from), min(b, to)
			if a >= b {
				return
			}
			if n := len(t.Ranges); n > 0 && a <= t.Ranges[n-1].To+near && (coarse || !t.gapBetween(t.Ranges[n-1].To, a)) {
				t.Ranges[n-1].To = max(t.Ranges[n-1].To, b)
				return
			}
			t.Ranges = append(t.Ranges, Range{a, b})
		}
		if coarse { // while the catalogue is made anew, without the newest
			return r.query(`SELECT slot FROM density WHERE sid = ? AND slot >= ? AND slot < ? AND recorded > 0 ORDER BY slot`, func(s *sqlite3.Stmt) bool {
				n := s.ColumnInt64(0)
				add(n*slot, (n+1)*slot, 0)
				return true
			}, sid, floor(from, slot), floor(to-1, slot)+1)
		}
		until := func(start int64) { // what is young starts before
			for ; len(young) > 0 && young[0].Start < start; young = young[1:] {
				add(young[0].Start, young[0].End, near)
			}
		}
		err = r.query(`SELECT start, len FROM segments WHERE sid = ? AND start > ? AND start < ? ORDER BY start, leaf`, func(s *sqlite3.Stmt) bool {
			start := s.ColumnInt64(0)
			until(start)
			add(start, start+s.ColumnInt64(1), near)
			return true
		}, sid, from-longest, to)
		until(to)
		return err
	})
	return t, err
}

// gapBetween tells whether a gap ends in [a, b].
func (t *Timeline) gapBetween(a, b int64) bool {
	return slices.ContainsFunc(t.Gaps, func(g Gap) bool {
		return g.To > a && g.To <= b && g.To > g.From || g.From >= a && g.From < b && g.To > g.From
	})
}

func (r *conn) gaps(t *Timeline, sid, from, to int64) error {
	add := func(g Gap) {
		if g.From = max(g.From, from); g.From < to && g.To > from {
			g.To = min(g.To, to)
			t.Gaps = append(t.Gaps, g)
		}
	}
	// A gap that ends later than to may begin before it, so the next one is asked for too.
	if err := r.query(`SELECT since, till, cause, lost FROM gaps WHERE sid = ?1 AND till > ?2 AND till <= ifnull((SELECT till FROM gaps WHERE sid = ?1 AND till >= ?3 ORDER BY till LIMIT 1), ?3)
		ORDER BY till, leaf`, func(s *sqlite3.Stmt) bool {
		add(Gap{From: s.ColumnInt64(0), To: s.ColumnInt64(1), Cause: media.Cause(s.ColumnText(2)), Lost: uint32(s.ColumnInt64(3))})
		return true
	}, sid, from, to); err != nil {
		return err
	}
	if err := r.query(`SELECT start, till, cause, segments FROM removed WHERE sid = ? AND start < ? AND till > ? ORDER BY start, leaf`, func(s *sqlite3.Stmt) bool {
		add(Gap{From: s.ColumnInt64(0), To: s.ColumnInt64(1), Cause: media.Cause(s.ColumnText(2)), Segments: s.ColumnInt64(3)})
		return true
	}, sid, to, from); err != nil {
		return err
	}
	slices.SortStableFunc(t.Gaps, func(a, b Gap) int { return int(min(max(a.From-b.From, -1), 1)) })
	return nil
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
		return r.query(`SELECT slot, recorded, bytes, segments FROM density WHERE sid = ? AND slot >= ? AND slot < ? ORDER BY slot`, func(s *sqlite3.Stmt) bool {
			at := s.ColumnInt64(0) * slot
			if n := len(list); n == 0 || at >= list[n-1].To {
				a, b := bucket(at)
				list = append(list, Bucket{From: a, To: b})
			}
			b := &list[len(list)-1]
			b.Recorded += s.ColumnInt64(1)
			b.Bytes += s.ColumnInt64(2)
			b.Segments += s.ColumnInt64(3)
			return true
		}, sid, floor(from, slot), floor(to-1, slot)+1)
	})
	return list, err
}
