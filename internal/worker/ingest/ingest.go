// Package ingest is what runs in a worker: the sessions of up to eight
// cameras, and the batches that leave it.
//
//	camera -> [ingest] -> wire -> worker -> stream
//
// It owns the process: it enters the jail, reads the core's orders from
// descriptor 3, and never makes a camera wait for the core. A panic in one
// camera's session ends the process, on purpose: what a hostile camera has broken is
// not repaired but replaced. Its last words name the stream.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"vigil/internal/media"
	"vigil/internal/socket"
	"vigil/internal/worker/jail"
	"vigil/internal/worker/wire"
)

// A Source keeps streams of cameras alive: package camera. Goroutines that it
// starts must be started from within Run or Probe: they inherit the label by
// which the core finds out whose panic it was.
type Source interface {
	// Run returns when ctx has ended and the camera was told goodbye.
	Run(ctx context.Context, spec wire.Spec, sink Sink)
	// Probe tries a stream once.
	Probe(ctx context.Context, spec wire.Spec) wire.Probed
}

// A Sink takes what a session makes of a camera. The calls of one stream come
// from one goroutine at a time and never block for long.
type Sink interface {
	// Tracks declares what the units that follow belong to. The slice is not
	// kept. Tracks out of bounds are refused: no units are taken then.
	Tracks([]media.Track)
	// Unit takes one access unit; Data is copied. newTimeline, if not "", says
	// that decode times start anew here and why; units up to the next random access
	// unit of the video are dropped then and counted as lost. lost is the number of
	// pictures known to be missing directly before this unit.
	Unit(u media.Unit, newTimeline media.Cause, lost uint32)
	// Status tells how the stream is, when that changes.
	Status(wire.Status)
}

// File descriptor of the socket to the core.
const socketFD = 3

// teardown is how long sessions may say goodbye to their cameras. The core
// kills 2 s after its order to end.
const teardown = 1500 * time.Millisecond

// Main is the worker process: it returns the exit code when the core has
// closed the socket.
func Main(src Source) int {
	report := jail.Enter(jail.Ingest, socketFD)
	// What ends the core by a signal to all ends the workers by way of the core.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	conn, err := coreSocket()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vigil ingest is started by vigil serve:", err)
		return 2
	}
	p := newProcess(conn, src)
	slog.SetDefault(slog.New(&handler{p: p}))
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: p.names.dial}
	hello := &wire.Hello{PID: os.Getpid()}
	for _, g := range report {
		hello.Jail = append(hello.Jail, wire.Guard{Name: g.Name, Holds: g.Holds, Note: wire.Clean(g.Note, 400)})
	}
	if err := p.serve(hello); err != nil {
		fmt.Fprintln(os.Stderr, "vigil ingest:", err)
		return 1
	}
	return 0
}

func coreSocket() (*net.UnixConn, error) {
	f := os.NewFile(socketFD, "core")
	if f == nil {
		return nil, errors.New("no socket")
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("descriptor 3 is another kind of socket")
	}
	return u, nil
}

// A process is the state of a worker.
type process struct {
	conn  *net.UnixConn
	src   Source
	out   *queue
	names names

	sessions sync.WaitGroup // Run and Probe calls
	ctx      context.Context
	cancel   context.CancelFunc

	mu      sync.Mutex
	streams map[uint32]*stream // guarded by mu
}

func newProcess(conn *net.UnixConn, src Source) *process {
	ctx, cancel := context.WithCancel(context.Background())
	return &process{conn: conn, src: src, out: newQueue(), ctx: ctx, cancel: cancel, streams: map[uint32]*stream{}}
}

// serve runs until the core closes the socket, then ends politely.
func (p *process) serve(hello *wire.Hello) error {
	sock, err := socket.New(p.conn)
	if err != nil {
		return err
	}
	p.send(0, hello)
	written := make(chan error, 1)
	go func() {
		err := p.out.write(sock)
		if err != nil {
			p.conn.CloseRead() // ends the orders below
		}
		written <- err
	}()
	flushed := make(chan struct{})
	go func() { p.flushOld(); close(flushed) }()

	err = p.orders(sock)
	p.cancel()
	gone := make(chan struct{})
	go func() { p.sessions.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(teardown):
	}
	<-flushed
	p.out.close()
	select {
	case werr := <-written:
		if err == nil && werr != nil && !errors.Is(werr, syscall.EPIPE) && !errors.Is(werr, syscall.ECONNRESET) {
			err = fmt.Errorf("write to the core: %w", werr)
		}
	case <-time.After(teardown / 3):
	}
	p.conn.Close()
	return err
}

// orders reads the core's frames until the end of the connection.
func (p *process) orders(sock *socket.Conn) error {
	r := wire.NewReader(sock, false)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = p.order(r, h)
		}
		if err != nil {
			return fmt.Errorf("read from the core: %w", err)
		}
	}
}

