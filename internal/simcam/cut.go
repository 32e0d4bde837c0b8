package simcam

import (
	"bytes"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"

	"vigil/internal/media"
)

const (
	videoClock = 90000
	maxPayload = 1400 // bytes of an RTP payload, so that a packet with SRTP fits an Ethernet frame
)

// NAL unit types: H.264 table 7-1, H.265 table 7-1.
const (
	avcSlice, avcIDR, avcSEI, avcSPS, avcPPS, avcAUD  = 1, 5, 6, 7, 8, 9
	avcSTAPA, avcFUA                                  = 24, 28 // RFC 6184
	hevcVPS, hevcSPS, hevcPPS, hevcAUD, hevcPrefixSEI = 32, 33, 34, 35, 39
	hevcAP, hevcFU                                    = 48, 49 // RFC 7798
)

// What a NAL unit is to the cutter.
type nalKind byte

const (
	nalOther nalKind = iota
	nalSlice
	nalKey // a slice of a random access picture
	nalSet
	nalAUD
	nalSEI
)

func kindOf(c media.Codec, nal []byte) nalKind {
	if c == media.H264 {
		switch nal[0] & 0x1f {
		case avcIDR:
			return nalKey
		case 1, 2, 3, 4:
			return nalSlice
		case avcSPS, avcPPS:
			return nalSet
		case avcAUD:
			return nalAUD
		case avcSEI:
			return nalSEI
		}
		return nalOther
	}
	switch t := nal[0] >> 1 & 0x3f; {
	case t >= 16 && t <= 21: // BLA, IDR, CRA
		return nalKey
	case t < 32:
		return nalSlice
	case t >= hevcVPS && t <= hevcPPS:
		return nalSet
	case t == hevcAUD:
		return nalAUD
	case t == hevcPrefixSEI:
		return nalSEI
	}
	return nalOther
}

// A cutter turns the access units of H.264 or H.265 into RTP payloads. It
// keeps the parameter sets in force, so that each key picture has them.
type cutter struct {
	codec media.Codec
	sets  [][]byte
}

// see keeps a parameter set and tells which it is.
func (c *cutter) see(nal []byte) {
	n, i := 2, int(nal[0]&0x1f)-avcSPS
	if c.codec == media.H265 {
		n, i = 3, int(nal[0]>>1&0x3f)-hevcVPS
	}
	for len(c.sets) < n {
		c.sets = append(c.sets, nil)
	}
	c.sets[i] = nal
}

// known tells whether all parameter sets were seen.
func (c *cutter) known() bool {
	for _, s := range c.sets {
		if s == nil {
			return false
		}
	}
	return len(c.sets) > 0
}

// cut makes packets of one access unit.
func (c *cutter) cut(nals [][]byte) unit {
	var u unit
	hasSets := false
	for _, n := range nals {
		switch kindOf(c.codec, n) {
		case nalKey:
			u.key = true
		case nalSet:
			hasSets = true
			c.see(n)
		}
	}
	first := true // no slice seen yet
	for _, n := range nals {
		switch k := kindOf(c.codec, n); {
		case k == nalSet:
			u.add(set, n)
		case (k == nalSlice || k == nalKey) && first:
			first = false
			if u.key && !hasSets {
				for _, s := range c.sets {
					u.add(set, s)
				}
			}
			u.add(mark, markHead(c.codec))
			fallthrough
		default:
			u.bytes += len(n)
			c.fragment(&u, n)
		}
	}
	return u
}

func (u *unit) add(k packetKind, payload []byte) {
	u.bytes += len(payload)
	u.packets = append(u.packets, packet{k, payload})
}

// fragment appends a NAL unit whole or as FUs: RFC 6184 5.8, RFC 7798 4.4.3.
func (c *cutter) fragment(u *unit, nal []byte) {
	if len(nal) <= maxPayload {
		u.packets = append(u.packets, packet{plain, nal})
		return
	}
	head, typ := []byte{nal[0]&0xe0 | avcFUA}, nal[0]&0x1f
	rest := nal[1:]
	if c.codec == media.H265 {
		head, typ = []byte{nal[0]&0x81 | hevcFU<<1, nal[1]}, nal[0]>>1&0x3f
		rest = nal[2:]
	}
	for start := true; len(rest) > 0; start = false {
		n := min(len(rest), maxPayload-len(head)-1)
		fu := typ
		if start {
			fu |= 0x80
		}
		if n == len(rest) {
			fu |= 0x40
		}
		p := append(append(make([]byte, 0, len(head)+1+n), head...), fu)
		u.packets = append(u.packets, packet{plain, append(p, rest[:n]...)})
		rest = rest[n:]
	}
}

// cutJPEG makes packets of one picture: RFC 2435.
func cutJPEG(jpeg []byte) (unit, error) {
	u := unit{key: true, bytes: len(jpeg)}
	e := &rtpmjpeg.Encoder{PayloadMaxSize: maxPayload}
	if err := e.Init(); err != nil {
		return u, err
	}
	ps, err := e.Encode(twoTables(jpeg))
	if err != nil {
		return u, err
	}
	for _, p := range ps {
		u.packets = append(u.packets, packet{plain, p.Payload})
	}
	return u, nil
}

// twoTables gives a picture whose colours share the quantisation table of the
// luma one of their own, as RFC 2435 3.1.8 expects.
func twoTables(jpeg []byte) []byte {
	i := bytes.Index(jpeg, []byte{0xff, 0xdb, 0, 67, 0}) // DQT with table 0 only
	if i < 0 || i+69 > len(jpeg) || bytes.Count(jpeg, []byte{0xff, 0xdb, 0, 67}) != 1 {
		return jpeg
	}
	table := jpeg[i+5 : i+69]
	b := append(append([]byte(nil), jpeg[:i]...), 0xff, 0xdb, 0, 132, 0)
	b = append(append(append(b, table...), 1), table...)
	return append(b, jpeg[i+69:]...)
}

// cutSound makes the one packet of a frame of sound. G.711 and Opus go as
// they are; AAC behind the AU header of RFC 3640 3.3.6.
func cutSound(c media.Codec, frame []byte) unit {
	u := unit{key: true, bytes: len(frame)}
	if c == media.AAC {
		frame = append([]byte{0, 16, byte(len(frame) >> 5), byte(len(frame) << 3)}, frame...)
	}
	u.packets = []packet{{plain, frame}}
	return u
}
