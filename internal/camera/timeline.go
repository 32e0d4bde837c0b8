package camera

import (
	"vigil/internal/camera/rtsp"
	"vigil/internal/media"
)

// A Timeline gives every unit of one stream its place on our clock: decode
// times in ticks since the Unix epoch.
//
// The camera's time stamps give the spacing, our clock says where the whole
// stands. Each track is placed on its own, by the arrival of the packets that
// were delayed least, and follows them slowly: neither a camera that stamps 25
// pictures a second and sends 21 nor a sound clock that is off can run away
// from wall time (INTEROP rows 3, 4). A stamp that cannot be is replaced by
// one made of the arrival and costs no picture; if the jump lasts, the mapping
// follows it and a new timeline starts (row 1). Sender reports have no say
// here (row 2).
//
// It is pure: time comes in with the units. It is not safe for concurrent use.
type Timeline struct {
	tracks  []trackLine
	started bool
	ref     int64 // wall minus mono, as the timeline knows it, ns
	shift   int64 // what our clock was stepped by since, and the timeline not yet, ns
	before  int64 // shift before the last step, for units stamped before it
	pending media.Cause
}

// A Now is a moment on our clock, as rtsp.Clock tells it.
type Now struct {
	Wall int64 // ns since the epoch
	Mono int64 // ns
}

// Read asks a clock.
func Read(c rtsp.Clock) Now { return Now{c.Wall(), c.Mono()} }

// A Place is where a unit stands.
type Place struct {
	DTS     media.Ticks
	CTO     int32
	Arrived int64       // on the same clock as DTS, ns since the epoch
	New     media.Cause // not "": a new timeline starts with this unit, and why
}

// NewTimeline makes a timeline for tracks with these RTP clock rates, in Hz.
func NewTimeline(rates ...int) *Timeline {
	t := &Timeline{tracks: make([]trackLine, len(rates))}
	for i, r := range rates {
		t.tracks[i].rate = int64(max(r, 1))
	}
	return t
}

// clockStep is how far wall and monotonic clock must part at once for it to be
// a step of our clock. Less is followed like any other drift.
const clockStep = 2e9

// Add places a unit of a track: its RTP times as depay has them, when it
// arrived and what time it is now. Decode times rise strictly within a track
// and a timeline. cut tells that the unit is one a timeline may start with, a random
// access unit of the video; until one comes, the old timeline goes on.
func (t *Timeline) Add(track int, dts, pts, arrived int64, now Now, cut bool) Place {
	t.watch(now)
	arrived = t.onLine(arrived, now.Wall)
	p := Place{}
	if cut && t.pending != "" {
		p.New = t.pending
		if t.pending == media.CutClock {
			arrived += t.shift
			t.ref, t.shift, t.before = t.ref+t.shift, 0, 0
			for i := range t.tracks {
				t.tracks[i] = trackLine{rate: t.tracks[i].rate}
			}
		}
		t.pending = ""
	}
	l := &t.tracks[track]
	out, jumped := l.add(dts, pts, arrived)
	if jumped && track == 0 && t.pending == "" {
		if cut {
			p.New = media.CameraClock
		} else {
			t.pending = media.CameraClock
		}
	}
	p.DTS, p.Arrived = out, arrived
	p.CTO = int32(min(max(scale(pts-dts, l.rate), 0), maxCTO))
	return p
}

// maxCTO is what media.Batch.Check lets through.
const maxCTO = 10 * media.TicksPerSecond

// watch compares the wall clock with the monotonic one.
func (t *Timeline) watch(now Now) {
	off := now.Wall - now.Mono
	if !t.started {
		t.started, t.ref = true, off
		return
	}
	d := off - t.ref - t.shift
	if d < clockStep && d > -clockStep {
		t.ref += d
		return
	}
	t.before = t.shift
	t.shift += d
	switch stepped := t.shift >= clockStep || t.shift <= -clockStep; {
	case stepped:
		t.pending = media.CutClock
	case t.pending == media.CutClock: // stepped back before anybody saw it
		t.ref += t.shift
		t.shift, t.pending = 0, ""
	}
}

// onLine puts an arrival on the timeline's clock, whether it was stamped
// before or after our clock was stepped.
func (t *Timeline) onLine(arrived, wall int64) int64 {
	now := wall - t.shift
	a, b := arrived-t.shift, arrived-t.before
	if t.pending == media.CutClock && abs(now-b) < abs(now-a) {
		return b
	}
	return a
}

func abs(n int64) int64 { return max(n, -n) }

// ticks converts ns since the epoch; scale a duration on a clock of rate Hz.
func ticks(ns int64) media.Ticks {
	return media.Ticks(ns/1e9*media.TicksPerSecond + ns%1e9*9/100000)
}

func scale(d, rate int64) int64 {
	if rate == media.TicksPerSecond {
		return d
	}
	return (d*media.TicksPerSecond + rate/2) / rate
}
