package rtsp

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"vigil/internal/socket"
)

// A paced is a connection that is read at fixed times, the same for all of
// the process, instead of at every packet: waking up costs more than reading.
// What has come lies in the kernel meanwhile. Its reader pays with a pace of delay and of
// uncertainty about the arrival.
type paced struct {
	*net.TCPConn
	sock  *socket.Conn
	every time.Duration // 0: not begun, an ordinary connection
	empty bool          // the last read left nothing
}

// lowWater is how much may lie in the kernel before it wakes us all the same;
// the kernel makes room for twice as much.
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

// Read waits for the next time to read when the last read left nothing. A
// deadline that passes meanwhile is noticed then.
func (p *paced) Read(b []byte) (int, error) {
	if p.every == 0 || len(b) == 0 {
		return p.TCPConn.Read(b)
	}
	for {
		if p.empty {
			time.Sleep(p.every - time.Duration(time.Now().UnixNano())%p.every)
		}
		n, err := p.sock.TryRead(b)
		if errors.Is(err, syscall.EAGAIN) {
			p.empty = true
			continue
		}
		p.empty = n < len(b) && n < plenty
		return n, err
	}
}
