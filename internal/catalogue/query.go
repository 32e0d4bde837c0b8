package catalogue

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/media"
)

// maxReach bounds what one segment with a wild end makes all others cost.
const maxReach = int64(3600e9)

// reach is how far before a time a segment of a stream can start that still covers it: about a
// minute, more where there was no random access unit for long.
func (c *conn) reach(sid int64) (ns int64, err error) {
	err = c.query(`SELECT longest FROM streams WHERE sid = ?`, func(s *sqlite3.Stmt) bool { ns = s.ColumnInt64(0); return false }, sid)
	return min(max(ns, 1), maxReach), err
}

// sid returns the number of a stream, and its camera; 0 when there is none.
func (c *conn) sid(id media.StreamID) (sid int64, camera media.CameraID, err error) {
	err = c.query(`SELECT sid, camera FROM streams WHERE stream = ?`, func(s *sqlite3.Stmt) bool {
		sid = s.ColumnInt64(0)
		copy(camera[:], s.ColumnRawBlob(1))
		return false
	}, id[:])
	return sid, camera, err
}

// Segments calls fn for each segment of a stream that touches [from, to), by
// start and then by the order in the ledger, until fn returns false. Where our
// clock was stepped back two may overlap. fn must not call the catalogue.
func (c *Catalogue) Segments(id media.StreamID, from, to int64, fn func(Segment) bool) error {
	young := c.newest.of(id, from, to)
	if len(young) == 0 {
		return c.segments(id, from, to, fn)
	}
	var list []Segment
	if err := c.segments(id, from, to, func(g Segment) bool { list = append(list, g); return true }); err != nil {
		return err
	}
	for _, g := range merge(list, young) {
		if !fn(g) {
			break
		}
	}
	return nil
}

// segments is Segments of what was read in order.
func (c *Catalogue) segments(id media.StreamID, from, to int64, fn func(Segment) bool) error {
	return c.read(func(r *conn) error {
		sid, camera, err := r.sid(id)
		if err != nil || sid == 0 {
			return err
		}
		reach, err := r.reach(sid)
		if err != nil {
			return err
		}
		g := Segment{Stream: id, Camera: camera}
		return r.query(`SELECT `+segmentColumns+` FROM segments WHERE sid = ? AND start > ? AND start < ? ORDER BY start, leaf`, func(s *sqlite3.Stmt) bool {
			if g.scan(s); g.End <= from && g.Start < from {
				return true
			}
			return fn(g)
		}, sid, from-reach, to)
	})
}

// Find returns a segment by its id. While the catalogue is made anew it is
// slow.
func (c *Catalogue) Find(id media.SegmentID) (g Segment, ok bool, err error) {
	err = c.read(func(r *conn) error {
		return r.query(`SELECT start, leaf, id, len, first, span, g.bytes, cause, recovered, stream, camera FROM segments g JOIN streams USING (sid)
			WHERE substr(id, 1, 6) = ?`, func(s *sqlite3.Stmt) bool {
			if ok = bytes.Equal(s.ColumnRawBlob(2), id[:]); ok {
				g.scan(s)
				copy(g.Stream[:], s.ColumnRawBlob(9))
				copy(g.Camera[:], s.ColumnRawBlob(10))
			}
			return !ok
		}, id[:6])
	})
	return g, ok, err
}

// A Total is what there is of a stream.
type Total struct {
	Stream      media.StreamID
	Camera      media.CameraID
	Segments    int64
	Bytes       int64
	Recorded    int64 // ns
	First, Last int64 // start of the oldest and end of the newest segment, ns since the epoch; 0 when there is none
}

