package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// both runs a test on the machine's disk and on the one in memory.
func both(t *testing.T, test func(t *testing.T, fsys FS)) {
	t.Run("OS", func(t *testing.T) {
		r, err := OS{}.Sub(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		test(t, r)
	})
	t.Run("Mem", func(t *testing.T) { test(t, NewMem()) })
}

func TestFilesBehaveAlike(t *testing.T) {
	both(t, func(t *testing.T, d FS) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(MkdirAll(d, "a/b"))
		must(MkdirAll(d, "a/b"))
		must(WriteFile(d, "a/b/f", []byte("one")))
		must(WriteFile(d, "a/b/f", []byte("two!")))
		b, err := ReadFile(d, "a/b/f", 4)
		if string(b) != "two!" || err != nil {
			t.Errorf("read back %q, %v", b, err)
		}
		if _, err := ReadFile(d, "a/b/f", 3); !errors.Is(err, ErrTooLarge) {
			t.Errorf("read above the bound: %v", err)
		}
		info, err := d.Stat("a/b/f")
		must(err)
		if info.Mode() != 0o600 || info.Size() != 4 {
			t.Errorf("mode %v, size %d", info.Mode(), info.Size())
		}

		f, err := d.OpenFile("a/log", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		must(err)
		for _, s := range []string{"x", "yy"} {
			_, err := f.Write([]byte(s))
			must(err)
		}
		must(f.Sync())
		must(f.Truncate(2))
		_, err = f.Write([]byte("z"))
		must(err)
		must(f.Close())
		if b, _ := ReadFile(d, "a/log", 10); string(b) != "xyz" {
			t.Errorf("appended %q", b)
		}
		f, err = d.OpenFile("a/holes", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		must(err)
		_, err = f.WriteAt([]byte("end"), 3)
		must(err)
		got := make([]byte, 8)
		n, err := f.ReadAt(got, 0)
		if !bytes.Equal(got[:n], []byte("\x00\x00\x00end")) || err != io.EOF {
			t.Errorf("read %q, %v", got[:n], err)
		}
		must(f.Close())

		for _, c := range []struct {
			name string
			err  error
			want error
		}{
			{"exclusive", second(d.OpenFile("a/holes", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)), fs.ErrExist},
			{"absent", second(d.OpenFile("a/none", os.O_RDONLY, 0)), fs.ErrNotExist},
			{"absent folder", second(d.OpenFile("none/x", os.O_WRONLY|os.O_CREATE, 0o600)), fs.ErrNotExist},
			{"rename of nothing", d.Rename("a/none", "a/x"), fs.ErrNotExist},
			{"full folder", d.Remove("a"), unix.ENOTEMPTY},
			{"folder is there", d.Mkdir("a", 0o700), fs.ErrExist},
			{"closed", f.Sync(), fs.ErrClosed},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
			}
		}
		must(d.Rename("a/holes", "a/b/moved"))
		list, err := d.ReadDir("a/b")
		must(err)
		if len(list) != 2 || list[0].Name() != "f" || list[1].Name() != "moved" {
			t.Errorf("listed %v", list)
		}
		root, err := d.OpenFile(".", os.O_RDONLY, 0)
		must(err)
		must(root.Syncfs())
		must(root.Close())
		disk, err := d.Disk(".")
		if err != nil || disk.Total <= 0 || disk.Device == 0 || disk.Kind == "" {
			t.Errorf("disk %+v, %v", disk, err)
		}
		sub, err := d.Sub("a")
		must(err)
		must(d.Rename("a", "elsewhere"))
		must(d.Mkdir("a", 0o700))
		if _, ok := d.(*Mem); !ok {
			if _, err := sub.Stat("log"); err != nil {
				t.Errorf("a pinned folder follows its name: %v", err)
			}
			if err := os.Symlink("/etc/passwd", filepath.Join(d.(rooted).r.Name(), "elsewhere", "out")); err != nil {
				t.Fatal(err)
			}
			if _, err := sub.OpenFile("out", os.O_RDONLY, 0); err == nil {
				t.Error("a link led out of a pinned folder")
			}
		}
		must(sub.Close())
	})
}

func second[T any](_ T, err error) error { return err }

// TestWriteFile fails each durable step in each way: after a restart there is
// the old content or the new, whole, and the new one where success was told.
func TestWriteFile(t *testing.T) {
	for _, fault := range []Fault{Refused, AppliedThenError, CrashBefore, CrashAfter} {
		for step := range 8 {
			t.Run(fmt.Sprint(fault, step), func(t *testing.T) {
				d := NewMem()
				if err := WriteFile(d, "f", []byte("old")); err != nil {
					t.Fatal(err)
				}
				d.Inject(Rule{Skip: step, Fault: fault, Err: unix.EIO})
				err := WriteFile(d, "f", []byte("new"))
				d.Restart()
				got, rerr := ReadFile(d, "f", 10)
				if rerr != nil || string(got) != "old" && string(got) != "new" {
					t.Errorf("after %v: %q, %v", err, got, rerr)
				}
				if err == nil && string(got) != "new" {
					t.Errorf("success was told, content is %q", got)
				}
			})
		}
	}
}

// TestMkdirAll fails each step: a folder that is there the next time is there
// after a crash too.
func TestMkdirAll(t *testing.T) {
	for _, fault := range []Fault{Refused, AppliedThenError} {
		for step := range 5 {
			d := NewMem()
			d.Inject(Rule{Skip: step, Fault: fault, Err: unix.EIO})
			MkdirAll(d, "a/b")
			d.Heal()
			if err := MkdirAll(d, "a/b"); err != nil {
				t.Errorf("fault %v at step %d: %v", fault, step, err)
			}
			d.Restart()
			if _, err := d.Stat("a/b"); err != nil {
				t.Errorf("fault %v at step %d: after a crash: %v", fault, step, err)
			}
		}
	}
}

func TestWriteFileOrder(t *testing.T) {
	d := NewMem()
	if err := WriteFile(d, "f", []byte("old")); err != nil {
		t.Fatal(err)
	}
	const want = "create f.tmp\nwrite f.tmp 0+3\nsync f.tmp\nrename f.tmp -> f\nsyncdir .\n"
	if got := d.Log(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLock(t *testing.T) {
	if dir := os.Getenv("VIGIL_TEST_LOCK"); dir != "" {
		_, err := Lock(dir)
		fmt.Print(err)
		os.Exit(0)
	}
	dir := t.TempDir()
	l, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLock$")
		cmd.Env = append(os.Environ(), "VIGIL_TEST_LOCK="+dir)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got, want := other(), fmt.Sprintf("in use by another process, process %d", os.Getpid()); !strings.HasSuffix(got, want) {
		t.Errorf("second process: %q, want ... %q", got, want)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if got := other(); got != "<nil>" {
		t.Errorf("after unlock: %q", got)
	}
}

// TestTraps puts what is no file, or leads to another, where Vigil wants to read
// or to write: nobody waits for a pipe, and no byte goes where a link leads.
//
//vigil:clause 5.2.8.2
func TestTraps(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(outside, name string) error
	}{
		{"pipe", func(_, name string) error { return unix.Mkfifo(name, 0o600) }},
		{"link", os.Symlink},
		{"hard link", os.Link},
		{"link to nothing", func(outside, name string) error { return os.Symlink(outside+"-not", name) }},
		{"folder", func(_, name string) error { return os.Mkdir(name, 0o700) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			outside, folder := filepath.Join(dir, "outside"), filepath.Join(dir, "folder")
			if err := errors.Join(os.WriteFile(outside, []byte("theirs"), 0o600), os.Mkdir(folder, 0o700), c.make(outside, folder+"/f.tmp")); err != nil {
				t.Fatal(err)
			}
			sub, err := OS{}.Sub(folder)
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			if c.name == "pipe" {
				for _, flag := range []int{os.O_RDONLY, os.O_RDWR} {
					if _, err := sub.OpenFile("f.tmp", flag, 0); !errors.Is(err, ErrSpecial) {
						t.Errorf("opened a pipe: %v", err)
					}
					if _, err := (OS{}).OpenFile(folder+"/f.tmp", flag, 0); !errors.Is(err, ErrSpecial) {
						t.Errorf("opened a pipe: %v", err)
					}
				}
			}
			if err := WriteFile(sub, "f", []byte("ours")); err != nil {
				t.Error(err)
			}
			for name, want := range map[string]string{outside: "theirs", folder + "/f": "ours"} {
				if got, err := os.ReadFile(name); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v, want %q", name, got, err, want)
				}
			}
			if _, err := os.Stat(outside + "-not"); err == nil {
				t.Error("a file was made where a link led")
			}
		})
	}
}

// TestLockTraps puts something else in the place of the lock, or takes it away: no byte goes
// where a link leads, and no two hold a folder.
func TestLockTraps(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(outside, name string) error
		want error
	}{
		{"nothing", func(_, _ string) error { return nil }, nil},
		{"a file", func(_, name string) error { return os.WriteFile(name, []byte("somebody's"), 0o600) }, nil},
		{"pipe", func(_, name string) error { return unix.Mkfifo(name, 0o600) }, ErrSpecial},
		{"link", os.Symlink, ErrSpecial},
		{"hard link", os.Link, nil},
		{"link to nothing", func(outside, name string) error { return os.Symlink(outside+"-not", name) }, ErrSpecial},
		{"folder", func(_, name string) error { return os.Mkdir(name, 0o700) }, ErrSpecial},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			outside, folder := filepath.Join(dir, "outside"), filepath.Join(dir, "folder")
			if err := errors.Join(os.WriteFile(outside, []byte("theirs"), 0o600), os.Mkdir(folder, 0o700), c.make(outside, folder+"/LOCK")); err != nil {
				t.Fatal(err)
			}
			l, err := Lock(folder)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if got, err := os.ReadFile(outside); err != nil || string(got) != "theirs" {
				t.Errorf("outside: %q, %v", got, err)
			}
			if _, err := os.Stat(outside + "-not"); err == nil {
				t.Error("a file was made where a link led")
			}
			if l == nil {
				return
			}
			for range 2 {
				sub, err := OS{}.Sub(folder)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := sub.Lock(); !errors.Is(err, ErrLocked) {
					t.Errorf("held: %v", err)
				}
				sub.Close()
			}
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
			if l, err = Lock(folder); err != nil {
				t.Fatalf("let go: %v", err)
			}
			l.Unlock()
		})
	}
}

// TestAside finds a name for what is put aside, whatever has the first one, and loses no
// folder.
func TestAside(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, taken := range []func() error{
		func() error { return nil },
		func() error { return os.MkdirAll(name+".damaged/x", 0o700) },
	} {
		for _, spoil := range []func() error{
			func() error { return os.WriteFile(name, []byte("x"), 0o600) },
			func() error { return os.MkdirAll(name+"/y", 0o700) },
		} {
			if err := errors.Join(os.RemoveAll(name+".damaged"), taken(), spoil()); err != nil {
				t.Fatal(err)
			}
			was, _ := os.Stat(name)
			to, err := Aside(OS{}, name)
			if err != nil {
				t.Fatal(err)
			}
			if is, err := os.Stat(to); err != nil || !os.SameFile(is, was) {
				t.Errorf("%s: %v", to, err)
			}
		}
	}
}
