package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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

// A Live is a segment that is being written, open for reading. Safe for many
// callers. It stays readable after the segment was closed, and tells all its
// entries then.
type Live struct {
	w *Writer
	f durable.File

	mu      sync.Mutex
	entries []segment.Entry // guarded by mu
}

// OpenLive opens what a stream is writing now. ok is false when nothing is
// being written, or nothing of it can be read yet.
func (s *Store) OpenLive(stream media.StreamID) (l *Live, ok bool) {
	s.mu.Lock()
	w := s.latest[stream]
	s.mu.Unlock()
	if w == nil {
		return nil, false
	}
	root, err := w.vol.Root()
	if err != nil {
		return nil, false
	}
	if _, written, _, _ := w.file.Progress(); written == 0 {
		return nil, false
	}
	f, err := root.OpenFile(w.file.Name(), os.O_RDONLY, 0)
	if err != nil {
		return nil, false
	}
	l = &Live{w: w, f: f}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil {
		f.Close()
		return nil, false
	}
	w.lives = append(w.lives, l)
	return l, true
}

// refresh takes over the entries so far. Called with the writer locked.
func (l *Live) refresh(seg *segment.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, seg.Entries(len(l.entries))...)
}

// Info tells whose segment it is.
func (l *Live) Info() segment.Info { return l.w.info }

// Entries returns the fragments that ReadAt serves by now.
func (l *Live) Entries() []segment.Entry {
	l.w.mu.Lock()
	if l.w.seg != nil {
		l.refresh(l.w.seg)
	}
	l.w.mu.Unlock()
	_, written, _, _ := l.w.file.Progress()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.entries)
	for n > 0 && l.entries[n-1].Offset+int64(l.entries[n-1].Length) > written {
		n--
	}
	return l.entries[:n:n]
}

// ReadAt reads sealed bytes.
func (l *Live) ReadAt(b []byte, off int64) (int, error) {
	n, err := l.f.ReadAt(b, off)
	if err == io.EOF && n == len(b) {
		err = nil
	}
	return n, err
}

// Close lets the segment go.
func (l *Live) Close() error {
	l.w.mu.Lock()
	for i, o := range l.w.lives {
		if o == l {
			l.w.lives = append(l.w.lives[:i], l.w.lives[i+1:]...)
			break
		}
	}
	l.w.mu.Unlock()
	return l.f.Close()
}
