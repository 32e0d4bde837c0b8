package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"vigil/internal/audit"
	"vigil/internal/catalogue"
	"vigil/internal/conf"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/worker/wire"
)

func newCamera(name string) settings.Camera {
	return settings.Camera{
		ID: media.CameraID(newID()), Name: name, Link: wire.LinkPlain, Transport: wire.Auto,
		Streams: []settings.Stream{{ID: media.StreamID(newID()), Kind: settings.Main, URL: "rtsp://192.0.2.1/" + name, Recorded: true}},
	}
}

// TestBare: a removed camera goes when its footage has gone, and not before
// what was being written is known.
func TestBare(t *testing.T) {
	now := time.Unix(1e9, 0)
	var d settings.Doc
	for _, name := range []string{"here", "removed", "just removed", "removed with footage"} {
		d.Cameras = append(d.Cameras, newCamera(name))
	}
	d.Cameras[1].Remove("amy", now.Add(-forgetAfter))
	d.Cameras[2].Remove("amy", now.Add(-forgetAfter+1))
	d.Cameras[3].Remove("amy", now.Add(-1000*time.Hour))
	totals := []catalogue.Total{{Camera: d.Cameras[1].ID}, {Camera: d.Cameras[3].ID, Segments: 1}}
	if got := bare(&d, totals, now); len(got) != 1 || got[0] != d.Cameras[1].ID {
		t.Errorf("%v", got)
	}
}

// TestForgetRemoved removes more cameras than the settings hold: the list
// empties by itself, and each is in the log.
func TestForgetRemoved(t *testing.T) {
	ctx := context.Background()
	a, err := Open(ctx, conf.Config{State: t.TempDir()}, Offline, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	now := time.Now()
	change := func(fn func(d *settings.Doc)) error {
		_, _, err := a.settings.Change(vigil, func(d *settings.Doc) error { fn(d); return nil })
		return err
	}
	if err := change(func(d *settings.Doc) {
		d.Cameras = append(d.Cameras, newCamera("here"))
		for range 5 {
			c := newCamera("gone")
			c.Remove("amy", now)
			d.Cameras = append(d.Cameras, c)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.forgetRemoved(now.Add(forgetAfter - 1)); err != nil || len(a.settings.Get().Cameras) != 6 {
		t.Errorf("too early: %d cameras, %v", len(a.settings.Get().Cameras), err)
	}
	if err := a.catalogue.CatchUp(ctx, a.ledger); err != nil {
		t.Fatal(err)
	}
	if err := a.forgetRemoved(now.Add(forgetAfter)); err != nil {
		t.Fatal(err)
	}
	if list := a.settings.Get().Cameras; len(list) != 1 || list[0].Name != "here" {
		t.Errorf("%d cameras are left", len(list))
	}
	records, _, err := a.places.log.Read(ctx, audit.Filter{Action: "camera.forget", Limit: 100})
	if err != nil || len(records) != 5 {
		t.Errorf("%d records, %v", len(records), err)
	}
}
