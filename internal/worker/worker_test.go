package worker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// A bench is a pool with fake cameras, and what it has told so far.
type bench struct {
	t    *testing.T
	pool *Pool
	stop context.CancelFunc
	done chan error
	log  *lockedWriter

	mu     sync.Mutex
	cond   *sync.Cond
	sinks  map[media.StreamID]*sink
	falls  []Fall
	status map[media.StreamID][]wire.State
	jails  [][]wire.Guard
}

// A sink notes what it got.
type sink struct {
	b       *bench
	batches int
	causes  []media.Cause // of new timelines
	downs   []media.Cause
	last    media.Ticks
}

func (s *sink) Publish(b *media.Batch) error {
	err := fmp4.Frame(b)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.batches++
	if b.New != "" {
		s.causes = append(s.causes, b.New)
	}
	s.last = b.Units[0].DTS
	if len(b.Tracks.Init) == 0 || len(b.Fragment) == 0 || b.Check() != nil {
		s.b.t.Errorf("a batch of %d bytes fragment, %d bytes init, check: %v", len(b.Fragment), len(b.Tracks.Init), b.Check())
	}
	b.Release()
	s.b.cond.Broadcast()
	return err
}

func (s *sink) Down(why media.Cause) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.downs = append(s.downs, why)
	s.b.cond.Broadcast()
}

func (b *bench) Status(_ media.CameraID, id media.StreamID, st wire.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status[id] = append(b.status[id], st.State)
	b.cond.Broadcast()
}

func (b *bench) Felled(f Fall) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.falls = append(b.falls, f)
	b.cond.Broadcast()
}

func (b *bench) Jail(_ int, report []wire.Guard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jails = append(b.jails, report)
	b.cond.Broadcast()
}

func newBench(t *testing.T, turn func(*Options)) *bench {
	b := &bench{t: t, sinks: map[media.StreamID]*sink{}, status: map[media.StreamID][]wire.State{}, done: make(chan error, 1), log: new(lockedWriter)}
	b.cond = sync.NewCond(&b.mu)
	o := Options{Events: b, Log: slog.New(slog.NewTextHandler(b.log, nil)), time: standard}
	o.time.ping, o.time.unheard = 200*time.Millisecond, 20
	o.time.restart = 20 * time.Millisecond
	o.Sink = func(id media.StreamID) Sink {
		s := &sink{b: b}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sinks[id] = s
		return s
	}
	if turn != nil {
		turn(&o)
	}
	b.pool = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	b.stop = cancel
	go func() { b.done <- b.pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if b.done != nil {
			<-b.done
		}
		if t.Failed() {
			t.Logf("log:\n%s", b.log.String())
		}
	})
	return b
}

// lockedWriter is one for several loggers.
type lockedWriter struct {
	mu sync.Mutex
	w  bytes.Buffer
}

func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (b *bench) set(cams ...[]wire.Spec) {
	b.t.Helper()
	var all []wire.Spec
	for _, c := range cams {
		all = append(all, c...)
	}
	if err := b.pool.Set(all); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for ok, which is called with b.mu held. The bound is not what
// is tested, only against waiting forever.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	late := false
	timer := time.AfterFunc(30*time.Second, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		late = true
		b.cond.Broadcast()
	})
	defer timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !ok() {
		if late {
			b.t.Fatalf("never: %s; falls %v", what, b.falls)
		}
		b.cond.Wait()
	}
}

func (b *bench) sink(c []wire.Spec) *sink {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sinks[c[0].Stream]
}

// more waits for n further batches of a camera.
func (b *bench) more(c []wire.Spec, n int) {
	b.t.Helper()
	s := b.sink(c)
	b.mu.Lock()
	want := s.batches + n
	b.mu.Unlock()
	b.until(fmt.Sprintf("%d more batches of camera %d", n, c[0].Camera[0]), func() bool { return s.batches >= want })
}

func (b *bench) worker(c []wire.Spec) (w Worker) {
	for _, w := range b.pool.Workers() {
		for _, id := range w.Cameras {
			if id == c[0].Camera {
				return w
			}
		}
	}
	return w
}

