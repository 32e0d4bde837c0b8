package rtsp

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vigil/internal/media"
)

// TestPlay: the plain case, and what goes over the wire in it.
func TestPlay(t *testing.T) {
	f := &fake{t: t, sdp: h264SDP + pcmaSDP, base: "URL"}
	f.media = func(c *fakeConn) {
		c.show(0, film(t)...)
		for i := range 20 {
			c.show(2, rtpOf(8, i == 0, uint16(i), uint32(i*160), 77, make([]byte, 160)))
		}
	}
	u := f.start()
	s, err := run(t, Options{URL: u, Audio: true}, nil, func(s *seen) bool { return s.units[0] >= 20 && s.units[1] >= 20 })
	if err != nil {
		t.Fatal(err)
	}
	if s.keys == 0 || s.lost != 0 || len(s.notes) != 0 || s.session.Transport != TCP || s.session.Link != LinkPlain || len(s.session.Tracks) != 2 || s.session.Known[1] == nil {
		t.Errorf("%+v", s)
	}
	want := []string{"OPTIONS " + u.String(), "DESCRIBE " + u.String(), "SETUP " + u.String() + "/trackID=1", "SETUP " + u.String() + "/trackID=2", "PLAY " + u.String() + "/", "TEARDOWN " + u.String() + "/"}
	if !slices.Equal(f.requests, want) {
		t.Errorf("said %q", f.requests)
	}
	for i, m := range f.heads {
		if m.cseq() != i+1 || i > 2 && m.get("session") != "1234" || m.get("authorization") != "" {
			t.Errorf("%+v", m)
		}
	}
}

// TestSoundIsOptional: none of its troubles costs the video anything.
func TestSoundIsOptional(t *testing.T) {
	for why, sdp := range map[string]string{
		"refused":        h264SDP + pcmaSDP,
		"bad request":    h264SDP + pcmaSDP,
		"not understood": h264SDP + "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/8000\r\na=fmtp:97 mode=strange\r\na=control:trackID=2\r\n",
	} {
		status := 500
		if why == "bad request" {
			status = 400
		}
		f := &fake{t: t, sdp: sdp, base: "URL"}
		f.script = func(c *fakeConn, m *message) bool {
			if m.method == "SETUP" && strings.HasSuffix(m.url, "trackID=2") {
				c.reply(m, status)
				return true
			}
			if m.method == "SETUP" && !strings.HasSuffix(m.url, "s/trackID=1") { // one wrong address too many
				c.nc.Close()
			}
			return false
		}
		f.media = func(c *fakeConn) { c.show(0, film(t)...) }
		s, err := run(t, Options{URL: f.start(), Audio: true}, nil, units(10))
		if err != nil || len(s.session.Tracks) != 1 || len(s.session.Notes) == 0 {
			t.Errorf("%s: %v, %+v", why, err, s.session)
		}
	}
	f := &fake{t: t, sdp: h264SDP + pcmaSDP, base: "URL"}
	f.media = func(c *fakeConn) { c.show(0, film(t)...) }
	if s, err := run(t, Options{URL: f.start()}, nil, units(10)); err != nil || len(f.said("SETUP")) != 1 || len(s.session.Tracks) != 1 {
		t.Errorf("sound that nobody wants: %v, %v", err, f.said("SETUP"))
	}
}

// TestSoundMayCostOneTry: a camera that hangs up, says what nobody understands
// says nothing or refuses to play because of the sound is recorded without it the next time,
// and asked for it again the time after; then after three times, seven, and so on.
func TestSoundMayCostOneTry(t *testing.T) {
	for why, spoil := range map[string]func(c *fakeConn, m *message) bool{
		"hangs up": func(c *fakeConn, m *message) bool {
			sound := strings.HasSuffix(m.url, "trackID=2")
			if sound {
				c.nc.Close()
			}
			return sound
		},
		"mumbles": func(c *fakeConn, m *message) bool {
			sound := strings.HasSuffix(m.url, "trackID=2")
			if sound {
				c.write([]byte("RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"))
			}
			return sound
		},
		"says no and hangs up": func(c *fakeConn, m *message) bool {
			sound := strings.HasSuffix(m.url, "trackID=2")
			if sound {
				c.reply(m, 500)
				c.nc.Close()
			}
			return sound
		},
		"says nothing": func(c *fakeConn, m *message) bool { return strings.HasSuffix(m.url, "trackID=2") },
		"does not play": func(c *fakeConn, m *message) bool {
			both := m.method == "PLAY" && (len(c.said("SETUP")) == 2 || len(c.said("SETUP")) == 5) // of this round
			if both {
				c.reply(m, 455)
			}
			return both
		},
	} {
		t.Run(why, func(t *testing.T) {
			f := &fake{t: t, sdp: h264SDP + pcmaSDP, base: "URL", script: spoil}
			f.media = func(c *fakeConn) { c.show(0, film(t)...) }
			o, mem := Options{URL: f.start(), Audio: true}, new(Memory)
			for _, without := range []int{1, 3} {
				if _, err := run(t, o, mem, units(10)); err == nil {
					t.Error("it played with the sound")
				}
				for range without {
					s, err := run(t, o, mem, units(10))
					if err != nil || len(s.session.Tracks) != 1 || len(s.session.Notes) != 1 || s.session.Notes[0].Code != "audio-left-out" {
						t.Errorf("%v, %+v", err, s.session)
					}
				}
			}
		})
	}
}

