package camera

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"vigil/internal/camera/rtsp"
	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// A hand is a clock that is moved by hand.
type hand struct{ wall, mono int64 }

func (h *hand) Wall() int64 { return h.wall }
func (h *hand) Mono() int64 { return h.mono }
func (h *hand) tick(d time.Duration) {
	h.wall += int64(d)
	h.mono += int64(d)
}

// A diary is a sink that writes everything down.
type diary struct {
	lines  []string
	units  []media.Unit
	status Status
	tracks []media.Track
}

func (d *diary) Tracks(list []media.Track) {
	line := "tracks"
	for _, t := range list {
		line += " " + t.Codec.String()
	}
	d.tracks = list
	d.lines = append(d.lines, line)
}

func (d *diary) Unit(u media.Unit, timeline media.Cause, lost uint32) {
	line := "sound"
	if u.Track == 1 {
		line = "picture"
	}
	if u.RandomAccess && u.Track == 1 {
		line = "key"
	}
	if timeline != "" {
		line += " new:" + string(timeline)
	}
	if lost > 0 {
		line += " lost"
	}
	d.lines = append(d.lines, line)
	d.units = append(d.units, u)
}

func (d *diary) Status(s Status) { d.status = s }

var (
	small = &media.Track{Codec: media.H264, Codecs: "avc1.42c01e", Config: []byte("small"), Width: 640, Height: 480}
	large = &media.Track{Codec: media.H264, Codecs: "avc1.42c01e", Config: []byte("large"), Width: 1920, Height: 1080}
	alaw  = &media.Track{Codec: media.PCMA, SampleRate: 8000, Channels: 1}
	aac   = &media.Track{Codec: media.AAC, Config: []byte{0x14, 0x08}, SampleRate: 16000, Channels: 1}
)

func newPlayer(known ...*media.Track) (*player, *diary, *hand) {
	h := &hand{epoch, 1e9}
	d := &diary{}
	p := &player{o: &rtsp.Options{Clock: h}, sink: d}
	s := rtsp.Session{Link: rtsp.LinkPlain, Transport: rtsp.TCP, Known: known}
	for i := range known {
		s.Tracks = append(s.Tracks, sdp.Media{ClockRate: []int{90000, 8000}[i]})
	}
	p.Described(s)
	return p, d, h
}

// script plays units: K key, P picture, A sound; a following s, l, a, c is the
// track that comes with it; ! is loss.
func script(p *player, h *hand, s string) {
	var dts, adts int64
	for w := range strings.FieldsSeq(s) {
		u := &depay.Unit{Data: []byte("data"), Arrived: h.wall, RandomAccess: w[0] != 'P'}
		for _, c := range w[1:] {
			switch c {
			case 's':
				u.Track = small
			case 'l':
				u.Track = large
			case 'a':
				u.Track = alaw
			case 'c':
				u.Track = aac
			case '!':
				u.Lost = 3
			}
		}
		track := 0
		if w[0] == 'A' {
			track = 1
			adts += 320
			u.DTS, u.PTS = adts, adts
		} else {
			h.tick(40 * time.Millisecond)
			dts += 3600
			u.DTS, u.PTS = dts, dts
		}
		p.Unit(track, u)
	}
}

func TestPlayerDeclares(t *testing.T) {
	for _, c := range []struct {
		why, in, want string
		known         []*media.Track
	}{
		{"from the description", "A K P A K", "tracks H264 PCMA,key new:start,picture,sound,key", []*media.Track{small, alaw}},
		{"from the packets", "P Ks P P! K!", "tracks H264,key new:start,picture,picture lost,key lost", []*media.Track{nil}},
		{"sound known later", "Ks Aa P A K A K", "tracks H264,key new:start,picture,tracks H264 PCMA,key new:codec,sound,key", []*media.Track{nil, nil}},
		{"the same again", "Ks P Ks Aa A Aa", "tracks H264 PCMA,key new:start,picture,key,sound,sound,sound", []*media.Track{small, alaw}},
		{"another size", "Ks P Kl P", "tracks H264,key new:start,picture,tracks H264,key new:codec,picture", []*media.Track{nil}},
		{"another sound", "K A Ac A P A K A", "tracks H264 PCMA,key new:start,sound,picture,tracks H264 AAC,key new:codec,sound", []*media.Track{small, alaw}},
		{"sound without video", "A Aa A", "", []*media.Track{nil, nil}},
		{"lost sound is no lost picture", "K A!", "tracks H264 PCMA,key new:start,sound", []*media.Track{small, alaw}},
	} {
		p, d, h := newPlayer(c.known...)
		script(p, h, c.in)
		if got := strings.Join(d.lines, ","); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.why, got, c.want)
		}
	}
}

