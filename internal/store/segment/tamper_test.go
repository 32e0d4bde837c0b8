package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"vigil/internal/media"
	"vigil/internal/seal"
)

// readAll opens a file and reads every fragment.
func readAll(file []byte) (list [][]byte, err error) {
	r, err := Open(bytes.NewReader(file), int64(len(file)), unwrap)
	if err != nil {
		return nil, err
	}
	for i := range r.Index() {
		f, err := r.Fragment(nil, i)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// TestFlippedByte flips every byte of a file in turn. Who has the ledger's
// digest sees each; who reads with the key sees all but those of the digest at the end, which only
// Verify and Recover compare.
//
//vigil:clause 5.2.8.2
func TestFlippedByte(t *testing.T) {
	m := build(testInfo, 4, 1, &Gap{Cause: media.Network, FromNs: testStart - 1, Lost: 1})
	digestAt := len(m.file) - 32
	for i := range m.file {
		m.file[i] ^= 1 << (i % 8)
		if err := Verify(bytes.NewReader(m.file), m.summary.Sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: verify says %v", i, err)
		}
		if _, err := readAll(m.file); err == nil && i < digestAt {
			t.Errorf("byte %d: read as if nothing were", i)
		} else if err != nil && i >= digestAt {
			t.Errorf("byte %d of the digest: %v", i-digestAt, err)
		}
		if rec, err := m.recover(); err == nil && rec.Complete {
			t.Errorf("byte %d: taken for complete", i)
		}
		m.file[i] ^= 1 << (i % 8)
	}
	if rec, err := m.recover(); err != nil || !rec.Complete {
		t.Errorf("the file itself: %+v, %v", rec, err)
	}
}

// TestPlaceOfDamage has the error name the place.
func TestPlaceOfDamage(t *testing.T) {
	m := build(testInfo, 4, 1, nil)
	index := m.ends[4]
	tests := []struct {
		name string
		at   int
		want error // nil: Damage at place
		in   int
	}{
		{"magic", 0, ErrFormat, 0},
		{"version", 9, ErrFormat, 0},
		{"length of the header", 11, ErrFormat, 0},
		{"segment id", 12, nil, 0},
		{"stream id", 28, nil, 0},
		{"camera id", 44, nil, 0},
		{"key id", 60, errKey, 0},
		{"wrapped key", 76, nil, InHeader},
		{"reserved", 143, nil, InHeader},
		{"frame of record 0", HeaderSize + 3, nil, 0},
		{"record 0", HeaderSize + frameSize + 50, nil, 0},
		{"length of record 1", m.ends[0] + 3, nil, 1},
		{"number of record 2", m.ends[1] + 7, nil, 2},
		{"kind of record 2", m.ends[1] + 8, nil, 2},
		{"final flag of record 3", m.ends[2] + 9, nil, 3},
		{"zeros of record 3", m.ends[2] + 11, nil, 3},
		{"nonce of record 4", m.ends[3] + frameSize, nil, 4},
		{"ciphertext of record 4", m.ends[3] + frameSize + 100, nil, 4},
		{"tag of record 4", m.ends[4] - 1, nil, 4},
		{"frame of the index", index, nil, InIndex},
		{"index", index + 100, nil, InIndex},
		{"magic of the trailer", len(m.file) - 64, ErrNoTrailer, 0},
		{"offset of the index", len(m.file) - 49, nil, InTrailer},
		{"length of the index", len(m.file) - 41, nil, InTrailer},
		{"number of fragments", len(m.file) - 33, nil, InIndex},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := slices.Clone(m.file)
			file[tt.at] ^= 1
			_, err := readAll(file)
			if tt.want != nil {
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				return
			}
			var d *Damage
			if !errors.As(err, &d) || d.Record != tt.in || !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v, want damage at %d", err, tt.in)
			}
		})
	}
}

