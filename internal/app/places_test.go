package app

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vigil/internal/conf"
	"vigil/internal/durable"
	"vigil/internal/store/volume"
	"vigil/internal/text"
)

// TestOthersFolders wants a folder that a slip of the hand named left as it
// is: nothing in it, its mode, and a sentence in both languages.
//
//vigil:clause 5.4.1.1
func TestOthersFolders(t *testing.T) {
	for _, c := range []struct {
		name, code string
		files      []string
	}{
		{"somebody's home", "start.not-ours", []string{"letter"}},
		{"with a folder keys of its own", "start.not-ours", []string{"keys/house", "letter"}},
		{"a state whose keys are gone", "start.keys-gone", []string{"accounts.doc", "audit/1"}},
		{strings.Repeat("long", 30), "start.path-long", nil},
	} {
		dir := filepath.Join(t.TempDir(), c.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range c.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, dir)
		_, err := Open(context.Background(), conf.Config{State: dir}, Offline, slog.New(slog.DiscardHandler))
		var f *text.Failure
		if !errors.As(err, &f) || f.Code != c.code || text.Explain(text.Chinese, err) == err.Error() {
			t.Errorf("%s: %v", c.name, err)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s", c.name, before, after)
		}
	}
}

// TestFootageFolder names a folder at the first start that does not do: that is said in
// both languages and changes nothing in it, and the next start may name another one, until
// one was attached.
func TestFootageFolder(t *testing.T) {
	write := func(name, data string) error {
		return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(data), 0o600))
	}
	for _, c := range []struct {
		name, code string
		spoil      func(dir string) error
	}{
		{"somebody's files", "start.footage-foreign", func(dir string) error { return write(dir+"/letter", "dear") }},
		{"another recorder's", "start.footage-foreign", func(dir string) error { return write(dir+"/LABEL", strings.Repeat("vigilvol\x01", 12)) }},
		{"a newer recorder's", "start.footage-foreign", func(dir string) error { return write(dir+"/LABEL", strings.Repeat("vigilvol\x02", 12)) }},
		{"a file", "start.footage-failed", func(dir string) error { return write(dir, "x") }},
		{"where another records", "start.footage-taken", func(dir string) error {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			l, err := durable.Lock(dir)
			t.Cleanup(func() { l.Unlock() })
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			wrong, right, late := top+"/wrong", top+"/right", top+"/late"
			if err := c.spoil(wrong); err != nil {
				t.Fatal(err)
			}
			before := tree(t, wrong)
			start := func(video string) error {
				a, err := Open(t.Context(), conf.Config{State: top + "/state", Video: video}, Offline, discard)
				if err == nil {
					err = a.Close()
				}
				return err
			}
			for _, video := range []string{wrong, ""} { // the same folder is tried again until another one is named
				err := start(video)
				var f *text.Failure
				if !errors.As(err, &f) || f.Code != c.code || text.Explain(text.Chinese, err) == err.Error() || !strings.Contains(text.Get(text.Chinese, f.Code, f.Args), wrong) {
					t.Errorf("%q: %v, want %s", video, err, c.code)
				}
			}
			if after := tree(t, wrong); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			for _, video := range []string{right, "", right} {
				if err := start(video); err != nil {
					t.Errorf("%q: %v", video, err)
				}
			}
			var f *text.Failure
			if err := start(late); !errors.As(err, &f) || f.Code != "start.footage-elsewhere" {
				t.Errorf("another folder once there is footage: %v", err)
			}
			if _, err := os.Stat(late); err == nil {
				t.Error("it was made")
			}
		})
	}
}

// TestFootageFolderCrash cuts the first start off after the folder was labelled and before
// that was remembered: the next one finds its own volume.
func TestFootageFolderCrash(t *testing.T) {
	top := t.TempDir()
	c := conf.Config{State: top + "/state", Video: top + "/video"}
	p, err := open(t.Context(), c, discard)
	if err != nil {
		t.Fatal(err)
	}
	id, file := p.volumes[0].ID(), p.shelfFile(durable.OS{})
	var doc shelves
	if _, err := file.Load(&doc); err != nil {
		t.Fatal(err)
	}
	doc.Volumes[0].ID = volume.ID{}
	if err := errors.Join(file.Save(doc), p.close()); err != nil {
		t.Fatal(err)
	}
	c.Video = ""
	if p, err = open(t.Context(), c, discard); err != nil {
		t.Fatal(err)
	}
	if got := p.volumes[0].ID(); got != id {
		t.Errorf("volume %v, want %v", got, id)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// tree lists what is in a folder, with modes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(info.Mode().String() + " " + name + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOrderlyStop wants the copy of the ledger level with the ledger after a
// stop in order, with the leaf that says so, and nobody told of trouble; however short the
// run was.
func TestOrderlyStop(t *testing.T) {
	state := t.TempDir()
	const log = "ledger/sealed/000000/00.vlog"
	read := func(dir string) string {
		b, err := os.ReadFile(filepath.Join(dir, log))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	video := filepath.Join(state, "video")
	for run := range 3 {
		ctx, stop := context.WithCancel(context.Background())
		a, err := Open(ctx, conf.Config{State: state}, Offline, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		size := a.ledger.Size()
		go func() {
			defer stop()
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if a.ledger.Size() > size && (run%2 == 0 || read(state) == read(video)) {
					return
				}
			}
		}()
		if err := a.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := a.ledger.Size(); got < size+2 {
			t.Errorf("run %d: %d leaves, and %d before", run, got, size)
		}
		if home, there := read(state), read(video); home != there {
			t.Errorf("run %d: the ledger has %d bytes, its copy %d", run, len(home), len(there))
		}
		for _, x := range a.alerts.List(true) {
			t.Errorf("run %d: %s: %v", run, x.Kind, x.Args)
		}
	}
}
