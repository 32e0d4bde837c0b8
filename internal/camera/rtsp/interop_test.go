package rtsp

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vigil/internal/media"
	"vigil/internal/simcam"
	"vigil/internal/simcam/footage"
)

// sim starts a simulated camera on gortsplib's server.
func sim(t testing.TB, cfg simcam.Config) *simcam.Camera {
	t.Helper()
	if cfg.Streams == nil {
		cfg.Streams = []simcam.Stream{{Path: "aac", Source: "clock-small", Sound: "aac"}, {Path: "h265", Source: "clock-h265-small", Sound: "alaw"}}
	}
	if cfg.Reports == 0 {
		cfg.Reports = 200 * time.Millisecond
	}
	cfg.Footage = footage.All
	c, err := simcam.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func at(t testing.TB, url string) URL {
	t.Helper()
	u, err := ParseURL(url)
	if err != nil {
		t.Fatal(url, err)
	}
	return u
}

// TestGortsplib plays gortsplib's server in all the ways there are.
//
//vigil:clause 5.3.1.1 5.5.2.1
func TestGortsplib(t *testing.T) {
	for _, c := range []struct {
		why  string
		cfg  simcam.Config
		path string
		o    Options
		udp  bool
		srtp bool
	}{
		{"TCP", simcam.Config{}, "aac", Options{}, false, false},
		{"TCP, paced", simcam.Config{}, "h265", Options{Pace: 125 * time.Millisecond}, false, false},
		{"TLS, paced", simcam.Config{TLS: true}, "aac", Options{Link: LinkInsecure, Pace: 125 * time.Millisecond}, false, false},
		{"UDP", simcam.Config{}, "h265", Options{Transport: UDP}, true, false},
		{"UDP, paced", simcam.Config{}, "aac", Options{Transport: UDP, Pace: 125 * time.Millisecond}, true, false},
		{"digest MD5", simcam.Config{User: "u", Password: "p"}, "aac", Options{User: "u", Password: NewPassword("p"), LegacyMD5: true}, false, false},
		{"digest SHA-256", simcam.Config{User: "u", Password: "p", Auth: simcam.DigestSHA256}, "aac", Options{User: "u", Password: NewPassword("p")}, false, false},
		{"digest, both", simcam.Config{User: "u", Password: "p", Auth: simcam.DigestBoth}, "h265", Options{User: "u", Password: NewPassword("p")}, false, false},
		{"basic over TLS", simcam.Config{TLS: true, User: "u", Password: "p", Auth: simcam.Basic}, "aac", Options{User: "u", Password: NewPassword("p"), Link: LinkCA}, false, false},
		{"TLS", simcam.Config{TLS: true}, "h265", Options{Link: LinkInsecure}, false, false},
		{"SRTP over TLS", simcam.Config{SRTP: true}, "aac", Options{Link: LinkInsecure}, false, true},
		{"SRTP over UDP", simcam.Config{SRTP: true}, "aac", Options{Link: LinkInsecure, Transport: UDP}, true, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			if c.srtp && fips140.Enforced() {
				t.Skip("gortsplib's server cannot do SRTP in this mode; TestGStreamer shows that we can")
			}
			cam := sim(t, c.cfg)
			c.o.URL = at(t, cam.URL(c.path))
			c.o.Audio = true
			if c.o.Link == LinkCA {
				c.o.CA = cam.CertificatePEM()
			}
			m := new(Memory)
			s, err := run(t, c.o, m, func(s *seen) bool { return s.units[0] >= 20 && s.units[1] >= 20 && s.reports >= 2 })
			if err != nil {
				t.Fatal(err)
			}
			want := TCP
			if c.udp {
				want = UDP
			}
			if s.session.Transport != want || s.session.SRTP != c.srtp || s.lost != 0 || len(s.notes) != 0 || len(s.session.Tracks) != 2 {
				t.Errorf("%+v", s)
			}
			if (s.session.Certificate != nil) != c.o.URL.TLS() {
				t.Error(s.session.Certificate)
			}
		})
	}
}

// TestFallback is the camera that refuses TCP with 461: UDP at once, and at
// once the next time; never where the administrator said TCP, and never in the
// clear beside TLS.
func TestFallback(t *testing.T) {
	cam := sim(t, simcam.Config{})
	cam.RefuseTCP(true)
	m := new(Memory)
	o := Options{URL: at(t, cam.URL("aac"))}
	s, err := run(t, o, m, units(5))
	if err != nil || s.session.Transport != UDP || !m.udp || len(s.session.Notes) != 1 {
		t.Errorf("%v, %+v", err, s.session)
	}
	s, err = run(t, o, m, units(5))
	if err != nil || s.session.Transport != UDP || len(s.session.Notes) != 0 {
		t.Errorf("again: %v, %+v", err, s.session)
	}
	o.Transport = TCP
	_, err = run(t, o, nil, units(5))
	wantCode(t, err, NoTransport)
	cam = sim(t, simcam.Config{TLS: true})
	cam.RefuseTCP(true)
	_, err = run(t, Options{URL: at(t, cam.URL("aac")), Link: LinkInsecure}, nil, units(5))
	wantCode(t, err, UnsafeUDP)
}

