package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// A group is a worker: some cameras, and one process after the other that
// keeps them alive.
type group struct {
	pool   *Pool
	number int
	wake   chan struct{} // the cameras or their specs have changed

	// Guarded by pool.mu:
	cameras     []*camera
	unexplained []time.Time // falls whose culprit is unknown
	closed      bool        // run has ended: no camera may come
	proc        *process    // nil between two
	falls       int
}

// poke makes run look at the cameras again.
func (g *group) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// close ends the group if nobody is left in it.
func (g *group) close() bool {
	p := g.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(g.cameras) > 0 {
		return false
	}
	g.closed = true
	for i, other := range p.groups {
		if other == g {
			p.groups = append(p.groups[:i], p.groups[i+1:]...)
			break
		}
	}
	return true
}

// run starts one process after the other until ctx ends or no camera is left.
func (g *group) run(ctx context.Context) {
	quick := 0 // falls in a row that came soon after a start
	for ctx.Err() == nil && !g.close() {
		began := time.Now()
		err := g.live(ctx)
		if err == nil {
			continue // asked to end
		}
		if quick++; time.Since(began) > time.Minute {
			quick = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(g.pool.backOff(quick)):
		}
	}
}

// backOff is the wait before a restart: far below the 2 s that are promised,
// unless the worker falls at once time after time; then the processor
// belongs to the others.
func (p *Pool) backOff(quick int) time.Duration {
	switch {
	case quick <= 4:
		return p.o.time.restart << max(0, quick-1)
	case quick <= 12:
		return 15 * p.o.time.restart
	default:
		return 100 * p.o.time.restart
	}
}

// live is the life of one process. It returns nil when the end was ordered.
func (g *group) live(ctx context.Context) error {
	p := g.pool
	pr, err := p.start(ctx, g.number)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		p.o.Log.Error("worker does not start", "worker", g.number, "error", err)
		p.o.Events.Felled(Fall{Worker: g.number, Cameras: g.list(), Reason: err})
		return err
	}
	p.o.Events.Jail(g.number, pr.jail)
	pr.changed = g.poke
	p.mu.Lock()
	g.proc = pr
	p.running[pr] = struct{}{}
	p.mu.Unlock()
	err = g.attend(ctx, pr)
	if ctx.Err() != nil {
		err = nil // who stops us may stop the workers too
	}
	if err == nil {
		pr.end(p.o.time.end)
	} else {
		pr.kill()
	}
	end := pr.buried()
	p.mu.Lock()
	g.proc = nil
	delete(p.running, pr)
	p.mu.Unlock()
	if err == nil {
		return nil
	}
	g.fell(pr, err, end)
	return err
}

func (g *group) list() []media.CameraID {
	g.pool.mu.Lock()
	defer g.pool.mu.Unlock()
	return g.ids()
}

// attend looks after a process until ctx ends, the group is empty (nil), or
// the process is of no more use.
func (g *group) attend(ctx context.Context, pr *process) error {
	t := g.pool.o.time
	tick := time.NewTicker(t.ping)
	defer tick.Stop()
	// Counting pings and not seconds: after a sleep of this whole machine the
	// answer lies in the socket already, and one tick is missed at most.
	unheard := 0
	var seq, heard uint64
	for {
		if done, err := g.reconcile(pr); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-pr.broken:
			return err
		case <-g.wake:
		case <-tick.C:
			if h := pr.pong.Load(); h != heard || seq == 0 {
				heard, unheard = h, 0
			} else if unheard++; unheard >= t.unheard {
				return fmt.Errorf("worker %d: hangs: %d pings without an answer", g.number, unheard)
			}
			seq++
			if err := pr.ping(seq); err != nil {
				return err
			}
		}
	}
}

// reconcile starts and stops streams until the process has what is wanted; it
// is done when nothing is wanted any more.
func (g *group) reconcile(pr *process) (done bool, err error) {
	p := g.pool
	p.mu.Lock()
	if len(g.cameras) == 0 {
		p.mu.Unlock()
		return true, nil
	}
	wanted := map[media.StreamID]wire.Spec{}
	for _, c := range g.cameras {
		for _, s := range c.specs {
			wanted[s.Stream] = s
		}
	}
	var start []*inlet
	stop := pr.surplus(wanted, p.o.time.stop)
	for id, spec := range wanted {
		if pr.has(id) {
			continue // runs, or is ending: the end wakes us
		}
		p.numbers++
		spec.ID = p.numbers
		start = append(start, newInlet(spec, p.stream(spec)))
	}
	p.mu.Unlock()
	for _, in := range stop {
		if err := pr.send(in.spec.ID, &wire.Stop{}); err != nil {
			return false, err
		}
		time.AfterFunc(p.o.time.stop, g.poke) // the end may never come
	}
	for _, in := range start {
		pr.add(in)
		if err := pr.send(in.spec.ID, &wire.Start{Spec: in.spec}); err != nil {
			return false, err
		}
	}
	return false, nil
}

// fell settles the account of a fallen process.
func (g *group) fell(pr *process, err error, end string) {
	p := g.pool
	var v *Violation
	number := pr.culprit.Load()
	if errors.As(err, &v) && v.number != 0 {
		number = v.number
	}
	var culprit media.CameraID
	if in := pr.inlet(number); in != nil {
		culprit = in.spec.Camera
	}
	reason := fmt.Errorf("worker %d, process %d: %w (%s)", g.number, pr.pid, err, end)
	p.mu.Lock()
	g.falls++
	fall := Fall{Worker: g.number, Cameras: g.ids(), Reason: reason}
	pr.release()
	fall.Culprit, fall.Alone = p.judge(g, culprit, time.Now())
	p.mu.Unlock()
	p.o.Log.Error("worker fell", "worker", g.number, "cameras", len(fall.Cameras), "culprit", fall.Culprit, "alone", fall.Alone, "error", reason)
	p.o.Events.Felled(fall)
}
