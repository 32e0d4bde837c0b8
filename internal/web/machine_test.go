package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/settings"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

func TestSettings(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	got := p.want(200, "GET", "/settings", nil)
	storage := got["storage"].(object)
	storage["retentionDays"] = 90
	delete(storage, "quotaBytes") // left out: it stays
	now := p.want(200, "PUT", "/settings", got)
	if now["storage"].(object)["retentionDays"] != 90.0 || now["storage"].(object)["lowSpacePercent"] != 8.0 || now["version"].(float64) != got["version"].(float64)+1 {
		t.Errorf("%v", now)
	}
	p.refused(409, "settings-changed", "PUT", "/settings", got)
	if got["settingUp"] != true || now["settingUp"] != true {
		t.Errorf("set-up was not begun by the claim, or ended by another change: %v, %v", got, now)
	}
	delete(now, "version")
	p.refused(422, "invalid", "PUT", "/settings", now)
	now["version"] = b.set.Get().Version
	now["language"], now["timeZone"] = "fr", "Mars"
	now["storage"].(object)["reservePercent"] = 60
	if v := p.refused(422, "invalid", "PUT", "/settings", now); len(v["mistakes"].([]any)) < 4 {
		t.Errorf("not all mistakes together: %v", v)
	}
	now["unknown"] = 1
	p.refused(422, "invalid", "PUT", "/settings", now)
	if r := b.recorded(audit.SettingsChange); len(r) != 2 || r[1].Detail["/settingUp"] == "" || !strings.Contains(r[0].Detail["/storage/retentionDays"], "30 -> 90") {
		t.Errorf("recorded %+v", r)
	}
}

func TestStorage(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	if got := p.want(200, "GET", "/storage", nil); got["chosen"] != false || got["fixed"] != nil || len(got["places"].([]any)) != 1 || got["now"].(object)["room"] != 80.0 {
		t.Errorf("%v", got)
	}
	if got := p.want(200, "POST", "/storage/check", object{"folder": "/tmp/x"}, "Accept-Language", "zh-TW"); !strings.Contains(got["why"].(object)["text"].(string), "/tmp/x 屬於系統") {
		t.Errorf("%v", got)
	}
	if got := p.refused(409, "storage-refused", "PUT", "/storage", object{"folder": "/tmp/x"}); !strings.Contains(got["detail"].(string), "such as /srv/video") {
		t.Errorf("no remedy: %v", got)
	}
	p.refused(422, "invalid", "PUT", "/storage", object{"folder": ""})
	if got := p.want(202, "PUT", "/storage", object{"folder": "/mnt/disk"}); got["again"] != true || b.disks.chosen != "/mnt/disk" {
		t.Errorf("%v", got)
	}
	p.want(200, "PUT", "/storage", object{"folder": "/mnt/disk"})
	asked := b.disks.places
	b.disks.fixed = text.Note{Code: "storage.recorded"}
	if got := p.want(200, "GET", "/storage", nil); got["fixed"].(object)["code"] != "recorded" || b.disks.places != asked {
		t.Errorf("disks were asked although nothing can be chosen: %v", got)
	}
}

