package simcam

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
)

// A boot is one run of a camera's server, from power-on to reboot.
type boot struct {
	cam *Camera
	srv *gortsplib.Server
	on  chan struct{} // closed once the feeds have their outlets: who connects earlier waits
}

// start opens the ports and gives each feed its outlet.
func (c *Camera) start() (*boot, error) {
	b := &boot{cam: c, on: make(chan struct{})}
	ready := sync.OnceFunc(func() { close(b.on) })
	defer ready()
	b.srv = &gortsplib.Server{
		Handler: b, RTSPAddress: c.addr, WriteQueueSize: 1024, DisableRTCPSenderReports: true,
		AuthMethods: map[Auth][]auth.VerifyMethod{
			DigestMD5:    {auth.VerifyMethodDigestMD5},
			DigestSHA256: {auth.VerifyMethodDigestSHA256},
			DigestBoth:   {auth.VerifyMethodDigestMD5, auth.VerifyMethodDigestSHA256},
			Basic:        {auth.VerifyMethodBasic},
		}[c.cfg.Auth],
	}
	if b.srv.AuthMethods == nil {
		return nil, fmt.Errorf("authentication %q", c.cfg.Auth)
	}
	conf := c.tlsConfig()
	switch {
	case c.cfg.Listener != nil:
		b.srv.Listen = func(string, string) (net.Listener, error) { return listener{c.cfg.Listener}, nil }
	case c.cfg.SRTP:
		b.srv.TLSConfig, b.srv.TLSListen = conf, listen
	case c.cfg.TLS:
		b.srv.Listen = func(network, addr string) (net.Listener, error) { return listen(network, addr, conf) }
	default:
		b.srv.Listen = func(network, addr string) (net.Listener, error) { return listen(network, addr, nil) }
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	c.addr = b.srv.NetListener().Addr().String()
	for _, f := range c.feeds {
		if err := f.powerOn(b.srv); err != nil {
			ready() // Close waits for the connections
			b.srv.Close()
			return nil, err
		}
	}
	return b, nil
}

// open starts the server; UDP needs an even port and the one above, which
// others may take between looking and opening.
func (b *boot) open() error {
	c := b.cam
	if c.cfg.NoUDP {
		return b.srv.Start()
	}
	host, _, _ := net.SplitHostPort(c.addr)
	var err error
	for range 50 {
		if c.udp == 0 {
			p, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
			if err != nil {
				return err
			}
			c.udp = p.LocalAddr().(*net.UDPAddr).Port &^ 1
			p.Close()
		}
		b.srv.UDPRTPAddress = net.JoinHostPort(host, fmt.Sprint(c.udp))
		b.srv.UDPRTCPAddress = net.JoinHostPort(host, fmt.Sprint(c.udp+1))
		if err = b.srv.Start(); err == nil {
			return nil
		}
		c.udp = 0
		var op *net.OpError
		if errors.As(err, &op) && op.Net == "tcp" {
			return err
		}
	}
	return err
}

// powerOn makes the feed's RTP streams; as with a real camera all numbers of
// RTP begin anew.
func (f *Feed) powerOn(srv *gortsplib.Server) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := &outlet{}
	newLine := func(typ description.MediaType, h *playhead) line {
		m := &description.Media{Type: typ, Formats: []format.Format{h.film.format(f.sets)}}
		return line{media: m, seq: uint16(rand.Uint32()), stamp: rand.Uint32()}
	}
	desc := &description.Session{Title: "simcam " + f.stream.Path}
	o.video = newLine(description.MediaTypeVideo, f.video)
	desc.Medias = append(desc.Medias, o.video.media)
	if f.sound != nil {
		o.sound = newLine(description.MediaTypeAudio, f.sound)
		desc.Medias = append(desc.Medias, o.sound.media)
	}
	o.stream = &gortsplib.ServerStream{Server: srv, Desc: desc}
	if err := o.stream.Initialize(); err != nil {
		return fmt.Errorf("stream %q: %w", f.stream.Path, err)
	}
	stats := o.stream.Stats()
	for _, l := range []*line{&o.video, &o.sound} {
		if l.media != nil {
			l.ssrc = stats.Medias[l.media].Formats[l.media.Formats[0]].LocalSSRC
		}
	}
	f.out = o
	return nil
}

func (f *Feed) powerOff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out != nil {
		f.out.stream.Close()
		f.out = nil
	}
}

// describe brings the SDP up to date. Kept by f.mu.
func (f *Feed) describe() {
	if f.out == nil {
		return
	}
	switch now := f.video.film.format(f.sets).(type) {
	case *format.H264:
		f.out.video.media.Formats[0].(*format.H264).SafeSetParams(now.SPS, now.PPS)
	case *format.H265:
		f.out.video.media.Formats[0].(*format.H265).SafeSetParams(now.VPS, now.SPS, now.PPS)
	}
}

