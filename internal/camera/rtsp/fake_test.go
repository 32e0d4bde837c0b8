package rtsp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vigil/internal/camera/rtsp/depay"
)

// A fake is a scripted camera.
type fake struct {
	t      testing.TB
	sdp    string
	base   string                                // Content-Base; "" none, "URL" what was asked for
	first  func(c *fakeConn)                     // before anything is read
	script func(c *fakeConn, m *message) bool    // true: it has answered
	media  func(c *fakeConn)                     // runs after PLAY was answered, until the connection ends
	setup  func(c *fakeConn, m *message) []field // headers of a SETUP's reply; nil: as asked
	wrap   func(nc net.Conn) net.Conn            // TLS

	mu       sync.Mutex
	requests []string // "METHOD url", of all connections
	heads    []*message
	conns    int
	ln       net.Listener
}

type fakeConn struct {
	*fake
	nc   net.Conn
	wmu  sync.Mutex
	n    int // of the connection, from 1
	done chan struct{}
}

const h264SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=1\r\n"
const pcmaSDP = "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:trackID=2\r\n"

// start listens on loopback; the address has path /s.
func (f *fake) start() URL {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.ln = ln
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(nc) })
		}
	})
	f.t.Cleanup(func() { ln.Close(); all.Wait() })
	u, err := ParseURL("rtsp://" + ln.Addr().String() + "/s")
	if err != nil {
		f.t.Fatal(err)
	}
	return u
}

// pipe dials the fake without a network, for tests in a bubble of time.
func (f *fake) pipe(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	go f.serve(b)
	return a, nil
}

func (f *fake) serve(nc net.Conn) {
	if f.wrap != nil {
		nc = f.wrap(nc)
	}
	defer nc.Close()
	f.mu.Lock()
	f.conns++
	c := &fakeConn{fake: f, nc: nc, n: f.conns, done: make(chan struct{})}
	f.mu.Unlock()
	var media sync.WaitGroup
	defer media.Wait()
	defer nc.Close()
	defer close(c.done)
	if f.first != nil {
		f.first(c)
	}
	s := newScanner(nc)
	s.channels[1], s.channels[3], s.channels[5] = rtcpChannel, rtcpChannel, rtcpChannel
	for {
		it, err := s.next()
		if err != nil {
			return
		}
		m := it.msg
		if m == nil || m.method == "" {
			continue
		}
		f.mu.Lock()
		f.requests = append(f.requests, m.method+" "+m.url)
		f.heads = append(f.heads, m)
		f.mu.Unlock()
		if f.script != nil && f.script(c, m) {
			continue
		}
		switch m.method {
		case "OPTIONS", "GET_PARAMETER", "SET_PARAMETER":
			c.reply(m, 200, field{"Public", "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"})
		case "DESCRIBE":
			base := f.base
			if base == "URL" {
				base = m.url + "/"
			}
			fields := []field{{"Content-Type", "application/sdp"}}
			if base != "" {
				fields = append(fields, field{"Content-Base", base})
			}
			c.reply(m, 200, append(fields, field{"", f.sdp})...)
		case "SETUP":
			fields := []field{{"Transport", m.get("transport")}, {"Session", "1234;timeout=60"}}
			if f.setup != nil {
				fields = f.setup(c, m)
			}
			c.reply(m, 200, fields...)
		case "PLAY":
			c.reply(m, 200, field{"Session", "1234"})
			if f.media != nil {
				media.Go(func() { f.media(c) })
			}
		case "TEARDOWN":
			c.reply(m, 200)
		}
	}
}

func (c *fakeConn) write(b []byte) bool {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_, err := c.nc.Write(b)
	return err == nil
}

// reply answers; a field without a name is the body.
func (c *fakeConn) reply(m *message, status int, fields ...field) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "RTSP/1.0 %d Status\r\nCSeq: %s\r\n", status, m.get("cseq"))
	body := ""
	for _, f := range fields {
		if f.name == "" {
			body = f.value
			continue
		}
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	c.write([]byte(b.String() + "\r\n" + body))
}

// said returns the requests of a method.
func (f *fake) said(method string) (urls []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if m, url, _ := strings.Cut(r, " "); m == method {
			urls = append(urls, url)
		}
	}
	return urls
}

// film is the recorded video of a Hikvision camera: 190 packets under type 96,
// parameter sets in band.
func film(t testing.TB) (packets [][]byte) {
	b, err := os.ReadFile("testdata/streams/hikvision-interleaved.bin")
	if err != nil {
		t.Fatal(err)
	}
	s := two(bytes.NewReader(b))
	for {
		it, err := s.next()
		if err != nil {
			return packets
		}
		if it.use == rtpChannel && it.channel == 0 {
			packets = append(packets, bytes.Clone(it.frame))
		}
	}
}

// filmSSRC is the source in film.
func filmSSRC(t testing.TB) uint32 { return binary.BigEndian.Uint32(film(t)[0][8:]) }

// show sends packets as frames.
func (c *fakeConn) show(channel byte, packets ...[]byte) {
	for _, p := range packets {
		if !c.write(frameOf(channel, p)) {
			return
		}
	}
}

// A seen is a handler that keeps what came.
type seen struct {
	enough func(s *seen) bool // ends the session
	cancel context.CancelFunc

	session Session
	units   [2]int
	keys    int
	lost    uint32
	bytes   int
	reports int
	notes   []string
	stats   Stats
	tick    func(s *Stats) error
}

func (s *seen) check() {
	if s.enough != nil && s.enough(s) {
		s.cancel()
	}
}

func (s *seen) Described(d Session) { s.session = d }

func (s *seen) Unit(track int, u *depay.Unit) {
	s.units[track]++
	s.bytes += len(u.Data)
	s.lost += u.Lost
	if u.RandomAccess && track == 0 {
		s.keys++
	}
	s.check()
}

func (s *seen) Report(int, Report) { s.reports++; s.check() }

func (s *seen) Note(n Note) { s.notes = append(s.notes, n.Code+" "+n.Args["what"]); s.check() }

func (s *seen) Tick(st *Stats) error {
	s.stats = *st
	if s.tick != nil {
		return s.tick(st)
	}
	return nil
}

// units ends a session after n pictures.
func units(n int) func(*seen) bool { return func(s *seen) bool { return s.units[0] >= n } }

// run plays until enough came; its error is nil then.
func run(t testing.TB, o Options, m *Memory, enough func(*seen) bool) (*seen, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := &seen{enough: enough, cancel: cancel}
	err := Play(ctx, o, m, s)
	if errors.Is(err, context.Canceled) && t.Context().Err() == nil {
		err = nil
	}
	return s, err
}

// wantCode checks an error's code.
func wantCode(t testing.TB, err error, code string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%v, want %s", err, code)
	}
	return e
}

// TestMain teaches the scanner the requests that only a camera gets to read.
func TestMain(m *testing.M) {
	methods = append(methods, "DESC", "SETU")
	goleak.VerifyTestMain(m)
}

// loopback dials this machine, whatever the address says.
func loopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(address)
	var d net.Dialer
	return d.DialContext(ctx, network, "127.0.0.1:"+port)
}
