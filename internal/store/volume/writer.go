package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"vigil/internal/durable"
	"vigil/internal/media"
)

// wake lets the writer look.
func (v *Volume) wake() {
	select {
	case v.kick <- struct{}{}:
	default: // it will look anyway
	}
}

func (v *Volume) synchronised() {
	if v.cfg.Synced != nil {
		v.cfg.Synced()
	}
}

// Hurry makes what is written from now on durable at once, and not with the beat: the last of it
// is being waited for.
func (v *Volume) Hurry() {
	v.hurry.Store(true)
	v.wake()
}

// write is the writer: the only goroutine that writes files and syncs.
func (v *Volume) write(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-v.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
		v.bury()
		timer.Reset(v.turn())
	}
	v.synced, v.retry = time.Time{}, time.Time{} // once more, without waiting
	v.turn()
	v.mu.Lock()
	if v.root != nil {
		v.detach(fmt.Errorf("%w: Vigil stops", ErrFailed))
	}
	v.mu.Unlock()
	v.bury()
}

// turn does what is to do now and returns when to look again.
func (v *Volume) turn() time.Duration {
	if wait := time.Until(v.retry); wait > 0 {
		return wait
	}
	v.mu.Lock()
	root, well := v.root, v.status.State == Online
	v.mu.Unlock()
	if root == nil {
		if err := v.do(v.Attach); err != nil {
			v.retry = time.Now().Add(v.cfg.Probe)
			return v.cfg.Probe
		}
		v.trouble, v.made = time.Time{}, ""
		return 0
	}
	due := !well || v.hurry.Load() || time.Since(v.synced) >= v.cfg.Beat // only a sync proves that trouble is over
	var err error
	if due {
		err = v.measure(root)
	}
	if err == nil {
		err = v.writeAll(root)
	}
	if err == nil {
		err = v.runTasks(root)
	}
	if due && (err == nil || full(err)) { // what is written on a full disk is made durable all the same
		v.synced = time.Now()
		if serr := v.sync(root); serr != nil {
			err = serr
		}
	}
	if err != nil {
		v.bad(root, err)
		v.retry = time.Now().Add(v.cfg.Beat / 4)
		return v.cfg.Beat / 4
	}
	v.good(root)
	return max(0, v.cfg.Beat-time.Since(v.synced))
}

// bad judges a failure: worth another try, or not.
func (v *Volume) bad(root durable.Root, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root != root {
		return // the watch was quicker
	}
	cause := media.DiskFailed
	if full(err) {
		cause = media.DiskFull
	}
	if v.trouble.IsZero() || v.status.Cause != cause {
		v.trouble = time.Now()
	}
	switch {
	case errors.Is(err, ErrMissing):
		v.drop(Missing, cause, err)
	case permanent(err), cause == media.DiskFailed && time.Since(v.trouble) >= v.cfg.Dead:
		v.drop(Failed, cause, err)
	default:
		v.change(Suspect, cause, err)
	}
}

func (v *Volume) good(root durable.Root) {
	v.trouble = time.Time{}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == root {
		v.change(Online, "", nil)
	}
}

// bury closes what was given up.
func (v *Volume) bury() {
	v.mu.Lock()
	tombs := v.tombs
	v.tombs = nil
	v.mu.Unlock()
	for _, c := range tombs {
		_ = v.do(c.Close) // what it would say is known
	}
}

