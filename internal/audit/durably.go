package audit

import (
	"context"
	"errors"
	"time"
)

// A turn is one writing of the queue that callers wait for.
type turn struct {
	done chan struct{} // closed when it is over
	err  error         // of it; read after done
}

// Sync returns when a record is durable, which it sees to at once: many who
// wait share one writing. It returns the error of the disk, or of ctx; the record stays queued then.
func (l *Log) Sync(ctx context.Context, seq uint64) error {
	for {
		l.mu.Lock()
		if l.written >= seq {
			l.mu.Unlock()
			return nil
		}
		t := l.next
		if t == nil {
			t = &turn{done: make(chan struct{})}
			l.next = t
			go l.take(t)
		}
		l.mu.Unlock()
		select {
		case <-t.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if t.err != nil {
			return t.err
		}
	}
}

// take is one turn. Who comes once it writes waits for the next one: it may
// have looked at the queue already.
func (l *Log) take(t *turn) {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	l.next = nil
	ended := l.closed
	l.mu.Unlock()
	if t.err = l.flush(); t.err == nil && ended {
		t.err = ErrClosed // Close has written all there was
	}
	close(t.done)
}

// Durably is the log for what people do: Record returns when the record is
// durable, so that no answer is sent of which a crash leaves no trace. Cameras never wait
// for it.
//
// A disk that refuses or hangs is no reason to keep the administrator out who would mend
// it: the record then stays queued, and the alert audit-failing is on the board.
type Durably struct {
	*Log
	Patience time.Duration // 3 s when zero
}

// Record is Log.Record and Sync.
//
//vigil:clause 5.2.7.1
func (d Durably) Record(r Record) (seq uint64, err error) {
	if seq, err = d.Log.Record(r); err != nil {
		return seq, err
	}
	patience := d.Patience
	if patience == 0 {
		patience = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Sync(ctx, seq); errors.Is(err, context.DeadlineExceeded) {
		d.hanging()
	}
	return seq, nil
}

// Note is Log.Record: for what is too frequent to wait for, such as looking
// at footage. A crash may lose the last second of it.
func (d Durably) Note(r Record) (seq uint64, err error) { return d.Log.Record(r) }

// hanging tells that the disk does not answer. The end of the writing under
// way takes it back.
func (l *Log) hanging() { l.trouble(errHanging) }

var errHanging = errors.New("the disk does not answer")
