package simcam

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// never is the end of a fault that lasts until it is called off.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// until is the time at which a fault of a duration ends; 0 is never.
func until(d time.Duration) time.Time {
	if d <= 0 {
		return never
	}
	return time.Now().Add(d)
}

// faults of a feed that concern single packets. Kept by Feed.mu.
type faults struct {
	shift    uint32 // of all stamps
	frozen   bool   // all pictures have the stamp of the last
	stood    uint32 // which is this one
	begun    bool   // once it is known
	one      uint32 // of the next picture's stamp
	every    uint64 // each so many pictures ...
	far      uint32 // ... the stamp is so wrong
	drop     int    // packets still to be dropped
	share    float64
	swap     int // each so many packets, two change places
	swapAt   int
	lie      Lie
	lies     int // pictures still to be preceded by one
	randomly *rand.Rand
}

// stand returns the stamp for a picture that should have this one.
func (f *faults) stand(stamp uint32) uint32 {
	if !f.frozen || !f.begun {
		f.stood, f.begun = stamp, true
	}
	return f.stood
}

// stampOf returns the error of the stamp of picture n.
func (f *faults) stampOf(n uint64) uint32 {
	e := f.one
	f.one = 0
	if f.every > 0 && n%f.every == 0 {
		e += f.far
	}
	return e
}

func (f *faults) drops() bool {
	if f.drop > 0 {
		f.drop--
		return true
	}
	if f.share <= 0 {
		return false
	}
	if f.randomly == nil {
		f.randomly = rand.New(rand.NewPCG(1, 2)) // the same packets in each run
	}
	return f.randomly.Float64() < f.share
}

func (f *faults) swaps() bool {
	if f.swap <= 0 {
		return false
	}
	f.swapAt++
	return f.swapAt%f.swap == 0
}

func ticks(d time.Duration) uint32 { return uint32(int64(d) * 9 / 100000) }

// with changes the feed under its lock and lets it look at its schedule anew.
func (f *Feed) with(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	f.poke()
}

// Stall stops all packets for a time, or with 0 until Go, and keeps the
// connections. What falls into that time is not sent and gets no numbers.
func (f *Feed) Stall(d time.Duration) { f.with(func() { f.stalled = until(d) }) }

// Go ends Stall; pictures go on with the next key picture.
func (f *Feed) Go() {
	f.with(func() {
		if !f.stalled.IsZero() {
			f.stalled = time.Now()
		}
	})
}

// Drop keeps back the next n packets of pictures; their sequence numbers are
// used up.
func (f *Feed) Drop(n int) { f.with(func() { f.faults.drop = n }) }

// DropShare keeps back a share (0 to 1) of the packets of pictures, chosen
// pseudo-randomly.
func (f *Feed) DropShare(p float64) { f.with(func() { f.faults.share = p }) }

// Reorder lets each so many packets of pictures two change places; 0 ends it.
func (f *Feed) Reorder(every int) { f.with(func() { f.faults.swap = every }) }

// StampOne stamps the next picture, and only that, d away.
func (f *Feed) StampOne(d time.Duration) { f.with(func() { f.faults.one = ticks(d) }) }

// StampEvery stamps each nth picture d away; n 0 ends it.
func (f *Feed) StampEvery(n int, d time.Duration) {
	f.with(func() { f.faults.every, f.faults.far = uint64(max(n, 0)), ticks(d) })
}

// StampShift lets the stamps of pictures jump by d and go on from there. It
// adds up. Sender reports follow.
func (f *Feed) StampShift(d time.Duration) { f.with(func() { f.faults.shift += ticks(d) }) }

// Freeze stamps all pictures like the last one, or ends that.
func (f *Feed) Freeze(on bool) { f.with(func() { f.faults.frozen = on }) }

// Renumber lets the sequence numbers of pictures start anew, far from where
// they were.
func (f *Feed) Renumber() {
	f.with(func() {
		if f.out != nil {
			f.out.video.seq += 1 << 14
		}
	})
}

// Pace sends pictures at a fraction of their rate without telling: with
// 21.0/25 a film of 25 pictures a second comes at 21, stamped as 25. The
// burnt-in clock goes as slow. 1 ends it, with a jump to the right place.
func (f *Feed) Pace(speed float64) error { return f.pace(func() *playhead { return f.video }, speed) }

// SoundPace does the same to the sound: 0.995 is a clock of 7960 Hz that says
// 8000.
func (f *Feed) SoundPace(speed float64) error {
	return f.pace(func() *playhead { return f.sound }, speed)
}

func (f *Feed) pace(head func() *playhead, speed float64) error {
	if speed < 0.01 || speed > 10 {
		return fmt.Errorf("pace %g", speed)
	}
	err := fmt.Errorf("%s has no sound", f.stream.Path)
	f.with(func() {
		if h := head(); h != nil {
			h.setSpeed(time.Now(), speed, f.stream.Shift)
			err = nil
		}
	})
	return err
}

// Switch changes to another film of the same codec at its next key picture,
// so that size and parameter sets change in mid-stream.
func (f *Feed) Switch(source string) error {
	f.mu.Lock()
	codec := f.video.film.codec
	rate := f.stream.Rate
	f.mu.Unlock()
	film, err := loadFilm(f.cam.cfg.Footage, source, rate)
	if err != nil {
		return fmt.Errorf("switch %s: %w", f.stream.Path, err)
	}
	if film.codec != codec {
		return fmt.Errorf("switch %s: from %v to %v", f.stream.Path, codec, film.codec)
	}
	f.with(func() { f.next, f.stream.Source = film, source })
	return nil
}

// Source returns the name of the film that is or will be played.
func (f *Feed) Source() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stream.Source
}

// SetSets changes where the parameter sets are told.
func (f *Feed) SetSets(s Sets) error {
	if s != SetsBoth && s != SetsBand && s != SetsSDP {
		return fmt.Errorf("parameter sets %q", s)
	}
	f.with(func() {
		f.sets = s
		f.describe()
	})
	return nil
}

// Cut closes the connections of all who play the path.
func (f *Feed) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.readers {
		s.Close()
	}
}

// Offline cuts and refuses the path (503) for a time, or with 0 until Online.
func (f *Feed) Offline(d time.Duration) {
	f.with(func() { f.offline = until(d) })
	f.Cut()
}

// Online ends Offline.
func (f *Feed) Online() { f.with(func() { f.offline = time.Time{} }) }

// Calm ends all faults of the path; the stamps stay where a StampShift left
// them.
func (f *Feed) Calm() {
	if f.Source() != f.home {
		_ = f.Switch(f.home) // was loaded before
	}
	f.Go()
	f.with(func() {
		f.offline = time.Time{}
		f.sets = f.stream.Sets
		f.describe()
		shift := f.faults.shift
		f.faults = faults{shift: shift}
		for _, h := range []*playhead{f.video, f.sound} {
			if h != nil && h.speed != 1 {
				h.setSpeed(time.Now(), 1, f.stream.Shift)
			}
		}
	})
}
