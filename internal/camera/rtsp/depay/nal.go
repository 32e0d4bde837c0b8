package depay

import (
	"encoding/binary"

	"vigil/internal/media"
)

// A kind is what a NAL unit means for the borders of access units.
type kind uint8

const (
	other     kind = iota // belongs to the picture before it; without one, to the next
	slice                 // of the picture
	opener                // stands in front of a picture: SEI, and reserved types like it
	set                   // a parameter set; stands in front of a picture too
	delimiter             // an access unit delimiter; not kept
	filler                // filler data, and what is too short to be anything; not kept
)

// A coding is what H.264 and H.265 do differently.
type coding interface {
	// kind tells what a NAL unit is.
	kind(nal []byte) kind
	// sei tells a supplemental message, which is never cut.
	sei(nal []byte) bool
	// first tells whether a slice is the first of a picture; open says that
	// there is a picture before it.
	first(nal []byte, open bool) bool
	// look notes what a NAL unit says about its picture.
	look(nal []byte, p *picture)
	// random tells whether decoding may start with a picture.
	random(p *picture, pts int64) bool
	// store takes a parameter set over and tells whether it differs from what
	// was known.
	store(nal []byte) (changed bool)
	// track makes the track from the sets; active is the first slice of a
	// picture that uses them, or nil. It is nil when sets are missing.
	track(active []byte) *media.Track
	// order tells the reordering depth (-1 not said) and distance of pictures
	// (0 not said) of the sets that track looked at last.
	order() (depth int, frame int64)
}

// A picture is what is known of the access unit being put together.
type picture struct {
	has      bool // there is a slice
	ended    bool // its marker came
	damaged  bool // something of it is missing
	time     uint32
	arrived  int64
	message  bool
	sets     bool // parameter sets came with it
	firstNAL int  // where its first slice is, behind the length; relative to the unit

	idr      bool // H.264 IDR, H.265 IRAP
	open     bool // random access with leading pictures: H.265 CRA, BLA; H.264 I with a recovery point
	intra    bool // the first slice is an I slice
	b        bool // there are B slices
	leading  bool // H.265 RASL: not decodable when decoding starts with the random access unit before
	slices   int
	recovery int // H.264 recovery_frame_cnt + 1; 0 no such message
}

// A keyless is a stream in which no picture says that decoding may start there:
// I pictures alone, or a gradual refresh that is not announced. Encoders like that repeat the parameter sets where it may.
type keyless struct {
	keyed bool  // one did
	since int64 // arrival of the first picture
}

// start tells whether decoding may start with a picture of such a stream: with
// defects for a moment, where there would be no record at all.
func (k *keyless) start(p *picture) bool {
	k.keyed = k.keyed || p.idr || p.recovery > 0
	if k.since == 0 {
		k.since = p.arrived
	}
	return !k.keyed && p.sets && p.arrived-k.since > keylessAfter
}

// keylessAfter is longer than nearly all cameras go without a key picture.
const keylessAfter = 60e9 // ns

// trusted is the number of pictures after which the marker is believed.
const trusted = 8

// A span is a part of the buffer.
type span struct{ from, to int }

// An assembler puts access units together out of NAL units. The NAL units of
// the open access unit lie in buf one after the other, each behind its length;
// handing the unit out is slicing. Borders are found from slice headers. The
// marker only serves to hand a picture out without waiting for the next, and
// only once it has proved true: some cameras set it on every slice, some never,
// some on messages that no picture follows at once (Tapo C260).
type assembler struct {
	coding coding
	clock  clock
	order  reorderer

	buf    []byte
	start  int  // of the open access unit in buf
	nal    int  // of the NAL unit being received, -1 none
	at     mark // of the packet in which that NAL unit started
	pic    picture
	sets   []span // changed parameter sets in the open unit
	gap    bool   // packets were missing and no slice has come since
	closed bool   // a picture was handed out by its marker and nothing has come since
	units  []Unit
	fault  error

	slices    uint64 // that came, of whatever became of their pictures
	markers   int    // pictures whose marker proved true
	noMarkers bool   // the marker has lied

	started bool // a unit was handed out
	lossy   bool // pictures are missing: nothing is handed out until a random access unit
	lost    uint32
	skip    bool  // leading pictures cannot be decoded
	from    int64 // time stamp of the random access unit that decoding started with
	current *media.Track
	dirty   bool // parameter sets differ from current
	scratch []byte
}

// A mark is the time of a packet.
type mark struct {
	time    uint32
	arrived int64
}

var (
	errShort       = &Error{Code: "short-packet"}
	errNoStart     = &Error{Code: "fragment-without-start"}
	errAggregation = &Error{Code: "bad-aggregation"}
	errTooBig      = &Error{Code: "unit-too-big"}
	errNoSets      = &Error{Code: "no-parameter-sets"}
)

// newAssembler starts with the sets of the description.
func newAssembler(c coding, sets [][]byte) *assembler {
	a := &assembler{coding: c, nal: -1, gap: true}
	for _, s := range sets {
		c.store(s)
	}
	a.current = c.track(nil)
	a.dirty = a.current == nil
	a.order.set(c.order())
	return a
}

// fail keeps the first fault of a call.
func (a *assembler) fail(err error) {
	if a.fault == nil {
		a.fault = err
	}
}

// begin is the start of a call: what was handed out is gone.
func (a *assembler) begin() {
	a.units, a.fault = a.units[:0], nil
	if a.start > 0 {
		n := copy(a.buf, a.buf[a.start:])
		a.buf = a.buf[:n]
		for i := range a.sets {
			a.sets[i].from -= a.start
			a.sets[i].to -= a.start
		}
		if a.nal >= 0 {
			a.nal -= a.start
		}
		a.start = 0
	}
}

