package depay

import (
	"bytes"
	"slices"

	"vigil/internal/media"
)

// h264 knows the NAL units of ITU-T H.264.
type h264 struct {
	sps, pps []storedSet
	active   sps264 // of the last track made
	known    bool   // active is one

	field    bool // the slice before is of a field, and of which
	bottom   bool
	frameNum uint32

	idr     bool  // there was an IDR picture
	idrPTS  int64 // of the last one
	keyless keyless
}

// A storedSet is a parameter set by its id.
type storedSet struct {
	id, refers uint32 // refers: of a PPS, the id of its SPS
	nal        []byte
}

// maxStored is the number of sets of one kind kept; the oldest goes.
const maxStored = 16

// keep stores a set and tells whether it is new or differs.
func keep(sets []storedSet, s storedSet) ([]storedSet, bool) {
	i := slices.IndexFunc(sets, func(o storedSet) bool { return o.id == s.id })
	if i >= 0 && bytes.Equal(sets[i].nal, s.nal) {
		return sets, false
	}
	s.nal = bytes.Clone(s.nal)
	if i >= 0 {
		sets[i] = s
		return sets, true
	}
	if len(sets) == maxStored {
		sets = slices.Delete(sets, 0, 1)
	}
	return append(sets, s), true
}

// nals returns the sets, the one with the id first.
func nals(sets []storedSet, first uint32) [][]byte {
	var out [][]byte
	for _, s := range sets {
		if s.id == first {
			out = append(out, s.nal)
		}
	}
	for _, s := range sets {
		if s.id != first {
			out = append(out, s.nal)
		}
	}
	return out
}

func (*h264) kind(nal []byte) kind {
	if len(nal) == 0 {
		return filler
	}
	switch nal[0] & 0x1f {
	case 1, 2, 5:
		if len(nal) < 2 {
			return filler
		}
		return slice
	case 6, 16, 17, 18:
		return opener
	case 7, 8:
		if len(nal) < 3 || len(nal) > media.MaxConfig/4 {
			return filler
		}
		return set
	case 9:
		return delimiter
	case 12:
		return filler
	}
	return other
}

func (*h264) sei(nal []byte) bool { return nal[0]&0x1f == 6 }

// first tells whether a slice begins a picture: its first macroblock is number
// 0 (7.4.3), and it is not the second field of a frame, which goes into the
// sample of the first.
func (h *h264) first(nal []byte, open bool) bool {
	if nal[1]&0x80 == 0 { // ue(v) 0 is a single one bit
		return false
	}
	if !h.known || h.active.framesOnly {
		return true
	}
	r := bitReader{b: nal[1:min(len(nal), 32)]}
	r.ue()
	r.ue()
	r.ue()
	if h.active.separatePlanes {
		r.skip(2)
	}
	frameNum := r.u(h.active.frameNumBits)
	field := r.flag()
	bottom := field && r.flag()
	second := open && field && h.field && bottom != h.bottom && frameNum == h.frameNum && !r.over
	h.field, h.bottom, h.frameNum = field && !second, bottom, frameNum
	return !second
}

func (h *h264) look(nal []byte, p *picture) {
	switch nal[0] & 0x1f {
	case 5:
		p.idr = true
	case 6:
		if n := recoveryPoint(nal); n > 0 {
			p.recovery = n
		}
		return
	case 1, 2:
	default:
		return
	}
	r := bitReader{b: nal[1:min(len(nal), 32)]}
	r.ue()
	switch r.ue() % 5 { // slice_type
	case 1:
		p.b = true
	case 2, 4:
		p.intra = p.intra || p.slices == 0
	}
	p.slices++
}

// recoveryPoint returns recovery_frame_cnt + 1 of a message (D.1.8), 0 without.
func recoveryPoint(nal []byte) int {
	r := bitReader{b: nal[1:min(len(nal), 512)]}
	for !r.over {
		kind, size := uint32(0), uint32(0)
		for _, v := range [...]*uint32{&kind, &size} {
			for {
				b := r.u(8)
				*v += b
				if b != 0xff || r.over {
					break
				}
			}
		}
		if r.over {
			break
		}
		if kind == 6 {
			if n := r.ue(); !r.over && n < 1<<16 {
				return int(n) + 1
			}
			break
		}
		r.skip(int(min(size, 1024)) * 8)
	}
	return 0
}

// refreshed is how long after an IDR picture a gradual refresh does not count:
// a stream that has IDR pictures is cut there.
const refreshed = 60 * 90000

