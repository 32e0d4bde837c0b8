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
