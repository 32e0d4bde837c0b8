package fmp4

import (
	"encoding/binary"
	"errors"
	"fmt"

	"vigil/internal/media"
)

// ErrParse is in every error of Parse.
var ErrParse = errors.New("not a fragment of ours")

// A Sample is one access unit inside a fragment.
type Sample struct {
	DTS      media.Ticks // decode time since the epoch, our clock
	Duration media.Ticks // of the last sample of a part: a guess
	CTO      int32       // ticks from decode to composition
	Sync     bool        // decoding may start here
	Offset   int         // of its bytes in the fragment
	Size     int         // of them
}

// A Part is what one track has in a fragment, in decode order, at least one
// sample.
type Part struct {
	Track   uint8
	Samples []Sample
}

// A Fragment tells where the samples of a fragment are. The zero value is
// ready; parsing again uses its memory again.
type Fragment struct {
	Parts   []Part // by track number, rising
	Ahead   int64  // the camera's clock less ours at the first unit, ns
	Told    bool   // Ahead is known
	Payload int    // where the body of the mdat begins; it goes to the end of the fragment

	parts   [media.MaxTracks]Part
	samples []Sample
}

// Parse reads a fragment that Frame made: prft boxes, one moof, one mdat to
// the end. It takes nothing on trust: every sample lies inside the mdat, decode times rise
// within a track, and counts and sizes keep the bounds of a batch. On an error f holds nothing.
func (f *Fragment) Parse(b []byte) error {
	f.Parts, f.Payload, f.samples, f.Ahead, f.Told = nil, 0, f.samples[:0], 0, false
	moof := -1
	var ours, camera uint64 // times of prft
	var err error
	at := 0
	for at < len(b) && f.Payload == 0 && err == nil {
		var kind string
		var body []byte
		if kind, body, err = nextBox(b[at:]); err != nil {
			break
		}
		end := at + 8 + len(body)
		switch {
		case kind == "prft" && len(body) >= 16:
			switch ntp := binary.BigEndian.Uint64(body[8:]); binary.BigEndian.Uint32(body) & 0xffffff {
			case prftOurs:
				ours = ntp
			case prftCamera:
				camera = ntp
			}
		case kind == "moof" && moof < 0:
			moof = at
		case kind == "mdat" && moof >= 0 && end == len(b):
			f.Payload = at + 8
		case kind == "moof", kind == "mdat":
			err = fmt.Errorf("%s out of place", kind)
		}
		at = end
	}
	switch {
	case err == nil && f.Payload == 0:
		err = errors.New("no mdat")
	case err == nil:
		_, body, _ := nextBox(b[moof:])
		err = f.moof(body, moof, len(b))
	}
	if err != nil {
		f.Parts, f.Payload = nil, 0
		return fmt.Errorf("%w: %w", ErrParse, err)
	}
	if f.Told = ours != 0 && camera != 0; f.Told {
		f.Ahead = apart(camera, ours)
	}
	return nil
}

// apart is a less b, two times of 32.32 bits (RFC 5905) less than 68 years from
// each other, in ns.
func apart(a, b uint64) int64 {
	d := int64(a - b)
	return d>>32*1e9 + (d&0xffffffff)*1e9>>32
}

// nextBox splits the first box off.
func nextBox(b []byte) (kind string, body []byte, err error) {
	if len(b) < 8 {
		return "", nil, fmt.Errorf("%d bytes left of a box", len(b))
	}
	size := binary.BigEndian.Uint32(b)
	if size < 8 || uint64(size) > uint64(len(b)) {
		return "", nil, fmt.Errorf("box of %d bytes, %d left", size, len(b))
	}
	switch string(b[4:8]) { // no allocation for the names that matter
	case "prft":
		kind = "prft"
	case "moof":
		kind = "moof"
	case "mdat":
		kind = "mdat"
	case "traf":
		kind = "traf"
	case "tfhd":
		kind = "tfhd"
	case "tfdt":
		kind = "tfdt"
	case "trun":
		kind = "trun"
	}
	return kind, b[8:size], nil
}

