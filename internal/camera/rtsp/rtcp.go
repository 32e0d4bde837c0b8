package rtsp

import "encoding/binary"

// RTCP packet types (RFC 3550 section 12.1).
const (
	senderReport   = 200
	receiverReport = 201
	sourceText     = 202
	goodbye        = 203
)

// parseRTCP reads a compound packet: the last sender report of the source, and
// whether the source says goodbye.
func parseRTCP(b []byte, ssrc uint32) (r Report, hasReport, bye bool) {
	for len(b) >= 8 && b[0]>>6 == 2 {
		size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			break
		}
		p := b[:size]
		switch p[1] {
		case senderReport:
			if len(p) >= 28 && binary.BigEndian.Uint32(p[4:]) == ssrc {
				r = Report{binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint32(p[16:])}
				hasReport = true
			}
		case goodbye:
			for i := range int(p[0] & 0x1f) {
				if at := 4 + 4*i; at+4 <= len(p) && binary.BigEndian.Uint32(p[at:]) == ssrc {
					bye = true
				}
			}
		}
		b = b[size:]
	}
	return r, hasReport, bye
}

// A receiver counts what receiver reports tell (RFC 3550 section 6.4.1 and
// appendix A). Arrival is in the units of the track's clock.
type receiver struct {
	counting bool
	base     uint32 // first sequence number
	highest  uint32 // extended
	received uint32
	jitter   int64 // times 16
	transit  int64
	report   uint64 // of the last sender report: NTP
	reportAt int64  // Clock.Mono; 0 none

	wasExpected, wasReceived uint32
}

func (r *receiver) add(seq uint16, time uint32, mono, rate int64) {
	if !r.counting {
		*r = receiver{counting: true, base: uint32(seq), highest: uint32(seq), report: r.report, reportAt: r.reportAt}
	}
	r.received++
	if d := int16(seq - uint16(r.highest)); d > 0 {
		r.highest += uint32(d)
	}
	arrival := mono/1_000_000*rate/1000 + mono%1_000_000*rate/1_000_000_000
	transit := int64(uint32(arrival) - time)
	if r.received > 1 {
		d := int64(int32(uint32(transit) - uint32(r.transit)))
		r.jitter += max(d, -d) - (r.jitter+8)>>4
	}
	r.transit = transit
}

// appendReport writes a receiver report with the name that RFC 3550 wants in
// every compound packet.
func (r *receiver) appendReport(dst []byte, own, source uint32, mono int64) []byte {
	if !r.counting {
		dst = append(dst, 0x80, receiverReport, 0, 1)
		dst = binary.BigEndian.AppendUint32(dst, own)
		return appendName(dst, own)
	}
	expected := r.highest - r.base + 1
	lost := int64(expected) - int64(r.received)
	var fraction byte
	if e, got := expected-r.wasExpected, r.received-r.wasReceived; e > got && e < 1<<24 {
		fraction = byte(min((e-got)<<8/e, 255))
	}
	r.wasExpected, r.wasReceived = expected, r.received
	dst = append(dst, 0x81, receiverReport, 0, 7)
	dst = binary.BigEndian.AppendUint32(dst, own)
	dst = binary.BigEndian.AppendUint32(dst, source)
	dst = binary.BigEndian.AppendUint32(dst, uint32(fraction)<<24|uint32(min(max(lost, -1<<23), 1<<23-1))&0xffffff)
	dst = binary.BigEndian.AppendUint32(dst, r.highest)
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.jitter>>4))
	var last, delay uint32
	if r.reportAt != 0 {
		last = uint32(r.report >> 16)
		delay = uint32((mono - r.reportAt) / 1000 * 65536 / 1_000_000)
	}
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, delay)
	return appendName(dst, own)
}

// appendName writes a source description: CNAME "vigil".
func appendName(dst []byte, own uint32) []byte {
	dst = append(dst, 0x81, sourceText, 0, 3)
	dst = binary.BigEndian.AppendUint32(dst, own)
	return append(dst, 1, 5, 'v', 'i', 'g', 'i', 'l', 0)
}