// TestUDPFaults: what gets lost and overtaken on the way.
func TestUDPFaults(t *testing.T) {
	cam := sim(t, simcam.Config{})
	cam.Feed("aac").Reorder(7)
	s, err := run(t, Options{URL: at(t, cam.URL("aac")), Transport: UDP}, nil, units(60))
	if err != nil || s.lost != 0 {
		t.Errorf("reordered: %v, %d lost", err, s.lost)
	}
	cam.Feed("aac").Reorder(0)
	s = &seen{cancel: func() {}}
	var drop sync.Once
	s.enough = func(s *seen) bool {
		if s.units[0] == 5 {
			drop.Do(func() { cam.Feed("aac").Drop(1) })
		}
		return false
	}
	before := 0
	s.tick = func(st *Stats) error {
		switch {
		case st.Lost == 0:
			before = s.units[0]
		case st.Lost == 1 && s.units[0] > before+20: // and it goes on after that
			return errEnough
		}
		return nil
	}
	if err := Play(t.Context(), Options{URL: at(t, cam.URL("aac")), Transport: UDP}, nil, s); err != errEnough {
		t.Errorf("lost: %v, %+v", err, s.stats)
	}
}

// TestTLS: who a camera is.
//
//vigil:clause 5.3.1.1 5.4.1.1
func TestTLS(t *testing.T) {
	cam := sim(t, simcam.Config{TLS: true})
	u := at(t, cam.URL("aac"))
	_, err := run(t, Options{URL: u, Link: LinkCA, CA: foreignCA(t)}, nil, units(1))
	e := wantCode(t, err, TLSUnknown)
	if e.Certificate == nil || hex.EncodeToString(e.Certificate.SHA256) != cam.Fingerprint() || e.Args["fingerprint"] != hex.EncodeToString(e.Certificate.SPKI) || e.Certificate.NotAfter.Before(time.Now()) {
		t.Errorf("%+v", e)
	}
	for why, pin := range map[string][]byte{"key": e.Certificate.SPKI, "certificate": e.Certificate.SHA256} {
		if _, err := run(t, Options{URL: u, Link: LinkPin, Pin: pin}, nil, units(1)); err != nil {
			t.Errorf("pinned by %s: %v", why, err)
		}
	}
	if _, err := run(t, Options{URL: u, Link: LinkCA, CA: cam.CertificatePEM()}, nil, units(1)); err != nil {
		t.Error(err)
	}
	if err := cam.NewCertificate(); err != nil {
		t.Fatal(err)
	}
	_, err = run(t, Options{URL: u, Link: LinkPin, Pin: e.Certificate.SPKI}, nil, units(1))
	if e := wantCode(t, err, TLSPin); e.Certificate == nil {
		t.Error("nothing to show")
	}
	_, port, _ := net.SplitHostPort(cam.Addr())
	_, err = run(t, Options{URL: at(t, "rtsps://other.example:"+port+"/aac"), Link: LinkCA, CA: cam.CertificatePEM(), Dial: loopback}, nil, units(1))
	wantCode(t, err, TLSName)

	_, err = run(t, Options{URL: at(t, strings.Replace(cam.URL("aac"), "rtsps", "rtsp", 1))}, nil, nil)
	if e, ok := err.(*Error); !ok || e.Code != SpeaksTLS && e.Code != Lost { // Go's server hangs up, others send an alert
		t.Error(err)
	}
	plain := &fake{t: t, first: func(c *fakeConn) { c.write([]byte("RTSP/1.0 400 Bad Request\r\n\r\n")) }}
	u2 := plain.start()
	u2.scheme = "rtsps"
	_, err = run(t, Options{URL: u2, Link: LinkInsecure}, nil, nil)
	wantCode(t, err, SpeaksPlain)
	_, err = run(t, Options{URL: u, Link: LinkPlain}, nil, nil)
	wantCode(t, err, BadOptions)
}

// TestOldTLS: nothing below 1.2 is spoken, and an expired certificate is said to be.
//
//vigil:clause 5.3.1.1
func TestOldTLS(t *testing.T) {
	cert, ca := selfSigned(t, time.Now().Add(-time.Hour))
	f := &fake{t: t, wrap: func(nc net.Conn) net.Conn {
		return tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // what is to be refused
	}}
	u := f.start()
	u.scheme = "rtsps"
	_, err := run(t, Options{URL: u, Link: LinkInsecure}, nil, nil)
	wantCode(t, err, TLSRefused)
	f = &fake{t: t, wrap: func(nc net.Conn) net.Conn {
		return tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}})
	}}
	u = f.start()
	u.scheme = "rtsps"
	_, err = run(t, Options{URL: u, Link: LinkCA, CA: ca}, nil, nil)
	wantCode(t, err, TLSExpired)
}

