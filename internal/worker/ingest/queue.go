package ingest

import (
	"sync"
	"time"
)

// Bounds of what waits for the core. It reads at once unless it is starved of
// CPU or stopped; then a stream of 8 Mbit/s bridges 16 s. The largest unit has
// room behind as much again.
const (
	streamBudget  = 16 << 20 // bytes of batches of one stream
	processBudget = 64 << 20 // of all streams
	maxControl    = 4096     // control frames
	freeBatches   = 16       // empty ones kept for reuse: one for each stream, as all may be handed over at once
)

// An item is a control frame or a batch.
type item struct {
	frame []byte
	batch *batch
}

// A queue holds what goes to the core, in order, and drops what is too much:
// its callers never wait.
type queue struct {
	mu     sync.Mutex
	some   sync.Cond // there is something to write, or no more ever
	none   sync.Cond // all is written
	items  []item    // from head on
	head   int
	first  []byte // frames that go before all others
	bytes  int    // of batches, those being written too
	of     map[*stream]int
	busy   bool // write is in a system call
	closed bool
	free   []*batch
}

func newQueue() *queue {
	q := &queue{of: map[*stream]int{}}
	q.some.L, q.none.L = &q.mu, &q.mu
	return q
}

// take returns an empty batch.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.free); n > 0 {
		b := q.free[n-1]
		q.free = q.free[:n-1]
		return b
	}
	return new(batch)
}

// give takes a batch back that is not queued.
func (q *queue) give(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.recycle(b)
}

func (q *queue) recycle(b *batch) {
	b.reset()
	if len(q.free) < freeBatches {
		q.free = append(q.free, b)
	}
}

// put queues an item and tells whether it found room. A batch always finds
// room when nothing of its stream waits, however large it is.
func (q *queue) put(it item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if b := it.batch; b != nil {
		used := q.of[b.owner]
		if used > 0 && (used+b.bytes > streamBudget || q.bytes+b.bytes > processBudget) {
			return false
		}
		q.of[b.owner] = used + b.bytes
		q.bytes += b.bytes
	} else if len(q.items)-q.head >= maxControl {
		return false
	}
	if q.head > 0 && len(q.items) == cap(q.items) { // the room in front is free
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
	q.some.Signal()
	return true
}

// urgent queues a frame before all others.
func (q *queue) urgent(frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.first) < 64<<10 {
		q.first = append(q.first, frame...)
		q.some.Signal()
	}
}

// close lets write return once all is written.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Signal()
}

// drain waits until all is written, at most d.
func (q *queue) drain(d time.Duration) {
	late := false
	timer := time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		late = true
		q.none.Broadcast()
	})
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !late && (q.busy || q.head < len(q.items) || len(q.first) > 0) {
		q.none.Wait()
	}
}

// A writer is a *socket.Conn.
type writer interface{ WriteAll([][]byte) error }

// write writes until close or an error. It is for one goroutine, and the only
// one that the core can make wait.
func (q *queue) write(w writer) error {
	var (
		spare []byte
		one   [1][]byte
	)
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		var it item
		switch {
		case len(q.first) > 0:
			it.frame = q.first
			q.first, spare = spare[:0], q.first
		case q.head < len(q.items):
			it = q.items[q.head]
			q.items[q.head] = item{}
			if q.head++; q.head == len(q.items) {
				q.items, q.head = q.items[:0], 0
			}
		case q.closed:
			return nil
		default:
			q.none.Broadcast()
			q.some.Wait()
			continue
		}
		q.busy = true
		q.mu.Unlock()
		var err error
		if it.batch != nil {
			err = w.WriteAll(it.batch.frame()) // one system call
		} else {
			one[0] = it.frame
			err = w.WriteAll(one[:])
		}
		q.mu.Lock()
		q.busy = false
		if b := it.batch; b != nil {
			q.bytes -= b.bytes
			if q.of[b.owner] -= b.bytes; q.of[b.owner] == 0 {
				delete(q.of, b.owner)
			}
			q.recycle(b)
		}
		if err != nil {
			q.closed = true
			q.none.Broadcast()
			return err
		}
	}
}
