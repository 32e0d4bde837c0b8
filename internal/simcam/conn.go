package simcam

import (
	"crypto/tls"
	"net"
	"sync"
)

// A conn is an RTSP connection into which bytes can be slipped: between the
// interleaved frames and responses, each of which the server writes at once.
type conn struct {
	net.Conn
	mu      sync.Mutex // one Write at a time
	channel byte       // of the pictures; kept by Feed.mu
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Write(b)
}

// listener hands out conns. The TLS layer, if any, is below them: slipped-in
// bytes are encrypted like all others.
type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// listen opens the camera's port. With TLS but without SRTP the server does
// not know of the encryption: it then offers RTP/AVP, as most cameras do.
func listen(network, addr string, conf *tls.Config) (net.Listener, error) {
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	return listener{l}, nil
}
