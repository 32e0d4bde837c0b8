package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"vigil/internal/media"
	"vigil/internal/seal"
)

var (
	testKey  = must(seal.KeyFrom([]byte("0123456789abcdef0123456789abcdef")))
	wrapKey  = must(seal.KeyFrom([]byte("fedcba9876543210fedcba9876543210")))
	testInfo = Info{Segment: media.SegmentID{1, 2, 3}, Stream: media.StreamID{4, 5}, Camera: media.CameraID{6}}
	testID   = [16]byte{7, 8, 9}
	errKey   = errors.New("no such key")

	testTracks = &media.Tracks{
		Init: []byte("the initialisation segment"),
		List: []media.Track{
			{Number: 1, Codec: media.H264, Codecs: "avc1.42c01e", Width: 320, Height: 240, Config: []byte{1, 2, 3}},
			{Number: 2, Codec: media.AAC, Codecs: "mp4a.40.2", SampleRate: 48000, Channels: 2, Config: []byte{0x11, 0x90}},
		},
	}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func unwrap(id [16]byte, wrapped []byte) (seal.Key, error) {
	if id != testID {
		return seal.Key{}, errKey
	}
	return wrapKey.Unwrap(wrapped, id[:])
}

const testStart = int64(1_900_000_000_000_000_000)

// batch is number i of a stream with a picture every 40 ms, five to a batch,
// and some sound; each eighth begins a GOP, each third has no sound.
func batch(i int, random *rand.Rand) *media.Batch {
	units := []media.Unit{}
	at := testStart + int64(i)*200e6
	for k := range 5 {
		units = append(units, media.Unit{Track: 1, RandomAccess: i%8 == 0 && k == 0, DTS: media.Ticks(i*18000 + k*3600 + 1_900_000_000*90000), CTO: int32(k), Arrived: at + int64(k)*40e6, Camera: at + 5e9 + int64(i)})
	}
	if i%3 != 2 {
		units = append(units, media.Unit{Track: 2, RandomAccess: true, DTS: media.Ticks(i*18000 + 1_900_000_000*90000), Arrived: at})
	}
	size := 0
	sizes := make([]int, len(units))
	for k := range units {
		sizes[k] = 1 + random.IntN(300)
		size += sizes[k]
	}
	b := media.NewBatch(size)
	b.Tracks = testTracks
	at2 := 0
	for k := range units {
		units[k].Data = b.Payload()[at2 : at2+sizes[k]]
		at2 += sizes[k]
		for j := range units[k].Data {
			units[k].Data[j] = byte(random.Uint32())
		}
	}
	b.Units = append(b.Units, units...)
	b.Fragment = b.Front(20)
	copy(b.Fragment, "boxes of a fragment ")
	if i == 0 {
		b.New = media.CameraStart
	}
	b.Lost = uint32(i % 2)
	if err := b.Check(); err != nil {
		panic(err)
	}
	return b
}

type made struct {
	file      []byte
	fragments [][]byte
	leaves    [2][][]byte // leaf data of each track
	summary   Summary
	running   []Running // after so many fragments
	ends      []int     // where record n ends
}

func (m *made) open() (*Reader, error) {
	return Open(bytes.NewReader(m.file), int64(len(m.file)), unwrap)
}

func (m *made) recover() (*Recovered, error) {
	return Recover(bytes.NewReader(m.file), int64(len(m.file)), unwrap)
}

func build(info Info, n int, seed uint64, before *Gap) *made {
	random := rand.New(rand.NewPCG(seed, 1))
	w := NewWriter(info, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
	m := &made{file: w.Header(nil)}
	m.file = must(w.Init(m.file, testTracks, before))
	m.running, m.ends = append(m.running, w.Running()), append(m.ends, len(m.file))
	for i := range n {
		b := batch(i, random)
		m.file = must(w.Append(m.file, b))
		m.fragments = append(m.fragments, slices.Clone(b.Fragment))
		m.running, m.ends = append(m.running, w.Running()), append(m.ends, len(m.file))
		var leaf [2][]byte
		for _, u := range b.Units {
			leaf[u.Track-1] = append(SampleHead(leaf[u.Track-1], u.DTS, u.CTO, u.RandomAccess, len(u.Data)), u.Data...)
		}
		for t, l := range leaf {
			if l != nil {
				m.leaves[t] = append(m.leaves[t], l)
			}
		}
		b.Release()
	}
	m.file, m.summary = w.Finish(m.file, media.CutLength)
	return m
}

// TestWriteThenRead has what was written come back, and the summary of the
// writer be the one of the reader.
func TestWriteThenRead(t *testing.T) {
	for _, before := range []*Gap{nil, {Cause: media.Network, FromNs: testStart - 3e9, Lost: 75}} {
		for _, n := range []int{0, 1, 2, 17} {
			t.Run(fmt.Sprintf("%d fragments, gap %v", n, before != nil), func(t *testing.T) {
				m := build(testInfo, n, 1, before)
				r, err := m.open()
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(r.Summary(), m.summary) {
					t.Errorf("summary\n got %+v\nwant %+v", r.Summary(), m.summary)
				}
				if !reflect.DeepEqual(r.Tracks(), testTracks.List) || !bytes.Equal(r.Init(), testTracks.Init) || r.Info() != testInfo {
					t.Errorf("got %+v, %q, %+v", r.Tracks(), r.Init(), r.Info())
				}
				if len(r.Index()) != n {
					t.Fatalf("%d entries", len(r.Index()))
				}
				buf := []byte("kept")
				for i, e := range r.Index() {
					if buf, err = r.Fragment(buf[:4], i); err != nil {
						t.Fatal(err)
					}
					if string(buf[:4]) != "kept" || !bytes.Equal(buf[4:], m.fragments[i]) {
						t.Errorf("fragment %d is another", i)
					}
					if e.RandomAccess != (i%8 == 0) || e.Tracks[0].Units != 5 || e.Duration != 18000 || e.Lost != uint32(i%2) {
						t.Errorf("entry %d: %+v", i, e)
					}
				}
				if err := Verify(bytes.NewReader(m.file), m.summary.Sealed); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestDigests compares both digests with a second way of making them.
func TestDigests(t *testing.T) {
	m := build(testInfo, 23, 2, nil)
	if got := sha256.Sum256(m.file[:len(m.file)-32]); got != m.summary.Sealed || !bytes.Equal(m.file[len(m.file)-32:], got[:]) {
		t.Errorf("sealed digest %x, want %x", m.summary.Sealed, got)
	}
	for i, leaves := range m.leaves {
		var hashes []tlog.Hash
		read := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
			for _, x := range indexes {
				list = append(list, hashes[x])
			}
			return list, nil
		})
		for k, leaf := range leaves {
			hashes = append(hashes, must(tlog.StoredHashes(int64(k), leaf, read))...)
		}
		want := must(tlog.TreeHash(int64(len(leaves)), read))
		if d := m.summary.Tracks[i]; d.Root != want || d.Leaves != len(leaves) {
			t.Errorf("track %d: %d leaves, root %x; want %d, %x", i+1, d.Leaves, d.Root, len(leaves), want)
		}
	}
	for n, r := range m.running {
		if want := sha256.Sum256(m.file[:m.ends[n]]); r.Sealed != want || r.Records != n || r.Bytes != int64(m.ends[n]) {
			t.Errorf("running after %d: %+v", n, r)
		}
	}
}

// TestLive reads a file that has no end yet.
func TestLive(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	w := NewWriter(testInfo, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
	file := must(w.Init(w.Header(nil), testTracks, nil))
	for i := range 5 {
		b := batch(i, random)
		file = must(w.Append(file, b))
		r, err := OpenLive(bytes.NewReader(file), w.Entries(0), unwrap)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Fragment(nil, i)
		if err != nil || !bytes.Equal(got, b.Fragment) {
			t.Fatalf("fragment %d: %v", i, err)
		}
		if s := r.Summary(); s.Records != i+1 || s.Bytes != int64(len(file)) || s.Start != testStart {
			t.Errorf("summary %+v", s)
		}
		if e := w.Entries(i); len(e) != 1 || e[0] != r.Index()[i] {
			t.Errorf("entries from %d: %+v", i, e)
		}
		b.Release()
	}
	if len(w.Entries(5)) != 0 || len(w.Entries(-1)) != 5 {
		t.Error("entries out of range")
	}
}

// TestRefusals has the writer refuse what the reader would not believe, and go
// on as if it had not been asked.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*media.Batch)
	}{
		{"no fragment", func(b *media.Batch) { b.Fragment = nil }},
		{"no units", func(b *media.Batch) { b.Units = b.Units[:0] }},
		{"unknown track", func(b *media.Batch) { b.Units[0].Track = 3 }},
		{"track 0", func(b *media.Batch) { b.Units[0].Track = 0 }},
		{"a track twice", func(b *media.Batch) { b.Units[2].Track = 2 }},
		{"before the epoch", func(b *media.Batch) { b.Units[0].DTS = -1 }},
		{"after the end of time", func(b *media.Batch) { b.Units[1].Arrived = maxNs + 1 }},
		{"long cause", func(b *media.Batch) { b.New = "a-cause-that-is-longer-than-its-place" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 1))
			w := NewWriter(testInfo, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
			file := must(w.Init(w.Header(nil), testTracks, nil))
			file = must(w.Append(file, batch(0, random)))
			bad := batch(1, random)
			tt.spoil(bad)
			was := w.Running()
			after, err := w.Append(file, bad)
			if !errors.Is(err, errBatch) || len(after) != len(file) || !reflect.DeepEqual(w.Running(), was) {
				t.Fatalf("got %v, %d bytes more", err, len(after)-len(file))
			}
			file = must(w.Append(file, batch(2, random)))
			file, s := w.Finish(file, media.CutLength)
			r, err := Open(bytes.NewReader(file), int64(len(file)), unwrap)
			if err != nil || !reflect.DeepEqual(r.Summary(), s) {
				t.Fatalf("%v", err)
			}
		})
	}
	if _, err := NewWriter(testInfo, testKey, testID, make([]byte, WrappedSize)).Init(nil, &media.Tracks{}, nil); err == nil {
		t.Error("a segment without tracks")
	}
}

// TestCameraClock: what a camera says of time never spoils a segment.
func TestCameraClock(t *testing.T) {
	for _, camera := range []int64{-5, 0, maxNs + 1} {
		b := batch(0, rand.New(rand.NewPCG(3, 1)))
		b.Units[0].Camera = camera
		w := NewWriter(testInfo, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
		file := must(w.Append(must(w.Init(w.Header(nil), testTracks, nil)), b))
		file, s := w.Finish(file, media.CutLength)
		if _, err := Open(bytes.NewReader(file), int64(len(file)), unwrap); err != nil || s.Offset.Known {
			t.Errorf("camera clock %d: %v, %+v", camera, err, s.Offset)
		}
	}
}

func TestFull(t *testing.T) {
	w := NewWriter(testInfo, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
	file := must(w.Init(w.Header(nil), testTracks, nil))
	b := batch(0, rand.New(rand.NewPCG(3, 1)))
	w.number = MaxRecords + 1
	if _, err := w.Append(file, b); err != ErrFull {
		t.Errorf("after MaxRecords: %v", err)
	}
	w.number, w.size = 1, MaxSize-maxIndex
	if _, err := w.Append(file, b); err != ErrFull {
		t.Errorf("at MaxSize: %v", err)
	}
}

// TestAppendAllocatesNothing is the promise of the write path.
func TestAppendAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("a race build's sync.Pool throws things away on purpose: counted by make test")
	}
	w := NewWriter(testInfo, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
	must(w.Init(w.Header(nil), testTracks, nil))
	b, dst := batch(0, rand.New(rand.NewPCG(3, 1))), make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(200, func() { must(w.Append(dst, b)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	m := build(testInfo, 3, 1, nil)
	r := must(m.open())
	if n := testing.AllocsPerRun(200, func() { must(r.Fragment(dst, 1)) }); n != 0 {
		t.Errorf("reading: %v allocations", n)
	}
}