func TestRecording(t *testing.T) {
	b := newBench(t, nil)
	cams := [][]wire.Spec{second(cam(1, "steady")), cam(2, "steady"), cam(3, "steady")}
	b.set(cams...)
	for _, c := range cams {
		b.more(c, 5)
	}
	if ws := b.pool.Workers(); len(ws) != 1 || len(ws[0].Cameras) != 3 || ws[0].PID == 0 {
		t.Errorf("workers: %+v", ws)
	}
	b.mu.Lock()
	if len(b.jails) != 1 || len(b.jails[0]) != 9 {
		t.Errorf("jail reports: %v", b.jails)
	}
	for _, g := range b.jails[0] {
		if !g.Holds {
			t.Errorf("%s does not hold: %s", g.Name, g.Note)
		}
	}
	if s := b.sinks[cams[0][0].Stream]; len(s.causes) != 1 || s.causes[0] != media.CameraStart {
		t.Errorf("causes %v", s.causes)
	}
	if st := b.status[cams[0][1].Stream]; len(st) != 2 || st[1] != wire.Live {
		t.Errorf("status %v", st)
	}
	b.mu.Unlock()

	// A change of one camera does not touch the others.
	pid := b.worker(cams[1]).PID
	other := cam(2, "steady2")
	b.set(cams[0], other)
	s := b.sink(other)
	b.until("a new session of camera 2", func() bool { return len(s.causes) == 2 })
	b.until("the end of camera 3", func() bool { d := b.sinks[cams[2][0].Stream].downs; return len(d) == 1 && d[0] == media.Stopped })
	b.more(cams[0], 3)
	if b.worker(other).PID != pid {
		t.Error("the worker was restarted")
	}
	b.mu.Lock()
	if s := b.sinks[cams[0][0].Stream]; len(s.causes) != 1 || len(b.falls) != 0 {
		t.Errorf("causes %v, falls %v", s.causes, b.falls)
	}
	b.mu.Unlock()

	// Removed and wanted again before anybody looked.
	b.set(cams[0])
	b.set(cams[0], other)
	b.more(other, 3)

	b.set()
	b.until("no streams", func() bool { return len(b.sinks[cams[0][0].Stream].downs) > 0 })
	for len(b.pool.Workers()) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if !isDead(pid) {
		t.Error("a worker without cameras lives on")
	}
}

// TestKilled kills a worker from outside: all its cameras are back, and say
// why there is a gap. It is the promise of DESIGN section 2.
func TestKilled(t *testing.T) {
	b := newBench(t, nil)
	a, c := cam(1, "steady"), cam(2, "steady")
	b.set(a, c)
	b.more(a, 2)
	b.more(c, 2)
	pid := b.worker(a).PID
	syscall.Kill(pid, syscall.SIGKILL)
	for _, x := range [][]wire.Spec{a, c} {
		s := b.sink(x)
		b.until("a batch after the gap", func() bool {
			return len(s.causes) == 2 && s.causes[1] == media.WorkerLost && len(s.downs) == 1 && s.downs[0] == media.WorkerLost
		})
		b.more(x, 2)
	}
	if now := b.worker(a).PID; now == pid || !isDead(pid) {
		t.Errorf("process %d, then %d", pid, now)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.falls) != 1 || !b.falls[0].Culprit.IsZero() || len(b.falls[0].Cameras) != 2 {
		t.Errorf("falls: %+v", b.falls)
	}
}

// TestCutOff: a worker that dies in the middle of a batch has broken no promise, whether it had read its orders or not.
func TestCutOff(t *testing.T) {
	for _, unread := range []bool{false, true} {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fds[0]), "worker")
		fc, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conn := fc.(*net.UnixConn)
		defer conn.Close()
		pr := &process{child: &child{conn: conn}, pid: 1, log: slog.New(slog.DiscardHandler), broken: make(chan error, 1),
			words: &words{reader: make(chan struct{})}, inlets: map[uint32]*inlet{}}
		spec := cam(1, "steady")[0]
		spec.ID = 1
		pr.inlets[1] = newInlet(spec, &stream{})
		if unread {
			if err := pr.ping(1); err != nil {
				t.Fatal(err)
			}
		}
		b, err := wire.Append(nil, 0, &wire.Hello{PID: 1})
		if err != nil {
			t.Fatal(err)
		}
		b = wire.AppendBatch(b, 1, wire.BatchHead{Units: 1, Payload: 1})
		if _, err := syscall.Write(fds[1], b); err != nil {
			t.Fatal(err)
		}
		syscall.Close(fds[1])
		hello := make(chan error, 1)
		pr.read(hello)
		if err := <-hello; err != nil {
			t.Fatal(err)
		}
		var v *Violation
		if err := <-pr.broken; err == nil || errors.As(err, &v) {
			t.Errorf("orders unread %v: %v", unread, err)
		}
	}
}

