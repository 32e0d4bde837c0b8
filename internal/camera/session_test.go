package camera

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vigil/internal/camera/rtsp"
	"vigil/internal/media"
	"vigil/internal/simcam"
	"vigil/internal/simcam/footage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A watch is the machine's clock, and what was done to it.
type watch struct {
	mu   sync.Mutex
	wall int64 // ahead by
}

func (w *watch) Wall() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rtsp.SystemClock.Wall() + w.wall
}
func (w *watch) Mono() int64 { return rtsp.SystemClock.Mono() }
func (w *watch) set(ahead time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wall = int64(ahead)
}

// A keeper is a diary that lets a test wait for something.
type keeper struct {
	mu sync.Mutex
	diary
	statuses []Status
	news     []media.Cause
	newAt    []media.Unit
	poke     chan struct{}
}

func (k *keeper) Tracks(l []media.Track) { k.locked(func() { k.diary.Tracks(l) }) }

func (k *keeper) Unit(u media.Unit, timeline media.Cause, lost uint32) {
	k.locked(func() {
		u.Data = nil
		k.diary.Unit(u, timeline, lost)
		if timeline != "" {
			k.news = append(k.news, timeline)
			k.newAt = append(k.newAt, u)
		}
	})
}

func (k *keeper) Status(s Status) {
	k.locked(func() {
		k.statuses = append(k.statuses, s)
		k.status = s
	})
}

func (k *keeper) locked(f func()) {
	k.mu.Lock()
	f()
	k.mu.Unlock()
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// wait waits until f holds.
func (k *keeper) wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		k.mu.Lock()
		ok := f()
		k.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-k.poke:
		case <-late:
			k.mu.Lock()
			defer k.mu.Unlock()
			t.Fatalf("%s: %d units, timelines %v, %+v", what, len(k.units), k.news, k.status)
		}
	}
}