func TestStatus(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	b.camera("Door")
	b.live.SetJail(1, []wire.Guard{{Name: "landlock", Holds: true, Note: "ABI 4"}, {Name: "seccomp"}})
	got := p.want(200, "GET", "/status", nil, "Accept-Language", "zh-TW")
	if k := got["keys"].(object); k["met"] != false || k["mode"] != "key-file" || !strings.Contains(k["text"].(string), "5.1.1.2") || !strings.Contains(k["text"].(string), "不符合") {
		t.Errorf("%v", k)
	}
	if r := got["recording"].(object); r["on"] != 1.0 || r["now"] != 1.0 || got["daysLeft"] != 12.5 || got["bytesPerDay"] != nil || len(got["jail"].([]any)) != 2 {
		t.Errorf("%v", got)
	}
	p.want(200, "GET", "/third-party", nil)
	if resp, body := p.do("GET", "/openapi.yaml", nil); resp.StatusCode != 200 || !strings.HasPrefix(string(body), "openapi: 3.1") {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestAlerts(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	b.alerts.list = []Alert{
		{ID: "a1", Kind: "camera-lost", Camera: cam.ID, Object: cam.ID.String(), Since: time.Unix(1e9, 0), Count: 2, Alarm: true,
			Args: map[string]string{"camera": "Door", "why": "stream-stopped", "seconds": "11"}},
		{ID: "a2", Kind: "never-heard-of", Since: time.Unix(1e9, 0), Cleared: time.Unix(1e9+1, 0)},
	}
	got := p.want(200, "GET", "/alerts", nil, "Accept-Language", "zh-TW")["alerts"].([]any)
	if len(got) != 1 || got[0].(object)["severity"] != "alarm" || !strings.Contains(got[0].(object)["title"].(string), "Door") {
		t.Errorf("%v", got)
	}
	for lang, why := range map[string]string{"en": "come from the camera for 11 s", "zh-TW": "11"} { // the reason is a sentence, not its code
		got := p.want(200, "GET", "/alerts", nil, "Accept-Language", lang)["alerts"].([]any)[0].(object)["detail"].(string)
		if !strings.Contains(got, why) || strings.Contains(got, "stream-stopped") || strings.Contains(got, "?") {
			t.Errorf("%s: %s", lang, got)
		}
	}
	b.alerts.list[1] = Alert{ID: "a3", Kind: "file-tampered", Since: time.Unix(1e9, 0), Cleared: time.Unix(1e9+1, 0),
		Args: map[string]string{"camera": "Door", "from": "1", "to": "2", "reason": "cut-short", "seconds": "17"}}
	for lang, why := range map[string]string{"en": "17 s are cut off", "zh-TW": "截去 17 秒"} {
		got := p.want(200, "GET", "/alerts?all=true", nil, "Accept-Language", lang)["alerts"].([]any)[1].(object)["detail"].(string)
		if !strings.Contains(got, why) || strings.Contains(got, "cut-short") || strings.Contains(got, "?") {
			t.Errorf("%s: %s", lang, got)
		}
	}
	if got := p.want(200, "GET", "/alerts?all=true", nil)["alerts"].([]any); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if got := p.want(200, "POST", "/alerts/a1/acknowledge", nil); got["acknowledged"].(object)["by"] != "amy" {
		t.Errorf("%v", got)
	}
	p.refused(404, "not-found", "POST", "/alerts/a9/acknowledge", nil)
	p.refused(422, "invalid", "GET", "/alerts?all=maybe", nil)
}

//vigil:clause 5.2.7.1 5.2.7.2
func TestAudit(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	for range 5 {
		b.log.Record(audit.Record{Actor: actor.Of("recorder", "amy"), Action: audit.SegmentClose, Camera: media.CameraID{1}, Object: "line\nbreak", Detail: map[string]string{"bytes": "7"}})
	}
	page := p.want(200, "GET", "/audit?limit=2&action=segment.close&result=ok&actor=amy&camera="+media.CameraID{1}.String(), nil)
	list := page["records"].([]any)
	r := list[0].(object)
	if len(list) != 2 || r["actor"].(object)["armedBy"] != "amy" || r["result"] != "ok" || strings.Contains(r["object"].(string), "\n") || !strings.HasSuffix(r["time"].(string), "Z") {
		t.Errorf("%v", page)
	}
	seen := 2
	for page["next"] != nil {
		page = p.want(200, "GET", "/audit?limit=2&action=segment.close&before="+itoa(page["next"].(float64)), nil)
		seen += len(page["records"].([]any))
	}
	if seen != 5 {
		t.Errorf("%d records over the pages", seen)
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "result=good", "camera=x", "before=-1", "from=x", "actor=" + strings.Repeat("x", 200), "action=" + strings.Repeat("x", 80)} {
		p.refused(422, "invalid", "GET", "/audit?"+q, nil)
	}
	if n := len(b.recorded(audit.LogRead)); n != 1 {
		t.Errorf("%d looks at the log recorded", n)
	}
}

func itoa(f float64) string { return strconv.FormatInt(int64(f), 10) }

// lines reads Server-Sent Events.
type lines struct {
	t *testing.T
	r *bufio.Scanner
}

// until returns the data of the next event of a kind.
func (l lines) until(kind string) string {
	l.t.Helper()
	at := ""
	for l.r.Scan() {
		line := l.r.Text()
		if k, ok := strings.CutPrefix(line, "event: "); ok {
			at = k
		}
		if d, ok := strings.CutPrefix(line, "data: "); ok && at == kind {
			return d
		}
	}
	l.t.Fatalf("the stream ended before %s: %v", kind, l.r.Err())
	return ""
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	b.alerts.list = []Alert{{ID: "a1", Kind: "camera-lost", Camera: cam.ID, Since: time.Unix(1e9, 0)}}
	resp, err := p.http.Do(p.request("GET", base+"/events", nil))
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	l := lines{t, bufio.NewScanner(resp.Body)}
	l.r.Scan() // the comment: from here on nothing is missed
	b.live.SetStatus(cam.ID, cam.Streams[0].ID, wire.Status{State: wire.Live})
	if got := l.until("camera"); !strings.Contains(got, `"state":"live"`) || !strings.Contains(got, `"name":"Door"`) {
		t.Error(got)
	}
	b.hub.Tell(News{AlertNews, "a1"})
	if got := l.until("alert"); !strings.Contains(got, `"id":"a1"`) {
		t.Error(got)
	}
	b.hub.Tell(News{Kind: StatusNews})
	l.until("status")
	if _, _, err := b.set.Change(personActor, func(d *settings.Doc) error { d.Cameras = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := l.until("camera-removed"); !strings.Contains(got, cam.ID.String()) {
		t.Error(got)
	}
	l.until("settings")
	p.want(204, "DELETE", "/session", nil)
	l.until("signed-out")
	if l.r.Scan() && l.r.Text() != "" {
		t.Errorf("after signed-out: %q", l.r.Text())
	}
}

// A hub whose listener does not listen waits for nobody.
func TestHubNeverWaits(t *testing.T) {
	h := NewHub()
	_, leave := h.subscribe()
	for range 1000 {
		h.Tell(News{Kind: StatusNews})
	}
	leave()
	if len(h.subs) != 0 {
		t.Error("a listener that left is still told")
	}
}

// The command line of the same user is the console: no password, the same
// choke point and log; the network cannot pretend to be it.
//
//vigil:clause 5.4.1.1
func TestControlSocket(t *testing.T) {
	b := newBench(t)
	name := filepath.Join(t.TempDir(), "control.sock")
	must(t, os.WriteFile(name, nil, 0o600)) // left by a kill
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.srv.ServeControl(ctx, name) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(name); err == nil {
			t.Error("the socket is left behind")
		}
	}()
	p := &person{b, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			c, err := new(net.Dialer).DialContext(ctx, "unix", name)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			time.Sleep(time.Millisecond) // until it listens
		}
	}}}}
	defer p.http.CloseIdleConnections()
	p.bench = &bench{t: t, url: "http://vigil", doc: b.doc}
	code := p.want(200, "POST", "/setup/code", nil)["code"].(string)
	if got := p.want(200, "GET", "/session", nil); got["role"] != "administrator" || !strings.HasPrefix(got["account"].(string), "uid ") {
		t.Errorf("%v", got)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	b.person().want(201, "POST", "/setup", object{"code": code, "name": "amy", "password": password})
	p.refused(409, "setup-done", "POST", "/setup/code", nil)
	p.want(201, "POST", "/cameras", object{"name": "Door", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.1/"}}})
	p.want(204, "POST", "/accounts/amy/password", object{"new": second})
	p.want(404, "DELETE", "/session", nil)
	if r := b.recorded(audit.CameraAdd); len(r) != 1 || r[0].Actor.Kind != actor.Console || !strings.HasPrefix(r[0].Actor.Source, "process ") {
		t.Errorf("recorded %+v", r)
	}
}

//vigil:clause 5.3.1.1
func TestTLS(t *testing.T) {
	b := newBench(t)
	addr := strings.TrimPrefix(b.url, "https://")
	base := func() *tls.Config {
		return &tls.Config{InsecureSkipVerify: true} // the handshake is looked at, not the peer
	}
	for _, c := range []struct {
		name string
		fn   func(*tls.Config)
		ok   bool
	}{
		{"1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		{"1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"P-384", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, true},
		{"1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"X25519 alone", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }, false},
		{"CBC", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, false},
		{"ChaCha20", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		}, false},
	} {
		config := base()
		c.fn(config)
		conn, err := tls.Dial("tcp", addr, config)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	plain, err := http.Get("http://" + addr + "/api/v1/setup") // no way around TLS
	if err == nil {
		plain.Body.Close()
		if plain.StatusCode != 400 {
			t.Errorf("in the clear: %d", plain.StatusCode)
		}
	}
}

//vigil:clause 5.3.1.1
func TestCertificate(t *testing.T) {
	m := durable.NewMem()
	f := document.File{FS: m, Name: "tls.doc", Key: seal.NewKey()}
	one, err := OpenCertificate(f)
	must(t, err)
	leaf := one.cert.Leaf
	if err := leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
	if name, err := os.Hostname(); err == nil && leaf.VerifyHostname(name) != nil {
		t.Errorf("not for %s", name)
	}
	m.Crash()
	m.Restart()
	again, err := OpenCertificate(f)
	must(t, err)
	if again.Fingerprint() != one.Fingerprint() {
		t.Error("a restart made another certificate")
	}
	must(t, again.renew(leaf.NotAfter.Add(-certRenew)))
	if again.Fingerprint() == one.Fingerprint() || !again.Expires().After(leaf.NotAfter.Add(-time.Minute)) {
		t.Error("it was not renewed")
	}
	third, err := OpenCertificate(f)
	must(t, err)
	if third.Fingerprint() != again.Fingerprint() {
		t.Error("the renewed one was not kept")
	}
	f.Key = seal.NewKey()
	if _, err := OpenCertificate(f); err == nil {
		t.Error("opens under another key")
	}
}

// One source cannot take all connections.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := limitConns(inner).(*limited)
	accepted := make(chan net.Conn, 2*connsPerHost)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	var clients []net.Conn
	for range connsPerHost + 1 {
		c, err := net.Dial("tcp", inner.Addr().String())
		must(t, err)
		clients = append(clients, c)
	}
	var held []net.Conn
	for range connsPerHost {
		held = append(held, <-accepted)
	}
	if _, err := clients[connsPerHost].Read(make([]byte, 1)); err == nil {
		t.Error("one too many was let in")
	}
	held[0].Close()
	held[0].Close()
	c, err := net.Dial("tcp", inner.Addr().String())
	must(t, err)
	held = append(held, <-accepted)
	inner.Close()
	for _, x := range append(append(clients, c), held...) {
		x.Close()
	}
	if l.all != 0 || len(l.hosts) != 0 {
		t.Errorf("%d, %v left", l.all, l.hosts)
	}
}
