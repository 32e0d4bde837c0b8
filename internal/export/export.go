// Package export makes files of footage for people to take away.
//
//	web -> [export] -> playback
//
// An export is planned and read once, which gives its size, its digest and its
// gaps; no readable footage is written anywhere. A download makes the same bytes
// again from the record, any part of them, so it can be resumed.
package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"vigil/internal/actor"
	"vigil/internal/media"
	"vigil/internal/playback"
	"vigil/internal/text"
	"vigil/internal/web"
)

// Bounds. An export keeps about 12 bytes a picture in memory.
const (
	maxJobs = 50
	maxRun  = 2              // read at once
	life    = 24 * time.Hour // then an export is forgotten; the footage stays
)

type exportTag struct{}

// Exports are the jobs there are. Safe for many callers.
type Exports struct {
	player *playback.Player
	name   func(media.CameraID) string // of a camera, for the file's name
	tell   func(id string)             // that a job changed
	log    *slog.Logger
	turns  chan struct{}
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	jobs map[string]*job // guarded by mu
}

type job struct {
	web.Export // guarded by Exports.mu
	file       *playback.Export
	cancel     context.CancelFunc
}

// New returns a place without exports.
func New(p *playback.Player, name func(media.CameraID) string, tell func(id string), log *slog.Logger) *Exports {
	e := &Exports{player: p, name: name, tell: tell, log: log, turns: make(chan struct{}, maxRun), jobs: map[string]*job{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// Close ends all jobs.
func (e *Exports) Close() {
	e.stop()
	e.wg.Wait()
}

// Start plans an export and begins to read it.
func (e *Exports) Start(ctx context.Context, by actor.Actor, o web.Order) (web.Export, error) {
	plan, err := e.player.Collect(ctx, o.Stream, media.TicksOf(o.From), media.TicksOf(o.To))
	if errors.Is(err, playback.ErrNoFootage) {
		return web.Export{}, web.ErrNoFootage
	}
	if err != nil {
		return web.Export{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget(time.Now())
	if len(e.jobs) >= maxJobs {
		return web.Export{}, web.ErrTooMany
	}
	jobCtx, cancel := context.WithCancel(e.ctx)
	now := time.Now()
	j := &job{cancel: cancel, Export: web.Export{
		ID: media.NewID[exportTag]().String(), Order: o, State: web.ExportWaiting, By: by.Name, Created: now, Expires: now.Add(life),
	}}
	e.jobs[j.ID] = j
	e.wg.Go(func() { e.run(jobCtx, j, plan) })
	return j.Export, nil
}

// forget drops what has expired; the caller holds mu.
func (e *Exports) forget(now time.Time) {
	for id, j := range e.jobs {
		if now.After(j.Expires) {
			j.cancel()
			delete(e.jobs, id)
		}
	}
}

// run waits for its turn and reads the footage once.
func (e *Exports) run(ctx context.Context, j *job, plan *playback.Plan) {
	defer j.cancel()
	select {
	case e.turns <- struct{}{}:
		defer func() { <-e.turns }()
	case <-ctx.Done():
		e.change(j, func() { j.State = web.ExportCancelled })
		return
	}
	e.change(j, func() { j.State = web.ExportRunning })
	total, shown := max(plan.Payload(), 1), time.Now()
	file, sum, err := plan.WriteTo(ctx, io.Discard, func(done int64) {
		if now := time.Now(); now.Sub(shown) > 250*time.Millisecond {
			shown = now
			e.change(j, func() { j.Progress = min(float64(done)/float64(total), 1) })
		}
	})
	e.change(j, func() {
		switch {
		case err == nil:
			j.file, j.State, j.Progress, j.Size, j.SHA256 = file, web.ExportDone, 1, file.Size, sum[:]
			j.FileName = e.fileName(j.Order)
			j.Gaps = gaps(file.Gaps)
		case ctx.Err() != nil:
			j.State = web.ExportCancelled
		default:
			e.log.Error("export failed", "id", j.ID, "err", err)
			j.State, j.Why = web.ExportFailed, text.Note{Code: "export.failed", Args: map[string]string{"error": err.Error()}}
		}
	})
}

func (e *Exports) change(j *job, fn func()) {
	e.mu.Lock()
	fn()
	e.mu.Unlock()
	e.tell(j.ID)
}

func gaps(list []playback.Gap) (out []web.Gap) {
	for _, g := range list {
		out = append(out, web.Gap{From: g.From.Time(), To: g.To.Time(), Cause: g.Cause, Lost: g.Lost})
	}
	return out
}

// fileName says camera and start, in characters that every file system takes.
func (e *Exports) fileName(o web.Order) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, e.name(o.Camera))
	for len(name) > 80 {
		name = name[:strings.LastIndexFunc(name, func(rune) bool { return true })]
	}
	return fmt.Sprintf("%s_%s.mp4", name, o.From.UTC().Format("20060102T150405Z"))
}

// List returns all exports, newest first.
func (e *Exports) List() (list []web.Export) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget(time.Now())
	for _, j := range e.jobs {
		list = append(list, j.Export)
	}
	slices.SortFunc(list, func(a, b web.Export) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Get returns one.
func (e *Exports) Get(id string) (web.Export, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.jobs[id]
	if j == nil {
		return web.Export{}, false
	}
	return j.Export, true
}

// Open returns the file of a finished export.
func (e *Exports) Open(id string) (web.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.jobs[id]
	if j == nil || j.file == nil {
		return nil, web.ErrGone
	}
	return j.file.Open(e.ctx), nil
}

// Remove cancels or forgets an export.
func (e *Exports) Remove(_ actor.Actor, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.jobs[id]
	if j == nil {
		return web.ErrGone
	}
	j.cancel()
	delete(e.jobs, id)
	return nil
}
