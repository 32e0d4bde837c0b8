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
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"vigil/internal/media"
)

// small is a camera whose pictures come every 80 ms, key ones every 2 s.
func small(t *testing.T, change func(*Config)) (*Camera, *Feed) {
	t.Helper()
	t.Parallel()
	cfg := Config{Streams: []Stream{{Path: "v", Source: "clock-small"}}}
	if change != nil {
		change(&cfg)
	}
	c := start(t, cfg)
	return c, c.Feed("v")
}

func command(t *testing.T, c *Camera, line string) {
	t.Helper()
	if err := c.Command(line); err != nil {
		t.Fatal(err)
	}
}

// stamps returns the distances between the stamps of successive pictures, in
// pictures of the small film.
func stamps(l [][]rtp.Packet) (d []int) {
	for i := 1; i < len(l); i++ {
		d = append(d, int(int32(l[i][0].Timestamp-l[i-1][0].Timestamp))/7200)
	}
	return d
}

func TestPicturesGoOnOverTheLoop(t *testing.T) {
	c, f := small(t, func(c *Config) { c.Streams[0].Source = "pyramid" })
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	start := f.nextNumber()
	l := r.pictures(t, start, 150) // more than the 120 of a loop
	for i := 1; i < len(l); i++ {
		if a, b := l[i-1], l[i]; b[0].SequenceNumber != a[len(a)-1].SequenceNumber+1 {
			t.Fatalf("sequence numbers jump at picture %d", i)
		}
	}
	stamps := map[uint32]bool{}
	for _, p := range l[:120] {
		stamps[p[0].Timestamp] = true
	}
	if len(stamps) != 120 {
		t.Errorf("120 pictures have %d stamps", len(stamps))
	}
	for i := range 30 {
		if d := l[i+120][0].Timestamp - l[i][0].Timestamp; d != 4*videoClock {
			t.Errorf("picture %d came again %d ticks later", i, d)
		}
	}
}

func TestStall(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 3)
	command(t, c, "stall v")
	n, got := f.nextNumber(), len(r.packets())
	time.Sleep(300 * time.Millisecond) // what would have been sent meanwhile would show
	if m := f.nextNumber(); m != n {
		t.Errorf("%d pictures sent while stalled", m-n)
	}
	if more := len(r.packets()) - got; more > 8 { // some were under way
		t.Errorf("%d packets came while stalled", more)
	}
	command(t, c, "go v")
	l := r.pictures(t, n, 2)
	s := f.Sent(n)
	if s[0].Number != n || !s[0].Key || int32(s[0].Stamp-f.Sent(n - 1)[0].Stamp) < 7200 {
		t.Errorf("after the stall: %+v", s[0])
	}
	if m := Marks(joined(l[0])); len(m) != 1 || m[0].Number != n {
		t.Errorf("the first picture after the stall is %v, want %d", m, n)
	}
}

func joined(ps []rtp.Packet) (b []byte) {
	for _, p := range ps {
		b = append(b, p.Payload...)
	}
	return b
}

func TestDrop(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 2)
	command(t, c, "drop v 7")
	eventually(t, "seven packets are dropped", func() bool { return f.Counters().Dropped == 7 })
	r.pictures(t, f.nextNumber(), 2)
	l := r.packets()
	missing := 0
	for i := 1; i < len(l); i++ {
		missing += int(l[i].SequenceNumber - l[i-1].SequenceNumber - 1)
	}
	told := 0
	for _, s := range f.Sent(0) {
		told += s.Dropped
	}
	if missing != 7 || told != 7 {
		t.Errorf("%d packets missing, %d told", missing, told)
	}
	command(t, c, "droprate v 1/2")
	eventually(t, "many packets are dropped", func() bool { return f.Counters().Dropped > 17 })
	command(t, c, "calm")
	n := f.nextNumber()
	r.pictures(t, n, 3)
	for _, s := range f.Sent(n) {
		if s.Dropped > 0 {
			t.Errorf("dropped after the calm: %+v", s)
		}
	}
}

func TestReorder(t *testing.T) {
	c, _ := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP) // over UDP the test's reader would put them in order
	command(t, c, "reorder v 3")
	backwards := func() (n int) {
		l := r.packets()
		for i := 1; i < len(l); i++ {
			if d := int16(l[i].SequenceNumber - l[i-1].SequenceNumber); d == -1 {
				n++
			} else if d < 1 || d > 2 {
				t.Fatalf("step of %d", d)
			}
		}
		return n
	}
	eventually(t, "packets change places", func() bool { return backwards() > 5 })
}