// admit is what all requests pass: the feed of a path, or the refusal.
func (b *boot) admit(sc *gortsplib.ServerConn, req *base.Request, path string) (*Feed, *base.Response, error) {
	<-b.on
	c := b.cam
	c.mu.Lock()
	user, pass := c.user, c.password
	c.mu.Unlock()
	known := user == ""
	if !known {
		// MD5 is what most cameras have, and a simulated one may have it in a build
		// for FIPS 140-3 as well.
		fips140.WithoutEnforcement(func() { known = sc.VerifyCredentials(req, user, pass) })
	}
	if !known {
		return nil, &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{}}, liberrors.ErrServerAuth{}
	}
	f := c.Feed(strings.Trim(path, "/"))
	if f == nil {
		return nil, &base.Response{StatusCode: base.StatusNotFound}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil || time.Now().Before(f.offline) {
		return nil, &base.Response{StatusCode: base.StatusServiceUnavailable}, nil
	}
	return f, &base.Response{StatusCode: base.StatusOK}, nil
}

func (f *Feed) serverStream() *gortsplib.ServerStream {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		return nil
	}
	return f.out.stream
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (b *boot) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	f, res, err := b.admit(ctx.Conn, ctx.Request, ctx.Path)
	if f == nil {
		return res, nil, err
	}
	st := f.serverStream()
	if st == nil {
		return &base.Response{StatusCode: base.StatusServiceUnavailable}, nil, nil
	}
	return res, st, nil
}

// A seat is what a session takes: one of Config.MaxSessions.
type seat struct {
	feed    *Feed
	channel byte // of the first medium that was set up
}

// soundOf tells whether a SETUP is for the second medium of a path.
func soundOf(r *base.Request) bool { return strings.HasSuffix(r.URL.String(), "trackID=1") }

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (b *boot) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	f, res, err := b.admit(ctx.Conn, ctx.Request, ctx.Path)
	if f == nil {
		return res, nil, err
	}
	st := f.serverStream()
	c := b.cam
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st == nil:
		return &base.Response{StatusCode: base.StatusServiceUnavailable}, nil, nil
	case c.noSound == SoundRefused && soundOf(ctx.Request):
		return &base.Response{StatusCode: base.StatusInternalServerError}, nil, nil
	case c.noSound == SoundHangsUp && soundOf(ctx.Request):
		ctx.Conn.Close()
		return &base.Response{StatusCode: base.StatusInternalServerError}, nil, nil
	case c.noTCP && ctx.Transport.Protocol == gortsplib.ProtocolTCP:
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	if ctx.Session.UserData() == nil {
		if c.limit > 0 && c.seats >= c.limit {
			return &base.Response{StatusCode: base.StatusNotEnoughBandwidth}, nil, nil
		}
		c.seats++
		s := &seat{feed: f}
		var ts headers.Transports
		if ts.Unmarshal(ctx.Request.Header["Transport"]) == nil {
			for _, t := range ts {
				if t.InterleavedIDs != nil {
					s.channel = byte(t.InterleavedIDs[0])
					break
				}
			}
		}
		ctx.Session.SetUserData(s)
	}
	return res, st, nil
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (b *boot) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	f, res, err := b.admit(ctx.Conn, ctx.Request, ctx.Path)
	if f == nil {
		return res, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		return &base.Response{StatusCode: base.StatusServiceUnavailable}, nil
	}
	var c *conn
	if s, ok := ctx.Session.UserData().(*seat); ok && ctx.Session.Transport().Protocol == gortsplib.ProtocolTCP {
		if c, _ = ctx.Conn.NetConn().(*conn); c != nil {
			c.channel = s.channel
		}
	}
	f.readers[ctx.Session] = c
	f.count.Plays++
	f.out.video.report, f.out.sound.report = time.Time{}, time.Time{} // a report with the next packet
	return res, nil
}

// OnSessionClose implements gortsplib.ServerHandlerOnSessionClose.
func (b *boot) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	s, ok := ctx.Session.UserData().(*seat)
	if !ok {
		return
	}
	b.cam.mu.Lock()
	b.cam.seats--
	b.cam.mu.Unlock()
	s.feed.mu.Lock()
	delete(s.feed.readers, ctx.Session)
	s.feed.mu.Unlock()
}

// OnStreamWriteError implements gortsplib.ServerHandlerOnStreamWriteError: the
// queue of a reader is full. Called with Feed.mu held.
func (b *boot) OnStreamWriteError(ctx *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	if s, ok := ctx.Session.UserData().(*seat); ok {
		s.feed.late.Add(1)
	}
}

// OnPacketsLost and OnDecodeError keep the server's library from logging.
func (b *boot) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError implements gortsplib.ServerHandlerOnDecodeError.
func (b *boot) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}
