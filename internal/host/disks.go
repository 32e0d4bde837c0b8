// Package host tells of the machine that Vigil runs on.
//
//	app -> [host] -> the kernel
package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

// Why a folder is no place to keep something.
var (
	ErrName        = errors.New("not an absolute path")
	ErrNotFolder   = errors.New("not a folder")
	ErrMemory      = errors.New("in memory: a restart empties it")
	ErrTemporary   = errors.New("a place of the system, or one that is emptied by itself")
	ErrReadOnly    = errors.New("the file system is read-only")
	ErrNotWritable = errors.New("may not be written to")
	ErrNotEmpty    = errors.New("other files are there")
	ErrHung        = errors.New("the disk does not answer")
)

// A Place is a folder where something could be kept, or why not.
type Place struct {
	Folder string       // as asked for, cleaned
	Exists bool         // else it can be made
	Disk   durable.Disk // of the file system that it is on, or would be
	Mount  string       // where that is mounted; "" unknown
	Device string       // what is mounted there: /dev/sdb1, nas:/video
	Err    error        // nil: it will do
}

// patience is how long one disk may take to answer: a share whose server is
// away takes for ever.
const patience = 2 * time.Second

// maxName bounds the name of a folder, in bytes: what is made below it needs
// room too.
const maxName = 1024

// temporary are places that are the system's own, or emptied by it.
var temporary = []string{"/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/proc", "/sys", "/boot", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64"}

// Disks finds places on the file systems of this machine. Safe for many
// callers; the zero value is ready.
type Disks struct {
	mounts string // file to read instead of the kernel's, for tests

	mu  sync.Mutex
	now map[string]bool // folders that are being looked at: one that hangs is not asked a second time; guarded by mu
}

// Look judges a folder, without making or writing anything. Others' files in it
// are ErrNotEmpty, but for those that known names.
func (d *Disks) Look(folder string, known func(name string) bool) Place {
	p := Place{Folder: filepath.Clean(folder)}
	if !filepath.IsAbs(folder) || len(folder) > maxName || strings.ContainsFunc(folder, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		p.Err = ErrName
		return p
	}
	return d.within(p, func(p *Place) { d.look(p, known) })
}

// within looks at a folder for as long as patience lasts.
func (d *Disks) within(p Place, look func(*Place)) Place {
	d.mu.Lock()
	busy := d.now[p.Folder]
	if d.now == nil {
		d.now = map[string]bool{}
	}
	d.now[p.Folder] = true
	d.mu.Unlock()
	hung := p
	hung.Err = ErrHung
	if busy {
		return hung
	}
	done := make(chan Place, 1)
	go func() { // ends when the disk answers
		look(&p)
		d.mu.Lock()
		delete(d.now, p.Folder)
		d.mu.Unlock()
		done <- p
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case p := <-done:
		return p
	case <-late.C:
		return hung
	}
}

func (d *Disks) look(p *Place, known func(string) bool) {
	at, err := existing(p.Folder)
	if err != nil {
		p.Err = err
		return
	}
	p.Exists = at == p.Folder
	real, err := filepath.EvalSymlinks(at)
	if err == nil {
		p.Disk, err = durable.OS{}.Disk(real)
	}
	if err != nil {
		p.Err = fmt.Errorf("%w: %w", ErrNotFolder, err)
		return
	}
	mounts, err := d.list()
	if err == nil {
		m := under(mounts, filepath.Join(real, strings.TrimPrefix(p.Folder, at)))
		p.Mount, p.Device = m.at, m.device
	}
	switch {
	case p.Disk.Kind == "tmpfs" || p.Disk.Kind == "858458f6": // ramfs
		p.Err = ErrMemory
	case slices.ContainsFunc(temporary, func(t string) bool { return below(p.Folder, t) || below(real, t) }), p.Folder == "/":
		p.Err = ErrTemporary
	case unix.Access(at, unix.W_OK|unix.X_OK) == unix.EROFS:
		p.Err = ErrReadOnly
	case unix.Access(at, unix.W_OK|unix.X_OK) != nil:
		p.Err = ErrNotWritable
	case p.Exists:
		p.Err = empty(p.Folder, known)
	}
}

// existing is the folder, or the nearest above it that is there.
func existing(folder string) (string, error) {
	for at := folder; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != "/":
			if _, err := os.Lstat(at); err == nil {
				return "", ErrNotFolder // a link to nowhere
			}
			continue
		case errors.Is(err, unix.ENOTDIR):
			return "", ErrNotFolder
		case errors.Is(err, fs.ErrPermission):
			return "", ErrNotWritable
		case err != nil:
			return "", fmt.Errorf("%w: %w", ErrNotFolder, err)
		case !info.IsDir():
			return "", ErrNotFolder
		}
		return at, nil
	}
}

