package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"

	"vigil/internal/media"
	"vigil/internal/seal"
)

// A Writer turns the batches of one segment into the bytes of its file: call
// Header, Init, Append for each batch, Finish, and write what they append to dst one
// after the other. It seals and makes both digests on the same pass, and allocates
// nothing for a batch when dst has room. It belongs to one goroutine at a time.
type Writer struct {
	header header
	key    seal.Key
	tracks []media.Track
	before *Gap

	size    int64 // bytes made so far
	number  uint32
	sealed  hash.Hash // over them
	trees   [media.MaxTracks]tree
	tallies [media.MaxTracks]tally // roots only in Finish
	last    [media.MaxTracks]media.Ticks
	pace    [media.MaxTracks]media.Ticks
	index   []byte // encoded entries
	first   Entry
	newest  Entry
	entry   Entry // being made; here and not on the stack, which its digests would leave
	camera  ClockOffset

	leaf    hash.Hash
	scratch [65]byte
	aad     []byte
}

// NewWriter starts a segment with its own key and that key's wrapped form,
// WrappedSize bytes, both from keys.DayKey.New.
func NewWriter(info Info, key seal.Key, keyID [16]byte, wrapped []byte) *Writer {
	if len(wrapped) != WrappedSize {
		panic(fmt.Sprintf("segment: a wrapped key of %d bytes", len(wrapped)))
	}
	w := &Writer{key: key, sealed: sha256.New(), leaf: sha256.New(), aad: make([]byte, 0, aadSize)}
	w.header = header{Info: info, keyID: keyID, wrapped: [WrappedSize]byte(wrapped)}
	w.index = make([]byte, 0, 320*(placeSize+metaLen(2))) // a minute and a bit
	return w
}

// Header appends the header of the file.
func (w *Writer) Header(dst []byte) []byte {
	at := len(dst)
	dst = w.header.append(dst)
	w.wrote(dst[at:])
	return dst
}

func (w *Writer) wrote(b []byte) {
	w.sealed.Write(b)
	w.size += int64(len(b))
}

// Init appends record 0: what the tracks are, their initialisation segment,
// and what is missing before.
func (w *Writer) Init(dst []byte, tracks *media.Tracks, before *Gap) ([]byte, error) {
	if err := media.CheckTracks(tracks.List); err != nil {
		return dst, fmt.Errorf("begin segment %v: %w", w.header.Segment, err)
	}
	if len(tracks.Init) > MaxInit {
		return dst, fmt.Errorf("begin segment %v: initialisation segment of %d bytes", w.header.Segment, len(tracks.Init))
	}
	if before != nil {
		gap := *before
		w.before = &gap
	}
	w.tracks = tracks.List
	o := opening{sha256.Sum256(w.header.append(nil)), w.before, tracks.List, tracks.Init}
	return w.seal(dst, kindInit, o.append(nil)), nil
}

// seal appends a record made of one plaintext, for the records that are made
// once in a segment.
func (w *Writer) seal(dst []byte, k kind, plain []byte) []byte {
	at := len(dst)
	f := frame{length: len(plain) + seal.Overhead, number: w.number, kind: k, final: k == kindIndex}
	dst = slices.Grow(dst, frameSize+f.length)
	dst = w.key.Seal(f.append(dst), plain, appendAAD(w.aad[:0], w.header.Segment, f))
	w.wrote(dst[at:])
	w.number++
	return dst
}

