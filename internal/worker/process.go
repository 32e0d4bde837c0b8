package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"vigil/internal/media"
	"vigil/internal/socket"
	"vigil/internal/worker/wire"
)

// A process is one worker process, from start to burial. Its reader runs on a
// goroutine of its own; the other methods belong to who started it, except
// where they say otherwise.
type process struct {
	*child
	pid     int
	since   time.Time
	jail    []wire.Guard
	log     *slog.Logger
	changed func()     // a stream has ended
	broken  chan error // why the process is of no more use; one value
	exited  chan string
	words   *words        // its standard error
	pong    atomic.Uint64 // number of the last answer
	asked   atomic.Uint64 // number of the last ping
	culprit atomic.Uint32 // stream number that its last words named
	probed  chan wire.Probed

	mu     sync.Mutex
	inlets map[uint32]*inlet // guarded by mu
	reaped bool              // its number may be another's by now; guarded by mu
}

// start starts a process and waits for its hello.
func (p *Pool) start(ctx context.Context, number int) (*process, error) {
	c, err := p.spawn()
	if err != nil {
		return nil, err
	}
	pr := &process{
		child: c, pid: c.proc.Pid, since: time.Now(), log: p.o.Log.With("worker", number, "pid", c.proc.Pid),
		changed: func() {}, broken: make(chan error, 1), exited: make(chan string, 1), probed: make(chan wire.Probed, 1),
		inlets: map[uint32]*inlet{},
	}
	pr.words = listen(c.stderr, pr.log, slog.LevelWarn)
	go pr.await()
	hello := make(chan error, 1)
	go pr.read(hello)
	late := time.NewTimer(p.o.time.hello)
	defer late.Stop()
	select {
	case err = <-hello:
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
		err = fmt.Errorf("%w within %v", errHelloLate, p.o.time.hello)
	}
	if err != nil {
		pr.kill()
		end := pr.buried()
		return nil, fmt.Errorf("start worker %d: %w (%s)", number, err, end)
	}
	return pr, nil
}

// await takes the exit status, and what the process may have left behind.
func (pr *process) await() {
	for {
		err := unix.Waitid(unix.P_PID, pr.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	syscall.Kill(-pr.pid, syscall.SIGKILL) // not reaped yet, so the number is still that of its group
	st, err := pr.proc.Wait()
	pr.reaped = true
	if err != nil {
		pr.exited <- err.Error()
		return
	}
	how := st.String()
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGSYS {
		how = "killed by seccomp for a system call that no worker makes"
	}
	pr.exited <- how
}

// kill ends the process and all of its group at once.
func (pr *process) kill() {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if !pr.reaped {
		syscall.Kill(-pr.pid, syscall.SIGKILL)
	}
}

// end orders the process to end, and kills it if it takes longer than d.
func (pr *process) end(d time.Duration) {
	pr.conn.CloseWrite()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-pr.broken: // the reader has seen the end: all is handed over
		select {
		case how := <-pr.exited:
			pr.exited <- how
			return
		case <-timer.C:
		}
	case <-timer.C:
	}
	pr.kill()
}

// buried waits for the end of a process that ends or was killed, and of its
// reader, and returns how it ended. The last batches are published by then.
func (pr *process) buried() string {
	how := <-pr.exited
	if last := pr.words.wait(time.Second); last != 0 {
		pr.culprit.CompareAndSwap(0, last)
	}
	_ = pr.conn.SetReadDeadline(time.Now().Add(time.Second)) // what it wrote lies in the socket; who else could hold it open?
	<-pr.words.reader
	pr.conn.Close()
	return how
}

// send writes a frame to the worker. A worker reads its orders at once: one
// that does not within a second hangs.
func (pr *process) send(number uint32, m wire.Message) error {
	frame, err := wire.Append(nil, number, m)
	if err != nil {
		return fmt.Errorf("order %v: %w", m.Kind(), err)
	}
	_ = pr.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if _, err := pr.conn.Write(frame); err != nil {
		return fmt.Errorf("order %v: %w", m.Kind(), err)
	}
	return nil
}

func (pr *process) ping(seq uint64) error {
	pr.asked.Store(seq)
	return pr.send(0, &wire.Ping{Seq: seq})
}

// add makes a stream known before its start is sent.
func (pr *process) add(in *inlet) {
	in.own()
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.inlets[in.spec.ID] = in
}

func (pr *process) inlet(number uint32) *inlet {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.inlets[number]
}

// has tells whether a session of the stream runs or has not ended yet.
func (pr *process) has(id media.StreamID) bool {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	for _, in := range pr.inlets {
		if in.spec.Stream == id && !in.forgotten {
			return true
		}
	}
	return false
}

// surplus returns what must be told to end. It gives up what was told long
// ago, so that the stream's place is free; what comes from there is ignored.
func (pr *process) surplus(wanted map[media.StreamID]wire.Spec, patience time.Duration) (stop []*inlet) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	for _, in := range pr.inlets {
		spec, ok := wanted[in.spec.Stream]
		switch {
		case in.forgotten:
		case !in.stopped.IsZero():
			if time.Since(in.stopped) >= patience {
				pr.log.Error("session does not end", "stream", in.spec.Stream)
				in.ended()
				in.forgotten = true
			}
		case !ok || !spec.Equal(&in.spec):
			in.stopped = time.Now()
			stop = append(stop, in)
		default:
			in.own() // again, if the operator removed it and thought better of it
		}
	}
	return stop
}