// TestAddresses is INTEROP row 7 over the wire.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ why, base, good string }{
		{"text", "URL", "/s/trackID=1"},
		{"base without scheme", "10.0.0.9:554/other", "/s/trackID=1"},
		{"another path first, ours on 404", "rtsp://10.0.0.9/wrong/", "/s/trackID=1"},
		{"the last part replaced", "", "/trackID=1"},
	} {
		f := &fake{t: t, sdp: h264SDP, base: c.base}
		var host string
		f.script = func(fc *fakeConn, m *message) bool {
			if m.method == "SETUP" && m.url != "rtsp://"+host+c.good {
				fc.reply(m, 404)
				return true
			}
			return false
		}
		f.media = func(c *fakeConn) { c.show(0, film(t)...) }
		u := f.start()
		host = f.ln.Addr().String()
		if _, err := run(t, Options{URL: u}, nil, units(5)); err != nil {
			t.Errorf("%s: %v; %q", c.why, err, f.said("SETUP"))
		}
	}
	for why, control := range map[string]string{
		"a host behind NAT":         "rtsp://10.0.0.9:5540/s/video",
		"the session's control":     "video",
		"not understood, then fine": "/video",
	} {
		f := &fake{t: t, base: "rtsp://10.0.0.9/elsewhere"}
		var host string
		f.script = func(fc *fakeConn, m *message) bool {
			bad := m.method == "SETUP" && m.url != "rtsp://"+host+"/s/video" || m.method == "PLAY" && m.url != "rtsp://"+host+"/s"
			if bad {
				fc.reply(m, map[string]int{"SETUP": 400, "PLAY": 460}[m.method])
			}
			return bad
		}
		f.media = func(c *fakeConn) { c.show(0, film(t)...) }
		u := f.start()
		host = f.ln.Addr().String()
		f.sdp = strings.NewReplacer("control:trackID=1", "control:"+control, "control:*", "control:"+u.String()).Replace(h264SDP)
		if _, err := run(t, Options{URL: u}, nil, units(5)); err != nil {
			t.Errorf("%s: %v; %q", why, err, f.requests)
		}
	}
	single := &fake{t: t, sdp: h264SDP, base: "URL", script: func(c *fakeConn, m *message) bool {
		bad := m.method == "PLAY" && !strings.HasSuffix(m.url, "/trackID=1")
		if bad {
			c.reply(m, 459)
		}
		return bad
	}}
	single.media = func(c *fakeConn) { c.show(0, film(t)...) }
	if _, err := run(t, Options{URL: single.start()}, nil, units(5)); err != nil {
		t.Errorf("played by the track: %v; %q", err, single.said("PLAY"))
	}
	f := &fake{t: t, sdp: h264SDP, base: "URL", script: func(c *fakeConn, m *message) bool {
		if m.method == "SETUP" {
			c.reply(m, 404)
		}
		return m.method == "SETUP"
	}}
	_, err := run(t, Options{URL: f.start()}, nil, nil)
	wantCode(t, err, NotFound)
}

// TestSessionNumbers: cameras that name the session late, twice, or never.
func TestSessionNumbers(t *testing.T) {
	for _, c := range []struct {
		why        string
		setup      []string // Session of each reply to SETUP; "" none
		play, want string   // Session of the reply to PLAY; what TEARDOWN must have
	}{
		{"late", []string{"", ""}, "77;timeout=30", "77"},
		{"never", []string{"", ""}, "", ""},
		{"a number for each track", []string{"231970;timeout=60", "231980;timeout=60"}, "231970", "231970"},
	} {
		f := &fake{t: t, sdp: h264SDP + pcmaSDP, base: "URL"}
		n := 0
		f.setup = func(fc *fakeConn, m *message) []field {
			fields := []field{{"Transport", m.get("transport")}}
			if s := c.setup[n]; s != "" {
				fields = append(fields, field{"Session", s})
			}
			n++
			return fields
		}
		f.script = func(fc *fakeConn, m *message) bool {
			if m.method != "PLAY" {
				return false
			}
			fc.reply(m, 200, field{"Session", c.play})
			go fc.show(0, film(t)...)
			return true
		}
		if _, err := run(t, Options{URL: f.start(), Audio: true}, nil, units(5)); err != nil {
			t.Errorf("%s: %v; %q", c.why, err, f.requests)
			continue
		}
		last := f.heads[len(f.heads)-1]
		if last.method != "TEARDOWN" || last.get("session") != c.want || n != 2 {
			t.Errorf("%s: %+v", c.why, last)
		}
	}
}

