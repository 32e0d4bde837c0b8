package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

// asides bounds how many damaged ones of one name are kept.
const asides = 100

func asideOf(name string, n int) string { return fmt.Sprintf("%s.damaged-%d", name, n) }

// aside gives a file or a folder another name, so that a new one can be made
// in its place.
func aside(fsys durable.FS, name string) (to string, err error) {
	for n := 1; n < asides; n++ {
		to := asideOf(name, n)
		if _, err := fsys.Stat(to); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := fsys.Rename(name, to); err != nil {
			return "", err
		}
		return to, fsys.SyncDir(path.Dir(name))
	}
	return "", errAsides
}

// keep puts a copy of a file, which has these bytes, beside it: unlike aside
// it leaves no moment without the file. What a crash makes it do twice is kept once.
func keep(fsys durable.FS, name string, data []byte) (to string, err error) {
	for n := 1; n < asides; n++ {
		to := asideOf(name, n)
		b, err := durable.ReadFile(fsys, to, int64(len(data)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return to, durable.WriteFile(fsys, to, data)
		case err == nil && bytes.Equal(b, data):
			return to, nil
		}
	}
	return "", errAsides
}

var errAsides = errors.New("too many damaged ones lie beside it")

// keepTail keeps a copy of a file of the log that has bytes behind its last
// good frame, which the next append cuts off.
func (f *folder) keepTail(span uint64) error {
	if !f.torn {
		return nil
	}
	b, err := f.readSpan(span)
	if err == nil {
		_, err = keep(f.FS, f.at(spanPath(span)), b)
	}
	return err
}

// damaged tells whether a folder cannot be opened for what lies in it, and not
// because its disk fails.
func damaged(err error) bool {
	return errors.Is(err, errTiles) || errors.Is(err, durable.ErrTooLarge) || errors.Is(err, durable.ErrSpecial) || errors.Is(err, unix.EISDIR)
}

// A foundFrame is one that some folder has.
type foundFrame struct {
	of     *folder
	first  uint64
	hashes []Digest // of its leaves
	raw    []byte
}

// frames finds the good frames in a file of the log.
func (f *folder) frames(span uint64, b []byte) (list []foundFrame) {
	var s frameScratch
	var entry []byte
	var hashes []Digest
	_, _ = walk(b, spanKey(f.key, f.keys.Origin, span), span, 0, &s, func(_ uint64, l Leaf) error {
		entry = l.AppendPublic(entry[:0])
		hashes = append(hashes, leafHash(entry))
		return nil
	}, func(_ int, raw []byte, fr frame) error {
		if len(hashes) >= fr.count {
			list = append(list, foundFrame{f, fr.first, hashes[len(hashes)-fr.count:], raw})
		}
		hashes = nil
		return nil
	})
	return list
}

// heal gives one file of the sealed log the frames back that it lost and that
// others still have, up to size leaves. A frame is believed if its leaves are those
// that the signed checkpoint commits to: all frames are sealed by us, but one may be of another history.
// It returns how many leaves came back, and where the old file is kept.
//
//  1. The old file is copied to another name. A crash here leaves the copy, which is found by the next try.
//  2. The new file replaces the old one. A crash leaves the one or the other.
//
// Nobody may append to the file meanwhile.
func (f *folder) heal(span, size uint64, head Checkpoint, others, tiles []*folder) (back int, kept string, err error) {
	b, err := f.readSpan(span)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, "", err
	}
	all := f.frames(span, b)
	own := len(all)
	for _, o := range others {
		if theirs, err := o.readSpan(span); err == nil {
			all = append(all, o.frames(span, theirs)...)
		}
	}
	if own == len(all) {
		return 0, "", nil
	}
	all = slices.DeleteFunc(all, func(x foundFrame) bool {
		return x.first+uint64(len(x.hashes)) > min(size, head.Size)
	})
	tree, err := treeHashes(head, all, tiles)
	if err != nil {
		return 0, "", err
	}
	var good []foundFrame
	taken := map[uint64]bool{}
	for _, x := range all { // its own come first
		fits := true
		for k, h := range x.hashes {
			at := x.first + uint64(k)
			fits = fits && tree[at] == h && !taken[at]
		}
		if !fits {
			continue
		}
		for k := range x.hashes {
			taken[x.first+uint64(k)] = true
		}
		good = append(good, x)
		if x.of != f {
			back += len(x.hashes)
		}
	}
	if back == 0 {
		return 0, "", nil
	}
	slices.SortFunc(good, func(a, b foundFrame) int { return int(int64(a.first - b.first)) })
	out := appendFileHead(nil, span)
	for _, x := range good {
		out = append(out, x.raw...)
	}
	name := f.at(spanPath(span))
	if len(b) > 0 {
		if kept, err = keep(f.FS, name, b); err != nil {
			return 0, "", fmt.Errorf("keep %s: %w", name, err)
		}
	}
	if err := durable.MkdirAll(f.FS, path.Dir(name)); err != nil {
		return 0, kept, err
	}
	return back, kept, durable.WriteFile(f.FS, name, out)
}

