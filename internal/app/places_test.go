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