// TestNumbersOfReplies: cameras that cannot count.
func TestNumbersOfReplies(t *testing.T) {
	for why, number := range map[string]string{"always 0 (Foscam C1)": "0", "none": "", "a word": "x", "far ahead": "1000", "always 1": "1", "one behind": "-1"} {
		f := &fake{t: t, sdp: h264SDP, base: "URL"}
		f.script = func(c *fakeConn, m *message) bool {
			for i := range m.fields {
				if m.fields[i].name != "cseq" {
					continue
				}
				if m.fields[i].value = number; number == "-1" {
					m.fields[i].value = fmt.Sprint(m.cseq() - 1)
				}
			}
			return false
		}
		f.media = func(c *fakeConn) { c.show(0, film(t)...) }
		if _, err := run(t, Options{URL: f.start()}, nil, units(5)); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// TestTransports: replies to SETUP that say less, or more, than they should.
func TestTransports(t *testing.T) {
	for why, reply := range map[string]string{
		"as asked":                  "RTP/AVP/TCP;unicast;interleaved=0-1",
		"no word of TCP":            "RTP/AVP;unicast;interleaved=0-1",
		"nothing but the profile":   "RTP/AVP;unicast",
		"no profile":                "unicast;interleaved=0-1",
		"ports beside the channels": "RTP/AVP/TCP;unicast;interleaved=0-1;server_port=59136-59137;ssrc=74250e46",
		"profile last":              "interleaved=0-1;mode=play;RTP/AVP/TCP",
		"none":                      "",
	} {
		f := &fake{t: t, sdp: h264SDP, base: "URL"}
		f.setup = func(*fakeConn, *message) []field { return []field{{"Session", "1"}, {"Transport", reply}} }
		f.media = func(c *fakeConn) { c.show(0, film(t)...) }
		if _, err := run(t, Options{URL: f.start(), Transport: TCP}, nil, units(5)); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	f := &fake{t: t, sdp: h264SDP, base: "URL"}
	f.setup = func(*fakeConn, *message) []field {
		return []field{{"Session", "1"}, {"Transport", "RTP/AVP;unicast;client_port=1-2;server_port=40004-40005"}}
	}
	_, err := run(t, Options{URL: f.start(), Transport: TCP}, nil, nil)
	wantCode(t, err, NoTransport)

	f = &fake{t: t, sdp: strings.Replace(h264SDP, "RTP/AVP", "RTP/AVPF", 1), base: "URL"}
	f.script = func(c *fakeConn, m *message) bool {
		bad := m.method == "SETUP" && strings.Contains(m.get("transport"), "AVPF")
		if bad {
			c.reply(m, 461)
		}
		return bad
	}
	f.media = func(c *fakeConn) { c.show(0, film(t)...) }
	if s, err := run(t, Options{URL: f.start()}, nil, units(5)); err != nil || s.session.Transport != TCP {
		t.Errorf("feedback that is not meant: %v", err)
	}
}

// TestCodes: each way to fail has its own code, and a session that was begun is
// always ended (INTEROP row 18).
func TestCodes(t *testing.T) {
	at := func(method string, status int, fields ...field) func(*fakeConn, *message) bool {
		return func(c *fakeConn, m *message) bool {
			if m.method == method {
				c.reply(m, status, fields...)
			}
			return m.method == method
		}
	}
	say := func(s string) func(*fakeConn, *message) bool {
		return func(c *fakeConn, m *message) bool { c.write([]byte(s)); c.nc.Close(); return true }
	}
	for _, c := range []struct {
		why      string
		script   func(*fakeConn, *message) bool
		code     string
		teardown bool
	}{
		{"not enough bandwidth", at("SETUP", 453), SessionLimit, false},
		{"forbidden", at("DESCRIBE", 403), SessionLimit, false},
		{"server error", at("PLAY", 500), SessionLimit, true},
		{"no such stream", at("DESCRIBE", 404), NotFound, false},
		{"session forgotten", at("PLAY", 454), Gone, false},
		{"anything else", at("PLAY", 455), Status, true},
		{"no video", at("DESCRIBE", 200, field{"", "v=0\r\nm=audio 0 RTP/AVP 0\r\n"}), "no-video", false},
		{"no description", at("DESCRIBE", 200, field{"", "<html>"}), "not-sdp", false},
		{"web server", say("HTTP/1.1 400 Bad Request\r\n\r\n"), SpeaksHTTP, false},
		{"mail server", say("220 mail ready\r\n"), NotRTSP, false},
		{"hangs up", func(c *fakeConn, m *message) bool { c.nc.Close(); return true }, Lost, false},
		{"hangs up later", func(c *fakeConn, m *message) bool {
			if m.method == "PLAY" {
				c.nc.Close()
			}
			return m.method == "PLAY"
		}, Lost, false},
		{"elsewhere", at("DESCRIBE", 302, field{"Location", "rtsp://192.0.2.1/s"}), Redirect, false},
		{"no user set", at("DESCRIBE", 401, field{"WWW-Authenticate", `Digest realm="r", nonce="n"`}), AuthNeeded, false},
		{"TCP refused and forced", at("SETUP", 461), NoTransport, false},
	} {
		f := &fake{t: t, sdp: h264SDP, base: "URL", script: c.script}
		o := Options{URL: f.start(), Transport: TCP}
		_, err := run(t, o, nil, nil)
		t.Run(c.why, func(t *testing.T) {
			wantCode(t, err, c.code)
			if got := len(f.said("TEARDOWN")) == 1; got != c.teardown {
				t.Errorf("ended: %v; %q", got, f.requests)
			}
		})
	}
	first := &fake{t: t, first: func(c *fakeConn) { c.write([]byte("SSH-2.0-dropbear\r\n")) }}
	_, err := run(t, Options{URL: first.start()}, nil, nil)
	if e := wantCode(t, err, SpeaksSSH); e.Args["banner"] != "SSH-2.0-dropbear" {
		t.Error(e)
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := ParseURL("rtsp://" + ln.Addr().String() + "/")
	ln.Close()
	_, err = run(t, Options{URL: u}, nil, nil)
	wantCode(t, err, Refused)
	u, _ = ParseURL("rtsp://no-such-camera.invalid/")
	_, err = run(t, Options{URL: u}, nil, nil)
	wantCode(t, err, DNSFailed)
}

// TestSilence: connected, and nothing comes; at every step.
func TestSilence(t *testing.T) {
	for _, step := range []string{"OPTIONS", "DESCRIBE", "SETUP", "PLAY"} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{t: t, sdp: h264SDP, base: "URL", script: func(_ *fakeConn, m *message) bool { return m.method == step }}
			u, _ := ParseURL("rtsp://cam/s")
			start := time.Now()
			_, err := run(t, Options{URL: u, Dial: f.pipe}, nil, nil)
			if e := wantCode(t, err, NoAnswer); e.Args["step"] != step {
				t.Error(e)
			}
			if d := time.Since(start); d > replyTimeout+2*goodbyeTimeout {
				t.Errorf("%s: %v", step, d)
			}
		})
	}
}

// TestLogin: digests over the wire, and what cameras do around them.
func TestLogin(t *testing.T) {
	challenge := func(nonce, more string) []field {
		return []field{{"WWW-Authenticate", `Digest realm="IP Camera(C1214)", nonce="` + nonce + `"` + more}, {"WWW-Authenticate", `Basic realm="x"`}}
	}
	good := func(m *message, nonce, hash string) bool {
		p := map[string]string{}
		if all := challengesOf(m.get("authorization")); len(all) == 1 {
			p = all[0].params
		}
		i := slices.IndexFunc(digests, func(d struct {
			name string
			hash func(string) string
		}) bool {
			return d.name == hash
		})
		h := digests[i].hash
		return p["nonce"] == nonce && p["response"] == h(h("admin:IP Camera(C1214):pass")+":"+nonce+":"+h(m.method+":"+m.url))
	}
	for _, c := range []struct {
		why    string
		more   string
		hash   string
		header []field
		hangUp bool
		once   bool // nonces are good for a request
	}{
		{"no qop, two offers", `, stale="FALSE"`, "MD5", nil, false, false},
		{"SHA-256 alone", `, algorithm=SHA-256`, "SHA-256", nil, false, false},
		{"says that it closes", "", "MD5", []field{{"Connection", "close"}}, true, false},
		{"closes", "", "MD5", nil, true, false},
		{"a nonce for each request", `, stale=true`, "MD5", nil, false, true},
		{"the same without saying stale", ``, "MD5", nil, false, true},
	} {
		nonce := 0
		f := &fake{t: t, sdp: h264SDP, base: "URL"}
		f.script = func(fc *fakeConn, m *message) bool {
			if m.method == "OPTIONS" || m.method == "TEARDOWN" {
				return false
			}
			if good(m, fmt.Sprint("n", nonce), c.hash) {
				if c.once {
					nonce++
				}
				return false
			}
			fc.reply(m, 401, append(challenge(fmt.Sprint("n", nonce), c.more), c.header...)...)
			if c.hangUp {
				fc.nc.Close()
			}
			return true
		}
		f.media = func(c *fakeConn) { c.show(0, film(t)...) }
		_, err := run(t, Options{URL: f.start(), User: "admin", Password: NewPassword("pass"), LegacyMD5: true}, nil, units(5))
		if err != nil {
			t.Errorf("%s: %v; %q", c.why, err, f.requests)
		}
	}
	f := &fake{t: t, sdp: h264SDP, base: "URL"}
	tries := 0
	f.script = func(c *fakeConn, m *message) bool {
		if m.method == "DESCRIBE" {
			tries++
			c.reply(m, 401, challenge(fmt.Sprint(tries), "")...)
		}
		return m.method == "DESCRIBE"
	}
	_, err := run(t, Options{URL: f.start(), User: "admin", Password: NewPassword("wrong"), LegacyMD5: true}, nil, nil)
	wantCode(t, err, AuthFailed)
	if tries != 2 { // one without, one with: cameras lock whoever tries more
		t.Errorf("%d tries", tries)
	}
}

// TestChannels is INTEROP row 9 over the wire: packets before the reply to PLAY,
// replies amid data, channels other than those asked for, frames of channels
// nobody knows, garbage, and a dead session whose data goes on.
func TestChannels(t *testing.T) {
	packets := film(t)
	f := &fake{t: t, sdp: h264SDP, base: "URL"}
	f.setup = func(c *fakeConn, m *message) []field {
		return []field{{"Transport", fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=4-5;ssrc= %x", filmSSRC(t))}, {"Session", "   77;timeout=60"}}
	}
	f.first = func(c *fakeConn) { // the rest of a frame of a dead session, and another whole one
		c.write([]byte{1, 2, 3, 4, 5})
		c.show(0, rtpOf(96, false, 9, 9, 999, make([]byte, 50)))
	}
	f.script = func(c *fakeConn, m *message) bool {
		if m.method != "PLAY" {
			return false
		}
		c.show(4, rtpOf(96, false, 9, 9, 999, []byte{0x41, 0x9a, 1})) // a dead session on our channel
		c.show(4, packets[:20]...)
		c.reply(m, 200, field{"Session", "77"})
		for i, p := range packets[20:] {
			switch i % 5 {
			case 1:
				c.write([]byte("\x00garbage$"))
			case 2:
				c.show(9, make([]byte, 100))
			case 3:
				c.write([]byte("RTSP/1.0 200 OK\r\nCSeq: 99\r\nSession: 77\r\n\r\n"))
			case 4:
				c.show(4, rtpOf(96, false, 9, 9, 999, []byte{0x41, 0x9a, 1}))
			}
			c.show(4, p)
		}
		return true
	}
	s, err := run(t, Options{URL: f.start()}, nil, units(22))
	if err != nil || s.lost != 0 {
		t.Errorf("%v, %d lost, %+v", err, s.lost, s.stats)
	}
}

// TestForeignTypes is INTEROP row 16: packets of an undeclared type with the
// numbers of real ones, and a sequence that starts anew.
func TestForeignTypes(t *testing.T) {
	packets := film(t)
	f := &fake{t: t, sdp: h264SDP, base: "URL"}
	f.media = func(c *fakeConn) {
		for i, p := range packets {
			c.show(0, rtpOf(110, true, binary.BigEndian.Uint16(p[2:]), 1, filmSSRC(t), []byte("junk")))
			if i >= 60 { // the camera counts anew, its stamps go on
				binary.BigEndian.PutUint16(p[2:], uint16(50000+i))
			}
			c.show(0, p)
		}
	}
	s, err := run(t, Options{URL: f.start()}, nil, units(22))
	if err != nil || s.lost != 0 {
		t.Errorf("%v, %d lost", err, s.lost)
	}
}

// TestSeveralTypes: a section with several payload types is recorded under the one that the text maps
// and that comes, wherever it stands in the list.
func TestSeveralTypes(t *testing.T) {
	packets := film(t)
	for list, more := range map[string]string{
		"26 96 34": "",
		"98 96":    "a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=0\r\n",
		"96 26":    "a=rtpmap:26 JPEG/90000\r\n",
		"99 96":    "a=rtpmap:99 H263-1998/90000\r\n",
	} {
		f := &fake{t: t, sdp: strings.Replace(h264SDP, "RTP/AVP 96", "RTP/AVP "+list, 1) + more, base: "URL"}
		f.media = func(c *fakeConn) { c.show(0, packets...) }
		s, err := run(t, Options{URL: f.start()}, nil, units(20))
		if err != nil || s.lost != 0 {
			t.Errorf("%s: %v, %d lost", list, err, s.lost)
		}
	}
}

// TestNumberless: cameras that leave the numbers at 0, or count by twos. Over
// TCP nothing is lost on the way, so they are recorded all the same, once that is known.
func TestNumberless(t *testing.T) {
	for why, number := range map[string]func(n int) uint16{
		"always 0": func(int) uint16 { return 0 },
		"by twos":  func(n int) uint16 { return uint16(2 * n) },
	} {
		packets := film(t)
		f := &fake{t: t, sdp: h264SDP, base: "URL"}
		f.media = func(c *fakeConn) {
			n := 0
			for range 3 {
				for _, p := range packets {
					binary.BigEndian.PutUint16(p[2:], number(n))
					c.show(0, p)
					n++
				}
			}
		}
		s, err := run(t, Options{URL: f.start()}, nil, units(30))
		if err != nil || s.lost != 0 {
			t.Errorf("%s: %v, %d lost", why, err, s.lost)
		}
	}
}

// TestCountsAnewNearby: the numbers go back by less than late packets may be
// late, which over TCP none is.
func TestCountsAnewNearby(t *testing.T) {
	packets := film(t)
	f := &fake{t: t, sdp: h264SDP, base: "URL"}
	f.media = func(c *fakeConn) {
		for i, p := range packets {
			if i >= 60 {
				binary.BigEndian.PutUint16(p[2:], binary.BigEndian.Uint16(p[2:])-10)
			}
			c.show(0, p)
		}
	}
	s, err := run(t, Options{URL: f.start()}, nil, units(22))
	if err != nil || s.lost != 0 || s.stats.Lost != 0 {
		t.Errorf("%v, %d lost, %+v", err, s.lost, s.stats)
	}
}

// TestLoss: what is missing is counted, and the stream goes on at the next
// random access unit.
// TestNewSource: the encoder starts anew within the session, under another
// source. Its first packets hold the key picture that all of its GOP needs.
func TestNewSource(t *testing.T) {
	f := &fake{t: t, sdp: h264SDP, base: "URL", media: func(c *fakeConn) {
		for n := range uint32(3) {
			for _, p := range film(t) {
				binary.BigEndian.PutUint32(p[8:], 0x1000+n)
				binary.BigEndian.PutUint16(p[2:], binary.BigEndian.Uint16(p[2:])+uint16(9999*n))
				c.show(0, p)
			}
		}
	}}
	once := &fake{t: t, sdp: h264SDP, base: "URL", media: func(c *fakeConn) { c.show(0, film(t)...); c.nc.Close() }}
	want, _ := run(t, Options{URL: once.start()}, nil, nil)
	s, err := run(t, Options{URL: f.start()}, nil, func(s *seen) bool { return s.units[0] >= 3*want.units[0]-2 })
	if err != nil || s.keys < 3*want.keys || s.stats.Foreign != 0 {
		t.Errorf("%v: %d pictures, %d keys; one source has %d, %d; %+v", err, s.units[0], s.keys, want.units[0], want.keys, s.stats)
	}
}

func TestLoss(t *testing.T) {
	packets := film(t)
	f := &fake{t: t, sdp: h264SDP, base: "URL"}
	f.media = func(c *fakeConn) {
		c.show(0, packets[:30]...)
		c.show(0, packets[31:]...)
	}
	var stats Stats
	s := &seen{}
	s.tick = func(st *Stats) error { stats = *st; return errEnough }
	err := Play(t.Context(), Options{URL: f.start()}, nil, s)
	if err != errEnough || stats.Lost != 1 || s.lost == 0 || s.keys < 2 {
		t.Errorf("%v, %+v, %d lost, %d keys", err, stats, s.lost, s.keys)
	}
}

var errEnough = fail("enough", nil)

// TestRedirect: once, on the same host.
func TestRedirect(t *testing.T) {
	good := &fake{t: t, sdp: h264SDP, base: "URL", media: func(c *fakeConn) { c.show(0, film(t)...) }}
	u := good.start()
	old := &fake{t: t, script: func(c *fakeConn, m *message) bool {
		if m.method == "DESCRIBE" {
			c.reply(m, 301, field{"Location", u.String()})
		}
		return m.method == "DESCRIBE"
	}}
	if _, err := run(t, Options{URL: old.start()}, nil, units(5)); err != nil {
		t.Error(err)
	}
	var self URL
	loop := &fake{t: t, script: func(c *fakeConn, m *message) bool {
		if m.method == "DESCRIBE" {
			c.reply(m, 302, field{"Location", self.String()})
		}
		return m.method == "DESCRIBE"
	}}
	self = loop.start()
	_, err := run(t, Options{URL: self}, nil, nil)
	wantCode(t, err, Redirect)
}

// TestKeepAlive is INTEROP row 8, in a bubble of time.
func TestKeepAlive(t *testing.T) {
	for _, c := range []struct {
		why    string
		public string
		script func(c *fakeConn, m *message) bool
		want   string // the first methods said while playing
		code   string // how the session ends; "" by us
	}{
		{"answered", "GET_PARAMETER, PLAY", nil, "GET_PARAMETER GET_PARAMETER GET_PARAMETER", ""},
		{"never answered", "", func(_ *fakeConn, m *message) bool { return m.method == "GET_PARAMETER" }, "GET_PARAMETER GET_PARAMETER GET_PARAMETER", ""},
		{"not listed", "OPTIONS, DESCRIBE, PLAY", nil, "OPTIONS OPTIONS", ""},
		{"refused", "", func(c *fakeConn, m *message) bool {
			if m.method == "GET_PARAMETER" {
				c.reply(m, 501)
			}
			return m.method == "GET_PARAMETER"
		}, "GET_PARAMETER OPTIONS OPTIONS", ""},
		{"not for us", "", func(c *fakeConn, m *message) bool {
			if m.method == "GET_PARAMETER" {
				c.reply(m, 401, field{"WWW-Authenticate", `Digest realm="r", nonce="n"`})
			}
			return m.method == "GET_PARAMETER"
		}, "GET_PARAMETER OPTIONS OPTIONS", ""},
		{"forgotten", "", func(c *fakeConn, m *message) bool {
			if m.method == "GET_PARAMETER" {
				c.reply(m, 454)
			}
			return m.method == "GET_PARAMETER"
		}, "GET_PARAMETER", Gone},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{t: t, sdp: h264SDP, base: "URL", media: silentFilm}
			played := false
			var said []string
			f.script = func(fc *fakeConn, m *message) bool {
				if played && m.method != "TEARDOWN" {
					said = append(said, m.method)
					if m.get("session") != "1234" {
						t.Errorf("%s: %s without a session", c.why, m.method)
					}
				}
				switch {
				case m.method == "PLAY":
					played = true
				case m.method == "OPTIONS" && !played:
					fc.reply(m, 200, field{"Public", c.public})
					return true
				}
				return c.script != nil && c.script(fc, m)
			}
			f.setup = func(_ *fakeConn, m *message) []field {
				return []field{{"Transport", m.get("transport")}, {"Session", "1234;timeout=10"}}
			}
			ctx := t.Context()
			u, _ := ParseURL("rtsp://cam/s")
			start := time.Now()
			s := &seen{tick: func(st *Stats) error {
				if st.Usable[0] != 0 {
					t.Errorf("%s: messages alone are taken for pictures", c.why)
				}
				if time.Since(start) > 17*time.Second {
					return errEnough
				}
				return nil
			}}
			err := Play(ctx, Options{URL: u, Dial: f.pipe}, nil, s)
			if c.code != "" {
				wantCode(t, err, c.code)
			} else if err != errEnough {
				t.Error(c.why, err)
			}
			if got := strings.Join(said, " "); !strings.HasPrefix(got, c.want) || len(said) > 4 {
				t.Errorf("%s: said %s", c.why, got)
			}
		})
	}
}

// TestNonceOfKeepAlive: a nonce that runs out again and again while the stream
// plays, which the camera does not call stale, is no wrong password.
func TestNonceOfKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		nonce := func() string { return fmt.Sprint("n", int(time.Since(begin)/(4*time.Second))) }
		denied := 0
		f := &fake{t: t, sdp: h264SDP, base: "URL", media: silentFilm}
		f.script = func(fc *fakeConn, m *message) bool {
			if strings.Contains(m.get("authorization"), `nonce="`+nonce()+`"`) {
				return false
			}
			denied++
			fc.reply(m, 401, field{"WWW-Authenticate", `Digest realm="r", nonce="` + nonce() + `"`})
			return true
		}
		f.setup = func(_ *fakeConn, m *message) []field {
			return []field{{"Transport", m.get("transport")}, {"Session", "1234;timeout=10"}}
		}
		u, _ := ParseURL("rtsp://cam/s")
		s := &seen{tick: func(*Stats) error {
			if time.Since(begin) > time.Minute {
				return errEnough
			}
			return nil
		}}
		if err := Play(t.Context(), Options{URL: u, Dial: f.pipe, User: "u", Password: NewPassword("p"), LegacyMD5: true}, nil, s); err != errEnough || denied < 8 {
			t.Errorf("%v, %d times asked for another", err, denied)
		}
	})
}

