package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"vigil/internal/durable"
	"vigil/internal/media"
)

// The folders of a volume.
const (
	labelName  = "LABEL"
	OpenDir    = "open"       // segments being written, and finished ones without a leaf
	SegmentDir = "segments"   // segments in the ledger: <UTC day number>/<hour>/<id>.vseg
	Quarantine = "quarantine" // files that nobody knows
	KeyDir     = "keys"       // copies of the wrapped keys
	LedgerDir  = "ledger"     // copies of the ledger
)

var folders = []string{OpenDir, SegmentDir, Quarantine, KeyDir, LedgerDir}

// Attach looks whether the disk is there and ours, and opens it. It is nil
// when the volume is attached. The writer calls it by itself; others call it
// to know before.
func (v *Volume) Attach() error {
	v.attaching.Lock()
	defer v.attaching.Unlock()
	v.mu.Lock()
	there := v.root != nil
	v.mu.Unlock()
	if there {
		return nil
	}
	root, label, lock, err := v.look()
	if err == nil {
		err = probe(root)
	}
	var whole durable.File
	var disk durable.Disk
	if err == nil {
		whole, err = root.OpenFile(".", os.O_RDONLY, 0)
	}
	if err == nil {
		disk, err = root.Disk(".")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		if lock != nil {
			lock.Close()
		}
		if root != nil {
			root.Close()
		}
		state, cause := Failed, media.DiskFailed
		switch {
		case errors.Is(err, ErrMissing):
			state = Missing
		case errors.Is(err, ErrForeign):
			state = Foreign
		case errors.Is(err, ErrTaken):
			state = Taken
		case errors.Is(err, durable.ErrNewer):
			state = Newer
		case full(err):
			cause = media.DiskFull
		}
		v.change(state, cause, err)
		return v.errLocked()
	}
	v.root, v.whole, v.label, v.lock = root, whole, label, lock
	v.dirs = map[string]bool{}
	v.status.Disk, v.status.Group = disk, groups(disk)
	v.change(Online, "", nil)
	return nil
}

// groups tells whether one syncfs makes all of the volume durable and costs
// nobody else's writing: a file system of its own, of a kind whose syncfs is
// known to flush the disk and to report write errors.
func groups(d durable.Disk) bool {
	return d.MountPoint && slices.Contains([]string{"ext4", "xfs", "btrfs", "f2fs", "mem"}, d.Kind)
}

// look opens the folder if its label is right and nobody else works with it.
// An empty folder becomes a volume only if the settings say so. Nothing is
// written to a folder before it is known to be ours.
//
//vigil:clause 5.1.1.2
func (v *Volume) look() (root durable.Root, l Label, lock io.Closer, err error) {
	root, err = v.cfg.FS.Sub(v.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, l, nil, fmt.Errorf("%w: no folder", ErrMissing)
	}
	if err != nil {
		return nil, l, nil, err
	}
	disk, err := root.Disk(".")
	if err != nil {
		return root, l, nil, err
	}
	l, there, err := v.readLabel(root, disk)
	if err == nil && !there {
		err = v.usable(root)
	}
	if err != nil {
		return root, l, nil, err
	}
	if lock, err = v.hold(root); err != nil {
		return root, l, nil, err
	}
	for _, dir := range folders {
		if err := durable.MkdirAll(root, dir); err != nil {
			return root, l, lock, err
		}
	}
	if !there { // the label comes last: a crash before it leaves a folder that counts as empty
		l = Label{Volume: v.cfg.Volume, Set: v.cfg.Set, Made: time.Now().UnixNano()}
		if l.Volume.IsZero() {
			l.Volume = media.NewID[volumeTag]()
		}
	}
	if !there || l.Disk != disk.ID && disk.ID != "" {
		l.Disk = disk.ID
		if err := durable.WriteFile(root, labelName, l.Append(nil, v.cfg.Key)); err != nil {
			return root, l, lock, err
		}
	}
	if !there {
		v.log.Info("made a volume of an empty folder", "id", l.Volume, "disk", disk.ID, "kind", disk.Kind)
	}
	return root, l, lock, nil
}

// readLabel reads the label, if there is one, and judges it.
func (v *Volume) readLabel(root durable.Root, disk durable.Disk) (l Label, there bool, err error) {
	want := v.ID() // once it was here, only this one will do
	b, err := durable.ReadFile(root, labelName, readMax)
	if errors.Is(err, fs.ErrNotExist) {
		return l, false, nil
	}
	if err != nil && !errors.Is(err, durable.ErrTooLarge) {
		return l, true, err
	}
	l, err = ParseLabel(b, v.cfg.Key)
	switch {
	case errors.Is(err, durable.ErrNewer):
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrForeign, err)
	case l.Set != v.cfg.Set:
		err = fmt.Errorf("%w: it belongs to set %s", ErrForeign, l.Set)
	case !want.IsZero() && l.Volume != want:
		err = fmt.Errorf("%w: it is volume %s, wanted %s", ErrForeign, l.Volume, want)
	case l.Disk != "" && disk.ID != "" && l.Disk != disk.ID && !v.cfg.Moved:
		// A copy of the folder: below a mount point whose disk is missing, or
		// on a new disk. Only a person can tell.
		err = fmt.Errorf("%w: the folder was moved here from file system %s", ErrForeign, l.Disk)
	}
	return l, true, err
}

