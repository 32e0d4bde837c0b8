package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"vigil/internal/access"
	"vigil/internal/media"
)

// A Hub passes news from the other parts on to who watches /events. It keeps
// nothing: who comes late asks for the lists. Safe for many callers; Tell never waits.
type Hub struct {
	mu   sync.Mutex
	subs map[chan News]bool // guarded by mu
}

// News is that something changed. What it is now is looked up when it is
// told, as the listener may see it.
type News struct {
	Kind NewsKind
	ID   string // of the alert or export
}

// A NewsKind is what changed.
type NewsKind string

// The kinds.
const (
	AlertNews  NewsKind = "alert"
	ExportNews NewsKind = "export"
	StatusNews NewsKind = "status"
	MarksNews  NewsKind = "marks"
)

// NewHub makes a hub.
func NewHub() *Hub { return &Hub{subs: map[chan News]bool{}} }

// Tell passes news on. A listener that is too slow would miss some: its
// channel is closed, so that it comes back and asks for the lists.
func (h *Hub) Tell(n News) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		select {
		case c <- n:
		default:
			delete(h.subs, c)
			close(c)
		}
	}
}

// Break tells every listener to come back and ask: news were lost before they
// came here.
func (h *Hub) Break() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		delete(h.subs, c)
		close(c)
	}
}

func (h *Hub) subscribe() (<-chan News, func()) {
	c := make(chan News, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, c)
	}
}

// beat is how often a comment shows that the connection lives.
const beat = 15 * time.Second

// calm is how long changes of cameras are gathered: bit rates and states come
// in bursts.
const calm = 250 * time.Millisecond

// watchEvents streams news as Server-Sent Events (WHATWG HTML, 9.2). It is no
// use of the session: a page that was left open ends like any other.
func (c *call) watchEvents() error {
	release, ok := c.slots.both("events", c.holder(), c.person(), maxEvents, eventsPerWho)
	if !ok {
		return say(http.StatusServiceUnavailable, "too-many-streams", "max", "10")
	}
	defer release()
	cameras, leave := c.Cameras.Subscribe()
	defer leave()
	news, gone := c.Hub.subscribe()
	defer gone()
	changed := c.Settings.Changed()
	doc := c.Settings.Get()

	s := sender{c: c, rc: http.NewResponseController(c.w)}
	s.rc.SetReadDeadline(time.Time{})
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	s.write([]byte(": vigil\n\n"))

	ping, look := time.NewTicker(beat), time.NewTicker(recheck)
	defer ping.Stop()
	defer look.Stop()
	pending := map[media.CameraID]bool{}
	var flush <-chan time.Time
	for s.err == nil {
		select {
		case <-c.r.Context().Done():
			return nil
		case <-c.done:
			return nil
		case <-c.ended():
			s.event("signed-out", struct{}{})
			return nil
		case <-look.C:
			if c.session == nil {
				continue
			}
			subject, err := c.Auth.Subject(c.session)
			if err == nil {
				err = access.Allow(subject, c.right)
			}
			if err != nil {
				s.event("signed-out", struct{}{})
				return nil
			}
			c.subject = subject
		case <-ping.C:
			s.write([]byte(": beat\n\n"))
		case id := <-cameras:
			pending[id] = true
			if flush == nil {
				flush = time.After(calm)
			}
		case <-flush:
			flush = nil
			recording := c.Machine.Recording()
			now := c.Settings.Get()
			for id := range pending {
				if cam := now.Camera(id); cam != nil && c.may(access.See, id) {
					s.event("camera", c.cameraBody(now, cam, recording))
				}
			}
			clear(pending)
		case <-changed:
			changed = c.Settings.Changed()
			now := c.Settings.Get()
			for i := range doc.Cameras {
				if id := doc.Cameras[i].ID; now.Camera(id) == nil && c.may(access.See, id) {
					s.event("camera-removed", map[string]any{"id": id})
				}
			}
			for i := range now.Cameras {
				pending[now.Cameras[i].ID] = true
			}
			if flush == nil {
				flush = time.After(calm)
			}
			s.event("settings", map[string]any{"version": now.Version})
			doc = now
		case n, ok := <-news:
			if !ok {
				return nil
			}
			s.news(n)
		}
	}
	return nil
}

type sender struct {
	c   *call
	rc  *http.ResponseController
	err error
}

func (s *sender) news(n News) {
	switch n.Kind {
	case AlertNews:
		if a, ok := s.c.Alerts.Get(n.ID); ok && s.c.may(access.See, a.Camera) {
			s.event("alert", s.c.alertBody(a))
		}
	case ExportNews:
		if e, ok := s.c.Exports.Get(n.ID); ok && s.c.may(access.Export, e.Camera) {
			s.event("export", s.c.exportBody(e))
		}
	case StatusNews:
		s.event("status", struct{}{})
	case MarksNews:
		s.event("marks", struct{}{})
	}
}

func (s *sender) event(kind string, v any) {
	b, err := json.Marshal(v) // one line: JSON escapes line breaks
	if err != nil {
		s.err = err
		return
	}
	var out bytes.Buffer
	out.WriteString("event: " + kind + "\ndata: ")
	out.Write(b)
	out.WriteString("\n\n")
	s.write(out.Bytes())
}

func (s *sender) write(b []byte) {
	if s.err != nil {
		return
	}
	s.err = sendPiece(s.c.w, s.rc, b, writeTime)
}