func selfSigned(t *testing.T, until time.Time) (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cam"}, NotBefore: until.Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func foreignCA(t *testing.T) []byte {
	_, ca := selfSigned(t, time.Now().Add(time.Hour))
	return ca
}

// launch starts a server and waits for the line or the port that says it is up.
func launch(t *testing.T, port string, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: %v", name, err)
	}
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with its children
		cmd.Wait()                                      // killed
	})
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			default:
			}
		}
	}()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		if nc, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			nc.Close()
			return
		}
		select {
		case l, up := <-lines:
			if strings.Contains(l, "No module named") || strings.Contains(l, "Namespace") {
				t.Skipf("GStreamer's server is not installed: %s", l)
			}
			if !up {
				t.Fatalf("%s ended", name)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen", name)
}

// freePort finds a port for a server that must be told one. It lies below those
// that the system gives away, which a test beside this one may get meanwhile.
func freePort(t *testing.T) string {
	for range 100 {
		port := strconv.Itoa(20000 + mrand.IntN(12000))
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// TestGStreamer plays gst-rtsp-server: Digest, TCP, UDP, RTSPS, SRTP by MIKEY
// as Axis cameras do it.
func TestGStreamer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	cert, ca := selfSigned(t, time.Now().Add(time.Hour))
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(t.TempDir(), "cam.pem")
	if err := os.WriteFile(both, append(ca, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), 0o600); err != nil {
		t.Fatal(err)
	}
	const pipe = "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc tune=zerolatency key-int-max=25 ! rtph264pay name=pay0 pt=96 config-interval=-1 audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 )"
	login := []string{"--user", "admin", "--password", "pass"}
	for _, c := range []struct {
		why  string
		args []string
		tls  bool
		o    Options
		srtp bool
	}{
		{"Digest, TCP", login, false, Options{User: "admin", Password: NewPassword("pass"), LegacyMD5: true}, false},
		{"Digest, UDP", login, false, Options{User: "admin", Password: NewPassword("pass"), LegacyMD5: true, Transport: UDP}, false},
		{"RTSPS, Digest", append([]string{"--cert", both}, login...), true, Options{User: "admin", Password: NewPassword("pass"), LegacyMD5: true, Link: LinkCA, CA: ca}, false},
		{"SRTP, TCP", []string{"--savp"}, false, Options{}, true},
		{"SRTP, UDP", []string{"--savp"}, false, Options{Transport: UDP}, true},
		{"RTSPS, SRTP, UDP", []string{"--savp", "--cert", both}, true, Options{Link: LinkInsecure, Transport: UDP}, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			launch(t, port, "/usr/bin/python3", append(append([]string{"testdata/gstcam.py"}, c.args...), port, pipe)...)
			scheme := "rtsp"
			if c.tls {
				scheme = "rtsps"
			}
			c.o.URL = at(t, scheme+"://127.0.0.1:"+port+"/cam")
			c.o.Audio = true
			s, err := run(t, c.o, nil, func(s *seen) bool { return s.units[0] >= 50 && s.units[1] >= 50 && s.reports > 0 })
			if err != nil {
				t.Fatalf("%v; %+v", err, s)
			}
			if s.session.SRTP != c.srtp || s.lost != 0 || s.stats.Faults != 0 || s.keys < 2 || len(s.notes) != 0 {
				t.Errorf("%+v", s)
			}
			if tr := s.session.Known[0]; tr != nil && (tr.Codec != media.H264 || tr.Width != 320) {
				t.Errorf("%+v", tr)
			}
		})
	}
}

// TestVLC plays VLC's server, a camera that has no TCP.
func TestVLC(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	name, args := "cvlc", []string(nil)
	if os.Getuid() == 0 { // VLC refuses to run as root
		name, args = "runuser", []string{"-u", "nobody", "--", "cvlc"}
		if _, err := exec.LookPath("cvlc"); err != nil {
			t.Skip("VLC is not installed")
		}
	}
	b, err := os.ReadFile("../../simcam/footage/clock-h264-small.mp4")
	if err != nil {
		t.Skip(err)
	}
	film := filepath.Join(os.TempDir(), "vigil-vlc-"+freePort(t)+".mp4")
	if err := os.WriteFile(film, b, 0o644); err != nil { //nolint:gosec // the other user must read it
		t.Fatal(err)
	}
	defer os.Remove(film)
	port := freePort(t)
	launch(t, port, name, append(args, "-I", "dummy", film, "--loop", "--sout", "#rtp{sdp=rtsp://127.0.0.1:"+port+"/v}", "--sout-keep")...)
	m := new(Memory)
	o := Options{URL: at(t, "rtsp://127.0.0.1:"+port+"/v")}
	s, err := run(t, o, m, units(40))
	var no *Error
	for end := time.Now().Add(20 * time.Second); errors.As(err, &no) && no.Args["status"] == "500" && time.Now().Before(end); { // it listens before it has opened the film
		time.Sleep(100 * time.Millisecond)
		s, err = run(t, o, m, units(40))
	}
	if err != nil || s.session.Transport != UDP || !m.udp {
		t.Errorf("%v, %+v", err, s)
	}
}