// release takes the streams from a fallen process.
func (pr *process) release() {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	for _, in := range pr.inlets {
		in.fell()
	}
}

// read takes the worker's frames until the end; it is the process's reader.
func (pr *process) read(hello chan<- error) {
	defer close(pr.words.reader)
	sock, err := socket.New(pr.conn)
	if err != nil {
		hello <- err
		return
	}
	r := wire.NewReader(sock, true)
	err = pr.hello(r)
	hello <- err
	if err != nil {
		return
	}
	var (
		clock  clock
		limits = limits{rate.NewLimiter(controlRate, controlBurst), rate.NewLimiter(logRate, logBurst)}
	)
	for err == nil {
		var h wire.Header
		if h, err = r.Next(); err != nil {
			break
		}
		if err = pr.frame(r, h, &clock, limits); err != nil {
			err = pr.violation(h, err)
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("ended")
	}
	pr.broken <- err
}

func (pr *process) violation(h wire.Header, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return err // cut off in the middle, by its death; reset, if orders lay unread
	}
	v := &Violation{Err: err}
	if in := pr.inlet(h.Stream); in != nil {
		v.Stream, v.number = in.spec.Stream, h.Stream
	}
	return v
}

func (pr *process) hello(r *wire.Reader) error {
	h, err := r.Next()
	if err != nil {
		return err
	}
	var m wire.Hello
	if err := r.Message(&m); err != nil {
		return fmt.Errorf("%w: %v", err, h.Type)
	}
	if m.PID != pr.pid {
		pr.log.Info("worker counts processes otherwise", "says", m.PID) // a pid namespace
	}
	pr.jail = m.Jail
	return nil
}

// limits are those of all streams of a process together.
type limits struct{ control, log *rate.Limiter }

// frame takes one frame; every error is a violation.
func (pr *process) frame(r *wire.Reader, h wire.Header, c *clock, l limits) error {
	now := time.Now()
	var in *inlet
	if h.Stream != 0 && h.Type != wire.TypeProbed && h.Type != wire.TypeFell {
		if in = pr.inlet(h.Stream); in == nil {
			return fmt.Errorf("%w: %d", ErrStranger, h.Stream)
		}
	}
	if h.Type == wire.TypeLog && !l.log.AllowN(now, 1) || h.Type != wire.TypeLog && h.Type != wire.TypeBatch && !l.control.AllowN(now, 1) {
		return fmt.Errorf("%w: too many %v frames a second", ErrFlood, h.Type)
	}
	switch h.Type {
	case wire.TypeBatch:
		b, err := r.Batch()
		if err != nil {
			return err
		}
		return in.publish(b, now, c)
	case wire.TypeTracks:
		var m wire.Tracks
		if err := r.Message(&m); err != nil {
			return err
		}
		return in.declare(m.List)
	case wire.TypeStatus:
		var m wire.Status
		if err := r.Message(&m); err != nil {
			return err
		}
		return pr.status(in, m)
	case wire.TypePong:
		var m wire.Pong
		if err := r.Message(&m); err != nil {
			return err
		}
		if m.Seq <= pr.pong.Load() || m.Seq > pr.asked.Load() {
			return fmt.Errorf("%w: pong %d", ErrUndue, m.Seq)
		}
		pr.pong.Store(m.Seq)
		return nil
	case wire.TypeLog:
		var m wire.Log
		if err := r.Message(&m); err != nil {
			return err
		}
		pr.say(m)
		return nil
	case wire.TypeFell:
		var m wire.Fell
		if err := r.Message(&m); err != nil {
			return err
		}
		pr.culprit.CompareAndSwap(0, h.Stream)
		pr.log.Error("session panicked", "number", h.Stream, "reason", m.Reason, "stack", m.Stack)
		return nil
	case wire.TypeProbed:
		var m wire.Probed
		if err := r.Message(&m); err != nil {
			return err
		}
		select {
		case pr.probed <- m:
			return nil
		default:
			return fmt.Errorf("%w: %v", ErrUndue, h.Type)
		}
	}
	return fmt.Errorf("%w: %v", ErrUndue, h.Type) // a second hello
}

func (pr *process) status(in *inlet, m wire.Status) error {
	if m.State != wire.Ended {
		in.status(m)
		return nil
	}
	pr.mu.Lock()
	due := !in.stopped.IsZero()
	if due {
		delete(pr.inlets, in.spec.ID)
	}
	pr.mu.Unlock()
	if !due {
		return fmt.Errorf("%w: the end of a stream that shall run", ErrUndue)
	}
	in.ended()
	pr.changed()
	return nil
}

func (pr *process) say(m wire.Log) {
	attrs := make([]slog.Attr, 0, len(m.Attrs))
	for _, a := range m.Attrs {
		attrs = append(attrs, slog.String(a.Key, a.Value))
	}
	pr.log.LogAttrs(context.Background(), slog.Level(m.Level), "worker says", slog.String("message", m.Message), slog.Attr{Key: "of", Value: slog.GroupValue(attrs...)})
}
