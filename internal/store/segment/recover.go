package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"vigil/internal/media"
)

// A Recovered is what is left of a file that was not finished.
type Recovered struct {
	Summary  Summary // of the file, once it is Valid bytes and Tail
	Entries  []Entry
	Valid    int64  // bytes to keep: header and whole records
	Tail     []byte // to be written behind them: index and trailer; nil if Complete
	Complete bool   // nothing is to be done: the file has its trailer, and every byte is right
	Why      error  // why reading ended before the file did; nil: it ends with a record

	starts []int64 // starts[n]: where record n ends and n+1 begins
	tracks []media.Track
}

// Recover reads a file forward, record by record, and keeps what authenticates
// up to the first that does not. It changes nothing: the caller cuts the file to Valid
// bytes and appends Tail. A file that has no valid header and record 0 holds nothing: the error is then as
// of Open. Errors of reading itself end it too; half a file because of a bad cable would be a loss.
func Recover(r io.ReaderAt, size int64, unwrap Unwrap) (*Recovered, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, size)
	}
	s, at, err := begin(r, size, unwrap)
	if err != nil {
		return nil, err
	}
	w := NewWriter(s.header.Info, s.key, s.header.keyID, s.header.wrapped[:])
	if err := w.resume(r, at, s.opening); err != nil {
		return nil, err
	}
	rec := &Recovered{starts: []int64{at}, tracks: s.opening.tracks}
	end := media.Crash
	var raw, buf []byte
	for at < size && w.records() < MaxRecords {
		var n int
		var plain []byte
		if plain, n, err = s.record(buf, at, size-at, w.number, kindFragment); err == nil {
			buf = plain[:0]
			err = w.entry.parseMeta(plain, len(w.tracks))
		}
		if err != nil {
			break
		}
		if raw, err = w.take(r, raw, at, n); err != nil {
			return nil, err
		}
		at += int64(n)
		rec.starts = append(rec.starts, at)
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	rec.Entries, rec.Valid, rec.Why = w.Entries(0), at, err
	if t, x, err := s.ending(at, size, w); err == nil {
		rec.Summary = w.summary(x.end)
		rec.Summary.Bytes, rec.Summary.Sealed = size, t.sealed
		rec.Valid, rec.Complete, rec.Why = size, true, nil
		return rec, nil
	} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoTrailer) {
		return nil, err
	} else if x.end != "" {
		end, rec.Why = x.end, err // it was closed: only the trailer is missing
	}
	rec.Tail, rec.Summary = w.Finish(nil, end)
	return rec, nil
}

// resume takes over a file whose beginning has been read.
func (w *Writer) resume(r io.ReaderAt, at int64, o opening) error {
	head := make([]byte, at)
	if err := readAt(r, head, 0); err != nil {
		return fmt.Errorf("recover segment %v: %w", w.header.Segment, err)
	}
	w.wrote(head)
	w.number, w.tracks, w.before = 1, o.tracks, o.before
	return nil
}

// take counts one record that has been read and opened: the digest is over the
// bytes as they lie there, so they are read once more.
func (w *Writer) take(r io.ReaderAt, raw []byte, at int64, n int) ([]byte, error) {
	if cap(raw) < n {
		raw = make([]byte, n+n/4)
	}
	if err := readAt(r, raw[:n], at); err != nil {
		return raw, fmt.Errorf("recover segment %v: %w", w.header.Segment, err)
	}
	w.absorb(raw[:n])
	return raw, nil
}

// ending tells whether an index that fits lies at that place, and whether the
// trailer behind it is right too. The index is given also when only the trailer is wrong.
func (s *Reader) ending(at, size int64, w *Writer) (t trailer, x index, err error) {
	plain, n, err := s.record(nil, at, size-at, w.number, kindIndex)
	if err != nil {
		return t, x, err
	}
	if x, err = parseIndex(plain); err == nil {
		if w.summary(x.end); !bytes.Equal(plain, w.indexPlain(x.end)) {
			err = errors.New("index of other records")
		}
	}
	if err != nil {
		return t, index{}, &Damage{s.header.Segment, InIndex, err}
	}
	var end [TrailerSize]byte
	if at+int64(n)+TrailerSize > size {
		return t, x, fmt.Errorf("segment %v: %w", s.header.Segment, ErrNoTrailer)
	}
	if err := readAt(s.r, end[:], at+int64(n)); err != nil {
		return t, x, fmt.Errorf("recover segment %v: %w", s.header.Segment, err)
	}
	if size != at+int64(n)+TrailerSize {
		return t, x, &Damage{s.header.Segment, InTrailer, fmt.Errorf("%d bytes behind the end", size-at-int64(n)-TrailerSize)}
	}
	if t, err = parseTrailer(end[:], size, s.header.Segment); err != nil {
		return t, x, err
	}
	got, err := digest(s.r, size-int64(len(t.sealed)))
	if err != nil {
		return t, x, fmt.Errorf("recover segment %v: %w", s.header.Segment, err)
	}
	if got != t.sealed {
		return t, x, &Damage{s.header.Segment, InTrailer, errors.New("digest of other bytes")}
	}
	return t, x, nil
}

// digest is the SHA-256 of the first n bytes.
func digest(r io.ReaderAt, n int64) (d [32]byte, err error) {
	h := sha256.New()
	if m, err := io.Copy(h, io.NewSectionReader(r, 0, n)); err != nil || m != n {
		return d, errors.Join(err, fmt.Errorf("%d of %d bytes read", m, n))
	}
	h.Sum(d[:0])
	return d, nil
}

// At tells how the segment stood after that many fragments, for comparison
// with a pulse: src is the file.
func (rec *Recovered) At(src io.ReaderAt, records int) (Running, error) {
	if records < 0 || records > len(rec.Entries) {
		return Running{}, fmt.Errorf("segment %v: %d fragments are there, %d asked for", rec.Summary.Segment, len(rec.Entries), records)
	}
	w := Writer{header: header{Info: rec.Summary.Info}, tracks: rec.tracks, number: 1, sealed: sha256.New(), leaf: sha256.New()}
	sealed, err := digest(src, rec.starts[records])
	if err != nil {
		return Running{}, fmt.Errorf("segment %v, %d fragments: %w", rec.Summary.Segment, records, err)
	}
	for i := range records {
		w.entry = rec.Entries[i]
		w.absorb(nil)
	}
	w.size = rec.starts[records]
	state := w.Running()
	state.Sealed = sealed
	return state, nil
}
