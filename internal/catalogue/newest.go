package catalogue

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"vigil/internal/ledger"
	"vigil/internal/media"
)

// A newest is what was recorded last, while a catalogue that is made anew has
// years to read before it: that can be found at once.
type newest struct {
	next uint64 // up to which leaf the ledger was read; owned by who follows it

	mu   sync.Mutex
	list []Segment // guarded by mu; in the order of the ledger
}

// Bounds of a newest.
const (
	newestLeaves   = 8192 // from so far before the ledger's end
	newestSegments = 65536
)

// read reads what the ledger has by now.
func (n *newest) read(l Source) error {
	size := l.Size()
	if n.next == 0 {
		n.next = max(size, newestLeaves) - newestLeaves
	}
	err := l.Follow(n.next, func(i uint64, leaf ledger.Leaf) error {
		if i >= size {
			return errBatch
		}
		n.next = i + 1
		n.leaf(i, leaf)
		return nil
	})
	if errors.Is(err, errBatch) {
		err = nil
	}
	return err
}

// leaf takes one leaf in; one that cannot be read is counted where it is due.
func (n *newest) leaf(i uint64, l ledger.Leaf) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case l.Lost:
	case l.Kind == ledger.Segment:
		if m, err := ledger.ParseSegment(l); err == nil {
			n.list = append(n.list, Segment{Leaf: i, Segment: m.Segment, Stream: m.Stream, Camera: m.Camera, Start: m.Start, End: max(m.End, m.Start),
				First: m.First, Last: m.Last, Bytes: m.Bytes, EndCause: m.EndCause, Recovered: m.Recovered})
		}
		if len(n.list) > newestSegments {
			n.list = slices.Delete(n.list, 0, newestSegments/2)
		}
	case l.Kind == ledger.Tombstone:
		if m, err := ledger.ParseTombstone(l); err == nil {
			n.list = slices.DeleteFunc(n.list, func(g Segment) bool { return g.Segment == m.Segment })
		}
	}
}

// forget ends it: the catalogue has all.
func (n *newest) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list, n.next = nil, 0
}

// of returns the segments of a stream that touch [from, to).
func (n *newest) of(id media.StreamID, from, to int64) (list []Segment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.list {
		if g.Stream == id && g.Start < to && (g.End > from || g.Start >= from) {
			list = append(list, g)
		}
	}
	return list
}

// merge returns both in order, each segment once.
func merge(a, b []Segment) []Segment {
	a = append(a, b...)
	slices.SortFunc(a, func(a, b Segment) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Leaf, b.Leaf)) })
	return slices.CompactFunc(a, func(a, b Segment) bool { return a.Leaf == b.Leaf })
}
