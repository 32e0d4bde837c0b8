package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/media"
)

// A bench is a volume on a disk in memory, and what it told.
type bench struct {
	t    *testing.T
	disk *durable.Mem
	vol  *Volume
	cfg  Config
	mu   sync.Mutex
	told []string // guarded by mu
	stop func()
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, disk: durable.NewMem()}
	if err := b.disk.Mkdir("mnt", 0o700); err != nil {
		t.Fatal(err)
	}
	b.disk.SyncDir(".")
	b.cfg = Config{
		FS: b.disk, Dir: "mnt", Key: testKey(1), Set: SetID{1}, New: true, Budget: NewBudget(1 << 20),
		Changed: func(_ *Volume, from, to Status) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, fmt.Sprintf("%s %s", to.State, to.Cause))
		},
	}
	b.vol = New(b.cfg)
	return b
}

// said returns what the volume told since the last time.
func (b *bench) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return told
}

// run starts the volume; the test ends it.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.vol.Run(ctx)
	}()
	b.stop = func() {
		cancel()
		<-done
	}
	synctest.Wait()
}

func (b *bench) create(name string) *File {
	b.t.Helper()
	f, err := b.vol.Create(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func (b *bench) put(f *File, data string) error {
	buf := NewBuffer(len(data))
	buf.B = append(buf.B, data...)
	b.vol.cfg.Budget.Force(int64(len(data)))
	return f.Write(buf)
}

func (b *bench) content(name string) string {
	got, err := durable.ReadFile(b.disk, "mnt/"+name, 1<<20)
	if err != nil {
		return err.Error()
	}
	return string(got)
}

func (b *bench) expect(what string, got, want any) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func safe(f *File) int64 {
	_, _, n, _ := f.Progress()
	return n
}

// hold is another process on the volume.
func hold(t *testing.T, d *durable.Mem) io.Closer {
	t.Helper()
	root, err := d.Sub("mnt")
	if err != nil {
		t.Fatal(err)
	}
	l, err := root.Lock()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTaken lets two recorders of one label at a volume: the second writes
// nothing, and has it as soon as the first is gone.
//
//vigil:clause 5.2.8.2
func TestTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newBench(t), newBench(t)
		second.disk = first.disk
		second.cfg.FS = first.disk
		second.vol = New(second.cfg)
		first.run()
		f := first.create("open/a")
		first.put(f, "first ")
		time.Sleep(1500 * time.Millisecond)
		first.disk.ForgetOps()
		second.run()
		time.Sleep(10 * time.Second)
		if ops := first.disk.Ops(); len(ops) > 0 {
			t.Errorf("the second did %v", ops)
		}
		if _, err := second.vol.Create("open/b"); !errors.Is(err, ErrTaken) {
			t.Errorf("create: %v", err)
		}
		first.put(f, "goes on")
		f.End()
		time.Sleep(1500 * time.Millisecond)
		first.stop()
		time.Sleep(3 * time.Second)
		second.expect("told", strings.Join(second.said(), ", "), "taken disk, online ")
		second.put(second.create("open/b"), "second")
		time.Sleep(1500 * time.Millisecond)
		second.stop()
		first.disk.Restart()
		second.expect("of the first", second.content("open/a"), "first goes on")
		second.expect("of the second", second.content("open/b"), "second")
	})
}

// TestClose lets a volume go that was only looked for.
func TestClose(t *testing.T) {
	b := newBench(t)
	if err := b.vol.Attach(); err != nil {
		t.Fatal(err)
	}
	b.vol.Close()
	b.vol.Close()
	if _, err := b.vol.Root(); err == nil {
		t.Error("still attached")
	}
	if err := New(b.cfg).Attach(); err != nil {
		t.Error(err)
	}
}