// usable tells whether a folder without a label may become a volume. What a
// crash left while one was being made counts as empty.
func (v *Volume) usable(root durable.Root) error {
	list, err := root.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range list {
		switch name := e.Name(); {
		case name == "lost+found", name == labelName+".tmp", name == durable.LockName:
		case e.IsDir() && slices.Contains(folders, name):
			if inside, err := root.ReadDir(name); err != nil {
				return err
			} else if len(inside) > 0 {
				return fmt.Errorf("%w: no label, but %s is not empty", ErrForeign, name)
			}
		default:
			return fmt.Errorf("%w: no label, but %.60q is there", ErrForeign, name)
		}
	}
	v.mu.Lock()
	known := !v.label.Volume.IsZero()
	v.mu.Unlock()
	if !v.cfg.New || known {
		return fmt.Errorf("%w: the folder is empty", ErrMissing)
	}
	return nil
}

// hold takes the folder for this process alone. Two recorders on one volume,
// as a copy of a state folder makes them, would each take what the other writes for
// what a crash left, and end it.
func (v *Volume) hold(root durable.Root) (io.Closer, error) {
	lock, err := root.Lock()
	if errors.Is(err, durable.ErrSpecial) {
		v.aside(root, durable.LockName, err)
		lock, err = root.Lock()
	}
	switch {
	case errors.Is(err, durable.ErrLocked):
		return nil, fmt.Errorf("%w: %w", ErrTaken, err)
	case errors.Is(err, errors.ErrUnsupported):
		v.log.Warn("this file system has no locks: another Vigil on the same folder would not be noticed", "err", err)
		return nil, nil
	}
	return lock, err
}

// aside moves what somebody put in the place of a file of the volume's to the
// quarantine, where a check finds it.
func (v *Volume) aside(root durable.FS, name string, why error) {
	to := path.Join(Quarantine, fmt.Sprintf("%s.%d", name, time.Now().UnixNano()))
	err := durable.MkdirAll(root, Quarantine)
	if err == nil {
		err = root.Rename(name, to)
	}
	v.log.Warn("something else was in the place of a file", "file", name, "why", why, "now", to, "err", err)
}

// probe writes and syncs a small file: a disk that takes none is not online.
func probe(root durable.Root) error {
	const name = "probe"
	f, err := durable.Anew(root, name)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if rerr := root.Remove(name); err == nil {
		err = rerr
	}
	return err
}

// present measures the disk, and tells whether the folder in the settings is
// still the one that is open: not after an unmount, a pulled disk or another
// disk mounted over it.
func (v *Volume) present(root durable.Root) (durable.Disk, error) {
	d, err := root.Disk(".")
	if err != nil {
		return d, err
	}
	named, err := v.cfg.FS.Disk(path.Join(v.cfg.Dir, labelName))
	if errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("%w: the label is gone", ErrMissing)
	}
	if err != nil {
		return d, err
	}
	if named.Device != d.Device {
		return d, fmt.Errorf("%w: another one is mounted", ErrMissing)
	}
	if d.Free < v.cfg.Floor {
		return d, fmt.Errorf("%w: %d bytes free, floor %d", ErrNoSpace, d.Free, v.cfg.Floor)
	}
	return d, nil
}

// drop gives the disk up, and says why. Called with mu held.
func (v *Volume) drop(s State, cause media.Cause, err error) {
	if v.root == nil {
		return
	}
	v.change(s, cause, err)
	v.detach(v.errLocked())
}

// detach lets the disk go: what was not durable is lost to it. The open files
// are closed by the writer, which may sit in one of them. Called with mu held.
func (v *Volume) detach(why error) {
	for _, f := range v.files {
		f.fail(why)
	}
	for _, t := range slices.Concat(v.moved, v.tasks) {
		t.done(why)
	}
	v.tombs = append(v.tombs, v.whole, v.root)
	if v.lock != nil {
		v.tombs = append(v.tombs, v.lock) // the last: until then something may write
	}
	v.root, v.whole, v.lock, v.files, v.tasks, v.moved = nil, nil, nil, nil, nil, nil
	v.status.Disk = durable.Disk{}
	v.synchronised()
}

// Known tells whether a name in a folder is one that a volume has there; so
// that a folder that is a volume, or was about to become one, can be told from
// somebody else's.
func Known(name string) bool {
	return name == labelName || name == labelName+".tmp" || name == settledName || name == durable.LockName || slices.Contains(folders, name)
}

// Bare tells whether nothing was ever recorded here that is still there: no
// segment, finished or not, and nothing in the quarantine.
func (v *Volume) Bare() (bool, error) {
	root, err := v.Root()
	if err != nil {
		return false, err
	}
	for _, dir := range []string{OpenDir, SegmentDir, Quarantine} {
		if list, err := root.ReadDir(dir); err != nil || len(list) > 0 {
			return false, err
		}
	}
	return true, nil
}

// Unmake makes an ordinary folder again of a bare volume that nobody runs, and
// lets it go. The label goes last: what a crash leaves can still be attached.
func (v *Volume) Unmake() error {
	defer v.Close()
	bare, err := v.Bare()
	if err == nil && !bare {
		err = errors.New("it has footage")
	}
	if err != nil {
		return fmt.Errorf("unmake volume %s: %w", v.cfg.Dir, err)
	}
	root, err := v.Root()
	if err != nil {
		return err
	}
	for _, dir := range folders {
		if err := removeAll(root, dir, mostDepth); err != nil {
			return err
		}
	}
	for _, name := range []string{settledName, labelName, durable.LockName} {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return root.SyncDir(".")
}

// mostDepth is how deep the folders of a volume lie in each other, and some more.
const mostDepth = 8

// removeAll takes a folder of ours away, which is at most so deep.
func removeAll(root durable.FS, name string, depth int) error {
	list, err := root.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range list {
		at := path.Join(name, e.Name())
		if e.IsDir() && depth > 0 {
			err = removeAll(root, at, depth-1)
		} else {
			err = root.Remove(at)
		}
		if err != nil {
			return err
		}
	}
	return root.Remove(name)
}
