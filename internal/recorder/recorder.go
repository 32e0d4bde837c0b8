// Package recorder cuts a camera's access units into segments.
//
//	stream -> [recorder] -> store
//
// It decides when to record and where to cut. It knows nothing of disks, keys
// or the ledger.
package recorder

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"vigil/internal/actor"
	"vigil/internal/media"
	"vigil/internal/store"
	"vigil/internal/store/segment"
	"vigil/internal/stream"
)

// Bounds of a segment. It is cut at the first random access unit after
// length; a camera whose random access units are minutes apart makes long segments, up to
// the hard bounds.
const (
	length    = 60 * time.Second
	maxLength = 30 * time.Minute
	maxSize   = 1 << 30

	// queue is how far a stream may be behind the disk, in bytes, before it
	// loses a GOP: 16 s of 4 Mbit/s.
	queue = 8 << 20
)

// A Job is one stream to record.
type Job struct {
	Stream  *stream.Stream
	ArmedBy string // the account that last switched this recording on
}

// A Recorder records the jobs it was last given.
type Recorder struct {
	store *store.Store
	log   *slog.Logger

	mu      sync.Mutex
	jobs    map[media.StreamID]Job      // guarded by mu
	changed chan struct{}               // capacity 1
	state   map[media.StreamID]*running // guarded by mu
	missed  map[media.StreamID]uint64   // guarded by mu; by those that are no more
}

// New returns a recorder without jobs.
func New(st *store.Store, log *slog.Logger) *Recorder {
	return &Recorder{store: st, log: log, jobs: map[media.StreamID]Job{}, state: map[media.StreamID]*running{}, missed: map[media.StreamID]uint64{}, changed: make(chan struct{}, 1)}
}

// Set replaces the jobs. A stream that is no longer among them ends its
// segment with the cause "stopped".
func (r *Recorder) Set(jobs []Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.jobs)
	for _, j := range jobs {
		r.jobs[j.Stream.ID] = j
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Recording tells which streams have an open segment.
func (r *Recorder) Recording() map[media.StreamID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[media.StreamID]bool{}
	for id, c := range r.state {
		out[id] = c.open.Load()
	}
	return out
}

// Missed counts the pictures of a stream that were not recorded because its
// camera begins anew too often, since the start.
func (r *Recorder) Missed(id media.StreamID) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.missed[id]
	if c := r.state[id]; c != nil {
		n += c.missed.Load()
	}
	return n
}

// A running is the goroutine of one job.
type running struct {
	cutter
	job  Job
	stop context.CancelCauseFunc
	done chan struct{}
}

// errStopped ends a job because it was taken away; any other end is a
// shutdown.
var errStopped = errors.New("recording switched off")

// Run records until ctx ends, then closes every segment with the cause
// "shutdown".
func (r *Recorder) Run(ctx context.Context) error {
	for {
		r.apply(ctx)
		select {
		case <-r.changed:
		case <-ctx.Done():
			r.mu.Lock()
			all := r.state
			r.state = map[media.StreamID]*running{}
			r.mu.Unlock()
			for _, c := range all {
				<-c.done // ctx has told them
			}
			return nil
		}
	}
}

// apply starts and stops goroutines until they are the jobs.
func (r *Recorder) apply(ctx context.Context) {
	r.mu.Lock()
	var gone []*running
	for id, c := range r.state {
		if j, ok := r.jobs[id]; !ok || j != c.job {
			gone = append(gone, c)
			r.missed[id] += c.missed.Load()
			delete(r.state, id)
		}
	}
	r.mu.Unlock()
	for _, c := range gone {
		c.stop(errStopped)
		<-c.done
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, j := range r.jobs {
		if r.state[id] != nil || ctx.Err() != nil {
			continue
		}
		jobCtx, stop := context.WithCancelCause(ctx)
		c := &running{job: j, stop: stop, done: make(chan struct{})}
		c.cutter = cutter{
			by:    actor.Of("recorder", j.ArmedBy),
			info:  segment.Info{Stream: j.Stream.ID, Camera: j.Stream.Camera},
			shelf: shelf{r.store}, log: r.log, first: firstLength(j.Stream.ID), now: time.Now,
			begun: rate.NewLimiter(rate.Every(anew), anewAtOnce),
		}
		r.state[id] = c
		go func() {
			defer close(c.done)
			r.record(jobCtx, j.Stream, &c.cutter)
		}()
	}
}

// record feeds one stream to its cutter until ctx ends.
func (r *Recorder) record(ctx context.Context, s *stream.Stream, c *cutter) {
	in := s.Reader(queue, true)
	defer in.Close()
	for {
		it, err := in.Next(ctx)
		if err != nil {
			break
		}
		if it.Batch == nil {
			c.down(it.Down)
			continue
		}
		c.put(it.Batch, it.Lost)
		it.Batch.Release()
	}
	if errors.Is(context.Cause(ctx), errStopped) {
		c.cut(media.Stopped)
	} else {
		c.cut(media.Shutdown)
	}
}

// firstLength spreads the cuts of different streams over the minute, so that
// their segments do not end in one beat.
func firstLength(id media.StreamID) time.Duration {
	h := fnv.New32a()
	h.Write(id[:])
	return length/2 + time.Duration(h.Sum32())%(length/2)
}
