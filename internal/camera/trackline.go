package camera

import "vigil/internal/media"

// The behaviour of a trackLine, in ticks where no unit is given.
const (
	second = media.TicksPerSecond

	jumpBy      = second        // a stamp that runs ahead of arrival by this at once cannot be
	awayBy      = 3 * second    // a distance from arrival that does not go away for awayFor is a jump too
	awayFor     = 3 * second    //
	agree       = second        // how well two odd stamps must fit to be of one new clock
	lastUnits   = 8             // odd units in a row that make a jump a lasting one,
	lastFew     = 3             // or these few
	lastFor     = 2 * second    // when they take so long
	tooManyIn   = 60 * second   // jumps more often than tooMany in this time: the stamps are
	tooMany     = 4             // worth nothing, and arrival is all there is
	hopeless    = 250           // odd units in a row after which stamps are not looked at any more
	still       = second / 2000 // stamps nearer to each other than this have no time in them
	quiet       = second / 100  // an error that is left alone: spacing stays exact
	bucket      = second        // of the minimum of the delay
	settleFor   = 5 * second    // after the start, when cameras empty their buffers in a burst
	burst       = 12 * second   // what cameras keep at most
	gain        = 0.2           // of the correction, per second
	integral    = 0.01          // of it, per second squared: learns how wrong the clock is
	fair        = 1.5           // s: an error beyond this teaches nothing about the clock
	slew        = 0.25          // most that a second is stretched or pressed
	slewSettle  = 0.5           // the same while settling, backwards
	gainSettle  = 2.0           //
	smooth      = 0.1           // share of an error taken at once without stamps
	nearArrival = second / 4    // an odd unit this near to where it was due stands about there
)

// A trackLine places the units of one track.
type trackLine struct {
	rate int64 // of RTP, Hz

	on      bool
	pts     int64       // presentation stamp of the last unit, RTP units
	rtp     uint32      // stamp of the last good unit
	arr     media.Ticks // its arrival
	base    media.Ticks // place of the stamp from which since counts
	since   int64       // RTP units, over all good units
	corr    float64     // what was added to follow arrival
	learnt  float64     // seconds per second that the camera's clock is off
	last    media.Ticks // place of the last unit, good or odd
	lastArr media.Ticks // its arrival
	pace    media.Ticks // spacing of the last good units
	delay   media.Ticks // of the last good unit behind its place
	anchor  media.Ticks // arrival at the start or at the last jump

	// The smallest delay of this bucket and of the one before.
	low, lowBefore media.Ticks
	until          media.Ticks // end of this bucket, by arrival
	full           bool        // there is one before
	awaySince      media.Ticks // arrival since which the delay is beyond awayBy; 0 it is not
	awayFrom       int64       // since, at that time

	odd      int // units in a row whose stamps fit each other and not the rest
	oddRun   int // units in a row whose stamps cannot be
	oddRTP   uint32
	oddArr   media.Ticks
	oddStart media.Ticks

	jumps   int
	firstAt media.Ticks // arrival at the first of them
	blind   bool        // stamps are not looked at any more
}

// add returns a unit's place and whether the camera's clock jumped for good.
func (l *trackLine) add(dts, pts, arrivedNs int64) (out media.Ticks, jumped bool) {
	rtp, arr := uint32(dts), ticks(arrivedNs)
	frozen := abs(scale(pts-l.pts, l.rate)) < still // depay makes decode times rise all the same
	l.pts = pts
	if !l.on {
		l.start(rtp, arr)
		l.last, l.lastArr = arr, arr
		return arr, false
	}
	if l.blind {
		return l.put(l.byArrival(arr), arr), false
	}
	delta := int64(int32(rtp - l.rtp)) // 32 bits: depay and the camera may count from anywhere
	step := media.Ticks(scale(delta, l.rate))
	due := l.base + media.Ticks(scale(l.since+delta, l.rate)) + media.Ticks(l.corr)
	delay := arr - due
	if delta <= 0 || frozen || l.ahead(step, arr, delay) {
		return l.oddUnit(rtp, arr)
	}
	l.odd, l.oddRun = 0, 0
	if l.lasting(arr, delay) {
		out = l.put(arr, arr)
		return out, l.jump(rtp, arr, out)
	}
	l.rtp, l.arr, l.since, l.delay = rtp, arr, l.since+delta, delay
	l.pace = min(step, 2*second)
	l.measure(arr, delay)
	due += l.correct(step, arr)
	return l.put(due, arr), false
}

// ahead tells whether a stamp is of a time that has not come yet. At the start
// units may be ahead, step by step: cameras send what they have kept at once.
func (l *trackLine) ahead(step, arr, delay media.Ticks) bool {
	switch {
	case delay >= -jumpBy:
		return false
	case arr-l.anchor >= settleFor, delay < -burst:
		return true
	}
	return step-(arr-l.arr) > jumpBy
}

