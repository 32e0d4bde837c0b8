package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OS is the machine's own file system.
type OS struct{}

var _ FS = OS{}

// OpenFile is os.OpenFile for files and folders alone.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return osFile(os.OpenFile(name, flag|unix.O_NONBLOCK, perm))
}

// Rename is os.Rename.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Remove is os.Remove.
func (OS) Remove(name string) error { return os.Remove(name) }

// Mkdir is os.Mkdir.
func (OS) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// ReadDir is os.ReadDir.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat is os.Stat.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir is an fsync of the folder.
func (OS) SyncDir(name string) error { return syncDir(os.Open(name)) }

// Disk asks statfs.
func (OS) Disk(name string) (Disk, error) {
	f, err := os.Open(name)
	if err != nil {
		return Disk{}, err
	}
	defer f.Close()
	return diskOf(f)
}

// Sub opens dir; every name of the view is resolved from that open folder and
// cannot leave it, not by a symbolic link either.
func (OS) Sub(dir string) (Root, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return rooted{r}, nil
}

type rooted struct{ r *os.Root }

func (s rooted) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return osFile(s.r.OpenFile(name, flag|unix.O_NONBLOCK, perm))
}
func (s rooted) Rename(oldName, newName string) error      { return s.r.Rename(oldName, newName) }
func (s rooted) Remove(name string) error                  { return s.r.Remove(name) }
func (s rooted) Mkdir(name string, perm fs.FileMode) error { return s.r.Mkdir(name, perm) }
func (s rooted) Stat(name string) (fs.FileInfo, error)     { return s.r.Stat(name) }
func (s rooted) SyncDir(name string) error                 { return syncDir(s.r.Open(name)) }
func (s rooted) Close() error                              { return s.r.Close() }
func (s rooted) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := s.r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}
func (s rooted) Disk(name string) (Disk, error) {
	f, err := s.r.Open(name)
	if err != nil {
		return Disk{}, err
	}
	defer f.Close()
	return diskOf(f)
}
func (s rooted) Sub(dir string) (Root, error) {
	r, err := s.r.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return rooted{r}, nil
}

type file struct{ *os.File }

// osFile refuses what is no file: a pipe that somebody puts in the place of one
// would hold up its reader for good, and a device does what it likes. It was opened
// without waiting, which is nothing to a file.
func osFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err // not a typed nil
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: ErrSpecial}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return file{f}, nil
}

func (f file) Sync() error {
	return f.control("fdatasync", unix.Fdatasync)
}

func (f file) Syncfs() error {
	return f.control("syncfs", unix.Syncfs)
}

func (f file) Forget() {
	_ = f.control("fadvise", func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }) // a hint
}

func (f file) control(op string, call func(int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := c.Control(func(fd uintptr) {
		for {
			if err = call(int(fd)); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}); cerr != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: fs.ErrClosed} // the only reason there is
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

func syncDir(f *os.File, err error) error {
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// kinds names the file systems that people use for recordings.
var kinds = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.F2FS_SUPER_MAGIC: "f2fs", unix.TMPFS_MAGIC: "tmpfs", unix.FUSE_SUPER_MAGIC: "fuse",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", 0xff534d42: "cifs", 0x2fc12fc1: "zfs",
}

func diskOf(f *os.File) (d Disk, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return d, err
	}
	cerr := c.Control(func(fd uintptr) {
		var st unix.Statfs_t
		var at, up unix.Stat_t
		if err = unix.Fstatfs(int(fd), &st); err != nil {
			return
		}
		if err = unix.Fstat(int(fd), &at); err != nil {
			return
		}
		d.Total = int64(st.Blocks) * st.Frsize
		d.Free = int64(st.Bavail) * st.Frsize
		d.Device = at.Dev
		d.Kind = kinds[st.Type]
		if d.Kind == "" {
			d.Kind = fmt.Sprintf("%x", st.Type)
		}
		d.ID = uuid(int(fd))
		if d.ID == "" && (d.Kind == "ext4" || d.Kind == "btrfs") { // made of the UUID there; of the device number elsewhere
			d.ID = fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))
		}
		if at.Mode&unix.S_IFMT == unix.S_IFDIR && unix.Fstatat(int(fd), "..", &up, 0) == nil {
			d.MountPoint = at.Dev != up.Dev || at.Ino == up.Ino
		}
	})
	if err == nil {
		err = cerr
	}
	if err != nil {
		return Disk{}, &fs.PathError{Op: "statfs", Path: f.Name(), Err: err}
	}
	return d, nil
}

// uuid asks for the file system's UUID (FS_IOC_GETFSUUID, Linux 6.9). The
// answer is a length and up to 16 bytes.
func uuid(fd int) string {
	const getFSUUID = 0x80111500 // _IOR(0x15, 0, struct fsuuid2)
	var answer [17]byte
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getFSUUID, uintptr(unsafe.Pointer(&answer))); e != 0 {
		return ""
	}
	n := min(int(answer[0]), 16)
	return fmt.Sprintf("%x", answer[1:1+n])
}
