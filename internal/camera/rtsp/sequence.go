package rtsp

// Bounds of what is believed of sequence numbers (RFC 3550 appendix A.1).
const (
	maxDropout  = 3000 // packets that may be missing
	maxMisorder = 100  // how old a late or repeated packet may be
	probation   = 3    // packets in a row before a far jump is believed
	numberless  = 64   // packets of which none follows another, after which a camera is known not to number them
)

// A sequence follows the sequence numbers of one source.
type sequence struct {
	started bool
	next    uint16 // expected
	odd     uint16 // expected if the far jump is real
	run     int    // packets in a row after the far jump
	seen    int    // packets, while none followed another
	follows bool   // one did
}

// What to do with a packet.
type verdict uint8

const (
	use     verdict = iota
	late            // repeated, or too late to be of use: drop
	hold            // far from the others: keep until it is known whether the camera counts anew
	restart         // the camera counts anew: those held belong in front of this one
)

// add takes the number of the next packet. lost packets are missing before it
// when it is of use. A far jump is a restart only after a few packets that
// follow each other (INTEROP row 16); a stray one changes nothing. newer says that the packet cannot be an old
// one, whatever its number: then a small step back is a jump as well. ordered says that none can be lost or overtaken on the
// way: then a camera that does not number its packets needs no numbers.
func (q *sequence) add(seq uint16, newer, ordered bool) (v verdict, lost int) {
	if !q.started {
		q.started, q.next = true, seq+1
		return use, 0
	}
	q.follows = q.follows || seq == q.next
	if q.seen++; ordered && !q.follows && q.seen > numberless {
		q.seen = numberless
		return use, 0
	}
	switch d := int16(seq - q.next); {
	case d >= 0 && d < maxDropout:
		q.next, q.run = seq+1, 0
		return use, int(d)
	case d < 0 && d >= -maxMisorder && !newer:
		return late, 0
	}
	if q.run > 0 && seq == q.odd {
		q.run++
	} else {
		q.run = 1
	}
	q.odd = seq + 1
	if q.run < probation {
		return hold, 0
	}
	q.next, q.run = seq+1, 0
	return restart, 0
}

// first tells whether the packet that add just judged as hold is the first
// after a jump, so that what was held before is of no use.
func (q *sequence) first() bool { return q.run == 1 }

// A source decides whose packets are a track's: cameras go on sending those of
// dead sessions (INTEROP row 9), and name other sources than they use.
type source struct {
	declared    uint32 // what SETUP, PLAY or the keys said
	hasDeclared bool
	locked      bool
	ssrc        uint32
	other       uint32
	run         int // packets of other since one of ours
}

// newSource is how many packets of another source in a row make it ours.
const newSource = 16

// mine tells whether a packet is ours, and whether a new source starts with it.
func (s *source) mine(ssrc uint32) (ok, fresh bool) {
	switch {
	case !s.locked:
		s.locked, s.ssrc = true, ssrc
		return true, false
	case ssrc == s.ssrc:
		s.run = 0
		return true, false
	case s.hasDeclared && ssrc == s.declared: // what came until now was of a dead session
	case s.run > 0 && ssrc == s.other && s.run+1 >= newSource:
	default:
		if ssrc != s.other {
			s.other, s.run = ssrc, 0
		}
		s.run++
		return false, false
	}
	s.ssrc, s.run = ssrc, 0
	return true, true
}