// TestAttach looks at folders of every kind: only ours is used, and nothing is
// written to any other.
//
//vigil:clause 5.1.1.2
func TestAttach(t *testing.T) {
	key, other := testKey(1), testKey(2)
	label := func(l Label) func(*durable.Mem) {
		return func(d *durable.Mem) {
			if err := durable.WriteFile(d, "mnt/LABEL", l.Append(nil, key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name string) func(*durable.Mem) {
		return func(d *durable.Mem) {
			durable.MkdirAll(d, "mnt/open")
			durable.WriteFile(d, "mnt/"+name, []byte("x"))
		}
	}
	ours := Label{Volume: ID{7}, Set: SetID{1}, Disk: "mem"}
	for _, c := range []struct {
		name    string
		prepare func(*durable.Mem)
		change  func(*Config)
		want    error
		state   State
	}{
		{"empty, new", nil, nil, nil, Online},
		{"empty, not new", nil, func(c *Config) { c.New = false }, ErrMissing, Missing},
		{"no folder", func(d *durable.Mem) { d.Remove("mnt") }, nil, ErrMissing, Missing},
		{"ours", label(ours), func(c *Config) { c.New = false }, nil, Online},
		{"ours, by id", label(ours), func(c *Config) { c.New, c.Volume = false, ID{7} }, nil, Online},
		{"another volume of ours", label(ours), func(c *Config) { c.Volume = ID{8} }, ErrForeign, Foreign},
		{"another set", label(Label{Volume: ID{7}, Set: SetID{2}}), nil, ErrForeign, Foreign},
		{"another recorder", label(ours), func(c *Config) { c.Key = other }, ErrForeign, Foreign},
		{"moved to another disk", label(Label{Volume: ID{7}, Set: SetID{1}, Disk: "another"}), nil, ErrForeign, Foreign},
		{"moved, and known to be", label(Label{Volume: ID{7}, Set: SetID{1}, Disk: "another"}), func(c *Config) { c.Moved = true }, nil, Online},
		{"somebody's files", file("letters"), nil, ErrForeign, Foreign},
		{"footage without a label", file("open/x.vseg"), nil, ErrForeign, Foreign},
		{"a folder of a disk just formatted", func(d *durable.Mem) { d.Mkdir("mnt/lost+found", 0o700) }, nil, nil, Online},
		{"making was cut short", func(d *durable.Mem) { durable.MkdirAll(d, "mnt/open") }, nil, nil, Online},
		{"no label but a long one", func(d *durable.Mem) { durable.WriteFile(d, "mnt/LABEL", make([]byte, 5000)) }, nil, ErrForeign, Foreign},
		{"a newer Vigil's", func(d *durable.Mem) { durable.WriteFile(d, "mnt/LABEL", newerLabel(ours, key)) }, nil, durable.ErrNewer, Newer},
		{"held by another", func(d *durable.Mem) { label(ours)(d); hold(t, d) }, nil, ErrTaken, Taken},
		{"empty, and another makes a volume of it", func(d *durable.Mem) { hold(t, d) }, nil, ErrTaken, Taken},
		{"left by one that crashed", func(d *durable.Mem) { label(ours)(d); hold(t, d).Close() }, nil, nil, Online},
		{"no file but a folder for the lock", func(d *durable.Mem) { label(ours)(d); durable.MkdirAll(d, "mnt/LOCK/x") }, nil, nil, Online},
		{"no locks there", func(d *durable.Mem) {
			label(ours)(d)
			d.Inject(durable.Rule{Kind: durable.OpLock, Times: -1, Err: unix.EOPNOTSUPP})
		}, nil, nil, Online},
		{"read-only", func(d *durable.Mem) { d.Inject(durable.Rule{Times: -1, Err: unix.EROFS}) }, nil, unix.EROFS, Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if c.prepare != nil {
				c.prepare(b.disk)
			}
			if c.change != nil {
				c.change(&b.cfg)
			}
			before := len(b.disk.Ops())
			v := New(b.cfg)
			err := v.Attach()
			if !errors.Is(err, c.want) || v.Status().State != c.state {
				t.Fatalf("%v, %v; want %v, %v", err, v.Status().State, c.want, c.state)
			}
			for _, op := range b.disk.Ops()[before:] {
				if c.state != Online && op.Err == nil {
					t.Errorf("refused, but did %v", op)
				}
			}
			if c.state == Online {
				cfg := b.cfg
				cfg.New, cfg.Moved, cfg.Volume = false, false, v.ID()
				b.disk.Restart()
				if err := New(cfg).Attach(); err != nil {
					t.Errorf("after a restart: %v", err)
				}
			} else if _, err := v.Create("open/x"); err == nil {
				t.Error("takes files")
			}
		})
	}
}

// TestWritten follows bytes to the disk: seen at once, durable with the beat,
// there after a crash.
func TestWritten(t *testing.T) {
	for _, group := range []bool{true, false} {
		t.Run(fmt.Sprint("group=", group), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.disk.Pose(durable.Disk{Device: 1, ID: "mem", Kind: "mem", MountPoint: group})
				b.run()
				f := b.create("open/a")
				b.put(f, "one")
				synctest.Wait()
				b.expect("written", b.content("open/a"), "one")
				time.Sleep(1100 * time.Millisecond)
				b.expect("durable", safe(f), int64(3))
				b.put(f, "two")
				f.End()
				time.Sleep(1100 * time.Millisecond)
				b.expect("held", b.vol.cfg.Budget.Held(), int64(0))

				moved := make(chan error, 1)
				b.vol.Move("open/a", "segments/1/2/a", func(err error) { moved <- err })
				b.expect("move", <-moved, nil)
				b.put(b.create("open/b"), "not durable")
				synctest.Wait()
				b.disk.Crash()
				b.stop()
				b.disk.Restart()
				b.expect("after a crash", b.content("segments/1/2/a"), "onetwo")
				if _, err := b.disk.Stat("mnt/open/b"); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("what was never synced: %v", err)
				}
			})
		})
	}
}

