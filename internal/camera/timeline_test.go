package camera

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"vigil/internal/media"
)

const (
	epoch = int64(1_800_000_000e9) // when the tests start, ns
	ms    = int64(1e6)
)

// A world is a camera of 25 pictures a second, or other, and our clock.
type world struct {
	t    *testing.T
	line *Timeline
	rate int64

	stamp   int64 // RTP of the next unit
	gone    int64 // ns since the start that have really gone by
	step    int64 // what our wall clock was stepped by
	n       int
	last    media.Ticks
	news    []media.Cause
	at      []media.Ticks // of all units
	gop     int
	errMost time.Duration // largest distance from wall time since reset
}

func newWorld(t *testing.T, rate int64) *world {
	return &world{t: t, line: NewTimeline(int(rate)), rate: rate, stamp: 4_000_000_000, gop: 25}
}

// unit sends one unit, late after its time by delay.
func (w *world) unit(stamp int64, delay int64) Place {
	w.t.Helper()
	arrived := epoch + w.gone + delay + w.step
	now := Now{Wall: arrived, Mono: w.gone + delay + 77}
	p := w.line.Add(0, stamp, stamp+w.rate/25, arrived, now, w.n%w.gop == 0)
	if p.New != "" {
		w.news = append(w.news, p.New)
		if w.n%w.gop != 0 {
			w.t.Fatalf("unit %d: a timeline starts with what cannot start one", w.n)
		}
	} else if w.n > 0 && p.DTS <= w.last {
		w.t.Fatalf("unit %d: %d after %d", w.n, p.DTS, w.last)
	}
	if p.New == media.CameraClock && p.DTS <= w.last {
		w.t.Fatalf("unit %d: time went back with the camera's clock", w.n)
	}
	if p.CTO < 0 || p.CTO > maxCTO {
		w.t.Fatalf("unit %d: composition offset %d", w.n, p.CTO)
	}
	w.last = p.DTS
	w.at = append(w.at, p.DTS)
	w.n++
	off := p.DTS.Time().Sub(time.Unix(0, epoch+w.gone+w.step))
	w.errMost = max(w.errMost, off, -off)
	return p
}

// play sends n pictures that are media apart by their stamps and really apart
// in fact, late by what delay gives.
func (w *world) play(n int, stamped, real int64, delay func() int64) {
	w.t.Helper()
	for range n {
		w.unit(w.stamp, delay())
		w.stamp += stamped
		w.gone += real
	}
}

func none() int64 { return 0 }

// wander is jitter up to most, the same in every run.
func wander(most int64) func() int64 {
	r := rand.New(rand.NewPCG(1, 2))
	return func() int64 { return r.Int64N(most) }
}

// spacing checks the distances of the units from the one numbered from.
func (w *world) spacing(from int, want, slack media.Ticks) {
	w.t.Helper()
	for i := max(from, 1); i < len(w.at); i++ {
		if d := w.at[i] - w.at[i-1]; d < want-slack || d > want+slack {
			w.t.Fatalf("unit %d comes %d ticks after the one before, want %d to within %d", i, d, want, slack)
		}
	}
}

func (w *world) near(most time.Duration) {
	w.t.Helper()
	if w.errMost > most {
		w.t.Errorf("up to %v away from wall time, want %v", w.errMost, most)
	}
}

func (w *world) causes(want ...media.Cause) {
	w.t.Helper()
	if len(w.news) != len(want) {
		w.t.Fatalf("new timelines: %v, want %v", w.news, want)
	}
	for i := range want {
		if w.news[i] != want[i] {
			w.t.Fatalf("new timelines: %v, want %v", w.news, want)
		}
	}
}

func TestTimelineExact(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(200_000, 3600, 40*ms, none) // over the end of 32 bits of stamps too
	w.spacing(0, 3600, 0)
	w.near(time.Millisecond)
	w.causes()
}

func TestTimelineJitter(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(20_000, 3600, 40*ms, wander(60*ms))
	w.spacing(200, 3600, 60) // the correction is at most a few ticks a picture
	w.near(100 * time.Millisecond)
	w.causes()
}

// TestTimelinePace is INTEROP row 3: stamps of 25 pictures a second, 21 come.
func TestTimelinePace(t *testing.T) {
	for _, real := range []int64{1000 * ms / 21, 1000 * ms / 29} {
		w := newWorld(t, 90000)
		w.play(21*60, 3600, real, wander(10*ms))
		w.near(2 * time.Second)
		w.errMost = 0
		w.play(21*600, 3600, real, wander(10*ms))
		w.near(200 * time.Millisecond)
		w.causes()
	}
}

// TestTimelineSound is INTEROP row 4: a sound clock that is off by a percent,
// for an hour.
func TestTimelineSound(t *testing.T) {
	for _, stamped := range []int64{1010, 1034} {
		w := newWorld(t, 8000)
		w.play(3600*8, stamped, 128*ms, wander(20*ms))
		w.near(500 * time.Millisecond)
		w.causes()
	}
}

