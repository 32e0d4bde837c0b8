package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// A device is a real file system on a loop device, mounted at dir/mnt; the
// system side, dir/sys, stays on the machine's disk.
type device struct {
	t     *testing.T
	dir   string
	image string
	kind  string
}

// newDevice makes one, or skips the test and says why.
func newDevice(t *testing.T, kind string, megabytes int) *device {
	t.Helper()
	if testing.Short() {
		t.Skip("real disks take seconds: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting wants root")
	}
	dir := t.TempDir()
	d := &device{t, dir, filepath.Join(dir, "disk.img"), kind}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(megabytes)<<20), f.Close(), os.Mkdir(filepath.Join(dir, "mnt"), 0o700)); err != nil {
		t.Fatal(err)
	}
	mkfs := map[string][]string{"ext4": {"mkfs.ext4", "-q", "-b", "4096", "-m", "0", d.image}, "xfs": {"mkfs.xfs", "-q", d.image}}[kind]
	if out, err := exec.Command(mkfs[0], mkfs[1:]...).CombinedOutput(); err != nil {
		t.Skipf("no %s here: %v: %s", kind, err, out)
	}
	if out, err := d.mount(); err != nil {
		t.Skipf("no loop mounts here: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", d.at("mnt")).Run() })
	return d
}

func (d *device) at(name string) string { return filepath.Join(d.dir, name) }

func (d *device) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop", d.image, d.at("mnt")).CombinedOutput()
}

func (d *device) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// rig starts a store on it.
func (d *device) rig(floor, memory int64) *rig {
	d.t.Helper()
	fs, err := durable.OS{}.Sub(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { fs.Close() })
	r := rigOn(d.t, fs)
	r.pace, r.dead, r.floor = 100*time.Millisecond, 2*time.Second, floor
	r.memory = memory
	r.boot()
	return r
}

// until waits for something that takes real time.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s; the volume is %+v", what, r.vol.Status())
		}
	}
}

func (r *rig) state(want volume.State) func() bool {
	return func() bool { return r.vol.Status().State == want }
}

// TestPowerCut cuts a real file system off in the middle of recording. What
// was acknowledged is there after the next mount.
func TestPowerCut(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, kind, 320)
			r := d.rig(0, 0)
			if !r.vol.Status().Group || r.vol.Status().Disk.ID == "" {
				t.Errorf("the volume is %+v", r.vol.Status())
			}
			r.put(15)
			r.cutAll()
			r.put(25)
			d.run("xfs_io", "-x", "-c", "shutdown", d.at("mnt"))
			for _, st := range r.streams {
				st.w = nil
			}
			r.end()
			d.run("umount", d.at("mnt"))
			if out, err := d.mount(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			r.boot()
			r.await()
			if len(r.sealed) != 2 {
				t.Errorf("%d segments were acknowledged before the cut", len(r.sealed))
			}
			r.invariants(false)
			for id := range r.safe {
				if _, told := r.board.args(FileTampered + " " + id.String()); told {
					t.Error("a power cut passes for tampering")
				}
			}
			r.put(5)
			r.cutAll()
			r.end()
		})
	}
}

// TestFullDisk fills a real file system, and makes room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "ext4", 32)
	r := d.rig(1, 20_000)
	r.put(10)
	fill, err := os.Create(d.at("mnt/fill"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); len(block) >= 4096; {
		if _, err := fill.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	fill.Close()
	big := make([]byte, 6000)
	var last error
	r.until("a refusal", func() bool {
		st := r.streams[0]
		if st.w == nil {
			w, err := r.store.Create(actor.Of("recorder", "amy"), segment.Info{Stream: st.id, Camera: st.cam}, st.tracks, nil)
			if err != nil {
				last = err
				return Cause(err) == media.DiskFull
			}
			st.w = w
		}
		b := media.NewBatch(len(big))
		defer b.Release()
		now := time.Now()
		b.Tracks = st.tracks
		b.Units = append(b.Units, media.Unit{Track: 1, RandomAccess: true, DTS: media.TicksOf(now), Arrived: now.UnixNano(), Data: b.Payload()})
		b.Fragment = b.Front(20)
		if last = st.w.Append(b); last != nil {
			r.cut(st)
		}
		return Cause(last) == media.DiskFull && last != nil
	})
	if !errors.Is(last, ErrNoSpace) {
		t.Errorf("refused with %v", last)
	}
	os.Remove(d.at("mnt/fill"))
	r.until("online", r.state(volume.Online))
	r.cutAll()
	r.frags, r.safe = map[media.SegmentID][][32]byte{}, map[media.SegmentID]int{}
	before := len(r.sealed)
	r.put(5)
	r.cutAll()
	r.until("recording again", func() bool { r.witness(); return len(r.sealed) >= before+2 })
	r.end()
}

// TestPulledDisk takes the disk away under a running recorder. The empty
// mount point is not written to; recording goes on when the disk is back.
func TestPulledDisk(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "ext4", 32)
	r := d.rig(1, 0)
	r.put(15)
	d.run("umount", "-l", d.at("mnt"))
	r.until("missing", r.state(volume.Missing))
	r.put(10)
	if list, err := os.ReadDir(d.at("mnt")); err != nil || len(list) > 0 {
		t.Errorf("the mount point has %v, %v", list, err)
	}
	r.until("mounted again", func() bool { _, err := d.mount(); return err == nil })
	r.until("online", r.state(volume.Online))
	r.put(10)
	r.cutAll()
	r.until("an empty open/", func() bool { list, err := r.fs.ReadDir("mnt/open"); return err == nil && len(list) == 0 })
	time.Sleep(time.Second)
	r.invariants(false)
	r.end()
}

