package web

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/auth"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/keys"
	"vigil/internal/layout"
	"vigil/internal/live"
	"vigil/internal/mark"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/settings"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

const (
	password = "Correct-Horse-9"
	second   = "Battery!Staple_7"
)

// A bench is a real server over TLS on fake parts.
type bench struct {
	t        *testing.T
	mem      *durable.Mem
	key      seal.Key
	auth     *auth.Place
	set      *settings.Store
	log      *audit.Log
	live     *live.Streams
	footage  *fakeFootage
	pictures *fakePictures
	exports  *fakeExports
	alerts   *fakeAlerts
	prober   *fakeProber
	disks    fakeDisks
	hub      *Hub
	cert     *Certificate
	srv      *Server
	url      string
	doc      *openapi3.T
	stop     func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, mem: durable.NewMem(), key: seal.NewKey(), live: live.New(), footage: &fakeFootage{}, pictures: &fakePictures{}, exports: &fakeExports{}, alerts: &fakeAlerts{}, prober: &fakeProber{}, hub: NewHub()}
	must(t, durable.MkdirAll(b.mem, "state"))
	var err error
	b.log, err = audit.Open(b.mem, "state/audit", b.key, audit.Options{})
	must(t, err)
	b.set, err = settings.Open(settings.Options{FS: b.mem, Name: "state/settings.doc", Key: b.key, Audit: b.log, TimeZone: "Asia/Taipei", Language: text.English})
	must(t, err)
	b.openAuth()
	marks, err := mark.Open(document.File{FS: b.mem, Name: "state/marks", Key: b.key})
	must(t, err)
	layouts, err := layout.Open(document.File{FS: b.mem, Name: "state/layouts", Key: b.key})
	must(t, err)
	b.cert, err = OpenCertificate(document.File{FS: b.mem, Name: "state/tls.doc", Key: b.key})
	must(t, err)
	b.srv, err = New(Options{
		Auth: b.auth, Settings: b.set, Audit: audit.Durably{Log: b.log}, Cameras: b.live, Prober: b.prober, Footage: b.footage, Pictures: b.pictures, Exports: b.exports, Layouts: layouts, Marks: marks, Alerts: b.alerts,
		Machine: fakeMachine{b}, Disks: &b.disks, Demo: func() (string, error) { return "127.0.0.1:8554", nil }, ThirdParty: func() ([]Part, error) { return []Part{{"example.org/x", "v1", "MIT", ""}}, nil }, Own: b.cert,
		Clauses: func() ([]Clause, error) { return []Clause{{"5.1.1.2", "Storage", "儲存", "partly", "a TPM"}}, nil }, Hub: b.hub, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	b.srv.fileRounds = seal.MinRounds
	b.doc, err = openapi3.NewLoader().LoadFromFile("openapi.yaml")
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.srv.Serve(ctx, l, TLS(b.cert.Get)) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

func (b *bench) openAuth() {
	var err error
	b.auth, err = auth.Open(auth.Options{FS: b.mem, Dir: "state", Accounts: b.key, Sessions: b.key, Audit: b.log, Rounds: 1000})
	must(b.t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// accounts puts accounts of other roles in place, as a later version will.
func (b *bench) accounts(list ...map[string]any) {
	b.t.Helper()
	salt := []byte("0123456789abcdef")
	h, err := pbkdf2.Key(sha256.New, password, salt, 1000, 32)
	must(b.t, err)
	e := base64.RawStdEncoding
	for _, a := range list {
		a["password"] = fmt.Sprintf("$pbkdf2-sha256$i=1000$%s$%s", e.EncodeToString(salt), e.EncodeToString(h))
		a["created"], a["changed"] = time.Unix(1e9, 0), time.Unix(1e9, 0)
	}
	f := document.File{FS: b.mem, Name: "state/accounts.doc", Key: b.key, Kind: "accounts", Version: 1}
	must(b.t, f.Save(map[string]any{"rounds": 1000, "accounts": list}))
	b.openAuth()
	b.srv.Auth = b.auth
}

// A person is a browser, or a program.
type person struct {
	*bench
	http *http.Client
}

func (b *bench) person() *person {
	jar, _ := cookiejar.New(nil)
	trust := func(cs tls.ConnectionState) error { // the certificate as it is now: it can be renewed
		pool := x509.NewCertPool()
		pool.AddCert(b.cert.leaf())
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: "127.0.0.1"})
		return err
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: trust}, ForceAttemptHTTP2: true}
	b.t.Cleanup(t.CloseIdleConnections)
	return &person{b, &http.Client{Transport: t, Jar: jar}}
}

// admin sets the recorder up and is signed in.
func (b *bench) admin() *person {
	b.t.Helper()
	p := b.person()
	code, _, err := b.auth.NewCode(actor.Actor{Kind: actor.Console, Name: "uid 0"})
	must(b.t, err)
	p.want(201, "POST", "/setup", map[string]any{"code": code, "name": "amy", "password": password})
	return p
}

func (b *bench) signIn(name string) *person {
	b.t.Helper()
	p := b.person()
	p.want(200, "POST", "/session", map[string]any{"name": name, "password": password})
	return p
}

func (p *person) request(method, path string, body any, header ...string) *http.Request {
	p.t.Helper()
	var r io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(v)
	case io.Reader:
		r = v
	default:
		b, err := json.Marshal(v)
		must(p.t, err)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.url+path, r)
	must(p.t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// do asks for a path of the interface; the body is read and compared with the
// document.
func (p *person) do(method, path string, body any, header ...string) (*http.Response, []byte) {
	p.t.Helper()
	resp, err := p.http.Do(p.request(method, base+path, body, header...))
	must(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(p.t, err)
	p.conforms(method, path, resp, b)
	return resp, b
}

type object = map[string]any

// want is do with a status, and returns the JSON.
func (p *person) want(status int, method, path string, body any, header ...string) object {
	p.t.Helper()
	resp, b := p.do(method, path, body, header...)
	if resp.StatusCode != status {
		p.t.Fatalf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, status, b)
	}
	var v object
	if strings.HasSuffix(strings.Split(resp.Header.Get("Content-Type"), ";")[0], "json") {
		must(p.t, json.Unmarshal(b, &v))
	}
	return v
}

// refused is want for a problem.
func (p *person) refused(status int, code, method, path string, body any, header ...string) object {
	p.t.Helper()
	v := p.want(status, method, path, body, header...)
	if v["code"] != code {
		p.t.Errorf("%s %s: %v, want %s", method, path, v, code)
	}
	return v
}

// operation finds what the document says of a request.
func (b *bench) operation(method, path string) *openapi3.Operation {
	path, _, _ = strings.Cut(path, "?")
	var best *openapi3.Operation
	holes := 99
	for pattern, item := range b.doc.Paths.Map() {
		a, c := strings.Split(pattern, "/"), strings.Split(path, "/")
		n := 0
		match := len(a) == len(c)
		for i := range a {
			if match && strings.HasPrefix(a[i], "{") {
				n++
			} else if match && a[i] != c[i] {
				match = false
			}
		}
		if match && n < holes && item.GetOperation(method) != nil {
			best, holes = item.GetOperation(method), n
		}
	}
	return best
}

// conforms holds an answer against the document: its status, type and every
// field.
func (b *bench) conforms(method, path string, resp *http.Response, body []byte) {
	b.t.Helper()
	h := resp.Header
	for _, name := range []string{"Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options"} {
		if h.Get(name) == "" {
			b.t.Errorf("%s %s: no %s", method, path, name)
		}
	}
	if h.Get("Server") != "" || h.Get("X-Powered-By") != "" || !strings.Contains(h.Get("Cache-Control"), "no-store") {
		b.t.Errorf("%s %s: headers %v", method, path, h)
	}
	if method == "HEAD" {
		return
	}
	op := b.operation(method, path)
	var responses *openapi3.Response
	problems := b.doc.Components.Responses["Problem"].Value
	switch {
	case op == nil && resp.StatusCode >= 400:
		responses = problems
	case op == nil:
		b.t.Errorf("%s %s is not in the document", method, path)
		return
	case op.Responses.Status(resp.StatusCode) != nil:
		responses = op.Responses.Status(resp.StatusCode).Value
	default:
		responses = op.Responses.Default().Value
	}
	if len(responses.Content) == 0 {
		if len(body) > 0 {
			b.t.Errorf("%s %s: %d has a body", method, path, resp.StatusCode)
		}
		return
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	media := responses.Content[kind]
	if err != nil || media == nil {
		b.t.Errorf("%s %s: %d is %q, %d bytes", method, path, resp.StatusCode, h.Get("Content-Type"), len(body))
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		b.t.Errorf("%s %s: %v", method, path, err)
		return
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
		b.t.Errorf("%s %s: %d is not as the document says: %v\n%s", method, path, resp.StatusCode, err, body)
	}
	undocumented(b.t, method+" "+path, media.Schema.Value, v)
}

// undocumented finds fields that the document does not have.
func undocumented(t *testing.T, at string, s *openapi3.Schema, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if len(s.Properties) == 0 {
			return
		}
		for k, x := range v {
			if p := s.Properties[k]; p == nil {
				t.Errorf("%s/%s is not in the document", at, k)
			} else {
				undocumented(t, at+"/"+k, p.Value, x)
			}
		}
	case []any:
		for _, x := range v {
			if s.Items != nil {
				undocumented(t, at+"/*", s.Items.Value, x)
			}
		}
	}
}

// recorded returns the audit log's records of exactly an action, newest first.
func (b *bench) recorded(action audit.Action) []audit.Record {
	b.t.Helper()
	list, _, err := b.log.Read(context.Background(), audit.Filter{Action: action, Limit: 1000})
	must(b.t, err)
	return slices.DeleteFunc(list, func(r audit.Record) bool { return r.Action != action }) // not "export.download" for "export"
}

// The fake parts.

type fakeFootage struct {
	days   []Day
	line   Timeline
	clip   func() *Clip
	from   time.Time
	to     time.Time
	closed int
}

func (f *fakeFootage) Days(context.Context, media.StreamID, *time.Location) ([]Day, error) {
	return f.days, nil
}

func (f *fakeFootage) Timeline(context.Context, media.StreamID, time.Time, time.Time) (Timeline, error) {
	return f.line, nil
}

func (f *fakeFootage) Play(_ context.Context, _ media.StreamID, from, to time.Time, _ time.Duration) (*Clip, error) {
	f.from, f.to = from, to
	if f.clip == nil {
		return nil, nil
	}
	c := f.clip()
	c.Close = func() error { f.closed++; return nil }
	return c, nil
}

func (f *fakeFootage) Oldest(media.StreamID) time.Time { return time.Time{} }

type fakeExports struct {
	mu   sync.Mutex
	list []Export
	err  error
	data []byte
	more io.Reader // of one that runs
	hurt int64     // where the file of one that is done can no longer be read; 0: nowhere
}

type nopFile struct{ *bytes.Reader }

// hurtFile cannot be read from a place on.
type hurtFile struct {
	nopFile
	from int64
}

func (h hurtFile) Read(b []byte) (int, error) {
	if h.from > 0 && h.Size()-int64(h.Len()) >= h.from {
		return 0, ErrChanged
	}
	return h.nopFile.Read(b)
}

// following is a file that is being made: it can only be read through.
type following struct {
	io.Reader
	io.Seeker
}

func (following) Close() error { return nil }

func (nopFile) Close() error { return nil }

func (f *fakeExports) Start(_ context.Context, by actor.Actor, o Order) (Export, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return Export{}, f.err
	}
	e := Export{ID: media.NewID[struct{}]().String(), Order: o, Part: 1, State: ExportWaiting, By: by.Name, Created: time.Now()}
	f.list = append([]Export{e}, f.list...)
	return e, nil
}

func (f *fakeExports) List() []Export {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

func (f *fakeExports) Get(id string) (Export, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.list {
		if e.ID == id {
			return e, true
		}
	}
	return Export{}, false
}

func (f *fakeExports) finish(data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256(data)
	f.data = data
	e := &f.list[0]
	e.State, e.Progress, e.Size, e.SHA256, e.FileName = ExportDone, 1, int64(len(data)), sum[:], "前門 2026-01-02.mp4"
	e.Gaps = []Gap{{From: e.From, To: e.To, Cause: media.CameraLost}}
}

// fail ends the newest.
func (f *fakeExports) fail(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &f.list[0]
	e.State, e.SHA256, e.Why = ExportFailed, nil, text.Note{Code: code}
}

// run begins the newest, which more is read from.
func (f *fakeExports) run(more io.Reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.more = more
	e := &f.list[0]
	e.State, e.Progress, e.FileName = ExportRunning, 0.25, "前門 2026-01-02.mp4"
}

func (f *fakeExports) Open(_ context.Context, id string) (File, error) {
	if e, _ := f.Get(id); e.State == ExportRunning {
		return following{Reader: f.more}, nil
	}
	if f.err != nil {
		return nil, f.err
	}
	return hurtFile{nopFile{bytes.NewReader(f.data)}, f.hurt}, nil
}

func (f *fakeExports) Remove(_ actor.Actor, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(e Export) bool { return e.ID == id })
	return nil
}

type fakeAlerts struct {
	mu   sync.Mutex
	list []Alert
}

func (f *fakeAlerts) List(all bool) (list []Alert) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.list {
		if all || a.Cleared.IsZero() {
			list = append(list, a)
		}
	}
	return list
}

