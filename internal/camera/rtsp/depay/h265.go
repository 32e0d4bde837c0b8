package depay

import (
	"vigil/internal/media"
)

// h265 knows the NAL units of ITU-T H.265.
type h265 struct {
	vps, sps, pps []storedSet
	active        sps265
	known         bool
	keyless       keyless
}

func (*h265) kind(nal []byte) kind {
	if len(nal) < 3 {
		if len(nal) == 2 && (nal[0]>>1&0x3f == 36 || nal[0]>>1&0x3f == 37) { // end of sequence, of bitstream
			return other
		}
		return filler
	}
	switch t := nal[0] >> 1 & 0x3f; {
	case nal[0]&1 != 0 || nal[1]&0xf8 != 0: // another layer
		return other
	case t < 32:
		return slice
	case t <= 34:
		if len(nal) > media.MaxConfig/4 {
			return filler
		}
		return set
	case t == 35:
		return delimiter
	case t == 38:
		return filler
	case t == 39, t >= 41 && t <= 44, t >= 48 && t <= 55:
		return opener
	}
	return other
}

func (*h265) sei(nal []byte) bool { t := nal[0] >> 1 & 0x3f; return t == 39 || t == 40 }

// first is first_slice_segment_in_pic_flag (7.3.6.1).
func (*h265) first(nal []byte, _ bool) bool { return nal[2]&0x80 != 0 }

func (h *h265) look(nal []byte, p *picture) {
	switch t := nal[0] >> 1 & 0x3f; {
	case t >= 16 && t <= 23:
		p.idr = true
		p.open = t < 19 || t > 20 // BLA and CRA have leading pictures that need what was before
	case t == 8, t == 9:
		p.leading = true
	}
}

// random: an IRAP picture.
func (h *h265) random(p *picture, _ int64) bool {
	start := h.keyless.start(p)
	p.open = p.open || start
	return p.idr || start
}

func (h *h265) store(nal []byte) (changed bool) {
	switch nal[0] >> 1 & 0x3f {
	case 32:
		h.vps, changed = keep(h.vps, storedSet{id: uint32(nal[2] >> 4), nal: nal})
	case 33:
		s, ok := parseSPS265(nal)
		if !ok {
			return false
		}
		h.sps, changed = keep(h.sps, storedSet{id: s.id, nal: nal})
	case 34:
		r := bitReader{b: nal[2:]}
		s := storedSet{id: r.ue(), refers: r.ue(), nal: nal}
		if r.over || s.id > 63 || s.refers > 15 {
			return false
		}
		h.pps, changed = keep(h.pps, s)
	}
	return changed
}

func (h *h265) track(active []byte) *media.Track {
	if len(h.vps) == 0 || len(h.sps) == 0 || len(h.pps) == 0 {
		return nil
	}
	spsID, ppsID := h.sps[len(h.sps)-1].id, h.pps[len(h.pps)-1].id
	if len(active) > 2 {
		r := bitReader{b: active[2:min(len(active), 32)]}
		r.skip(1)
		if t := active[0] >> 1 & 0x3f; t >= 16 && t <= 23 {
			r.skip(1) // no_output_of_prior_pics_flag
		}
		ppsID = r.ue()
	}
	for _, p := range h.pps {
		if p.id == ppsID {
			spsID = p.refers
		}
	}
	sps := nals(h.sps, spsID)
	s, ok := parseSPS265(sps[0])
	if !ok {
		return nil
	}
	h.active, h.known = s, true
	t := &media.Track{Codec: media.H265, Codecs: codecs265(s), Width: s.width, Height: s.height}
	vps, pps := nals(h.vps, uint32(sps[0][2]>>4)), nals(h.pps, ppsID)
	if t.Config = appendHVCC(nil, s, vps, sps, pps); len(t.Config) > media.MaxConfig {
		t.Config = appendHVCC(nil, s, vps[:1], sps[:1], pps[:1])
	}
	return t
}

func (h *h265) order() (int, int64) {
	if !h.known {
		return 0, 0
	}
	return max(h.active.reorder, 0), 0
}

// h265Depacketizer takes RFC 7798 apart: single NAL units, AP, FU. Decoding
// order numbers are passed over: cameras that have them send in that order.
type h265Depacketizer struct {
	*assembler
	numbered bool
}

// Push takes a packet.
func (d h265Depacketizer) Push(p Packet) ([]Unit, error) {
	a := d.assembler
	a.begin()
	if p.Lost > 0 {
		a.missing()
	}
	b := p.Payload
	if len(b) < 3 {
		if len(b) > 0 {
			a.fail(errShort)
		}
		if p.Marker {
			a.marker()
		}
		return a.take()
	}
	kind := b[0] >> 1 & 0x3f
	if kind != 49 {
		a.endFragments()
	}
	body, between := b[2:], 0
	if d.numbered && kind != 49 {
		body, between = b[min(4, len(b)):], 1
	}
	switch kind {
	case 48:
		aggregated(a, &p, body, between)
	case 49:
		d.fragment(&p, b)
	case 50: // PACI
		a.fail(errInterleaved)
		a.damage()
	default:
		a.whole(&p, b[:2], body)
	}
	if p.Marker {
		a.marker()
	}
	return a.take()
}

// fragment takes an FU by position, as in H.264.
func (d h265Depacketizer) fragment(p *Packet, b []byte) {
	a := d.assembler
	const start, end = 0x80, 0x40
	head := b[2]
	body := b[3:]
	if head&start != 0 {
		a.endFragments()
		a.open(p)
		a.add(b[0]&0x81|head&0x3f<<1, b[1])
		if d.numbered {
			body = body[min(2, len(body)):]
		}
	} else if a.nal < 0 {
		if !a.gap {
			a.fail(errNoStart)
		}
		a.damage()
		return
	}
	if a.nal >= 0 {
		a.add(body...)
	}
	if head&end != 0 {
		a.endFragments()
	}
}
