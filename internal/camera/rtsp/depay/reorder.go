package depay

// maxReorder is the deepest reordering there is (H.264 A.3.1, H.265 A.4.1).
const maxReorder = 16

// A reorderer finds decode times. Pictures come in decode order and their time
// stamps say when they are shown; if at most d pictures stand before one that
// is shown earlier, the decode time of the n-th is the (n-d)-th smallest time
// stamp. That needs no picture order count, so parameter sets that a parser
// does not know, or a slice header that is broken, cannot stop it.
//
// d is what the parameter sets say where they say it, else it is learnt once
// there are B slices: a picture that comes later than thought is shown late by
// a moment, once. Without reordering the decode time is the time stamp.
type reorderer struct {
	said   int   // what the sets say; -1 nothing
	limit  int   // deepest reordering that may be; what goes deeper is a jump of the camera's clock
	depth  int   // d
	frame  int64 // guess of the distance of two pictures
	window [maxReorder + 1]int64
	n      int // entries of window, rising

	recent [maxReorder]int64 // time stamps of the last pictures
	seen   int               // how many there were since the last reset
	deep   int               // deepest reordering seen since the last look
	count  int               // pictures since the last look
	last   int64             // the decode time before
	any    bool
}

// jump is the distance of two time stamps that cannot be reordering any more.
const jump = 2 * 90000

// unsaid is how deep reordering may be where the sets do not say and there are
// B slices.
const unsaid = 4

// set takes over what parameter sets say: depth -1 and frame 0 mean not said.
func (o *reorderer) set(depth int, frame int64) {
	if frame == 0 {
		frame = 3000
	}
	o.frame = frame
	if depth != o.said || !o.any {
		o.said, o.limit, o.depth = depth, max(depth, 0), max(depth, 0)
		o.restart()
	}
}

// bidirectional tells that there are B slices.
func (o *reorderer) bidirectional() {
	if o.said < 0 {
		o.limit = unsaid
	}
}

// restart forgets the pictures before: after a loss, and on a new timeline.
func (o *reorderer) restart() { o.n, o.seen, o.deep, o.count = 0, 0, 0, 0 }

// reset also forgets the decode time before.
func (o *reorderer) reset() {
	o.restart()
	o.any = false
}

// next returns the decode time of a picture, and its time stamp, which is
// changed only when it is below what was already handed out. Decode times rise
// except where the camera's stamps jump.
func (o *reorderer) next(pts int64, random bool) (int64, int64) {
	deep := o.later(pts)
	if o.seen > 0 {
		before := o.recent[(o.seen-1)%maxReorder]
		if d := pts - before; d > jump || d < -jump || deep > o.limit {
			o.reset()
			deep = 0
		}
	}
	if random {
		o.relax()
	}
	o.recent[o.seen%maxReorder] = pts
	o.seen++
	o.deep = max(o.deep, deep)
	o.count++

	if o.n == 0 {
		for i := range o.depth {
			o.window[i] = pts - int64(o.depth-i)*o.frame
		}
		o.n = o.depth
	}
	o.insert(pts)
	for o.depth < deep { // deeper than thought: nothing leaves the window this time
		if o.depth++; o.n < o.depth {
			o.insert(pts)
		}
	}
	dts := o.window[0]
	if o.n > o.depth {
		copy(o.window[:], o.window[1:o.n])
		o.n--
	}
	if o.any && dts <= o.last {
		dts = o.last + 1
	}
	o.last, o.any = dts, true
	return dts, max(pts, dts)
}

// later counts the recent pictures that are shown after pts.
func (o *reorderer) later(pts int64) int {
	n := 0
	for i := range min(o.seen, maxReorder) {
		if o.recent[i] > pts {
			n++
		}
	}
	return n
}

func (o *reorderer) insert(pts int64) {
	i := o.n
	for i > 0 && o.window[i-1] > pts {
		o.window[i] = o.window[i-1]
		i--
	}
	o.window[i] = pts
	o.n++
}

// relax makes d what was seen, at a random access unit and after enough
// pictures: encoders declare reordering that they do not use.
func (o *reorderer) relax() {
	if o.count < 100 {
		return
	}
	if o.deep < o.depth {
		cut := o.depth - o.deep
		copy(o.window[:], o.window[cut:o.n])
		o.n -= cut
		o.depth = o.deep
	}
	o.deep, o.count = 0, 0
}