func (f *fakeAlerts) Get(id string) (Alert, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.list {
		if a.ID == id {
			return a, true
		}
	}
	return Alert{}, false
}

func (f *fakeAlerts) Acknowledge(by actor.Actor, id string) (Alert, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		if f.list[i].ID == id {
			f.list[i].By, f.list[i].Acknowledged = by.Name, time.Now()
			return f.list[i], nil
		}
	}
	return Alert{}, ErrGone
}

type fakeProber struct {
	spec wire.Spec
	out  wire.Probed
	err  error
}

func (f *fakeProber) Probe(_ context.Context, s wire.Spec) (wire.Probed, error) {
	if err := s.Check(); err != nil {
		return wire.Probed{}, errors.Join(errors.New("the worker would refuse this"), err)
	}
	f.spec = s
	return f.out, f.err
}

type fakeMachine struct{ b *bench }

func (m fakeMachine) Recording() map[media.StreamID]bool {
	out := map[media.StreamID]bool{}
	for _, j := range m.b.live.Recorded() {
		out[j.Stream.ID] = true
	}
	return out
}

func (m fakeMachine) Status(context.Context) (Status, error) {
	return Status{
		Version: "0.1.0", Started: time.Now(), DaysLeft: 12.5, BytesPerDay: -1, Keys: keys.KeyFile, FIPS: true, Module: "v1.0.0", Certificate: m.b.cert.Fingerprint(),
		Volumes: []Volume{{ID: "v1", Name: "disk", State: "online", Total: 100, Free: 50, Used: 40, Reserve: 5}},
	}, nil
}

// fakeDisks is one empty disk, and what was chosen.
type fakeDisks struct {
	fixed  text.Note
	chosen string
	places int // asked for
}

func (d *fakeDisks) Now() Kept {
	return Kept{Place: Place{Folder: "/var/lib/vigil/video", Exists: true, Kind: "ext4", Device: "/dev/sda1", Mount: "/", Total: 100, Free: 90, Room: 80, System: true}, Fixed: d.fixed, Chosen: d.chosen != ""}
}

func (d *fakeDisks) Places() []Place {
	d.places++
	return []Place{{Folder: "/mnt/disk", Exists: true, Total: 1000, Free: 1000, Room: 950}}
}

func (d *fakeDisks) Look(folder string) Place {
	p := Place{Folder: folder}
	if !strings.HasPrefix(folder, "/mnt/") {
		p.Why = text.Note{Code: "storage.temporary", Args: map[string]string{"folder": folder}}
	}
	return p
}

func (d *fakeDisks) Choose(_ context.Context, _ actor.Actor, folder string) (bool, error) {
	if p := d.Look(folder); p.Why.Code != "" {
		return false, &text.Failure{Note: p.Why}
	}
	again := d.chosen != folder
	d.chosen = folder
	return again, nil
}
