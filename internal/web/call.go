package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/auth"
	"vigil/internal/mark"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/text"
)

// base is where the interface begins.
const base = "/api/v1"

// A call is one request on its way: what was found out about it so far.
type call struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	lang    text.Lang
	source  string        // address it came from
	session *auth.Session // nil: nobody, or the console
	subject access.Subject
	right   access.Right     // that was allowed
	camera  *settings.Camera // of the path, when it names one
	stream  *settings.Stream // of the path
	export  Export           // of the path
	mark    mark.Mark        // of the path

	markRemoved bool // it can be brought back
}

// who is the caller.
func (c *call) who() actor.Actor { return c.subject.Actor }

// may tells whether the caller may do more: for lists, and for as long as an
// answer lasts.
func (c *call) may(a access.Action, camera media.CameraID) bool {
	return access.Allow(c.subject, access.Right{Action: a, Camera: camera}) == nil
}

type handled struct{ route }

// ServeHTTP is never called: the mux only finds the route.
func (handled) ServeHTTP(http.ResponseWriter, *http.Request) {}

func handlerOf(r route) http.Handler { return handled{r} }

// ServeHTTP is the way of every request. The order is that of cost: what a
// stranger can make us do comes last.
//
//  1. Headers for every answer, and the bound of the body, which is the route's.
//  2. The rate of the source.
//  3. The route. Unknown is 404, before anything is looked up.
//  4. No changes for other websites.
//  5. Who asks; what is asked of; whether they may: access.Allow.
//  6. The handler.
//
//vigil:clause 5.2.5.1 5.2.6.1
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Server: s, w: w, r: r, lang: text.Choose(r.Header.Get("Accept-Language"))}
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			s.Log.Error("request panicked", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			say(http.StatusInternalServerError, "internal", "id", "panic").write(w, c.lang)
		}
	}()
	secure(w.Header())
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(bodyTime))    // an error: the server is a test's
	rc.SetWriteDeadline(time.Now().Add(answerTime)) // long answers move it on
	if err := c.serve(); err != nil {
		s.problemOf(err).write(w, c.lang)
	}
}

func (c *call) serve() error {
	r := c.r
	h, pattern := c.mux.Handler(r)
	found, ok := h.(handled)
	most := max(found.body, maxBody)
	if r.ContentLength > most {
		return say(http.StatusRequestEntityTooLarge, "too-large", "max", strconv.FormatInt(most, 10))
	}
	r.Body = http.MaxBytesReader(c.w, r.Body, most)
	console, isConsole := r.Context().Value(connKey{}).(actor.Actor)
	var key string
	c.source, key = sourceOf(r.RemoteAddr)
	if !isConsole {
		if wait_, ok := c.rates.allow(key, false); !ok {
			return wait("too-many-requests", wait_.Seconds())
		}
	}
	if r.URL.Path != path.Clean(r.URL.Path) || r.Method == http.MethodConnect {
		return notFound()
	}
	if !strings.HasPrefix(r.URL.Path, base+"/") {
		return c.page.serve(c)
	}
	if pattern == "" || !ok {
		return c.otherMethods()
	}
	if r.Method == http.MethodHead && !found.head {
		return say(http.StatusMethodNotAllowed, "method-not-allowed")
	}
	c.mux.ServeHTTP(c.w, r) // sets the path's values; the handler does nothing
	if err := c.cross.Check(r); err != nil {
		return say(http.StatusForbidden, "cross-origin")
	}
	if found.slow && !isConsole {
		if wait_, ok := c.rates.allow(key, true); !ok {
			return wait("too-many-requests", wait_.Seconds())
		}
	}
	if isConsole {
		c.subject = access.Subject{Actor: console}
	} else {
		c.identify()
	}
	if err := c.allow(found.route); err != nil {
		return err
	}
	if c.session != nil && !found.quiet {
		c.Auth.Used(c.session)
	}
	return found.do(c)
}

// otherMethods is 405 where another method would do, else 404.
func (c *call) otherMethods() error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *c.r
		other.Method = m
		if _, pattern := c.mux.Handler(&other); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		return notFound()
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return say(http.StatusMethodNotAllowed, "method-not-allowed")
}

// cookie is the name of the session's cookie. The prefix makes browsers refuse it
// without Secure, with another path, and from other hosts.
const cookie = "__Host-vigil"

// identify finds out who asks; nobody, when there is no session.
func (c *call) identify() {
	c.subject.Actor = actor.Actor{Kind: actor.Nobody, Name: "web", Source: c.source}
	k, err := c.r.Cookie(cookie)
	if err != nil {
		return
	}
	session, err := c.Auth.Session(k.Value)
	if err != nil {
		return
	}
	subject, err := c.Auth.Subject(session)
	if err != nil {
		return
	}
	subject.Actor.Source = c.source // where they are now
	c.session, c.subject = session, subject
}