// Totals returns all streams that ever recorded, in the order of their first
// segment in the ledger.
func (c *Catalogue) Totals() (list []Total, err error) {
	err = c.read(func(r *conn) error {
		return r.query(`SELECT stream, camera, segments, bytes, recorded, last, (SELECT start FROM segments g WHERE g.sid = s.sid ORDER BY start LIMIT 1) FROM streams s ORDER BY sid`, func(s *sqlite3.Stmt) bool {
			t := Total{Segments: s.ColumnInt64(2), Bytes: s.ColumnInt64(3), Recorded: s.ColumnInt64(4), First: s.ColumnInt64(6)}
			if t.Segments > 0 {
				t.Last = s.ColumnInt64(5)
			}
			copy(t.Stream[:], s.ColumnRawBlob(0))
			copy(t.Camera[:], s.ColumnRawBlob(1))
			list = append(list, t)
			return true
		})
	})
	return list, err
}

// Oldest returns the n oldest segments of all streams that skip does not pass
// over (nil: none), by start: what retention removes first.
func (c *Catalogue) Oldest(n int, skip func(Segment) bool) (list []Segment, err error) {
	totals, err := c.Totals()
	if err != nil {
		return nil, err
	}
	for _, t := range totals {
		var mine []Segment
		if err := c.OldestOf(t.Stream, func(g Segment) bool {
			if skip == nil || !skip(g) {
				mine = append(mine, g)
			}
			return len(mine) < n
		}); err != nil {
			return nil, err
		}
		list = append(list, mine...)
		slices.SortFunc(list, byStart)
		list = list[:min(n, len(list))]
	}
	return list, nil
}

func byStart(a, b Segment) int {
	switch {
	case a.Start != b.Start && a.Start < b.Start, a.Start == b.Start && a.Leaf < b.Leaf:
		return -1
	default:
		return 1
	}
}

// OldestOf calls fn for the segments of a stream from the oldest on until it
// returns false. fn must not call the catalogue.
func (c *Catalogue) OldestOf(id media.StreamID, fn func(Segment) bool) error {
	return c.read(func(r *conn) error {
		sid, camera, err := r.sid(id)
		if err != nil || sid == 0 {
			return err
		}
		g := Segment{Stream: id, Camera: camera}
		return r.query(`SELECT `+segmentColumns+` FROM segments WHERE sid = ? ORDER BY start, leaf`, func(s *sqlite3.Stmt) bool {
			g.scan(s)
			return fn(g)
		}, sid)
	})
}

// A Hold is footage kept from retention. The marks that people put on the
// timeline are no holds: they keep nothing, and package mark has them.
type Hold struct {
	ID       [16]byte
	Camera   media.CameraID
	From, To int64 // ns since the epoch
	At       int64 // when it was put
	By       string
	Reason   string
}

// Holds returns the holds of a camera, of all with a zero id, by From.
func (c *Catalogue) Holds(camera media.CameraID) (list []Hold, err error) {
	err = c.read(func(r *conn) error {
		return r.query(`SELECT id, camera, since, till, at, by, reason FROM holds ORDER BY since, id`, func(s *sqlite3.Stmt) bool {
			h := Hold{From: s.ColumnInt64(2), To: s.ColumnInt64(3), At: s.ColumnInt64(4), By: s.ColumnText(5), Reason: s.ColumnText(6)}
			copy(h.ID[:], s.ColumnRawBlob(0))
			copy(h.Camera[:], s.ColumnRawBlob(1))
			if camera.IsZero() || h.Camera == camera {
				list = append(list, h)
			}
			return true
		})
	})
	return list, err
}

// Position returns how many leaves of the ledger are taken in, and of how many
// of them the metadata was lost.
func (c *Catalogue) Position() (leaves, lost uint64, err error) {
	err = c.read(func(r *conn) error {
		return r.query(`SELECT name, value FROM state`, func(s *sqlite3.Stmt) bool {
			switch s.ColumnText(0) {
			case "position":
				leaves = uint64(s.ColumnInt64(1))
			case "lost":
				lost = uint64(s.ColumnInt64(1))
			}
			return true
		})
	})
	if err != nil {
		err = fmt.Errorf("catalogue: %w", err)
	}
	return leaves, lost, err
}
