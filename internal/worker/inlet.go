package worker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// What one stream may hand over, generous for any camera: all-intra at 120
// pictures a second, 500 Mbit/s. The bursts are what a worker's queue holds when
// the core was held up.
const (
	batchRate    = 256 // a second
	batchBurst   = 4096
	byteRate     = 64 << 20 // a second
	byteBurst    = 256 << 20
	controlRate  = 64 // frames of a process that are neither batch nor log, a second
	controlBurst = 8192
	logRate      = 32 // lines of a process, a second; its own limit is a third
	logBurst     = 512
)

// maxSkew is how far a unit's time may be from the core's clock.
const maxSkew = time.Hour

// A Violation is what a worker did that ended it.
type Violation struct {
	Stream media.StreamID // zero: none in particular
	Err    error
	number uint32
}

func (v *Violation) Error() string {
	if v.Stream.IsZero() {
		return v.Err.Error()
	}
	return fmt.Sprintf("stream %v: %v", v.Stream, v.Err)
}

func (v *Violation) Unwrap() error { return v.Err }

// Why a worker was ended for what a stream handed over; wire.ErrFrame is
// another reason.
var (
	ErrFlood     = errors.New("more than any camera sends")
	ErrStranger  = errors.New("a stream number that does not run here")
	ErrBatch     = errors.New("a batch that breaks its promises")
	ErrTime      = errors.New("a time that is not ours")
	ErrUndue     = errors.New("a frame that is not due")
	errHelloLate = errors.New("no hello")
)

// A stream is the place where the batches of one stream come in, whichever
// worker hands them over.
type stream struct {
	id     media.StreamID
	camera media.CameraID
	sink   Sink
	events Events

	mu     sync.Mutex
	owner  *inlet // who may publish now; nil: nobody
	seen   bool   // something was published since it entered
	felled bool   // its worker fell: the next batch says so
}

// leave follows an operator who wants the stream no more.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner, s.seen, s.felled = nil, false, false
	s.sink.Down(media.Stopped)
}

func (s *stream) down(why media.Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = nil
	if s.seen {
		s.sink.Down(why)
	}
}

// An inlet is one session of a stream on one process: what it has declared so
// far. Its counters belong to the process's reader.
type inlet struct {
	spec   wire.Spec
	stream *stream

	tracks  *media.Tracks
	fresh   bool // tracks were declared and no batch has come since
	begun   bool // a batch has come
	last    [media.MaxTracks + 1]media.Ticks
	odd     time.Time // since then its times are not ours; zero: they are
	batches *rate.Limiter
	bytes   *rate.Limiter

	stopped   time.Time // when it was told to end; guarded by the process's mu
	forgotten bool      // it did not end in time; guarded by the process's mu
}

func newInlet(spec wire.Spec, s *stream) *inlet {
	return &inlet{spec: spec, stream: s, batches: rate.NewLimiter(batchRate, batchBurst), bytes: rate.NewLimiter(byteRate, byteBurst)}
}

// own makes this inlet the one that may publish.
func (in *inlet) own() {
	in.stream.mu.Lock()
	defer in.stream.mu.Unlock()
	in.stream.owner = in
}

// fell takes the stream from an inlet whose process has fallen.
func (in *inlet) fell() {
	s := in.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != in {
		return
	}
	s.owner = nil
	if s.seen {
		s.felled = true
		s.sink.Down(media.WorkerLost)
	}
}

// ended takes the stream from an inlet that has ended in order.
func (in *inlet) ended() {
	s := in.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == in {
		s.owner = nil
	}
}

// declare takes new tracks.
func (in *inlet) declare(list []media.Track) error {
	init, err := fmp4.Init(list)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBatch, err)
	}
	in.tracks = &media.Tracks{Stream: in.spec.Stream, List: list, Init: init}
	in.fresh = true
	return nil
}

