package rig

import (
	"math/rand/v2"
	"testing"
	"time"

	"vigil/internal/simcam"
)

// What a kill of the whole tree may cost.
const (
	killLoss       = time.Second
	killLossMedian = 400 * time.Millisecond
)

// four are cameras of different kinds, whose key pictures are not sent at the
// same moments.
func four() []simcam.Stream {
	return []simcam.Stream{
		{Path: "clock", Source: "clock"},
		{Path: "h265", Source: "clock-h265-small", Shift: 500 * time.Millisecond},
		{Path: "small", Source: "clock-small", Shift: 1000 * time.Millisecond},
		{Path: "sound", Source: "clock-small", Sound: "aac", Shift: 1500 * time.Millisecond},
	}
}

// TestKill kills the core and its workers at random instants. Each time
// recording is back in time, all but the last moments is there, and what was
// there stays.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("20 kills take two minutes: not with -short")
	}
	kills(t, 20)
}

// TestSoakKill is TestKill for the proof.
func TestSoakKill(t *testing.T) {
	needSoak(t)
	kills(t, 200)
}

func needSoak(t *testing.T) {
	if !soak() {
		t.Skip("takes long: VIGIL_SOAK=1")
	}
}

func kills(t *testing.T, cycles int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	k := newKiller(t)
	for i := range cycles {
		k.cycle(random, i%5 == 4)
	}
	k.Start()
	k.finish(cycles + 1)
	if m := k.tails.At(0.5); m > killLossMedian {
		t.Errorf("half of the kills cost %v and more, %v may be", m, killLossMedian)
	}
}

// A killer is a recorder that is killed again and again.
type killer struct {
	*Rig
	t      *testing.T
	begin  time.Time
	limit  time.Duration              // of what a session may lose at its end
	past   []Session                  // not looked at yet
	seen   map[string]map[uint64]bool // by camera: pictures that were in the record once
	tails  Spread                     // lost at the end of a session
	starts Spread                     // to the first recorded picture
	shown  Spread                     // until the recorder says that it records
}

func newKiller(t *testing.T) *killer {
	k := &killer{Rig: New(t, Options{}), t: t, begin: time.Now(), seen: map[string]map[uint64]bool{}, limit: killLoss}
	k.Start()
	k.Simulate(four()...)
	k.WaitRecording()
	for _, c := range k.Cameras {
		k.seen[c.ID] = map[uint64]bool{}
	}
	k.kill(300 * time.Millisecond)
	return k
}

// kill lets some time pass and kills.
func (k *killer) kill(after time.Duration) {
	time.Sleep(after)
	started := k.Started
	k.past = append(k.past, Session{started, k.Kill()})
	k.noReaders()
}

// noReaders waits until the cameras have noticed that their reader is gone.
func (k *killer) noReaders() {
	k.Until("the cameras have no readers", Patience, func() bool {
		for _, c := range k.Cameras {
			if c.Feed.Counters().Readers > 0 {
				return false
			}
		}
		return true
	})
}

// cycle starts, looks at what the last session left, and kills. Early, a kill
// hits the start and the recovery themselves before that.
func (k *killer) cycle(random *rand.Rand, early bool) {
	if early {
		k.Launch()
		k.kill(time.Duration(random.IntN(1500)) * time.Millisecond)
	}
	k.Start()
	k.back()
	k.kill(time.Duration(random.IntN(1500)) * time.Millisecond)
}

// back waits until everything is as it should be after a start, and looks at
// what the sessions before left.
func (k *killer) back() {
	for _, took := range k.WaitRecording() {
		k.shown = append(k.shown, took)
		if took > StartLimit {
			k.t.Errorf("recording is back %v after the start, %v is promised", took, StartLimit)
		}
	}
	k.Recovered()
	k.look()
}

// look compares what was sent since the last look with what is there.
func (k *killer) look() {
	for _, s := range k.past {
		for _, c := range k.Cameras {
			k.lookAt(s, c)
		}
	}
	k.past = nil
}

func (k *killer) lookAt(s Session, c *Camera) {
	f := k.Export(c, s.Started.Add(-time.Second), s.Ended.Add(time.Second))
	if d := f.Doubles(); len(d) > 0 {
		k.t.Errorf("%s: pictures %v are there twice", c.Name, d)
	}
	for n := range f.Pictures {
		k.seen[c.ID][n] = true
	}
	l := c.Loss(s, f.Pictures)
	if l.Sent == 0 {
		return // killed before the first key picture
	}
	k.t.Log(l)
	if l.Head > 0 && l.Have > 0 || l.Holes > 0 {
		k.t.Errorf("%v; %+v", l, c.Feed.Counters())
	}
	if l.Tail > k.limit {
		k.t.Errorf("%v: %v may be lost", l, k.limit)
	}
	k.tails = append(k.tails, l.Tail)
	if l.Have > 0 && s.Started.After(k.begin.Add(time.Second)) { // at the very first start there are no cameras
		k.starts = append(k.starts, l.Start)
		if l.Start > StartLimit {
			k.t.Errorf("%v: %v is promised", l, StartLimit)
		}
	}
}

// finish checks all of it, of at least so many sessions.
func (k *killer) finish(sessions int) {
	k.back()
	end := time.Now()
	for _, c := range k.Cameras {
		f := k.Export(c, k.begin.Add(-time.Minute), end)
		if lost := missing(k.seen[c.ID], f.Pictures); len(lost) > 0 {
			k.t.Errorf("%s: %d pictures were there and are gone: %v", c.Name, len(lost), lost[:min(len(lost), 20)])
		}
		if d := f.Doubles(); len(d) > 0 {
			k.t.Errorf("%s: pictures %v are there twice", c.Name, d)
		}
	}
	if len(k.tails) < len(k.Cameras)*sessions {
		k.t.Errorf("only %d sessions of a camera were looked at", len(k.tails))
	}
	rep := k.MustBeClean(true)
	k.t.Logf("verified %d segments, %d bytes, %d leaves", rep.Segments, rep.Read, rep.Leaves)
	if rep.Segments == 0 || rep.Read == 0 {
		k.t.Error("nothing was verified")
	}
	k.NoAlerts("file-tampered", "file-damaged", "file-missing", "file-unknown", "ledger-short", "ledger-forked", "ledger-damaged", "audit-tampered", "catalogue-anew", "commit-failed")
	k.t.Logf("lost of a camera at the end of a session: %v\n%s", k.tails, k.tails.Histogram(50*time.Millisecond))
	k.t.Logf("from start to the first recorded picture: %v", k.starts)
	k.t.Logf("from start until a camera is shown as recording: %v", k.shown)
	if err := k.Stop(); err != nil {
		k.t.Errorf("at the end: %v", err)
	}
}
