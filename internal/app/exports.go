package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"vigil/internal/actor"
	"vigil/internal/media"
	"vigil/internal/playback"
	"vigil/internal/text"
	"vigil/internal/web"
)

// exports are the jobs of playback as the page wants them.
type exports struct {
	*playback.Jobs
	app *App
}

func (e exports) Start(ctx context.Context, by actor.Actor, o web.Order) (web.Export, error) {
	j, err := e.Jobs.Start(ctx, by, o.Camera, o.Stream, media.TicksOf(o.From), media.TicksOf(o.To), o.Audio)
	switch {
	case errors.Is(err, playback.ErrNoFootage):
		err = web.ErrNoFootage
	case errors.Is(err, playback.ErrTooMany):
		err = web.ErrTooMany
	}
	return e.export(j), err
}

func (e exports) List() (list []web.Export) {
	for _, j := range e.Jobs.List() {
		list = append(list, e.export(j))
	}
	return list
}

func (e exports) Get(id string) (web.Export, bool) {
	j, err := e.job(id)
	return e.export(j), err == nil
}

func (e exports) job(id string) (playback.Job, error) {
	var jid playback.JobID
	if err := jid.UnmarshalText([]byte(id)); err != nil {
		return playback.Job{}, playback.ErrNoJob
	}
	return e.Jobs.Get(jid)
}

func (e exports) Open(ctx context.Context, id string) (web.File, error) {
	j, err := e.job(id)
	if err != nil {
		return nil, web.ErrGone
	}
	f, _, err := e.Jobs.Open(ctx, j.ID)
	switch {
	case errors.Is(err, playback.ErrChanged):
		return nil, web.ErrChanged
	case errors.Is(err, playback.ErrNotReady):
		return nil, web.ErrNotReady
	case errors.Is(err, playback.ErrNoJob):
		return nil, web.ErrGone
	case err != nil:
		return nil, err
	}
	return f, nil
}

func (e exports) Remove(_ actor.Actor, id string) error {
	j, err := e.job(id)
	if err == nil {
		err = e.Jobs.Remove(j.ID)
	}
	if err != nil {
		return web.ErrGone
	}
	return nil
}

func (e exports) export(j playback.Job) web.Export {
	x := web.Export{
		ID: j.ID.String(), Order: web.Order{Camera: j.Camera, Stream: j.Stream, From: j.From.Time(), To: j.To.Time(), Audio: j.Sound},
		Part: j.Part, State: web.ExportState(j.State), Progress: j.Progress, Size: j.Size, By: j.By.Name, Created: j.Created, Expires: j.Expires,
	}
	switch j.State {
	case playback.Done:
		x.SHA256, x.Until = j.SHA256[:], j.Until.Time()
		if j.Next != (playback.JobID{}) {
			x.Next = j.Next.String()
		}
		fallthrough
	case playback.Running:
		x.FileName = fileName(e.app.cameraName(j.Camera), j)
	}
	for _, g := range j.Gaps {
		x.Gaps = append(x.Gaps, web.Gap{From: g.From.Time(), To: g.To.Time(), Cause: g.Cause, Lost: g.Lost})
	}
	switch {
	case j.Held:
		x.Why = text.Note{Code: "export.held"}
	case errors.Is(j.Err, playback.ErrChanged):
		x.Why = text.Note{Code: "export.changed"}
	case j.Err != nil:
		x.Why = text.Note{Code: "export.failed", Args: map[string]string{"error": j.Err.Error()}}
	}
	return x
}

// fileName says camera and start, in characters that every file system takes.
func fileName(camera string, j playback.Job) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, camera)
	for len(name) > 80 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return fmt.Sprintf("%s_%s.mp4", name, j.From.Time().UTC().Format("20060102T150405Z"))
}