// TestCulprits has what one camera may bring its worker to do. The worker
// ends, the core says who it was, and after the second time the camera is
// alone while the other one records on.
func TestCulprits(t *testing.T) {
	tests := []struct {
		how string
		err error  // in the reason
		say string // in the reason
	}{
		{"panic", nil, "exit status 2"},
		{"panic-child", nil, "exit status 2"},
		{"stranger", ErrStranger, ""},
		{"backwards", ErrBatch, "after"},
		{"future", ErrTime, ""},
		{"undeclared", ErrBatch, "unknown track"},
		{"inside", ErrBatch, "random access inside"},
		{"flood", ErrFlood, ""},
		{"log-flood", ErrFlood, ""},
		{"garbage", wire.ErrFrame, "magic"},
		{"hello", ErrUndue, "hello"},
		{"pong", ErrUndue, "pong"},
		{"probed", ErrUndue, "probed"},
		{"ended", ErrUndue, "end of a stream"},
		{"huge", wire.ErrFrame, "bytes"},
		{"exec", nil, "seccomp"},
		{"exit", nil, "exit status 3"},
		{"hang", nil, "hangs"},
	}
	// Of these nothing tells which stream it was.
	unexplained := map[string]bool{"stranger": true, "log-flood": true, "garbage": true, "hello": true, "pong": true, "huge": true, "exec": true, "exit": true, "hang": true}
	for _, test := range tests {
		t.Run(test.how, func(t *testing.T) {
			b := newBench(t, func(o *Options) {
				if test.how == "hang" {
					o.time.ping, o.time.unheard = 50*time.Millisecond, 10
				}
			})
			good, bad := cam(1, "steady"), cam(2, test.how)
			b.set(good, bad)
			b.until("alone", func() bool {
				return len(b.falls) >= 2 && b.falls[len(b.falls)-1].Alone
			})
			b.more(good, 3)
			g, x := b.worker(good), b.worker(bad)
			if g.Number == x.Number || len(g.Cameras) != 1 || len(x.Cameras) != 1 {
				t.Errorf("not parted: %+v and %+v", g, x)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			f := b.falls[0]
			if !errors.Is(f.Reason, test.err) && test.err != nil || !strings.Contains(f.Reason.Error(), test.say) {
				t.Errorf("reason: %v", f.Reason)
			}
			if unknown := f.Culprit.IsZero(); unknown != unexplained[test.how] {
				t.Errorf("culprit of the first fall: %v", f.Culprit)
			}
			for _, f := range b.falls {
				if f.Culprit == good[0].Camera {
					t.Errorf("the wrong one is blamed: %+v", f)
				}
			}
			if s := b.sinks[good[0].Stream]; len(s.causes) < 2 || s.causes[1] != media.WorkerLost {
				t.Errorf("causes of the other one: %v", s.causes)
			}
			if strings.Contains(b.log.String(), "hunter2") {
				t.Error("the password is in the log")
			}
		})
	}
}

// TestBisect has eight cameras, of which one ends the process without a word.
func TestBisect(t *testing.T) {
	b := newBench(t, nil)
	var cams [][]wire.Spec
	for n := range byte(8) {
		cams = append(cams, cam(n+1, map[bool]string{true: "exit", false: "steady"}[n == 5]))
	}
	b.set(cams...)
	bad := cams[5]
	b.until("alone", func() bool { f := b.falls; return len(f) > 0 && f[len(f)-1].Alone })
	for i, c := range cams {
		if i != 5 {
			b.more(c, 2)
		}
	}
	if w := b.worker(bad); len(w.Cameras) != 1 {
		t.Errorf("with others: %+v", w)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.falls {
		if !f.Culprit.IsZero() && f.Culprit != bad[0].Camera {
			t.Errorf("the wrong one is blamed: %+v", f)
		}
	}
	if n := slices.IndexFunc(b.falls, func(f Fall) bool { return f.Alone }); n > 6 {
		t.Errorf("%d falls to find one of eight", n)
	}
}

func TestGracefulStop(t *testing.T) {
	b := newBench(t, func(o *Options) { o.time.end = 10 * time.Second })
	a := cam(1, "steady")
	b.set(a)
	b.more(a, 2)
	pid := b.worker(a).PID
	b.stop()
	if err := <-b.done; err != nil {
		t.Error(err)
	}
	b.done = nil
	if !isDead(pid) {
		t.Error("the worker lives on")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.falls) != 0 {
		t.Errorf("an ordered end is no fall: %v", b.falls)
	}
	if s := b.sinks[a[0].Stream]; len(s.downs) != 1 || s.downs[0] != media.Shutdown {
		t.Errorf("downs: %v", s.downs)
	}
}

// TestStubborn has a session that does not end: not when stopped, and not at
// the end of all.
func TestStubborn(t *testing.T) {
	b := newBench(t, func(o *Options) { o.time.stop, o.time.end = 50*time.Millisecond, 50*time.Millisecond })
	a := cam(1, "stubborn")
	b.set(a)
	b.more(a, 2)
	pid := b.worker(a).PID
	next := cam(1, "steady")
	b.set(next)
	s := b.sink(next)
	b.until("the next session", func() bool { return len(s.causes) == 2 })
	if b.worker(next).PID != pid {
		t.Error("another worker")
	}
	b.stop()
	<-b.done
	b.done = nil
	if !isDead(pid) {
		t.Error("the worker lives on")
	}
}

// TestOrphans kills a core with SIGKILL; no worker may survive it, not even
// one that is stopped and reads nothing.
func TestOrphans(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "VIGIL_TEST_CORE=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var a, b int
	if _, serr := fmt.Sscan(line, &a, &b); serr != nil {
		t.Fatal(err, serr)
	}
	if isDead(a) || isDead(b) {
		t.Fatalf("dead too early: %d %v, %d %v", a, isDead(a), b, isDead(b))
	}
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); !isDead(a) || !isDead(b); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("orphans: %d %v, %d %v", a, !isDead(a), b, !isDead(b))
		}
	}
}

