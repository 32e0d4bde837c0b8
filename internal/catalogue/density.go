package catalogue

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/media"
)

// slot is the resolution of the density: 15 minutes, so that a day in any time
// zone is a whole number of them.
const slot = int64(900e9)

// perDay slots of one day of UTC are one row: a month of a stream is 31 rows, not 2,976.
const perDay = 96

// A slotSum is what there is of a stream in a slot. Covered is less than recorded where footage was there already, which a clock that
// is set back makes.
type slotSum struct{ recorded, bytes, segments, covered int64 } // ns, bytes, segments that start in it, ns

func (s slotSum) empty() bool { return s.recorded == 0 && s.segments == 0 }

// short is how much of the slot is without footage, ns.
func (s slotSum) short() int64 { return slot - s.covered }

func (s *slotSum) add(d slotSum) {
	s.recorded += d.recorded
	s.bytes += d.bytes
	s.segments += d.segments
	s.covered += d.covered
}

// A daySum is the slots of a day.
type daySum [perDay]slotSum

// noLeaf is larger than any.
const noLeaf = int64(math.MaxInt64)

// A dayChange is what a batch changes in a day.
type dayChange struct {
	daySum
	least int64 // leaf of those added that start in it
	fewer bool  // some that start in it were removed
}

// pack appends the slots that are not empty: how many empty ones are before, then the sums, as varints. A slot of a
// stream that always records is near to full, and small.
func (d *daySum) pack(b []byte) []byte {
	next := 0
	for i, s := range d {
		if s.empty() {
			continue
		}
		b = binary.AppendUvarint(b, uint64(i-next))
		b = binary.AppendVarint(b, slot-s.recorded)
		b = binary.AppendVarint(b, s.bytes)
		b = binary.AppendVarint(b, s.segments)
		b = binary.AppendVarint(b, s.short())
		next = i + 1
	}
	return b
}

// unpack calls fn for each slot of a packed day, in order.
func unpack(b []byte, fn func(i int, s slotSum)) error {
	for next := 0; len(b) > 0; {
		skip, n := binary.Uvarint(b)
		if n <= 0 || skip >= uint64(perDay-next) {
			return fmt.Errorf("%w: the slots of a day", errReplace)
		}
		b = b[n:]
		var v [4]int64
		for k := range v {
			if v[k], n = binary.Varint(b); n <= 0 {
				return fmt.Errorf("%w: the sums of a slot", errReplace)
			}
			b = b[n:]
		}
		fn(next+int(skip), slotSum{recorded: slot - v[0], bytes: v[1], segments: v[2], covered: slot - v[3]})
		next += int(skip) + 1
	}
	return nil
}

// slots calls fn for each slot of [from, to) that is not empty, in order.
func (r *conn) slots(sid, from, to int64, fn func(n int64, s slotSum)) error {
	var bad error
	err := r.query(`SELECT day, slots FROM density WHERE sid = ? AND day >= ? AND day <= ? ORDER BY day`, func(q *sqlite3.Stmt) bool {
		first := q.ColumnInt64(0) * perDay
		bad = unpack(q.ColumnRawBlob(1), func(i int, s slotSum) {
			if n := first + int64(i); n >= from && n < to {
				fn(n, s)
			}
		})
		return bad == nil
	}, sid, floor(from, perDay), floor(to-1, perDay))
	if err == nil {
		err = bad
	}
	return err
}

// addDay adds changes to a day. A day of which nothing is left goes.
func (r *conn) addDay(sid, day int64, change *dayChange) error {
	sum := change.daySum
	if err := r.slots(sid, day*perDay, (day+1)*perDay, func(n int64, s slotSum) { sum[n-day*perDay].add(s) }); err != nil {
		return err
	}
	b := sum.pack(nil)
	if len(b) == 0 {
		return r.exec(`DELETE FROM density WHERE sid = ? AND day = ?`, sid, day)
	}
	if change.fewer { // the smallest may be among them
		least, err := r.leastLeaf(sid, day*perDay*slot, (day+1)*perDay*slot)
		if err != nil {
			return err
		}
		return r.exec(`INSERT OR REPLACE INTO density VALUES (?, ?, ?, ?)`, sid, day, b, least)
	}
	return r.exec(`INSERT INTO density VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET slots = excluded.slots, least = min(least, excluded.least)`, sid, day, b, change.least)
}

// leastLeaf returns the smallest leaf of the segments that start in [from, to), which it reads; noLeaf if there are none.
func (r *conn) leastLeaf(sid, from, to int64) (least int64, err error) {
	least = noLeaf
	err = r.query(`SELECT leaf FROM segments WHERE sid = ? AND start >= ? AND start < ?`, func(s *sqlite3.Stmt) bool {
		least = min(least, s.ColumnInt64(0))
		return true
	}, sid, from, to)
	return least, err
}

// LeastLeaf returns the smallest leaf of the segments of a stream that start in [from, to), and false if there are none. It reads a
// row for each day and the segments of the first and the last. While the catalogue is made anew it is without the newest.
func (c *Catalogue) LeastLeaf(id media.StreamID, from, to int64) (leaf uint64, ok bool, err error) {
	const day = perDay * slot
	first, last := -floor(-from, day), floor(to, day) // whole days
	least := noLeaf
	err = c.read(func(r *conn) error {
		sid, _, err := r.sid(id)
		if err != nil || sid == 0 {
			return err
		}
		if first >= last {
			least, err = r.leastLeaf(sid, from, to)
			return err
		}
		head, err := r.leastLeaf(sid, from, first*day)
		if err != nil {
			return err
		}
		tail, err := r.leastLeaf(sid, last*day, to)
		if err != nil {
			return err
		}
		least = min(head, tail)
		return r.query(`SELECT least FROM density WHERE sid = ? AND day >= ? AND day < ?`, func(s *sqlite3.Stmt) bool {
			least = min(least, s.ColumnInt64(0))
			return true
		}, sid, first, last)
	})
	return uint64(least), least != noLeaf, err
}
