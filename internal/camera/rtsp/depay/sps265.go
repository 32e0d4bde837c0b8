package depay

import "vigil/internal/media"

// sps265 is what matters of an H.265 sequence parameter set (7.3.2.2). Nothing
// behind the reordering depth is read: scaling lists, sets of reference
// pictures and sub-layers that are legal and rare have stopped other parsers
// (Reolink RLC-811, scottlamb/retina#116; bluenviron/mediamtx#2417).
type sps265 struct {
	id            uint32
	ptl           [12]byte // profile, tier, level: the first bytes of hvcC behind its version
	subLayers     uint32   // minus 1
	nesting       uint32
	chroma        uint32
	lumaBits      uint32 // minus 8
	chromaBits    uint32 // minus 8
	width, height int
	reorder       int // -1 not readable
}

func parseSPS265(nal []byte) (s sps265, ok bool) {
	if len(nal) < 15 || nal[0]>>1&0x3f != 33 {
		return s, false
	}
	r := bitReader{b: nal[2:]}
	r.skip(4)
	s.subLayers = r.u(3)
	s.nesting = r.bit()
	for i := range s.ptl {
		s.ptl[i] = byte(r.u(8))
	}
	if s.subLayers > 6 {
		return s, false
	}
	skipSubLayers265(&r, int(s.subLayers))
	s.id = r.ue()
	separate := false
	if s.chroma = r.ue(); s.chroma == 3 {
		separate = r.flag()
	}
	w, h := r.ue(), r.ue()
	var window [4]uint32
	if r.flag() {
		for i := range window {
			window[i] = r.ue()
		}
	}
	if r.over || s.id > 15 || s.chroma > 3 || w == 0 || h == 0 || w > 2*media.MaxPictureSide || h > 2*media.MaxPictureSide {
		return s, false
	}
	unitX, unitY := uint32(1), uint32(1)
	if !separate && (s.chroma == 1 || s.chroma == 2) {
		unitX = 2
		if s.chroma == 1 {
			unitY = 2
		}
	}
	s.width, s.height = cropped(w, unitX, window[0], window[1]), cropped(h, unitY, window[2], window[3])
	s.lumaBits, s.chromaBits = r.ue(), r.ue()
	r.ue() // log2_max_pic_order_cnt_lsb_minus4
	first := s.subLayers
	if r.flag() {
		first = 0
	}
	s.reorder = -1
	for i := first; i <= s.subLayers; i++ {
		r.ue()
		n := r.ue()
		r.ue()
		if !r.over && n <= 16 {
			s.reorder = int(n) // that of the highest sub-layer stays
		}
	}
	if s.lumaBits > 8 || s.chromaBits > 8 {
		return s, false
	}
	return s, s.width <= media.MaxPictureSide && s.height <= media.MaxPictureSide
}

// skipSubLayers265 skips the rest of profile_tier_level (7.3.3).
func skipSubLayers265(r *bitReader, n int) {
	if n == 0 {
		return
	}
	var profile, level [8]bool
	for i := range n {
		profile[i], level[i] = r.flag(), r.flag()
	}
	r.skip(2 * (8 - n))
	for i := range n {
		if profile[i] {
			r.skip(88)
		}
		if level[i] {
			r.skip(8)
		}
	}
}