func TestDoesNotStart(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Program = "/nonexistent" })
	b.set(cam(1, "steady"))
	b.until("two tries", func() bool { return len(b.falls) >= 2 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(b.falls[0].Reason, os.ErrNotExist) || !b.falls[0].Culprit.IsZero() {
		t.Errorf("%+v", b.falls[0])
	}
}

// TestNoHello starts something that is no worker.
func TestNoHello(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Program, o.Args, o.time.hello = "/bin/sleep", []string{"60"}, 100*time.Millisecond
	})
	b.set(cam(1, "steady"))
	b.until("two tries", func() bool { return len(b.falls) >= 2 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(b.falls[0].Reason, errHelloLate) {
		t.Errorf("%+v", b.falls[0])
	}
}

func TestProbe(t *testing.T) {
	b := newBench(t, nil)
	found, err := b.pool.Probe(t.Context(), cam(1, "steady")[0])
	if err != nil || len(found.Tracks) != 2 || found.Notes[0].Args["password"] != "hunter2" {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := b.pool.Probe(t.Context(), cam(1, "panic")[0]); !errors.Is(err, errProbe) {
		t.Errorf("a probe that panics: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.pool.Probe(ctx, cam(1, "silent")[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a probe that takes too long: %v", err)
	}
	if _, err := b.pool.Probe(t.Context(), wire.Spec{}); err == nil {
		t.Error("a probe of nothing")
	}
	if len(b.pool.Workers()) != 0 {
		t.Error("a probe is no worker")
	}
}

func TestSetRefuses(t *testing.T) {
	p := New(Options{Sink: func(media.StreamID) Sink { return nowhere{} }})
	bad := cam(1, "x")
	bad[0].URL = "ftp://x"
	tests := map[string][]wire.Spec{
		"a bad spec":    bad,
		"twice":         append(cam(1, "x"), cam(1, "x")...),
		"three streams": append(second(cam(1, "x")), wire.Spec{Camera: media.CameraID{1}, Stream: media.StreamID{9}, URL: "rtsp://a/", Transport: wire.TCP, Link: wire.LinkPlain}),
	}
	for name, specs := range tests {
		if err := p.Set(specs); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if len(p.Workers()) != 0 {
		t.Error("a refused set has changed something")
	}
}

// BenchmarkWorker shows what a worker of eight cameras with two streams of
// 4 Mbit/s costs; an operation is a batch. Run it with -benchtime 10s.
func BenchmarkWorker(b *testing.B) {
	var got atomic.Int64
	more := make(chan struct{}, 1)
	p := New(Options{Log: slog.New(slog.DiscardHandler), Sink: func(media.StreamID) Sink { return counter{&got, more} }})
	var specs []wire.Spec
	for n := range byte(8) {
		specs = append(specs, second(cam(n+1, "load"))...)
	}
	if err := p.Set(specs); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	for got.Load() < int64(b.N) {
		<-more
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Workers()[0].PID))
	for line := range strings.Lines(string(status)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			b.ReportMetric(kb/1024, "MiB/worker")
		}
	}
	cancel()
	<-done
}

type counter struct {
	n    *atomic.Int64
	more chan struct{}
}

func (c counter) Publish(b *media.Batch) error {
	b.Release()
	c.n.Add(1)
	select {
	case c.more <- struct{}{}:
	default:
	}
	return nil
}

func (counter) Down(media.Cause) {}
