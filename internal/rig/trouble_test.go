package rig

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vigil/internal/simcam"
)

// two are small cameras, for tests in which the disk has the trouble.
func two(t *testing.T, o Options) *Rig {
	t.Helper()
	r := New(t, o)
	r.Start()
	r.Simulate(four()[1:3]...)
	r.WaitRecording()
	return r
}

// A trouble is a fault of the disk under a recorder.
type trouble struct {
	begin, end func()
	cause      string   // of the gap
	alerts     []string // at least one of them stands while it lasts
}

// meet lets a recorder meet a trouble and get over it: an alert stands while
// it lasts, recording goes on by itself when it is over, and the timeline has the
// gap with its cause.
func meet(t *testing.T, r *Rig, x trouble) {
	t.Helper()
	time.Sleep(3 * time.Second)
	before := time.Now()
	x.begin()
	var alert Alert
	r.Until("somebody is told", Patience, func() bool {
		for _, kind := range x.alerts {
			if a, ok := r.Alert(kind); ok {
				alert = a
				return true
			}
		}
		return false
	})
	t.Logf("%v after the fault: %s: %s %s", time.Since(before).Round(time.Millisecond), alert.Kind, alert.Title, alert.Detail)
	r.Until("recording ends", 2*Patience, func() bool {
		info := r.Info()
		for _, c := range r.Cameras {
			if info[c.ID].Recording.Now {
				return false
			}
		}
		return info != nil
	})
	r.Until("the timeline shows the cause", Patience, func() bool { return r.gapOf(x.cause, before) })
	time.Sleep(3 * time.Second)

	x.end()
	over := time.Now()
	r.Until("recording goes on by itself", Patience, r.Recording)
	t.Logf("recording again %v after the fault was over", time.Since(over).Round(time.Millisecond))
	r.Until("the alert is over", Patience, func() bool {
		for _, a := range r.Alerts(true) {
			if a.ID == alert.ID {
				return a.Cleared != 0
			}
		}
		return true
	})
	again := time.Now()
	time.Sleep(2 * time.Second)
	r.Recovered()
	r.Until("the timeline keeps the cause", Patience, func() bool { return r.gapOf(x.cause, before) })
	for _, c := range r.Cameras {
		f := r.Export(c, before.Add(-time.Minute), time.Now())
		if d := f.Doubles(); len(d) > 0 {
			t.Errorf("%s: pictures %v are there twice", c.Name, d)
		}
		early, late := 0, 0
		lost := 0
		for _, p := range c.Feed.Sent(0) {
			switch have := f.Pictures[p.Number] > 0; {
			case have && p.At < before.UnixMilli():
				early++
			case have && p.At > again.UnixMilli():
				late++
			case !have && p.Readers > 0:
				lost++
			}
		}
		t.Logf("%s: %d pictures from before, %d from after, %d lost", c.Name, early, late, lost)
		if early == 0 || late == 0 {
			t.Errorf("%s: %d pictures from before the trouble, %d from after it", c.Name, early, late)
		}
	}
	r.MustBeClean(false)
	r.NoAlerts("file-tampered", "file-missing", "file-damaged", "ledger-short", "ledger-forked", "ledger-damaged", "audit-tampered", "catalogue-anew")
}

// gapOf tells whether all cameras have a gap of a cause since then.
func (r *Rig) gapOf(cause string, since time.Time) bool {
	r.t.Helper()
	for _, c := range r.Cameras {
		found := false
		for _, g := range r.Timeline(c, since.Add(-time.Minute), time.Now()).Gaps {
			found = found || g.Cause == cause && g.To > since.UnixMilli()
		}
		if !found {
			return false
		}
	}
	return true
}

// TestDiskFull fills the disk with a file of somebody else's. A camera with
// much to send fills the memory in which footage waits for the disk.
//
//vigil:clause 5.2.8.1
func TestDiskFull(t *testing.T) {
	t.Parallel()
	d := NewDisk(t, "ext4", 1024)
	r := two(t, Options{Video: filepath.Join(d.Mount, "video")})
	r.Settings(func(storage map[string]any) {
		storage["reserveBytes"], storage["reservePercent"] = 1<<20, 1
		storage["lowSpaceBytes"], storage["lowSpacePercent"] = 2<<20, 2
	})
	var file string
	meet(t, r, trouble{
		begin: func() {
			r.noise()
			file = d.Fill(0)
		},
		end: func() {
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		},
		cause: "disk-full", alerts: []string{"disk-trouble"},
	})
}

// noise adds a camera of some 5 MB/s, whose pictures are not counted.
func (r *Rig) noise() {
	r.t.Helper()
	var film bytes.Buffer
	random := rand.NewChaCha8([32]byte{})
	for range 4 {
		img := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
		for _, plane := range [][]byte{img.Y, img.Cb, img.Cr} {
			random.Read(plane)
		}
		r.must(jpeg.Encode(&film, img, &jpeg.Options{Quality: 100}))
	}
	name := filepath.Join(r.Dir, "noise.mjpeg")
	r.must(os.WriteFile(name, film.Bytes(), 0o600))
	sim, err := simcam.Start(simcam.Config{Streams: []simcam.Stream{{Path: "noise", Source: name, Rate: 10}}, NoUDP: true})
	r.must(err)
	r.t.Cleanup(sim.Close)
	counted := r.Cameras
	r.Add("noise", sim.URL("noise"), nil, "--link", "plain")
	r.Cameras = counted
}

