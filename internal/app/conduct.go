package app

import (
	"cmp"
	"context"
	"maps"
	"strings"
	"time"

	"vigil/internal/alert"
	"vigil/internal/audit"
	"vigil/internal/clock"
	"vigil/internal/media"
	"vigil/internal/recorder"
	"vigil/internal/settings"
	"vigil/internal/worker"
	"vigil/internal/worker/wire"
)

// How long a trouble may last before a person must know.
const (
	lostAfter    = 5 * time.Second  // no pictures; a stall is found within 10 s before that
	silentAfter  = 15 * time.Second // no pictures and no word about why
	keylessAfter = time.Minute      // packets come: the next key picture of a "smart" encoder may be far
	stoppedAfter = 15 * time.Second // pictures come and nothing is written
	unsteadyLost = 30 * time.Second // no pictures from a camera that is known to come and go
)

// conduct brings what is wanted to those who do it, and looks after them once
// a second.
func (a *App) conduct(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	idle := map[media.StreamID]time.Time{} // live and not written, since when
	steady := map[media.StreamID]*steadiness{}
	var watch clock.Watch
	var steps time.Duration         // of the clock, all together
	changed := a.settings.Changed() // before the settings are read, so that no change is missed
	a.streams.Follow(a.settings.Get())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			changed = a.settings.Changed()
			a.streams.Follow(a.settings.Get())
		case <-a.streams.Wanted():
			a.apply()
		case now := <-tick.C:
			if step := watch.Look(time.Now()); step != 0 {
				steps += step
				a.stepped(step, steps)
			}
			a.streams.Tick()
			a.lookForUnsteady(steady)
			a.lookAfter(now, idle)
		}
	}
}

// apply hands the wanted streams to workers and recorder.
func (a *App) apply() {
	if err := a.pool.Set(a.streams.Specs()); err != nil {
		a.log.Error("cameras could not be set", "err", err)
	}
	var jobs []recorder.Job
	for _, j := range a.streams.Recorded() {
		jobs = append(jobs, recorder.Job(j))
	}
	a.recorder.Set(jobs)
	for _, c := range a.settings.Get().Cameras {
		a.streams.Changed(c.ID)
	}
}

// lookAfter raises and clears the alerts of cameras.
func (a *App) lookAfter(now time.Time, idle map[media.StreamID]time.Time) {
	doc, written := a.settings.Get(), a.recorder.Recording()
	lost, stopped := map[media.CameraID]map[string]string{}, map[media.CameraID]bool{}
	for i := range doc.Cameras {
		c := &doc.Cameras[i]
		if c.Gone() || !c.Recording.On {
			continue
		}
		for _, s := range c.Streams {
			if !s.Recorded {
				continue
			}
			st := a.streams.State(s.ID)
			wait := patience(st.Why.Code)
			if a.says(alert.CameraUnsteady, c) { // or there is an alarm every time it goes
				wait = max(wait, unsteadyLost)
			}
			if st.State != wire.Live && now.Sub(st.Since) >= wait {
				lost[c.ID] = whyLost(st.Why)
			}
			if st.State != wire.Live || written[s.ID] {
				delete(idle, s.ID)
			} else if idle[s.ID].IsZero() {
				idle[s.ID] = now
			} else if now.Sub(idle[s.ID]) >= stoppedAfter {
				stopped[c.ID] = true
			}
		}
	}
	for i := range doc.Cameras {
		c := &doc.Cameras[i]
		why, is := lost[c.ID]
		a.alert(is, alert.CameraLost, c, why)
		a.alert(stopped[c.ID], alert.RecordingStopped, c, nil)
	}
}

// lookForUnsteady raises and clears the alerts of cameras that come and go, or
// whose pictures are lost on the way.
func (a *App) lookForUnsteady(steady map[media.StreamID]*steadiness) {
	doc, seen := a.settings.Get(), map[media.StreamID]bool{}
	for i := range doc.Cameras {
		c := &doc.Cameras[i]
		var args map[string]string
		for _, s := range c.Streams {
			if c.Gone() || !c.Recording.On || !s.Recorded {
				continue
			}
			seen[s.ID] = true
			if steady[s.ID] == nil {
				steady[s.ID] = new(steadiness)
			}
			if is := steady[s.ID].look(a.streams.State(s.ID), a.recorder.Missed(s.ID)); is != nil {
				args = is
			}
		}
		a.alert(args != nil, alert.CameraUnsteady, c, args)
	}
	maps.DeleteFunc(steady, func(id media.StreamID, _ *steadiness) bool { return !seen[id] })
}

// patience is how long a camera may be without pictures before a person must
// know, by what is known of the reason.
func patience(code string) time.Duration {
	switch code {
	case "":
		return silentAfter
	case wire.NoKeyFrame:
		return keylessAfter
	}
	return lostAfter
}

// whyLost is the arguments of a camera's alert: the code of the reason, which
// the page says in words, and what those words want to know.
func whyLost(n wire.Note) map[string]string {
	args := map[string]string{}
	maps.Copy(args, n.Args)
	args["why"] = cmp.Or(n.Code, "nothing-comes")
	return args
}

// alert raises or clears an alert of a camera when that changes, and says it
// again when the reason is another one.
func (a *App) alert(is bool, kind alert.Kind, c *settings.Camera, args map[string]string) {
	key := string(kind) + c.ID.String()
	say := "over"
	if is {
		say = "raised " + args["why"]
	}
	if a.raised[key] == say {
		return
	}
	a.raised[key] = say
	if !is {
		a.alerts.Clear(kind, c.ID.String())
		return
	}
	all := map[string]string{}
	maps.Copy(all, args)
	all["camera"] = c.Name
	a.alerts.Raise(alert.Condition{Kind: kind, Object: c.ID.String(), Camera: c.ID, Args: all})
}

// says tells whether an alert of a camera is raised.
func (a *App) says(kind alert.Kind, c *settings.Camera) bool {
	return strings.HasPrefix(a.raised[string(kind)+c.ID.String()], "raised")
}

// stepped records that the machine's clock was set, and raises the alert or,
// when it is where it would have been, clears it. It costs no footage: the workers start a new
// timeline, and retention does not trust the new time at once.
func (a *App) stepped(step, all time.Duration) {
	detail := map[string]string{"step": step.Round(time.Millisecond).String(), "clock": string(clock.Now())}
	if _, err := a.places.log.Record(audit.Record{Actor: vigil, Action: audit.ClockStep, Detail: detail}); err != nil {
		a.log.Error("clock step not recorded", "err", err)
	}
	if all.Abs() < clock.Step {
		a.alerts.Clear(alert.ClockStep, "")
		return
	}
	a.alerts.Raise(alert.Condition{Kind: alert.ClockStep, Args: detail})
}

// events takes what the workers tell.
type events struct{ *App }

func (e events) Status(c media.CameraID, s media.StreamID, st wire.Status) {
	e.streams.SetStatus(c, s, st)
}

func (e events) Jail(worker int, report []wire.Guard) { e.streams.SetJail(worker, report) }

func (e events) Felled(f worker.Fall) {
	e.App.log.Error("worker fell", "worker", f.Worker, "culprit", f.Culprit, "err", f.Reason)
	if f.Culprit.IsZero() {
		return // the gap has its cause; nobody can be named
	}
	if c := e.settings.Get().Camera(f.Culprit); c != nil {
		e.alerts.Raise(alert.Condition{Kind: alert.WorkerFelled, Object: c.ID.String(), Camera: c.ID, Args: map[string]string{"camera": c.Name}})
	}
}