func (p *process) order(r *wire.Reader, h wire.Header) error {
	switch h.Type {
	case wire.TypePing:
		var m wire.Ping
		if err := r.Message(&m); err != nil {
			return err
		}
		frame, err := wire.Append(nil, 0, &wire.Pong{Seq: m.Seq})
		p.out.urgent(frame)
		return err
	case wire.TypeNames:
		var m wire.Names
		if err := r.Message(&m); err != nil {
			return err
		}
		p.names.set(m.Servers)
		return nil
	case wire.TypeStart:
		var m wire.Start
		if err := r.Message(&m); err != nil {
			return err
		}
		m.ID = h.Stream
		return p.start(m.Spec)
	case wire.TypeProbe:
		var m wire.Probe
		if err := r.Message(&m); err != nil {
			return err
		}
		m.ID = h.Stream
		p.probe(m.Spec)
		return nil
	case wire.TypeStop:
		if err := r.Message(&wire.Stop{}); err != nil {
			return err
		}
		p.mu.Lock()
		s := p.streams[h.Stream]
		p.mu.Unlock()
		if s == nil {
			return fmt.Errorf("stop of stream number %d, which does not run", h.Stream)
		}
		s.cancel()
		return nil
	}
	return fmt.Errorf("%v is no order", h.Type)
}

func (p *process) start(spec wire.Spec) error {
	ctx, cancel := context.WithCancel(p.ctx)
	s := &stream{id: spec.ID, out: p.out, cancel: cancel, skipping: true}
	p.mu.Lock()
	_, taken := p.streams[s.id]
	if !taken {
		p.streams[s.id] = s
	}
	p.mu.Unlock()
	if taken {
		cancel()
		return fmt.Errorf("start of stream number %d, which runs", s.id)
	}
	p.guard(spec.ID, func() {
		for {
			p.src.Run(ctx, spec, s)
			select {
			case <-ctx.Done():
				s.end()
				p.mu.Lock()
				delete(p.streams, s.id)
				p.mu.Unlock()
				return
			case <-time.After(time.Second):
				slog.Error("session ended by itself", "stream", spec.Stream)
			}
		}
	})
	return nil
}

// probeTime bounds a probe: connecting, describing, and some pictures.
const probeTime = 20 * time.Second

func (p *process) probe(spec wire.Spec) {
	p.guard(spec.ID, func() {
		ctx, cancel := context.WithTimeout(p.ctx, probeTime)
		defer cancel()
		found := p.src.Probe(ctx, spec)
		found.Notes = found.Notes[:min(len(found.Notes), wire.MaxNotes)]
		frame, err := wire.Append(nil, spec.ID, &found)
		if err != nil {
			slog.Error("probe found what cannot be told", "error", err)
			frame, _ = wire.Append(nil, spec.ID, &wire.Probed{Fault: &wire.Note{Code: "probe-failed"}})
		}
		p.out.put(item{frame: frame})
	})
}

// guard runs f on a goroutine of its own whose panic, and those of all that
// it starts, can be traced back to the stream.
func (p *process) guard(id uint32, f func()) {
	p.sessions.Go(func() {
		defer func() {
			if reason := recover(); reason != nil {
				p.lastWords(id, reason, debug.Stack())
				panic(reason) // the runtime says it again, on standard error
			}
		}()
		pprof.Do(p.ctx, pprof.Labels("stream", strconv.FormatUint(uint64(id), 10)), func(context.Context) { f() })
	})
}

// lastWords tells the core who panicked, and hands over what the other
// cameras have in hand: a fall should cost them no more than the restart.
func (p *process) lastWords(id uint32, reason any, stack []byte) {
	m := &wire.Fell{Reason: wire.Clean(fmt.Sprint(reason), 512)}
	for line := range strings.Lines(string(stack)) {
		if len(m.Stack) < 64 {
			m.Stack = append(m.Stack, wire.Clean(strings.TrimSpace(line), 256))
		}
	}
	frame, err := wire.Append(nil, id, m)
	if err == nil {
		p.out.urgent(frame)
	}
	if p.mu.TryLock() { // the one who panicked may hold a lock
		for _, s := range p.streams {
			if s.id != id && s.mu.TryLock() {
				s.flush()
				s.mu.Unlock()
			}
		}
		p.mu.Unlock()
	}
	p.out.drain(500 * time.Millisecond)
}

// send queues a control message that keeps the bounds by construction.
func (p *process) send(stream uint32, m wire.Message) {
	frame, err := wire.Append(nil, stream, m)
	if err != nil {
		panic(err)
	}
	p.out.put(item{frame: frame})
}

// Batches go out together: four times a second for the process and not for
// each camera, at the same times in all workers, so that the core too wakes up
// seldom. The times are a little after those at which sessions are read.
const (
	maxAge     = 250 * time.Millisecond
	afterReads = 15 * time.Millisecond
)

// untilFlush is how long from now on the next hand-over is.
func untilFlush(now time.Time) time.Duration {
	return maxAge - time.Duration(now.UnixNano()-int64(afterReads))%maxAge
}

// flushOld hands over what there is, of all streams in one go.
func (p *process) flushOld() {
	timer := time.NewTimer(untilFlush(time.Now()))
	defer timer.Stop()
	var streams []*stream
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-timer.C:
			p.mu.Lock()
			streams = streams[:0]
			for _, s := range p.streams {
				streams = append(streams, s)
			}
			p.mu.Unlock()
			for _, s := range streams {
				s.handOver()
			}
			clear(streams)
			timer.Reset(untilFlush(time.Now()))
		}
	}
}