// treeHashes returns the hashes of the leaves of frames as a checkpoint
// commits to them, by the first folder whose tiles lead to its root.
func treeHashes(head Checkpoint, frames []foundFrame, tiles []*folder) (map[uint64]Digest, error) {
	out := map[uint64]Digest{}
	var leaves []uint64
	var indexes []int64
	for _, x := range frames {
		for k := range x.hashes {
			at := x.first + uint64(k)
			leaves, indexes = append(leaves, at), append(indexes, tlog.StoredHashIndex(0, int64(at)))
		}
	}
	if len(leaves) == 0 {
		return out, nil
	}
	var errs []error
	for _, f := range tiles {
		hashes, err := f.hashes(head).ReadHashes(indexes)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i, at := range leaves {
			out[at] = Digest(hashes[i])
		}
		return out, nil
	}
	return nil, errors.Join(errs...)
}

// restore heals a folder that was loaded with holes from others, and loads it
// again. found is what loading it found; what is still true of that is returned, with what was done.
//
//vigil:clause 5.2.8.2
func (l *Ledger) restore(f *folder, found []Finding, others []*folder) ([]Finding, error) {
	head := l.home.told()
	if len(f.lost) == 0 || head.Size == 0 {
		return found, nil
	}
	from, size, trouble := f.lost[0], f.edge.size, f.hole(f.lost[0])
	_ = f.close() // another file may take the place of the one it has open
	others = slices.Concat(others, l.asides(f.Folder))
	if f != l.home {
		others = append(others, l.asides(l.home.Folder)...)
	}
	var back int
	var kept []string
	var errs []error
	for span := max(from/spanLeaves, 1) - 1; span*spanLeaves < size; span++ { // a frame may begin in the file before
		n, name, err := f.heal(span, size, head, others, append([]*folder{f}, others...))
		if back += n; n > 0 && name != "" {
			kept = append(kept, name)
		}
		if err != nil {
			errs = append(errs, err)
			break
		}
	}
	if back == 0 {
		if len(errs) > 0 {
			found = append(found, Finding{Folder: f.Name, Trouble: Damaged, Have: from, Want: size, Err: errors.Join(errs...)})
		}
		return found, nil
	}
	again, err := f.load()
	if err != nil {
		return found, err
	}
	found = append(slices.DeleteFunc(found, func(x Finding) bool {
		return (x.Trouble == Damaged || x.Trouble == Behind) && errors.Is(x.Err, errLost)
	}), again...)
	errs = append([]error{healed(back, kept)}, errs...)
	if len(f.lost) > 0 {
		errs = append(errs, errLost)
	}
	return append(found, Finding{Folder: f.Name, Trouble: trouble, Have: from, Want: size, Err: errors.Join(errs...)}), nil
}

// healed says what was done.
func healed(back int, kept []string) error {
	if len(kept) == 0 || kept[0] == "" {
		return fmt.Errorf("%d leaves of the sealed log were lost and are there again from another folder", back)
	}
	return fmt.Errorf("%d leaves of the sealed log were lost and are there again from another folder; the damaged file is kept: %s", back, kept[0])
}

// asides returns the folders that were set aside for one that was made anew.
func (l *Ledger) asides(at Folder) (list []*folder) {
	for n := 1; n < asides; n++ {
		old := Folder{FS: at.FS, Dir: asideOf(at.Dir, n), Name: at.Name}
		if _, err := at.FS.Stat(old.Dir); err != nil {
			break
		}
		list = append(list, l.folder(old))
	}
	return list
}

// anew keeps a copy that cannot be opened for what lies in it under another
// name, and begins a new one, which catches up.
func (f *folder) anew(cause error) ([]Finding, error) {
	to, err := aside(f.FS, f.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w; to make it anew: %w", cause, err)
	}
	found, err := f.load()
	return append(found, Finding{Folder: f.Name, Trouble: Damaged, Err: fmt.Errorf("%w; it is made anew, and kept as %s", cause, to)}), err
}
