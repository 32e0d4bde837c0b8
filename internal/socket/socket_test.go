package socket

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

func open(t *testing.T, c *net.UnixConn) *Conn {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConn: what is written in many buffers, more than the socket takes at once, arrives in order, while both
// sides wait for each other.
func TestConn(t *testing.T) {
	a, b := pair(t)
	random := rand.New(rand.NewPCG(1, 2))
	var want []byte
	var bufs [][]byte
	for range 3000 { // more than one call may have
		p := make([]byte, random.IntN(4000))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		bufs, want = append(bufs, p), append(want, p...)
	}
	wrote := make(chan error, 1)
	go func() {
		err := open(t, a).WriteAll(bufs)
		a.Close()
		wrote <- err
	}()
	got, err := io.ReadAll(open(t, b))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// TestConnEnds: nothing there, a deadline, the other side gone, closed.
func TestConnEnds(t *testing.T) {
	a, b := pair(t)
	s := open(t, a)
	buf := make([]byte, 10)
	if _, err := s.TryRead(buf); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("nothing there: %v", err)
	}
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("no room: %d, %v", n, err)
	}
	a.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	a.SetReadDeadline(time.Time{})
	if err := open(t, b).WriteAll([][]byte{nil, []byte("abc"), {}}); err != nil {
		t.Error(err)
	}
	if n, err := s.TryRead(buf); n != 3 || err != nil {
		t.Errorf("three bytes: %d, %v", n, err)
	}
	b.Close()
	if _, err := s.Read(buf); err != io.EOF {
		t.Errorf("the other side has gone: %v", err)
	}
	if err := s.WriteAll([][]byte{buf}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("written to who has gone: %v", err)
	}
	a.Close()
	if _, err := s.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read when closed: %v", err)
	}
	if err := s.WriteAll([][]byte{buf}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written when closed: %v", err)
	}
}

// TestNothingAllocated for a read or a write once it has begun.
func TestNothingAllocated(t *testing.T) {
	a, b := pair(t)
	from, to := open(t, a), open(t, b)
	buf := make([]byte, 100)
	bufs := [][]byte{buf[:10], buf[10:90], buf[90:]}
	if n := testing.AllocsPerRun(100, func() {
		if err := from.WriteAll(bufs); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
