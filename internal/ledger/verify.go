package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"vigil/internal/durable"
)

// Verify reads all of the ledger in home and in the copies: every frame opens,
// every leaf and every tile is what the signed checkpoint promises. The error
// joins the findings, at most maxReport for each folder. Frames that an older file of the sealed
// log lost are taken from a folder that has them, as Open does for the newest one, and told.
// Appending goes on meanwhile; what comes after the call is not verified.
func (l *Ledger) Verify(ctx context.Context, progress func(done, total uint64)) error {
	l.writing.Lock() // the tiles of what is in view are written, or owed
	v := l.home.view()
	l.writing.Unlock()
	copies := l.readable()
	var errs []error
	for _, f := range append([]*folder{l.home}, copies...) {
		view, others := v, copies
		if f != l.home {
			view, others = f.view(), []*folder{l.home}
			if told := f.told(); told.Size < view.head.Size { // its goroutine is at it
				view.head = told
			}
		}
		lost, tiles, err := f.verify(ctx, view, progress)
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := l.remake(f, tiles, view); err != nil { // healing asks the tiles
			errs = append(errs, err)
		}
		if err := l.healOld(f, lost, view, others); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// remake writes tiles again that are lost or damaged. Full ones never change, so nobody else writes to them.
func (l *Ledger) remake(f *folder, tiles []tile, v view) error {
	for _, t := range tiles {
		name := f.at(t.path())
		if err := durable.MkdirAll(f.FS, path.Dir(name)); err != nil {
			return err
		}
		if err := durable.WriteFile(f.FS, name, t.data); err != nil {
			return fmt.Errorf("make %s again: %w", name, err)
		}
	}
	if len(tiles) > 0 {
		l.note(Finding{Folder: f.Name, Trouble: Damaged, Have: v.head.Size, Want: v.head.Size, Err: fmt.Errorf("%d tiles were lost or damaged and are made again from the sealed log, the first %s", len(tiles), tiles[0].path())})
	}
	return nil
}

// maxRemake bounds the tiles that one verification makes again; the next goes on.
const maxRemake = 64 << 20 // bytes

// healOld heals files of the log that nobody writes to any more.
func (l *Ledger) healOld(f *folder, lost []uint64, v view, others []*folder) error {
	for _, span := range lost {
		if span >= v.span {
			continue
		}
		back, kept, err := f.heal(span, v.head.Size, l.home.told(), others, append([]*folder{f}, others...))
		if err != nil {
			return fmt.Errorf("heal %s: %w", f.at(spanPath(span)), err)
		}
		if back > 0 {
			l.note(Finding{Folder: f.Name, Trouble: Damaged, Have: span * spanLeaves, Want: v.head.Size, Err: healed(back, []string{kept})})
		}
	}
	return nil
}

const maxReport = 20

// verify reads one folder up to a view. It also returns the files of the log
// that lack frames, and the full tiles that are not there, as they should be.
func (f *folder) verify(ctx context.Context, v view, progress func(done, total uint64)) (lacking []uint64, bad []tile, err error) {
	if v.head.Size == 0 {
		return nil, nil, nil
	}
	remake := 0
	var errs []error
	report := func(at uint64, err error) {
		if len(errs) < maxReport {
			errs = append(errs, Finding{Folder: f.Name, Trouble: Damaged, Have: at, Want: v.head.Size, Err: err})
		}
	}
	var e edge
	compare := func(t tile) error {
		b, err := f.readTile(t.level, t.n, t.width)
		if err == nil && t.width != tileWidth && len(b) >= len(t.data) {
			b = b[:len(t.data)] // it has grown meanwhile
		}
		if err == nil && !bytes.Equal(b, t.data) {
			err = errTiles
		}
		if err != nil {
			report(e.size, fmt.Errorf("%s: %w", t.path(), err))
			if remake += len(t.data); t.width == tileWidth && remake <= maxRemake {
				t.data = bytes.Clone(t.data)
				bad = append(bad, t)
			}
		}
		return nil
	}
	add := func(entry []byte) error { return e.add(entry, leafHash(entry), compare) }
	lost := func(to uint64) {
		report(e.size, errLost)
		for span := max(e.size/spanLeaves, 1) - 1; span*spanLeaves < to; span++ { // a frame may begin in the file before
			if !slices.Contains(lacking, span) {
				lacking = append(lacking, span)
			}
		}
		if err := f.entries(e.size, to, add); err != nil {
			report(e.size, err)
		}
	}
	var s frameScratch
	var entry []byte
	for span := uint64(0); span <= v.span && e.size < v.head.Size; span++ {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		b, err := f.readSpan(span)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			report(e.size, err)
		}
		if span == v.span && int64(len(b)) > v.logEnd {
			b = b[:v.logEnd]
		}
		_, _ = walk(b, spanKey(f.key, f.keys.Origin, span), span, e.size, &s, func(i uint64, leaf Leaf) error {
			if i >= v.head.Size {
				return errStop
			}
			if i > e.size {
				lost(i)
			}
			entry = leaf.AppendPublic(entry[:0])
			return add(entry)
		}, nil)
		if progress != nil {
			progress(e.size, v.head.Size)
		}
	}
	if e.size < v.head.Size {
		lost(v.head.Size)
	}
	for _, t := range e.partials() {
		_ = compare(t)
	}
	if e.size != v.head.Size || e.root() != v.head.Root {
		report(e.size, errTiles)
		bad = nil // they would be of another tree
	}
	if c, err := f.readCheckpoint(); err != nil {
		report(e.size, err)
	} else if c.Size < v.head.Size {
		report(e.size, fmt.Errorf("checkpoint of %d leaves: %w", c.Size, ErrCheckpoint))
	}
	return lacking, bad, errors.Join(errs...)
}
