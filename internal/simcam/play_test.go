package simcam

import (
	"testing"
	"time"

	"vigil/internal/simcam/footage"
)

// A film of three pictures in 0.3 s, the first of them key.
func shortFilm() *film {
	return &film{clock: videoClock, length: 27000, units: []unit{{at: 0, key: true}, {at: 9000}, {at: 18000}}}
}

func TestPlayheadFollowsTheWallClock(t *testing.T) {
	clock, err := loadFilm(footage.All, "clock-small", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, second := range []float64{0, 0.01, 7.5, 59.95, 59.99} {
		now := time.Unix(1795492380, 0).Add(time.Duration(second * 1e9)) // 1795492380 is a full minute
		p := newPlayhead(clock, now, 0)
		for range 2000 {
			_, pos, due := p.next()
			if due.Before(now) {
				t.Fatalf("started at %v: due %v", now, due)
			}
			shows := time.Duration(clock.units[p.index].at) * time.Second / videoClock
			wall := due.Sub(due.Truncate(time.Minute))
			if d := (wall - shows).Abs(); d > time.Millisecond || due.Sub(time.Unix(0, 0)).Round(time.Millisecond) != (time.Duration(pos/90)*time.Millisecond) {
				t.Fatalf("at second %v of the minute the film shows %v, position %d", wall, shows, pos)
			}
			p.advance()
		}
	}
}

func TestPlayheadSeek(t *testing.T) {
	base := time.Unix(300, 0) // a multiple of 0.3 s
	p := newPlayhead(shortFilm(), base, 0)
	for _, c := range []struct {
		after time.Duration
		key   bool
		want  time.Duration
	}{
		{0, false, 0},
		{time.Millisecond, false, 100 * time.Millisecond},
		{time.Millisecond, true, 300 * time.Millisecond},
		{200 * time.Millisecond, false, 200 * time.Millisecond},
		{201 * time.Millisecond, false, 300 * time.Millisecond},
		{301 * time.Millisecond, true, 600 * time.Millisecond},
	} {
		p.seek(base.Add(c.after), c.key)
		if _, _, due := p.next(); due.Sub(base).Round(time.Microsecond) != c.want {
			t.Errorf("seek to %v, key %v: %v, want %v", c.after, c.key, due.Sub(base), c.want)
		}
	}
}

func TestPlayheadSpeedAndShift(t *testing.T) {
	base := time.Unix(300, 0)
	p := newPlayhead(shortFilm(), base, 50*time.Millisecond)
	if _, pos, due := p.next(); due.Sub(base).Round(time.Microsecond) != 50*time.Millisecond || pos != 300*videoClock {
		t.Errorf("shifted by 50 ms: position %d after %v", pos, due.Sub(base))
	}
	p = newPlayhead(shortFilm(), base, 0)
	p.setSpeed(base, 0.5, 0)
	for i := range 10 {
		_, pos, due := p.next()
		if want := time.Duration(i) * 200 * time.Millisecond; due.Sub(base).Round(time.Microsecond) != want || pos != 300*videoClock+int64(i)*9000 {
			t.Errorf("picture %d at half speed: position %d after %v", i, pos, due.Sub(base))
		}
		p.advance()
	}
	p.setSpeed(base.Add(10*time.Second), 1, 0)
	if u, pos, due := p.next(); !u.key || due.Sub(base) < 10*time.Second || due.Sub(base) > 10300*time.Millisecond || p.when(pos) != due {
		t.Errorf("after the return to full speed: key %v after %v", u.key, due.Sub(base))
	}
}

func TestSentLogForgetsInTime(t *testing.T) {
	l := sentLog{keep: time.Second}
	for i := range 10000 {
		l.add(Sent{Number: uint64(i), At: int64(i) * 40})
		if n := len(l.list); n > 100 || l.list[n-1].Number != uint64(i) || n < min(i+1, 25) {
			t.Fatalf("%d remembered after %d", n, i)
		}
	}
}
