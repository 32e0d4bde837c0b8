package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"vigil/internal/media"
	"vigil/internal/seal"
)

// A Reader reads the fragments of one segment. Safe for many callers, as its
// io.ReaderAt must be.
type Reader struct {
	r       io.ReaderAt
	header  header
	key     seal.Key
	opening opening
	entries []Entry
	summary Summary
}

// Open reads header, index and initialisation segment and checks that they are
// of one file and fill it. What it gives has authenticated; the fragments do so when they are read, and
// only Verify tells whether Summary().Sealed is the digest of these bytes.
//
// Errors: ErrFormat, ErrNoTrailer, a *Damage, or what r or unwrap said.
func Open(r io.ReaderAt, size int64, unwrap Unwrap) (*Reader, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, size)
	}
	s, at, err := begin(r, size, unwrap)
	if err != nil {
		return nil, err
	}
	id := s.header.Segment
	if size < at+TrailerSize {
		return nil, fmt.Errorf("segment %v: %w", id, ErrNoTrailer)
	}
	var end [TrailerSize]byte
	if err := readAt(r, end[:], size-TrailerSize); err != nil {
		return nil, fmt.Errorf("segment %v, trailer: %w", id, err)
	}
	t, err := parseTrailer(end[:], size, id)
	if err != nil {
		return nil, err
	}
	x, err := s.readIndex(t)
	if err != nil {
		return nil, err
	}
	if len(x.tallies) != len(s.opening.tracks) || len(x.entries) != t.records {
		return nil, &Damage{id, InIndex, fmt.Errorf("%d tracks and %d fragments, not %d and %d", len(x.tallies), len(x.entries), len(s.opening.tracks), t.records)}
	}
	for i := range x.entries { // end to end from record 0 to the index
		e := &x.entries[i]
		if e.Offset != at || e.Length < frameSize+seal.Overhead+metaLen(len(x.tallies)) {
			return nil, &Damage{id, InIndex, fmt.Errorf("record %d of %d bytes at %d, not at %d", i+1, e.Length, e.Offset, at)}
		}
		at += int64(e.Length)
	}
	if at != t.index {
		return nil, &Damage{id, InIndex, fmt.Errorf("records end at %d, the index begins at %d", at, t.index)}
	}
	s.entries = x.entries
	s.summarise(x)
	s.summary.Bytes, s.summary.Sealed = size, t.sealed
	return s, nil
}

// OpenLive reads a file that is being written: r has its beginning, and the
// bytes of the entries, which are the Writer's. The summary says what those hold; it has no
// digest.
func OpenLive(r io.ReaderAt, entries []Entry, unwrap Unwrap) (*Reader, error) {
	s, at, err := begin(r, MaxSize, unwrap)
	if err != nil {
		return nil, err
	}
	s.entries = slices.Clone(entries)
	s.summarise(index{entries: s.entries, tallies: make([]tally, len(s.opening.tracks))})
	if s.summary.Bytes = at; len(entries) > 0 {
		last := &entries[len(entries)-1]
		s.summary.Bytes = last.Offset + int64(last.Length)
	}
	return s, nil
}

// begin reads header and record 0 and tells where record 1 begins.
func begin(r io.ReaderAt, size int64, unwrap Unwrap) (*Reader, int64, error) {
	var head [HeaderSize]byte
	if size < HeaderSize {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrFormat, size)
	}
	if err := readAt(r, head[:], 0); err != nil {
		return nil, 0, fmt.Errorf("header of a segment: %w", err)
	}
	h, err := parseHeader(head[:])
	if err != nil {
		return nil, 0, err
	}
	s := &Reader{r: r, header: h}
	if s.key, err = unwrap(h.keyID, h.wrapped[:]); err != nil {
		if errors.Is(err, seal.ErrOpen) {
			return nil, 0, &Damage{h.Segment, InHeader, err}
		}
		return nil, 0, fmt.Errorf("segment %v, key: %w", h.Segment, err)
	}
	plain, n, err := s.record(nil, HeaderSize, size-HeaderSize, 0, kindInit)
	if err != nil {
		return nil, 0, err
	}
	o, err := parseOpening(plain)
	if err == nil && o.header != sha256.Sum256(head[:]) {
		err = errors.New("the header is not the one of the time of writing")
	}
	if err != nil {
		return nil, 0, &Damage{h.Segment, 0, err}
	}
	s.opening = o
	return s, HeaderSize + int64(n), nil
}

// record reads and opens the record at an offset, of which at most that many
// bytes are there. It reads into buf if that is large enough. n is its length in the file.
func (s *Reader) record(buf []byte, at, most int64, number uint32, k kind) (plain []byte, n int, err error) {
	if most < frameSize {
		return buf, 0, s.damage(number, k, fmt.Errorf("%d bytes left of a frame", most))
	}
	buf = slices.Grow(buf[:0], frameSize)[:frameSize]
	if err := readAt(s.r, buf, at); err != nil {
		return buf, 0, fmt.Errorf("segment %v, record %d: %w", s.header.Segment, number, err)
	}
	f, err := parseFrame(buf, most-frameSize)
	if err != nil {
		return buf, 0, s.damage(number, k, err)
	}
	n = frameSize + f.length
	buf = slices.Grow(buf, f.length)[:n]
	if err := readAt(s.r, buf[frameSize:], at+frameSize); err != nil {
		return buf, 0, fmt.Errorf("segment %v, record %d: %w", s.header.Segment, number, err)
	}
	plain, err = s.open(buf, number, k)
	return plain, n, err
}

// aads keeps associated data, which does not stay on the stack on its way to
// the cipher.
var aads = sync.Pool{New: func() any { return new([aadSize]byte) }}