// TestPlayerBatchRules: what leaves a player passes the core's check.
func TestPlayerBatchRules(t *testing.T) {
	p, d, h := newPlayer(small, alaw)
	script(p, h, "K A P A P A K A P A")
	if err := media.CheckTracks(d.tracks); err != nil {
		t.Error(err)
	}
	var last [3]media.Ticks
	for _, u := range d.units {
		if u.DTS <= last[u.Track] || u.Arrived == 0 || len(u.Data) == 0 || u.Track == 2 && !u.RandomAccess {
			t.Errorf("%+v after %v", u, last)
		}
		last[u.Track] = u.DTS
	}
}

func TestPlayerRefuses(t *testing.T) {
	p, d, h := newPlayer(nil, &media.Track{Codec: media.AAC, SampleRate: 0, Channels: 1})
	script(p, h, "Ks A P")
	if got := strings.Join(d.lines, ","); got != "tracks H264,key new:start,picture" || len(p.notes) != 1 || p.notes[0].Code != AudioInvalid {
		t.Errorf("%s, %v", got, p.notes)
	}
	p, _, h = newPlayer(&media.Track{Codec: media.H264, Width: 1 << 20, Height: 1})
	script(p, h, "K")
	var e *rtsp.Error
	if err := p.Tick(&rtsp.Stats{}); !errors.As(err, &e) || e.Code != "unsupported-video" {
		t.Error(err)
	}
}

// TestStall: nothing usable for ten seconds is a stall; packets without a key
// frame are none (INTEROP row 14), unless pictures came before: then a loss has made the rest useless.
func TestStall(t *testing.T) {
	p, d, h := newPlayer(small, alaw)
	s := &rtsp.Stats{Started: h.mono}
	step := func(usable bool) error {
		h.tick(time.Second)
		if usable {
			s.Usable[0] = h.mono
		}
		return p.Tick(s)
	}
	for range 600 { // ten minutes of packets, no key frame
		if err := step(true); err != nil {
			t.Fatal(err)
		}
	}
	if d.status.State != Connecting || d.status.Code != NoKeyFrame || !slices.ContainsFunc(d.status.Notes, func(n rtsp.Note) bool { return n.Code == AudioSilent }) && !p.silenced {
		t.Errorf("%+v", d.status)
	}
	script(p, h, "K P")
	if d.status.State != Playing || d.status.Code != "" || len(d.status.Tracks) != 2 || d.status.Link != rtsp.LinkPlain {
		t.Errorf("%+v", d.status)
	}
	for range 20 { // a loss, and again no key frame for long
		if err := step(true); err != nil {
			t.Fatal(err)
		}
	}
	if d.status.State != Stalled || d.status.Code != NoKeyFrame {
		t.Errorf("%+v", d.status)
	}
	n := len(d.lines)
	script(p, h, "A")
	if len(d.lines) != n {
		t.Error("sound without pictures keeps a segment open")
	}
	var e *rtsp.Error
	if err := step(true); !errors.As(err, &e) || e.Code != NoKeyFrame { // a new connection begins with one
		t.Errorf("the next key frame is awaited for good: %v", err)
	}
	if script(p, h, "K P"); d.status.State != Playing || d.status.Code != "" {
		t.Errorf("%+v", d.status)
	}
	for i := 1; ; i++ {
		if err := step(false); err != nil {
			if !errors.As(err, &e) || e.Code != StreamStopped || i != 10 {
				t.Errorf("after %d s: %v", i, err)
			}
			break
		}
	}
	p, _, h = newPlayer(small)
	s = &rtsp.Stats{Started: h.mono, Packets: 100}
	h.tick(StallAfter + time.Second)
	if err := p.Tick(s); !errors.As(err, &e) || e.Code != NoPackets {
		t.Error(err)
	}
	s.Packets, s.Foreign = 0, 50
	if err := p.Tick(s); !errors.As(err, &e) || e.Code != Undeclared {
		t.Error(err)
	}
	s.Foreign, p.agreed.Transport = 0, rtsp.UDP
	if err := p.Tick(s); !errors.As(err, &e) || e.Code != NoDatagrams {
		t.Error(err)
	}
}

