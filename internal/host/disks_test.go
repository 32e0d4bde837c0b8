package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestLook judges folders as a person names them.
func TestLook(t *testing.T) {
	old := temporary // the test's own folder lies in one
	temporary = []string{"/proc", "/etc"}
	t.Cleanup(func() { temporary = old })
	dir := t.TempDir()
	for _, name := range []string{"empty", "disk/lost+found", "full"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "full/letter"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		folder string
		exists bool
		want   error
	}{
		{dir + "/empty", true, nil},
		{dir + "/empty/", true, nil},
		{dir + "/disk", true, nil},
		{dir + "/new/below", false, nil},
		{dir + "/full", true, ErrNotEmpty},
		{dir + "/full/vigil", false, nil},
		{dir + "/file", false, ErrNotFolder},
		{dir + "/file/x", false, ErrNotFolder},
		{dir + "/dangling", false, ErrNotFolder},
		{dir + "/link/video", false, ErrTemporary},
		{"/etc/video", false, ErrTemporary},
		{"/", true, ErrTemporary},
		{"/dev/shm/video", false, ErrMemory},
		{"/proc/1/video", false, ErrTemporary},
		{"video", false, ErrName},
		{"", false, ErrName},
		{"/srv/a\nb", false, ErrName},
	} {
		p := new(Disks).Look(x.folder, nil)
		if !errors.Is(p.Err, x.want) || x.want == nil && p.Err != nil || x.want == nil && (p.Exists != x.exists || p.Disk.Total == 0 || p.Mount == "") {
			t.Errorf("%q: %+v, want %v", x.folder, p, x.want)
		}
	}
	if p := new(Disks).Look(dir+"/full", func(n string) bool { return n == "letter" }); p.Err != nil {
		t.Errorf("with what is known: %v", p.Err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 6 {
		t.Errorf("looking has made something: %v", entries)
	}
}

// TestPlaces lists disks once each, and none that keeps nothing.
func TestPlaces(t *testing.T) {
	old := temporary
	temporary = []string{"/proc"}
	t.Cleanup(func() { temporary = old })
	dir := t.TempDir()
	for _, name := range []string{"a b", "again", "memory", "ro"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a b", "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info := filepath.Join(dir, "mountinfo")
	text := fmt.Sprintf(`1 0 0:1 / /proc rw - proc proc rw
2 0 8:1 / %[1]s/a\040b rw,relatime shared:1 - ext4 /dev/sdb1 rw
3 0 8:1 / %[1]s/again rw - ext4 /dev/sdb1 rw
4 0 0:5 / %[1]s/memory rw - tmpfs tmpfs rw
5 0 8:2 / %[1]s/ro ro - xfs /dev/sdc1 rw
nonsense
`, dir)
	if err := os.WriteFile(info, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &Disks{mounts: info}
	list := d.Places("vigil")
	if len(list) != 1 || list[0].Folder != dir+"/a b/vigil" || list[0].Device != "/dev/sdb1" || list[0].Mount != dir+"/a b" || list[0].Exists {
		t.Errorf("%+v", list)
	}
}

// TestHung: a disk that does not answer holds nobody up, and is not asked twice.
func TestHung(t *testing.T) {
	answer, d := make(chan struct{}), new(Disks)
	p := d.within(Place{Folder: "/mnt/nas"}, func(*Place) { <-answer })
	if !errors.Is(p.Err, ErrHung) {
		t.Errorf("%+v", p)
	}
	if p := d.within(Place{Folder: "/mnt/nas"}, func(*Place) { t.Error("asked twice") }); !errors.Is(p.Err, ErrHung) {
		t.Errorf("%+v", p)
	}
	close(answer)
}
