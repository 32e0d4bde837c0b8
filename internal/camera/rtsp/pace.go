package rtsp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// A paced is a connection that is read at fixed times, the same for all of
// the process, instead of at every packet: waking up costs more than reading.
// What has come lies in the kernel meanwhile. Its reader pays with a pace of delay and of
// uncertainty about the arrival.
type paced struct {
	*net.TCPConn
	raw   syscall.RawConn
	every time.Duration // 0: not begun, an ordinary connection
	empty bool          // the last read left nothing

	look func(uintptr) bool // reads into b without waiting; made once
	b    []byte
	n    int
	err  error
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
	raw, err := tc.SyscallConn()
	if err != nil {
		return nc
	}
	p := &paced{TCPConn: tc, raw: raw}
	p.look = func(fd uintptr) bool {
		for {
			if p.n, p.err = syscall.Read(int(fd), p.b); !errors.Is(p.err, syscall.EINTR) {
				return true
			}
		}
	}
	return p
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
	err := p.raw.Control(func(fd uintptr) {
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
		p.b = b
		err := p.raw.Read(p.look)
		p.b = nil
		switch {
		case err != nil: // a deadline, or closed
			return 0, err
		case errors.Is(p.err, syscall.EAGAIN):
			p.empty = true
			continue
		case p.err != nil:
			return 0, os.NewSyscallError("read", p.err)
		case p.n == 0:
			return 0, io.EOF
		}
		p.empty = p.n < len(b) && p.n < plenty
		return p.n, nil
	}
}
