// Package stream holds what one stream of a camera sends right now.
//
//	worker --> (stream) --> recorder
//	               +------> live --> web
//
// A Stream has one writer and any number of readers, each with a queue that is
// bounded in bytes. The writer never waits: a reader that is late loses whole
// GOPs, is told how many pictures, and costs nobody else anything.
package stream

import (
	"context"
	"errors"
	"sync"

	"vigil/internal/fmp4"
	"vigil/internal/media"
)

// A Stream is safe for many callers, but Publish belongs to one at a time.
type Stream struct {
	ID     media.StreamID
	Camera media.CameraID

	mu      sync.Mutex
	readers map[*Reader]struct{} // guarded by mu
	gop     []*media.Batch       // since the last random access unit, for a reader that joins; guarded by mu
	gopSize int                  // guarded by mu
	gopFull bool                 // the GOP outgrew its bound: no head start until the next; guarded by mu
	stats   Stats                // guarded by mu
}

// Stats counts since the start of the process.
type Stats struct {
	Bytes    uint64 // of access units
	Pictures uint64
	Lost     uint64 // pictures known to be lost before they came here
	Last     int64  // arrival of the newest unit, ns since the epoch; 0: none yet
	Tracks   *media.Tracks
	Down     media.Cause // why nothing comes; "" while units come
}

// gopBound is the head start kept for a joining viewer: 2 s of 8 Mbit/s. A
// longer GOP is not kept, and its viewers wait for the next one.
const gopBound = 2 << 20

// New returns a stream without units.
func New(id media.StreamID, camera media.CameraID) *Stream {
	return &Stream{ID: id, Camera: camera, readers: map[*Reader]struct{}{}, stats: Stats{Down: media.CameraStart}}
}

// Publish makes the batch into a fragment and offers it to every reader. It
// takes over the caller's hold on the batch and never waits. The batch must
// have passed Check.
func (s *Stream) Publish(b *media.Batch) error {
	if err := fmp4.Frame(b); err != nil {
		b.Release()
		return err
	}
	pictures, last := pictures(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Bytes += uint64(len(b.Payload()))
	s.stats.Pictures += uint64(pictures)
	s.stats.Lost += uint64(b.Lost)
	s.stats.Last = last
	s.stats.Tracks = b.Tracks
	s.stats.Down = ""
	for r := range s.readers {
		r.offer(b, uint32(pictures))
	}
	s.keep(b)
	return nil
}

// keep files the batch under the running GOP; the caller holds mu.
func (s *Stream) keep(b *media.Batch) {
	if b.RandomAccess() || b.New != "" {
		s.forget()
		s.gopFull = !b.RandomAccess()
	}
	if s.gopFull || s.gopSize+len(b.Fragment) > gopBound {
		s.forget()
		s.gopFull = true
		b.Release()
		return
	}
	s.gop = append(s.gop, b)
	s.gopSize += len(b.Fragment)
}

func (s *Stream) forget() {
	for i, b := range s.gop {
		b.Release()
		s.gop[i] = nil
	}
	s.gop, s.gopSize = s.gop[:0], 0
}

// Down tells every reader that nothing more comes for now, and why. The next
// Publish ends it.
func (s *Stream) Down(why media.Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Down == why {
		return
	}
	s.stats.Down = why
	s.forget()
	s.gopFull = true
	for r := range s.readers {
		r.down(why)
	}
}

// Stats returns the counters as they are.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func pictures(b *media.Batch) (n int, last int64) {
	for i := range b.Units {
		if b.Units[i].Track == 1 {
			n++
		}
		last = max(last, b.Units[i].Arrived)
	}
	return n, last
}

// An Item is what a reader gets: a batch to release, or the reason why
// nothing comes.
type Item struct {
	Batch *media.Batch
	Lost  uint32      // pictures that this reader was too late for, directly before
	Down  media.Cause // instead of a batch: nothing comes for now
}

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("stream: reader closed")

// A Reader is one place to read from. Next belongs to one caller at a time.
type Reader struct {
	s     *Stream
	bound int
	wake  chan struct{}

	mu       sync.Mutex
	queue    []Item // guarded by mu
	size     int    // bytes in queue; guarded by mu
	fresh    bool   // no random access unit yet: waiting for the first is no loss; guarded by mu
	skipping bool   // until the next random access unit; guarded by mu
	lost     uint32 // pictures skipped so far; guarded by mu
	closed   bool   // guarded by mu
}

// Reader joins the stream with a queue of at most bound bytes. The first batch
// it gets starts with a random access unit: with fromGOP that of the running
// GOP, so that a picture shows at once, else the next to come.
func (s *Stream) Reader(bound int, fromGOP bool) *Reader {
	r := &Reader{s: s, bound: bound, wake: make(chan struct{}, 1), fresh: true, skipping: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Down != "" {
		r.down(s.stats.Down)
	}
	if fromGOP {
		for _, b := range s.gop {
			n, _ := pictures(b)
			r.offer(b, uint32(n))
		}
	}
	s.readers[r] = struct{}{}
	return r
}

// offer queues the batch unless the reader is late: then it loses everything
// up to the next random access unit.
func (r *Reader) offer(b *media.Batch, pictures uint32) {
	r.mu.Lock()
	if r.skipping && b.RandomAccess() {
		r.fresh, r.skipping = false, false
	}
	if r.skipping || r.size+len(b.Fragment) > r.bound && len(r.queue) > 0 {
		r.skipping = true
		if !r.fresh {
			r.lost += pictures
		}
		r.mu.Unlock()
		return
	}
	b.Retain()
	r.queue = append(r.queue, Item{Batch: b, Lost: r.lost})
	r.size += len(b.Fragment)
	r.lost = 0
	r.mu.Unlock()
	r.signal()
}

func (r *Reader) down(why media.Cause) {
	r.mu.Lock()
	if n := len(r.queue); n == 0 || r.queue[n-1].Down != why {
		r.queue = append(r.queue, Item{Down: why})
	}
	r.mu.Unlock()
	r.signal()
}

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Next waits for the next item. The caller releases its batch.
func (r *Reader) Next(ctx context.Context) (Item, error) {
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return Item{}, ErrClosed
		}
		if len(r.queue) > 0 {
			it := r.queue[0]
			n := copy(r.queue, r.queue[1:]) // queues are short; moving keeps their memory
			r.queue[n] = Item{}
			r.queue = r.queue[:n]
			if it.Batch != nil {
				r.size -= len(it.Batch.Fragment)
			}
			r.mu.Unlock()
			return it, nil
		}
		r.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// Close leaves the stream and releases what was queued.
func (r *Reader) Close() {
	r.s.mu.Lock()
	delete(r.s.readers, r)
	r.s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range r.queue {
		if it.Batch != nil {
			it.Batch.Release()
		}
	}
	r.queue, r.closed = nil, true
	r.signal()
}
