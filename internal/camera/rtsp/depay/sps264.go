package depay

import "vigil/internal/media"

// sps264 is what matters of an H.264 sequence parameter set (7.3.2.1.1).
type sps264 struct {
	id             uint32
	profile        byte
	chroma         uint32
	lumaBits       uint32 // minus 8
	chromaBits     uint32 // minus 8
	frameNumBits   int
	separatePlanes bool
	framesOnly     bool
	width, height  int

	reorder int   // pictures that may stand before one that is shown earlier; -1 not said
	frame   int64 // 90 kHz ticks from picture to picture; 0 not said
}

// parseSPS264 reads a set. Only what is before the VUI must be there: sets with
// a broken VUI (VStarcam), or bytes behind their end (Reolink), are good ones.
func parseSPS264(nal []byte) (s sps264, ok bool) {
	if len(nal) < 4 || nal[0]&0x1f != 7 {
		return s, false
	}
	r := bitReader{b: nal[1:]}
	r.skip(24)
	s.profile, s.chroma, s.reorder = nal[1], 1, -1
	s.id = r.ue()
	switch s.profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if s.chroma = r.ue(); s.chroma == 3 {
			s.separatePlanes = r.flag()
		}
		s.lumaBits, s.chromaBits = r.ue(), r.ue()
		r.skip(1)
		if r.flag() {
			skipScaling264(&r, s.chroma)
		}
	}
	s.frameNumBits = int(r.ue()) + 4
	pocType := r.ue()
	switch pocType {
	case 0:
		r.ue()
	case 1:
		r.skip(1)
		r.se()
		r.se()
		n := r.ue()
		for i := uint32(0); i < n && !r.over; i++ {
			r.se()
		}
	}
	r.ue() // max_num_ref_frames
	r.skip(1)
	w, h := r.ue(), r.ue()
	if s.framesOnly = r.flag(); !s.framesOnly {
		r.skip(1)
	}
	r.skip(1)
	var crop [4]uint32
	if r.flag() {
		for i := range crop {
			crop[i] = r.ue()
		}
	}
	if r.over || s.id > 31 || s.chroma > 3 || s.lumaBits > 6 || s.chromaBits > 6 || s.frameNumBits > 16 || pocType > 2 || w > 1024 || h > 1024 {
		return s, false
	}
	fields := uint32(2)
	if s.framesOnly {
		fields = 1
	}
	unitX, unitY := uint32(1), fields // chroma 0, 3, or separate planes
	if !s.separatePlanes && (s.chroma == 1 || s.chroma == 2) {
		unitX = 2
		if s.chroma == 1 {
			unitY *= 2
		}
	}
	s.width = cropped((w+1)*16, unitX, crop[0], crop[1])
	s.height = cropped((h+1)*16*fields, unitY, crop[2], crop[3])
	s.readVUI(&r)
	if pocType == 2 || s.profile == 66 { // output order is decoding order (8.2.1.3); Baseline has no B slices
		s.reorder = 0
	}
	return s, s.width > 0 && s.height > 0 && s.width <= media.MaxPictureSide && s.height <= media.MaxPictureSide
}

// cropped takes the cropping off a side; cropping that leaves nothing is not
// believed.
func cropped(side, unit, a, b uint32) int {
	if cut := uint64(unit) * (uint64(a) + uint64(b)); cut < uint64(side) {
		return int(uint64(side) - cut)
	}
	return int(side)
}

func skipScaling264(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
			if r.over {
				return
			}
		}
	}
}

// readVUI reads the picture rate and the depth of reordering (E.1.1); a VUI
// that cannot be read says nothing.
func (s *sps264) readVUI(r *bitReader) {
	if !r.flag() {
		return
	}
	if r.flag() && r.u(8) == 255 { // aspect ratio, Extended_SAR
		r.skip(32)
	}
	if r.flag() { // overscan
		r.skip(1)
	}
	if r.flag() { // video signal type
		r.skip(4)
		if r.flag() {
			r.skip(24)
		}
	}
	if r.flag() { // chroma location
		r.ue()
		r.ue()
	}
	if r.flag() {
		units, scale := r.u(32), r.u(32)
		r.skip(1)
		if frame := int64(units) * 2 * 90000 / max(int64(scale), 1); !r.over && frame >= 90 && frame <= 90000 {
			s.frame = frame
		}
	}
	hrd := false
	for range 2 {
		if r.flag() {
			hrd = true
			n := r.ue()
			r.skip(8)
			for i := uint32(0); i <= n && !r.over; i++ {
				r.ue()
				r.ue()
				r.skip(1)
			}
			r.skip(20)
		}
	}
	if hrd {
		r.skip(1)
	}
	r.skip(1)
	if r.flag() { // bitstream restriction
		r.skip(1)
		for range 4 {
			r.ue()
		}
		if n := r.ue(); !r.over && n <= 16 {
			s.reorder = int(n)
		}
	}
}
