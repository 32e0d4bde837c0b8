package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned when another process holds a folder.
var ErrLocked = errors.New("in use by another process")

// A LockFile is a hold on a folder, until Unlock or the end of the process.
type LockFile struct{ f *os.File }

// Lock holds dir for this process by an flock on its file LOCK, which names
// the holder. The error wraps ErrLocked and names the process that holds it.
func Lock(dir string) (*LockFile, error) {
	name := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("lock %s: %w, %s", dir, ErrLocked, holder(f))
	}
	// Only a courtesy to who is refused; the hold is the flock.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
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
