package catalogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/ledger"
	"vigil/internal/media"
)

// A Source is the ledger, or one made up for a bench.
type Source interface {
	Size() uint64
	RootAt(size uint64) (ledger.Digest, error)
	Follow(from uint64, fn func(i uint64, leaf ledger.Leaf) error) error
	Changed() <-chan struct{}
}

// errBatch ends a transaction that is large enough.
var errBatch = errors.New("enough for a transaction")

// Follow reads what the ledger has and then what comes, until ctx ends. It
// returns nil then, and an error only when the database cannot be written at all.
func (c *Catalogue) Follow(ctx context.Context, l Source) error {
	for {
		changed := l.Changed()
		if err := c.CatchUp(ctx, l); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// CatchUp reads what the ledger has now. A catalogue of another ledger, or of
// one that was put back, is made anew. Stopped at any moment it goes on where it
// was.
func (c *Catalogue) CatchUp(ctx context.Context, l Source) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	for try := 0; ; try++ {
		err := c.catchUp(ctx, l)
		if err == nil || try == 3 || !replaceable(err) {
			if err != nil {
				err = fmt.Errorf("catalogue: follow the ledger: %w", err)
			}
			return err
		}
		if err := c.replace(err); err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
	}
}

func (c *Catalogue) catchUp(ctx context.Context, l Source) error {
	if c.w == nil {
		return ErrClosed
	}
	if sick := c.sick.Swap(nil); sick != nil {
		return *sick
	}
	at, root, err := c.w.position()
	if err != nil {
		return err
	}
	if at > l.Size() {
		return fmt.Errorf("%w: it knows %d leaves and the ledger has %d", errReplace, at, l.Size())
	}
	if want, err := l.RootAt(at); err != nil {
		return err
	} else if at > 0 && !bytes.Equal(root, want[:]) {
		return fmt.Errorf("%w: it followed another ledger", errReplace)
	}
	for bulk := true; bulk; { // more comes while the index of ids is made
		if at, bulk, err = c.readUp(ctx, l, at); err != nil {
			return err
		}
		if err := c.index(l); err != nil {
			return err
		}
	}
	c.newest.forget()
	return nil
}

// readUp reads what the ledger has, and tells whether the index of ids was left out.
func (c *Catalogue) readUp(ctx context.Context, l Source, at uint64) (_ uint64, bulk bool, err error) {
	for at < l.Size() {
		if err := ctx.Err(); err != nil {
			return at, bulk, err
		}
		if !bulk && l.Size()-at > c.opts.Bulk { // at the start, or the ledger runs away: an index of ids costs more than all else
			bulk = true
			if err := c.w.db.Exec(dropIDs); err != nil {
				return at, bulk, err
			}
		}
		if bulk {
			if err := c.newest.read(l); err != nil {
				return at, bulk, err
			}
		}
		if at, err = c.batch(l, at); err != nil {
			return at, bulk, err
		}
	}
	return at, bulk, nil
}

// newestEvery is how often the newest are read while the index is made: what ends meanwhile is
// neither being written any more nor in the catalogue.
const newestEvery = 100 * time.Millisecond

// index makes the index of ids, which takes seconds where there are millions.
func (c *Catalogue) index(l Source) error {
	done := make(chan error, 1)
	go func() {
		if c.indexing != nil {
			c.indexing()
		}
		done <- c.w.exec(createIDs)
	}()
	tick := time.NewTicker(newestEvery)
	defer tick.Stop()
	var failed error
	for {
		select {
		case err := <-done:
			return errors.Join(err, failed)
		case <-tick.C:
			if failed == nil {
				failed = c.newest.read(l)
			}
		}
	}
}

// batch reads leaves from at in one transaction, which also notes how far.
func (c *Catalogue) batch(l Source, at uint64) (uint64, error) {
	w := c.w
	if err := w.exec(`BEGIN IMMEDIATE`); err != nil {
		return at, err
	}
	b := batch{conn: w, sids: map[media.StreamID]*stream{}, days: map[dayKey]*dayChange{}}
	first, size := at, l.Size()
	start := time.Now()
	err := l.Follow(at, func(i uint64, leaf ledger.Leaf) error {
		if i >= size || int(i-first) >= c.opts.Batch || i > first+64 && i%64 == 0 && time.Since(start) > time.Second {
			return errBatch
		}
		if i != at {
			return fmt.Errorf("leaf %d where leaf %d was expected", i, at)
		}
		at = i + 1
		return b.leaf(i, leaf)
	})
	if errors.Is(err, errBatch) {
		err = nil
	}
	if err == nil {
		err = b.finish()
	}
	if err == nil {
		var root ledger.Digest
		if root, err = l.RootAt(at); err == nil {
			err = w.exec(`INSERT OR REPLACE INTO state VALUES ('position', ?)`, at)
		}
		if err == nil {
			err = w.exec(`INSERT OR REPLACE INTO state VALUES ('root', ?)`, root[:])
		}
	}
	if err == nil {
		err = w.exec(`COMMIT`)
	}
	if err != nil {
		_ = w.exec(`ROLLBACK`)
		return first, err
	}
	return at, nil
}

// position returns how far the ledger was read, and its root there.
func (c *conn) position() (at uint64, root []byte, err error) {
	err = c.query(`SELECT name, value FROM state`, func(s *sqlite3.Stmt) bool {
		switch s.ColumnText(0) {
		case "position":
			at = uint64(s.ColumnInt64(1))
		case "root":
			root = s.ColumnBlob(1, nil)
		}
		return true
	})
	return at, root, err
}

// A batch is the leaves of one transaction. Sums are kept in memory until its
// end.
type batch struct {
	*conn
	sids map[media.StreamID]*stream
	days map[dayKey]*dayChange
	lost int64 // leaves whose metadata is damaged
}

type stream struct {
	sid                       int64
	segments, bytes, recorded int64    // changes
	last, longest             int64    // newest end, longest segment
	newest                    int64    // no segment starts later
	before                    struct { // the one that starts then, if it is known and there
		ok    bool
		end   int64
		cause media.Cause
	}
}

type dayKey struct{ sid, day int64 }

// leaf takes one leaf in. A leaf of a kind that has no footage is passed over;
// one that cannot be read is counted.
func (b *batch) leaf(i uint64, l ledger.Leaf) error {
	if l.Lost {
		b.lost++
		return nil
	}
	var err error
	switch l.Kind {
	case ledger.Segment:
		var m ledger.SegmentMeta
		if m, err = ledger.ParseSegment(l); err == nil {
			return b.segment(i, m)
		}
	case ledger.Tombstone:
		var m ledger.TombstoneMeta
		if m, err = ledger.ParseTombstone(l); err == nil {
			return b.tombstone(i, m)
		}
	case ledger.Hold:
		var m ledger.HoldMeta
		if m, err = ledger.ParseHold(l); err == nil {
			return b.hold(m)
		}
	}
	if err != nil { // of a newer version, or damaged before it was sealed
		b.lost++
	}
	return nil
}

func (b *batch) stream(id media.StreamID, camera media.CameraID) (*stream, error) {
	if s := b.sids[id]; s != nil {
		return s, nil
	}
	s := &stream{}
	find := func() error {
		return b.query(`SELECT sid, last, longest FROM streams WHERE stream = ?`, func(q *sqlite3.Stmt) bool {
			s.sid, s.last, s.longest = q.ColumnInt64(0), q.ColumnInt64(1), q.ColumnInt64(2)
			s.newest = s.last
			return false
		}, id[:])
	}
	if err := find(); err != nil {
		return nil, err
	}
	if s.sid == 0 {
		if err := b.exec(`INSERT INTO streams VALUES ((SELECT ifnull(max(sid), 0) + 1 FROM streams), ?, ?, 0, 0, 0, 0, 0)`, id[:], camera[:]); err != nil {
			return nil, err
		}
		if err := find(); err != nil {
			return nil, err
		}
	}
	b.sids[id] = s
	return s, nil
}

// seam is the longest stretch between two segments, ns, that is no gap.
const seam = 1e9

// segment adds a segment. The same segment twice counts once; two that overlap
// because the clock went back are both kept.
func (b *batch) segment(i uint64, m ledger.SegmentMeta) error {
	s, err := b.stream(m.Stream, m.Camera)
	if err != nil {
		return err
	}
	m.End = max(m.End, m.Start)
	// Most begin where the last ended: nothing is asked for them. Others follow a clock that was set back: what of them is behind the end
	// of any other that touches them counts as covering, nothing where it is not found out at a bounded cost which those are.
	follows := m.Start > s.newest && m.Start >= s.last
	known, had, since, till := false, m.Start, m.Start-1, m.Start+1
	if m.Start < s.last {
		if s.longest > maxReach {
			had = m.End
		} else {
			since, till = m.Start-max(s.longest, 1), max(m.End, till)
		}
	}
	if !follows {
		if err := b.query(`SELECT start, start + len, id FROM segments WHERE sid = ? AND start > ? AND start < ?`, func(q *sqlite3.Stmt) bool {
			known = q.ColumnInt64(0) == m.Start && bytes.Equal(q.ColumnRawBlob(2), m.Segment[:])
			had = max(had, q.ColumnInt64(1))
			return !known
		}, s.sid, since, till); err != nil || known {
			return err
		}
	}
	again := min(had, m.End) - m.Start
	if err := b.exec(`INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, s.sid, m.Start, i, m.Segment[:], m.End-m.Start,
		int64(m.First), int64(m.Last-m.First), m.Bytes, string(m.EndCause), m.Recovered, again); err != nil {
		return err
	}
	d := b.count(s.sid, m.Start, m.End, m.Bytes, 1, again)
	d.least = min(d.least, int64(i))
	s.segments, s.bytes, s.recorded = s.segments+1, s.bytes+m.Bytes, s.recorded+m.End-m.Start
	s.last, s.longest = max(s.last, m.End), max(s.longest, m.End-m.Start)
	g := m.Before
	if g == nil || g.From == 0 { // unknown: since the segment before, and as that ended
		from, ended := m.Start, media.Cause("")
		if s.before.ok && m.Start > s.newest {
			from, ended = s.before.end, s.before.cause
		} else if err := b.query(`SELECT start + len, cause FROM segments WHERE sid = ? AND start < ? ORDER BY start DESC, leaf DESC LIMIT 1`, func(q *sqlite3.Stmt) bool {
			from, ended = q.ColumnInt64(0), cause(q.ColumnRawText(1))
			return false
		}, s.sid, m.Start); err != nil {
			return err
		}
		switch {
		case g != nil:
			g.From = from
		case ended != "" && ended != media.CutLength && ended != media.CutCodec && m.Start-from > seam:
			g = &ledger.Gap{Cause: ended, From: from}
		}
	}
	if m.Start >= s.newest {
		s.newest, s.before.ok, s.before.end, s.before.cause = m.Start, true, m.End, m.EndCause
	}
	if g != nil {
		return b.exec(`INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?)`, s.sid, m.Start, i, min(g.From, m.Start), string(g.Cause), int64(g.Lost))
	}
	return nil
}

// count adds a segment to the slots that it touches, or takes it away. What of it
// was again does not cover anything. It returns the day in which it starts.
func (b *batch) count(sid, start, end, bytes, sign, again int64) (first *dayChange) {
	total := max(end-start, 1)
	for n := floor(start, slot); ; n++ {
		from, to := max(start, n*slot), min(end, (n+1)*slot)
		k := dayKey{sid, floor(n, perDay)}
		d := b.days[k]
		if d == nil {
			d = &dayChange{least: noLeaf}
			b.days[k] = d
		}
		s := slotSum{recorded: sign * (to - from), covered: sign * max(to-max(from, start+again), 0),
			bytes: sign * int64(float64(bytes)*float64(to-from)/float64(total))}
		if n == floor(start, slot) {
			s.segments, first = sign, d
		}
		d.daySum[n-k.day*perDay].add(s)
		if to >= end {
			return first
		}
	}
}

func floor(a, b int64) int64 {
	n := a / b
	if a%b < 0 {
		n--
	}
	return n
}

// together is how near two removed segments are to be one stretch.
const together = int64(2 * time.Second)

// tombstone takes a segment away. The stretch it leaves joins the one that ends
// where it starts, so that years of retention are one row.
func (b *batch) tombstone(i uint64, m ledger.TombstoneMeta) error {
	s, err := b.stream(m.Stream, m.Camera)
	if err != nil {
		return err
	}
	var leaf, length, size, again int64
	found := false
	if err := b.query(`SELECT leaf, len, bytes, id, again FROM segments WHERE sid = ? AND start = ?`, func(q *sqlite3.Stmt) bool {
		if found = bytes.Equal(q.ColumnRawBlob(3), m.Segment[:]); found {
			leaf, length, size, again = q.ColumnInt64(0), q.ColumnInt64(1), q.ColumnInt64(2), q.ColumnInt64(4)
		}
		return !found
	}, s.sid, m.Start); err != nil || !found {
		return err
	}
	if err := b.exec(`DELETE FROM segments WHERE sid = ? AND start = ? AND leaf = ?`, s.sid, m.Start, leaf); err != nil {
		return err
	}
	if m.Start == s.newest {
		s.before.ok = false
	}
	end := m.Start + length
	s.segments, s.bytes, s.recorded = s.segments-1, s.bytes-size, s.recorded-length
	b.count(s.sid, m.Start, end, size, -1, again).fewer = true
	var from, till, at int64
	joined := false
	if err := b.query(`SELECT start, leaf, till, cause FROM removed WHERE sid = ? AND start <= ? ORDER BY start DESC, leaf DESC LIMIT 1`, func(q *sqlite3.Stmt) bool {
		from, at, till = q.ColumnInt64(0), q.ColumnInt64(1), q.ColumnInt64(2)
		joined = string(q.ColumnRawText(3)) == string(m.Why) && till >= m.Start-together && till <= m.Start+together
		return false
	}, s.sid, m.Start); err != nil {
		return err
	}
	if joined {
		return b.exec(`UPDATE removed SET till = max(till, ?), segments = segments + 1 WHERE sid = ? AND start = ? AND leaf = ?`, end, s.sid, from, at)
	}
	return b.exec(`INSERT INTO removed VALUES (?, ?, ?, ?, ?, 1)`, s.sid, m.Start, i, end, string(m.Why))
}

func (b *batch) hold(m ledger.HoldMeta) error {
	if m.Released {
		return b.exec(`DELETE FROM holds WHERE id = ?`, m.Hold[:])
	}
	return b.exec(`INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?, ?, ?)`, m.Hold[:], m.Camera[:], m.From, m.To, m.At, m.By, m.Reason)
}

// finish writes the sums.
func (b *batch) finish() error {
	for k, d := range b.days {
		if err := b.addDay(k.sid, k.day, d); err != nil {
			return err
		}
	}
	for _, s := range b.sids {
		if err := b.exec(`UPDATE streams SET segments = segments + ?, bytes = bytes + ?, recorded = recorded + ?, last = max(last, ?), longest = max(longest, ?) WHERE sid = ?`,
			s.segments, s.bytes, s.recorded, s.last, s.longest, s.sid); err != nil {
			return err
		}
	}
	if b.lost > 0 {
		return b.exec(`INSERT INTO state VALUES ('lost', ?) ON CONFLICT DO UPDATE SET value = value + excluded.value`, b.lost)
	}
	return nil
}
