package depay

// segments are the parts of JPEG headers, as they came.
type segments struct {
	dqt, dht, dri, sof []byte
	width, height      int
}

// readSegments reads marker segments up to the scan: of a file, or of the RTP
// header extension of the ONVIF streaming specification (JPEG over RTP), which
// may begin without the start of the image and end with fill bytes.
func readSegments(b []byte) (e segments) {
	for len(b) >= 4 && b[0] == 0xff {
		marker := b[1]
		switch {
		case marker == 0xff: // fill
			b = b[1:]
			continue
		case marker == 0xd8:
			b = b[2:]
			continue
		case marker == 0xda || marker == 0xd9:
			return e
		}
		n := 2 + (int(b[2])<<8 | int(b[3]))
		if n < 4 || n > len(b) {
			return e
		}
		seg := b[:n:n]
		switch marker {
		case 0xdb:
			e.dqt = append(e.dqt, seg...)
		case 0xc4:
			e.dht = append(e.dht, seg...)
		case 0xdd:
			e.dri = seg
		case 0xc0, 0xc1, 0xc2:
			if n >= 10 {
				e.sof = seg
				e.height, e.width = int(seg[5])<<8|int(seg[6]), int(seg[7])<<8|int(seg[8])
			}
		}
		b = b[n:]
	}
	return e
}