// random: an IDR picture; an I picture with a recovery point at once (open
// GOP); the start of a gradual refresh, when the camera sends no IDR pictures.
func (h *h264) random(p *picture, pts int64) bool {
	start := h.keyless.start(p)
	if p.idr {
		h.idr, h.idrPTS = true, pts
		return true
	}
	p.open = true
	return p.recovery == 1 && p.intra ||
		p.recovery > 0 && (!h.idr || pts-h.idrPTS > refreshed || pts < h.idrPTS) || start
}

func (h *h264) store(nal []byte) (changed bool) {
	r := bitReader{b: nal[1:]}
	if nal[0]&0x1f == 7 {
		s, ok := parseSPS264(nal)
		if !ok {
			return false
		}
		h.sps, changed = keep(h.sps, storedSet{id: s.id, nal: nal})
		return changed
	}
	s := storedSet{id: r.ue(), refers: r.ue(), nal: nal}
	if r.over || s.id > 255 || s.refers > 31 {
		return false
	}
	h.pps, changed = keep(h.pps, s)
	return changed
}

func (h *h264) track(active []byte) *media.Track {
	if len(h.sps) == 0 || len(h.pps) == 0 {
		return nil
	}
	spsID, ppsID := h.sps[len(h.sps)-1].id, h.pps[len(h.pps)-1].id
	if len(active) > 1 {
		r := bitReader{b: active[1:min(len(active), 32)]}
		r.ue()
		r.ue()
		ppsID = r.ue()
	}
	for _, p := range h.pps {
		if p.id == ppsID {
			spsID = p.refers
		}
	}
	sps := nals(h.sps, spsID)
	s, ok := parseSPS264(sps[0])
	if !ok {
		return nil
	}
	h.active, h.known = s, true
	t := &media.Track{Codec: media.H264, Codecs: codecs264(sps[0]), Width: s.width, Height: s.height}
	pps := nals(h.pps, ppsID)
	if t.Config = appendAVCC(nil, s, sps, pps); len(t.Config) > media.MaxConfig {
		t.Config = appendAVCC(nil, s, sps[:1], pps[:1])
	}
	return t
}

func (h *h264) order() (int, int64) {
	if !h.known {
		return -1, 0
	}
	return h.active.reorder, h.active.frame
}

// h264Depacketizer takes RFC 6184 apart: single NAL units, STAP-A, FU-A, in both
// packetization modes and whatever the description says of them.
type h264Depacketizer struct{ *assembler }

// Push takes a packet.
func (d h264Depacketizer) Push(p Packet) ([]Unit, error) {
	a := d.assembler
	a.begin()
	if p.Lost > 0 {
		a.missing()
	}
	b := p.Payload
	if len(b) == 0 {
		if p.Marker {
			a.marker()
		}
		return a.take()
	}
	if kind := b[0] & 0x1f; kind != 28 {
		a.endFragments()
	}
	switch kind := b[0] & 0x1f; kind {
	case 24:
		aggregated(a, &p, b[1:], 0)
	case 28:
		d.fragment(&p, b)
	case 25, 26, 27, 29: // decoding order numbers: packetization mode 2
		a.fail(errInterleaved)
		a.damage()
	default:
		a.whole(&p, b)
	}
	if p.Marker {
		a.marker()
	}
	return a.take()
}

var errInterleaved = &Error{Code: "interleaved-packet"}

// endFragments closes a NAL unit whose last fragment was not marked as such:
// no packet is missing, so what follows shows that it is whole (retina's test
// skip_end_of_fragment).
func (a *assembler) endFragments() {
	if a.nal >= 0 {
		a.close()
	}
}

// aggregated takes the units of a STAP-A, or of an AP of RFC 7798, with so many
// bytes between two.
func aggregated(a *assembler, p *Packet, b []byte, between int) {
	for len(b) >= 2 {
		n := int(b[0])<<8 | int(b[1])
		b = b[2:]
		if n > len(b) {
			a.fail(errAggregation)
			a.damage()
			return
		}
		if n > 0 { // 0 is padding, or a unit of no length
			a.whole(p, b[:n])
		}
		b = b[min(n+between, len(b)):]
	}
}

// fragment takes an FU-A by position: type and reserved bit of the headers
// behind the first are not looked at, and an empty fragment is none.
func (d h264Depacketizer) fragment(p *Packet, b []byte) {
	a := d.assembler
	if len(b) < 2 {
		a.fail(errShort)
		return
	}
	const start, end = 0x80, 0x40
	head := b[1]
	if head&start != 0 {
		a.endFragments()
		a.open(p)
		a.add(b[0]&0xe0 | head&0x1f)
	} else if a.nal < 0 {
		if !a.gap {
			a.fail(errNoStart)
		}
		a.damage()
		return
	}
	if a.nal >= 0 {
		a.add(b[2:]...)
	}
	if head&end != 0 {
		a.endFragments()
	}
}
