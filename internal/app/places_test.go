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