func TestStamps(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 2)
	n := f.nextNumber() - 1
	command(t, c, "stampone v 3h")
	const far = 3 * 3600 * 90000 / 7200
	if d := stamps(r.pictures(t, n, 6)); !slices.Contains(d, far+1) || !slices.Contains(d, 1-far) {
		t.Errorf("one stamp wrong: steps of %v pictures", d)
	}
	n = f.nextNumber() - 1
	command(t, c, "stampshift v -2s")
	if d := stamps(r.pictures(t, n, 8)); !slices.Contains(d, 1-25) || sum(d) != 7-25 {
		t.Errorf("stamps shifted: steps of %v pictures", d)
	}
	command(t, c, "stampevery v 4 1h")
	n = f.nextNumber() + 1
	d := stamps(r.pictures(t, n, 12))
	if k := count(d, func(x int) bool { return x > 1 }); k < 2 || k > 3 {
		t.Errorf("each fourth stamp wrong: steps of %v pictures", d)
	}
	command(t, c, "calm")
	n = f.nextNumber() + 1
	if d := stamps(r.pictures(t, n, 4)); sum(d) != 3 {
		t.Errorf("after the calm: steps of %v pictures", d)
	}
}

func sum(l []int) (n int) {
	for _, x := range l {
		n += x
	}
	return n
}

func count(l []int, is func(int) bool) (n int) {
	for _, x := range l {
		if is(x) {
			n++
		}
	}
	return n
}

// 5 pictures sent for each 10 stamped: the time between them, told by the
// marks, is twice what the stamps say.
func TestPace(t *testing.T) {
	c, f := small(t, func(c *Config) { c.Streams[0].Sound = "alaw" })
	play(t, c, "v", gortsplib.ProtocolTCP)
	for _, line := range []string{"pace v 1/2", "soundpace v 0.5"} {
		command(t, c, line)
	}
	n, sounds, from := f.nextNumber()+1, f.Counters().Sounds, time.Now()
	eventually(t, "20 slow pictures", func() bool { return f.nextNumber() > n+20 })
	s := f.Sent(n)[:20]
	real := time.Duration(s[19].At-s[0].At) * time.Millisecond
	stamped := time.Duration(s[19].Stamp-s[0].Stamp) * time.Second / videoClock
	if stamped != 19*80*time.Millisecond || real < stamped*3/2 {
		t.Errorf("20 pictures stamped %v were sent in %v", stamped, real)
	}
	// 50 frames a second are 25 now; only a bound from above is certain.
	if n, most := f.Counters().Sounds-sounds, time.Since(from).Seconds()*25+3; float64(n) > most {
		t.Errorf("%d frames of sound, want at most %g", n, most)
	}
	command(t, c, "pace v 1")
	n = f.nextNumber()
	eventually(t, "pictures at full rate", func() bool { return f.nextNumber() > n })
	k := f.Sent(n)[0]
	if late := (k.At - k.Clock + 60000) % 60000; !k.Key || late > 30000 {
		t.Errorf("after the return to the wall clock: %+v", k)
	}
}

func TestSwitchChangesTheSize(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	before := setsOf(t, r, f.nextNumber())
	command(t, c, "switch v clock")
	eventually(t, "the other film", func() bool { return f.Counters().Source == "clock" })
	after := setsOf(t, r, f.nextNumber())
	if bytes.Equal(before, after) {
		t.Error("the SPS did not change")
	}
	small, _ := loadFilm("clock-small", 0)
	big, _ := loadFilm("clock", 0)
	if !bytes.Equal(before, small.sets[0]) || !bytes.Equal(after, big.sets[0]) {
		t.Error("an SPS of neither film")
	}
	// stamps rise over the change
	s := f.Sent(0)
	for i := 1; i < len(s); i++ {
		if d := int32(s[i].Stamp - s[i-1].Stamp); d <= 0 || d > 2*videoClock+7200 {
			t.Errorf("stamp of picture %d: %d after the one before", s[i].Number, d)
		}
	}
	r2 := play(t, c, "v", gortsplib.ProtocolTCP)
	if got := r2.desc.Medias[0].Formats[0].(*format.H264).SPS; !bytes.Equal(got, big.sets[0]) {
		t.Error("the SDP still describes the film before")
	}
	if err := c.Command("switch v clock-h265"); err == nil {
		t.Error("switched to another codec")
	}
	command(t, c, "calm")
	eventually(t, "the first film again", func() bool { return f.Counters().Source == "clock-small" })
}

// setsOf waits for the next SPS in band.
func setsOf(t *testing.T, r *reader, from uint64) (sps []byte) {
	t.Helper()
	eventually(t, "an SPS", func() bool {
		for _, p := range r.since(from) {
			if p.Payload[0]&0x1f == avcSPS {
				sps = p.Payload
				return true
			}
		}
		return false
	})
	return sps
}