// start anchors the track: this stamp came at this time.
func (l *trackLine) start(rtp uint32, arr media.Ticks) {
	l.on = true
	l.rtp, l.arr, l.base, l.since, l.corr, l.learnt = rtp, arr, arr, 0, 0, 0
	l.delay, l.anchor, l.odd, l.awaySince = 0, arr, 0, 0
	l.low, l.until, l.full = 0, arr+bucket, false
}

// put keeps decode times rising.
func (l *trackLine) put(out, arr media.Ticks) media.Ticks {
	l.last = max(out, l.last+1)
	l.lastArr = arr
	return l.last
}

// oddUnit places a unit whose stamp cannot be, and finds out whether such
// stamps have become the rule.
func (l *trackLine) oddUnit(rtp uint32, arr media.Ticks) (out media.Ticks, jumped bool) {
	step := media.Ticks(scale(int64(int32(rtp-l.oddRTP)), l.rate))
	gap := arr - l.oddArr
	if l.odd > 0 && step >= still && step-gap < agree && gap-step < agree {
		l.odd++
	} else {
		l.odd, l.oddStart = 1, arr
	}
	l.oddRTP, l.oddArr = rtp, arr
	if l.oddRun++; l.oddRun > 2 { // the rule by now: its pace is that of arrival
		l.pace += media.Ticks(smooth * float64(min(arr-l.lastArr, 2*second)-l.pace))
	}
	if l.oddRun >= hopeless {
		l.blind = true
	}
	out = l.put(l.stand(arr), arr)
	if l.odd >= lastUnits || l.odd >= lastFew && arr-l.oddStart >= lastFor {
		return out, l.jump(rtp, arr, out)
	}
	return out, false
}

// stand is where a unit belongs by its arrival: near where it was due if it
// came about then, else as late as the one before.
func (l *trackLine) stand(arr media.Ticks) media.Ticks {
	byArrival := arr - max(l.delay, 0)
	if due := l.last + l.pace; byArrival-due < nearArrival && due-byArrival < nearArrival {
		return due + (byArrival-due)/4
	}
	return byArrival
}

// lasting tells whether a unit has been so late, or so early, for so long that
// the camera's clock must have stood still or gone mad.
func (l *trackLine) lasting(arr, delay media.Ticks) bool {
	switch {
	case delay < awayBy && delay > -awayBy:
		l.awaySince = 0
	case l.awaySince == 0:
		l.awaySince, l.awayFrom = arr, l.since
	case arr-l.awaySince >= awayFor:
		// Stamps that went on at less than half the pace are of another unit, ms instead of 1/90 ms.
		l.blind = 2*media.Ticks(scale(l.since-l.awayFrom, l.rate)) < arr-l.awaySince
		return true
	}
	return false
}

// jump maps the camera's new clock so that time goes on from out. A clock that
// jumps all the time is not followed any more.
func (l *trackLine) jump(rtp uint32, arr, out media.Ticks) bool {
	if l.jumps == 0 || arr-l.firstAt > tooManyIn {
		l.jumps, l.firstAt = 0, arr
	}
	if l.jumps++; l.jumps >= tooMany {
		l.blind = true
	}
	learnt := l.learnt
	l.start(rtp, arr)
	l.base, l.learnt = out, learnt
	l.oddRun = 0
	l.delay = arr - out
	l.low = l.delay
	return true
}

// byArrival places units by arrival alone, the worst of the jitter taken out.
func (l *trackLine) byArrival(arr media.Ticks) media.Ticks {
	gap := arr - l.lastArr
	l.pace += media.Ticks(smooth * float64(gap-l.pace))
	due := l.last + l.pace
	if off := arr - due; off > second || off < -second {
		return arr
	} else {
		return due + media.Ticks(smooth*float64(off))
	}
}

// measure keeps the smallest delay of the last one to two seconds: the packets
// that nothing held up.
func (l *trackLine) measure(arr, delay media.Ticks) {
	if arr >= l.until {
		l.lowBefore, l.low, l.full = l.low, delay, true
		l.until = arr + bucket
		return
	}
	l.low = min(l.low, delay)
}

// correct moves the mapping a little towards arrival and returns by how much.
func (l *trackLine) correct(step, arr media.Ticks) media.Ticks {
	err := l.low
	if l.full {
		err = min(err, l.lowBefore)
	}
	settling := arr-l.anchor < settleFor
	if !l.full && err >= 0 {
		return 0
	}
	off := float64(err)
	switch {
	case off > quiet:
		off -= quiet
	case off < -quiet:
		off += quiet
	default:
		off = 0
	}
	off /= second
	s := float64(step) / second
	var rate float64
	if settling && off < 0 {
		rate = max(gainSettle*off, -slewSettle)
	} else {
		if off < fair && off > -fair {
			l.learnt = min(max(l.learnt+integral*off*s, -slew), slew)
		}
		rate = min(max(l.learnt+gain*off, -slew), slew)
	}
	was := media.Ticks(l.corr)
	l.corr += rate * float64(step)
	moved := media.Ticks(l.corr) - was
	aged := media.Ticks(l.learnt*float64(step)) - moved // what was measured drifts with the camera's clock
	l.low += aged
	l.lowBefore += aged
	l.delay -= moved
	return moved
}