// TestTimelineOdd is INTEROP row 1: single pictures stamped hours or seconds
// away. None is dropped, none starts a timeline, the others stand where they would.
func TestTimelineOdd(t *testing.T) {
	for _, off := range []int64{3600, -3600, 5 * 3600, -5 * 3600, 3, -3, -1} {
		w := newWorld(t, 90000)
		for i := range 5000 {
			stamp := w.stamp
			if i%60 == 30 {
				stamp += off * 90000
			}
			w.unit(stamp, wander(15*ms)())
			w.stamp += 3600
			w.gone += 40 * ms
		}
		if len(w.at) != 5000 {
			t.Fatal("a picture was dropped")
		}
		w.spacing(200, 3600, 100)
		w.near(100 * time.Millisecond)
		w.causes()
	}
}

// TestTimelineJump: the camera's clock is set and stays so.
func TestTimelineJump(t *testing.T) {
	for _, off := range []int64{3600, -3600, 40, -40, 2, -2} {
		w := newWorld(t, 90000)
		w.play(1010, 3600, 40*ms, wander(10*ms))
		w.stamp += off * 90000
		w.play(1000, 3600, 40*ms, wander(10*ms))
		w.causes(media.CameraClock)
		w.spacing(200, 3600, 1500)
		w.near(200 * time.Millisecond)
	}
}

// TestTimelineRestless: a clock that steps back again and again cuts the record
// a few times and is then not looked at any more.
func TestTimelineRestless(t *testing.T) {
	w := newWorld(t, 90000)
	for range 100 {
		w.play(250, 3600, 40*ms, wander(10*ms))
		w.stamp -= 3 * 90000
	}
	if n := len(w.news); n < 1 || n > tooMany {
		t.Errorf("%d timelines", n)
	}
	w.near(500 * time.Millisecond)
}

// TestTimelineUseless: stamps that do not rise, or in another unit.
func TestTimelineUseless(t *testing.T) {
	for name, stamped := range map[string]int64{"frozen": 0, "milliseconds": 40, "backwards": -3600, "far too fast": 90000} {
		w := newWorld(t, 90000)
		w.play(25*60, stamped, 40*ms, wander(10*ms))
		w.errMost = 0
		w.play(25*120, stamped, 40*ms, wander(10*ms))
		if w.errMost > 500*time.Millisecond || len(w.news) > tooMany {
			t.Errorf("%s: %v away, timelines %v", name, w.errMost, w.news)
		}
	}
}

// TestTimelineFrozen: one stamp for all pictures, which depay makes rise by the
// least there is.
// TestTimelineOtherUnit: stamps in milliseconds under a clock of 90 kHz. Seconds
// later the stamps are given up, and pictures stand where they came.
func TestTimelineOtherUnit(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(90, 100, 100*ms, wander(10*ms))
	w.errMost = 0
	w.play(1000, 100, 100*ms, wander(10*ms))
	w.near(250 * time.Millisecond)
	w.spacing(200, 9000, 3000)
	w.causes(media.CameraClock)
}

func TestTimelineFrozen(t *testing.T) {
	for _, real := range []int64{10 * ms, 100 * ms, 1000 * ms} {
		w := newWorld(t, 90000)
		w.play(600, 1, real, wander(5*ms))
		w.near(200 * time.Millisecond)
		w.causes()
	}
}

// TestTimelineStep: our own clock is set, forwards and backwards. The old
// timeline goes on until the next random access unit.
func TestTimelineStep(t *testing.T) {
	for _, by := range []int64{3600e9, -3600e9, 3e9, -3e9} {
		w := newWorld(t, 90000)
		w.play(1010, 3600, 40*ms, wander(10*ms))
		before := w.last
		w.step = by
		w.play(5, 3600, 40*ms, none)
		if d := w.last - before; d < 4*3600 || d > 6*3600 {
			t.Fatalf("the old timeline moved by %d", d)
		}
		w.errMost = 0
		w.play(10, 3600, 40*ms, none)
		w.errMost = 0
		w.play(1000, 3600, 40*ms, wander(10*ms))
		w.causes(media.CutClock)
		w.near(100 * time.Millisecond)
	}
	w := newWorld(t, 90000)
	w.play(1010, 3600, 40*ms, none)
	w.step = 3600e9
	w.play(3, 3600, 40*ms, none)
	w.step = 0 // taken back before anybody saw it
	w.play(100, 3600, 40*ms, none)
	w.causes()
	w.spacing(0, 3600, 0)

	w = newWorld(t, 90000)
	w.play(1010, 3600, 40*ms, none)
	w.step = 1500 * ms // followed slowly
	w.play(1000, 3600, 40*ms, none)
	w.errMost = 0
	w.play(1000, 3600, 40*ms, none)
	w.causes()
	w.near(150 * time.Millisecond)
}