// measure looks whether the disk is there and how full it is.
func (v *Volume) measure(root durable.Root) error {
	var d durable.Disk
	err := v.do(func() (err error) {
		d, err = v.present(root)
		return err
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == root && d.Total > 0 {
		v.status.Disk = d
	}
	return err
}

// writeAll writes what was handed over, file by file, until nothing is left
// or a sync is due.
func (v *Volume) writeAll(root durable.FS) error {
	for more := true; more; {
		v.mu.Lock()
		files := slices.Clone(v.files)
		v.mu.Unlock()
		more = false
		for _, f := range files {
			some, err := v.writeFile(root, f)
			if err != nil {
				return err
			}
			more = more || some
		}
		if time.Since(v.synced) >= v.cfg.Beat {
			return nil
		}
	}
	return nil
}

// writeFile writes what one file has now.
func (v *Volume) writeFile(root durable.FS, f *File) (some bool, err error) {
	v.mu.Lock()
	n := len(f.chunks)
	v.mu.Unlock()
	for {
		v.mu.Lock()
		if f.next >= min(n, len(f.chunks)) {
			v.mu.Unlock()
			return some, nil
		}
		c, open := f.chunks[f.next], f.f
		v.mu.Unlock()
		if open == nil {
			if open, err = v.open(root, f); err != nil {
				return some, err
			}
		}
		err := v.do(func() error {
			n, err := open.WriteAt(c.buf.B, c.off)
			if err == nil && n < len(c.buf.B) {
				err = io.ErrShortWrite
			}
			return err
		})
		if err != nil {
			return some, fmt.Errorf("write %s: %w", f.name, err)
		}
		v.mu.Lock()
		if f.err == nil {
			f.next++
			f.written = max(f.written, c.off+int64(len(c.buf.B)))
		}
		v.mu.Unlock()
		some = true
	}
}

func (v *Volume) open(root durable.FS, f *File) (h durable.File, err error) {
	err = v.do(func() error {
		h, err = root.OpenFile(f.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		return err
	})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if f.err != nil { // given up meanwhile
		v.tombs = append(v.tombs, h)
		return nil, f.err
	}
	f.f = h
	v.dirs[path.Dir(f.name)] = true
	return h, nil
}

// runTasks does what is to do with names.
func (v *Volume) runTasks(root durable.Root) error {
	for {
		v.mu.Lock()
		if v.root != root || len(v.tasks) == 0 {
			v.mu.Unlock()
			return nil
		}
		t := v.tasks[0]
		v.mu.Unlock()
		var dirs []string
		err := v.do(func() (err error) {
			dirs, err = t.do(root)
			return err
		})
		v.mu.Lock()
		if v.root != root { // given up meanwhile, and told
			v.mu.Unlock()
			return nil
		}
		if full(err) || permanent(err) && !errors.Is(err, fs.ErrNotExist) {
			v.mu.Unlock()
			return err // stays to be done, or is told when the disk is given up
		}
		v.tasks = v.tasks[1:]
		if err != nil {
			t.done(err)
		} else {
			v.moved = append(v.moved, t)
			for _, d := range dirs {
				v.dirs[d] = true
			}
		}
		v.mu.Unlock()
	}
}

// A mark is how far a file was written when a sync began.
type mark struct {
	f    *File
	open durable.File
	upTo int64
}

// sync makes durable what is written: with one call for all where the volume
// is a file system of its own, else file by file and folder by folder. After
// a failure the kernel may have dropped any page that was not durable, and
// would report success the next time: all of it is written again from memory.
func (v *Volume) sync(root durable.Root) error {
	v.mu.Lock()
	if v.root != root {
		v.mu.Unlock()
		return nil
	}
	var marks []mark
	for _, f := range v.files {
		m := mark{f, f.f, f.safe}
		if f.next > 0 {
			last := f.chunks[f.next-1]
			m.upTo = last.off + int64(len(last.buf.B))
		}
		if m.upTo > f.safe || f.ended {
			marks = append(marks, m)
		}
	}
	dirs := slices.Sorted(maps.Keys(v.dirs))
	whole, group, moved := v.whole, v.status.Group, len(v.moved)
	v.mu.Unlock()
	if len(marks) == 0 && len(dirs) == 0 && moved == 0 {
		return nil
	}

	err := v.flush(root, whole, group, marks, dirs)

	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root != root {
		return nil
	}
	if err != nil {
		for _, f := range v.files {
			f.next = 0
		}
		return err
	}
	for _, m := range marks {
		v.safe(m)
	}
	for _, d := range dirs {
		delete(v.dirs, d)
	}
	done := v.moved
	v.moved = nil
	for _, t := range done {
		t.done(nil)
	}
	v.synchronised()
	return nil
}

func (v *Volume) flush(root durable.FS, whole durable.File, group bool, marks []mark, dirs []string) error {
	if group {
		return v.do(whole.Syncfs)
	}
	for _, m := range marks {
		if m.open == nil {
			continue
		}
		if err := v.do(m.open.Sync); err != nil {
			return err
		}
	}
	for _, d := range dirs {
		if err := v.do(func() error { return root.SyncDir(d) }); err != nil {
			return err
		}
	}
	return nil
}

// safe lets go of the bytes that are durable, and of a file that ended.
// Called with mu held.
func (v *Volume) safe(m mark) {
	f := m.f
	n := 0
	for n < f.next && f.chunks[n].off+int64(len(f.chunks[n].buf.B)) <= m.upTo {
		buf := f.chunks[n].buf
		v.cfg.Budget.Force(-int64(len(buf.B)))
		buf.free()
		n++
	}
	f.chunks = slices.Delete(f.chunks, 0, n) // clears the tail: the buffers have new owners
	f.next -= n
	f.safe = m.upTo
	if !f.ended || len(f.chunks) > 0 {
		return
	}
	if f.f != nil {
		v.tombs = append(v.tombs, f.f)
		f.f = nil
	}
	v.files = slices.DeleteFunc(v.files, func(o *File) bool { return o == f })
}