func (f *Fragment) moof(b []byte, moof, end int) error {
	n := 0
	for len(b) > 0 {
		kind, body, err := nextBox(b)
		if err != nil {
			return err
		}
		b = b[8+len(body):]
		if kind != "traf" {
			continue
		}
		if n == media.MaxTracks {
			return errors.New("too many tracks")
		}
		from := len(f.samples)
		track, err := f.traf(body, moof, end)
		if err != nil {
			return err
		}
		if n > 0 && track <= f.parts[n-1].Track {
			return fmt.Errorf("track %d after track %d", track, f.parts[n-1].Track)
		}
		f.parts[n] = Part{track, f.samples[from:]}
		n++
	}
	if n == 0 {
		return errors.New("no track")
	}
	at := 0
	for i := range f.parts[:n] { // the samples may have moved as they grew
		m := len(f.parts[i].Samples)
		f.parts[i].Samples = f.samples[at : at+m : at+m]
		at += m
	}
	f.Parts = f.parts[:n]
	return nil
}

func (f *Fragment) traf(b []byte, moof, end int) (track uint8, err error) {
	var tfhd, tfdt, trun []byte
	for len(b) > 0 {
		kind, body, err := nextBox(b)
		if err != nil {
			return 0, err
		}
		b = b[8+len(body):]
		switch {
		case kind == "tfhd" && tfhd == nil:
			tfhd = body
		case kind == "tfdt" && tfdt == nil:
			tfdt = body
		case kind == "trun" && trun == nil:
			trun = body
		default:
			return 0, errors.New("another box in traf")
		}
	}
	if len(tfhd) != 8 || binary.BigEndian.Uint32(tfhd) != 0x020000 {
		return 0, fmt.Errorf("tfhd %x", tfhd)
	}
	number := binary.BigEndian.Uint32(tfhd[4:])
	if number == 0 || number > media.MaxTracks {
		return 0, fmt.Errorf("track %d", number)
	}
	if len(tfdt) != 12 || binary.BigEndian.Uint32(tfdt) != 1<<24 {
		return 0, fmt.Errorf("tfdt %x", tfdt)
	}
	dts := binary.BigEndian.Uint64(tfdt[4:])
	if dts > maxDTS {
		return 0, fmt.Errorf("decode time %d", dts)
	}
	return uint8(number), f.trun(trun, media.Ticks(dts), moof, end)
}

// maxDTS is far behind the last time that nanoseconds can say, and far from
// where sums run over.
const maxDTS = 1 << 60

func (f *Fragment) trun(b []byte, dts media.Ticks, moof, end int) error {
	if len(b) < 12 {
		return fmt.Errorf("trun of %d bytes", len(b))
	}
	row := 12
	switch flags := binary.BigEndian.Uint32(b); flags {
	case 0x000701:
	case 0x000f01:
		row = 16
	default:
		return fmt.Errorf("trun with flags %06x", flags)
	}
	n, offset := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if n == 0 || n > media.MaxUnits || int(n) > media.MaxUnits-len(f.samples) || len(b) != 12+row*int(n) {
		return fmt.Errorf("trun of %d samples in %d bytes", n, len(b))
	}
	at := moof + int(offset) // 33 bits at most
	if at < f.Payload || at > end {
		return fmt.Errorf("samples at %d, outside the mdat", offset)
	}
	for b = b[12:]; len(b) > 0; b = b[row:] {
		duration, size, flags := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		s := Sample{DTS: dts, Duration: media.Ticks(duration), Sync: flags == flagSync, Offset: at, Size: int(size)}
		if row == 16 {
			s.CTO = int32(binary.BigEndian.Uint32(b[12:]))
		}
		if size == 0 || uint64(size) > uint64(end-at) || duration == 0 || s.CTO < 0 || flags != flagSync && flags != flagNonSync {
			return fmt.Errorf("sample of %d bytes at %d of %d, duration %d, offset %d, flags %08x", size, at, end, duration, s.CTO, flags)
		}
		f.samples = append(f.samples, s)
		dts += s.Duration
		at += s.Size
	}
	return nil
}
