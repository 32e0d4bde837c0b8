// Package worker starts, watches and restarts the ingest processes, and lets
// into the core what they hand over.
//
//	ingest -> wire -> [worker] --> (stream)
//
// It trusts none of them: every frame is checked, and one that breaks a rule ends
// its process. A process that falls is back within 2 s with all its cameras. A
// camera that fells its worker twice gets a worker to itself; when nobody knows which
// camera it was, the cameras are parted in halves until it is alone.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// A Sink takes the batches of one stream: package stream.
type Sink interface {
	// Publish takes over the batch, which has passed Check, and never waits.
	Publish(*media.Batch) error
	// Down tells that nothing comes for now, and why. The next Publish ends it.
	Down(media.Cause)
}

// Events are told to the app. The calls come from several goroutines, in
// order for one stream, and must return at once without calling the pool.
type Events interface {
	// Status tells how a stream is, in the worker's words.
	Status(media.CameraID, media.StreamID, wire.Status)
	// Felled tells of a process that ended without being asked to.
	Felled(Fall)
	// Jail tells which walls stand around a worker that has started.
	Jail(worker int, report []wire.Guard)
}

// A Fall is the unwanted end of a worker process.
type Fall struct {
	Worker  int
	Cameras []media.CameraID // who were on it
	Culprit media.CameraID   // whose doing it was; zero: nobody knows
	Reason  error
	Alone   bool // the culprit now has a worker to itself, or had one
}

// Options say how to start workers. Zero values are good but for Sink.
type Options struct {
	Program string                    // default /proc/self/exe: the very same program, even when the file was replaced
	Args    []string                  // default "ingest"
	Env     []string                  // added to the environment, which is otherwise ours alone
	UID     int                       // who workers become when the core is root; default one that nobody else has
	GID     int                       //
	Sink    func(media.StreamID) Sink // where the batches of a stream go; asked once per stream
	Events  Events                    //
	Log     *slog.Logger              //

	time times // for tests
}

// times are the patience of the pool.
type times struct {
	hello    time.Duration // from start to the first frame
	ping     time.Duration // between pings
	unheard  int           // pings without an answer until the worker counts as hung
	end      time.Duration // from the order to end to the kill
	stop     time.Duration // from the order to stop a stream until its place is given away
	restart  time.Duration // before the first restart; longer when falls follow fast
	memory   time.Duration // how long a fall is held against a camera
	resolver time.Duration // between looks at resolv.conf
}

var standard = times{
	hello: 10 * time.Second, ping: time.Second, unheard: 6, end: 2 * time.Second, stop: 10 * time.Second,
	restart: 100 * time.Millisecond, memory: 10 * time.Minute, resolver: 10 * time.Second,
}

// A Pool is all ingest workers. Its methods are for many callers.
type Pool struct {
	o       Options
	spawner *spawner
	probes  chan struct{} // places for probes

	mu      sync.Mutex
	ctx     context.Context               // of Run; nil before
	groups  []*group                      //
	cameras map[media.CameraID]*camera    // the wanted ones
	streams map[media.StreamID]*stream    // all that ever were: a place is small
	running map[*process]struct{}         // for the name servers
	wait    sync.WaitGroup                // groups that run
	numbers uint32                        // last stream number given out
	workers int                           // last worker number given out
	dead    map[media.CameraID]*pastFalls // what removed cameras did: leaving and coming back is no pardon
}