// open starts a NAL unit.
func (a *assembler) open(p *Packet) {
	a.nal = len(a.buf)
	a.at = mark{p.Time, p.Arrived}
	a.buf = append(a.buf, 0, 0, 0, 0)
}

// add appends to the open NAL unit.
func (a *assembler) add(b ...byte) {
	if len(a.buf)-a.start+len(b) > media.MaxUnit {
		a.overflow()
		return
	}
	a.buf = append(a.buf, b...)
}

// overflow gives the open access unit up. What comes next is sorted as usual,
// so that the border of the next picture is found.
func (a *assembler) overflow() {
	a.fail(errTooBig)
	a.buf, a.nal, a.sets = a.buf[:a.start], -1, a.sets[:0]
	a.pic.ended = false
	a.damage()
}

// whole takes a NAL unit that came in one piece.
func (a *assembler) whole(p *Packet, parts ...[]byte) {
	a.open(p)
	for _, b := range parts {
		if a.nal >= 0 {
			a.add(b...)
		}
	}
	if a.nal >= 0 {
		a.close()
	}
}

// damage says that something is missing here: of the open picture, or of the
// next when that one is complete.
func (a *assembler) damage() {
	if a.pic.has && a.pic.ended && !a.noMarkers {
		end := len(a.buf)
		if a.nal >= 0 {
			end = a.nal
		}
		a.finish(end)
	}
	if a.nal >= 0 {
		a.buf, a.nal = a.buf[:a.nal], -1
	}
	if a.pic.has {
		a.pic.damaged, a.pic.ended = true, false
	} else {
		a.gap = true
	}
	a.closed, a.lossy = false, true
}

// missing is for packets that did not come: what follows may be the rest of
// another picture.
func (a *assembler) missing() {
	a.damage()
	a.gap = true
}

// close ends the open NAL unit and sorts it in.
func (a *assembler) close() {
	nal := a.nal
	a.nal = -1
	binary.BigEndian.PutUint32(a.buf[nal:], uint32(len(a.buf)-nal-4))
	if body := a.buf[nal+4:]; bundled(a.coding, body) {
		a.scratch = append(a.scratch[:0], body...)
		a.buf = a.buf[:nal]
		for piece := range pieces(a.coding, a.scratch) {
			at := len(a.buf)
			a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(len(piece)))
			a.buf = append(a.buf, piece...)
			a.sort(at)
		}
		return
	}
	a.sort(nal)
}

// sort looks at the NAL unit at the end of buf, closes the picture before it
// when it begins another, and keeps or drops it.
func (a *assembler) sort(at int) {
	nal := a.buf[at+4:]
	switch a.coding.kind(nal) {
	case filler:
		a.buf = a.buf[:at]
	case delimiter:
		a.border(at)
		a.buf = a.buf[:at]
	case set:
		a.border(at)
		a.pic.sets = true
		a.parameterSet(at)
	case opener:
		a.border(at)
		a.pic.message = true
		a.coding.look(nal, &a.pic)
	case slice:
		a.slice(at, nal)
	}
}

// border closes the picture in front of at, if there is one.
func (a *assembler) border(at int) {
	if a.pic.has {
		if a.pic.ended {
			a.markers++
		}
		a.finish(at)
	}
	a.gap, a.closed = false, false // what begins here begins whole
}

func (a *assembler) slice(at int, nal []byte) {
	a.slices++
	first := a.coding.first(nal, a.pic.has || a.closed)
	switch {
	case first:
		a.border(at)
	case a.closed: // the picture was handed out too early: its marker lied
		a.noMarkers = true
		a.lossy, a.closed = true, false
		a.pic.damaged = true
	case a.pic.ended:
		a.noMarkers, a.pic.ended = true, false
	case a.gap && !a.pic.has: // the slices before are missing
		a.pic.damaged = true
	}
	a.gap = false
	if !a.pic.has {
		a.pic.has = true
		a.pic.time, a.pic.arrived = a.at.time, a.at.arrived
		a.pic.firstNAL = at + 4 - a.start
	}
	a.coding.look(nal, &a.pic)
}

// marker is the end of a packet with the marker bit.
func (a *assembler) marker() {
	if !a.pic.has || a.nal >= 0 {
		return // messages alone (bluenviron/mediamtx#6257), or a fragment that has not ended
	}
	a.pic.ended = true
	if a.markers >= trusted && !a.noMarkers {
		a.finish(len(a.buf))
		a.closed = true
	}
}

// parameterSet takes a set over. Known ones are not kept in samples: they are
// in the sample entry. Changed ones stay until it is known whether the picture
// is a random access unit, which begins a new sample entry.
func (a *assembler) parameterSet(at int) {
	nal := a.buf[at+4:]
	for len(nal) > 0 && nal[len(nal)-1] == 0 { // zeros that no NAL unit ends with (Sony SNC-WR630)
		nal = nal[:len(nal)-1]
	}
	if a.coding.kind(nal) != set || !a.coding.store(nal) {
		a.buf = a.buf[:at]
		return
	}
	a.dirty = true
	a.buf = a.buf[:at+4+len(nal)]
	binary.BigEndian.PutUint32(a.buf[at:], uint32(len(nal)))
	if len(a.sets) < 64 {
		a.sets = append(a.sets, span{at, len(a.buf)})
	}
}
