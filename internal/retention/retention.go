// Package retention decides what may go, and when.
//
//	catalogue, settings, clock -> [retention] -> store.Remove
//
// It removes the oldest footage first: what is older than its camera wants
// (by the ledger's order and a clock that can be trusted), and what must make room
// before a volume is full. It says in time when that will not help.
//
// It removes through store.Remove alone, and only what both catalogue and
// ledger have. A new or lost catalogue, a step of the clock, a volume that is
// not there, an unknown file: none of them ever is a reason to remove anything.
package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"vigil/internal/actor"
	"vigil/internal/catalogue"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store"
	"vigil/internal/store/volume"
)

// An Index is the part of catalogue.Catalogue that says what there is.
type Index interface {
	Totals() ([]catalogue.Total, error)
	Oldest(n int, skip func(catalogue.Segment) bool) ([]catalogue.Segment, error)
	Segments(id media.StreamID, from, to int64, fn func(catalogue.Segment) bool) error
	LeastLeaf(id media.StreamID, from, to int64) (leaf uint64, ok bool, err error)
	Holds(camera media.CameraID) ([]catalogue.Hold, error)
	Position() (leaves, lost uint64, err error)
}

// A Book is the part of ledger.Ledger that says what is true.
type Book interface {
	Size() uint64
	Follow(from uint64, fn func(i uint64, leaf ledger.Leaf) error) error
}

// A Shelf is the part of store.Store that removes.
type Shelf interface {
	Volumes() []*volume.Volume
	Remove(ctx context.Context, by actor.Actor, segs []store.Ref, why media.Cause, reason string) error
}

// An Alerts is the part of the alert board that is needed.
type Alerts interface {
	Raise(kind, object string, args map[string]string)
	Clear(kind, object string)
}

// The kinds of alerts that retention raises.
const (
	SpaceLow       = "space-low"       // object: folder of the volume; free, threshold
	SpaceHeld      = "space-held"      // object: folder of the volume; free
	RetentionShort = "retention-short" // object: camera; camera, days, wanted
	ClockStep      = "clock-step"      // step
	DiskTrouble    = "disk-trouble"    // object: folder of the volume; state, cause, error
)

// A Policy is what an operator chose. It is read afresh each round.
type Policy struct {
	// Days is how long a camera's footage is kept; 0: as long as there is space.
	Days func(camera media.CameraID) int
	// Quota is how many bytes footage may use on a volume; 0: all but the reserve.
	Quota int64
	// Reserve is kept free on each volume: bytes and percent, the larger counts.
	Reserve        int64
	ReservePercent int
	// Low is the free space below which there is an alert: bytes and percent, the
	// larger counts.
	Low        int64
	LowPercent int
	// LowDays: an alert when footage younger than this must make room; 0: when
	// footage younger than Days must.
	LowDays int
}

// A Config is what a Keeper is made of.
type Config struct {
	Index  Index
	Book   Book
	Shelf  Shelf
	Alerts Alerts
	Policy func() Policy
	// Synchronised tells whether a time service keeps the clock.
	Synchronised func() bool
	// Memory keeps what is known of the clock over a restart.
	Memory Memory
	// ArmedBy names the account that last set what is kept.
	ArmedBy func() string
	Log     *slog.Logger

	Every time.Duration    // between looks at the free space; default 10 s
	Aged  time.Duration    // between looks at the age; default 5 min
	Now   func() time.Time // wall clock; default time.Now
}

// A Keeper is retention at work.
type Keeper struct {
	cfg   Config
	log   *slog.Logger
	watch watch // owned by Run
	trust atomic.Bool

	acted uint64                  // owned by Run; the catalogue must have come so far
	stuck map[string]*stuck       // owned by Run; by folder of the volume
	short map[media.CameraID]bool // owned by Run; alerts that stand
	seen  map[string]time.Time    // owned by Run; by folder, when foresee last looked
}