// fill puts the default in place of what both kinds of workers leave out.
func (o *Options) fill(args ...string) {
	if o.Program == "" {
		o.Program = "/proc/self/exe"
	}
	if o.Args == nil {
		o.Args = args
	}
	if o.UID == 0 {
		o.UID = ownUser()
	}
	if o.GID == 0 {
		o.GID = o.UID
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

// New returns a pool without cameras.
func New(o Options) *Pool {
	o.fill("ingest")
	if o.Events == nil {
		o.Events = silent{}
	}
	if o.time == (times{}) {
		o.time = standard
	}
	return &Pool{
		o: o, spawner: newSpawner(), probes: make(chan struct{}, mostProbes),
		cameras: map[media.CameraID]*camera{}, streams: map[media.StreamID]*stream{},
		running: map[*process]struct{}{}, dead: map[media.CameraID]*pastFalls{},
	}
}

type silent struct{}

func (silent) Status(media.CameraID, media.StreamID, wire.Status) {}
func (silent) Felled(Fall)                                        {}
func (silent) Jail(int, []wire.Guard)                             {}

// Run keeps the workers alive until ctx ends, then ends them: cameras are
// told goodbye, and after 2 s at most no process is left. It runs once.
func (p *Pool) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.ctx != nil {
		p.mu.Unlock()
		return errors.New("worker pool: runs already")
	}
	p.ctx = ctx
	for _, g := range p.groups {
		p.launch(g)
	}
	p.mu.Unlock()
	p.watchNames(ctx)
	p.mu.Lock()   // no group starts after this: launch looks at ctx
	p.mu.Unlock() //nolint:staticcheck // empty on purpose: it waits for a Set that was before it
	p.wait.Wait()
	close(p.spawner.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		s.down(media.Shutdown)
	}
	return nil
}

// launch starts a group's goroutine; p.mu is held.
func (p *Pool) launch(g *group) {
	if p.ctx != nil && p.ctx.Err() == nil {
		p.wait.Go(func() { g.run(p.ctx) })
	}
}

// Set replaces what shall be kept alive. Streams that stay as they are go on
// untouched. It reports all mistakes together and then changes nothing. The
// IDs of specs are the pool's to choose.
func (p *Pool) Set(specs []wire.Spec) error {
	var errs []error
	wanted := map[media.CameraID][]wire.Spec{}
	seen := map[media.StreamID]bool{}
	for i := range specs {
		s := specs[i]
		if err := s.Check(); err != nil {
			errs = append(errs, fmt.Errorf("stream %v: %w", s.Stream, err))
		}
		if seen[s.Stream] {
			errs = append(errs, fmt.Errorf("stream %v: twice", s.Stream))
		}
		seen[s.Stream] = true
		wanted[s.Camera] = append(wanted[s.Camera], s)
		if len(wanted[s.Camera]) > maxStreams {
			errs = append(errs, fmt.Errorf("camera %v: more than %d streams", s.Camera, maxStreams))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("worker pool: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.cameras {
		for _, s := range c.specs {
			if !seen[s.Stream] {
				p.streams[s.Stream].leave()
			}
		}
		if wanted[id] == nil {
			p.remove(c)
		}
	}
	// In a fixed order, so that the same cameras come to the same workers.
	for _, id := range slices.SortedFunc(maps.Keys(wanted), compareCameras) {
		for _, s := range wanted[id] {
			p.stream(s)
		}
		if c := p.cameras[id]; c != nil {
			c.specs = wanted[id]
		} else {
			p.add(id, wanted[id])
		}
	}
	for _, g := range p.groups {
		g.poke()
	}
	return nil
}

// stream returns the place of a stream; p.mu is held.
func (p *Pool) stream(spec wire.Spec) *stream {
	s := p.streams[spec.Stream]
	if s == nil {
		s = &stream{id: spec.Stream, camera: spec.Camera, sink: p.o.Sink(spec.Stream), events: p.o.Events}
		p.streams[spec.Stream] = s
	}
	return s
}

// A Worker is a process and its cameras, for the pages.
type Worker struct {
	Number  int              `json:"number"`
	PID     int              `json:"pid"` // 0: about to be started
	Since   time.Time        `json:"since"`
	Cameras []media.CameraID `json:"cameras"`
	Jail    []wire.Guard     `json:"jail"`
	Falls   int              `json:"falls"` // since the start of the core
}

// Workers lists the workers as they are.
func (p *Pool) Workers() []Worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Worker
	for _, g := range p.groups {
		w := Worker{Number: g.number, Cameras: g.ids(), Falls: g.falls}
		if g.proc != nil {
			w.PID, w.Since, w.Jail = g.proc.pid, g.proc.since, g.proc.jail
		}
		list = append(list, w)
	}
	return list
}
