package rtsp

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestReceiveAfterLoss: a packet is lost and then nothing comes for longer than
// the wait for it. What comes after that is taken as before.
func TestReceiveAfterLoss(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	camera, err := net.Dial("udp", c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer camera.Close()
	got, gaveUp, done := make(chan byte, 100), make(chan bool, 1), make(chan bool)
	r := &reorder{out: func(b []byte, _ int64) { got <- b[0] }}
	go func() {
		defer close(done)
		held := false
		receive(c, netip.MustParseAddr("127.0.0.1"),
			func(b []byte) { r.push(uint16(b[0]), b, time.Now().UnixNano()) },
			func() { t.Error("a stranger") },
			func() bool {
				r.age(time.Now().UnixNano())
				if held && r.held == 0 {
					gaveUp <- true
				}
				held = r.held > 0
				return held
			})
	}()
	send := func(list ...byte) {
		for _, b := range list {
			if _, err := camera.Write([]byte{b}); err != nil {
				t.Error(err)
			}
		}
	}
	want := func(list ...byte) {
		t.Helper()
		for _, b := range list {
			select {
			case g := <-got:
				if g != b {
					t.Errorf("packet %d, want %d", g, b)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("packet %d does not come", b)
			}
		}
	}
	send(1, 2, 4)
	want(1, 2)
	<-gaveUp
	want(4)
	for b := byte(5); b < 25; b++ { // the socket must not be deaf, nor the reader busy with a deadline that has passed
		send(b)
		want(b)
	}
	c.Close()
	<-done
}
