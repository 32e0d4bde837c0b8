package catalogue

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/ledger"
)

// A watched ledger tells before it is read.
type watched struct {
	synth
	before func(from uint64)
}

func (w watched) Follow(from uint64, fn func(uint64, ledger.Leaf) error) error {
	w.before(from)
	return w.synth.Follow(from, fn)
}

// TestNewestFirst: while a catalogue is made anew, what was recorded last is
// found, once and in order, and what was removed is not.
func TestNewestFirst(t *testing.T) {
	c, _, _ := newCatalogue(t, Options{Batch: 2000, Bulk: 1000})
	src := watched{synth: synth{streams: 4, segments: 20_000, tombstones: 10}}
	last := src.meta(src.segments - 1)
	id, end := last.Stream, last.End
	looks, ranges := 0, 0
	src.before = func(from uint64) {
		var starts []int64
		if err := c.Segments(id, end-30*60e9, end, func(g Segment) bool { starts = append(starts, g.Start); return true }); err != nil {
			t.Error(err)
		}
		if n := len(starts); n > 0 {
			looks++
			if n != 30 || !slices.IsSorted(starts) || starts[n-1] != last.Start {
				t.Errorf("before leaf %d: %d segments, the last at %d; want 30 up to %d", from, n, starts[n-1], last.Start)
			}
		}
		tl, err := c.Timeline(id, end-30*60e9, end, time.Second)
		if err != nil {
			t.Error(err)
		}
		for _, r := range tl.Ranges {
			if r.To == end {
				ranges++
			}
		}
	}
	catchUp(t, c, src)
	if looks < 15 || ranges < 15 { // twice a batch, but before the first
		t.Errorf("the newest were found %d and %d times", looks, ranges)
	}
	if len(c.newest.list) != 0 || len(c.newest.of(id, 0, 1<<62)) != 0 {
		t.Error("the newest are kept for ever")
	}
	young := newest{list: []Segment{{Segment: last.Segment, Stream: id, Start: last.Start, End: last.End}}}
	young.leaf(1, ledger.TombstoneMeta{Segment: last.Segment, Stream: id, Start: last.Start, End: last.End}.Leaf())
	if len(young.list) != 0 {
		t.Error("what was removed is still found")
	}
}

// TestLedgerRunsAway: a ledger that grows faster than it is read is read
// without the index of ids, which is there again in the end.
func TestLedgerRunsAway(t *testing.T) {
	c, _, _ := newCatalogue(t, Options{Batch: 100, Bulk: 1000})
	src := &running{watched: watched{synth: synth{streams: 4, segments: 900}}}
	indexed := func() (n int) {
		if err := c.w.query(`SELECT count(*) FROM sqlite_master WHERE name = 'ids'`, func(s *sqlite3.Stmt) bool { n = s.ColumnInt(0); return true }); err != nil {
			t.Error(err)
		}
		return n
	}
	var seen []int
	src.before = func(from uint64) {
		seen = append(seen, indexed())
		src.segments = 20_000
	}
	catchUp(t, c, src)
	if seen[0] != 1 || seen[len(seen)-1] != 0 || indexed() != 1 {
		t.Errorf("the index was there: %v, in the end %d", seen, indexed())
	}
}

// A running ledger grows.
type running struct{ watched }

// growing is a synth that gets one segment more.
type growing struct {
	synth
	more atomic.Bool
}

func (g *growing) now() synth {
	s := g.synth
	if g.more.Load() {
		s.segments++
	}
	return s
}

func (g *growing) Size() uint64 { return g.now().Size() }

func (g *growing) Follow(from uint64, fn func(uint64, ledger.Leaf) error) error {
	return g.now().Follow(from, fn)
}

// TestNewestWhileIndexed: what ends while the index of ids is made is found at
// once: it is not being written any more.
func TestNewestWhileIndexed(t *testing.T) {
	c, _, _ := newCatalogue(t, Options{Batch: 2000, Bulk: 1000})
	src := &growing{synth: synth{streams: 4, segments: 5000}}
	last := src.meta(src.segments)
	found := false
	c.indexing = func() {
		if !src.more.CompareAndSwap(false, true) {
			return
		}
		for late := time.Now().Add(10 * time.Second); !found && time.Now().Before(late); time.Sleep(time.Millisecond) {
			if err := c.Segments(last.Stream, last.Start, last.End, func(g Segment) bool { found = found || g.Segment == last.Segment; return true }); err != nil {
				t.Error(err)
			}
		}
	}
	catchUp(t, c, src)
	if !found {
		t.Error("it was not found")
	}
	if at, _, err := c.Position(); err != nil || at != src.Size() || len(c.newest.list) != 0 {
		t.Errorf("%d of %d leaves, %d kept; %v", at, src.Size(), len(c.newest.list), err)
	}
}