// record starts a session; the test's end stops it.
func record(t *testing.T, o rtsp.Options) *keeper {
	t.Helper()
	k := &keeper{poke: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- new(Session).Run(ctx, o, k) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return k
}

func sim(t *testing.T, cfg simcam.Config) (*simcam.Camera, func(path string) rtsp.Options) {
	t.Helper()
	if cfg.Streams == nil {
		cfg.Streams = []simcam.Stream{{Path: "s", Source: "clock-small", Sound: "alaw"}}
	}
	cfg.Reports = 200 * time.Millisecond
	cfg.Footage = footage.All
	c, err := simcam.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, func(path string) rtsp.Options {
		u, err := rtsp.ParseURL(c.URL(path))
		if err != nil {
			t.Fatal(err)
		}
		o := rtsp.Options{URL: u, Audio: true}
		if u.TLS() {
			o.Link = rtsp.LinkInsecure
		}
		return o
	}
}

// TestSession: tracks, first unit, our time, the camera's time, both tracks.
func TestSession(t *testing.T) {
	cam, at := sim(t, simcam.Config{})
	cam.SetClockTo(time.Unix(1000, 0)) // wakes up in 1970
	k := record(t, at("s"))
	k.wait(t, "units", func() bool {
		n := len(k.units)
		return n > 60 && k.units[n-1].Camera != 0 && k.status.State == Playing
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lines[0] != "tracks H264 PCMA" || k.lines[1] != "key new:start" || k.statuses[0].State != Connecting {
		t.Errorf("%q, %+v", k.lines[:3], k.statuses)
	}
	now := time.Now()
	for _, u := range k.units[1:] {
		if d := now.Sub(u.DTS.Time()); d < -time.Second || d > 25*time.Second {
			t.Fatalf("placed %v ago: %+v", d, u)
		}
	}
	last := k.units[len(k.units)-1]
	if c := time.Unix(0, last.Camera); c.Before(time.Unix(1000, 0)) || c.After(time.Unix(1060, 0)) {
		t.Errorf("the camera's time is %v", c)
	}
}

// TestReconnect: a cut connection, and a camera that restarts, are recorded
// again soon, as a new timeline.
func TestReconnect(t *testing.T) {
	cam, at := sim(t, simcam.Config{})
	k := record(t, at("s"))
	k.wait(t, "first", func() bool { return len(k.units) > 5 })
	cam.Feed("s").Cut()
	k.wait(t, "after a cut", func() bool { return len(k.news) == 2 })
	cam.Reboot(time.Second)
	k.wait(t, "after a restart", func() bool { return len(k.news) == 3 })
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, n := range k.news {
		if n != media.CameraStart || i > 0 && k.newAt[i].DTS <= k.newAt[i-1].DTS {
			t.Errorf("%v at %v", k.news, k.newAt)
		}
	}
	failed := 0
	for _, s := range k.statuses {
		if s.State == Failed {
			failed++
			if s.Code == "" || s.Retry <= 0 || s.Retry > 8*time.Second {
				t.Errorf("%+v", s)
			}
		}
	}
	if failed < 2 {
		t.Errorf("%+v", k.statuses)
	}
}

// TestRecordedAllTheSame: what costs no picture, does not move the record in
// time and, but for the connection that the sound ends, does not cut it.
func TestRecordedAllTheSame(t *testing.T) {
	for _, c := range []struct {
		before, amid string
		tracks       int
	}{
		{"", "freeze s", 2},
		{"", "renumber s", 2},
		{"", "stampevery s 7 -5h", 2},
		{"", "soundpace s 0.9", 2},
		{"", "clock 1970-01-01T00:00:00Z", 2},
		{"refusesound on", "", 1},
		{"refusesound hangup", "", 1},
	} {
		t.Run(c.before+c.amid, func(t *testing.T) {
			t.Parallel()
			cam, at := sim(t, simcam.Config{})
			do := func(line string) {
				if line == "" {
					return
				}
				if err := cam.Command(line); err != nil {
					t.Fatal(err)
				}
			}
			do(c.before)
			k := record(t, at("s"))
			pictures := func() (n int) {
				for _, u := range k.units {
					if u.Track == 1 {
						n++
					}
				}
				return n
			}
			k.wait(t, "first", func() bool { return pictures() > 10 })
			do(c.amid)
			k.wait(t, "more", func() bool { return pictures() > 45 })
			k.mu.Lock()
			defer k.mu.Unlock()
			if n := len(k.status.Tracks); n != c.tracks || len(k.news) != 1 {
				t.Errorf("%d tracks, timelines %v", n, k.news)
			}
			if c.before != "" && (len(k.status.Notes) != 1 || k.status.Notes[0].Code != AudioInvalid) {
				t.Errorf("the sound is missing in silence: %+v", k.status.Notes)
			}
			last := media.Ticks(0)
			for _, u := range k.units {
				if u.Track != 1 {
					continue
				}
				if d := u.DTS - last; last != 0 && (d < second/200 || d > second/2) { // 80 ms are due, arrival has its jitter
					t.Errorf("%d ticks between two pictures", d)
				}
				last = u.DTS
			}
			if d := time.Since(last.Time()); d > time.Second || d < -time.Second {
				t.Errorf("the newest picture is placed %v ago", d)
			}
			for _, l := range k.lines {
				if strings.HasSuffix(l, "lost") {
					t.Error(l)
				}
			}
		})
	}
}

// TestClocks: ours is stepped, and the camera's; nothing is lost, and each cuts
// once.
func TestClocks(t *testing.T) {
	cam, at := sim(t, simcam.Config{})
	w := &watch{}
	o := at("s")
	o.Clock = w
	k := record(t, o)
	k.wait(t, "first", func() bool { return len(k.units) > 50 })
	cam.Feed("s").StampEvery(20, time.Hour)
	k.wait(t, "odd stamps", func() bool { return len(k.units) > 150 })
	cam.Feed("s").StampEvery(0, 0)
	k.mu.Lock()
	if len(k.news) != 1 {
		t.Errorf("single odd stamps cut: %v", k.news)
	}
	k.mu.Unlock()
	w.set(-time.Hour)
	k.wait(t, "our clock", func() bool { return len(k.news) == 2 })
	cam.Feed("s").StampShift(time.Hour)
	k.wait(t, "the camera's clock", func() bool { return len(k.news) == 3 })
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.news[1] != media.CutClock || k.news[2] != media.CameraClock {
		t.Error(k.news)
	}
	if d := time.Since(k.newAt[2].DTS.Time()) - time.Hour; d < -time.Minute || d > time.Minute {
		t.Errorf("%v away from our clock", d)
	}
	for _, l := range k.lines {
		if strings.HasSuffix(l, "lost") {
			t.Error(l)
		}
	}
}

// TestCodecChange: another size in mid-stream is another declaration.
func TestCodecChange(t *testing.T) {
	cam, at := sim(t, simcam.Config{})
	k := record(t, at("s"))
	var before media.Track
	k.wait(t, "first", func() bool {
		if len(k.units) > 5 {
			before = k.tracks[0]
		}
		return len(k.units) > 5
	})
	if err := cam.Feed("s").Switch("clock"); err != nil {
		t.Fatal(err)
	}
	k.wait(t, "the change", func() bool { return len(k.news) == 2 })
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.news[1] != media.CutCodec || same(&before, &k.tracks[0]) || len(k.tracks) != 2 {
		t.Errorf("%v, %+v", k.news, k.tracks)
	}
}

// TestRefusals: what a person must know, as a code.
func TestRefusals(t *testing.T) {
	cam, at := sim(t, simcam.Config{User: "u", Password: "p"})
	o := at("s")
	o.User, o.Password, o.LegacyMD5 = "u", rtsp.NewPassword("wrong"), true
	k := record(t, o)
	k.wait(t, "a wrong password", func() bool { return k.status.State == Failed })
	if k.status.Code != rtsp.AuthFailed || k.status.Retry < refused/2 {
		t.Errorf("%+v", k.status)
	}
	cam.Limit(1)
	o.Password = rtsp.NewPassword("p")
	one := record(t, o)
	one.wait(t, "the one session", func() bool { return len(one.units) > 0 })
	two := record(t, o)
	two.wait(t, "one too many", func() bool { return two.status.State == Failed })
	if two.status.Code != rtsp.SessionLimit || two.status.Args["status"] != "453" {
		t.Errorf("%+v", two.status)
	}
}

func TestProbe(t *testing.T) {
	cam, at := sim(t, simcam.Config{TLS: true})
	p, err := Probe(t.Context(), at("s"))
	if err != nil || len(p.Tracks) != 2 || p.Tracks[0].Codec != media.H264 || p.Tracks[1].Codec != media.PCMA || p.Tracks[0].Width == 0 || p.Transport != rtsp.TCP || p.Link != rtsp.LinkInsecure {
		t.Errorf("%v, %+v", err, p)
	}
	if p.Certificate == nil || hex.EncodeToString(p.Certificate.SHA256) != cam.Fingerprint() {
		t.Errorf("%+v", p.Certificate)
	}
	counted := cam.Feed("s").Sent(0)
	rate := float64(len(counted)-1) / (float64(counted[len(counted)-1].At-counted[0].At) / 1000)
	if math.Abs(p.FPS-rate) > rate/5 || p.BitRate <= 0 {
		t.Errorf("%.2f pictures a second, sent %.2f; %d bit/s", p.FPS, rate, p.BitRate)
	}
	if err := media.CheckTracks(p.Tracks); err != nil {
		t.Error(err)
	}
	o := at("s")
	o.Link, o.Pin = rtsp.LinkPin, make([]byte, 32)
	_, err = Probe(t.Context(), o)
	var e *rtsp.Error
	if !errors.As(err, &e) || e.Code != rtsp.TLSPin || e.Certificate == nil {
		t.Error(err)
	}
	if _, err := Probe(t.Context(), at("none")); !errors.As(err, &e) || e.Code != rtsp.NotFound {
		t.Error(err)
	}
}
