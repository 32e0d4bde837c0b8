package fmp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"vigil/internal/media"
)

// maxHole is the longest time without footage that a movie keeps as it was; a longer one
// is closed.
const maxHole = media.TicksPerSecond

// Errors of Movie.Add.
var (
	ErrOther    = errors.New("a track has other settings than before") // players fail where a track has two sample entries
	ErrTooLarge = errors.New("more samples than one movie may have")   // MaxSamples
	errEmpty    = errors.New("a movie without a sample")               //
)

// MaxSamples bounds the tables of one movie: at the usual 8 to 10 bytes of
// table for a sample about 35 MB. It is 44 hours of 25 pictures a second, or 14 with sound.
const MaxSamples = 4 << 20

// A Jump is a place in a movie where its time runs on and the clock's did not:
// a hole that was closed, or a clock that was set back.
type Jump struct {
	At   media.Ticks // in the movie, as shown
	From media.Ticks // since the epoch: the end of what is before
	To   media.Ticks // since the epoch: the start of what is behind
}

// A Movie collects the sample tables of an ordinary MP4 file: ftyp and mdat
// first (MovieHead), the payloads of fragments as they are, then the moov (Tables). It
// keeps tables and no footage. It belongs to one goroutine.
//
// Samples keep their distances. A hole of more than a second is closed. An
// edit list hides what was needed to begin decoding before the asked time, so that the file
// starts on the picture asked for.
type Movie struct {
	from, to media.Ticks // asked for, since the epoch

	tracks [media.MaxTracks]movieTrack
	count  int
	began  bool
	shift  media.Ticks // clock time less file time, of the newest span
	first  media.Ticks // shift of the first span
	end    media.Ticks // clock time where the newest span ends
	jumps  []Jump
}

// A movieTrack has the tables of one track, in the form they have in the file.
type movieTrack struct {
	track media.Track
	start media.Ticks // file time of the first sample
	lead  media.Ticks // composition offset of the first sample
	last  Sample      // the newest; its duration is not yet in stts
	at    media.Ticks // its file time

	samples, chunks, perChunk          uint32
	sttsRun, cttsRun                   [2]uint32 // count, value
	reordered, dependent               bool
	stts, ctts, stsz, stss, stsc, co64 []byte
}

// NewMovie starts a movie of the time from...to, since the epoch on our clock.
func NewMovie(from, to media.Ticks) *Movie { return &Movie{from: from, to: to} }

// Add takes the samples of the next fragment, whose payload lies at that
// offset of the file. Samples that begin at or after the end asked for are left
// out. After an error the movie is of no use.
func (m *Movie) Add(tracks []media.Track, f *Fragment, at int64) error {
	start, back := media.Ticks(0), false
	for i := range f.Parts {
		p := &f.Parts[i]
		if int(p.Track) > len(tracks) {
			return fmt.Errorf("movie: samples of track %d of %d", p.Track, len(tracks))
		}
		t := &m.tracks[p.Track-1]
		if dts := p.Samples[0].DTS; i == 0 || dts < start {
			start = dts
		}
		back = back || t.samples > 0 && p.Samples[0].DTS-m.shift <= t.at
	}
	switch {
	case !m.began:
		m.began, m.shift, m.first, m.end = true, start, start, start
	case back || start-m.end > maxHole:
		m.jumps = append(m.jumps, Jump{At: m.end - m.shift, From: m.end, To: start})
		m.shift += start - m.end
		m.end = start
	}
	for i := range f.Parts {
		if err := m.part(tracks[f.Parts[i].Track-1], &f.Parts[i], at-int64(f.Payload)); err != nil {
			return err
		}
	}
	return nil
}