// TestTruncated cuts a file at every length. No cut passes, and Recover gives
// all whole records that are left.
func TestTruncated(t *testing.T) {
	m := build(testInfo, 4, 1, &Gap{Cause: media.Network, Lost: 1})
	whole := m.file
	for n := range whole {
		m.file = whole[:n]
		if _, err := m.open(); err == nil {
			t.Errorf("%d bytes: opens", n)
		}
		if err := Verify(bytes.NewReader(m.file), m.summary.Sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: verify says %v", n, err)
		}
		rec, err := m.recover()
		if n < m.ends[0] {
			if err == nil {
				t.Errorf("%d bytes: recovered", n)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		want := 0
		for want < 4 && m.ends[want+1] <= n {
			want++
		}
		end := media.Crash
		if indexEnd := len(whole) - TrailerSize; n >= indexEnd {
			end = media.CutLength
		}
		if len(rec.Entries) != want || rec.Valid != int64(m.ends[want]) || rec.Complete || rec.Summary.EndCause != end || (rec.Why == nil) != (n == m.ends[want]) {
			t.Fatalf("%d bytes: %d entries, %d valid, complete %v, end %q, why %v", n, len(rec.Entries), rec.Valid, rec.Complete, rec.Summary.EndCause, rec.Why)
		}
		mended := append(slices.Clone(m.file[:rec.Valid]), rec.Tail...)
		r, err := Open(bytes.NewReader(mended), int64(len(mended)), unwrap)
		if err != nil {
			t.Fatalf("%d bytes, mended: %v", n, err)
		}
		if !reflect.DeepEqual(r.Summary(), rec.Summary) || !reflect.DeepEqual(r.Index(), rec.Entries) && want > 0 {
			t.Fatalf("%d bytes, mended:\n got %+v\nwant %+v", n, r.Summary(), rec.Summary)
		}
		if err := Verify(bytes.NewReader(mended), rec.Summary.Sealed); err != nil {
			t.Fatalf("%d bytes, mended: %v", n, err)
		}
		for k := range want + 1 {
			if at, err := rec.At(bytes.NewReader(mended), k); err != nil || !reflect.DeepEqual(at, m.running[k]) {
				t.Fatalf("%d bytes: at %d\n got %+v\nwant %+v, %v", n, k, at, m.running[k], err)
			}
		}
		if _, err := rec.At(bytes.NewReader(mended), want+1); err == nil {
			t.Fatalf("%d bytes: state after more than there is", n)
		}
	}
}

// TestRearranged tries what a thief of the disk can do without a key: every
// piece is genuine, only the order or the company is wrong.
//
//vigil:clause 5.2.8.2
func TestRearranged(t *testing.T) {
	m := build(testInfo, 5, 1, nil)
	twin := testInfo
	other := build(twin, 5, 2, nil) // the same segment id and key, as if written twice
	twin.Segment[15] ^= 1
	stranger := build(twin, 5, 1, nil)
	shorter := build(testInfo, 4, 1, nil)
	record := func(m *made, i int) []byte { return m.file[m.ends[i-1]:m.ends[i]] }
	tail := m.file[m.ends[5]:]
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	renumber := func(b []byte, n byte) []byte { b = slices.Clone(b); b[7] = n; return b }
	head := m.file[:m.ends[0]]
	tests := []struct {
		name  string
		file  []byte
		opens bool // only the ledger's digest tells
	}{
		{"two records swapped", join(head, record(m, 2), record(m, 1), m.file[m.ends[2]:]), false},
		{"swapped and renumbered", join(head, renumber(record(m, 2), 1), renumber(record(m, 1), 2), m.file[m.ends[2]:]), false},
		{"a record twice", join(head, record(m, 1), record(m, 1), m.file[m.ends[2]:]), false},
		{"a record left out", join(head, m.file[m.ends[1]:]), false},
		{"a record put in", join(head, record(m, 1), m.file[m.ends[0]:]), false},
		{"last record left out, index kept", join(m.file[:m.ends[4]], tail), false},
		{"spliced: the tail of another segment", join(m.file[:m.ends[2]], stranger.file[stranger.ends[2]:]), false},
		{"spliced: a record of another segment", join(head, record(stranger, 1), m.file[m.ends[1]:]), false},
		{"spliced: the header of another segment", join(stranger.file[:HeaderSize], m.file[HeaderSize:]), false},
		{"spliced: record 0 of another segment", join(m.file[:HeaderSize], stranger.file[HeaderSize:stranger.ends[0]], m.file[m.ends[0]:]), false},
		// An end that we sealed ourselves after fewer records, as recovery does: here both have one key.
		{"spliced: the index of a shorter writing", join(m.file[:m.ends[4]], shorter.file[shorter.ends[4]:]), true},
		{"spliced: the tail of another writing", join(m.file[:m.ends[2]], other.file[other.ends[2]:]), false},
		{"index in the place of a record", join(m.file[:m.ends[4]], tail[:len(tail)-TrailerSize], tail), false},
		{"bytes behind the end", join(m.file, []byte{0}), false},
		{"twice the whole", join(m.file, m.file), false},
		{"only the trailer", tail[len(tail)-TrailerSize:], false},
		{"only header and trailer", join(m.file[:HeaderSize], tail[len(tail)-TrailerSize:]), false},
		{"nothing", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Verify(bytes.NewReader(tt.file), m.summary.Sealed); !errors.Is(err, ErrDamaged) {
				t.Errorf("verify says %v", err)
			}
			if _, err := readAll(tt.file); (err == nil) != tt.opens {
				t.Errorf("reads with %v", err)
			}
			if rec, err := Recover(bytes.NewReader(tt.file), int64(len(tt.file)), unwrap); err == nil && rec.Complete && !tt.opens {
				t.Error("taken for complete")
			}
		})
	}
}

// TestOtherKey opens nothing and names the header.
func TestOtherKey(t *testing.T) {
	m := build(testInfo, 1, 1, nil)
	for name, tt := range map[string]struct {
		unwrap Unwrap
		want   error
	}{
		"wrong key":       {func([16]byte, []byte) (seal.Key, error) { return seal.NewKey(), nil }, ErrDamaged},
		"does not unwrap": {func([16]byte, []byte) (seal.Key, error) { return seal.Key{}, seal.ErrOpen }, ErrDamaged},
		"destroyed":       {func([16]byte, []byte) (seal.Key, error) { return seal.Key{}, errKey }, errKey},
	} {
		if _, err := Open(bytes.NewReader(m.file), int64(len(m.file)), tt.unwrap); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Recover(bytes.NewReader(m.file), int64(len(m.file)), tt.unwrap); !errors.Is(err, tt.want) {
			t.Errorf("%s: recover: %v", name, err)
		}
	}
}

// badDisk fails to read one place.
type badDisk struct {
	r  io.ReaderAt
	at int64
}

var errDisk = errors.New("input/output error")

func (d badDisk) ReadAt(b []byte, at int64) (int, error) {
	if at <= d.at && d.at < at+int64(len(b)) {
		return 0, errDisk
	}
	return d.r.ReadAt(b, at)
}

// TestBadDisk: a disk that cannot read is not a file that was altered, and
// recovery must not throw away what it could not read.
func TestBadDisk(t *testing.T) {
	m := build(testInfo, 3, 1, nil)
	for at := 0; at < len(m.file); at += 7 {
		disk := badDisk{bytes.NewReader(m.file), int64(at)}
		r, err := Open(disk, int64(len(m.file)), unwrap)
		for i := 0; err == nil && i < len(r.Index()); i++ {
			_, err = r.Fragment(nil, i)
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d unreadable: %v", at, err)
		}
		if rec, err := Recover(disk, int64(len(m.file)), unwrap); !errors.Is(err, errDisk) {
			t.Errorf("byte %d unreadable: recovered %+v, %v", at, rec, err)
		}
		if err := Verify(io.NewSectionReader(disk, 0, int64(len(m.file))), m.summary.Sealed); !errors.Is(err, errDisk) {
			t.Errorf("byte %d unreadable: verify says %v", at, err)
		}
	}
}

// TestVerifyLengths has the digest's place found whatever the reader hands
// out at once.
func TestVerifyLengths(t *testing.T) {
	for _, n := range []int{0, 31, 32, 33, 256<<10 - 1, 256 << 10, 256<<10 + 1, 512<<10 - 32, 600 << 10} {
		file := make([]byte, n)
		for i := range file {
			file[i] = byte(rand.Uint32())
		}
		d := must(digest(bytes.NewReader(file), int64(n)))
		file = append(file, d[:]...)
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(file), "by the byte": bytesAtATime{bytes.NewReader(file)}} {
			if err := Verify(r, d); err != nil {
				t.Errorf("%d bytes, %s: %v", n, name, err)
			}
		}
	}
}

