package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// LockName is the file in a folder that Lock holds it by.
const LockName = "LOCK"

// ErrLocked is returned when another process holds a folder.
var ErrLocked = errors.New("in use by another process")

// A LockFile is a hold on a folder, until Unlock or the end of the process.
type LockFile struct{ f *os.File }

// Lock holds dir for this process by an flock on its file LOCK, which names
// the holder. The error wraps ErrLocked and names the process that holds it,
// ErrSpecial where LOCK is no file, and errors.ErrUnsupported on a file system
// that has no such locks.
func Lock(dir string) (*LockFile, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	defer r.Close()
	return lock(r)
}

func (s rooted) Lock() (io.Closer, error) {
	l, err := lock(s.r)
	if err != nil {
		return nil, err // not a typed nil
	}
	return l.f, nil
}

func lock(r *os.Root) (*LockFile, error) {
	for {
		l, err := tryLock(r)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", r.Name(), err)
		}
		if l != nil {
			return l, nil
		}
	}
}

// tryLock returns nil when the file was taken away while it was being locked:
// then somebody else may hold another one of that name.
func tryLock(r *os.Root) (l *LockFile, err error) {
	special := &fs.PathError{Op: "open", Path: r.Name() + "/" + LockName, Err: ErrSpecial}
	if info, err := r.Lstat(LockName); err == nil && !info.Mode().IsRegular() { // nor a link, which would lead what is written here elsewhere
		return nil, special
	}
	f, err := r.OpenFile(LockName, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if l == nil {
			f.Close()
		}
	}()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
	case unix.EWOULDBLOCK:
		return nil, fmt.Errorf("%w, %s", ErrLocked, holder(f))
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOLCK:
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	default:
		return nil, err
	}
	ours, err := f.Stat()
	if err != nil {
		return nil, err
	}
	named, err := r.Lstat(LockName)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(ours, named) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Only a courtesy to who is refused; the hold is the flock. A file with a
	// second name may be somebody else's.
	if st, ok := ours.Sys().(*syscall.Stat_t); !ok || st.Nlink == 1 {
		if err := f.Truncate(0); err == nil {
			_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
	}
	return &LockFile{f}, nil
}

func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return "process unknown"
	}
	return fmt.Sprintf("process %d", pid)
}

// Unlock lets the folder go. The file stays: removing it would let two
// processes hold two files of that name.
func (l *LockFile) Unlock() error { return l.f.Close() }