// TestTimelineStepInFlight: a unit that arrived before the step and is placed
// after it.
func TestTimelineStepInFlight(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(30, 3600, 40*ms, none)
	arrived := epoch + w.gone
	p := w.line.Add(0, w.stamp, w.stamp, arrived, Now{Wall: arrived + 40*ms - 3600e9, Mono: w.gone + 40*ms + 77}, false)
	if d := p.DTS - w.last; d != 3600 || p.Arrived != arrived {
		t.Errorf("%d after the one before, arrived %d", d, p.Arrived-arrived)
	}
}

// TestTimelineBurst: a camera that sends its last two seconds at once on PLAY.
func TestTimelineBurst(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(50, 3600, 2*ms, none)
	w.play(150, 3600, 40*ms, wander(5*ms))
	w.errMost = 0
	w.play(500, 3600, 40*ms, wander(5*ms))
	w.near(150 * time.Millisecond)
	w.causes()
}

// TestTimelineStall: the network holds everything up, and then it all comes.
func TestTimelineStall(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(1000, 3600, 40*ms, none)
	for i := range int64(200) { // 8 s, arriving within one
		w.unit(w.stamp, 8000*ms-i*40*ms+i*5*ms)
		w.stamp += 3600
		w.gone += 40 * ms
	}
	w.play(1000, 3600, 40*ms, wander(5*ms))
	w.spacing(0, 3600, 900)
	w.causes()
	w.errMost = 0
	w.play(1000, 3600, 40*ms, wander(5*ms))
	w.near(100 * time.Millisecond)
}

// TestTimelinePause: nothing comes for a minute; the camera's clock went on, or
// stood still.
func TestTimelinePause(t *testing.T) {
	w := newWorld(t, 90000)
	w.play(100, 3600, 40*ms, none)
	w.stamp += 60 * 90000
	w.gone += 60_000 * ms
	w.play(100, 3600, 40*ms, none)
	w.near(20 * time.Millisecond)
	w.causes()
	w.gone += 60_000 * ms
	w.play(300, 3600, 40*ms, none)
	w.errMost = 0
	w.play(300, 3600, 40*ms, none)
	w.near(500 * time.Millisecond)
	w.causes(media.CameraClock)
}

// TestTimelineTracks: each track stands on its own.
func TestTimelineTracks(t *testing.T) {
	l := NewTimeline(90000, 8000)
	for i := range int64(10_000) {
		at := epoch + i*40*ms
		now := Now{at, i * 40 * ms}
		v := l.Add(0, 1000+i*3600, 1000+i*3600, at, now, i%25 == 0)
		a := l.Add(1, 5_000_000-i*400, 0, at, now, true) // the sound's clock runs backwards
		if v.New != "" || a.New != "" {
			t.Fatal("sound cut the video")
		}
		if i > 3000 {
			if d := v.DTS - a.DTS; d > 9000 || d < -9000 {
				t.Fatalf("unit %d: %d ticks apart", i, d)
			}
		}
		if want := ticks(at); v.DTS < want-2 || v.DTS > want+2 {
			t.Fatalf("unit %d: the video moved by %d", i, v.DTS-want)
		}
	}
}

//vigil:clause 5.3.2.1 5.3.3.1
func FuzzTimeline(f *testing.F) {
	seed := make([]byte, 0, 900)
	for i := range uint16(100) {
		seed = append(seed, byte(i%25), byte(3600>>8), byte(3600&0xff), 0, 40, 0, 0, 0, 0)
	}
	f.Add(seed)
	f.Add([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := NewTimeline(90000, 8000)
		var dts, mono, wall int64 = 0, 5, epoch
		var last [2]media.Ticks
		for ; len(b) >= 9; b = b[9:] {
			track, cut := int(b[0]>>7), b[0]&0x7f == 0
			d := int64(int16(binary.BigEndian.Uint16(b[1:])))
			if b[3]&1 != 0 {
				d <<= 16
			}
			dts += d
			mono += int64(b[4]) * ms
			wall += int64(b[4]) * ms
			if b[5]&1 != 0 {
				wall += int64(int16(binary.BigEndian.Uint16(b[6:]))) * 1e9
			}
			wall = max(wall, 1e18)
			p := l.Add(track, dts, dts+int64(int8(b[8]))*1000, wall-int64(b[8])*ms, Now{wall, mono}, cut && track == 0)
			if p.CTO < 0 || p.CTO > maxCTO {
				t.Fatalf("%+v", p)
			}
			if p.New != "" {
				if !cut || track != 0 {
					t.Fatalf("a timeline starts where none can: %+v", p)
				}
				if p.New == media.CutClock {
					last = [2]media.Ticks{}
				}
			}
			if last[track] != 0 && p.DTS <= last[track] {
				t.Fatalf("%d after %d", p.DTS, last[track])
			}
			last[track] = p.DTS
		}
	})
}

func BenchmarkTimeline(b *testing.B) {
	l := NewTimeline(90000)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		l.Add(0, i*3600, i*3600, epoch+i*40*ms, Now{epoch + i*40*ms, i * 40 * ms}, false)
	}
}
