package web

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/mark"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// The table and the document are the same: paths, methods, rights.
//
//vigil:clause 5.2.6.1 5.4.3.1
func TestRoutesAreTheDocument(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	must(t, err)
	must(t, doc.Validate(context.Background()))
	granted := map[string]bool{}
	for _, a := range access.Rights(access.Subject{Actor: personActor, Role: access.Administrator}) {
		granted[string(a)] = true
	}
	seen := map[string]bool{}
	for _, r := range routes {
		at := r.method + " " + r.path
		if seen[at] {
			t.Errorf("%s stands twice in the table", at)
		}
		seen[at] = true
		item := doc.Paths.Find(r.path)
		if item == nil || item.GetOperation(r.method) == nil {
			t.Errorf("%s is not in the document", at)
			continue
		}
		op := item.GetOperation(r.method)
		right, _ := op.Extensions["x-vigil-right"].(map[string]any)
		camera, _ := right["camera"].(string)
		if right["action"] != string(r.action) || camera != r.camera {
			t.Errorf("%s: right %q of %q, the document says %v", at, r.action, r.camera, right)
		}
		switch r.action {
		case access.Public, access.Self, access.Console:
		default:
			if !granted[string(r.action)] {
				t.Errorf("%s: nobody can be granted %q", at, r.action)
			}
		}
		if (r.action == access.Public) != (op.Security != nil && len(*op.Security) == 0) && r.action != access.Console {
			t.Errorf("%s: security in the document does not go with %q", at, r.action)
		}
		for _, name := range []string{"camera", "stream", "export", "mark"} { // a path that names a camera must be judged by it
			if strings.Contains(r.path, "{"+name+"}") && r.camera != name {
				t.Errorf("%s: its right is not of its %s", at, name)
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !seen[method+" "+path] {
				t.Errorf("%s %s is not in the table", method, path)
			}
			if op.OperationID == "" || op.Responses.Default() == nil {
				t.Errorf("%s %s: no operationId or no problem", method, path)
			}
		}
	}
}

var personActor = actor.Actor{Kind: actor.Person, Name: "amy"}

// fill puts ids into a path.
func fill(path string, cam *settings.Camera, export, mark string) string {
	return strings.NewReplacer("{camera}", cam.ID.String(), "{stream}", cam.Streams[0].ID.String(), "{export}", export, "{mark}", mark, "{account}", "amy", "{alert}", "a1", "{change}", "9999").Replace(base + path)
}

func (b *bench) camera(name string) *settings.Camera {
	b.t.Helper()
	c := settings.Camera{
		ID: media.CameraID(media.NewID[struct{}]()), Name: name, Link: wire.LinkPlain, Transport: wire.Auto, User: "viewer", Password: wire.NewSecret("cam-Secret-1"),
		Streams:   []settings.Stream{{ID: media.StreamID(media.NewID[struct{}]()), Kind: settings.Main, URL: "rtsp://192.0.2.1/" + name, Recorded: true}},
		Recording: settings.Recording{On: true, By: "amy"},
	}
	_, doc, err := b.set.Change(personActor, func(d *settings.Doc) error { d.Cameras = append(d.Cameras, c); return nil })
	must(b.t, err)
	b.live.Follow(doc)
	return doc.Camera(c.ID)
}

// Every route of every role, for a camera of one's own and another's: what
// comes is what access.Allow says, and nothing comes without a session.
//
//vigil:clause 5.2.5.1 5.4.1.1 5.4.3.1
func TestEveryRouteNeedsItsRight(t *testing.T) {
	b := newBench(t)
	one, two := b.camera("One"), b.camera("Two")
	b.accounts(
		object{"name": "amy", "role": "administrator"}, object{"name": "bob", "role": "operator", "cameras": []string{one.ID.String()}},
		object{"name": "eve", "role": "viewer"}, object{"name": "joe", "role": "auditor"}, object{"name": "kim", "role": "administrator", "mustChange": true},
	)
	e1, _ := b.exports.Start(context.Background(), personActor, Order{Camera: one.ID, Stream: one.Streams[0].ID, From: time.Unix(1e9, 0), To: time.Unix(1e9+60, 0)})
	e2, _ := b.exports.Start(context.Background(), personActor, Order{Camera: two.ID, Stream: two.Streams[0].ID, From: time.Unix(1e9, 0), To: time.Unix(1e9+60, 0)})
	m1, err := b.srv.Marks.Put(mark.Mark{Cameras: []media.CameraID{one.ID}})
	must(t, err)
	m2, err := b.srv.Marks.Put(mark.Mark{Cameras: []media.CameraID{two.ID}})
	must(t, err)
	people := map[string]*person{"nobody": b.person()}
	for _, name := range []string{"amy", "bob", "eve", "joe", "kim"} {
		people[name] = b.signIn(name)
	}
	for name, p := range people {
		var subject access.Subject
		if name != "nobody" {
			for _, k := range p.http.Jar.Cookies(p.request("GET", "/", nil).URL) {
				session, err := b.auth.Session(k.Value)
				must(t, err)
				subject, err = b.auth.Subject(session)
				must(t, err)
			}
		}
		for _, r := range routes {
			if r.action == access.Public || r.path == "/session" || r.path == "/events" {
				continue // their own tests; sign-out would end this one
			}
			for _, at := range []struct {
				cam    *settings.Camera
				export string
				mark   string
			}{{one, e1.ID, m1.ID}, {two, e2.ID, m2.ID}} {
				right := access.Right{Action: r.action}
				if r.camera != "" {
					right.Camera = at.cam.ID
				}
				want := access.Allow(subject, right)
				b.srv.rates = newRates()
				req := p.request(r.method, fill(r.path, at.cam, at.export, at.mark), nil)
				if r.method == "GET" && strings.HasPrefix(r.path, "/streams/") {
					req.URL.RawQuery = "from=5&to=4&width=1" // a mistake: what is asked is whether one gets so far
				}
				if r.path == "/streams/{stream}/live.mp4" && want == nil {
					continue // TestLive
				}
				resp, err := p.http.Do(req)
				must(t, err)
				resp.Body.Close()
				status := map[error]int{access.ErrNobody: 401, access.ErrDenied: 403, access.ErrMustChange: 403}[want]
				if want != nil && resp.StatusCode != status || want == nil && (resp.StatusCode == 401 || resp.StatusCode == 403) {
					t.Errorf("%s: %s %s of %s: %d, want %d", name, r.method, r.path, at.cam.Name, resp.StatusCode, status)
				}
				if want == nil && r.method == "DELETE" { // put it back
					one, two = b.again(one), b.again(two)
					b.exports.list = []Export{e1, e2}
					for _, m := range []mark.Mark{m1, m2} {
						if _, removed, _ := b.srv.Marks.Find(m.ID); removed {
							_, err := b.srv.Marks.Restore(m.ID)
							must(t, err)
						}
					}
				}
			}
		}
	}
}

// again puts a removed camera back.
func (b *bench) again(cam *settings.Camera) *settings.Camera {
	_, doc, err := b.set.Change(personActor, func(d *settings.Doc) error { *d.Camera(cam.ID) = *cam; return nil })
	must(b.t, err)
	return doc.Camera(cam.ID)
}

// Lists show what one may see, and ids of others are no way around it.
//
//vigil:clause 5.2.6.1
func TestOnlyOnesOwn(t *testing.T) {
	b := newBench(t)
	one, two := b.camera("One"), b.camera("Two")
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "bob", "role": "operator", "cameras": []string{one.ID.String()}})
	b.exports.Start(context.Background(), personActor, Order{Camera: one.ID, Stream: one.Streams[0].ID, From: time.Unix(1e9, 0), To: time.Unix(1e9+60, 0)})
	b.exports.Start(context.Background(), personActor, Order{Camera: two.ID, Stream: two.Streams[0].ID, From: time.Unix(1e9, 0), To: time.Unix(1e9+60, 0)})
	b.alerts.list = []Alert{{ID: "a1", Kind: "camera-lost", Camera: one.ID, Since: time.Unix(1e9, 0)}, {ID: "a2", Kind: "camera-lost", Camera: two.ID, Since: time.Unix(1e9, 0)}}
	amy, bob := b.signIn("amy"), b.signIn("bob")
	for _, list := range []string{"cameras", "exports", "alerts"} {
		if n := len(amy.want(200, "GET", "/"+list, nil)[list].([]any)); n != 2 {
			t.Errorf("amy sees %d %s", n, list)
		}
		if n := len(bob.want(200, "GET", "/"+list, nil)[list].([]any)); n != 1 {
			t.Errorf("bob sees %d %s", n, list)
		}
	}
	bob.want(404, "POST", "/alerts/a2/acknowledge", nil)
	bob.want(200, "POST", "/alerts/a1/acknowledge", nil)
	bob.refused(403, "forbidden", "GET", "/cameras/"+two.ID.String(), nil)
	bob.refused(403, "forbidden", "GET", "/cameras/"+strings.Repeat("0", 26), nil) // as if it were there
	amy.refused(404, "not-found", "GET", "/cameras/"+strings.Repeat("0", 26), nil)
	bob.refused(422, "invalid", "GET", "/cameras/"+one.ID.String()+"/timeline?from=1&to=2&stream="+two.Streams[0].ID.String(), nil)
	got := bob.want(200, "GET", "/cameras/"+one.ID.String(), nil)
	if s := got["streams"].([]any)[0].(object); got["user"] != "" || got["hasPassword"] != false || s["url"] != "" {
		t.Errorf("bob sees how to reach the camera: %v", got)
	}
	denied := b.recorded("access")
	if len(denied) != 2 || denied[0].Actor.Name != "bob" || denied[0].Result != "denied" || denied[0].Reason != "see" {
		t.Errorf("recorded: %+v", denied)
	}
}

