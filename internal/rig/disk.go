package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Disk is a file system of its own on a loop device, to be filled, cut off
// and pulled.
type Disk struct {
	t     testing.TB
	Image string
	Mount string // the mount point
}

// NewDisk makes one of ext4 or xfs and mounts it, or skips the test and says
// why. It ends with the test: make it before the recorder, which then ends first.
func NewDisk(t testing.TB, kind string, megabytes int) *Disk {
	t.Helper()
	needRoot(t)
	return newDisk(t, tempDir(t), kind, megabytes)
}

// newDisk makes a disk whose image is in a folder.
func newDisk(t testing.TB, dir, kind string, megabytes int) *Disk {
	t.Helper()
	d := &Disk{t: t, Image: filepath.Join(dir, "image"), Mount: filepath.Join(tempDir(t), "disk")}
	f, err := os.Create(d.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(megabytes) << 20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.Mount, 0o755); err != nil {
		t.Fatal(err)
	}
	mkfs := map[string][]string{"ext4": {"mkfs.ext4", "-q", "-b", "4096", "-m", "0"}, "xfs": {"mkfs.xfs", "-q"}}[kind]
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], d.Image)...).CombinedOutput(); err != nil {
		t.Skipf("needs %s, as CI and the build machine have it: %v %s", mkfs[0], err, out)
	}
	if err := d.attach(); err != nil {
		t.Skipf("needs loop devices, as CI and the build machine have them: %v", err)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", d.Mount).Run() })
	return d
}

func needRoot(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("disks of its own take a while: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount; run as root on the build machine and in CI")
	}
}

func (d *Disk) attach() error {
	out, err := exec.Command("mount", "-o", "loop", d.Image, d.Mount).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

// Attach mounts the disk again.
func (d *Disk) Attach() {
	d.t.Helper()
	if err := d.attach(); err != nil {
		d.t.Fatal(err)
	}
}

// Detach unmounts the disk; lazily, it may be in use.
func (d *Disk) Detach(lazy bool) {
	d.t.Helper()
	args := []string{d.Mount}
	if lazy {
		args = []string{"-l", d.Mount}
	}
	if !within(Patience, func() bool { return exec.Command("umount", args...).Run() == nil }) {
		d.t.Fatalf("umount %v fails", args)
	}
}

// Cut cuts the file system off, as a power cut does: what was not synced is
// gone. It returns when.
func (d *Disk) Cut() time.Time {
	d.t.Helper()
	if _, err := exec.LookPath("xfs_io"); err != nil {
		d.t.Skip("needs xfs_io, as CI and the build machine have it")
	}
	at := time.Now()
	d.tool("xfs_io", "-x", "-c", "shutdown", d.Mount)
	return at
}

// Gone waits until nobody has the disk open any more after it was detached
// lazily. To mount it again before that would damage it.
func (d *Disk) Gone() {
	d.t.Helper()
	if !within(Patience, func() bool {
		out, err := exec.Command("losetup", "-j", d.Image).Output()
		return err == nil && len(out) == 0
	}) {
		d.t.Fatal("somebody still has the disk open")
	}
}

func (d *Disk) tool(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// Fill fills the disk with a file of somebody else's and returns its name.
// It leaves so many bytes free.
func (d *Disk) Fill(leave int64) string {
	d.t.Helper()
	name := filepath.Join(d.Mount, "somebody-elses")
	f, err := os.Create(name)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for len(block) >= 4096 {
		free := d.Free() - leave
		if free <= 0 {
			break
		}
		if _, err := f.Write(block[:min(int64(len(block)), max(free, 4096))]); err != nil {
			block = block[:len(block)/2]
		}
		f.Sync()
	}
	return name
}

// Free returns how many bytes are free.
func (d *Disk) Free() int64 {
	d.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.Mount, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}
