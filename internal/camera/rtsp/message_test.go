package rtsp

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// replies returns the recorded replies by name.
func replies(t testing.TB) map[string][]byte {
	names, err := filepath.Glob("testdata/replies/*.txt")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d replies, %v", len(names), err)
	}
	all := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(n), ".txt")] = b
	}
	return all
}

// reply scans a recorded reply as if it came from a camera.
func reply(t testing.TB, b []byte) *message {
	t.Helper()
	it, err := newScanner(bytes.NewReader(b)).next()
	if err != nil || it.msg == nil {
		t.Fatalf("%v, %v in\n%s", it.msg, err, b)
	}
	return it.msg
}

// TestReplies: every recorded reply of a real camera is understood.
func TestReplies(t *testing.T) {
	for name, b := range replies(t) {
		m := reply(t, b)
		want := 200
		if strings.HasPrefix(name, "401") || strings.Contains(name, "unauthorized") {
			want = 401
		}
		if m.status != want || m.cseq() < 1 {
			t.Errorf("%s: status %d, number %d", name, m.status, m.cseq())
		}
		if strings.Contains(name, "describe") && !strings.HasPrefix(string(m.body), "v=0") {
			t.Errorf("%s: body %.20q", name, m.body)
		}
		if strings.Contains(name, "play") || strings.Contains(name, "setup") {
			if id, timeout := parseSession(m.get("session")); id == "" || strings.ContainsAny(id, " ;") || timeout != time.Minute {
				t.Errorf("%s: session %q, %v", name, id, timeout)
			}
		}
		if strings.Contains(name, "setup") {
			if r := parseTransport(m.get("transport")); !r.tcp || r.interleaved != [2]int{0, 1} {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

func TestSessionHeader(t *testing.T) {
	for _, c := range []struct {
		value, id string
		timeout   time.Duration
	}{
		{"       708345999;timeout=60", "708345999", time.Minute},
		{"F8F8E425", "F8F8E425", time.Minute},
		{"a ; Timeout = 12", "a", 12 * time.Second},
		{"a;timeout=30s", "a", 30 * time.Second},
		{`a;timeout="20";x`, "a", 20 * time.Second},
		{"a;timeout=0", "a", time.Minute},
		{"a;timeout=-5", "a", time.Minute},
		{"a;timeout=99999999999999999999", "a", time.Minute},
		{"a;timeout=90000", "a", time.Hour},
		{"two words", "", time.Minute},
		{"1234567890, timeout=20", "1234567890", 20 * time.Second},
		{"1234567890 timeout=20;x", "1234567890", 20 * time.Second},
		{"6084719271315754061331544451080;timeout=120", "6084719271315754061331544451080", 2 * time.Minute},
		{"", "", time.Minute},
	} {
		if id, timeout := parseSession(c.value); id != c.id || timeout != c.timeout {
			t.Errorf("%q: %q, %v", c.value, id, timeout)
		}
	}
}

func TestTransportHeader(t *testing.T) {
	for _, c := range []struct {
		value string
		want  transportReply
	}{
		{"RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= d6d6627", transportReply{tcp: true, said: true, interleaved: [2]int{0, 1}, ssrc: 0xd6d6627, hasSSRC: true}},
		{`RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=4cacc3d1;mode="play"`, transportReply{tcp: true, said: true, interleaved: [2]int{4, 5}, ssrc: 0x4cacc3d1, hasSSRC: true}},
		{"RTP/AVP;unicast;client_port=1-2;server_port=51839-51840", transportReply{said: true, udp: true, interleaved: [2]int{-1, -1}, serverPort: [2]int{51839, 51840}}},
		{"RTP/AVP/UDP;unicast;server_port=9000", transportReply{said: true, udp: true, interleaved: [2]int{-1, -1}, serverPort: [2]int{9000, 9001}}},
		{"RTP/SAVP/TCP ; interleaved = 2 - 3 , RTP/AVP", transportReply{secure: true, tcp: true, said: true, interleaved: [2]int{2, 3}}},
		{"RTP/AVP/TCP;interleaved=255", transportReply{tcp: true, said: true, interleaved: [2]int{-1, -1}}},
		{"RTP/AVP;interleaved=0-1", transportReply{tcp: true, said: true, interleaved: [2]int{0, 1}}},
		{"RTP/AVP/TCP;interleaved=300-301;ssrc=xyz;server_port=70000-1", transportReply{tcp: true, said: true, interleaved: [2]int{-1, -1}}},
		{"", transportReply{interleaved: [2]int{-1, -1}}},
		{"RTP/AVP/TCP;ssrc=22345684;interleaved=0-1", transportReply{tcp: true, said: true, interleaved: [2]int{0, 1}, ssrc: 0x22345684, hasSSRC: true}},
		{"RTP/AVP/TCP;unicast;interleaved=20-21;server_port=59136-59137;ssrc=0X74250E46", transportReply{tcp: true, udp: true, said: true, interleaved: [2]int{20, 21}, serverPort: [2]int{59136, 59137}, ssrc: 0x74250e46, hasSSRC: true}},
		{`client_port=3456-3457;RTP/AVP;mode="PLAY";unicast`, transportReply{udp: true, said: true, interleaved: [2]int{-1, -1}}},
		{"unicast;interleaved=2-3", transportReply{tcp: true, interleaved: [2]int{2, 3}}},
		{"interleaved=2-3;RTP/AVP", transportReply{tcp: true, said: true, interleaved: [2]int{2, 3}}},
		{"TCP/RTP/AVP;unicast", transportReply{tcp: true, said: true, interleaved: [2]int{-1, -1}}},
		{"RTP/AVP;unicast;source=;client_port=14236;server_port=56002;ssrc=1449463210", transportReply{udp: true, said: true, interleaved: [2]int{-1, -1}, serverPort: [2]int{56002, 56003}}},
	} {
		if got := parseTransport(c.value); got != c.want {
			t.Errorf("%q:\n got %+v\nwant %+v", c.value, got, c.want)
		}
	}
}

func TestRTPInfoSSRC(t *testing.T) {
	m := reply(t, replies(t)["retina-reolink_play"])
	if s, ok := rtpInfoSSRC(m.get("rtp-info"), "trackID=2"); !ok || s != 0x9fc9fff8 {
		t.Errorf("%x, %v", s, ok)
	}
	m = reply(t, replies(t)["retina-bad_rtptime"])
	if _, ok := rtpInfoSSRC(m.get("rtp-info"), "trackID=1"); ok {
		t.Error("found what is not there")
	}
}

// TestHeads: what no standard allows and cameras write.
func TestHeads(t *testing.T) {
	for _, c := range []struct {
		head   string
		status int
		number int
	}{
		{"RTSP/1.0 200 OK\r\nCSeq: 1 \r\n\r\n", 200, 1},
		{"RTSP/1.0 200\r\nCseq:2\r\n\r\n", 200, 2},
		{"RTSP/1.0   200   OK\nCSEQ: 3\n\n", 200, 3},
		{"RTSP/1.0 200 OK\r\nno colon here\r\nX: a\r\n  CSeq: 9\r\nCSeq: 4\r\n\r\n", 200, 4},
		{"RTSP/2.0 551 Option not supported\r\n\r\n", 551, -1},
		{"RTSP/1.0 200 OK\r\nCSeq: many\r\n\r\n", 200, -1},
	} {
		m, ok := parseHead([]byte(c.head))
		if !ok || m.status != c.status || m.cseq() != c.number {
			t.Errorf("%q: %v %d, number %d", c.head, ok, m.status, m.cseq())
		}
		if end := headEnd([]byte(c.head + "rest")); end != len(c.head) {
			t.Errorf("%q ends at %d", c.head, end)
		}
	}
	for _, bad := range []string{"RTSP/1.0 OK\r\n\r\n", "RTSP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "RTSP/1.0 20000 OK\r\n\r\n", "\r\n\r\n"} {
		if m, ok := parseHead([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, m)
		}
	}
	many := "RTSP/1.0 200 OK\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n"
	if m, ok := parseHead([]byte(many)); !ok || len(m.fields) > maxFields {
		t.Errorf("%v, %d fields", ok, len(m.fields))
	}
}

// TestRequestReads: what we write, our own parser reads.
func TestRequestReads(t *testing.T) {
	b := appendRequest(nil, "SETUP", "rtsp://h/x?a=1", []field{{"CSeq", "7"}, {"Session", "ab"}})
	m, ok := parseHead(b)
	if !ok || m.method != "SETUP" || m.cseq() != 7 || m.get("session") != "ab" || headEnd(b) != len(b) {
		t.Errorf("%+v from %q", m, b)
	}
}

//vigil:clause 5.3.2.1 5.3.3.1
func FuzzMessage(f *testing.F) {
	for _, b := range replies(f) {
		f.Add(b)
	}
	f.Add([]byte("RTSP/1.0 401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\"; nonce=n, qop=auth,auth-int, algorithm=SHA256-sess\n  , stale=TRUE, Basic\nSession: 1, timeout=5\nContent-Base: 192.168.1.57:8086/\nContent-Location: rtsp://10.0.0.9:5540/s?x\n\n"))
	f.Add([]byte("RTSP/1.0 200 OK\r\nContent-Base: /a/?b\r\nContent-Location: rtsps://rtsp://::1/c\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseHead(b)
		if !ok {
			return
		}
		if m.method == "" && (m.status < 100 || m.status > 999) || len(m.fields) > maxFields {
			t.Fatalf("%+v", m)
		}
		for _, f := range m.fields {
			if strings.ContainsAny(f.name+f.value, "\r\n") {
				t.Fatalf("%q: %q could end a line of ours", f.name, f.value)
			}
		}
		if n, ok := m.bodySize(); ok && (n < 0 || n > maxBody) {
			t.Fatalf("body of %d", n)
		}
		if id, timeout := parseSession(m.get("session")); timeout <= 0 || timeout > maxTimeout || !plain(id) {
			t.Fatalf("%q %v", id, timeout)
		}
		for _, c := range challenges(&m) {
			_ = c.stale()
		}
		_, _ = choose(challenges(&m), &Options{User: "u", LegacyMD5: true, Basic: true})
		rtpInfoSSRC(m.get("rtp-info"), "trackID=1")
		for _, j := range joins(bases(m.get("content-base"), "rtsp://h/p"), m.get("content-location")) {
			if len(j) > maxURL || !plain(j) {
				t.Fatalf("%q", j)
			}
		}
	})
}

//vigil:clause 5.3.2.1 5.3.3.1
func FuzzTransport(f *testing.F) {
	for _, s := range []string{"RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= d6d6627", "RTP/AVP;unicast;client_port=1-2;server_port=3-4,RTP/AVP", ";;=;", `client_port=3456;RTP/AVP;mode="PLAY"`, "TCP/RTP/SAVPF;ssrc=0X1 ;interleaved=\"2 - 3\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		r := parseTransport(v)
		for _, c := range r.interleaved {
			if c < -1 || c > 255 {
				t.Fatalf("%+v", r)
			}
		}
		for _, p := range r.serverPort {
			if p < 0 || p > 65535 {
				t.Fatalf("%+v", r)
			}
		}
	})
}
