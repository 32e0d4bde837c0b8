package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Verify reads all of the ledger in home and in the copies: every frame opens,
// every leaf and every tile is what the signed checkpoint promises. The error
// joins the findings, at most maxReport for each folder. Nothing is repaired.
// Appending goes on meanwhile; what comes after the call is not verified.
func (l *Ledger) Verify(ctx context.Context, progress func(done, total uint64)) error {
	v := l.home.view()
	var errs []error
	for _, f := range append([]*folder{l.home}, l.readable()...) {
		view := v
		if f != l.home {
			view = f.view()
		}
		if err := f.verify(ctx, view, progress); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}

const maxReport = 20

// verify reads one folder up to a view.
func (f *folder) verify(ctx context.Context, v view, progress func(done, total uint64)) error {
	if v.head.Size == 0 {
		return nil
	}
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
		}
		return nil
	}
	add := func(entry []byte) error { return e.add(entry, leafHash(entry), compare) }
	lost := func(to uint64) {
		report(e.size, errLost)
		if err := f.entries(e.size, to, add); err != nil {
			report(e.size, err)
		}
	}
	var s frameScratch
	var entry []byte
	for span := uint64(0); span <= v.span && e.size < v.head.Size; span++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := f.readSpan(span)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			report(e.size, err)
		}
		if span == v.span && int64(len(b)) > v.logEnd {
			b = b[:v.logEnd]
		}
		_, _ = walk(b, spanKey(f.key, f.keys.Origin, span), span, e.size, &s, func(i uint64, leaf Leaf) error {
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
	}
	if c, err := f.readCheckpoint(); err != nil {
		report(e.size, err)
	} else if c.Size < v.head.Size {
		report(e.size, fmt.Errorf("checkpoint of %d leaves: %w", c.Size, ErrCheckpoint))
	}
	return errors.Join(errs...)
}
