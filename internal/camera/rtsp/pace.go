package rtsp

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"vigil/internal/socket"
)

// A paced is a connection that is read at fixed times, the same for all of
// the process, instead of at every packet: waking up costs more than reading.
// What has come lies in the kernel meanwhile; when that is much it is read before. Its reader pays with a pace of
// delay and of uncertainty about the arrival.
type paced struct {
	*net.TCPConn
	sock  *socket.Conn
	every time.Duration // 0: not begun, an ordinary connection
	empty bool          // the last read left nothing

	mu       sync.Mutex
	deadline time.Time // guarded by mu; as it was set
	next     time.Time // guarded by mu; when to read next; zero: at once
}

// lowWater is how much lies in the kernel when it wakes us before the time;
// the kernel makes room for twice as much, so that no camera has to wait for us.
const lowWater = 256 << 10

// plenty in one read is a camera whose window a pace could fill: it is read
// again at once.
const plenty = 48 << 10

// pacing makes nc a connection that can be paced, if it is one.
func pacing(nc net.Conn) net.Conn {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	sock, err := socket.New(tc)
	if err != nil {
		return nc
	}
	return &paced{TCPConn: tc, sock: sock}
}

// pace begins to read the connection at multiples of every, if that is known
// to work: it is asked of the kernel not to wake us before.
func pace(nc net.Conn, every time.Duration) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	p, ok := nc.(*paced)
	if !ok || every <= 0 {
		return
	}
	var fault error
	raw, err := p.SyscallConn()
	if err != nil {
		return
	}
	err = raw.Control(func(fd uintptr) {
		fault = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, lowWater)
	})
	if err == nil && fault == nil {
		p.every = every
	}
}

// SetReadDeadline is that of a net.Conn.
func (p *paced) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return p.until()
}

// SetDeadline is that of a net.Conn.
func (p *paced) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// until has reading end at the deadline, or when it is time to read, whichever is first. Called with mu held.
func (p *paced) until() error {
	t := p.deadline
	if !p.next.IsZero() && (t.IsZero() || p.next.Before(t)) {
		t = p.next
	}
	return p.TCPConn.SetReadDeadline(t)
}

// rest waits until it is time to read, for what the kernel wakes us for before: EAGAIN is the time.
func (p *paced) rest(b []byte) (int, error) {
	now := time.Now()
	p.setNext(now.Add(p.every - time.Duration(now.UnixNano())%p.every))
	n, err := p.sock.Await(b)
	if late := p.setNext(time.Time{}); errors.Is(err, os.ErrDeadlineExceeded) && !late {
		err = syscall.EAGAIN
	}
	return n, err
}

// setNext says when to read next, and returns whether the deadline has passed.
func (p *paced) setNext(t time.Time) (late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = t
	_ = p.until() // a connection that is closed says so to who reads
	return !p.deadline.IsZero() && !time.Now().Before(p.deadline)
}

// Read waits for the next time to read when the last read left nothing.
func (p *paced) Read(b []byte) (int, error) {
	if p.every == 0 || len(b) == 0 {
		return p.TCPConn.Read(b)
	}
	for {
		n, err := 0, error(syscall.EAGAIN)
		if p.empty {
			n, err = p.rest(b)
		}
		if errors.Is(err, syscall.EAGAIN) {
			n, err = p.sock.TryRead(b)
		}
		if errors.Is(err, syscall.EAGAIN) {
			p.empty = true
			continue
		}
		p.empty = n < len(b) && n < plenty
		return n, err
	}
}