// part adds one chunk to one track. base is where the fragment would begin in
// the file.
func (m *Movie) part(track media.Track, p *Part, base int64) error {
	n := 0
	for n < len(p.Samples) && p.Samples[n].DTS < m.to {
		n++
	}
	if n == 0 {
		return nil
	}
	if m.count += n; m.count > MaxSamples {
		return ErrTooLarge
	}
	t := &m.tracks[p.Track-1]
	if t.samples == 0 {
		t.track = track
	} else if !Same(&t.track, &track) {
		return fmt.Errorf("track %d, %v: %w", track.Number, track.Codec, ErrOther)
	}
	for i := range p.Samples[:n] {
		t.sample(&p.Samples[i], p.Samples[i].DTS-m.shift)
		m.end = max(m.end, p.Samples[i].DTS+p.Samples[i].Duration)
	}
	t.chunks++
	t.co64 = binary.BigEndian.AppendUint64(t.co64, uint64(base+int64(p.Samples[0].Offset)))
	if uint32(n) != t.perChunk {
		t.perChunk = uint32(n)
		t.stsc = appendU32(t.stsc, t.chunks, t.perChunk, 1)
	}
	return nil
}

// Same tells whether two tracks have one sample entry: what decodes the one
// decodes the other.
func Same(a, b *media.Track) bool {
	return a.Number == b.Number && a.Codec == b.Codec && a.Width == b.Width && a.Height == b.Height &&
		a.SampleRate == b.SampleRate && a.Channels == b.Channels && bytes.Equal(a.Config, b.Config)
}

func (t *movieTrack) sample(s *Sample, at media.Ticks) {
	if t.samples == 0 {
		t.start, t.lead = at, media.Ticks(s.CTO)
	} else {
		t.duration(at - t.at)
	}
	t.samples++
	t.stsz = appendU32(t.stsz, uint32(s.Size))
	if s.Sync {
		t.stss = appendU32(t.stss, t.samples)
	} else {
		t.dependent = true
	}
	t.reordered = t.reordered || s.CTO != 0
	run(&t.ctts, &t.cttsRun, uint32(s.CTO))
	t.last, t.at = *s, at
}

func (t *movieTrack) duration(d media.Ticks) { run(&t.stts, &t.sttsRun, uint32(min(d, 1<<31))) }

// run counts equal values; a new value writes the run before.
func run(table *[]byte, r *[2]uint32, value uint32) {
	if r[0] > 0 && r[1] != value {
		*table = appendU32(*table, r[0], r[1])
		r[0] = 0
	}
	r[0]++
	r[1] = value
}

func appendU32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// MovieHead returns what stands before the payloads of a movie with that many
// bytes of them.
func MovieHead(payload int64) []byte {
	var w boxes
	at := w.begin("ftyp")
	w.str("isom")
	w.u32(0x200)
	w.str("isomiso2mp41")
	w.end(at)
	w.u32(1) // the size is behind the name: it may need 64 bits
	w.str("mdat")
	w.u64(uint64(payload) + 16)
	return w.b
}

// Tables ends the movie and returns its moov: what follows the payloads.
// It can be called once.
func (m *Movie) Tables() (moov []byte, jumps []Jump, err error) {
	if m.count == 0 {
		return nil, nil, errEmpty
	}
	n, size := 0, 4096
	for i := range m.tracks {
		t := &m.tracks[i]
		if t.samples == 0 {
			continue
		}
		n = i + 1
		t.duration(t.last.Duration)
		t.stts = appendU32(t.stts, t.sttsRun[0], t.sttsRun[1])
		t.ctts = appendU32(t.ctts, t.cttsRun[0], t.cttsRun[1])
		size += len(t.stts) + len(t.ctts) + len(t.stsz) + len(t.stss) + len(t.stsc) + len(t.co64)
	}
	begin := m.begin()
	w := &boxes{b: make([]byte, 0, size)}
	at := w.begin("moov")
	mvhd := len(w.b)
	w.mvhd(0, n)
	created := uint64((begin + m.first).Time().Unix() + mp4Epoch)
	binary.BigEndian.PutUint64(w.b[mvhd+12:], created)
	binary.BigEndian.PutUint64(w.b[mvhd+20:], created)
	var longest media.Ticks
	for i := range m.tracks {
		if t := &m.tracks[i]; t.samples > 0 {
			longest = max(longest, w.movieTrack(m, t, begin))
		}
	}
	binary.BigEndian.PutUint64(w.b[mvhd+32:], uint64(longest))
	w.end(at)
	for i := range m.jumps { // as shown: the hidden lead-in does not count
		m.jumps[i].At = max(0, m.jumps[i].At-begin)
	}
	return w.b, m.jumps, nil
}