// TestDiskErrors makes every write fail, and lets it succeed again.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	r := two(t, Options{Video: filepath.Join(f.mount, "video")})
	meet(t, r, trouble{
		begin: func() { f.set("eio-write") }, end: func() { f.set("") },
		cause: "disk", alerts: []string{"disk-trouble"},
	})
}

// TestDiskErrorsShort lets the disk fail and dawdle for some seconds, which
// costs nothing: what was sent waits in memory.
func TestDiskErrorsShort(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	r := two(t, Options{Video: filepath.Join(f.mount, "video")})
	for _, fault := range []string{"eio-write", "eio-fsync", "slow"} {
		f.set(fault)
		time.Sleep(4 * time.Second)
		f.set("")
		r.Until("the disk is in order", Patience, func() bool { return !r.Stands("disk-trouble") })
		time.Sleep(time.Second)
	}
	s := Session{r.Started, time.Now()}
	r.must(r.Stop())
	r.Start()
	r.WaitRecording()
	r.Recovered()
	for _, c := range r.Cameras {
		l := c.Loss(s, r.Export(c, s.Started, time.Now()).Pictures)
		t.Log(l)
		if l.Have == 0 || l.Holes > 0 || l.Tail > 500*time.Millisecond {
			t.Error(l)
		}
	}
	r.MustBeClean(true)
}

// A faulty is a file system of tools/faultfs.
type faulty struct {
	t              *testing.T
	mount, control string
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs FUSE, as CI and the build machine have it")
	}
	program := FaultFS(t)
	dir := tempDir(t)
	f := &faulty{t, filepath.Join(dir, "mount"), filepath.Join(dir, "control")}
	back := filepath.Join(dir, "back")
	for _, name := range []string{back, f.mount} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.set("")
	cmd := exec.Command(program, back, f.mount, f.control)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("umount", "-l", f.mount).Run()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if !within(Patience, func() bool { return exec.Command("mountpoint", "-q", f.mount).Run() == nil }) {
		t.Fatal("faultfs does not mount")
	}
	return f
}

func (f *faulty) set(fault string) {
	f.t.Helper()
	if err := os.WriteFile(f.control+".new", []byte(fault), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.control+".new", f.control); err != nil {
		f.t.Fatal(err)
	}
}

// TestDiskPulled pulls the disk. Its empty mount point is not written to, and
// when the disk is back recording goes on.
func TestDiskPulled(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	d := newDisk(t, f.mount, "ext4", 96)
	video := filepath.Join(d.Mount, "video")
	r := two(t, Options{Video: video})
	meet(t, r, trouble{
		begin: func() {
			f.set("gone")
			r.Until("the disk is missed", Patience, func() bool { return r.Stands("disk-trouble") })
			d.Detach(true)
			if err := os.Mkdir(video, 0o755); err != nil { // the folder below the mount point
				t.Fatal(err)
			}
		},
		end: func() {
			if list, err := os.ReadDir(video); err != nil || len(list) > 0 {
				t.Errorf("in the place of the missing disk: %v %v", list, err)
			}
			if err := os.Remove(video); err != nil {
				t.Error(err)
			}
			d.Gone()
			f.set("")
			d.Attach()
		},
		cause: "disk", alerts: []string{"disk-trouble"},
	})
}

// TestMountPointEmpty starts without the disk: nothing is written to the
// folder that it belongs to, somebody is told, and it records once it is there.
func TestMountPointEmpty(t *testing.T) {
	t.Parallel()
	d := NewDisk(t, "ext4", 96)
	r := two(t, Options{Video: d.Mount})
	time.Sleep(2 * time.Second)
	before := time.Now()
	r.must(r.Stop())
	d.Detach(false)
	r.Start()
	r.Until("somebody is told", Patience, func() bool { return r.Stands("disk-trouble") })
	a, _ := r.Alert("disk-trouble")
	t.Logf("%s: %s %v", a.Title, a.Detail, a.Args)
	if a.Args["state"] != "missing" {
		t.Errorf("the disk is said to be %q", a.Args["state"])
	}
	time.Sleep(4 * time.Second)
	if r.Recording() {
		t.Error("it says that it records")
	}
	for lang, want := range map[string]string{"en": "check again when that is over", "zh-TW": "排除後請再檢查一次"} {
		if code, stderr := r.command(nil, "check", "--lang", lang); code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, d.Mount) {
			t.Errorf("check without the disk: exit code %d, %s", code, stderr)
		}
	}
	if list, err := os.ReadDir(d.Mount); err != nil || len(list) > 0 {
		t.Errorf("in the place of the missing disk: %v %v", list, err)
	}
	d.Attach()
	r.Until("recording goes on by itself", Patience, r.Recording)
	r.Until("the alert is over", Patience, func() bool { return !r.Stands("disk-trouble") })
	r.Recovered()
	for _, c := range r.Cameras {
		if f := r.Export(c, before.Add(-time.Minute), before); len(f.Pictures) == 0 {
			t.Errorf("%s: what was recorded before is gone", c.Name)
		}
	}
	r.MustBeClean(true)
}
