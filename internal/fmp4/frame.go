package fmp4

import (
	"encoding/binary"
	"fmt"

	"vigil/internal/media"
)

// Flags of prft (ISO/IEC 14496-12:2022, 8.16.5) tell our clock from the
// camera's.
const (
	prftOurs   = 8  // consistent relation of a clock to the media time: when the unit arrived here
	prftCamera = 24 // when the picture was taken, as the camera says
)

// Sample flags: decodable alone, or not.
const (
	flagSync    = 0x02000000
	flagNonSync = 0x01010000
)

// Frame makes a batch into an MP4 fragment (prft, moof, mdat) in place: the
// boxes go into the head room, the payload is not touched. The batch must
// have passed Check. Calls for batches of the same Tracks must follow one
// another: it keeps the pace of each track there, for the duration of a last
// sample is known only when the next one comes.
func Frame(b *media.Batch) error {
	n := headSize(b)
	if n > media.HeadRoom {
		return fmt.Errorf("fragment: head of %d bytes for %d units", n, len(b.Units))
	}
	dst := b.Front(n)
	w := boxes{b: dst[:0:n]} // a head longer than counted would land elsewhere, not on the payload
	first := &b.Units[0]
	w.prft(prftOurs, first, first.Arrived)
	if first.Camera != 0 {
		w.prft(prftCamera, first, first.Camera)
	}
	moofAt := len(w.b)
	moof := w.begin("moof")
	mfhd := w.begin("mfhd")
	w.u32(0, uint32(first.DTS/(media.TicksPerSecond/10))) // rises; readers need no more
	w.end(mfhd)
	offset := n - moofAt // of the track's first sample, from the start of moof
	for i := 0; i < len(b.Units); {
		j := i
		for j < len(b.Units) && b.Units[j].Track == b.Units[i].Track {
			j++
		}
		w.traf(b, b.Units[i:j], offset)
		for ; i < j; i++ {
			offset += len(b.Units[i].Data)
		}
	}
	w.end(moof)
	w.u32(uint32(8 + len(b.Payload())))
	w.str("mdat")
	if len(w.b) != n {
		return fmt.Errorf("fragment: head of %d bytes, counted %d", len(w.b), n)
	}
	b.Fragment = dst
	return nil
}

const trafSize = 8 + 16 + 20 + 20 // traf, tfhd, tfdt, trun without samples

func headSize(b *media.Batch) int {
	n := 32 + 8 + 16 + 8 // prft, moof, mfhd, mdat
	if b.Units[0].Camera != 0 {
		n += 32
	}
	for i := 0; i < len(b.Units); {
		t, row := b.Units[i].Track, 12
		start := i
		for ; i < len(b.Units) && b.Units[i].Track == t; i++ {
			if b.Units[i].CTO != 0 {
				row = 16
			}
		}
		n += trafSize + row*(i-start)
	}
	return n
}

func (w *boxes) prft(flags uint32, u *media.Unit, ns int64) {
	at := w.begin("prft")
	w.u32(1<<24|flags, uint32(u.Track))
	w.u64(ntp(ns))
	w.u64(uint64(u.DTS))
	w.end(at)
}

// ntp converts unix nanoseconds to the 64-bit NTP form (RFC 5905).
func ntp(ns int64) uint64 {
	const epoch = 2208988800
	sec, frac := ns/1e9, ns%1e9
	if frac < 0 {
		sec, frac = sec-1, frac+1e9
	}
	return uint64(sec+epoch)<<32 | uint64(frac)<<32/1e9
}

func (w *boxes) traf(b *media.Batch, units []media.Unit, offset int) {
	track := units[0].Track
	row, flags := 12, uint32(0x000701) // data offset; duration, size, flags of each sample
	for i := range units {
		if units[i].CTO != 0 {
			row, flags = 16, 0x000f01 // and composition offset
			break
		}
	}
	traf := w.begin("traf")
	tfhd := w.begin("tfhd")
	w.u32(0x020000, uint32(track)) // offsets count from moof
	w.end(tfhd)
	tfdt := w.begin("tfdt")
	w.u32(1 << 24)
	w.u64(uint64(units[0].DTS))
	w.end(tfdt)
	trun := w.begin("trun")
	w.u32(flags, uint32(len(units)), uint32(offset))
	pace, last := &b.Tracks.Pace[track-1], &b.Tracks.Last[track-1]
	if d := units[0].DTS - *last; *last != 0 && d > 0 && d <= maxGuess { // a slow camera has one picture in a batch
		*pace = d
	}
	*last = units[len(units)-1].DTS
	for i := range units {
		u := &units[i]
		if i+1 < len(units) {
			*pace = units[i+1].DTS - u.DTS
		} else if *pace == 0 {
			*pace = firstPace(b.Tracks.List[track-1])
		}
		f := uint32(flagNonSync)
		if u.RandomAccess {
			f = flagSync
		}
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(min(*pace, maxPace)))
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(u.Data)))
		w.b = binary.BigEndian.AppendUint32(w.b, f)
		if row == 16 {
			w.b = binary.BigEndian.AppendUint32(w.b, uint32(u.CTO))
		}
	}
	w.end(trun)
	w.end(traf)
}

// maxPace bounds a sample's duration: a camera that sends a picture a minute
// is honest, one that leaps a day inside a batch is not.
const maxPace = 120 * media.TicksPerSecond

// maxGuess bounds the distance to the batch before that counts as the track's
// pace: more is a gap.
const maxGuess = 10 * media.TicksPerSecond

// firstPace is the guess for a track of which one unit is known.
func firstPace(t media.Track) media.Ticks {
	switch t.Codec {
	case media.AAC:
		return media.Ticks(1024 * media.TicksPerSecond / t.SampleRate)
	case media.Opus, media.PCMA, media.PCMU:
		return media.TicksPerSecond / 50
	}
	return media.TicksPerSecond / 25
}
