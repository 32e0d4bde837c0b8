package depay

// A bitReader reads a NAL unit's payload bit by bit and skips emulation prevention
// bytes on the way (ITU-T H.264, 7.4.1). Reading beyond the end gives zeros and
// sets over: callers look at it once, at the end.
type bitReader struct {
	b     []byte
	pos   int  // next byte
	cur   byte // the byte being read
	left  int  // bits of cur not yet read
	zeros int  // zero bytes directly before pos
	over  bool
}

func (r *bitReader) bit() uint32 {
	if r.left == 0 {
		if r.pos < len(r.b) && r.zeros >= 2 && r.b[r.pos] == 3 {
			r.pos++
			r.zeros = 0
		}
		if r.pos >= len(r.b) {
			r.over = true
			return 0
		}
		r.cur, r.left = r.b[r.pos], 8
		r.pos++
		if r.cur == 0 {
			r.zeros++
		} else {
			r.zeros = 0
		}
	}
	r.left--
	return uint32(r.cur>>r.left) & 1
}

func (r *bitReader) flag() bool { return r.bit() == 1 }

// u reads n bits, n up to 32.
func (r *bitReader) u(n int) uint32 {
	v := uint32(0)
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

func (r *bitReader) skip(n int) {
	for range n {
		r.bit()
	}
}

// ue reads an Exp-Golomb code (9.1); values over 32 bits are 2^32-1.
func (r *bitReader) ue() uint32 {
	n := 0
	for r.bit() == 0 {
		if n++; n > 32 || r.over {
			r.over = true
			return 0
		}
	}
	if n == 32 {
		r.skip(32)
		return 1<<32 - 1
	}
	return 1<<n - 1 + r.u(n)
}

func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}
