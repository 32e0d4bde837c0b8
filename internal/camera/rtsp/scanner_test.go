package rtsp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// frameOf makes an interleaved frame.
func frameOf(channel byte, payload []byte) []byte {
	b := []byte{'$', channel, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(len(payload)))
	return append(b, payload...)
}

// rtpOf makes an RTP packet.
func rtpOf(pt byte, marker bool, seq uint16, time, ssrc uint32, payload []byte) []byte {
	b := []byte{0x80, pt}
	if marker {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, time)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, payload...)
}

// scan reads everything and says it in short: channels of frames, status of
// replies, methods of requests.
func scan(s *scanner) (got []string, err error) {
	for {
		it, err := s.next()
		if err != nil {
			return got, err
		}
		switch {
		case it.msg == nil:
			got = append(got, "$"+string('0'+rune(it.channel)))
		case it.msg.method != "":
			got = append(got, it.msg.method)
		default:
			got = append(got, itoa(it.msg.status))
		}
	}
}

func itoa(n int) string {
	return strings.TrimSpace(string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)}))
}

func two(r io.Reader) *scanner {
	s := newScanner(r)
	s.channels[0], s.channels[1] = rtpChannel, rtcpChannel
	return s
}

// TestResync is INTEROP row 9.
func TestResync(t *testing.T) {
	rtp := frameOf(0, rtpOf(96, true, 1, 2, 3, []byte("picture")))
	rtcp := frameOf(1, []byte{0x80, 200, 0, 1, 0, 0, 0, 1})
	ok := []byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\n$$$$")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		why     string
		in      []byte
		want    string
		skipped uint64
		foreign uint64
	}{
		{"in order", join(rtp, rtcp, rtp), "$0 $1 $0", 0, 0},
		{"a reply amid data, dollars in its body", join(rtp, ok, rtp), "$0 200 $0", 0, 0},
		{"a reply whose body does not come", join(rtp, []byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 40\r\n\r\n"), rtp, rtcp, rtp), "$0 200 $0 $1 $0", 0, 0},
		{"a request of the camera", join(rtp, []byte("OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n"), rtp), "$0 OPTIONS $0", 0, 0},
		{"garbage between", join(rtp, []byte("\x01\x02garbage"), rtp), "$0 $0", 9, 0},
		{"garbage with a dollar", join(rtp, []byte("a$\x00\x00\x20bcd"), rtp), "$0 $0", 8, 0},
		{"garbage like a message", join(rtp, []byte("RTSPX TEARS\r\n"), rtp), "$0 $0", 13, 0},
		{"garbage like a frame of ours", join(rtp, []byte("x$\x00\x00\x40\x80abcdefghijkl"), rtp, rtp, rtp, rtp), "$0 $0 $0 $0 $0", 18, 0},
		{"another source behind garbage", join(rtp, []byte("x"), frameOf(0, rtpOf(96, true, 1, 2, 9, nil)), rtp), "$0 $0 $0", 1, 0},
		{"and at the end", join(rtp, []byte("x"), frameOf(0, rtpOf(96, true, 1, 2, 9, nil))), "$0 $0", 1, 0},
		{"a channel nobody asked for", join(rtp, frameOf(7, make([]byte, 300)), rtp), "$0 $0", 0, 1},
		{"an empty frame", join(rtp, frameOf(0, nil), rtp), "$0 $0", 0, 1},
		{"too short for RTP", join(rtp, frameOf(0, make([]byte, 11)), rtp), "$0 $0", 0, 1},
		{"not version 2", join(frameOf(0, make([]byte, 20)), rtp), "$0", 24, 0},
		{"RTCP that is none", join(frameOf(1, append([]byte{0x80, 96}, make([]byte, 20)...)), rtp), "$0", 26, 0},
		{"line ends between", join(rtp, []byte("\r\n\r\n"), rtp), "$0 $0", 0, 0},
		{"the tail of a dead session", join(bytes.Repeat([]byte{0x55}, 1000), ok, rtp), "200 $0", 1000, 0},
		{"a frame cut short", join(rtp[:10], rtp, rtp), "$0 $0", 0, 0},
		{"cut at the end", join(rtp, rtp[:10]), "$0", 0, 0},
	} {
		for _, slow := range []bool{false, true} {
			var r io.Reader = bytes.NewReader(c.in)
			if slow {
				r = iotest.OneByteReader(r)
			}
			s := two(r)
			got, err := scan(s)
			if c.why == "a frame cut short" { // eats a part of the next: sync comes back with the third at the latest
				if len(got) == 0 || got[len(got)-1] != "$0" {
					t.Errorf("%s: %v", c.why, got)
				}
				continue
			}
			if strings.Join(got, " ") != c.want || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || s.foreign != c.foreign {
				t.Errorf("%s (slow %v): %v, %v, %d foreign", c.why, slow, got, err, s.foreign)
			}
			if s.skipped != c.skipped {
				t.Errorf("%s (slow %v): skipped %d", c.why, slow, s.skipped)
			}
		}
	}
}

// TestBounds: nothing a camera sends makes us wait or read without end.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		why  string
		in   io.Reader
		code string
	}{
		{"garbage without end", &forever{[]byte("xyz")}, Garbage},
		{"frames of others without end", &forever{frameOf(9, make([]byte, 1000))}, Garbage},
		{"headers without end", io.MultiReader(strings.NewReader("RTSP/1.0 200 OK\r\n"), &forever{[]byte("A: b\r\n")}), BadReply},
		{"a huge body", strings.NewReader("RTSP/1.0 200 OK\r\nContent-Length: 1048577\r\n\r\n"), BadReply},
		{"a negative body", strings.NewReader("RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"), BadReply},
		{"HTTP", strings.NewReader("HTTP/1.1 400 Bad Request\r\n\r\n"), SpeaksHTTP},
		{"SSH", strings.NewReader("SSH-2.0-OpenSSH_9.2\r\n"), SpeaksSSH},
		{"TLS", strings.NewReader("\x15\x03\x01\x00\x02\x02\x46"), SpeaksTLS},
	} {
		_, err := scan(newScanner(c.in))
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

type forever struct{ b []byte }

func (f *forever) Read(p []byte) (n int, err error) {
	for n+len(f.b) <= len(p) {
		n += copy(p[n:], f.b)
	}
	return n, nil
}

// TestTimeoutLosesNothing: the reader may run out of time at every byte.
func TestTimeoutLosesNothing(t *testing.T) {
	rtp := frameOf(0, rtpOf(96, true, 1, 2, 3, []byte("picture")))
	in := bytes.Join([][]byte{rtp, []byte("RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"), []byte("zz"), frameOf(7, make([]byte, 40)), rtp}, nil)
	s := two(&tired{in, false})
	var got []string
	for {
		more, err := scan(s)
		got = append(got, more...)
		if err == io.EOF {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if strings.Join(got, " ") != "$0 200 $0" {
		t.Error(got)
	}
}

// tired gives a byte and then a time-out, in turn.
type tired struct {
	b     []byte
	awake bool
}

func (r *tired) Read(p []byte) (int, error) {
	if r.awake = !r.awake; !r.awake {
		return 0, os.ErrDeadlineExceeded
	}
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	p[0] = r.b[0]
	r.b = r.b[1:]
	return 1, nil
}

// TestRecorded reads what real servers sent, as a whole.
func TestRecorded(t *testing.T) {
	for name, want := range map[string]struct{ frames, messages int }{
		"hikvision-interleaved": {190, 1},
		"bunny-interleaved":     {371, 0},
		"gstreamer-digest-tcp":  {141, 6},
		"gstreamer-digest-udp":  {117, 6},
		"vlc-udp-461":           {74, 5},
	} {
		b, err := os.ReadFile("testdata/streams/" + name + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		s := newScanner(bytes.NewReader(b))
		for c := range 4 {
			s.channels[c] = rtpChannel + channelUse(c%2)
		}
		got, err := scan(s)
		frames := 0
		for _, g := range got {
			if g[0] == '$' {
				frames++
			}
		}
		if !errors.Is(err, io.EOF) || s.skipped > 16 || frames != want.frames || len(got)-frames != want.messages {
			t.Errorf("%s: %d frames, %d messages, %d skipped, %v", name, frames, len(got)-frames, s.skipped, err)
		}
	}
}

//vigil:clause 5.3.2.1 5.3.3.1
func FuzzScanner(f *testing.F) {
	for name, n := range map[string]int{"hikvision-interleaved": 3000, "bunny-interleaved": 3000, "gstreamer-digest-tcp": 6000} {
		b, err := os.ReadFile("testdata/streams/" + name + ".bin")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:n])
	}
	f.Add([]byte("$\x00\x00\x04abcd$\x07\xff\xffRTSP/1.0 200 OK\n\n$"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := two(bytes.NewReader(b))
		for range len(b) + 8 {
			it, err := s.next()
			if err != nil {
				return
			}
			if it.msg == nil && (it.use == foreign || it.frame[0]>>6 != 2 || len(it.frame) < 8) {
				t.Fatalf("frame %x", it.frame)
			}
		}
		t.Fatal("more items than bytes")
	})
}
