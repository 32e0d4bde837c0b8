package catalogue

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// A memo is a ledger in memory.
type memo struct {
	leaves []ledger.Leaf
	asked  func(size uint64) // at the end of each transaction; may be nil
}

func (m *memo) Size() uint64             { return uint64(len(m.leaves)) }
func (m *memo) Changed() <-chan struct{} { return make(chan struct{}) }

func (m *memo) RootAt(size uint64) (d ledger.Digest, err error) {
	if m.asked != nil {
		m.asked(size)
	}
	binary.BigEndian.PutUint64(d[:], size)
	return d, nil
}

func (m *memo) Follow(from uint64, fn func(uint64, ledger.Leaf) error) error {
	for i := from; i < m.Size(); i++ {
		if err := fn(i, m.leaves[i]); err != nil {
			return err
		}
	}
	return nil
}

// A naive is what a stream has, in lists that are gone through from one end to the other.
type naive struct {
	live    []Segment // in the order of the ledger
	gaps    []Gap
	removed []Gap // in the order of the ledger
}

// follow reads the leaves of one stream.
func follow(t testing.TB, leaves []ledger.Leaf, id media.StreamID) (n naive) {
	t.Helper()
	for i, l := range leaves {
		switch {
		case l.Lost:
		case l.Kind == ledger.Segment:
			m, err := ledger.ParseSegment(l)
			if err != nil {
				t.Fatal(err)
			}
			if m.Stream == id {
				n.segment(uint64(i), m)
			}
		case l.Kind == ledger.Tombstone:
			m, err := ledger.ParseTombstone(l)
			if err != nil {
				t.Fatal(err)
			}
			if m.Stream == id {
				n.tombstone(m)
			}
		}
	}
	return n
}

func (n *naive) segment(leaf uint64, m ledger.SegmentMeta) {
	g := Segment{Leaf: leaf, Segment: m.Segment, Stream: m.Stream, Start: m.Start, End: max(m.End, m.Start), EndCause: m.EndCause}
	var last *Segment // before it in time
	for i := range n.live {
		x := &n.live[i]
		if x.Segment == g.Segment && x.Start == g.Start {
			return
		}
		if x.Start < g.Start && (last == nil || byStart(*last, *x) < 0) {
			last = x
		}
	}
	switch b := m.Before; {
	case b != nil && b.From != 0:
		n.gaps = append(n.gaps, Gap{From: min(b.From, g.Start), To: g.Start, Cause: b.Cause, Lost: b.Lost})
	case b != nil && last == nil:
		n.gaps = append(n.gaps, Gap{From: g.Start, To: g.Start, Cause: b.Cause, Lost: b.Lost})
	case b != nil:
		n.gaps = append(n.gaps, Gap{From: min(last.End, g.Start), To: g.Start, Cause: b.Cause, Lost: b.Lost})
	case last != nil && last.EndCause != "" && last.EndCause != media.CutLength && last.EndCause != media.CutCodec && g.Start-last.End > seam:
		n.gaps = append(n.gaps, Gap{From: last.End, To: g.Start, Cause: last.EndCause})
	}
	n.live = append(n.live, g)
}

func (n *naive) leastLeaf(from, to int64) (leaf uint64, ok bool) {
	for _, g := range n.live {
		if g.Start >= from && g.Start < to && (!ok || g.Leaf < leaf) {
			leaf, ok = g.Leaf, true
		}
	}
	return leaf, ok
}

func (n *naive) tombstone(m ledger.TombstoneMeta) {
	i := slices.IndexFunc(n.live, func(g Segment) bool { return g.Segment == m.Segment && g.Start == m.Start })
	if i < 0 {
		return
	}
	end := n.live[i].End
	n.live = slices.Delete(n.live, i, i+1)
	last := -1
	for i, r := range n.removed {
		if r.From <= m.Start && (last < 0 || r.From >= n.removed[last].From) {
			last = i
		}
	}
	if last >= 0 {
		if r := &n.removed[last]; r.Cause == m.Why && max(r.To-m.Start, m.Start-r.To) <= together {
			r.To, r.Segments = max(r.To, end), r.Segments+1
			return
		}
	}
	n.removed = append(n.removed, Gap{From: m.Start, To: end, Cause: m.Why, Segments: 1})
}

// in returns the gaps of [from, to), in any order.
func (n *naive) in(from, to int64) []Gap {
	var t Timeline
	for _, g := range slices.Concat(n.gaps, n.removed) {
		t.clip(g, from, to)
	}
	return t.Gaps
}