// silentFilm keeps a session busy with packets that are no pictures.
func silentFilm(c *fakeConn) {
	for i := uint16(0); ; i++ {
		c.show(0, rtpOf(96, true, i, uint32(i)*90000, 5, []byte{0x06, 0x05, 0x01, 0x00, 0x80}))
		select {
		case <-c.done:
			return
		case <-time.After(time.Second):
		}
	}
}

// TestKeepAliveLearns: a session that ended about when its time-out was over
// was not kept alive, so the next tries another method; one that lived keeps its.
func TestKeepAliveLearns(t *testing.T) {
	for _, c := range []struct {
		life time.Duration
		want int
	}{{10 * time.Second, 1}, {60 * time.Second, 0}, {2 * time.Second, 0}} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{t: t, sdp: h264SDP, base: "URL"}
			f.media = func(fc *fakeConn) { time.Sleep(c.life); fc.nc.Close() }
			f.setup = func(_ *fakeConn, m *message) []field {
				return []field{{"Transport", m.get("transport")}, {"Session", "1234;timeout=10"}}
			}
			u, _ := ParseURL("rtsp://cam/s")
			m := new(Memory)
			err := Play(t.Context(), Options{URL: u, Dial: f.pipe}, m, &seen{})
			wantCode(t, err, Lost)
			if m.keepAlive != c.want {
				t.Errorf("after %v: method %d", c.life, m.keepAlive)
			}
		})
	}
}

