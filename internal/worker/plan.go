package worker

import (
	"bytes"
	"slices"
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// Bounds of a worker. More cameras on one would save 6 MB each and cost more
// company in a fall.
const (
	maxCameras = 8
	maxStreams = 2 // of one camera: main and second
	maxFalls   = 2 // within times.memory; then the camera gets a worker to itself
)

// A camera is wanted, and its streams live in one group.
type camera struct {
	id    media.CameraID
	specs []wire.Spec
	group *group
	*pastFalls
}

// pastFalls are what is held against a camera.
type pastFalls struct {
	times []time.Time
	alone bool // for as long as the core runs
}

// recent drops what is older than memory.
func recent(times []time.Time, now time.Time, memory time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) > memory })
}

func compareCameras(a, b media.CameraID) int { return bytes.Compare(a[:], b[:]) }

// add gives a new camera a place: the first group with room, or a new one.
// p.mu is held.
func (p *Pool) add(id media.CameraID, specs []wire.Spec) {
	past := p.dead[id]
	if past == nil {
		past = new(pastFalls)
	}
	delete(p.dead, id)
	c := &camera{id: id, specs: specs, pastFalls: past}
	p.cameras[id] = c
	if !c.alone {
		for _, g := range p.groups {
			if g.open(time.Now()) {
				g.take(c)
				return
			}
		}
	}
	p.newGroup(c)
}

// remove takes a camera's place away; p.mu is held.
func (p *Pool) remove(c *camera) {
	delete(p.cameras, c.id)
	if c.alone || len(c.times) > 0 {
		p.dead[c.id] = c.pastFalls
	}
	c.group.drop(c)
}

func (p *Pool) newGroup(cameras ...*camera) *group {
	p.workers++
	g := &group{pool: p, number: p.workers, wake: make(chan struct{}, 1)}
	for _, c := range cameras {
		g.take(c)
	}
	p.groups = append(p.groups, g)
	p.launch(g)
	return g
}

// open tells whether another camera may come: not to one that was put alone,
// and not where a fall is unexplained, for that would only widen the circle.
func (g *group) open(now time.Time) bool {
	g.unexplained = recent(g.unexplained, now, g.pool.o.time.memory)
	return !g.closed && len(g.cameras) < maxCameras && len(g.unexplained) == 0 &&
		!slices.ContainsFunc(g.cameras, func(c *camera) bool { return c.alone })
}

func (g *group) take(c *camera) {
	c.group = g
	g.cameras = append(g.cameras, c)
}

func (g *group) drop(c *camera) {
	g.cameras = slices.DeleteFunc(g.cameras, func(x *camera) bool { return x == c })
}

func (g *group) ids() []media.CameraID {
	ids := make([]media.CameraID, len(g.cameras))
	for i, c := range g.cameras {
		ids[i] = c.id
	}
	return ids
}

// judge decides who goes where after the fall of a group's process, and
// returns who is to blame. The process is dead, so moving costs nobody more than
// the fall did. p.mu is held.
func (p *Pool) judge(g *group, culprit media.CameraID, now time.Time) (blamed media.CameraID, alone bool) {
	if len(g.cameras) == 1 {
		culprit = g.cameras[0].id
	}
	c := p.cameras[culprit]
	if c == nil || c.group != g { // unknown, or gone by now, or a lie
		g.unexplained = append(recent(g.unexplained, now, p.o.time.memory), now)
		if len(g.unexplained) >= maxFalls && len(g.cameras) > 1 {
			half := len(g.cameras) / 2
			moved := slices.Clone(g.cameras[half:])
			for _, c := range moved {
				g.drop(c)
			}
			// Each half is under suspicion: its next fall parts it again.
			g.unexplained = []time.Time{now}
			p.newGroup(moved...).unexplained = []time.Time{now}
		}
		return media.CameraID{}, false
	}
	c.times = append(recent(c.times, now, p.o.time.memory), now)
	if len(c.times) >= maxFalls {
		c.alone = true
	}
	if c.alone && len(g.cameras) > 1 {
		g.drop(c)
		p.newGroup(c)
	}
	return c.id, c.alone
}
