package rtsp

import "encoding/binary"

// rtpHeader is the size of the fixed part of an RTP header (RFC 3550 section 5.1).
const rtpHeader = 12

// A packet is an RTP packet read in place.
type packet struct {
	payloadType uint8
	marker      bool
	seq         uint16
	time        uint32
	ssrc        uint32
	padded      bool
	extension   int // where the header extension starts, behind its head; 0 none
	body        int // where the payload starts
}

// parseRTP reads an RTP header without allocating. Padding is for trim: under
// SRTP it is only known after decryption.
func parseRTP(b []byte) (p packet, ok bool) {
	if len(b) < rtpHeader || b[0]>>6 != 2 {
		return p, false
	}
	p.padded = b[0]&0x20 != 0
	p.marker = b[1]&0x80 != 0
	p.payloadType = b[1] & 0x7f
	p.seq = binary.BigEndian.Uint16(b[2:])
	p.time = binary.BigEndian.Uint32(b[4:])
	p.ssrc = binary.BigEndian.Uint32(b[8:])
	p.body = rtpHeader + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 { // header extension
		if len(b) < p.body+4 {
			return p, false
		}
		p.extension = p.body + 4
		p.body += 4 + 4*int(binary.BigEndian.Uint16(b[p.body+2:]))
	}
	return p, p.body <= len(b)
}

// trim returns the payload without padding. Padding that cannot be is left in:
// cameras set the bit and forget the count.
func (p *packet) trim(b []byte) []byte {
	if p.padded && len(b) > p.body {
		if n := int(b[len(b)-1]); n > 0 && p.body+n <= len(b) {
			return b[p.body : len(b)-n]
		}
	}
	return b[p.body:]
}

// extra returns the header extension, nil when there is none.
func (p *packet) extra(b []byte) []byte {
	if p.extension == 0 {
		return nil
	}
	return b[p.extension:p.body]
}