// TestTrouble breaks the disk in every way and mends it: the volume says so,
// nobody who hands bytes over ever waits, and it comes back by itself.
func TestTrouble(t *testing.T) {
	refuse := func(kind durable.Kind, err error, times int) func(*bench) {
		return func(b *bench) { b.disk.Inject(durable.Rule{Kind: kind, Times: times, Err: err}) }
	}
	for _, c := range []struct {
		name string
		do   func(*bench)
		undo func(*bench)
		keep bool // nothing is lost
		said string
	}{
		{"a write fails once", refuse(durable.OpWrite, unix.EIO, 1), nil, true, "suspect disk, online "},
		{"a sync fails twice", refuse(durable.OpSyncfs, unix.EIO, 2), nil, true, "suspect disk, online "},
		{"full for 20 s", refuse(durable.OpWrite, unix.ENOSPC, -1), nil, true, "suspect disk-full, online "},
		{"below the floor", func(b *bench) { b.disk.Limit(1000) }, func(b *bench) { b.disk.Limit(0) }, true, "suspect disk-full, online "},
		{"full, then broken, then mended", func(b *bench) {
			b.disk.Inject(durable.Rule{Kind: durable.OpWrite, Times: 70, Err: unix.ENOSPC})
			b.disk.Inject(durable.Rule{Kind: durable.OpWrite, Times: 2, Err: unix.EIO})
		}, nil, true, "suspect disk-full, suspect disk, online "},
		{"writes fail for 20 s", refuse(durable.OpWrite, unix.EIO, -1), nil, false, "suspect disk, failed disk, online "},
		{"read-only", refuse(durable.OpWrite, unix.EROFS, -1), nil, false, "failed disk, online "},
		{"hangs shortly", func(b *bench) {
			b.disk.Inject(durable.Rule{Kind: durable.OpSyncfs, Fault: durable.Hang})
			time.AfterFunc(6*time.Second, b.disk.Heal)
		}, nil, true, "suspect disk, online "},
		{"hangs", func(b *bench) { b.disk.Inject(durable.Rule{Kind: durable.OpSyncfs, Fault: durable.Hang}) }, nil, false, "suspect disk, failed disk, online "},
		{"hangs in a write", func(b *bench) { b.disk.Inject(durable.Rule{Kind: durable.OpWrite, Fault: durable.Hang}) }, nil, false, "suspect disk, failed disk, online "},
		{"unmounted", func(b *bench) {
			b.disk.Rename("mnt", "away")
			b.disk.Mkdir("mnt", 0o700)
		}, func(b *bench) {
			if list, err := b.disk.ReadDir("mnt"); err != nil || len(list) > 0 {
				b.t.Errorf("written below the mount point: %v, %v", list, err)
			}
			b.disk.Remove("mnt")
			b.disk.Rename("away", "mnt")
		}, false, "missing disk, online "},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.run()
				f := b.create("open/a")
				b.put(f, "before ")
				time.Sleep(1100 * time.Millisecond)
				b.said()

				c.do(b)
				start := time.Now()
				b.put(f, "during ")
				b.expect("time to hand bytes over", time.Since(start), time.Duration(0))
				time.Sleep(20 * time.Second)
				_, _, _, err := f.Progress()
				if c.keep != (err == nil) {
					t.Errorf("file after 20 s: %v", err)
				}
				b.put(f, "after")
				if c.undo != nil {
					c.undo(b)
				}
				b.disk.Heal()
				time.Sleep(5 * time.Second)
				b.expect("told", strings.Join(b.said(), ", "), c.said)
				b.expect("bytes held", b.vol.cfg.Budget.Held(), int64(0))

				again := b.create("open/b")
				b.put(again, "again")
				time.Sleep(2 * time.Second)
				b.stop()
				b.disk.Restart()
				b.expect("a new file", b.content("open/b"), "again")
				if got := b.content("open/a"); c.keep && got != "before during after" || !strings.HasPrefix(got, "before ") {
					t.Errorf("the file of the time: %q", got)
				}
			})
		})
	}
}

