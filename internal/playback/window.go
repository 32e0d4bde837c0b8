package playback

import (
	"context"
	"io"
	"sync"
	"time"
)

// A window is what has been made of a file, for those who read it meanwhile: how far it is, and its last
// chunks. Who keeps up reads these, so the record is opened once for the making and the reading. The
// chunks are written before they are added and not after, until they are dropped.
type window struct {
	moved    chan struct{} // 1; somebody read on
	patience time.Duration // how long the making waits for those who read, per chunk

	mu    sync.Mutex
	grown *sync.Cond
	began time.Time           // guarded by mu; when the first chunk was shown
	known int64               // guarded by mu; bytes of the file that can be read
	over  bool                // guarded by mu; made, or never will be
	err   error               // guarded by mu; why never
	last  [][]byte            // guarded by mu; chunks, each full; they end at known
	near  map[*Download]int64 // guarded by mu; where those are who keep up
}

// patience of exports: who reads 50 MB/s keeps up, and who is slower reads from the record, as late as
// they like.
const patience = 20 * time.Millisecond

// opening is how much longer the first chunk waits for who was there before it, and whose download is being put
// on record.
const opening = 500 * time.Millisecond

// pause is how long who was faster may rest: a disk takes much at once, and then nothing for a while.
const pause = time.Second

func newWindow() *window {
	w := &window{moved: make(chan struct{}, 1), patience: patience, near: map[*Download]int64{}}
	w.grown = sync.NewCond(&w.mu)
	return w
}

// add shows a full chunk.
func (w *window) add(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == 0 {
		w.began = time.Now()
	}
	w.last = append(w.last, b)
	w.known += int64(len(b))
	w.grown.Broadcast()
}

// drop takes the oldest chunk away, once those who keep up have read it.
func (w *window) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := w.known - int64(len(w.last)-1)*chunk
	behind := func() (n int) {
		for _, at := range w.near {
			if at < end {
				n++
			}
		}
		return n
	}
	if behind() > 0 {
		due := time.Until(w.began) + opening + time.Duration(end/chunk)*w.patience
		wait := max(w.patience, min(due, pause))
		tired := time.NewTimer(wait)
		defer tired.Stop()
		for waiting := true; waiting && behind() > 0; {
			w.mu.Unlock()
			select {
			case <-w.moved:
			case <-tired.C:
				waiting = false
			}
			w.mu.Lock()
		}
		for d, at := range w.near {
			if at < end {
				delete(w.near, d)
			}
		}
	}
	w.last = append(w.last[:0], w.last[1:]...)
}

// end says that no more comes: this is all, or err is why.
func (w *window) end(known int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over, w.err, w.last, w.near = true, err, nil, nil; err == nil {
		w.known = known
	}
	w.grown.Broadcast()
}

// read waits for the byte at a place and reads from there what a chunk has of it. It
// returns 0 and nil where the file can be read, but not here, and io.EOF behind its end.
func (w *window) read(ctx context.Context, d *Download, at int64, b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at >= w.known && !w.over {
		defer context.AfterFunc(ctx, func() {
			w.mu.Lock() // so that nobody is between looking at ctx and waiting
			defer w.mu.Unlock()
			w.grown.Broadcast()
		})()
	}
	for at >= w.known && !w.over && ctx.Err() == nil {
		w.grown.Wait()
	}
	first := w.known - int64(len(w.last))*chunk
	switch {
	case at < first:
		w.leave(d)
		return 0, nil
	case at < w.known:
		n := copy(b, w.last[(at-first)/chunk][(at-first)%chunk:])
		w.near[d] = at + int64(n)
		w.tell()
		return n, nil
	case !w.over:
		return 0, ctx.Err()
	case w.err != nil:
		return 0, w.err
	}
	return 0, io.EOF
}

// open notes who reads from the beginning on, before there is any.
func (w *window) open(d *Download) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == 0 && !w.over {
		w.near[d] = 0
	}
}

// close forgets a reader.
func (w *window) close(d *Download) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leave(d)
}

func (w *window) leave(d *Download) {
	delete(w.near, d)
	w.tell()
}

func (w *window) tell() {
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// size returns how many bytes can be read, and whether that is all.
func (w *window) size() (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known, w.over
}
