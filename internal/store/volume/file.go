package volume

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sync/atomic"

	"vigil/internal/durable"
	"vigil/internal/media"
)

// A Budget bounds the bytes that wait in memory. Safe for many callers.
type Budget struct {
	limit, held atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	b := new(Budget)
	b.limit.Store(limit)
	return b
}

// SetLimit changes the bound; what is held already stays.
func (b *Budget) SetLimit(limit int64) { b.limit.Store(limit) }

// Limit returns the bound, Held what is used of it, in bytes.
func (b *Budget) Limit() int64 { return b.limit.Load() }

// Held returns the bytes in memory.
func (b *Budget) Held() int64 { return b.held.Load() }

// Take reserves n bytes, or tells that there is no room.
func (b *Budget) Take(n int64) bool {
	if b.held.Add(n) > b.limit.Load() {
		b.held.Add(-n)
		return false
	}
	return true
}

// Force reserves n bytes whatever the bound: for the few bytes that end what
// was begun. A negative n gives back.
func (b *Budget) Force(n int64) { b.held.Add(n) }

// A Buffer carries bytes to a volume, which uses its memory again once they
// are durable.
type Buffer struct{ B []byte }

var buffers = media.Pool[Buffer]{Make: func(size int) *Buffer { return &Buffer{B: make([]byte, 0, size)} }}

// NewBuffer returns an empty buffer with room for at least n bytes.
func NewBuffer(n int) *Buffer {
	b := buffers.Get(n)
	b.B = b.B[:0]
	return b
}

func (b *Buffer) free() { buffers.Put(b, cap(b.B)) }

// A File is one file on its way to the disk. Its methods never wait for the
// disk. One goroutine hands bytes over; the questions are safe for many.
type File struct {
	v    *Volume
	name string

	f       durable.File // guarded by v.mu, as what follows; used by the writer alone
	chunks  []chunk      // all that is not durable, in order
	next    int          // of chunks: the first to be written, or written again
	size    int64        // bytes handed over
	written int64        // bytes that a reader sees
	safe    int64        // bytes that are durable, under a durable name
	ended   bool         // no more bytes will come
	err     error
}

type chunk struct {
	off int64
	buf *Buffer
}

// Create starts a new file. Its name is durable together with its first bytes.
func (v *Volume) Create(name string) (*File, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == nil {
		return nil, v.errLocked()
	}
	f := &File{v: v, name: name}
	v.files = append(v.files, f)
	return f, nil
}

// Write hands bytes over, and the buffer with them; the caller has reserved
// them in the budget. After an error the file is of no use.
func (f *File) Write(b *Buffer) error {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.err != nil {
		f.v.cfg.Budget.Force(-int64(len(b.B)))
		return f.err
	}
	f.chunks = append(f.chunks, chunk{f.size, b})
	f.size += int64(len(b.B))
	f.v.wake()
	return nil
}

// End says that no more bytes will come.
func (f *File) End() {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.ended = true
	f.v.wake()
}

// Name returns the name on the volume.
func (f *File) Name() string { return f.name }

// Progress tells how many bytes were handed over, are written (a reader sees
// them; they survive the end of the process) and are durable, name included;
// and why it failed.
func (f *File) Progress() (size, written, safe int64, err error) {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	return f.size, f.written, f.safe, f.err
}

// fail drops what is not durable. Its memory is not used again: the writer may
// be in the middle of it. Called with v.mu held.
func (f *File) fail(err error) {
	for _, c := range f.chunks {
		f.v.cfg.Budget.Force(-int64(len(c.buf.B)))
	}
	f.chunks, f.next, f.err = nil, 0, err
	if f.f != nil {
		f.v.tombs = append(f.v.tombs, f.f)
		f.f = nil
	}
}

// A task is something to do with names, once.
type task struct {
	do   func(root durable.FS) ([]string, error) // returns the folders it changed
	done func(error)
}

// Move renames a file and tells when that is durable, or failed. done is
// called with the volume locked: it must not call back nor wait.
func (v *Volume) Move(from, to string, done func(error)) {
	v.task(task{done: done, do: func(root durable.FS) ([]string, error) {
		return v.move(root, from, to)
	}})
}

// move is done by the writer, which remembers the folder of this hour.
func (v *Volume) move(root durable.FS, from, to string) ([]string, error) {
	dir := path.Dir(to)
	dirs := []string{path.Dir(from), dir}
	if dir == v.made {
		err := root.Rename(from, to)
		if !errors.Is(err, fs.ErrNotExist) {
			return dirs, err
		}
		v.made = "" // it was removed, being empty; or the file is gone
	}
	if err := durable.MkdirAll(root, dir); err != nil {
		return nil, err
	}
	err := root.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := root.Stat(to); serr == nil {
			err = nil // done the time before, which said otherwise
		}
	}
	if err == nil {
		v.made = dir
	}
	return dirs, err
}

// Discard takes a file away that holds nothing, and tells when that is
// durable, or failed.
func (v *Volume) Discard(name string, done func(error)) {
	v.task(task{done: done, do: func(root durable.FS) ([]string, error) {
		err := root.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return []string{path.Dir(name)}, err
	}})
}

// WriteFile is durable.WriteFile by the writer.
func (v *Volume) WriteFile(name string, data []byte, done func(error)) {
	v.task(task{done: done, do: func(root durable.FS) ([]string, error) {
		return nil, durable.WriteFile(root, name, data)
	}})
}

func (v *Volume) task(t task) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == nil {
		t.done(v.errLocked())
		return
	}
	v.tasks = append(v.tasks, t)
	v.wake()
}

// Append adds bytes to a file that nobody else writes and makes them durable,
// cutting it to size first; on the caller's goroutine.
func (v *Volume) Append(name string, size int64, data []byte) (err error) {
	root, err := v.Root()
	if err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := f.Truncate(size); err != nil {
		return err
	}
	if _, err := f.WriteAt(data, size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return root.SyncDir(path.Dir(name))
}