// TestGoodbyeOfCamera: a BYE ends the session when nothing follows it.
func TestGoodbyeOfCamera(t *testing.T) {
	bye := []byte{0x81, goodbye, 0, 1, 0, 0, 0, 5}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, sdp: h264SDP, base: "URL"}
		f.media = func(c *fakeConn) {
			c.show(0, rtpOf(96, true, 1, 1, 5, []byte{6, 5, 1, 0, 0x80}))
			c.show(1, bye)
			time.Sleep(time.Second) // some say it and go on
			c.show(0, rtpOf(96, true, 2, 90001, 5, []byte{6, 5, 1, 0, 0x80}))
			time.Sleep(10 * time.Second)
			c.show(1, bye)
			<-c.done
		}
		u, _ := ParseURL("rtsp://cam/s")
		start := time.Now()
		err := Play(t.Context(), Options{URL: u, Dial: f.pipe}, nil, &seen{})
		wantCode(t, err, Ended)
		if d := time.Since(start); d < 12*time.Second || d > 15*time.Second {
			t.Error(d)
		}
	})
}

// TestTick: the handler ends a session, and the camera is told.
func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, sdp: h264SDP, base: "URL", media: silentFilm}
		u, _ := ParseURL("rtsp://cam/s")
		s := &seen{tick: func(*Stats) error { return errEnough }}
		if err := Play(t.Context(), Options{URL: u, Dial: f.pipe}, nil, s); err != errEnough {
			t.Error(err)
		}
		if len(f.said("TEARDOWN")) != 1 {
			t.Error(f.requests)
		}
	})
}