// mostLook is how many names of a folder are looked at: who has more has other
// files there.
const mostLook = 1000

// empty wants a folder without others' files.
func empty(folder string, known func(string) bool) error {
	f, err := os.Open(folder)
	if err != nil {
		return ErrNotWritable
	}
	defer f.Close()
	names, err := f.Readdirnames(mostLook)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrNotFolder, err)
	}
	for _, name := range names {
		if name != "lost+found" && (known == nil || !known(name)) {
			return ErrNotEmpty
		}
	}
	return nil
}

func below(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

// A mount is a line of /proc/self/mountinfo.
type mount struct {
	at, kind, device string
	readOnly         bool
}

// stores are the kinds of file systems that keep files on disks, here or
// elsewhere.
var stores = []string{"ext4", "ext3", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "nfs", "nfs4", "cifs", "smb3", "exfat", "vfat", "fuseblk", "ntfs3"}

// mostPlaces bounds what Places lists.
const mostPlaces = 32

// Places lists where something could be kept: a folder called name on each disk
// that is mounted, or the disk itself where it is empty. What does not do is left out.
func (d *Disks) Places(name string) (list []Place) {
	mounts, err := d.list()
	if err != nil {
		return nil
	}
	seen := map[uint64]bool{}
	for _, m := range mounts {
		if len(list) == mostPlaces {
			break
		}
		if m.readOnly || !slices.Contains(stores, m.kind) || under(mounts, m.at) != m {
			continue
		}
		p := Place{Err: ErrTemporary}
		if m.at != "/" { // an own disk that is empty is best taken whole: without it there is no folder
			p = d.Look(m.at, nil)
		}
		if errors.Is(p.Err, ErrNotEmpty) || m.at == "/" {
			at := m.at
			if at == "/" {
				at = "/srv" // where a machine keeps what it serves (FHS 3.17)
			}
			p = d.Look(filepath.Join(at, name), nil)
		}
		if p.Err != nil || seen[p.Disk.Device] {
			continue
		}
		seen[p.Disk.Device] = true
		list = append(list, p)
	}
	return list
}

// under is the mount that a name lies on.
func under(mounts []mount, name string) (m mount) {
	for _, x := range mounts {
		if (x.at == "/" || below(name, x.at)) && len(x.at) >= len(m.at) { // the last of those mounted over each other
			m = x
		}
	}
	return m
}

// list reads the mounts of this process (proc_pid_mountinfo(5)).
func (d *Disks) list() (list []mount, err error) {
	name := d.mounts
	if name == "" {
		name = "/proc/self/mountinfo"
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if !ok || len(b) < 6 || len(a) < 3 {
			continue
		}
		options := strings.Split(b[5]+","+a[2], ",")
		list = append(list, mount{at: plain.Replace(b[4]), kind: a[0], device: plain.Replace(a[1]), readOnly: slices.Contains(options, "ro")})
	}
	return list, lines.Err()
}

// plain undoes the octal codes of mountinfo.
var plain = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
