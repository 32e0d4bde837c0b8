package retention

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"time"

	"vigil/internal/catalogue"
)

// Jump is how far the wall clock may be ahead of what is known before
// nothing more is removed for its age. Smaller steps add up: five of five hours
// are a jump too, unless as much time has really passed between them.
const Jump = 6 * time.Hour

// Patience is how long a time service must have kept the clock, without
// another step, before a jump is believed without a person.
const Patience = 24 * time.Hour

// A Known is what is remembered of the clock over a restart.
type Known struct {
	At    time.Time `json:"at"`    // it was at least then, however the wall clock stood
	Doubt bool      `json:"doubt"` // the wall clock was further ahead
	Ahead int64     `json:"ahead"` // ns; forward steps that were believed, less the time that has passed since
}

// A Memory keeps one value over a restart. The error of Load wraps
// fs.ErrNotExist when there is none.
type Memory interface {
	Load(into *Known) error
	Save(Known) error
}

// A watch judges the wall clock. It knows a time that it surely is (the last
// of the ledger, or what it knew before the restart) and adds what the
// monotonic clock says.
type watch struct {
	memory  Memory
	base    time.Time     // surely, at mono
	mono    time.Time     // with a monotonic reading
	ahead   time.Duration // as Known's
	doubt   bool
	back    bool      // the wall clock is far behind what is known
	believe bool      // a person says that the clock is right
	kept    time.Time // since then the clock is kept by a time service; zero: it is not
	last    time.Time // wall clock at the last look
	saved   time.Time
}

// start takes the first look: newest is the end of the newest footage. That is
// believed as far as the memory can be behind: footage from further ahead was recorded with a
// clock that had jumped, and before anybody looked at it.
func (w *watch) start(now time.Time, newest time.Time) error {
	var known Known
	err := w.memory.Load(&known)
	w.ahead = time.Duration(known.Ahead)
	switch {
	case err == nil && known.Doubt:
		w.base, w.doubt = known.At, true // doubt does not end with a restart
	case err == nil:
		w.base = known.At
		if ahead := newest.Sub(known.At); ahead > 0 && ahead <= Jump {
			w.base = newest
		}
	case errors.Is(err, fs.ErrNotExist):
		w.base = newest
	default:
		return err
	}
	w.mono = time.Now()
	if w.base.IsZero() { // nothing was ever recorded, so nothing can be lost
		w.base = now
	}
	return nil
}

// sure returns the time that footage is old by: the wall clock while it agrees
// with what is known, else what is known.
func (w *watch) sure(now time.Time, synchronised bool) time.Time {
	mono := time.Now()
	passed := mono.Sub(w.mono)
	known := w.base.Add(passed)
	step := now.Sub(known)
	w.ahead = max(w.ahead-passed, 0)
	if !synchronised {
		w.kept = time.Time{}
	} else if w.kept.IsZero() || absolute(now.Sub(w.last)-passed) > Jump && !w.last.IsZero() {
		w.kept = mono
	}
	w.last, w.mono, w.base = now, mono, known
	w.back = step < -Jump && !w.believe
	switch {
	case w.back: // what is known stays, and footage counts as younger than it is
		w.doubt = false
		return now
	case w.believe, !w.kept.IsZero() && mono.Sub(w.kept) >= Patience:
		w.doubt, w.believe, w.base, w.ahead = false, false, now, 0
		return now
	case w.ahead+step <= Jump:
		w.doubt, w.base, w.ahead = false, now, max(w.ahead+step, 0)
		return now
	}
	w.doubt = true
	return known
}

func absolute(d time.Duration) time.Duration { return max(d, -d) }

// save remembers what is known, now and then.
func (w *watch) save(changed bool) error {
	if !changed && time.Since(w.saved) < time.Hour && !w.saved.IsZero() {
		return nil
	}
	w.saved = time.Now()
	return w.memory.Save(Known{At: w.base.UTC().Round(0), Doubt: w.doubt, Ahead: int64(w.ahead)})
}

