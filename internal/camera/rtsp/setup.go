package rtsp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/camera/rtsp/sdp"
)

// setup sets up the video and then the sound. Trouble with the sound is a note
// and costs the video nothing, but for one connection where a camera hangs up
// or falls silent.
func (s *session) setup(ctx context.Context) error {
	muted := s.mem.mutedFor > 0
	s.mem.mutedFor -= min(1, s.mem.mutedFor)
	s.udp = s.o.Transport == UDP || s.o.Transport == Auto && s.mem.udp
	s.c.frame = s.take
	for i, m := range s.desc.Tracks {
		video := i == 0
		if !video && !s.o.Audio {
			continue
		}
		if !video && muted {
			s.note(Note{"audio-left-out", args("what", s.mem.muted)})
			continue
		}
		t, err := s.newTrack(m, len(s.tracks))
		if err == nil {
			s.asked = s.asked || !video
			if !video {
				s.c.replyIn = soundTimeout
			}
			err = s.setupTrack(ctx, t)
			s.c.replyIn = replyTimeout
		}
		var e *Error
		errors.As(err, &e)
		switch {
		case err == nil:
			s.agreed.Tracks = append(s.agreed.Tracks, m)
			s.agreed.Known = append(s.agreed.Known, t.depay.Track())
			s.agreed.SRTP = s.agreed.SRTP || t.opening != nil
		case video || ctx.Err() != nil:
			return err
		case e != nil && e.ends():
			s.mem.mute(e.Code) // the connection is of no more use to the video either
			return err
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
// TCP means UDP from now on, 404 and its like another way to join the address,
// 463 of an Axis that it wants our keys.
func (s *session) setupTrack(ctx context.Context, t *track) error {
	urls := joins(s.bases, t.m.Control)
	var first error // what the likeliest address was refused for
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
		video := t.place == 0
		switch {
		case (video && elsewhere(err) || e.Code == NotFound) && i+1 < len(urls): // sound is not worth a camera's patience
			i++
			first = cmp.Or(first, err)
		case e.Code == NoTransport && t.m.Profile == sdp.AVPF:
			t.m.Profile = sdp.AVP // feedback is not ours to give
		case e.Code == NoTransport && !s.udp && s.o.Transport == Auto && len(s.tracks) == 0:
			s.udp, s.mem.udp = true, true
			s.note(Note{"tcp-refused", nil})
		case e.Code == keysWanted && !s.mem.clientKeys:
			s.mem.clientKeys = true
		case elsewhere(err), video && e.Code == Lost:
			return cmp.Or(first, err)
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

// begin takes the session that a reply names. The first counts: H264DVR gives
// each track a number and plays under that of the first.
func (s *session) begin(m *message) {
	id, timeout := parseSession(m.get("session"))
	if id == "" || s.c.id != "" && s.c.id != id {
		return
	}
	s.c.id = id
	if s.timeout == 0 || timeout < s.timeout {
		s.timeout = timeout
	}
}

// elsewhere tells whether a refusal may mean that the address is not the one
// that the camera wants: not found, not understood, not for a track, not for all.
func elsewhere(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	status := e.Args["status"]
	return e.Code == NotFound || e.Code == Status && (status == "400" || status == "459" || status == "460")
}

// agree takes what the camera made of a SETUP: its own channels, ports, source
// and keys.
func (s *session) agree(t *track, m *message, key *clientKey, url string, channel int) error {
	s.begin(m)
	s.c.begun = true
	r := parseTransport(m.get("transport"))
	if s.udp && r.tcp || !s.udp && r.udp && !r.tcp || r.said && r.secure != t.m.Profile.Secure() {
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