// allow resolves what the path names and asks access.Allow. Who may not do a thing is
// told so whether or not there is such a camera. A refusal of somebody signed in is recorded.
//
//vigil:clause 5.4.3.1
func (c *call) allow(rt route) error {
	c.right = access.Right{Action: rt.action}
	if rt.action == access.Public {
		return nil
	}
	if c.subject.Actor.Kind == actor.Nobody { // before anything is looked up
		return access.Allow(c.subject, c.right)
	}
	missing := c.resolve(rt)
	err := access.Allow(c.subject, c.right)
	if errors.Is(err, access.ErrDenied) {
		_ = c.record("access", c.r.Method+" "+c.r.URL.Path, audit.Denied, string(rt.action), nil)
	}
	if err == nil && missing {
		return notFound()
	}
	return err
}

// resolve finds the camera that the path names; true: there is no such thing.
func (c *call) resolve(rt route) (missing bool) {
	doc := c.Settings.Get()
	value := c.r.PathValue(rt.camera)
	switch rt.camera {
	case "":
		return false
	case "camera":
		if id, err := media.ParseID[struct{}](value); err == nil {
			c.camera = doc.Camera(media.CameraID(id))
		}
	case "stream":
		if id, err := media.ParseID[struct{}](value); err == nil {
			c.camera, c.stream = doc.Stream(media.StreamID(id))
		}
	case "export":
		if _, err := media.ParseID[struct{}](value); err != nil {
			break
		}
		var ok bool
		if c.export, ok = c.Exports.Get(value); ok {
			c.right.Camera = c.export.Camera
			return false
		}
	case "mark":
		var ok bool
		if c.mark, c.markRemoved, ok = c.Marks.Find(value); ok {
			c.camera = doc.Camera(c.mark.Cameras[0])
		}
	}
	if c.camera == nil {
		c.right.Camera = media.CameraID{0: 1} // nobody's: an account for some cameras has no right to it
		return true
	}
	c.right.Camera = c.camera.ID
	return false
}

// record writes an audit record of what the caller does, durable before there
// is an answer.
func (c *call) record(action audit.Action, object string, result audit.Result, reason string, detail map[string]string) error {
	_, err := c.Audit.Record(c.act(action, object, result, reason, detail))
	return err
}

// note is record for looking at footage, a hundred times a minute on a
// timeline: it does not wait for the disk.
func (c *call) note(action audit.Action, object string, detail map[string]string) error {
	_, err := c.Audit.Note(c.act(action, object, audit.OK, "", detail))
	return err
}

func (c *call) act(action audit.Action, object string, result audit.Result, reason string, detail map[string]string) audit.Record {
	r := audit.Record{Actor: c.who(), Action: action, Object: object, Result: result, Reason: reason, Detail: detail}
	if c.camera != nil {
		r.Camera = c.camera.ID
	}
	return r
}

// body reads the JSON of a request: one value, its fields spelled as in the
// document, each at most once.
func (c *call) body(into any) error {
	if t, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return say(http.StatusUnsupportedMediaType, "not-json")
	}
	b, err := io.ReadAll(c.r.Body)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(into)
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		return mistake(fieldAt(b, typ.Offset), "wrong-type")
	case err != nil:
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // the package has no type for it
			if name, err := strconv.Unquote(name); err == nil {
				return mistake(fieldOf(b, name), "unknown-field")
			}
		}
		return say(http.StatusBadRequest, "bad-request")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return say(http.StatusBadRequest, "bad-request")
	}
	return spelled(b, into)
}

// answer sends a value as JSON.
func (c *call) answer(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	c.w.Write(b) // an error: the caller left
	return nil
}

func (c *call) nothing() error {
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxInstant is the year 2262.
const maxInstant = 9223372036854

// instant reads a time from the query; ok is false when it is not there.
func (c *call) instant(m *text.Mistakes, name string, required bool) (t time.Time, ok bool) {
	v := c.r.URL.Query().Get(name)
	if v == "" {
		if required {
			m.Add("?"+name, "required")
		}
		return t, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > maxInstant {
		m.Add("?"+name, "instant")
		return t, false
	}
	return time.UnixMilli(n), true
}

// flag reads true or false from the query; left out it is false.
func (c *call) flag(name string) (bool, error) {
	switch c.r.URL.Query().Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, mistake("?"+name, "one-of", "choices", "true, false")
}

// ms is a time in the interface.
func ms(t time.Time) int64 { return t.UnixMilli() }

// some is ms of what may be missing.
func some(t time.Time) *int64 {
	if t.IsZero() || t.UnixMilli() < 0 {
		return nil
	}
	n := t.UnixMilli()
	return &n
}