func TestParameterSets(t *testing.T) {
	for _, film := range []string{"clock-small", "clock-h265-small"} {
		t.Run(film, func(t *testing.T) {
			c, f := small(t, func(c *Config) { c.Streams[0].Source, c.Streams[0].Sets = film, SetsBand })
			codec := f.video.film.codec
			told := func() bool {
				switch f := play(t, c, "v", gortsplib.ProtocolTCP).desc.Medias[0].Formats[0].(type) {
				case *format.H264:
					return f.SPS != nil && f.PPS != nil
				case *format.H265:
					return f.VPS != nil && f.SPS != nil && f.PPS != nil
				}
				t.Fatal("what is this?")
				return false
			}
			inBand := func() bool {
				r := play(t, c, "v", gortsplib.ProtocolTCP)
				key := f.nextNumber()
				eventually(t, "a key picture", func() bool {
					for _, s := range f.Sent(key) {
						if s.Key {
							key = s.Number
							return true
						}
					}
					return false
				})
				r.pictures(t, key+1, 1)
				return slices.ContainsFunc(r.packets(), func(p rtp.Packet) bool { return kindOf(codec, p.Payload) == nalSet })
			}
			for _, want := range []struct {
				sets      Sets
				sdp, band bool
			}{{SetsBand, false, true}, {SetsSDP, true, false}, {SetsBoth, true, true}} {
				command(t, c, "sets v "+string(want.sets))
				if sdp, band := told(), inBand(); sdp != want.sdp || band != want.band {
					t.Errorf("%s: in the SDP %v, in band %v", want.sets, sdp, band)
				}
			}
		})
	}
}

func TestRebootAndOffline(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	l := r.pictures(t, 0, 2)
	c.Reboot(500 * time.Millisecond)
	n := f.nextNumber()
	if err := r.client.Wait(); err == nil {
		t.Error("the connection outlived the reboot")
	}
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); err == nil && f.nextNumber() == n {
		t.Error("connected while off")
	}
	if f.Counters().Readers != 0 {
		t.Error("a reader is left")
	}
	var again *reader
	eventually(t, "the camera is back", func() bool {
		var err error
		again, err = tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil)
		return err == nil
	})
	m := again.pictures(t, n, 1)
	if m[0][0].SSRC == l[0][0].SSRC {
		t.Error("the same SSRC after a reboot")
	}
	for i, s := range f.Sent(0) {
		if s.Number != uint64(i) {
			t.Fatalf("picture %d has number %d", i, s.Number)
		}
	}

	command(t, c, "offline v")
	if err := again.client.Wait(); err == nil {
		t.Error("the connection outlived the path")
	}
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 503) {
		t.Errorf("offline: %v", err)
	}
	command(t, c, "online v")
	again = play(t, c, "v", gortsplib.ProtocolTCP)
	command(t, c, "cut v")
	if err := again.client.Wait(); err == nil {
		t.Error("the connection outlived the cut")
	}
	command(t, c, "power off")
	command(t, c, "power on")
	play(t, c, "v", gortsplib.ProtocolTCP)
}

func TestRefusals(t *testing.T) {
	c, _ := small(t, func(c *Config) { c.MaxSessions = 1 })
	if _, err := tryPlay(t, c, "nothing", gortsplib.ProtocolTCP, nil); !isStatus(err, 404) {
		t.Errorf("unknown path: %v", err)
	}
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 453) {
		t.Errorf("second session: %v", err)
	}
	r.client.Close()
	eventually(t, "the seat is free", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.seats == 0 })
	command(t, c, "refusetcp on")
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 461) {
		t.Errorf("TCP: %v", err)
	}
	play(t, c, "v", gortsplib.ProtocolUDP).pictures(t, 0, 2)
	command(t, c, "refusetcp off")
	command(t, c, "limit 0")
	play(t, c, "v", gortsplib.ProtocolTCP)
}

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

func TestCommandMistakes(t *testing.T) {
	c, f := small(t, nil)
	for _, line := range []string{
		"", "x", "stall", "stall w", "stall v w", "drop v", "drop v -1", "droprate v x", "pace v 0", "pace v 1/x", "soundpace v 1",
		"stampone v 3", "sets v all", "refusetcp", "refusetcp maybe", "clock x", "limit -1", "password x", "power", "reboot", "reboot 1s 2s",
		"cut v for 1s", "stall v for", "stall v for x", "lie v noise", "certificate", "switch v none.mp4",
	} {
		if err := c.Command(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
	n := f.nextNumber()
	command(t, c, "stall * for 10ms")
	eventually(t, "the stall ends", func() bool { return f.nextNumber() > n })
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	ok := []Stream{{Path: "v", Source: "clock-small"}}
	for name, cfg := range map[string]Config{
		"no stream":  {},
		"public":     {Addr: "0.0.0.0:0", Streams: ok},
		"name":       {Addr: "localhost:0", Streams: ok},
		"no port":    {Addr: "127.0.0.1", Streams: ok},
		"two equal":  {Streams: []Stream{ok[0], ok[0]}},
		"path":       {Streams: []Stream{{Path: "a b", Source: "clock"}}},
		"film":       {Streams: []Stream{{Path: "v", Source: "nothing"}}},
		"sound":      {Streams: []Stream{{Path: "v", Source: "clock", Sound: "nothing"}}},
		"rate":       {Streams: []Stream{{Path: "v", Source: "clock", Rate: 1e9}}},
		"mark":       {Streams: []Stream{{Path: "v", Source: "clock", Mark: 10000}}},
		"auth":       {Auth: "ntlm", User: "x", Streams: ok},
		"wrong port": {Addr: "127.0.0.1:99999", Streams: ok},
	} {
		if c, err := Start(cfg); err == nil {
			c.Close()
			t.Errorf("%s: started", name)
		}
	}
}
