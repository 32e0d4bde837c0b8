// Package durable has files that survive a power cut, and disks that do not
// on purpose.
//
//	keys, ledger, audit, settings, store/volume -> [durable] -> the disk
//
// All that Vigil keeps goes through an [FS]: [OS] is the machine's, [Mem] a
// disk in memory that forgets what was not synced and fails on command. The
// package knows nothing of what the files mean.
//
// What POSIX promises, and all that is relied on here: a file's bytes are
// durable after its Sync, a file's name after the SyncDir of its folder, and a
// rename is atomic. After a failed Sync the bytes written since the last good
// one are lost even if a later Sync succeeds; who wants them writes them again.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// An FS is what the record is written through. Names are slash-separated
// paths. Safe for many callers, except that two callers must not write the
// same file.
type FS interface {
	// OpenFile is os.OpenFile. A new name is durable after SyncDir. The error
	// wraps ErrSpecial for what is neither a file nor a folder.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename replaces newName atomically; durable after SyncDir of both folders.
	Rename(oldName, newName string) error
	// Remove takes away a file or an empty folder; durable after SyncDir.
	Remove(name string) error
	// Mkdir makes one folder; durable after SyncDir of its parent.
	Mkdir(name string, perm fs.FileMode) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	// Disk tells about the file system that holds name.
	Disk(name string) (Disk, error)
	// Sub returns a view that is pinned to the folder as it is now: its names
	// are relative to dir and reach the same disk whatever is unmounted there
	// or mounted over it later.
	Sub(dir string) (Root, error)
}

// A Root is an FS pinned to one folder, until Close.
type Root interface {
	FS
	io.Closer
	// Lock is [Lock] of the folder: it is held until Close of what is returned,
	// or the end of the process.
	Lock() (io.Closer, error)
}

// A File is an open file, or a folder opened for Syncfs.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	io.Closer
	Name() string
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	// Sync makes the bytes and the size durable (fdatasync), not the name.
	Sync() error
	// Syncfs makes all of the file system durable that holds the file, and
	// reports write errors anywhere on it since the file was opened or since
	// the last Syncfs through it. Keep one file open for it.
	Syncfs() error
	// Forget lets the system drop what it holds of the file in memory and is durable: who reads or
	// writes much that is not wanted again soon leaves the memory to what is. Nothing else changes.
	Forget()
}

// A Disk describes a file system.
type Disk struct {
	Total int64 // bytes
	Free  int64 // bytes that we may use
	// Device is the kernel's number of the mounted device: equal numbers are
	// the same file system now. It may be another one after a restart.
	Device uint64
	// ID stays the same over restarts and machines; empty where there is none.
	ID string
	// Kind is "ext4", "xfs", "btrfs", ..., or the magic number in hex.
	Kind string
	// MountPoint tells that the folder asked for is where it is mounted.
	MountPoint bool
}

// WriteFile puts data under name so that after a power cut there is the old
// content or the new one, whole. The file is readable by its owner only. One
// caller at a time per name. After an error there may be either content.
func WriteFile(fsys FS, name string, data []byte) (err error) {
	tmp := name + ".tmp"
	f, err := Anew(fsys, tmp)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		_ = fsys.Remove(tmp) // best effort: the next WriteFile truncates it
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fsys.SyncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Anew makes a file for writing, and takes away what has its name: only so is
// it sure that no link leads the bytes into another file.
func Anew(fsys FS, name string) (File, error) {
	const flag = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := fsys.OpenFile(name, flag, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return fsys.OpenFile(name, flag, 0o600)
}

// ErrSpecial is returned for a pipe, a socket or a device; where links are not
// followed, for a link.
var ErrSpecial = errors.New("is not a file")

// ErrTooLarge is returned for a file above the caller's bound.
var ErrTooLarge = errors.New("file is too large")

// ErrNewer is what every format of Vigil's says of a file whose version it does
// not know: who reads it must change nothing. A later version keeps the magic of
// its format, so only a file with that is newer and not damaged. Where a check sum or
// a seal proves that the file is of this version and the byte of the version alone
// is wrong, it is damaged; in doubt it is newer.
var ErrNewer = errors.New("written by a newer Vigil")

// ReadFile returns the content of a file of at most limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return b, nil
}

// NoFile tells that there is something under a name which is not a file that we may read: a
// folder, a pipe, links in a circle, or another's file. The disk is not at fault,
// and renaming it is all that can be done.
func NoFile(err error) bool {
	return errors.Is(err, ErrSpecial) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, fs.ErrPermission)
}

// Aside renames what is of no use as a file to name.damaged, or to another name
// where that cannot be, and returns it.
func Aside(fsys FS, name string) (to string, err error) {
	to = name + ".damaged"
	if err = fsys.Rename(name, to); err != nil { // a folder is there, or here
		to = fmt.Sprintf("%s.%d", to, time.Now().UnixNano())
		err = fsys.Rename(name, to)
	}
	return to, err
}

// MkdirAll makes a folder and the missing ones above it, durable, for the
// owner only. Of a folder that is there it makes the name durable: whoever
// made it may have failed to. So it is not for every write.
func MkdirAll(fsys FS, dir string) error {
	dir = path.Clean(dir)
	parent := path.Dir(dir)
	switch info, err := fsys.Stat(dir); {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	case err == nil:
		if err := fsys.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}
