package recorder

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"vigil/internal/actor"
	"vigil/internal/media"
	"vigil/internal/store"
	"vigil/internal/store/segment"
)

// retryAfter spaces the tries to start a segment while the store refuses.
const retryAfter = time.Second

// How many segments a stream may begin: a restless camera some at once, and then one each
// anew seconds. One that changes its coding with every picture would otherwise
// fill the ledger, which keeps what it was told for good.
const (
	anew       = 5 * time.Second
	anewAtOnce = 30
)

// A maker makes segments: the store, or a list in a test.
type maker interface {
	create(by actor.Actor, info segment.Info, tracks *media.Tracks, before *segment.Gap) (sealed, error)
}

// A sealed is a segment being written.
type sealed interface {
	Append(b *media.Batch) error
	Close(end media.Cause)
}

type shelf struct{ *store.Store }

func (s shelf) create(by actor.Actor, info segment.Info, tracks *media.Tracks, before *segment.Gap) (sealed, error) {
	return s.Create(by, info, tracks, before)
}

// A cutter decides where one stream's segments begin and end. It belongs to
// one goroutine.
type cutter struct {
	by    actor.Actor
	info  segment.Info
	shelf maker
	log   *slog.Logger
	first time.Duration // length of the first segment
	now   func() time.Time

	seg    sealed        // nil: waiting for a random access unit
	tracks *media.Tracks // of seg
	began  time.Time     // of seg, monotonic
	target time.Duration // length of seg
	size   int64         // bytes in seg
	retry  time.Time     // not before then is a new segment tried
	begun  *rate.Limiter // of segments
	gap    gap
	open   atomic.Bool
	missed atomic.Uint64 // pictures, because the camera begins anew too often
}

// A gap is what has been missed since the last unit that was kept.
type gap struct {
	cause media.Cause
	from  int64  // ns since the epoch, of the last unit kept; 0: nothing was kept since the start
	lost  uint32 // pictures
}

// put records one batch; lost counts the pictures that this reader was too
// late for, directly before it.
func (c *cutter) put(b *media.Batch, lost uint32) {
	if lost > 0 { // b starts with a random access unit: the loss becomes a gap between two segments
		c.cut(media.Overload)
		c.gap.lost += lost
	}
	if c.seg != nil {
		if why := c.reason(b); why != "" {
			c.cut(why)
		}
	}
	if c.seg == nil && !c.begin(b) {
		return
	}
	if err := c.seg.Append(b); err != nil {
		c.log.Error("segment ended by the store", "stream", c.info.Stream, "err", err)
		c.cut(store.Cause(err))
		c.gap.lost += pictures(b)
		c.retry = c.now().Add(retryAfter)
		return
	}
	c.size += int64(len(b.Fragment))
	c.gap.from = b.Units[len(b.Units)-1].Arrived
}

// reason tells whether the open segment must end before b, and why. A segment
// ends before a random access unit if it can: only then does the next decode
// alone.
func (c *cutter) reason(b *media.Batch) media.Cause {
	age := c.now().Sub(c.began)
	switch {
	case b.New != "":
		return b.New
	case b.Tracks != c.tracks:
		return media.CutCodec
	case b.RandomAccess() && age >= c.target, age >= maxLength, c.size >= maxSize:
		return media.CutLength
	}
	return ""
}

// begin opens a segment that starts with b. Waiting for the first random
// access unit after a connect loses nothing that could have been shown.
func (c *cutter) begin(b *media.Batch) bool {
	hardCut := c.gap.cause == media.CutLength // the GOP goes on in the next segment
	if b.New != "" && c.gap.cause == "" {
		c.gap.cause = b.New
	}
	now := c.now()
	if !b.RandomAccess() && !hardCut || now.Before(c.retry) {
		if c.gap.from != 0 {
			c.miss(b)
		}
		return false
	}
	if c.begun.TokensAt(now) < 1 {
		c.refused(b, media.Unsteady, errUnsteady)
		return false
	}
	var before *segment.Gap
	unknown := c.gap.from == 0 && c.gap.cause == media.CameraStart // the first since the start: how the segment before ended says more
	if c.gap.cause != "" && !hardCut && !unknown {
		before = &segment.Gap{Cause: c.gap.cause, FromNs: c.gap.from, Lost: c.gap.lost}
	}
	seg, err := c.shelf.create(c.by, c.info, b.Tracks, before)
	if err != nil {
		c.refused(b, store.Cause(err), err)
		return false
	}
	c.begun.AllowN(now, 1)
	c.seg, c.tracks, c.began, c.size, c.gap = seg, b.Tracks, now, 0, gap{from: c.gap.from}
	if c.target = length; c.first != 0 {
		c.target, c.first = c.first, 0
	}
	c.open.Store(true)
	return true
}

var errUnsteady = errors.New("the camera begins anew too often")

// refused notes that no segment could be started for b.
func (c *cutter) refused(b *media.Batch, why media.Cause, err error) {
	if c.gap.cause != why {
		c.gap.cause = why
		c.log.Error("no segment can be started", "stream", c.info.Stream, "err", err)
	}
	c.miss(b)
	c.retry = c.now().Add(retryAfter)
}

// miss counts the pictures of a batch that no segment takes.
func (c *cutter) miss(b *media.Batch) {
	n := pictures(b)
	c.gap.lost += n
	if c.gap.cause == media.Unsteady {
		c.missed.Add(uint64(n))
	}
}

// down ends the segment because nothing comes any more.
func (c *cutter) down(why media.Cause) {
	if c.seg != nil {
		c.cut(why)
	} else if c.gap.cause == "" {
		c.gap.cause = why
	}
}

// cut ends the open segment.
func (c *cutter) cut(why media.Cause) {
	if c.seg == nil {
		return
	}
	c.seg.Close(why)
	c.seg, c.tracks = nil, nil
	c.gap.cause = why
	c.open.Store(false)
}

// pictures counts the pictures of a batch.
func pictures(b *media.Batch) (n uint32) {
	for i := range b.Units {
		if b.Units[i].Track == 1 {
			n++
		}
	}
	return n
}