// What is unknown is 404 before anything is looked at, for everybody.
//
//vigil:clause 5.2.6.1
func TestUnknown(t *testing.T) {
	b := newBench(t)
	p := b.person()
	for _, path := range []string{"/api/v1/nothing", "/api/v1", "/api/v1/", "/api/v2/setup", "/admin", "/debug/pprof/", "/metrics", "/.git/config", "/index.php", "/ui/dist/index.html", "/.gitkeep",
		"/api/v1/cameras/../setup", "//evil.example/", "/api/v1//setup", "/api/v1/setup/", "/%2e%2e/%2e%2e/etc/passwd", "/assets/", "/assets/..%2f..%2fopenapi.yaml"} {
		for _, method := range []string{"GET", "POST"} {
			resp, err := p.http.Do(p.request(method, path, nil))
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != 404 || resp.Request.URL.Host != strings.TrimPrefix(b.url, "https://") {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
	}
	resp, _ := p.do("DELETE", "/setup", nil)
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, POST" {
		t.Errorf("DELETE /setup: %d, allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	if resp, _ := p.do("HEAD", "/setup", nil); resp.StatusCode != 405 {
		t.Errorf("HEAD /setup: %d", resp.StatusCode)
	}
	req := p.request("OPTIONS", "/", nil)
	req.URL.Path, req.URL.Opaque = "", "*"
	star, err := p.http.Do(req)
	must(t, err)
	star.Body.Close()
	if star.StatusCode != 404 || star.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("OPTIONS *: %d, %v", star.StatusCode, star.Header)
	}
	for _, method := range []string{"TRACE", "PATCH", "OPTIONS", "FOO"} {
		resp, err := p.http.Do(p.request(method, base+"/setup", nil))
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != 405 {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}

// What was said is said again in another language, from its code and arguments; nothing else is told.
func TestSayTexts(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	ask := []object{
		{"key": "camera.auth-failed"}, {"key": "camera.something-new", "args": []object{{"name": "x", "value": "y"}}}, {"key": "mistake.too-long", "args": []object{{"name": "max", "value": "7"}}}, {"key": "problem.nothing.detail"},
		{"key": "mistake.required"}, {"key": "mistake.nothing-such"},
	}
	for lang, want := range map[string][]string{"en": {"user", "something-new", "7", "", "", ""}, "zh-TW": {"使用者", "something-new", "7", "", "", ""}} {
		got := p.want(200, "POST", "/texts", object{"texts": ask}, "Accept-Language", lang)["texts"].([]any)
		for i, w := range want {
			if s := got[i].(string); !strings.Contains(s, w) || (s == "") != (i == 5 || i == 3) || s != "" && i < 5 && lang == "zh-TW" && !strings.ContainsFunc(s, func(r rune) bool { return r > 0x2fff }) {
				t.Errorf("%s: %s: %q", lang, ask[i]["key"], s)
			}
		}
	}
	p.refused(422, "invalid", "POST", "/texts", object{"texts": []object{{"key": "setting.name"}}})
	p.refused(422, "invalid", "POST", "/texts", object{"texts": make([]object, maxTexts+1)})
}

// Every code that problemOf or a handler can say has its texts.
func TestProblemsHaveTexts(t *testing.T) {
	for _, code := range []string{"bad-request", "signed-out", "forbidden", "cross-origin", "password-must-change", "not-found", "method-not-allowed", "too-large", "not-json", "invalid",
		"too-many-requests", "internal", "busy", "setup-done", "setup-code-wrong", "setup-code-expired", "sign-in-failed", "too-many-attempts", "old-password-wrong", "own-account",
		"camera-exists", "settings-changed", "storage-refused", "demo-exists", "stream-not-live", "too-many-streams", "layouts-changed", "too-many-marks", "mark-of-another", "too-many-pictures", "too-many-recodes", "no-picture-decoder", "picture-undecodable", "no-footage", "too-many-exports", "export-not-ready", "export-changed", "no-space", "own-password-wrong", "settings-file-other", "settings-file-damaged", "settings-file-newer", "settings-file-large", "settings-file-refused", "passphrase-wrong",
		settings.UndoNothing, settings.UndoChanged, settings.UndoRemoved, settings.UndoLost, settings.UndoForgotten, settings.UndoReach, settings.UndoRefused, "range-too-long", "range-outside"} {
		if !text.Has("problem." + code) {
			t.Errorf("no text for %s", code)
		}
	}
}
