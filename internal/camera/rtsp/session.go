package rtsp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"vigil/internal/camera/rtsp/depay"
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
		return err
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
	case errors.As(err, &refused) && refused.Code == Lost && s.c.sc.heard && !s.c.redialled:
		// answered, and closed: ask again for what matters
		return s.c.redial(ctx)
	case err != nil:
		return err
	}
	s.public = m.get("public")
	return nil
}

// describe asks for the session description, following one redirection to
// another port or path of the same host.
func (s *session) describe(ctx context.Context) error {
	var m *message
	for hop := 0; ; hop++ {
		var err error
		if m, err = s.c.request(ctx, "DESCRIBE", s.c.to.String(), field{"Accept", "application/sdp"}); err != nil {
			return err
		}
		if m.status != 301 && m.status != 302 {
			break
		}
		to, ok := s.o.URL.redirected(m.get("location"))
		if !ok || hop > 0 {
			return fail(Redirect, nil, "location", m.get("location"))
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

// setup sets up the video and then the sound. Trouble with the sound is a note
// and costs the video nothing.
func (s *session) setup(ctx context.Context) error {
	s.udp = s.o.Transport == UDP || s.o.Transport == Auto && s.mem.udp
	s.c.frame = s.take
	for i, m := range s.desc.Tracks {
		video := i == 0
		if !video && !s.o.Audio {
			continue
		}
		t, err := s.newTrack(m, len(s.tracks))
		if err == nil {
			err = s.setupTrack(ctx, t)
		}
		var e *Error
		switch {
		case err == nil:
			s.agreed.Tracks = append(s.agreed.Tracks, m)
			s.agreed.Known = append(s.agreed.Known, t.depay.Track())
			s.agreed.SRTP = s.agreed.SRTP || t.opening != nil
		case video || ctx.Err() != nil:
			return err
		case errors.As(err, &e) && (e.Code == Lost || e.Code == NoAnswer || e.Code == Gone):
			return err // the connection is of no more use to the video either
		default:
			what := "depacketize"
			if e != nil {
				what = e.Code
			}
			s.note(Note{"audio-left-out", args("what", what)})
		}
	}
	s.agreed.Transport = TCP
	if s.udp {
		s.agreed.Transport = UDP
	}
	return nil
}

func (s *session) newTrack(m sdp.Media, place int) (*track, error) {
	d, err := depay.New(m)
	if err != nil {
		return nil, fail(sdp.UnsupportedCodec, err, "codec", m.Name)
	}
	var own [4]byte
	rand.Read(own[:])
	return &track{s: s, place: place, m: m, depay: d, own: binary.BigEndian.Uint32(own[:]), channels: [2]int{-1, -1}}, nil
}

// setupTrack does one SETUP, with the ways around what cameras refuse: 461 for
// TCP means UDP from now on, 404 another way to join the address, 463 of an
// Axis that it wants our keys.
func (s *session) setupTrack(ctx context.Context, t *track) error {
	urls := joins(s.bases, t.m.Control)
	for i := 0; ; {
		err := s.setupOnce(ctx, t, urls[i])
		var e *Error
		if err == nil {
			s.tracks = append(s.tracks, t)
			return nil
		}
		if t.sockets != nil {
			t.sockets.close()
			t.sockets = nil
		}
		if !errors.As(err, &e) {
			return err
		}
		switch {
		case e.Code == NotFound && i+1 < len(urls):
			i++
		case e.Code == NoTransport && !s.udp && s.o.Transport == Auto && len(s.tracks) == 0:
			s.udp, s.mem.udp = true, true
			s.note(Note{"tcp-refused", nil})
		case e.Code == keysWanted && !s.mem.clientKeys:
			s.mem.clientKeys = true
		default:
			return err
		}
	}
}

// keysWanted is 463 Key Management Failure (RFC 4567 section 4.2), which only
// setupTrack sees.
const keysWanted = "key-management"

func (s *session) setupOnce(ctx context.Context, t *track, url string) error {
	secured := t.m.Profile.Secure()
	if t.m.Profile == sdp.DTLS {
		return fail(SRTPFailed, nil, "reason", "dtls")
	}
	spec := string(t.m.Profile)
	channel := 2 * t.place
	if s.udp {
		if s.o.URL.TLS() && !secured {
			return fail(UnsafeUDP, nil)
		}
		pair, err := s.listen()
		if err != nil {
			return fail(NoTransport, err, "transport", "udp")
		}
		t.sockets = pair
		spec += ";unicast;client_port=" + strconv.Itoa(pair.port()) + "-" + strconv.Itoa(pair.port()+1)
	} else {
		spec += "/TCP;unicast;interleaved=" + strconv.Itoa(channel) + "-" + strconv.Itoa(channel+1)
	}
	extra := []field{{"Transport", spec}}
	var key *clientKey
	if secured {
		var err error
		if key, err = newClientKey(s.mem.clientKeys); err != nil {
			return fail(SRTPFailed, err, "reason", "key")
		}
		h, err := key.header(url, t.own)
		if err != nil {
			return fail(SRTPFailed, err, "reason", "key")
		}
		extra = append(extra, field{"KeyMgmt", h})
	}
	m, err := s.c.request(ctx, "SETUP", url, extra...)
	if err != nil {
		return err
	}
	if m.status == 463 && secured {
		return fail(keysWanted, nil)
	}
	if m.status != 200 && m.status != 201 {
		return refusal("SETUP", m)
	}
	return s.agree(t, m, key, url, channel)
}

// agree takes what the camera made of a SETUP: its own channels, ports, source
// and keys.
func (s *session) agree(t *track, m *message, key *clientKey, url string, channel int) error {
	if id, timeout := parseSession(m.get("session")); id != "" {
		s.c.id, s.timeout = id, timeout
	}
	r := parseTransport(m.get("transport"))
	if r.said && r.tcp == s.udp || r.said && r.secure != t.m.Profile.Secure() {
		return fail(NoTransport, nil, "transport", m.get("transport"))
	}
	t.control = url
	t.src.declared, t.src.hasDeclared = r.ssrc, r.hasSSRC && r.ssrc != 0
	if key != nil {
		if err := t.secure(m, key, s); err != nil {
			return err
		}
	}
	if s.udp {
		t.sockets.answered(r.serverPort)
		t.order = &reorder{out: t.ordered}
		return nil
	}
	t.channels = [2]int{channel, channel + 1}
	if r.interleaved[0] >= 0 {
		t.channels = r.interleaved
	}
	s.c.sc.channels[t.channels[1]] = rtcpChannel
	s.c.sc.channels[t.channels[0]] = rtpChannel
	return nil
}

// secure finds the camera's key: in the reply, in the media's part of the
// description, in ours where the camera took it.
func (t *track) secure(m *message, key *clientKey, s *session) (err error) {
	t.sealing = key.sealing
	if s.mem.clientKeys {
		t.opening, err = newProtection(key.key, key.mki)
		if err != nil {
			return fail(SRTPFailed, err, "reason", "key")
		}
		return nil
	}
	msg := t.m.MIKEY
	if v := m.get("keymgmt"); v != "" {
		if in, err := parseKeyMgmt(v); err == nil {
			msg = in
		} else if msg == nil {
			return fail(SRTPFailed, err, "reason", "keymgmt")
		}
	}
	if msg == nil {
		return fail(SRTPFailed, nil, "reason", "no-mikey")
	}
	var ssrc uint32
	var has bool
	if t.opening, ssrc, has, err = opening(msg); err != nil {
		return fail(SRTPFailed, err, "reason", "mikey")
	}
	if has && !t.src.hasDeclared {
		t.src.declared, t.src.hasDeclared = ssrc, true
	}
	return nil
}

func (s *session) listen() (*socketPair, error) {
	local, ok1 := s.c.nc.LocalAddr().(*net.TCPAddr)
	remote, ok2 := s.c.nc.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return nil, errors.New("not connected over TCP/IP")
	}
	addr := func(a *net.TCPAddr) netip.Addr { return a.AddrPort().Addr() }
	return listenPair(addr(local), addr(remote))
}

// play starts the stream.
func (s *session) play(ctx context.Context) error {
	if s.c.id == "" {
		return fail(BadReply, nil, "step", "SETUP", "what", "no session")
	}
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
	ranged := []field{{"Range", "npt=0.000-"}}
	for i := 0; ; {
		s.playURL = urls[i]
		m, err := s.c.request(ctx, "PLAY", s.playURL, ranged...)
		switch {
		case err != nil:
			return err
		case m.status == 404 && i+1 < len(urls):
			i++
			continue
		case m.status == 457 && ranged != nil: // Invalid Range: some have no beginning
			ranged = nil
			continue
		case m.status != 200:
			return refusal("PLAY", m)
		}
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

// take hands an interleaved frame to its track. Two tracks on one channel are
// told apart by their payload types.
func (s *session) take(it item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var to *track
	for _, t := range s.tracks {
		if !s.described { // before PLAY was sent: of a dead session
			break
		}
		if it.use == rtpChannel && t.channels[0] == int(it.channel) {
			if to = t; t.m.Takes(it.frame[1] & 0x7f) {
				break
			}
		}
		if it.use == rtcpChannel && t.channels[1] == int(it.channel) {
			to = t
			break
		}
	}
	switch {
	case to == nil:
		s.stats.Foreign++
	case it.use == rtpChannel:
		to.take(it.frame, s.o.Clock.Wall())
	default:
		to.takeRTCP(it.frame)
	}
}

// receive starts the goroutines of the sockets; they end when goodbye closes
// them.
func (s *session) receive() {
	for _, t := range s.tracks {
		alone := func() { s.locked(func() { s.stats.Foreign++ }) }
		s.readers.Go(func() {
			receive(t.sockets.rtp, t.sockets.camera,
				func(b []byte) {
					now := s.o.Clock.Wall()
					s.mu.Lock()
					t.take(b, now)
					s.mu.Unlock()
				},
				alone,
				func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					t.order.age(s.o.Clock.Wall())
					return t.order.held > 0
				})
		})
		s.readers.Go(func() {
			receive(t.sockets.rtcp, t.sockets.camera,
				func(b []byte) {
					s.mu.Lock()
					t.takeRTCP(b)
					s.mu.Unlock()
				},
				alone, func() bool { return false })
		})
	}
}

func (s *session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *session) punch() {
	var b [64]byte
	mono := s.o.Clock.Mono()
	for _, t := range s.tracks {
		s.mu.Lock()
		r := t.report(b[:0], mono)
		s.mu.Unlock()
		if r != nil {
			t.sockets.punch(r)
		}
	}
}

// goodbye frees the camera's session: many have a handful, and keep one that
// nobody ended for minutes.
func (s *session) goodbye(why error) {
	if s.c != nil {
		s.c.unhook()
		var e *Error
		gone := errors.As(why, &e) && (e.Code == Lost || e.Code == Gone)
		if s.c.id != "" && !gone {
			s.teardown()
		}
	}
	for _, t := range s.tracks {
		if t.sockets != nil {
			t.sockets.close()
		}
	}
	s.readers.Wait()
	for _, t := range s.tracks {
		units := t.depay.Flush()
		for i := range units {
			if !units[i].NoPicture {
				s.h.Unit(t.place, &units[i])
			}
		}
	}
	if s.c != nil {
		s.c.close()
	}
}

// teardown waits for the reply for a moment: closing with data unread resets
// the connection, and the camera may never read what we said.
func (s *session) teardown() {
	url := s.playURL
	if url == "" {
		url = strings.TrimSuffix(s.bases[0], "/")
	}
	s.c.frame = func(item) {}
	s.c.patience = goodbyeTimeout
	n, err := s.c.send("TEARDOWN", url)
	if err != nil {
		return
	}
	until := time.Now().Add(goodbyeTimeout)
	s.c.nc.SetReadDeadline(until) //nolint:errcheck // closing anyway
	for time.Now().Before(until) {
		it, err := s.c.sc.next()
		if err != nil || it.msg != nil && it.msg.method == "" && it.msg.cseq() == n {
			return
		}
	}
}