// mp4Epoch is the time in seconds from 1904, where MP4 counts from, to 1970.
const mp4Epoch = 2082844800

// begin is the file time of the first picture shown: the one asked for, or the
// first there is. Sound and picture both begin there.
func (m *Movie) begin() media.Ticks {
	asked := m.from - m.first
	for i := range m.tracks {
		if t := &m.tracks[i]; t.samples > 0 {
			return max(asked, t.start+t.lead)
		}
	}
	return asked
}

// movieTrack writes one trak and returns how long it is shown.
func (w *boxes) movieTrack(m *Movie, t *movieTrack, begin media.Ticks) media.Ticks {
	end := t.at + t.last.Duration
	shown := max(0, min(end+t.lead, m.to-m.shift)-begin)
	trak := w.begin("trak")
	w.tkhd(t.track, uint64(shown))
	w.edits(begin-t.start, shown)
	mdia := w.begin("mdia")
	w.mdhd(uint64(end - t.start))
	w.hdlr(t.track)
	minf := w.begin("minf")
	w.mediaHeader(t.track)
	stbl := w.begin("stbl")
	stsd := w.begin("stsd")
	w.u32(0, 1)
	w.sampleEntry(t.track)
	w.end(stsd)
	w.table("stts", uint32(len(t.stts)/8), t.stts)
	if t.reordered {
		w.table("ctts", uint32(len(t.ctts)/8), t.ctts)
	}
	w.table("stsc", uint32(len(t.stsc)/12), t.stsc)
	stsz := w.begin("stsz")
	w.u32(0, 0, t.samples)
	w.b = append(w.b, t.stsz...)
	w.end(stsz)
	if t.dependent {
		w.table("stss", uint32(len(t.stss)/4), t.stss)
	}
	w.offsets(t.co64)
	w.end(stbl)
	w.end(minf)
	w.end(mdia)
	w.end(trak)
	return shown
}

func (w *boxes) table(kind string, n uint32, rows []byte) {
	at := w.begin(kind)
	w.u32(0, n)
	w.b = append(w.b, rows...)
	w.end(at)
}

// offsets writes where the chunks are, in 32 bits if that will do: not every
// reader knows co64.
func (w *boxes) offsets(co64 []byte) {
	n := uint32(len(co64) / 8)
	if binary.BigEndian.Uint64(co64[len(co64)-8:]) > 1<<32-1 { // the last is the largest
		w.table("co64", n, co64)
		return
	}
	at := w.begin("stco")
	w.u32(0, n)
	for ; len(co64) > 0; co64 = co64[8:] {
		w.b = append(w.b, co64[4:8]...)
	}
	w.end(at)
}

// edits writes the edit list: wait where the track begins later than the
// movie, skip where it begins earlier.
func (w *boxes) edits(skip, shown media.Ticks) {
	edts := w.begin("edts")
	elst := w.begin("elst")
	wait := max(0, -skip)
	n := uint32(1)
	if wait > 0 {
		n = 2
	}
	w.u32(1<<24, n)
	if wait > 0 {
		w.u64(uint64(wait))
		w.u64(1<<64 - 1) // media time -1: nothing
		w.u32(1 << 16)
	}
	w.u64(uint64(max(0, shown-wait)))
	w.u64(uint64(max(0, skip)))
	w.u32(1 << 16)
	w.end(elst)
	w.end(edts)
}
