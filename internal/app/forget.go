package app

import (
	"context"
	"slices"
	"time"

	"vigil/internal/catalogue"
	"vigil/internal/media"
	"vigil/internal/settings"
)

const (
	forgetEvery = time.Minute
	// forgetAfter is how long a removed camera stays at least: what was being
	// written when it was removed is in the catalogue by then.
	forgetAfter = time.Hour
)

// forget takes removed cameras out of the settings once their last footage is
// gone: their name stood beside it. Without that the list of the removed would fill up,
// and refuse every further change. Old passwords of cameras go likewise.
func (a *App) forget(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		if err := a.forgetRemoved(time.Now()); err != nil {
			a.log.Warn("removed cameras could not be forgotten", "err", err) // the next time
		}
		if err := a.settings.Forget(); err != nil {
			a.log.Warn("old passwords of cameras could not be forgotten", "err", err) // likewise
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *App) forgetRemoved(now time.Time) error {
	if len(bare(a.settings.Get(), nil, now)) == 0 {
		return nil
	}
	size := a.ledger.Size()
	if leaves, lost, err := a.catalogue.Position(); err != nil || leaves < size || lost > 0 {
		return err // it does not know all footage there is
	}
	totals, err := a.catalogue.Totals()
	if err != nil {
		return err
	}
	var gone []media.CameraID
	if _, _, err = a.settings.Change(vigil, func(d *settings.Doc) error {
		gone = bare(d, totals, now)
		d.Cameras = slices.DeleteFunc(d.Cameras, func(c settings.Camera) bool { return slices.Contains(gone, c.ID) })
		return nil
	}); err != nil {
		return err
	}
	return a.marks.Forget(gone)
}

// bare lists the cameras that were removed a while ago and have no footage.
func bare(d *settings.Doc, totals []catalogue.Total, now time.Time) (list []media.CameraID) {
	for i := range d.Cameras {
		c := &d.Cameras[i]
		if !c.Gone() || now.Sub(c.Removed) < forgetAfter {
			continue
		}
		if !slices.ContainsFunc(totals, func(t catalogue.Total) bool { return t.Camera == c.ID && t.Segments > 0 }) {
			list = append(list, c.ID)
		}
	}
	return list
}