// Append appends the record of one batch, whose Fragment has been made. It
// keeps nothing of the batch. ErrFull says that the segment must end now; other errors, that the
// batch breaks its promises: then dst and the segment are as before.
func (w *Writer) Append(dst []byte, b *media.Batch) ([]byte, error) {
	if err := w.describe(b); err != nil {
		return dst, fmt.Errorf("segment %v, record %d: %w", w.header.Segment, w.number, err)
	}
	tracks := len(w.tracks)
	n := metaLen(tracks) + len(b.Fragment)
	at, f := len(dst), frame{length: n + seal.Overhead, number: w.number, kind: kindFragment}
	if w.records() == MaxRecords || w.size+int64(frameSize+f.length) > MaxSize-maxIndex-1024 {
		return dst, ErrFull
	}
	dst = slices.Grow(dst, frameSize+f.length)
	dst = f.append(dst)
	body := len(dst)
	dst = w.entry.appendMeta(dst, tracks)
	dst = append(dst, b.Fragment...)
	dst = w.key.Seal(dst[:body], dst[body:], appendAAD(w.aad[:0], w.header.Segment, f)) // in place: it fits, see Grow
	w.absorb(dst[at:])
	return dst, nil
}

// absorb counts the entry just made, whose record this is.
func (w *Writer) absorb(record []byte) {
	e := &w.entry
	e.Offset, e.Length = w.size, len(record)
	w.wrote(record)
	if w.newest = *e; w.number == 1 {
		w.first = *e
	}
	w.number++
	if e.CameraStart != 0 {
		w.camera.End = e.CameraStart - e.WallStart
		if !w.camera.Known {
			w.camera.Known, w.camera.Start = true, w.camera.End
		}
	}
	for i := range w.tracks {
		if p := &e.Tracks[i]; p.Units > 0 {
			w.trees[i].add(w.leaf, &p.Leaf, &w.scratch)
			w.tallies[i].leaves++
			w.tallies[i].samples += int64(p.Units)
			w.tallies[i].bytes += int64(p.Bytes)
		}
	}
	w.index = e.append(w.index, len(w.tracks))
}

var errBatch = errors.New("batch breaks its promises")

// describe fills w.entry from a batch: times, counts and leaves.
func (w *Writer) describe(b *media.Batch) error {
	if len(b.Units) == 0 || len(b.Units) > media.MaxUnits || len(b.Fragment) == 0 || len(b.Fragment) > maxFragment || len(b.New) > causeSize {
		return fmt.Errorf("%w: %d units in a fragment of %d bytes, new timeline %.30q", errBatch, len(b.Units), len(b.Fragment), b.New)
	}
	u := &b.Units[0]
	w.entry = Entry{DTS: u.DTS, WallStart: u.Arrived, WallEnd: u.Arrived, CameraStart: u.Camera, Lost: b.Lost, New: b.New, RandomAccess: b.RandomAccess()}
	e := &w.entry
	if e.CameraStart < 0 || e.CameraStart > maxNs {
		e.CameraStart = 0 // a camera may say anything
	}
	for i := 0; i < len(b.Units); {
		t := b.Units[i].Track
		j := i + 1
		for j < len(b.Units) && b.Units[j].Track == t {
			j++
		}
		if t == 0 || int(t) > len(w.tracks) || e.Tracks[t-1].Units != 0 {
			return fmt.Errorf("%w: units of track %d", errBatch, t)
		}
		if err := w.describeTrack(int(t)-1, b.Units[i:j]); err != nil {
			return err
		}
		if i == 0 {
			e.Duration = max(0, min(b.Units[j-1].DTS-u.DTS+w.pace[t-1], maxDuration))
		}
		i = j
	}
	return nil
}

// Guesses of a duration, in the bounds that fmp4 has.
const (
	maxDuration = 240 * media.TicksPerSecond
	maxPace     = 120 * media.TicksPerSecond
	firstPace   = media.TicksPerSecond / 25
)