// status passes on how the stream is.
func (in *inlet) status(st wire.Status) {
	s := in.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != in {
		return
	}
	switch {
	case st.State != wire.Waiting:
	case st.Why.Code == wire.NoKeyFrame: // what was sent was lost on the way
		s.sink.Down(media.Network)
	default:
		s.sink.Down(media.CameraLost)
	}
	s.events.Status(s.camera, s.id, st)
}

// publish checks a batch and hands it on. It is the door: what passes here is
// believed by all that follows.
func (in *inlet) publish(b *media.Batch, now time.Time, c *clock) error {
	if !in.batches.AllowN(now, 1) || !in.bytes.AllowN(now, len(b.Payload())+1) {
		b.Release()
		return fmt.Errorf("%w: over %d batches or %d MiB a second", ErrFlood, batchRate, byteRate>>20)
	}
	if err := in.check(b, now, c); err != nil {
		b.Release()
		return err
	}
	for _, u := range b.Units {
		in.last[u.Track] = u.DTS
	}
	in.begun, in.fresh = true, false
	s := in.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != in { // the operator has stopped it, or a newer session runs
		b.Release()
		return nil
	}
	if s.felled {
		b.New, s.felled = media.WorkerLost, false
	}
	s.seen = true
	if err := s.sink.Publish(b); err != nil {
		return fmt.Errorf("%w: %w", ErrBatch, err)
	}
	return nil
}

// check tells whether the batch keeps its promises, alone and after those
// before it.
func (in *inlet) check(b *media.Batch, now time.Time, c *clock) error {
	b.Tracks = in.tracks
	if err := b.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrBatch, err)
	}
	// What the worker forgot to say we say for it: a gap must have a cause.
	switch {
	case b.New != "":
	case !in.begun:
		b.New = media.CameraStart
	case in.fresh:
		b.New = media.CutCodec
	}
	if b.New != "" {
		in.last = [media.MaxTracks + 1]media.Ticks{-1, -1, -1, -1, -1}
	}
	low, high := c.window(now)
	odd := time.Time{}
	for i := range b.Units {
		u := &b.Units[i]
		if (i == 0 || b.Units[i-1].Track != u.Track) && u.DTS <= in.last[u.Track] {
			return fmt.Errorf("%w: track %d at %d after %d", ErrBatch, u.Track, u.DTS, in.last[u.Track])
		}
		if arrived := media.TicksOf(time.Unix(0, u.Arrived)); u.DTS < low || u.DTS > high || arrived < low || arrived > high {
			if odd = in.odd; odd.IsZero() {
				odd = now
			}
			if now.Sub(odd) >= ahead {
				return fmt.Errorf("%w: track %d at %v, arrived %v", ErrTime, u.Track, u.DTS.Time(), arrived.Time())
			}
		}
		if u.Camera < 0 {
			u.Camera = 0 // the camera's clock may say what it likes: before 1970 it does not know
		}
	}
	in.odd = odd
	return nil
}

// A clock knows when the wall clock was stepped: until workers have followed,
// their times cannot be judged. It is for one goroutine.
type clock struct {
	base time.Time // wall and monotonic reading that belong together
	step time.Time // the last step
}

// forgive is how long after a step any time will do, and ahead how long before:
// a worker may see the step a moment before us.
const (
	forgive = 3 * time.Minute
	ahead   = 2 * time.Second
)

// window returns the decode times to be believed.
func (c *clock) window(now time.Time) (low, high media.Ticks) {
	if c.base.IsZero() {
		c.base = now
	}
	elapsed := now.Sub(c.base)                      // monotonic
	wall := now.Round(0).Sub(c.base.Round(0))       // wall
	if d := wall - elapsed; d.Abs() > time.Minute { // stepped, or drifted so far: the same to us
		c.base, c.step = now, now
	}
	if !c.step.IsZero() && now.Sub(c.step) < forgive {
		return 0, 1<<63 - 1
	}
	return media.TicksOf(now.Add(-maxSkew)), media.TicksOf(now.Add(maxSkew))
}
