package durable

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A step does something to the disk; the table says what is left after a
// power cut.
func TestCrashForgets(t *testing.T) {
	create := func(d *Mem, name, data string, sync bool) File {
		f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(data))
		if sync {
			f.Sync()
		}
		return f
	}
	for _, c := range []struct {
		name string
		do   func(d *Mem)
		want map[string]string // "-": absent
	}{
		{"nothing synced", func(d *Mem) { create(d, "f", "x", false) }, map[string]string{"f": "-"}},
		{"bytes without a name", func(d *Mem) { create(d, "f", "x", true) }, map[string]string{"f": "-"}},
		{"a name without bytes", func(d *Mem) { create(d, "f", "x", false); d.SyncDir(".") }, map[string]string{"f": ""}},
		{"both", func(d *Mem) { create(d, "f", "x", true); d.SyncDir(".") }, map[string]string{"f": "x"}},
		{"syncfs", func(d *Mem) { create(d, "f", "x", false).Syncfs() }, map[string]string{"f": "x"}},
		{"more after the sync", func(d *Mem) {
			f := create(d, "f", "x", true)
			d.SyncDir(".")
			f.Write([]byte("y"))
		}, map[string]string{"f": "x"}},
		{"rename without sync", func(d *Mem) {
			create(d, "f", "x", true)
			d.SyncDir(".")
			d.Rename("f", "g")
		}, map[string]string{"f": "x", "g": "-"}},
		{"rename into another folder, one of the two synced", func(d *Mem) {
			d.Mkdir("dir", 0o700)
			create(d, "f", "x", true)
			d.SyncDir(".")
			d.Rename("f", "dir/g")
			d.SyncDir("dir")
		}, map[string]string{"f": "-", "dir/g": "x"}},
		{"in a folder without a name", func(d *Mem) {
			d.Mkdir("dir", 0o700)
			create(d, "dir/f", "x", true)
			d.SyncDir("dir")
		}, map[string]string{"dir/f": "-"}},
		{"remove without sync", func(d *Mem) {
			create(d, "f", "x", true)
			d.SyncDir(".")
			d.Remove("f")
		}, map[string]string{"f": "x"}},
		{"a failed sync loses for good", func(d *Mem) {
			f := create(d, "f", "x", true)
			d.SyncDir(".")
			f.Write([]byte("y"))
			d.Inject(Rule{Kind: OpSync, Err: unix.EIO})
			if err := f.Sync(); !errors.Is(err, unix.EIO) {
				t.Error(err)
			}
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
		}, map[string]string{"f": "x\x00"}},
		{"written again after a failed sync", func(d *Mem) {
			f := create(d, "f", "x", true)
			d.SyncDir(".")
			f.Write([]byte("y"))
			d.Inject(Rule{Kind: OpSyncfs, Err: unix.EIO})
			f.Syncfs()
			f.WriteAt([]byte("y"), 1)
			f.Syncfs()
		}, map[string]string{"f": "xy"}},
		{"a sync that lies", func(d *Mem) {
			d.SyncDir(".")
			d.Inject(Rule{Kind: OpSync, Fault: Lost})
			create(d, "f", "x", true)
			d.SyncDir(".")
		}, map[string]string{"f": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewMem()
			c.do(d)
			d.Crash()
			if _, err := d.Stat("."); !errors.Is(err, ErrCrashed) {
				t.Errorf("a crashed disk answers: %v", err)
			}
			d.Restart()
			for name, want := range c.want {
				got, err := ReadFile(d, name, 100)
				if want == "-" && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %q, %v, want it gone", name, got, err)
				} else if want != "-" && (string(got) != want || err != nil) {
					t.Errorf("%s: %q, %v, want %q", name, got, err, want)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	d := NewMem()
	write := func() error { return WriteFile(d, "f", []byte("abc")) }

	d.Inject(Rule{Kind: OpWrite, Skip: 1, Times: 2, Err: unix.ENOSPC})
	for i, want := range []error{nil, unix.ENOSPC, unix.ENOSPC, nil} {
		if err := write(); !errors.Is(err, want) {
			t.Errorf("write %d: %v, want %v", i, err, want)
		}
	}
	if n := d.Hits(); n != 2 {
		t.Errorf("%d hits", n)
	}
	d.Inject(Rule{Kind: OpRename, Name: "f.tmp", Times: -1, Fault: AppliedThenError, Err: unix.EIO})
	if err := write(); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	d.Heal()
	if err := write(); err != nil {
		t.Error(err)
	}

	d.Limit(5)
	if err := WriteFile(d, "g", []byte("abc")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("full disk: %v", err)
	}
	if disk, _ := d.Disk("."); disk.Total != 5 || disk.Free != 2 {
		t.Errorf("%+v", disk)
	}
	d.Limit(0)

	d.Inject(Rule{Kind: OpSync, Fault: Hang})
	done := make(chan error)
	go func() { done <- write() }()
	for d.Hits() == 0 {
	}
	if _, err := d.Stat("f"); err != nil {
		t.Errorf("one hung operation stops others: %v", err)
	}
	d.Heal()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestKeepingSome checks that chance never keeps what no real disk could:
// a piece that nobody wrote.
func TestKeepingSome(t *testing.T) {
	for seed := range uint64(200) {
		d := NewMem()
		f, _ := d.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
		f.Write([]byte("aa"))
		f.Sync()
		d.SyncDir(".")
		f.Write([]byte("bb"))
		f.Write([]byte("cc"))
		d.RestartKeeping(rand.New(rand.NewPCG(seed, 0)))
		switch got, _ := ReadFile(d, "f", 10); string(got) {
		case "aa", "aabb", "aabbcc", "aa\x00\x00cc":
		default:
			t.Fatalf("seed %d: %q", seed, got)
		}
	}
}

// TestMemLock: two views are as two processes, and a power cut ends both.
func TestMemLock(t *testing.T) {
	m := NewMem()
	if err := MkdirAll(m, "mnt"); err != nil {
		t.Fatal(err)
	}
	view := func() Root {
		r, err := m.Sub("mnt")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, err := view().Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := view().Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("held: %v", err)
	}
	m.Restart()
	second, err := view().Lock()
	if err != nil {
		t.Fatal(err)
	}
	first.Close() // of an earlier life
	if _, err := view().Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("held since the restart: %v", err)
	}
	second.Close()
	if _, err := view().Lock(); err != nil {
		t.Errorf("let go: %v", err)
	}
}

// TestKeepingReplaced cuts the power after a rename over a file: there is the
// old one or the new one, never none.
func TestKeepingReplaced(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		d := NewMem()
		for name, data := range map[string]string{"f": "old", "g": "new"} {
			if err := WriteFile(d, name, []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Rename("g", "f"); err != nil {
			t.Fatal(err)
		}
		d.RestartKeeping(rand.New(rand.NewPCG(seed, 0)))
		got, err := ReadFile(d, "f", 10)
		if seen[string(got)] = true; err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if !seen["old"] || !seen["new"] {
		t.Errorf("saw %v", seen)
	}
}