// open opens a whole record in place. Nothing of the plaintext is left where
// that fails.
func (s *Reader) open(record []byte, number uint32, k kind) (plain []byte, err error) {
	f, err := parseFrame(record, int64(len(record)-frameSize))
	switch {
	case err != nil:
		return nil, s.damage(number, k, err)
	case f.length != len(record)-frameSize:
		return nil, s.damage(number, k, fmt.Errorf("record of %d bytes in the place of %d", frameSize+f.length, len(record)))
	case f.number != number || f.kind != k:
		return nil, s.damage(number, k, fmt.Errorf("record %d of kind %d stands here, not %d of kind %d", f.number, f.kind, number, k))
	}
	aad := aads.Get().(*[aadSize]byte)
	defer aads.Put(aad)
	sealed := record[frameSize:]
	plain, err = s.key.Open(sealed[:0], sealed, appendAAD(aad[:0], s.header.Segment, f))
	if err != nil {
		clear(sealed)
		return nil, s.damage(number, k, err)
	}
	return plain, nil
}

func (s *Reader) damage(number uint32, k kind, err error) error {
	if k == kindIndex {
		return &Damage{s.header.Segment, InIndex, err}
	}
	return &Damage{s.header.Segment, int(number), err}
}

func (s *Reader) readIndex(t trailer) (index, error) {
	plain, n, err := s.record(nil, t.index, t.length, uint32(t.records+1), kindIndex)
	if err != nil {
		return index{}, err
	}
	x, err := parseIndex(plain)
	if err == nil && int64(n) != t.length {
		err = fmt.Errorf("index of %d bytes, the trailer says %d", n, t.length)
	}
	if err != nil {
		return index{}, &Damage{s.header.Segment, InIndex, err}
	}
	return x, nil
}

// summarise fills the summary from the entries and what the index says of
// whole tracks.
func (s *Reader) summarise(x index) {
	y := Summary{Info: s.header.Info, Records: len(x.entries), EndCause: x.end, Before: s.opening.before}
	for i, t := range s.opening.tracks {
		k := &x.tallies[i]
		y.Tracks = append(y.Tracks, TrackDigest{t.Number, t.Codec, k.leaves, k.samples, k.bytes, k.root})
	}
	for i := range x.entries {
		if e := &x.entries[i]; e.CameraStart != 0 {
			y.Offset.End = e.CameraStart - e.WallStart
			if !y.Offset.Known {
				y.Offset.Known, y.Offset.Start = true, y.Offset.End
			}
		}
	}
	if n := len(x.entries); n > 0 {
		first, last := &x.entries[0], &x.entries[n-1]
		y.Start, y.End = first.WallStart, last.end()
		y.FirstDTS, y.LastDTS, y.Duration = first.DTS, last.DTS, last.DTS+last.Duration-first.DTS
	}
	s.summary = y
}

// Info tells whose segment it is.
func (s *Reader) Info() Info { return s.header.Info }

// Init returns the MP4 initialisation segment. It is not to be changed.
func (s *Reader) Init() []byte { return s.opening.init }

// Tracks returns what the fragments have, by number. It is not to be changed.
func (s *Reader) Tracks() []media.Track { return s.opening.tracks }

// Index returns an entry for each fragment. It is not to be changed.
func (s *Reader) Index() []Entry { return s.entries }

// Summary returns what the index says of the whole segment.
func (s *Reader) Summary() Summary { return s.summary }

// Fragment appends the MP4 fragment of Index()[i] to dst. It allocates only
// when dst has too little room: Index()[i].Length is always enough. The error is a
// *Damage when the fragment is not the one that was written.
func (s *Reader) Fragment(dst []byte, i int) ([]byte, error) {
	if i < 0 || i >= len(s.entries) {
		return dst, fmt.Errorf("segment %v: no fragment %d of %d", s.header.Segment, i, len(s.entries))
	}
	e := &s.entries[i]
	base := len(dst)
	dst = slices.Grow(dst, e.Length)
	record := dst[base : base+e.Length]
	if err := readAt(s.r, record, e.Offset); err != nil {
		return dst, fmt.Errorf("segment %v, record %d: %w", s.header.Segment, i+1, err)
	}
	plain, err := s.open(record, uint32(i+1), kindFragment)
	if err != nil {
		return dst, err
	}
	var got Entry
	tracks := len(s.opening.tracks)
	if err = got.parseMeta(plain, tracks); err == nil {
		if got.Offset, got.Length = e.Offset, e.Length; got != *e {
			err = errors.New("its metadata is not what the index says")
		}
	}
	if err != nil {
		clear(plain)
		return dst, &Damage{s.header.Segment, i + 1, err}
	}
	return dst[:base+copy(record, plain[metaLen(tracks):])], nil
}

// Verify reads a whole file and compares it with the digest of its ledger
// leaf, Summary.Sealed. It needs no key. The error wraps ErrDamaged when the file is another.
//
//vigil:clause 5.2.8.2
func Verify(r io.Reader, want [32]byte) error {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	kept := 0 // of the file's last bytes, at the beginning of buf: they may be the digest
	for {
		n, err := io.ReadFull(r, buf[kept:])
		end := kept + n
		kept = min(end, len(want))
		h.Write(buf[:end-kept])
		copy(buf, buf[end-kept:end])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("verify segment: %w", err)
		}
	}
	var got [32]byte
	h.Sum(got[:0])
	if got != want || !bytes.Equal(buf[:kept], want[:]) {
		return fmt.Errorf("verify segment: %w: digest %x of the bytes, %x at the end, want %x", ErrDamaged, got, buf[:kept], want)
	}
	return nil
}

// readAt fills b, or says what is missing.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