// New returns a Keeper. Nothing happens before Run.
func New(cfg Config) *Keeper {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	if cfg.Aged == 0 {
		cfg.Aged = 5 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ArmedBy == nil {
		cfg.ArmedBy = func() string { return "" }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{
		cfg: cfg, log: cfg.Log, watch: watch{memory: cfg.Memory}, stuck: map[string]*stuck{},
		short: map[media.CameraID]bool{}, seen: map[string]time.Time{},
	}
}

// Run looks at the space every ten seconds and at the age every five minutes,
// until ctx ends. What fails is tried again the next time.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.cfg.Every)
	defer tick.Stop()
	var aged time.Time
	for {
		err := k.space(ctx)
		if err == nil && (aged.IsZero() || time.Since(aged) >= k.cfg.Aged) {
			aged = time.Now()
			err = k.age(ctx)
		}
		if err != nil && ctx.Err() == nil {
			k.log.Error("retention", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// maxPart bounds the segments of one removal: the next look at space, clock
// and ctx is never far.
const maxPart = 64

// errBehind says that the catalogue does not know all that the ledger says:
// removing by it could remove twice.
var errBehind = errors.New("the catalogue is behind the ledger")

// level tells whether the catalogue has followed to where the ledger is now.
// It waits a little: it always is some moments behind.
func (k *Keeper) level(ctx context.Context) error {
	want := max(k.acted, k.cfg.Book.Size())
	for range 20 {
		at, _, err := k.cfg.Index.Position()
		if err != nil {
			return err
		}
		if at >= want {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errBehind
}

// errEnough ends a reading of the ledger.
var errEnough = errors.New("enough")

// near is how far apart two leaves may be to be read in one go.
const near = 4096

// refs returns what the ledger says about segments of the catalogue. What the
// ledger does not confirm is left out.
func (k *Keeper) refs(list []catalogue.Segment) (refs []store.Ref, err error) {
	list = slices.SortedFunc(slices.Values(list), func(a, b catalogue.Segment) int { return cmp.Compare(a.Leaf, b.Leaf) })
	for len(list) > 0 {
		err := k.cfg.Book.Follow(list[0].Leaf, func(i uint64, l ledger.Leaf) error {
			if i < list[0].Leaf {
				return nil
			}
			g := list[0]
			list = list[1:]
			m, err := ledger.ParseSegment(l)
			if l.Lost || err != nil || m.Segment != g.Segment || m.Start != g.Start {
				k.log.Error("a segment of the catalogue is not removed: the ledger says otherwise", "segment", g.Segment, "leaf", g.Leaf, "err", err)
			} else {
				refs = append(refs, store.RefOf(m))
			}
			if len(list) == 0 || list[0].Leaf > i+near || list[0].Leaf == i {
				return errEnough
			}
			return nil
		})
		if err == nil { // the ledger ended
			k.log.Error("the catalogue has more than the ledger", "leaf", list[0].Leaf)
			return refs, nil
		}
		if !errors.Is(err, errEnough) {
			return nil, err
		}
	}
	return refs, nil
}

// remove removes one part.
func (k *Keeper) remove(ctx context.Context, list []catalogue.Segment, reason string) (bytes int64, err error) {
	refs, err := k.refs(list)
	if err != nil || len(refs) == 0 {
		return 0, err
	}
	err = k.cfg.Shelf.Remove(ctx, actor.Of("retention", k.cfg.ArmedBy()), refs, media.Retention, reason)
	k.acted = k.cfg.Book.Size()
	if err != nil {
		return 0, fmt.Errorf("remove %d segments for want of %s: %w", len(refs), reason, err)
	}
	for _, r := range refs {
		bytes += r.Bytes
	}
	k.log.Info("footage removed", "segments", len(refs), "bytes", bytes, "reason", reason)
	return bytes, nil
}

// A keep tells what holds keep.
type keep struct{ list []catalogue.Hold }

func (k *Keeper) keeps() (keep, error) {
	list, err := k.cfg.Index.Holds(media.CameraID{})
	return keep{list}, err
}

// held tells whether any moment of a segment is held.
func (h keep) held(g catalogue.Segment) bool {
	for _, o := range h.list {
		if o.Camera == g.Camera && g.Start < o.To && g.End > o.From {
			return true
		}
	}
	return false
}
