package rtsp

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"vigil/internal/camera/rtsp/sdp"
)

// A session is one Play: a connection from its start to its end.
type session struct {
	o   *Options
	mem *Memory
	h   Handler

	c         *conn
	public    string // the methods the camera lists
	desc      sdp.Description
	bases     []string
	agreed    Session
	playURL   string
	timeout   time.Duration
	keep      keeper
	udp       bool
	asked     bool // for sound too
	described bool // the handler was told
	played    time.Time

	mu      sync.Mutex // UDP: the sockets' goroutines against Play's
	stats   Stats      // guarded by mu
	tracks  []*track   // filled before packets are taken; what is in them is guarded by mu
	readers sync.WaitGroup
}

// Play connects to a camera and plays its stream until ctx ends, the camera
// does, or h wants it. It says goodbye to the camera whatever the reason, and
// returns with none of its goroutines left. Its error is an *Error, h's own, or
// that of ctx; m may be nil.
func Play(ctx context.Context, o Options, m *Memory, h Handler) error {
	o.defaults()
	if err := o.Check(); err != nil {
		return err
	}
	if m == nil {
		m = new(Memory)
	}
	s := &session{o: &o, mem: m, h: h}
	err := s.run(ctx)
	s.goodbye(err)
	return err
}

func (s *session) run(ctx context.Context) (err error) {
	if s.c, err = connect(ctx, s.o, s.o.URL); err != nil {
		return err
	}
	if err := s.options(ctx); err != nil {
		return err
	}
	if err := s.describe(ctx); err != nil {
		return err
	}
	if err := s.setup(ctx); err != nil {
		return err
	}
	if err := s.play(ctx); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Code != SessionLimit && s.asked && ctx.Err() == nil {
			s.mem.mute(e.Code) // some play either and not both, or hang up once they have said no
		}
		return err
	}
	if s.asked {
		s.mem.mutes = 0
	}
	err = s.stream(ctx)
	s.learn(ctx)
	return err
}

// options asks what the camera can do. Whatever it answers, the next step
// shows; but it is the cheapest way to find out who is there.
func (s *session) options(ctx context.Context) error {
	m, err := s.c.request(ctx, "OPTIONS", s.c.to.String())
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Code == Lost && !s.c.redialled:
		// closed, with an answer or without: ask again for what matters
		return s.c.redial(ctx)
	case err != nil:
		return err
	}
	s.public = m.get("public")
	return nil
}

// hops is how often a camera may send us on.
const hops = 3

// describe asks for the session description, following redirections to
// another port or path of the same host.
func (s *session) describe(ctx context.Context) error {
	var m *message
	for hop := 0; ; hop++ {
		var err error
		if m, err = s.c.request(ctx, "DESCRIBE", s.c.to.String(), field{"Accept", "application/sdp"}); err != nil {
			return err
		}
		if !slices.Contains([]int{301, 302, 303, 307, 308}, m.status) {
			break
		}
		to, ok := s.c.to.redirected(m.get("location"))
		if !ok || hop == hops {
			return fail(Redirect, nil, "location", withoutUser(m.get("location")))
		}
		s.c.close()
		if s.c, err = connect(ctx, s.o, to); err != nil {
			return err
		}
	}
	if m.status != 200 {
		return refusal("DESCRIBE", m)
	}
	desc, err := sdp.Parse(m.body)
	if err != nil {
		var e *sdp.Error
		if errors.As(err, &e) {
			return &Error{Code: e.Code, Args: e.Args}
		}
		return fail(BadReply, err, "step", "DESCRIBE", "what", "session description")
	}
	s.desc = desc
	base := m.get("content-base")
	if base == "" {
		base = m.get("content-location")
	}
	s.bases = bases(base, s.c.to.String())
	if c := undouble(strings.TrimSpace(desc.Control)); absolute(c) && len(c) <= maxURL && plain(c) && !slices.Contains(s.bases, c) {
		s.bases = append(s.bases, c) // ffmpeg joins to this
	}
	s.agreed.Link, s.agreed.Certificate = s.o.Link, s.c.cert
	for _, n := range desc.Notes {
		s.note(Note{n.Code, n.Args})
	}
	return nil
}

// note keeps a fact for the handler, or tells it when it has the others.
func (s *session) note(n Note) {
	if s.described {
		s.h.Note(n)
		return
	}
	if len(s.agreed.Notes) < 32 {
		s.agreed.Notes = append(s.agreed.Notes, n)
	}
}

// play starts the stream.
func (s *session) play(ctx context.Context) error {
	s.described = true
	s.stats.Started = s.o.Clock.Mono()
	s.h.Described(s.agreed)
	if s.udp {
		s.punch()
		s.receive()
	}
	urls := joins(s.bases, s.desc.Control)
	if absolute(undouble(s.desc.Control)) {
		urls = append(urls, s.bases...)
	}
	urls = append(urls, s.tracks[0].control) // some play no two together (459), or have no address but this
	ranged := []field{{"Range", "npt=0.000-"}}
	var first error
	for i := 0; ; {
		s.playURL = urls[i]
		m, err := s.c.request(ctx, "PLAY", s.playURL, ranged...)
		switch {
		case err != nil:
			return err
		case (m.status == 457 || m.status == 400) && ranged != nil: // Invalid Range: some have no beginning
			ranged = nil
			continue
		case m.status != 200:
			err := refusal("PLAY", m)
			if !elsewhere(err) {
				return err
			}
			if first = cmp.Or(first, err); i+1 == len(urls) {
				return first
			}
			i++
			continue
		}
		s.begin(m) // some name the session only now (bluenviron/mediamtx#840), or never
		if s.timeout == 0 {
			s.timeout = defaultTimeout
		}
		s.mu.Lock()
		for _, t := range s.tracks {
			if ssrc, ok := rtpInfoSSRC(m.get("rtp-info"), t.m.Control); ok && !t.src.hasDeclared {
				t.src.declared, t.src.hasDeclared = ssrc, true
			}
		}
		s.stats.Started = s.o.Clock.Mono()
		s.mu.Unlock()
		s.played = time.Now()
		s.keep = newKeeper(s.timeout, s.mem, s.public)
		return nil
	}
}
