package rtsp

// Bounds of the wait for a packet that another one has overtaken.
const (
	reorderSlots = 64        // packets that can be held, a power of two
	reorderMost  = 32        // packets held before the missing one is given up
	reorderAge   = 100 << 20 // ns, about 0.1 s: the same by time
)

// A reorder puts the packets of one UDP socket back into the order of their
// sequence numbers. It copies only packets that came too early.
type reorder struct {
	out     func(b []byte, arrived int64)
	started bool
	next    uint16
	held    int
	since   int64 // when the oldest held packet came
	slots   [reorderSlots]slot
}

type slot struct {
	used    bool
	arrived int64
	data    []byte // kept for the next packet in this place
}

// push takes a packet. b may be used again after the call.
func (r *reorder) push(seq uint16, b []byte, arrived int64) {
	if !r.started {
		r.started, r.next = true, seq
	}
	switch d := int16(seq - r.next); {
	case d == 0:
		r.next++
		r.out(b, arrived)
		r.drain()
	case d > 0 && d < reorderSlots:
		s := &r.slots[seq%reorderSlots]
		if s.used { // a repetition
			return
		}
		s.used, s.arrived = true, arrived
		s.data = append(s.data[:0], b...)
		if r.held++; r.held == 1 {
			r.since = arrived
		}
		if r.held > reorderMost {
			r.giveUp()
		}
	case d < 0 && d >= -maxMisorder:
		r.out(b, arrived) // too late: whoever counts decides
	default: // far away: what is held comes first, and the other counting goes its way
		for r.held > 0 {
			r.giveUp()
		}
		r.next = seq + 1
		r.out(b, arrived)
	}
	r.age(arrived)
}

// age gives a missing packet up when the others have waited long enough.
func (r *reorder) age(now int64) {
	for r.held > 0 && (now-r.since > reorderAge || now < r.since) {
		r.giveUp()
	}
}

// giveUp goes on with the oldest packet held.
func (r *reorder) giveUp() {
	for !r.slots[r.next%reorderSlots].used {
		r.next++
	}
	r.drain()
}

// drain hands out what has no gap before it any more.
func (r *reorder) drain() {
	for r.held > 0 {
		s := &r.slots[r.next%reorderSlots]
		if !s.used {
			break
		}
		s.used = false
		r.held--
		r.next++
		r.out(s.data, s.arrived)
	}
	if r.held > 0 {
		r.since = r.oldest()
	}
}

func (r *reorder) oldest() int64 {
	for seq := r.next; ; seq++ {
		if s := &r.slots[seq%reorderSlots]; s.used {
			return s.arrived
		}
	}
}
