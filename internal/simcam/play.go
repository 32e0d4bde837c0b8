package simcam

import (
	"sort"
	"time"
)

// A playhead runs over an endlessly repeated film. Positions are in units of
// the film's clock since the Unix epoch, so that a film of a minute shows its
// second s at wall second s. With a speed other than 1 the film runs slow (or
// fast) while its stamps keep their distance: the fault of clocks that are
// off. Not safe for concurrent use.
type playhead struct {
	film  *film
	speed float64
	base  time.Time // at this time
	pos   int64     // the film is here
	loop  int64     // what is next:
	index int       // units[index] of this repetition
}

// newPlayhead starts at the place that the wall clock says, shifted.
func newPlayhead(f *film, now time.Time, shift time.Duration) *playhead {
	at, clock := now.Add(-shift), int64(f.clock)
	part := int64(at.Nanosecond()) * clock
	p := &playhead{film: f, speed: 1, pos: at.Unix()*clock + part/1e9}
	p.base = now.Add(-time.Duration(part % 1e9 / clock)) // the very time of pos: two films agree to the ns
	p.seek(now, false)
	return p
}

// at returns the position at a time.
func (p *playhead) at(now time.Time) int64 {
	return p.pos + int64(now.Sub(p.base).Seconds()*p.speed*float64(p.film.clock))
}

// when returns the time of a position.
func (p *playhead) when(pos int64) time.Time {
	return p.base.Add(time.Duration(float64(pos-p.pos) / (p.speed * float64(p.film.clock)) * 1e9))
}

// next returns the unit to be sent next, its position and its time.
func (p *playhead) next() (u *unit, pos int64, due time.Time) {
	u = &p.film.units[p.index]
	pos = p.loop*p.film.length + u.at
	return u, pos, p.when(pos)
}

// advance goes to the unit after next.
func (p *playhead) advance() {
	if p.index++; p.index == len(p.film.units) {
		p.index = 0
		p.loop++
	}
}

// seek goes to the first unit, or the first key one, that is due from now on.
func (p *playhead) seek(now time.Time, key bool) {
	pos := p.at(now)
	p.loop = pos / p.film.length
	p.index = sort.Search(len(p.film.units), func(i int) bool { return p.film.units[i].at >= pos%p.film.length })
	if p.index == len(p.film.units) {
		p.index = 0
		p.loop++
	}
	for key && !p.film.units[p.index].key {
		p.advance()
	}
}

// setSpeed changes the speed from here on; back at 1 it jumps to where it
// would be by now.
func (p *playhead) setSpeed(now time.Time, speed float64, shift time.Duration) {
	if speed == 1 {
		*p = *newPlayhead(p.film, now, shift)
		p.seek(now, true)
		return
	}
	p.pos, p.base, p.speed = p.at(now), now, speed
}
