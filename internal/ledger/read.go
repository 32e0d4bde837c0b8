package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"

	"golang.org/x/mod/sumdb/tlog"
)

// Follow calls fn for each leaf from index from to the size that the ledger
// has now, in order. A leaf is valid during the call only. Sealed metadata that is
// damaged in home is taken from a copy, or the leaf is marked Lost; a leaf that
// is not the one in the tree is treated as damaged. One whose public half is damaged in
// every folder as well is Lost and of no Kind.
func (l *Ledger) Follow(from uint64, fn func(i uint64, leaf Leaf) error) error {
	v := l.home.view()
	if from > v.head.Size {
		return fmt.Errorf("follow ledger from %d: %w", from, ErrRange)
	}
	r := reader{home: l.home, alt: l.readable(), v: v}
	return r.leaves(from, v.head.Size, fn)
}

// Leaf returns one leaf. Its cost is that of reading one file of the sealed
// log, of spanLeaves leaves.
func (l *Ledger) Leaf(i uint64) (leaf Leaf, err error) {
	v := l.home.view()
	if i >= v.head.Size {
		return leaf, fmt.Errorf("leaf %d: %w", i, ErrRange)
	}
	r := reader{home: l.home, alt: l.readable(), v: v}
	err = r.leaves(i, i+1, func(_ uint64, got Leaf) error {
		leaf = got
		leaf.Digests = append([]Digest(nil), got.Digests...)
		leaf.Meta = append([]byte(nil), got.Meta...)
		return nil
	})
	return leaf, err
}

// A reader streams leaves of one view.
type reader struct {
	home *folder
	alt  []*folder // copies, for what is damaged in home
	v    view

	s     frameScratch
	entry []byte
	row   []byte // hashes of one level 0 tile
	rowN  uint64 // its number
}

// errStop ends a walk that has all it wants.
var errStop = errors.New("enough")

// leaves calls fn for each leaf of [from, to).
func (r *reader) leaves(from, to uint64, fn func(i uint64, leaf Leaf) error) error {
	next := from
	give := func(i uint64, leaf Leaf) error {
		if i >= to {
			return errStop
		}
		if i > next {
			if err := r.mend(next, min(i, to), fn); err != nil {
				return err
			}
			next = i
		}
		if ok, err := r.inTree(i, leaf); err != nil {
			return err
		} else if !ok {
			next = i + 1
			return r.mend(i, i+1, fn)
		}
		next = i + 1
		return fn(i, leaf)
	}
	for span := r.start(from); next < to && span <= r.v.span; span++ {
		b, err := r.bytes(r.home, span, next)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read ledger: %w", err)
		}
		if _, err := walk(b, spanKey(r.home.key, r.home.keys.Origin, span), span, next, &r.s, give, nil); errors.Is(err, errStop) {
			break // what is missing before it is mended
		} else if err != nil {
			return err
		}
	}
	if next < to {
		return r.mend(next, to, fn)
	}
	return nil
}

// start returns the file of the log in which a leaf's frame starts: that of
// its own span or, when the first frame there starts later, the one before.
func (r *reader) start(i uint64) uint64 {
	span := i / spanLeaves
	if span == 0 || i >= r.v.head.Size {
		return span
	}
	if span == r.v.span && len(r.v.index) > 0 {
		if r.v.index[0].first > i {
			return span - 1
		}
		return span
	}
	if span > r.v.span {
		return span - 1
	}
	f, err := r.home.FS.OpenFile(r.home.at(spanPath(span)), os.O_RDONLY, 0)
	if err != nil {
		return span - 1
	}
	defer f.Close()
	head := make([]byte, fileHead+frameHead)
	if _, err := f.ReadAt(head, 0); err != nil {
		return span - 1
	}
	if first := uint64From(head[fileHead+8:]); first > i {
		return span - 1
	}
	return span
}

// bytes returns the part of a file of the log that has the leaves from next
// on; for the newest file that part alone is read.
func (r *reader) bytes(f *folder, span, next uint64) ([]byte, error) {
	if span != r.v.span || f != r.home {
		return f.readSpan(span)
	}
	k := sort.Search(len(r.v.index), func(k int) bool { return r.v.index[k].first > next }) - 1
	off := int64(0)
	if k > 0 {
		off = r.v.index[k].off
	}
	if r.v.logEnd <= off {
		return nil, nil
	}
	file, err := f.FS.OpenFile(f.at(spanPath(span)), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, r.v.logEnd-off)
	n, err := file.ReadAt(b, off)
	if n < len(b) && err != nil {
		err = nil // shorter than we wrote it: what is missing is mended
	}
	return b[:n], err
}

// inTree tells whether a leaf is the one in the tree. The level 0 tile
// answers; where it says no, or is not there, the tile itself is checked up to
// the root, and a tile that fails has no say.
func (r *reader) inTree(i uint64, leaf Leaf) (bool, error) {
	r.entry = leaf.AppendPublic(r.entry[:0])
	h := leafHash(r.entry)
	n, at := i/tileWidth, int(i%tileWidth)*32
	if r.row == nil || n != r.rowN || at >= len(r.row) {
		want := int(min(r.v.head.Size-n*tileWidth, tileWidth))
		row, err := r.home.readTile(0, n, want)
		if err != nil {
			row = []byte{}
		}
		r.row, r.rowN = row, n
	}
	if at+32 <= len(r.row) && Digest(r.row[at:]) == h {
		return true, nil
	}
	tree := tlog.Tree{N: int64(r.v.head.Size), Hash: tlog.Hash(r.v.head.Root)}
	hashes, err := tlog.TileHashReader(tree, tileReader(append([]*folder{r.home}, r.alt...))).ReadHashes([]int64{tlog.StoredHashIndex(0, int64(i))})
	return err != nil || Digest(hashes[0]) == h, nil
}

// mend gives the leaves of a stretch that home cannot show: from a copy, or
// their public half.
func (r *reader) mend(from, to uint64, fn func(i uint64, leaf Leaf) error) error {
	next := from
	var s frameScratch
	for _, f := range r.alt {
		for span := max(from/spanLeaves, 1) - 1; next < to && span <= to/spanLeaves; span++ {
			b, err := f.readSpan(span)
			if err != nil {
				continue
			}
			_, err = walk(b, spanKey(f.key, f.keys.Origin, span), span, next, &s, func(i uint64, leaf Leaf) error {
				if i != next || i >= to {
					return errStop
				}
				if ok, err := r.inTree(i, leaf); err != nil || !ok {
					return errStop
				}
				next++
				return fn(i, leaf)
			}, nil)
			if err != nil && !errors.Is(err, errStop) {
				return err
			}
		}
	}
	for next < to {
		began := next
		var why error // a disk that fails now may show it later
		for _, f := range append([]*folder{r.home}, r.alt...) {
			var asked error // what fn said; the folder's own trouble is the next one's business
			err := f.entries(next, to, func(entry []byte) error {
				leaf, err := ParsePublic(entry)
				if err != nil {
					return errTiles
				}
				if ok, err := r.inTree(next, leaf); err != nil || !ok {
					return errors.Join(errTiles, err)
				}
				next++
				asked = fn(next-1, leaf)
				return asked
			})
			if next == to || asked != nil {
				return asked
			}
			if !damaged(err) {
				why = errors.Join(why, err)
			}
		}
		if next > began { // one that was asked before may have the rest
			continue
		}
		if why != nil {
			return fmt.Errorf("read ledger: leaf %d: %w", next, why)
		}
		next++
		if err := fn(next-1, Leaf{Lost: true}); err != nil {
			return err
		}
	}
	return nil
}