// union returns where there is footage in [from, to).
func union(from, to int64, lists ...[]Segment) (list []Range) {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b Segment) int { return cmp.Compare(a.Start, b.Start) })
	for _, g := range all {
		a, b := max(g.Start, from), min(g.End, to)
		switch k := len(list); {
		case a >= b:
		case k > 0 && a <= list[k-1].To:
			list[k-1].To = max(list[k-1].To, b)
		default:
			list = append(list, Range{a, b})
		}
	}
	return list
}

func covered(list []Range, from, to int64) bool {
	return slices.ContainsFunc(list, func(r Range) bool { return r.From <= from && r.To >= to })
}

// wrong says what a timeline's ranges say that the footage does not: there must be a range over all of must, and over a
// hole of may that nothing is known of and that is small, and none over another, each up to the spare.
func wrong(got Timeline, must, may []Range, near time.Duration) string {
	for i, r := range got.Ranges {
		if r.From >= r.To || i > 0 && r.From <= got.Ranges[i-1].To {
			return "not in order, or empty"
		}
	}
	for _, r := range must {
		if !covered(got.Ranges, r.From, r.To) {
			return "footage is missing"
		}
	}
	seams := got.seams()
	for _, r := range got.Ranges {
		i := slices.IndexFunc(may, func(m Range) bool { return m.To > r.From })
		if i < 0 || may[i].From > r.From+spare || r.From > may[i].From && !covered(may, r.From, r.From+1) {
			return "a range begins where there is nothing"
		}
		if !slices.ContainsFunc(may, func(m Range) bool { return m.From < r.To && m.To >= r.To-spare }) {
			return "a range ends where there is nothing"
		}
	}
	for i := 1; i < len(may); i++ {
		a, b := may[i-1].To, may[i].From
		known := seams.between(a, b)
		whole := covered(got.Ranges, a, b) && (b-a > 2*spare || known || covered(got.Ranges, a-1, b+1))
		switch {
		case whole && known:
			return "over the end of a gap"
		case whole && b-a > int64(near)+2*spare:
			return "over a hole"
		case !whole && !known && b-a < int64(near)-2*spare:
			return "a hole that is small"
		}
	}
	return ""
}