// TestLabel is INTEROP row 2: sender reports label units and move nothing.
func TestLabel(t *testing.T) {
	const ntp1970 = 2208988800
	p, d, h := newPlayer(small)
	p.Report(0, rtsp.Report{NTP: ntp1970<<32 + 10<<32, RTP: 3600}) // ten seconds after it was switched on, in 1970
	script(p, h, "K P P")
	for i, u := range d.units {
		if want := int64(10e9) + int64(i)*40e6; u.Camera != want {
			t.Errorf("picture %d: %d, want %d", i, u.Camera, want)
		}
	}
	before := d.units[2].DTS
	p.Report(0, rtsp.Report{NTP: (ntp1970 + 1_900_000_000) << 32, RTP: 3 * 3600}) // SNTP sets it
	p.Unit(0, &depay.Unit{Data: []byte("x"), Arrived: h.wall + 40e6, DTS: 4 * 3600, PTS: 4 * 3600})
	if u := d.units[3]; u.DTS != before+3600 || u.Camera != 1_900_000_000e9+40e6 {
		t.Errorf("%+v", u)
	}
	var l label
	l.rate = 90000
	l.set(rtsp.Report{NTP: 100 << 32}, epoch) // counts from its start: no time at all
	if l.ns != 0 {
		t.Error(l.ns)
	}
	l.set(rtsp.Report{NTP: 5 << 32}, (1<<32-ntp1970)*1e9) // 2036
	if l.ns != (1<<32-ntp1970+5)*1e9 {
		t.Error(l.ns)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for i := range 8 {
		played := time.Duration(0)
		if i == 0 {
			played = time.Minute
		}
		got = append(got, b.next(rtsp.Lost, played, 0))
	}
	s := time.Second
	if want := []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if d := b.next(rtsp.Lost, time.Minute, 1); d != s/4 {
		t.Errorf("after it played: %v", d)
	}
	for range 20 { // restarts again and again: at least half of it is recorded
		if d := b.next(rtsp.Lost, 4*s, 0); d > 4*s {
			t.Fatal(d)
		}
	}
	b = backoff{}
	for range triesGone - 1 {
		if d := b.next(rtsp.Refused, 0, 0); d > longestGone {
			t.Fatal(d)
		}
	}
	b.next(rtsp.Refused, 0, 0)
	if d := b.next(rtsp.Refused, 0, 0); d != longest {
		t.Error(d)
	}
	if d := b.next(rtsp.AuthFailed, 0, 0); d != refused {
		t.Errorf("%v: it was away for long and refuses while it starts", d)
	}
	if d := b.next(rtsp.Lost, 0, 0); d != shortest {
		t.Errorf("%v: it refuses no more", d)
	}
	b = backoff{}
	if a, c := b.next(rtsp.AuthFailed, 0, 0), b.next(rtsp.AuthFailed, 0, 0); a != 30*s || c != 60*s {
		t.Errorf("%v, %v: cameras lock whoever tries too often", a, c)
	}
	for range 100 {
		if d := b.next(rtsp.AuthFailed, 0, 0); d > longestAuth {
			t.Fatal(d)
		}
	}
}
