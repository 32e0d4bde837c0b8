// Package web is the one door of the core: the page, the interface under
// /api/v1 (openapi.yaml), and the same interface on a control socket for the
// command line.
//
//	browser, programs --HTTPS--> [web] -> auth: who? -> access: may they? -> settings, live, footage ...
//	command line --Unix socket---/
//
// Every request goes one way: [Server.ServeHTTP] finds its route in the table of routes.go,
// who asks, of which camera, asks access.Allow, and only then calls the handler. There is
// no other way to a handler, and a route without a right does not compile.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/auth"
	"vigil/internal/layout"
	"vigil/internal/mark"
	"vigil/internal/settings"
)

// Options are what the server stands on. All but Log are needed.
type Options struct {
	Auth       *auth.Place
	Settings   *settings.Store
	Audit      Audit
	Cameras    Cameras
	Prober     Prober
	Footage    Footage
	Pictures   Pictures
	Exports    Exports
	Layouts    *layout.Store
	Marks      *mark.Store
	Alerts     Alerts
	Machine    Machine
	Disks      Disks
	Demo       func() (address string, err error) // where the demonstration camera answers, or will: host:port
	ThirdParty func() ([]Part, error)
	Clauses    func() ([]Clause, error)
	Own        *Certificate // what Serve shows
	Checker    Checker
	Hub        *Hub // what the other parts tell who watches /events
	Log        *slog.Logger
}

// A Server answers requests. Serve and ServeControl are its parts.
type Server struct {
	Options
	mux   *http.ServeMux
	page  *page
	cross *http.CrossOriginProtection
	rates rates
	slots slots
	looks looks

	watched watched
	probes  chan struct{}
	done    chan struct{} // closed when the server stops: long answers end
	stop    sync.Once

	fileRounds int // of PBKDF2, for a sealed file of settings
}

// New makes a server; nothing listens yet.
func New(o Options) (*Server, error) {
	p, err := newPage()
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		Options: o, page: p, cross: http.NewCrossOriginProtection(), rates: newRates(), slots: newSlots(),
		probes: make(chan struct{}, maxProbes), done: make(chan struct{}), mux: http.NewServeMux(), fileRounds: settings.FileRounds,
	}
	for _, r := range routes {
		s.mux.Handle(r.method+" "+base+r.path, handlerOf(r))
	}
	return s, nil
}

// How long things may take. An answer without end has a deadline for each
// write instead.
const (
	headerTime = 10 * time.Second
	bodyTime   = 20 * time.Second
	answerTime = 60 * time.Second
	writeTime  = 15 * time.Second
	idleTime   = 2 * time.Minute
	stopTime   = 2 * time.Second
	maxHeader  = 16 << 10
)

func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug), // strangers can fill it
		// "OPTIONS *" too goes the one way.
		DisableGeneralOptionsHandler: true,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 64, MaxReadFrameSize: 16 << 10, SendPingTimeout: 30 * time.Second, PingTimeout: writeTime, WriteByteTimeout: writeTime},
		ConnContext:                  connContext,
	}
}

// TLS is what the server offers: TLS 1.2 and 1.3, AES-GCM with ephemeral keys
// on NIST curves, no fall-back to less.
//
//vigil:clause 5.3.1.1
func TLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		GetCertificate: certificate,
		MinVersion:     tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, // for an uploaded RSA certificate
		},
		CurvePreferences: []tls.CurveID{tls.CurveP256, tls.CurveP384},
		NextProtos:       []string{"h2", "http/1.1"},
	}
}

// Serve answers over TLS on a listener until ctx ends; then long answers are
// ended, short ones get a moment, and the listener is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	srv := s.server(s)
	srv.TLSConfig = config
	return s.run(ctx, srv, func() error { return srv.ServeTLS(limitConns(l), "", "") })
}

// ServeControl answers on a Unix socket for processes of the same user, and of
// root, until ctx ends. The kernel says who calls.
//
//vigil:clause 5.4.1.1
func (s *Server) ServeControl(ctx context.Context, name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) { // left by a kill; who serves holds the lock of the state
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	srv := s.server(s)
	return s.run(ctx, srv, func() error { return srv.Serve(sameUser{l, s.Log}) })
}

func (s *Server) run(ctx context.Context, srv *http.Server, serve func() error) error {
	end := make(chan error, 1)
	go func() { end <- serve() }()
	select {
	case err := <-end:
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	s.stop.Do(func() { close(s.done) })
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if srv.Shutdown(short) != nil {
		srv.Close()
	}
	<-end
	return nil
}

// A sameUser lets only processes of our user and of root in.
type sameUser struct {
	*net.UnixListener
	log *slog.Logger
}

type peerConn struct {
	net.Conn
	who actor.Actor
}

// Accept asks the kernel who calls.
func (l sameUser) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		cred, err := peer(c)
		if err == nil && (int(cred.Uid) == os.Geteuid() || cred.Uid == 0) {
			return peerConn{c, actor.Actor{Kind: actor.Console, Name: fmt.Sprintf("uid %d", cred.Uid), Source: fmt.Sprintf("process %d", cred.Pid)}}, nil
		}
		l.log.Warn("control socket refused a caller", "err", err)
		c.Close()
	}
}

func peer(c *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return nil, cerr
	}
	return cred, err
}

type connKey struct{}

// connContext carries who is at the other end of the control socket. Nothing in a
// request can set it.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(peerConn); ok {
		return context.WithValue(ctx, connKey{}, p.who)
	}
	return ctx
}
