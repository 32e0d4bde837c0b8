package rtsp

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"vigil/internal/media"
)

// A replay answers with the recorded replies of a server, one for each request
// in turn, and plays its packets after that to PLAY: over the connection, or
// from sockets of its own where the recorded SETUP said UDP.
type replay struct {
	replies []*message
	frames  []item
	sockets []*net.UDPConn // by channel
	to      []*net.UDPAddr
}

// newReplay reads a file of testdata/streams. What a recording lacks in front
// is put there.
func newReplay(t testing.TB, name, front string) *replay {
	b, err := os.ReadFile("testdata/streams/" + name + ".bin")
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(bytes.NewReader(append([]byte(front), b...)))
	for c := range 4 {
		s.channels[c] = rtpChannel + channelUse(c%2)
	}
	r := new(replay)
	for {
		it, err := s.next()
		if err != nil {
			return r
		}
		if it.msg != nil {
			r.replies = append(r.replies, it.msg)
			continue
		}
		it.frame = bytes.Clone(it.frame)
		r.frames = append(r.frames, it)
	}
}

var (
	clientPort = regexp.MustCompile(`client_port=(\d+)-(\d+)`)
	serverPort = regexp.MustCompile(`server_port=\d+-\d+`)
)

// script is for a fake.
func (r *replay) script(c *fakeConn, m *message) bool {
	if m.method == "TEARDOWN" || m.method == "GET_PARAMETER" || len(r.replies) == 0 {
		return false
	}
	reply := r.replies[0]
	r.replies = r.replies[1:]
	var b bytes.Buffer
	fmt.Fprintf(&b, "RTSP/1.0 %d %s\r\n", reply.status, reply.reason)
	for _, f := range reply.fields {
		switch {
		case f.name == "cseq":
			f.value = m.get("cseq")
		case f.name == "transport" && serverPort.MatchString(f.value):
			ports := clientPort.FindStringSubmatch(m.get("transport"))
			if ports == nil {
				c.t.Errorf("not asked for UDP: %q", m.get("transport"))
				return false
			}
			f.value = serverPort.ReplaceAllString(clientPort.ReplaceAllString(f.value, ports[0]), r.listen(c.t, ports[1:]))
		}
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	c.write(append(append(b.Bytes(), "\r\n"...), reply.body...))
	if m.method == "PLAY" && reply.status == 200 {
		go r.play(c)
	}
	return true
}

// listen opens two sockets of a track and returns their Transport parameter.
func (r *replay) listen(t testing.TB, ports []string) string {
	said := "server_port"
	for i, p := range ports {
		s, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Error(err)
			return said
		}
		t.Cleanup(func() { s.Close() })
		to, _ := net.ResolveUDPAddr("udp", "127.0.0.1:"+p)
		r.sockets, r.to = append(r.sockets, s), append(r.to, to)
		said += fmt.Sprint(string("=-"[i]), s.LocalAddr().(*net.UDPAddr).Port)
	}
	return said
}

func (r *replay) play(c *fakeConn) {
	for i, f := range r.frames {
		if int(f.channel) < len(r.sockets) {
			r.sockets[f.channel].WriteToUDP(f.frame, r.to[f.channel]) // lost, as UDP may be
			if i%8 == 7 {
				time.Sleep(time.Millisecond)
			}
		} else if len(r.sockets) == 0 && !c.write(frameOf(f.channel, f.frame)) {
			return
		}
	}
}

// TestReplay plays recorded sessions from their first reply to their last packet.
func TestReplay(t *testing.T) {
	ok := func(fields string) string { return "RTSP/1.0 200 OK\r\nCSeq: 1\r\n" + fields + "\r\n" }
	front := func(sdp string, tracks int) string {
		s := ok("Public: DESCRIBE\r\n") + ok(fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(sdp))) + sdp
		for i := range tracks { // the sound is described first
			s += ok(fmt.Sprintf("Session: 7\r\nTransport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2*(tracks-1-i), 2*(tracks-1-i)+1))
		}
		return s
	}
	bunny, err := os.ReadFile("testdata/replies/retina-bunny_describe.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, bunnySDP, _ := strings.Cut(string(bunny), "\r\n\r\n")
	for _, c := range []struct {
		name, front string
		o           Options
		transport   Transport
		width       int
		units       [2]int // at least
		login       bool
	}{
		{"vlc-udp-461", "", Options{}, UDP, 768, [2]int{3, 0}, false},
		{"gstreamer-digest-udp", "", Options{Transport: UDP}, UDP, 640, [2]int{2, 2}, true},
		{"gstreamer-digest-tcp", "", Options{}, TCP, 640, [2]int{4, 5}, true},
		{"hikvision-interleaved", front(h264SDP, 1), Options{}, TCP, 640, [2]int{20, 0}, false},
		{"bunny-interleaved", front(bunnySDP, 2) + ok("Session: 7\r\n"), Options{}, TCP, 240, [2]int{40, 20}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(t, c.name, c.front)
			f := &fake{t: t, script: r.script}
			if c.login {
				c.o.User, c.o.Password, c.o.LegacyMD5 = "admin", NewPassword("pass"), true
			}
			c.o.URL, c.o.Audio = f.start(), true
			s, err := run(t, c.o, nil, func(s *seen) bool { return s.units[0] >= c.units[0] && s.units[1] >= c.units[1] })
			if err != nil {
				t.Fatalf("%v; %+v; %q", err, s, f.requests)
			}
			if s.session.Transport != c.transport || s.lost != 0 || s.keys == 0 || len(r.replies) != 0 {
				t.Errorf("%+v", s)
			}
			if tr := s.session.Known[0]; tr != nil && (tr.Codec != media.H264 || tr.Width != c.width) {
				t.Errorf("%+v", tr)
			}
		})
	}
}
