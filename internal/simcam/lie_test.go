package simcam

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/pion/rtp"

	"vigil/internal/media"
)

func TestLiesInRTP(t *testing.T) {
	for _, film := range []string{"clock-small", "clock-h265-small"} {
		t.Run(film, func(t *testing.T) {
			c, f := small(t, func(c *Config) { c.Streams[0].Source = film })
			r := play(t, c, "v", gortsplib.ProtocolTCP)
			r.pictures(t, 0, 1)
			for _, lie := range Lies()[:6] {
				command(t, c, fmt.Sprintf("lie v %s 1", lie))
				want := malformed(lie, f.video.film.codec)
				eventually(t, "the lie "+string(lie), func() bool {
					l := r.packets()
					for i := range l {
						if i+len(want) <= len(l) && slices.EqualFunc(l[i:i+len(want)], want, func(p rtp.Packet, b []byte) bool { return bytes.Equal(p.Payload, b) }) {
							return true
						}
					}
					return false
				})
			}
			// not a packet was lost over it
			l := r.packets()
			for i := 1; i < len(l); i++ {
				if l[i].SequenceNumber != l[i-1].SequenceNumber+1 {
					t.Fatal("sequence numbers jump")
				}
			}
		})
	}
	if m := malformed(LieHuge, media.H264); len(joinedBytes(m)) < 800000 {
		t.Errorf("huge is %d bytes", len(joinedBytes(m)))
	}
	c := start(t, Config{NoUDP: true, Streams: []Stream{{Path: "j", Source: "clock-mjpeg"}}})
	if c.Command("lie j fragment 1") == nil || c.Command("lie j nonsense 1") == nil {
		t.Error("lies that cannot be told were accepted")
	}
}

func joinedBytes(l [][]byte) []byte { return bytes.Join(l, nil) }

// TestLiesInTheConnection reads the raw bytes of a TCP session.
func TestLiesInTheConnection(t *testing.T) {
	c, _ := small(t, nil)
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	session := ""
	for i, req := range []string{
		"SETUP %s/trackID=0 RTSP/1.0\r\nCSeq: %d\r\nTransport: RTP/AVP/TCP;unicast;interleaved=4-5\r\n%s\r\n",
		"PLAY %s/ RTSP/1.0\r\nCSeq: %d\r\n%s\r\n",
	} {
		fmt.Fprintf(conn, req, c.URL("v"), i+1, session)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := strings.CutPrefix(line, "Session: "); ok {
				session = "Session: " + strings.TrimSpace(strings.Split(v, ";")[0]) + "\r\n"
			}
			if line == "\r\n" {
				break
			}
		}
	}
	var heard []byte
	hear := func(what []byte) {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 4096)
		for !bytes.Contains(heard, what) {
			n, err := br.Read(b)
			if err != nil {
				t.Fatalf("waiting for %.60q: %v", what, err)
			}
			heard = append(heard, b[:n]...)
		}
	}
	for _, lie := range Lies()[6:] {
		command(t, c, fmt.Sprintf("lie v %s 1", lie))
		want := slipped(lie, 4, &line{}, 0)
		if lie == LieType {
			want = []byte("undeclared")
		}
		hear(want)
	}
	// Whoever does not believe it finds all good frames in between: take the
	// lies out and walk.
	for _, lie := range Lies()[7:] {
		heard = bytes.Replace(heard, slipped(lie, 4, &line{}, 0), nil, 1)
	}
	frames := 0
	for len(heard) >= 4 {
		if heard[0] != '$' || heard[1] != 4 && heard[1] != 5 {
			t.Fatalf("after %d frames: %.20q", frames, heard)
		}
		n := 4 + int(binary.BigEndian.Uint16(heard[2:]))
		if n > len(heard) {
			break
		}
		heard = heard[n:]
		frames++
	}
	if frames < 5 {
		t.Errorf("only %d frames", frames)
	}
	_, _ = io.WriteString(conn, "TEARDOWN "+c.URL("v")+"/ RTSP/1.0\r\nCSeq: 9\r\n"+session+"\r\n")
}