func (w *Writer) describeTrack(t int, units []media.Unit) error {
	p := &w.entry.Tracks[t]
	w.leaf.Reset()
	w.scratch[0] = 0
	w.leaf.Write(w.scratch[:1])
	for i := range units {
		u := &units[i]
		if u.DTS < 0 || u.DTS > maxTicks || u.Arrived < 0 || u.Arrived > maxNs || len(u.Data) > media.MaxUnit {
			return fmt.Errorf("%w: %d bytes of track %d at %d, arrived %d", errBatch, len(u.Data), t+1, u.DTS, u.Arrived)
		}
		if pace := u.DTS - w.last[t]; pace > 0 && pace <= maxPace {
			w.pace[t] = pace
		} else if w.pace[t] == 0 {
			w.pace[t] = firstPace
		}
		w.last[t] = u.DTS
		w.entry.WallEnd = max(w.entry.WallEnd, u.Arrived)
		p.Units++
		p.Bytes += len(u.Data)
		w.leaf.Write(SampleHead(w.scratch[:0], u.DTS, u.CTO, u.RandomAccess, len(u.Data)))
		w.leaf.Write(u.Data)
	}
	if p.Bytes > media.MaxBatch {
		return fmt.Errorf("%w: %d bytes of track %d", errBatch, p.Bytes, t+1)
	}
	w.leaf.Sum(p.Leaf[:0])
	return nil
}

// records counts the fragments so far.
func (w *Writer) records() int { return max(int(w.number)-1, 0) }

// Finish appends the index and the trailer and tells what the segment is. The
// writer is of no use afterwards.
func (w *Writer) Finish(dst []byte, end media.Cause) ([]byte, Summary) {
	s := w.summary(end)
	t := trailer{index: w.size, records: s.Records}
	at := len(dst)
	dst = w.seal(dst, kindIndex, w.indexPlain(end))
	t.length = int64(len(dst) - at)
	at = len(dst)
	dst = t.appendHead(dst)
	w.wrote(dst[at:])
	w.sealed.Sum(s.Sealed[:0])
	dst = append(dst, s.Sealed[:]...)
	w.size += int64(len(s.Sealed))
	s.Bytes = w.size
	return dst, s
}

// indexPlain is the index of what has been written; the roots must have been
// taken.
func (w *Writer) indexPlain(end media.Cause) []byte {
	plain := appendIndexHead(make([]byte, 0, indexSize+len(w.index)+len(w.tracks)*tallySize), w.records(), len(w.tracks), end)
	plain = append(plain, w.index...)
	for i := range w.tracks {
		plain = w.tallies[i].append(plain)
	}
	return plain
}

// summary is what can be said before the file is complete.
func (w *Writer) summary(end media.Cause) Summary {
	s := Summary{Info: w.header.Info, Bytes: w.size, Records: w.records(), EndCause: end, Before: w.before, Offset: w.camera, Tracks: w.digests()}
	if s.Records > 0 {
		e := &w.newest
		s.Start, s.End = w.first.WallStart, e.end()
		s.FirstDTS, s.LastDTS, s.Duration = w.first.DTS, e.DTS, e.DTS+e.Duration-w.first.DTS
	}
	return s
}

// end is when the last unit of the fragment has been shown: its arrival, and
// the time until the next was due.
func (e *Entry) end() int64 {
	shown := e.WallStart + int64(e.Duration.Duration())
	return max(shown, e.WallEnd)
}

// digests closes the trees as they stand.
func (w *Writer) digests() []TrackDigest {
	list := make([]TrackDigest, len(w.tracks))
	for i, t := range w.tracks {
		y := &w.tallies[i]
		y.root = w.trees[i].root(w.leaf, &w.scratch)
		list[i] = TrackDigest{t.Number, t.Codec, y.leaves, y.samples, y.bytes, y.root}
	}
	return list
}

// Running tells where the segment stands, for a pulse.
func (w *Writer) Running() Running {
	r := Running{Info: w.header.Info, Records: w.records(), Bytes: w.size, Tracks: w.digests()}
	if r.Records > 0 {
		r.End = w.newest.end()
	}
	w.sealed.Sum(r.Sealed[:0])
	return r
}

// Entries returns the entries of the fragments so far, beginning with that
// number: what OpenLive wants.
func (w *Writer) Entries(from int) []Entry {
	from = max(from, 0)
	each := placeSize + metaLen(len(w.tracks))
	var list []Entry
	for at := from * each; at < len(w.index); at += each {
		var e Entry
		if e.parse(w.index[at:], len(w.tracks)) != nil {
			panic("segment: an entry that was just written does not read back")
		}
		list = append(list, e)
	}
	return list
}