// Trust says that a person has looked at the clock and it is right: ends the
// doubt after a jump, in either direction.
func (k *Keeper) Trust() { k.trust.Store(true) }

// trusted returns the time that footage is old by, and tells a person when it
// is not the wall clock's: then nothing young goes by mistake.
func (k *Keeper) trusted(totals []catalogue.Total) (time.Time, error) {
	now := k.cfg.Now()
	k.watch.believe = k.trust.Swap(false)
	if k.watch.base.IsZero() {
		var newest int64
		for _, t := range totals {
			newest = max(newest, t.Last)
		}
		last := time.Unix(0, newest)
		if newest == 0 {
			last = time.Time{}
		}
		if err := k.watch.start(now, last); err != nil {
			return time.Time{}, err
		}
	}
	before, back := k.watch.doubt, k.watch.back
	sure := k.watch.sure(now, k.cfg.Synchronised())
	switch {
	case k.watch.doubt || k.watch.back:
		k.cfg.Alerts.Raise(ClockStep, "", map[string]string{"step": strconv.FormatInt(int64(now.Sub(k.watch.base).Hours()), 10) + " h"})
	case before || back:
		k.cfg.Alerts.Clear(ClockStep, "")
	}
	changed := before != k.watch.doubt || back != k.watch.back
	if changed {
		k.log.Warn("trust in the clock changed", "doubt", k.watch.doubt, "ahead", now.Sub(k.watch.base))
	}
	return sure, k.watch.save(changed)
}

// age removes footage that is older than its camera wants. Two things must
// agree: the trusted clock says that it ended long enough ago, and it stands in the
// ledger before all that is younger; footage recorded while the clock was wrong is as old
// as its neighbours in the ledger.
func (k *Keeper) age(ctx context.Context) error {
	totals, err := k.cfg.Index.Totals()
	if err != nil {
		return err
	}
	now, err := k.trusted(totals)
	if err != nil {
		return err
	}
	days := k.cfg.Policy().Days
	first := map[int64]uint64{} // of a cutoff: the first leaf that is younger
	for _, t := range totals {
		n := days(t.Camera)
		if n <= 0 || t.Segments == 0 {
			continue
		}
		cutoff := now.AddDate(0, 0, -n).UnixNano()
		if _, ok := first[cutoff]; !ok {
			if first[cutoff], err = k.firstLeaf(totals, cutoff, now); err != nil {
				return err
			}
		}
		if err := k.ageOf(ctx, t, cutoff, first[cutoff]); err != nil {
			return err
		}
	}
	return nil
}

// firstLeaf returns the smallest leaf of the segments that are not older than
// cutoff by their own times, nor from the future.
func (k *Keeper) firstLeaf(totals []catalogue.Total, cutoff int64, now time.Time) (uint64, error) {
	first := ^uint64(0)
	for _, t := range totals {
		leaf, ok, err := k.cfg.Index.LeastLeaf(t.Stream, cutoff, now.Add(time.Hour).UnixNano())
		if err != nil {
			return 0, err
		}
		if ok {
			first = min(first, leaf)
		}
	}
	return first, nil
}

func (k *Keeper) ageOf(ctx context.Context, t catalogue.Total, cutoff int64, first uint64) error {
	for {
		if err := k.level(ctx); err != nil {
			return err
		}
		keep, err := k.keeps()
		if err != nil {
			return err
		}
		var old []catalogue.Segment
		if err := k.cfg.Index.Segments(t.Stream, t.First, cutoff, func(g catalogue.Segment) bool {
			if g.End <= cutoff && g.Leaf < first && !keep.held(g) {
				old = append(old, g)
			}
			return len(old) < maxPart
		}); err != nil || len(old) == 0 {
			return err
		}
		n, err := k.remove(ctx, old, "age")
		if err != nil || n == 0 {
			return err
		}
	}
}