type bytesAtATime struct{ r io.Reader }

func (r bytesAtATime) Read(b []byte) (int, error) { return r.r.Read(b[:min(len(b), 1001)]) }

// TestIndexThatLies has an index that authenticates and is wrong all the same:
// the bounds hold also where a key was not kept.
func TestIndexThatLies(t *testing.T) {
	m := build(testInfo, 4, 1, nil)
	r := must(m.open())
	tests := []struct {
		name string
		lie  func(*index)
		at   int
	}{
		{"a record elsewhere", func(x *index) { x.entries[1].Offset++ }, InIndex},
		{"a record before the file", func(x *index) { x.entries[0].Offset = 0 }, InIndex},
		{"a longer record", func(x *index) { x.entries[3].Length++ }, InIndex},
		{"a record of nothing", func(x *index) { x.entries[2].Length = 0 }, InIndex},
		{"lengths that change places", func(x *index) {
			d := x.entries[1].Length - 1
			x.entries[0].Length += d
			x.entries[1].Offset += int64(d)
			x.entries[1].Length -= d
		}, InIndex},
		{"a fragment less", func(x *index) { x.entries = x.entries[:3] }, InIndex},
		{"a track less", func(x *index) { x.tallies = x.tallies[:1] }, InIndex},
		{"another time", func(x *index) { x.entries[2].DTS++ }, 3},
		{"another leaf", func(x *index) { x.entries[0].Tracks[0].Leaf[5] ^= 1 }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := index{end: media.CutLength, entries: slices.Clone(r.entries)}
			for _, d := range m.summary.Tracks {
				x.tallies = append(x.tallies, tally{d.Leaves, d.Samples, d.Bytes, d.Root})
			}
			tt.lie(&x)
			w := &Writer{key: testKey, number: 5, sealed: sha256.New(), header: header{Info: testInfo}}
			file := w.seal(slices.Clone(m.file[:m.ends[4]]), kindIndex, x.append(nil))
			end := trailer{index: int64(m.ends[4]), length: int64(len(file) - m.ends[4]), records: 4}
			file = append(end.appendHead(file), make([]byte, 32)...)
			_, err := readAll(file)
			var d *Damage
			if !errors.As(err, &d) || d.Record != tt.at {
				t.Errorf("got %v, want damage at %d", err, tt.at)
			}
		})
	}
}
