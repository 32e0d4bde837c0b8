package rtsp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPaced: a paced connection gives the same bytes, deadlines and ends as
// any other.
func TestPaced(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make([]byte, 3<<20) // more than the kernel holds for us
	rand.NewChaCha8([32]byte{1}).Read(sent)
	more := make(chan bool)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for b := sent; len(b) > 0; {
			n := min(len(b), 1+rand.IntN(20000))
			c.Write(b[:n])
			b = b[n:]
		}
		<-more
		c.Write([]byte("end"))
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc = pacing(nc)
	pace(nc, time.Millisecond)
	if nc.(*paced).every == 0 {
		t.Fatal("not paced")
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("other bytes, or %v", err)
	}
	nc.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	if n, err := nc.Read(got); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes and %v after the deadline", n, err)
	}
	nc.SetReadDeadline(time.Time{})
	close(more)
	if b, err := io.ReadAll(nc); err != nil || string(b) != "end" {
		t.Fatalf("%q and %v at the end", b, err)
	}
	nc.Close()
	if _, err := nc.Read(got); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("%v after closing", err)
	}
}

// pacedPair returns a connection that is read in a thousand hours again, and the camera at its other end.
func pacedPair(t *testing.T) (nc, camera net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if nc, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if camera, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { camera.Close() })
	nc = pacing(nc)
	pace(nc, 1000*time.Hour)
	if _, err := camera.Write([]byte("little")); err != nil {
		t.Fatal(err)
	}
	if n, err := nc.Read(make([]byte, 64)); n != 6 || err != nil { // at once: nothing was read before
		t.Fatal(n, err)
	}
	return nc, camera
}

// TestPacedWakes: much is read before its time, so that a camera does not have to wait until then; little is not; and
// a deadline is kept, also one that is set meanwhile.
func TestPacedWakes(t *testing.T) {
	nc, camera := pacedPair(t)
	buf := make([]byte, 64<<10)
	if _, err := camera.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := nc.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("little: %d bytes, %v", n, err)
	}
	nc.SetReadDeadline(time.Time{})
	much := make([]byte, 4<<20)
	go camera.Write(much)
	for n := 0; n < lowWater; {
		m, err := nc.Read(buf)
		if n += m; err != nil {
			t.Fatalf("much: %d bytes, %v", n, err)
		}
	}
	go func() {
		for { // until it waits
			if p := nc.(*paced); func() bool { p.mu.Lock(); defer p.mu.Unlock(); return !p.next.IsZero() }() {
				break
			}
			time.Sleep(time.Millisecond)
		}
		nc.SetReadDeadline(time.Unix(1, 0))
	}()
	var err error
	for err == nil {
		_, err = nc.Read(buf)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("ended by a deadline: %v", err)
	}
}

// TestPacedFull: much that came while nobody waited is read at once, though no more comes that would wake.
func TestPacedFull(t *testing.T) {
	nc, camera := pacedPair(t)
	buf := make([]byte, 64<<10)
	if _, err := camera.Write(make([]byte, lowWater)); err != nil {
		t.Fatal(err)
	}
	raw, err := nc.(*paced).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for n, end := 0, time.Now().Add(10*time.Second); n < lowWater; time.Sleep(time.Millisecond) { // until all has come
		raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d bytes of %d have come: %v", n, lowWater, err)
		}
	}
	nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := nc.Read(buf); n != len(buf) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
}
