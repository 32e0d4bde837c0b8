package app

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/alert"
	"vigil/internal/conf"
	"vigil/internal/durable"
	"vigil/internal/text"
)

var discard = slog.New(slog.DiscardHandler)

// TestRefusal spoils a state folder in every way that must stop the start:
// each is said in both languages with a remedy, nothing is begun anew, and with
// the file put back it starts as before.
//
//vigil:clause 5.2.4.1 5.4.1.1
func TestRefusal(t *testing.T) {
	dir := t.TempDir()
	c := conf.Config{State: filepath.Join(dir, "state"), Video: filepath.Join(dir, "video"), Listen: "127.0.0.1:0"}
	p, err := open(t.Context(), c, discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.begin(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.end(t.Context()), p.close()); err != nil {
		t.Fatal(err)
	}
	garbage := func(name string) error {
		return os.WriteFile(name, []byte("garbage, garbage, garbage, garbage, garbage"), 0o600)
	}
	cut := func(name string) error { return os.Truncate(name, 11) }
	// newer is what a later Vigil may have written: of a version that is not known,
	// with a check sum or a seal of its own.
	newer := func(name string) error {
		b, _ := os.ReadFile(name) // some are made later
		switch ext := filepath.Ext(name); {
		case ext == ".key":
			b[8] = 2
			sum := sha256.Sum256(b[:len(b)-sha256.Size])
			copy(b[len(b)-sha256.Size:], sum[:])
		case ext == ".keys":
			b = []byte("VIGILKEY\x02D\x00\x00 of a form that is not known here, and sealed as nobody knows")
		case ext == ".vaud":
			b[9] = 2
		default:
			b = []byte("VIGILDOC\x02\x00\x01 of a form that is not known here, and sealed as nobody knows")
		}
		return os.WriteFile(name, b, 0o600)
	}
	folder := func(name string) error {
		return errors.Join(os.RemoveAll(name), os.MkdirAll(name+"/x", 0o700), os.Chmod(name, 0o755))
	}
	pipe := func(name string) error {
		return errors.Join(os.RemoveAll(name), unix.Mkfifo(name, 0o600), os.Chmod(name, 0o644))
	}
	plain := func(name string) error { return errors.Join(os.RemoveAll(name), os.WriteFile(name, nil, 0o600)) }
	for _, x := range []struct {
		file  string
		spoil func(name string) error
		code  string
	}{
		{"keys", os.RemoveAll, "keys-gone"},
		{"keys/root.key", os.Remove, "keys-gone"},
		{"keys/root.key", garbage, "keys-damaged"},
		{"keys/root.key", cut, "keys-damaged"},
		{"keys/root.key", func(name string) error { return os.Chmod(name, 0o644) }, "keys-readable"},
		{"keys/epochs.key", os.Remove, "keys-damaged"},
		{"keys/signers.key", garbage, "keys-damaged"},
		{"settings", os.Remove, "file-gone"},
		{"settings", garbage, "file-damaged"},
		{"settings", cut, "file-damaged"},
		{"accounts.doc", os.Remove, "file-gone"},
		{"accounts.doc", garbage, "file-damaged"},
		{"volumes", os.Remove, "file-gone"},
		{"volumes", garbage, "file-damaged"},
		{"ledger", os.RemoveAll, "ledger-gone"},
		{"keys/root.key", newer, "newer"},
		{"keys/epochs.key", newer, "newer"},
		{"keys/signers.key", newer, "newer"},
		{"keys/days/20000.keys", newer, "newer"},
		{"audit/0000000000000001.vaud", newer, "newer"},
		{"settings", newer, "newer"},
		{"settings.changes", newer, "newer"},
		{"accounts.doc", newer, "newer"},
		{"volumes", newer, "newer"},
		{"alerts", newer, "newer"},
		{"clock", newer, "newer"},
		{"certificate", newer, "newer"},
		{"keys/root.key", folder, "in-place"},
		{"keys/root.key", pipe, "in-place"},
		{"keys/epochs.key", folder, "in-place"},
		{"keys/signers.key", pipe, "in-place"},
		{"audit/0000000000000001.vaud", pipe, "in-place"},
		{"audit", plain, "in-place"},
		{"keys", plain, "in-place"},
		{"settings", folder, "in-place"},
		{"settings", pipe, "in-place"},
		{"settings.changes", folder, "in-place"},
		{"accounts.doc", folder, "in-place"},
		{"volumes", pipe, "in-place"},
		{"certificate", folder, "in-place"},
		{"LOCK", folder, "lock-blocked"},
		{"LOCK", pipe, "lock-blocked"},
		{"", func(name string) error {
			l, err := durable.Lock(name)
			t.Cleanup(func() { l.Unlock() })
			return err
		}, "locked"},
	} {
		t.Run(x.file+" "+x.code, func(t *testing.T) {
			kept, name := t.TempDir(), filepath.Join(c.State, x.file)
			if err := errors.Join(os.CopyFS(kept+"/state", os.DirFS(c.State)), os.CopyFS(kept+"/video", os.DirFS(c.Video))); err != nil {
				t.Fatal(err)
			}
			if x.code == "ledger-gone" { // its copy too
				if err := os.RemoveAll(filepath.Join(c.Video, "ledger")); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.spoil(name); err != nil {
				t.Fatal(err)
			}
			spoilt := contents(t, c.State, c.Video)
			a, err := Open(t.Context(), c, Offline, discard)
			if err == nil {
				a.Close()
			}
			if now := contents(t, c.State, c.Video); x.code == "newer" && (now != spoilt || !strings.Contains(err.Error(), name)) {
				t.Errorf("%v\nbefore\n%safter\n%s", err, spoilt, now)
			}
			var no *text.Failure
			if !errors.As(err, &no) || no.Code != "start."+x.code {
				t.Errorf("%v, want %s", err, x.code)
			} else {
				for _, l := range text.Langs {
					s := text.Get(l, no.Code, no.Args)
					if !strings.Contains(s, c.State) || !text.Has(no.Code) || (x.code == "in-place" || x.code == "lock-blocked") && !strings.Contains(s, name) {
						t.Errorf("%s: %s", l, s)
					}
				}
			}
			for _, d := range []string{c.State, c.Video} {
				if err := errors.Join(os.RemoveAll(d), os.CopyFS(d, os.DirFS(filepath.Join(kept, filepath.Base(d))))); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range []string{"root.key", "epochs.key", "signers.key"} { // CopyFS widens the mode
				if err := os.Chmod(filepath.Join(c.State, "keys", key), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if x.code == "locked" {
				return
			}
			if p, err = open(t.Context(), c, discard); err != nil {
				t.Fatalf("with all put back: %v", err)
			}
			p.close()
		})
	}
}

// TestRefusalNamesFile: of one file that may not be read, a person hears which.
func TestRefusalNamesFile(t *testing.T) {
	for _, c := range []struct{ path, file string }{{"/state/settings", "/state/settings"}, {"LOCK", "/state/LOCK"}} {
		err := refuse(fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: c.path, Err: unix.EACCES}), "/state")
		for _, l := range text.Langs {
			if s := text.Explain(l, err); !strings.Contains(s, c.file) {
				t.Errorf("%s: %s", l, s)
			}
		}
	}
}

// TestMadeAnew takes away, or puts something else in the place of, what can be made again:
// the recorder starts and says so.
//
//vigil:clause 5.2.8.2
func TestMadeAnew(t *testing.T) {
	gone := func(name string) error { return os.RemoveAll(name) }
	folder := func(name string) error { return errors.Join(os.RemoveAll(name), os.MkdirAll(name+"/x", 0o700)) }
	rubbish := func(name string) error { return os.WriteFile(name, bytes.Repeat([]byte("VIGILDOC\x01"), 20), 0o600) }
	pipe := func(name string) error { return errors.Join(os.RemoveAll(name), unix.Mkfifo(name, 0o600)) }
	dir := t.TempDir()
	c := conf.Config{State: filepath.Join(dir, "state"), Video: filepath.Join(dir, "video")}
	start := func() (list []string) {
		a, err := Open(t.Context(), c, Serve, discard)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range a.alerts.List(false) {
			list = append(list, string(x.Kind))
			a.alerts.Clear(x.Kind, x.Object)
			if _, err := a.alerts.Acknowledge(vigil, x.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(a.begin(t.Context(), "test"), a.alerts.Save(), a.end(t.Context()), a.Close()); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if told := start(); len(told) > 0 {
		t.Errorf("the first start tells of %v", told)
	}
	for _, x := range []struct {
		file  string
		spoil func(name string) error
		told  alert.Kind
	}{
		{"alerts", gone, alert.BoardAnew},
		{"alerts", folder, alert.BoardAnew},
		{"alerts", pipe, alert.BoardAnew},
		{"settings.changes", rubbish, alert.ChangesAnew},
		{"layouts", rubbish, alert.LayoutsAnew},
		{"marks", rubbish, alert.MarksAnew},
		{"exports", rubbish, alert.ExportsAnew},
		{"catalogue", folder, alert.CatalogueAnew},
		{"catalogue", pipe, alert.CatalogueAnew},
		{"certificate", gone, alert.CertificateAnew},
	} {
		if err := x.spoil(filepath.Join(c.State, x.file)); err != nil {
			t.Fatal(err)
		}
		if told := start(); !slices.Contains(told, string(x.told)) {
			t.Errorf("%s: told %v, want %s", x.file, told, x.told)
		}
		if told := start(); len(told) > 0 {
			t.Errorf("%s: told again: %v", x.file, told)
		}
	}
}

// contents lists what is in folders, with the digest of each file, but for the
// lock, which names its last holder.
func contents(t *testing.T, dirs ...string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || d.Name() == durable.LockName {
				fmt.Fprintln(&b, name)
				return err
			}
			data, err := os.ReadFile(name)
			fmt.Fprintf(&b, "%s %x\n", name, sha256.Sum256(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
