package depay

import "vigil/internal/media"

// finish hands the picture in front of end out, or drops it.
func (a *assembler) finish(end int) {
	a.deliver(end)
	a.pic = picture{}
	a.start = end
	a.sets = a.sets[:0]
}

func (a *assembler) deliver(end int) {
	p := &a.pic // not a copy: it would be allocated for the calls through coding
	if p.damaged {
		a.drop()
		return
	}
	pts := a.clock.extend(p.time)
	random := a.coding.random(p, pts)
	switch {
	case !random && (!a.started || a.lossy):
		a.drop()
		return
	case !random && a.skip && (p.leading || p.b && pts < a.from):
		return // it needs pictures before the random access unit that decoding started with
	}
	var change *media.Track
	if random {
		if a.current == nil || a.dirty {
			t := a.coding.track(a.buf[a.start+p.firstNAL : end])
			if t == nil {
				a.fail(errNoSets)
				a.drop()
				return
			}
			if a.dirty = false; !sameTrack(t, a.current) || !a.started {
				a.current, change = t, t
			}
			a.order.set(a.coding.order())
		} else if !a.started {
			change = a.current
		}
		end = a.strip(end)
		a.skip, a.from = p.open && (a.lossy || !a.started), pts
	}
	if a.lossy || !a.started {
		a.order.restart()
	}
	if a.lossy && a.started {
		a.lost = max(a.lost, 1)
	}
	if p.b {
		a.order.bidirectional()
	}
	u := Unit{Data: a.buf[a.start:end:end], Arrived: p.arrived, RandomAccess: random, Lost: a.lost, Track: change}
	u.DTS, u.PTS = a.order.next(pts, random)
	a.started, a.lossy, a.lost = true, false, 0
	a.units = append(a.units, u)
}

// drop counts a picture that is not handed out.
func (a *assembler) drop() {
	a.lossy = true
	if a.started {
		a.lost++
	}
}

// strip takes the changed parameter sets out of the unit that ends at end and
// returns its new end.
func (a *assembler) strip(end int) int {
	if len(a.sets) == 0 {
		return end
	}
	to := a.start
	from := a.start
	for _, s := range append(a.sets, span{end, end}) {
		to += copy(a.buf[to:], a.buf[from:s.from])
		from = s.to
	}
	return to
}

// take ends a call.
func (a *assembler) take() ([]Unit, error) { return a.units, a.fault }

// Flush returns the last picture. A message that no picture followed is handed
// out as well, at the time of its packet: the last one of a signed stream.
func (a *assembler) Flush() []Unit {
	a.begin()
	if a.nal >= 0 || a.pic.has && !a.pic.ended && a.markers > 0 && !a.noMarkers {
		a.damage() // the connection ended in the middle of it
	}
	switch {
	case a.pic.has:
		a.finish(len(a.buf))
	case a.pic.message && a.started && !a.lossy:
		end := a.strip(len(a.buf))
		if end > a.start {
			u := Unit{Data: a.buf[a.start:end:end], Arrived: a.at.arrived, NoPicture: true}
			u.DTS, u.PTS = a.order.next(max(a.clock.extend(a.at.time), a.order.last+1), false)
			a.units = append(a.units, u)
		}
	}
	a.pic, a.start, a.sets, a.closed = picture{}, len(a.buf), a.sets[:0], false
	return a.units
}

// Restart is for a new RTP timeline.
func (a *assembler) Restart() {
	a.begin()
	a.buf, a.nal, a.pic, a.sets = a.buf[:0], -1, picture{}, a.sets[:0]
	a.clock, a.gap, a.closed, a.lossy = clock{}, true, false, true
	a.order.reset()
}

// Track is what is known of the track.
func (a *assembler) Track() *media.Track { return a.current }

// Slices counts the parts of pictures that came.
func (a *assembler) Slices() uint64 { return a.slices }

// ClockRate is that of every video.
func (a *assembler) ClockRate() int { return 90000 }

func sameTrack(a, b *media.Track) bool {
	return a != nil && b != nil && a.Codec == b.Codec && a.Width == b.Width && a.Height == b.Height &&
		a.Codecs == b.Codecs && string(a.Config) == string(b.Config)
}
