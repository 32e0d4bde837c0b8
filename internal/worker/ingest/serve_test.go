package ingest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// fake is a source whose cameras send what the test says.
type fake struct {
	run func(ctx context.Context, spec wire.Spec, sink Sink)
}

func (f fake) Run(ctx context.Context, spec wire.Spec, sink Sink) { f.run(ctx, spec, sink) }

func (f fake) Probe(_ context.Context, spec wire.Spec) wire.Probed {
	if spec.User == "mumbler" {
		return wire.Probed{Fault: &wire.Note{Code: "not a code"}}
	}
	return wire.Probed{Tracks: testTracks, Link: spec.Link}
}

// A core is the other end of a process, by hand.
type core struct {
	t    *testing.T
	conn *net.UnixConn
	r    *wire.Reader
	done chan error
}

func serve(t *testing.T, src Source) *core {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	c := &core{t: t, conn: ends[0], r: wire.NewReader(ends[0], true), done: make(chan error, 1)}
	go func() { c.done <- newProcess(ends[1], src).serve(&wire.Hello{PID: 1}) }()
	t.Cleanup(func() { c.conn.Close() })
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	c.want(&wire.Hello{})
	return c
}

func (c *core) send(stream uint32, m wire.Message) {
	c.t.Helper()
	b, err := wire.Append(nil, stream, m)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// want reads frames until one of m's type, into m.
func (c *core) want(m wire.Message) {
	c.t.Helper()
	for {
		h, err := c.r.Next()
		if err != nil {
			c.t.Fatalf("waiting for %v: %v", m.Kind(), err)
		}
		if h.Type == m.Kind() {
			if err := c.r.Message(m); err != nil {
				c.t.Fatal(err)
			}
			return
		}
		c.skip(h)
	}
}

func (c *core) skip(h wire.Header) {
	c.t.Helper()
	var err error
	switch h.Type {
	case wire.TypeBatch:
		_, err = c.r.Batch()
	case wire.TypeStatus:
		err = c.r.Message(&wire.Status{})
	case wire.TypeTracks:
		err = c.r.Message(&wire.Tracks{})
	case wire.TypePong:
		err = c.r.Message(&wire.Pong{})
	default:
		c.t.Fatalf("unexpected %v", h.Type)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *core) batch() *media.Batch {
	c.t.Helper()
	for {
		h, err := c.r.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Type == wire.TypeBatch {
			b, err := c.r.Batch()
			if err != nil {
				c.t.Fatal(err)
			}
			return b
		}
		c.skip(h)
	}
}

func spec() wire.Spec {
	return wire.Spec{Camera: media.CameraID{1}, Stream: media.StreamID{2}, URL: "rtsp://192.0.2.1/", Transport: wire.Auto, Link: wire.LinkPlain}
}

// steady sends 25 pictures a second, as fast as the sink takes them or in time.
func steady(ctx context.Context, _ wire.Spec, sink Sink) {
	sink.Status(wire.Status{State: wire.Connecting})
	sink.Tracks(testTracks)
	cause := media.CameraStart
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			sink.Unit(picture(n, n%25 == 0), cause, 0)
			cause = ""
		}
	}
}

func TestServe(t *testing.T) {
	c := serve(t, fake{steady})
	c.send(1, &wire.Start{Spec: spec()})
	c.send(2, &wire.Start{Spec: spec()})
	if b := c.batch(); b.New != media.CameraStart || !b.RandomAccess() {
		t.Errorf("first batch: new %q", b.New)
	}
	c.send(0, &wire.Ping{Seq: 5})
	var pong wire.Pong
	if c.want(&pong); pong.Seq != 5 {
		t.Errorf("pong %d", pong.Seq)
	}
	c.send(0, &wire.Names{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}})
	c.send(1, &wire.Stop{})
	for ended := false; !ended; {
		var st wire.Status
		c.want(&st)
		ended = st.State == wire.Ended
	}
	c.send(3, &wire.Probe{Spec: spec()})
	var found wire.Probed
	if c.want(&found); len(found.Tracks) != 2 || found.Fault != nil {
		t.Errorf("probe: %+v", found)
	}
	mumbler := spec()
	mumbler.User = "mumbler"
	c.send(4, &wire.Probe{Spec: mumbler})
	for { // a log line comes first
		h, err := c.r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Type == wire.TypeProbed {
			found = wire.Probed{}
			if err := c.r.Message(&found); err != nil || found.Fault == nil || found.Fault.Code != "probe-failed" {
				t.Errorf("probe that cannot be told: %+v, %v", found, err)
			}
			break
		}
		c.skip(h)
	}
	c.conn.CloseWrite()
	var last wire.Header
	for {
		h, err := c.r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = h
		c.skip(h)
	}
	if err := <-c.done; err != nil || last.Type != wire.TypeStatus {
		t.Errorf("end: %v, last frame %v", err, last.Type)
	}
}

// TestBadOrders shows that a worker ends rather than guess.
func TestBadOrders(t *testing.T) {
	tests := map[string]func(c *core){
		"garbage":          func(c *core) { c.conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")) },
		"frame of workers": func(c *core) { c.send(0, &wire.Pong{}) },
		"stop of nothing":  func(c *core) { c.send(9, &wire.Stop{}) },
		"start twice":      func(c *core) { c.send(1, &wire.Start{Spec: spec()}); c.send(1, &wire.Start{Spec: spec()}) },
	}
	for name, do := range tests {
		c := serve(t, fake{steady})
		do(c)
		if err := <-c.done; err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestStubbornSession ends all the same.
func TestStubbornSession(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	c := serve(t, fake{func(context.Context, wire.Spec, Sink) { <-hold }})
	c.send(1, &wire.Start{Spec: spec()})
	c.conn.CloseWrite()
	if err := <-c.done; err != nil {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	p := newProcess(nil, nil)
	log := slog.New(&handler{p: p, limit: &limit{tokens: logBurst}})
	log.Debug("not this")
	log.With("a", 1).WithGroup("g").Warn("line\nbreak", "b", "x\x00y", slog.Group("h", "c", time.Second), "password", wire.NewSecret("hunter2"))
	for range logBurst + 50 {
		log.Info("again")
	}
	frames := 0
	for _, it := range p.out.items {
		r := wire.NewReader(strings.NewReader(string(it.frame)), true)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		var m wire.Log
		if err := r.Message(&m); err != nil {
			t.Fatal(err)
		}
		if frames++; frames == 1 {
			want := []wire.Attr{{Key: "a", Value: "1"}, {Key: "g.b", Value: "x\uFFFDy"}, {Key: "g.h.c", Value: "1s"}, {Key: "g.password", Value: "secret"}}
			if m.Message != "line\uFFFDbreak" || m.Level != int(slog.LevelWarn) || len(m.Attrs) != 4 {
				t.Fatalf("%+v", m)
			}
			for i, a := range m.Attrs {
				if a != want[i] {
					t.Errorf("attribute %d: %+v, want %+v", i, a, want[i])
				}
			}
		}
	}
	if frames < logBurst || frames > logBurst+5 {
		t.Errorf("%d lines", frames)
	}
}

// TestNames shows that the servers the core names are asked in turn, whatever
// the resolver has read.
func TestNames(t *testing.T) {
	var n names
	n.set([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("127.0.0.2:53")})
	for _, want := range []string{"127.0.0.1:53", "127.0.0.2:53", "127.0.0.1:53"} {
		c, err := n.dial(t.Context(), "udp", "192.0.2.1:53")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.RemoteAddr().String(); got != want {
			t.Errorf("asks %s, want %s", got, want)
		}
		c.Close()
	}
}
