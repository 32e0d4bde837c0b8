package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"vigil/internal/actor"
	"vigil/internal/conf"
	"vigil/internal/durable"
	"vigil/internal/store/volume"
	"vigil/internal/text"
)

// TestMoveFootage: the folder that was chosen in set-up is taken by the next
// start as long as nothing was recorded; else, and where it does not do any more, all stays as it was.
func TestMoveFootage(t *testing.T) {
	dir := t.TempDir()
	c := conf.Config{State: filepath.Join(dir, "state"), Listen: "127.0.0.1:0"}
	start := func() *App {
		t.Helper()
		a, err := Open(context.Background(), c, Offline, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	stop := func(a *App) {
		t.Helper()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	choose := func(a *App, folder string) {
		t.Helper()
		file := a.shelfFile(durable.OS{})
		var doc shelves
		if _, err := file.Load(&doc); err != nil {
			t.Fatal(err)
		}
		doc.Next = folder
		if err := file.Save(doc); err != nil {
			t.Fatal(err)
		}
		stop(a)
	}
	first, disk, other := filepath.Join(c.State, "video"), filepath.Join(dir, "disk", "vigil"), filepath.Join(dir, "other")

	a := start()
	s := storage{a}
	if now := s.Now(); now.Folder != first || now.Chosen || now.Fixed.Code != "" || !now.System {
		t.Errorf("at first: %+v", now)
	}
	for folder, code := range map[string]string{ // what a person may try
		disk: "storage.temporary", "video": "storage.name", "/dev/shm/video": "storage.memory", filepath.Join(c.State, "ledger"): "storage.temporary",
	} {
		var f *text.Failure
		if _, err := s.Choose(t.Context(), actor.Of("amy", ""), folder); !errors.As(err, &f) || f.Code != code {
			t.Errorf("%s: %v", folder, err)
		}
	}
	id := a.volumes[0].ID()
	// A start that was killed after it had labelled the new folder and before it had remembered that.
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	var doc shelves
	if _, err := a.shelfFile(durable.OS{}).Load(&doc); err != nil {
		t.Fatal(err)
	}
	cut := a.newVolume(durable.OS{}, doc.Set, shelf{Dir: disk}, a.log)
	if err := cut.Attach(); err != nil {
		t.Fatal(err)
	}
	cut.Close()
	choose(a, disk)

	a = start()
	if a.VideoFolder() != disk || a.volumes[0].ID() == id || !a.chosen.Load() || a.volumes[0].Status().State != volume.Online {
		t.Fatalf("moved to %s, volume %v, %+v", a.VideoFolder(), a.volumes[0].ID(), a.volumes[0].Status())
	}
	if _, err := os.Stat(first); !os.IsNotExist(err) {
		t.Errorf("the folder before: %v", err)
	}
	id = a.volumes[0].ID()
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	choose(a, other) // somebody put a file there meanwhile

	a = start()
	if a.VideoFolder() != disk || a.volumes[0].ID() != id {
		t.Errorf("a folder with others' files was taken: %s", a.VideoFolder())
	}
	if list, _ := os.ReadDir(other); len(list) != 1 {
		t.Errorf("others' folder was changed: %v", list)
	}
	if err := os.Remove(filepath.Join(other, "letter")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(disk, volume.OpenDir, "x"), nil, 0o600); err != nil { // recorded in between
		t.Fatal(err)
	}
	if now := (storage{a}).Now(); now.Fixed.Code != "storage.recorded" {
		t.Errorf("with footage: %+v", now)
	}
	choose(a, other)

	a = start()
	if a.VideoFolder() != disk || a.volumes[0].ID() != id {
		t.Errorf("footage was left behind in %s", disk)
	}
	stop(a)
	c.Video = disk
	a = start()
	if now := (storage{a}).Now(); now.Fixed.Code != "storage.by-flag" {
		t.Errorf("named by the start: %+v", now)
	}
	stop(a)
}