// compare puts leaves into a catalogue in an order of chance and compares its timelines. It returns how many slots of them
// were full.
func compare(t testing.TB, random *rand.Rand) (full int) {
	one := func(list ...int64) int64 { return list[random.IntN(len(list))] }
	streams := []media.StreamID{{8}, {9}, {10}}
	next := []int64{t0 + random.Int64N(900)*1e9, t0 + random.Int64N(900)*1e9, t0}
	var segments, tombstones []ledger.Leaf
	l := &memo{}
	dir, key, n := t.TempDir(), seal.NewKey(), byte(0)
	opts := Options{Batch: int(one(5, 20, 100)), Readers: 1}
	open := func(anew bool) *Catalogue {
		if anew {
			n++
		}
		c, err := Open(filepath.Join(dir, string('a'+rune(n))), key, opts)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	look := func(c *Catalogue, at uint64, times int) {
		for s, id := range streams[:2] {
			now, then := follow(t, l.leaves, id), follow(t, l.leaves[:at], id)
			for range times {
				from := t0 + random.Int64N(30000)*1e9 - 5000e9 + one(0, 1, 40e6)
				to := from + one(1, 1e9, random.Int64N(1000)*1e9, random.Int64N(40000)*1e9) + 1
				near := time.Duration(one(1e9, 60e9))
				got, err := c.Timeline(id, from, to, near)
				if err != nil {
					t.Fatal(err)
				}
				if why := wrong(got, union(from, to, now.live), union(from, to, now.live, then.live), near); why != "" {
					t.Fatalf("stream %d, %d of %d leaves, from %d to %d by %v: %s: %v, the footage is %v, %v", s, at, l.Size(), from, to, near, why, got, union(from, to, now.live), union(from, to, then.live))
				}
				want := then.in(from, to)
				order := func(a, b Gap) int {
					return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Segments, b.Segments), cmp.Compare(a.Lost, b.Lost))
				}
				if !slices.IsSortedFunc(got.Gaps, func(a, b Gap) int { return cmp.Compare(a.From, b.From) }) {
					t.Fatalf("gaps in another order: %v", got.Gaps)
				}
				slices.SortFunc(got.Gaps, order)
				slices.SortFunc(want, order)
				if !slices.Equal(got.Gaps, want) {
					t.Fatalf("stream %d, from %d to %d: gaps %v, want %v", s, from, to, got.Gaps, want)
				}
				since, till := from-random.Int64N(3)*86400e9, to+random.Int64N(3)*86400e9 // whole days between
				leaf, ok, err := c.LeastLeaf(id, since, till)
				if least, there := then.leastLeaf(since, till); err != nil || ok != there || ok && leaf != least {
					t.Fatalf("stream %d, from %d to %d: least leaf %d, %v, %v, want %d, %v", s, since, till, leaf, ok, err, least, there)
				}
				if err := c.read(func(r *conn) error {
					sid, _, err := r.sid(id)
					if err != nil || sid == 0 {
						return err
					}
					list, _, err := r.stretches(sid, from, to, &got)
					for _, x := range list {
						if x.full {
							full += int((x.To - x.From) / slot)
						}
					}
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	c := open(false)
	defer func() { c.Close() }()
	for range 50 + random.IntN(350) {
		s := int(one(0, 0, 0, 0, 0, 0, 1, 1, 2))
		switch random.IntN(40) {
		default: // it is recorded
			m := ledger.SegmentMeta{Stream: streams[s], Camera: media.CameraID{byte(s / 2)}, Start: next[s], Bytes: 1000, EndCause: media.CutLength}
			binary.BigEndian.PutUint32(m.Segment[:], uint32(len(segments)))
			m.End = m.Start + one(60e9, 60e9, 60e9, 60e9, 300e9, 899e9+random.Int64N(100)*1e7, random.Int64N(3600)*1e9, random.Int64N(100)*1e6, 0, -5e9)
			switch random.IntN(30) {
			case 0:
				m.Before = &ledger.Gap{Cause: media.Network, From: m.Start - one(0, 20e6, 300e6, 5e9, random.Int64N(4000)*1e9, -3e9), Lost: 3}
			case 1:
				m.Before = &ledger.Gap{Cause: media.Crash}
			case 2:
				m.EndCause = media.Stopped
			}
			leaf, err := m.Leaf()
			if err != nil {
				t.Fatal(err)
			}
			segments, l.leaves = append(segments, leaf), append(l.leaves, leaf)
			next[s] = max(m.End, m.Start)
			switch random.IntN(25) {
			case 0:
				next[s] += one(1e6, 20e6, 49e6, 50e6, 51e6, 300e6)
			case 1:
				next[s] += one(1e9, 1e9+1, 2e9, 20e9, 59e9, 200e9, 900e9, 5000e9)
			case 2: // the clock is set back, or ran slow
				next[s] -= one(1, 10e6, 60e9, random.Int64N(4000)*1e9, random.Int64N(20000)*1e9)
			}
		case 0, 1, 2: // retention, or a person; maybe again
			if len(segments) == 0 {
				continue
			}
			i := random.IntN(len(segments))
			if random.IntN(2) == 0 {
				i = min(len(tombstones), i)
			}
			m, err := ledger.ParseSegment(segments[i])
			if err != nil {
				t.Fatal(err)
			}
			leaf := tomb(m, []media.Cause{media.Retention, media.Retention, media.Failed}[random.IntN(3)]).Leaf()
			tombstones, l.leaves = append(tombstones, leaf), append(l.leaves, leaf)
		case 3: // a leaf twice: of one that is there, or was
			if len(segments) > 0 {
				l.leaves = append(l.leaves, segments[random.IntN(len(segments))])
			}
		case 4:
			l.leaves = append(l.leaves, ledger.Leaf{Lost: true})
		case 5, 6:
			catchUp(t, c, l)
			look(c, l.Size(), 6)
		case 7: // a start, or anew, which is looked at while it is made
			c.Close()
			opts.Bulk = uint64(one(1, 1000))
			anew := random.IntN(2) == 0
			c = open(anew)
			if done := uint64(0); anew {
				l.asked = func(size uint64) {
					if c.newest.next == l.Size() && random.IntN(max(int(l.Size())/4/opts.Batch, 1)) == 0 {
						look(c, done, 1)
					}
					done = size
				}
			}
			catchUp(t, c, l)
			l.asked = nil
		}
	}
	catchUp(t, c, l)
	look(c, l.Size(), 20)
	anew := open(true)
	defer anew.Close()
	catchUp(t, anew, l)
	if err := c.Equal(anew); err != nil {
		t.Fatal(err)
	}
	return full
}

// TestNaive: a timeline says what going through all segments says, whatever was recorded and removed in whatever order,
// by whatever clock, also while the catalogue is made anew.
func TestNaive(t *testing.T) {
	full := 0
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 11))
		full += compare(t, random)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if full < 1000 {
		t.Errorf("only %d full slots were looked at", full)
	}
}