// TestTape plays a recorded connection: what gst-rtsp-server said to ffmpeg, a
// reply for each of our requests, and then all its frames.
func TestTape(t *testing.T) {
	tape, err := os.ReadFile("testdata/streams/gstreamer-digest-tcp.bin")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t}
	f.script = func(c *fakeConn, m *message) bool {
		if m.method == "TEARDOWN" {
			c.reply(m, 200)
			return true
		}
		end := headEnd(tape)
		head, ok := parseHead(tape[:end])
		size, ok2 := head.bodySize()
		if !ok || !ok2 || head.cseq() != m.cseq() {
			t.Errorf("%s is request %d; the tape is at %d", m.method, m.cseq(), head.cseq())
		}
		c.write(tape[:end+size])
		tape = tape[end+size:]
		if m.method == "PLAY" {
			c.write(tape)
		}
		return true
	}
	o := Options{URL: f.start(), User: "admin", Password: NewPassword("pass"), LegacyMD5: true, Audio: true}
	o.URL.path = "/cam"
	s, err := run(t, o, nil, func(s *seen) bool { return s.units[0] >= 4 && s.units[1] >= 4 })
	if err != nil || s.lost != 0 || s.session.Known[0] == nil || s.session.Known[0].Codec != media.H264 {
		t.Errorf("%v, %+v", err, s)
	}
}