// TestErrors makes a file system of our own refuse writes and syncs, and
// stand still.
func TestErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("real disks take seconds: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting wants root")
	}
	t.Parallel()
	program := filepath.Join(t.TempDir(), "faultfs")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../tools/faultfs"
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("faultfs does not build here: %v: %s", err, out)
	}
	for _, c := range []struct {
		fault string
		state volume.State
	}{
		{"eio-write", volume.Failed},
		{"eio-fsync", volume.Failed},
		{"enospc", volume.Suspect},
		{"gone", volume.Failed},
	} {
		t.Run(c.fault, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"back", "mnt"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			ctl, mnt := filepath.Join(dir, "ctl"), filepath.Join(dir, "mnt")
			fault := func(word string) {
				if err := os.WriteFile(ctl, []byte(word), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			fault("")
			serve := exec.Command(program, filepath.Join(dir, "back"), mnt, ctl)
			if err := serve.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				exec.Command("umount", "-l", mnt).Run()
				serve.Process.Kill()
				serve.Wait()
			})
			for i := 0; ; i++ {
				mounts, _ := os.ReadFile("/proc/self/mounts")
				if strings.Contains(string(mounts), " "+mnt+" fuse") {
					break
				}
				if i == 100 {
					t.Skip("no FUSE mounts here")
				}
				time.Sleep(50 * time.Millisecond)
			}
			d := &device{t: t, dir: dir}
			r := d.rig(1, 0)
			if r.vol.Status().Group {
				t.Error("one sync for all on a file system that does not promise it")
			}
			r.put(12)
			fault(c.fault)
			r.until(string(c.state), func() bool { r.put(1); return r.state(c.state)() })
			fault("")
			r.until("online", r.state(volume.Online))
			r.put(10)
			r.cutAll()
			r.until("an empty open/", func() bool { list, err := r.fs.ReadDir("mnt/open"); return err == nil && len(list) == 0 })
			time.Sleep(time.Second)
			r.invariants(false)
			r.end()
		})
	}
}

// TestTraps puts pipes, links and folders where segments are: each is found,
// and none holds up recovery, the check, or who reads.
//
//vigil:clause 5.2.8.2
func TestTraps(t *testing.T) {
	t.Parallel()
	d := &device{t: t, dir: t.TempDir()}
	if err := os.Mkdir(d.at("mnt"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := d.rig(1, 0)
	const traps = 4
	var files []string
	for range traps {
		r.put(2)
		r.cutAll()
	}
	r.until("settled segments", func() bool {
		files, _ = filepath.Glob(d.at("mnt/segments/*/*/*" + suffix))
		return len(files) == traps*len(r.streams)
	})
	r.end()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(
		os.WriteFile(outside, []byte("theirs"), 0o600),
		os.Remove(files[0]), unix.Mkfifo(files[0], 0o600),
		os.Rename(files[1], d.at("mnt/moved")), os.Symlink("../../../moved", files[1]),
		os.Remove(files[2]), os.Symlink(outside, files[2]),
		os.Remove(files[3]), os.Mkdir(files[3], 0o700),
		unix.Mkfifo(d.at("mnt/"+openName(media.SegmentID{1})), 0o600),
		os.Symlink(outside, d.at("mnt/"+openName(media.SegmentID{2}))),
		os.Mkdir(d.at("mnt/"+openName(media.SegmentID{3})), 0o700),
		os.Symlink(outside, d.at("mnt/SETTLED.tmp")),
		os.Symlink(outside, d.at("mnt/probe")),
	); err != nil {
		t.Fatal(err)
	}
	r.boot()
	r.await()
	rep, err := r.store.Check(t.Context(), Names, nil)
	if err != nil || rep.Counts[WrongDigest] != traps || rep.Counts[Quarantined] != 3 || len(rep.Findings) != traps+3 {
		t.Errorf("found %v, %v", rep.Findings, err)
	}
	for _, name := range files[:traps] {
		id, _ := segmentID(filepath.Base(name))
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := r.store.Open(id, info.ModTime().UnixNano()); err == nil && info.Mode().Type() == os.ModeNamedPipe {
			t.Error("opened a pipe")
			f.Close()
		}
	}
	r.end()
	if got, err := os.ReadFile(outside); err != nil || string(got) != "theirs" {
		t.Errorf("a file outside is now %q, %v", got, err)
	}
}
