package depay

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// appendAVCC appends an AVCDecoderConfigurationRecord (ISO/IEC 14496-15,
// 5.3.3.1) for the sets given, the active SPS first:
//
//	0  1 version            1
//	1  3 profile, compatibility, level: as in the SPS
//	4  1 0xff               lengths of 4 bytes
//	5  1 0xe0 | sets        SPS: 2-byte length and bytes each
//	   1 sets               PPS: likewise
//	   4                    High profiles: 0xfc|chroma, 0xf8|luma bits, 0xf8|chroma bits, no SPS extensions
func appendAVCC(b []byte, active sps264, sps, pps [][]byte) []byte {
	b = append(b, 1, sps[0][1], sps[0][2], sps[0][3], 0xff, 0xe0|byte(len(sps)))
	b = appendSets(b, sps)
	b = append(b, byte(len(pps)))
	b = appendSets(b, pps)
	switch active.profile {
	case 66, 77, 88:
	default:
		b = append(b, 0xfc|byte(active.chroma), 0xf8|byte(active.lumaBits), 0xf8|byte(active.chromaBits), 0)
	}
	return b
}

// appendHVCC appends an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15,
// 8.3.3.1):
//
//	 0   1 version           1
//	 1  12 profile, tier, level: as in the SPS
//	13   2 0xf000            segmentation: not said
//	15   1 0xfc              parallelism: not said
//	16   1 0xfc | chroma
//	17   1 0xf8 | luma bits - 8
//	18   1 0xf8 | chroma bits - 8
//	19   2 0                 picture rate: not said
//	21   1 sub-layers, nesting, lengths of 4 bytes
//	22   1 arrays            each: 0x80|type, 2-byte count, then 2-byte length and bytes each
func appendHVCC(b []byte, active sps265, vps, sps, pps [][]byte) []byte {
	b = append(b, 1)
	b = append(b, active.ptl[:]...)
	b = append(b, 0xf0, 0, 0xfc, 0xfc|byte(active.chroma), 0xf8|byte(active.lumaBits), 0xf8|byte(active.chromaBits), 0, 0)
	b = append(b, byte(active.subLayers+1)<<3|byte(active.nesting)<<2|3, 3)
	for i, sets := range [3][][]byte{vps, sps, pps} {
		b = append(b, 0x80|byte(32+i)) // complete: the samples have no others
		b = binary.BigEndian.AppendUint16(b, uint16(len(sets)))
		b = appendSets(b, sets)
	}
	return b
}

func appendSets(b []byte, sets [][]byte) []byte {
	for _, s := range sets {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// codecs264 is the codecs parameter of RFC 6381, 3.3.
func codecs264(sps []byte) string { return fmt.Sprintf("avc1.%02x%02x%02x", sps[1], sps[2], sps[3]) }

// codecs265 is the codecs parameter of ISO/IEC 14496-15, E.3.
func codecs265(s sps265) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if space := s.ptl[0] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	tier := byte('L')
	if s.ptl[0]&0x20 != 0 {
		tier = 'H'
	}
	compatibility := bits.Reverse32(binary.BigEndian.Uint32(s.ptl[1:]))
	fmt.Fprintf(&b, "%d.%X.%c%d", s.ptl[0]&0x1f, compatibility, tier, s.ptl[11])
	constraints := s.ptl[5:11]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, c := range constraints {
		fmt.Fprintf(&b, ".%X", c)
	}
	return b.String()
}

// dOps is the body of an OpusSpecificBox (Encapsulation of Opus in ISO base
// media, 4.3.2): version, channels, pre-skip, rate, gain, mapping family. A cut
// out of a running stream has nothing to skip.
func dOps(channels int) []byte {
	b := []byte{0, byte(channels), 0, 0}
	b = binary.BigEndian.AppendUint32(b, 48000)
	return append(b, 0, 0, 0)
}