// TestBudget shares out memory and gets all of it back.
func TestBudget(t *testing.T) {
	b := NewBudget(10)
	if !b.Take(10) || b.Take(1) {
		t.Error("takes more than there is, or less")
	}
	b.Force(5)
	b.Force(-6)
	if b.Held() != 9 || !b.Take(1) || b.Take(1) {
		t.Errorf("held %d", b.Held())
	}
}

// TestOrder compares the order of operations of a segment's life with a
// golden file: one sync for several files, names after bytes.
func TestOrder(t *testing.T) {
	for _, group := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.disk.Pose(durable.Disk{Device: 1, ID: "mem", Kind: "mem", MountPoint: group})
			b.run()
			time.Sleep(1500 * time.Millisecond)
			files := []*File{b.create("open/a"), b.create("open/b")}
			for _, data := range []string{"header", "record", "trailer"} {
				for _, f := range files {
					b.put(f, data)
				}
				synctest.Wait()
			}
			files[0].End()
			time.Sleep(time.Second)
			b.vol.Move("open/a", "segments/20000/13/a", func(error) {})
			time.Sleep(2 * time.Second)
			b.stop()
			name := fmt.Sprintf("testdata/order-group-%v.txt", group)
			want, err := os.ReadFile(name)
			if os.Getenv("UPDATE") != "" {
				err = os.WriteFile(name, []byte(b.disk.Log()), 0o644)
				want = []byte(b.disk.Log())
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := b.disk.Log(); got != string(want) {
				t.Errorf("order of operations:\n%s\nwant (UPDATE=1 writes it):\n%s", got, want)
			}
		})
	}
}

// TestNoDiskAtStart finds a missing disk told, and recording possible as soon
// as it comes.
func TestNoDiskAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cfg.New = false
		b.vol = New(b.cfg)
		b.run()
		defer func() { b.stop() }()
		var e *Error
		if _, err := b.vol.Create("open/x"); !errors.As(err, &e) || e.State != Missing || e.Cause != media.DiskFailed {
			t.Errorf("create: %v", err)
		}
		time.Sleep(10 * time.Second)
		l := Label{Volume: ID{1}, Set: SetID{1}}
		durable.WriteFile(b.disk, "mnt/LABEL", l.Append(nil, b.cfg.Key))
		time.Sleep(3 * time.Second)
		if said := b.said(); !slices.Equal(said, []string{"missing disk", "online "}) {
			t.Errorf("told %q", said)
		}
	})
}

// TestMany hands over more files and bytes than one turn takes.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.run()
		var files []*File
		for i := range 64 {
			files = append(files, b.create(fmt.Sprintf("open/%02d", i)))
		}
		for i := range 50 {
			for j, f := range files {
				b.put(f, strings.Repeat(string(rune('a'+i%26)), 1+j))
			}
		}
		for _, f := range files {
			f.End()
		}
		time.Sleep(3 * time.Second)
		b.stop()
		b.disk.Restart()
		for j := range files {
			var want bytes.Buffer
			for i := range 50 {
				want.WriteString(strings.Repeat(string(rune('a'+i%26)), 1+j))
			}
			if b.content(fmt.Sprintf("open/%02d", j)) != want.String() {
				t.Errorf("file %d is not what was written", j)
			}
		}
		if b.vol.cfg.Budget.Held() != 0 {
			t.Errorf("%d bytes held", b.vol.cfg.Budget.Held())
		}
	})
}

// TestUnmake: a volume without footage becomes a folder again, one with some
// does not, whatever a crash leaves of it in between.
func TestUnmake(t *testing.T) {
	b := newBench(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.vol.Attach())
	root, err := b.vol.Root()
	must(err)
	must(durable.MkdirAll(root, LedgerDir+"/tile/0/x001"))
	must(durable.WriteFile(root, LedgerDir+"/tile/0/x001/002", []byte("x")))
	must(durable.WriteFile(root, OpenDir+"/a.vseg", []byte("footage")))
	if err := b.vol.Unmake(); err == nil {
		t.Fatal("a volume with footage was unmade")
	}
	b.vol = New(b.cfg)
	must(b.vol.Attach())
	root, err = b.vol.Root()
	must(err)
	must(root.Remove(OpenDir + "/a.vseg"))
	must(root.SyncDir(OpenDir))
	must(b.vol.Unmake())
	if left, err := b.disk.ReadDir("mnt"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	b.vol = New(b.cfg)
	must(b.vol.Attach()) // and may become one again
	b.vol.Close()
}
