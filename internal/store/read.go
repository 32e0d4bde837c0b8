package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// A File is a segment's file, open for reading. Safe for many callers.
type File struct {
	f    durable.File
	size int64
}

// ReadAt reads sealed bytes.
func (f *File) ReadAt(b []byte, off int64) (int, error) { return f.f.ReadAt(b, off) }

// Size returns the length of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Forget lets the system drop what it holds of the file in memory.
func (f *File) Forget() { f.f.Forget() }

// Close lets the file go.
func (f *File) Close() error { return f.f.Close() }

// Open opens a segment of the ledger for reading; start is its wall time, ns
// since the epoch. It may wait for a disk. The error wraps ErrGone when no
// volume has the file, or a volume.Error when one is away that might have it.
func (s *Store) Open(id media.SegmentID, start int64) (*File, error) {
	last := ErrGone
	for _, v := range s.cfg.Volumes {
		root, err := v.Root()
		if err != nil {
			last = err
			continue
		}
		// A segment that was just committed is still in open/. It may move
		// between the two looks, but only in this direction.
		for _, name := range []string{openName(id), SegmentName(id, start)} {
			f, err := openFile(root, name)
			if err == nil {
				return f, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				last = err
			}
		}
	}
	return nil, fmt.Errorf("open segment %s: %w", id, last)
}

func openFile(root durable.FS, name string) (*File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{f, info.Size()}, nil
}

// A Live is a segment that is not in the ledger yet, open for reading: being
// written, or closed since a moment. Safe for many callers. It stays readable
// until Close, whatever becomes of the segment.
type Live struct {
	w *Writer
	f durable.File

	mu      sync.Mutex
	entries []segment.Entry // guarded by mu
}

// OpenLive opens what a stream has that is not in the ledger yet, oldest
// first. Who wants everything asks for this before the ledger and drops what it
// then meets twice.
func (s *Store) OpenLive(stream media.StreamID) (list []*Live) {
	s.mu.Lock()
	var writers []*Writer
	for _, w := range s.open {
		if w.info.Stream == stream && !w.leaf {
			writers = append(writers, w)
		}
	}
	slices.SortFunc(writers, func(a, b *Writer) int { return cmp.Compare(a.turn, b.turn) })
	s.mu.Unlock()
	for _, w := range writers {
		if _, written, _, _ := w.file.Progress(); written == 0 {
			continue
		}
		root, err := w.vol.Root()
		if err != nil {
			continue
		}
		if f, err := openFile(root, w.file.Name()); err == nil { // else its disk is in trouble, which is told elsewhere
			list = append(list, &Live{w: w, f: f.f})
		}
	}
	return list
}

// Info tells whose segment it is.
func (l *Live) Info() segment.Info { return l.w.info }

// Before tells what is missing directly before the segment; nil: nothing.
func (l *Live) Before() *segment.Gap { return l.w.gap }

// Entries returns the fragments that ReadAt serves by now.
func (l *Live) Entries() []segment.Entry {
	_, written, _, _ := l.w.file.Progress()
	l.w.mu.Lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := len(l.entries); l.w.seg != nil {
		l.entries = append(l.entries, l.w.seg.Entries(have)...)
	} else {
		l.entries = append(l.entries, l.w.final[have:]...)
	}
	l.w.mu.Unlock()
	n := len(l.entries)
	for n > 0 && l.entries[n-1].Offset+int64(l.entries[n-1].Length) > written {
		n--
	}
	return l.entries[:n:n]
}

// ReadAt reads sealed bytes.
func (l *Live) ReadAt(b []byte, off int64) (int, error) { return l.f.ReadAt(b, off) }

// Close lets the segment go.
func (l *Live) Close() error { return l.f.Close() }
