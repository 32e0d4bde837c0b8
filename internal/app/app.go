// Package app builds a recorder in the order of the path, runs its parts, and
// stops them tap first.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"vigil/internal/conf"
	"vigil/internal/host"
	"vigil/internal/media"
	"vigil/internal/playback"
	"vigil/internal/recorder"
	"vigil/internal/retention"
	"vigil/internal/worker"
)

// A Mode says how much of the recorder runs.
type Mode int

// The modes.
const (
	Serve   Mode = iota // everything
	Offline             // no cameras, no page: a command works on the state of a recorder that is stopped
)

// An App is one recorder.
type App struct {
	*places
	conf conf.Config
	mode Mode
	log  *slog.Logger

	pool      *worker.Pool
	recorder  *recorder.Recorder
	retention *retention.Keeper
	footage   *footage
	pictures  *pictures
	jobs      *playback.Jobs
	raised    map[string]string // what was said last of an alert; owned by conduct
	doors     doors
	disks     host.Disks
	demo      demo
	choosing  sync.Mutex    // held by who chooses the folder for footage
	again     chan struct{} // one value: the recorder is to end and be opened anew
	ended     chan struct{} // closed when Run has returned
}

// Open opens the state folder, making it when it is empty, and builds the
// parts. Nothing runs yet. It takes the same time whatever the size of the
// archive.
func Open(ctx context.Context, c conf.Config, mode Mode, log *slog.Logger) (*App, error) {
	p, err := open(ctx, c, log)
	if err != nil {
		return nil, refuse(err, c.State)
	}
	a := &App{places: p, conf: c, mode: mode, log: log, again: make(chan struct{}, 1), ended: make(chan struct{}), raised: map[string]string{}}
	a.pool = worker.New(worker.Options{
		Sink: func(id media.StreamID) worker.Sink {
			if s := p.streams.Stream(id); s != nil {
				return s
			}
			return nothing{} // the camera was removed a moment ago
		},
		Events: events{a}, Log: log,
	})
	a.recorder = recorder.New(p.store, log)
	a.retention = newRetention(a)
	if err := a.openDoors(); err != nil {
		return nil, errors.Join(refuse(err, c.State), p.close())
	}
	return a, nil
}

// ErrAgain is what Run returns when the recorder is to be opened anew at once:
// a choice was made that only a start can carry out.
var ErrAgain = errors.New("to be opened anew")

// A part runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// Run runs the parts until ctx ends or one of them fails for a reason to stop
// the recorder. Parts stop in the order of this list, so that what is under way
// when ctx ends still becomes part of the record.
func (a *App) Run(ctx context.Context) error {
	reason := "serve"
	if a.mode == Offline {
		reason = "command"
	}
	if err := a.begin(ctx, reason); err != nil {
		return errors.Join(refuse(err, a.conf.State), a.close())
	}
	defer close(a.ended)
	parts := []part{{"web", a.runDoors}, {"alerts of the page", a.tellAlerts}, {"exports", a.jobs.Run}}
	if a.mode == Serve {
		parts = append(parts,
			part{"worker", a.pool.Run},
			part{"demo camera", a.runDemo},
			part{"recorder", a.recorder.Run},
			part{"conductor", a.conduct},
			part{"retention", a.retention.Run},
			part{"settings", a.forget})
	}
	parts = append(parts, part{"store", a.store.Run}, part{"ledger", a.ledger.Run}, part{"catalogue", a.follow}, part{"alert", a.alerts.Run})

	var errs []error
	failed := make(chan error, len(parts))
	stops := make([]func(), len(parts))
	for i := len(parts) - 1; i >= 0; i-- { // from the disk to the tap
		stops[i] = start(ctx, parts[i], failed)
	}
	select {
	case <-ctx.Done():
	case <-a.again:
		errs = append(errs, ErrAgain)
	case err := <-failed:
		errs = append(errs, err)
	}
	for _, stop := range stops {
		stop()
	}
	for len(failed) > 0 {
		errs = append(errs, <-failed)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	errs = append(errs, a.pictures.Close(), a.end(ending), a.close())
	return errors.Join(errs...)
}

// start runs a part on a goroutine and returns what stops it and waits. The
// parts outlive ctx until they are stopped one by one.
func start(ctx context.Context, p part, failed chan<- error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			failed <- fmt.Errorf("%s: %w", p.name, err)
		} else if ctx.Err() == nil {
			failed <- fmt.Errorf("%s ended by itself", p.name)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// follow keeps the catalogue behind the ledger. The record goes on without it.
func (a *App) follow(ctx context.Context) error {
	for {
		err := a.catalogue.Follow(ctx, a.ledger)
		if ctx.Err() != nil {
			return nil
		}
		a.log.Error("catalogue does not follow", "err", err)
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// nothing is where the batches of a stream go that is no more.
type nothing struct{}

func (nothing) Publish(b *media.Batch) error { b.Release(); return nil }
func (nothing) Down(media.Cause)             {}

// Close closes an App that was opened and not run.
func (a *App) Close() error {
	a.demo.close()
	if a.doors.listener != nil {
		a.doors.listener.Close()
	}
	return errors.Join(a.pictures.Close(), a.close())
}
