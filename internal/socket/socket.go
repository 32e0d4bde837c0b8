// Package socket reads and writes sockets with system calls that never wait, and that Go's scheduler is not
// told of.
//
// An ordinary call tells it, as the call might wait. That wakes the runtime's monitor thread, and it looks about
// every 20 µs until the process rests again: of a recorder that does a little many times a second, a tenth
// of all CPU (docs/adr/0064-quiet-sockets.md). Waiting is left to the poller, as usual, and so are deadlines.
package socket

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// A Conn reads and writes a socket. One goroutine may read, and another one write.
type Conn struct {
	raw syscall.RawConn
	in  struct {
		call func(fd uintptr) bool // made once: nothing is allocated for a read
		b    []byte
		wait bool
		rest bool // wait first
		poll pollFd
		n    int
		err  error
	}
	out struct {
		call func(fd uintptr) bool
		vec  []syscall.Iovec
		n    int
		err  error
	}
}

// New returns a Conn of a socket of Go's, which stays the caller's.
func New(c syscall.Conn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Conn{raw: raw}
	s.in.call = func(fd uintptr) bool {
		if s.in.rest {
			s.in.rest = false
			if !s.readable(fd) {
				return false
			}
		}
		s.in.n, s.in.err = call(syscall.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(s.in.b)), len(s.in.b))
		return !s.in.wait || !errors.Is(s.in.err, syscall.EAGAIN)
	}
	s.out.call = func(fd uintptr) bool {
		s.out.n, s.out.err = call(syscall.SYS_WRITEV, fd, unsafe.Pointer(unsafe.SliceData(s.out.vec)), len(s.out.vec))
		return !errors.Is(s.out.err, syscall.EAGAIN)
	}
	return s, nil
}

// call makes a system call on a socket that is not blocking.
func call(number, fd uintptr, p unsafe.Pointer, n int) (int, error) {
	for {
		r, _, e := syscall.RawSyscall(number, fd, uintptr(p), uintptr(n))
		switch e {
		case 0:
			return int(r), nil
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}

// A pollFd is struct pollfd of poll(2).
type pollFd struct {
	fd              int32
	events, revents int16
}

const pollIn = 1 // POLLIN; the end and faults are told too

// readable asks what the poller goes by. It tells of changes only, and one from before is forgotten when waiting begins: with the
// window full by then no other would come.
func (c *Conn) readable(fd uintptr) bool {
	c.in.poll = pollFd{int32(fd), pollIn, 0}
	var now syscall.Timespec
	r, _, _ := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&c.in.poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return r != 0 // also when interrupted: reading says EAGAIN then
}

// Read waits for some bytes, as a net.Conn does.
func (c *Conn) Read(b []byte) (int, error) { return c.read(b, true) }

// TryRead reads what there is; nothing is syscall.EAGAIN.
func (c *Conn) TryRead(b []byte) (int, error) { return c.read(b, false) }

// Await waits until the poller would say that there is something, and reads then: of a socket with a low-water mark
// (SO_RCVLOWAT) when there is so much, or no room for more.
func (c *Conn) Await(b []byte) (int, error) {
	c.in.rest = true
	return c.read(b, true)
}

func (c *Conn) read(b []byte, wait bool) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.in.b, c.in.wait = b, wait
	err := c.raw.Read(c.in.call)
	c.in.b, c.in.rest = nil, false
	switch {
	case err != nil: // a deadline, or closed
		return 0, err
	case c.in.err != nil:
		return 0, os.NewSyscallError("read", c.in.err)
	case c.in.n == 0:
		return 0, io.EOF
	}
	return c.in.n, nil
}

// maxVec is IOV_MAX of Linux.
const maxVec = 1024

// WriteAll writes buffers one after the other, with one system call if the socket takes them.
func (c *Conn) WriteAll(bufs [][]byte) error {
	v := c.out.vec[:0]
	for _, b := range bufs {
		if len(b) > 0 {
			v = append(v, syscall.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))})
		}
	}
	whole := v
	defer func() {
		clear(whole) // the buffers are the caller's again
		c.out.vec = whole[:0]
	}()
	for len(v) > 0 {
		c.out.vec = v[:min(len(v), maxVec)]
		if err := c.raw.Write(c.out.call); err != nil {
			return err
		}
		if c.out.err != nil {
			return os.NewSyscallError("writev", c.out.err)
		}
		for n := uint64(c.out.n); n > 0; {
			if n < v[0].Len {
				v[0].Base, v[0].Len = (*byte)(unsafe.Add(unsafe.Pointer(v[0].Base), n)), v[0].Len-n
				break
			}
			n -= v[0].Len
			v = v[1:]
		}
	}
	return nil
}
