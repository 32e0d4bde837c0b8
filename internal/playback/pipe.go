package playback

import (
	"context"
	"io"
)

// A pipe writes on a goroutine of its own, in large pieces, so that opening
// the next and writing the last overlap. What was written last can be read from the window as well.
// finish waits for that goroutine.
type pipe struct {
	w    io.Writer
	win  *window
	now  []byte
	free chan []byte
	full chan []byte
	end  chan error
}

// newPipe starts a pipe; stop is called when w fails.
func newPipe(w io.Writer, win *window, stop context.CancelCauseFunc) *pipe {
	p := &pipe{w: w, win: win, free: make(chan []byte, chunks), full: make(chan []byte, chunks), end: make(chan error, 1)}
	for range chunks {
		p.free <- nil // made when first needed
	}
	go func() {
		var err error
		for b := range p.full {
			if err == nil {
				if _, err = w.Write(b); err != nil {
					stop(err)
				}
			}
			p.free <- b[:0] // after an error too: who writes must not hang
		}
		p.end <- err
	}()
	return p
}

func (p *pipe) write(b []byte) {
	for len(b) > 0 {
		p.room()
		n := copy(p.now[len(p.now):cap(p.now)], b)
		p.now = p.now[:len(p.now)+n]
		b = b[n:]
	}
}

func (p *pipe) zeros(n int64) {
	for n > 0 {
		m := min(n, int64(len(zeros)))
		p.write(zeros[:m])
		n -= m
	}
}

// room sees to it that now has some.
func (p *pipe) room() {
	if p.now != nil && len(p.now) < cap(p.now) {
		return
	}
	if p.now != nil {
		p.win.add(p.now)
		p.full <- p.now
	}
	if p.now = <-p.free; p.now == nil {
		p.now = make([]byte, 0, chunk)
	} else {
		p.win.drop() // it is the oldest
	}
}

// finish writes the rest and tells the first error of writing.
func (p *pipe) finish() error {
	if len(p.now) > 0 {
		p.full <- p.now
	}
	close(p.full)
	return <-p.end
}
