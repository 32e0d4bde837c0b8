package fmp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"vigil/internal/media"
)

// A reel is a movie in memory.
type reel struct {
	t       *testing.T
	m       *Movie
	payload []byte
}

func (r *reel) add(tracks []media.Track, units []media.Unit) error {
	_, fragment := frame(r.t, units)
	var f Fragment
	if err := f.Parse(fragment); err != nil {
		r.t.Fatal(err)
	}
	at := int64(len(MovieHead(0)) + len(r.payload))
	r.payload = append(r.payload, fragment[f.Payload:]...)
	return r.m.Add(tracks, &f, at)
}

func (r *reel) file() ([]byte, []Jump) {
	moov, jumps, err := r.m.Tables()
	if err != nil {
		r.t.Fatal(err)
	}
	return append(append(MovieHead(int64(len(r.payload))), r.payload...), moov...), jumps
}

// pictures are n of them from a time on, 40 ms apart, the first decodable.
func pictures(at media.Ticks, n int) (units []media.Unit) {
	for i := range n {
		units = append(units, media.Unit{Track: 1, RandomAccess: i == 0, DTS: at + media.Ticks(i)*3600, Arrived: 1, Data: []byte{1, byte(i)}})
	}
	return units
}

// sounds are n of them, 20 ms apart.
func sounds(at media.Ticks, n int) (units []media.Unit) {
	for i := range n {
		units = append(units, media.Unit{Track: 2, RandomAccess: true, DTS: at + media.Ticks(i)*1800, Arrived: 1, Data: []byte{2, byte(i)}})
	}
	return units
}

const second = media.Ticks(media.TicksPerSecond)

// TestMovie has another maker's reader tell the samples of each track: their
// durations, and the edit.
func TestMovie(t *testing.T) {
	far := epoch + 3600*second
	type track struct {
		durations []uint32
		offset    int32 // of the edit: where the track begins in the movie, ticks
	}
	tests := []struct {
		name     string
		from, to media.Ticks
		batches  [][]media.Unit
		want     []track
		jumps    []Jump
	}{
		{"one after the other", 0, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch+7200, 2)},
			[]track{{[]uint32{3600, 3600, 3600, 3600}, 0}}, nil},
		{"the guess of a last duration is corrected", 0, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch+7300, 2)},
			[]track{{[]uint32{3600, 3700, 3600, 3600}, 0}}, nil},
		{"a short hole stays", 0, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch+7200+second, 2)},
			[]track{{[]uint32{3600, 93600, 3600, 3600}, 0}}, nil},
		{"a long hole is closed", 0, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch+7201+second, 2)},
			[]track{{[]uint32{3600, 3600, 3600, 3600}, 0}}, []Jump{{7200, epoch + 7200, epoch + 7201 + second}}},
		{"a clock set back", 0, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch-600*second, 2)},
			[]track{{[]uint32{3600, 3600, 3600, 3600}, 0}}, []Jump{{7200, epoch + 7200, epoch - 600*second}}},
		{"the end asked for", 0, epoch + 3*3600, [][]media.Unit{pictures(epoch, 2), pictures(epoch+7200, 2)},
			[]track{{[]uint32{3600, 3600, 3600}, 0}}, nil},
		{"the start asked for", epoch + 3600, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch+7200, 2)},
			[]track{{[]uint32{3600, 3600, 3600, 3600}, -3600}}, nil},
		{"reordered pictures begin with the first shown", 0, far, [][]media.Unit{testUnits(epoch)[:3]},
			[]track{{[]uint32{3000, 3100, 3100}, -6000}}, nil},
		{"sound begins before the picture", 0, far, [][]media.Unit{append(pictures(epoch+900, 2), sounds(epoch, 4)...)},
			[]track{{[]uint32{3600, 3600}, 0}, {[]uint32{1800, 1800, 1800, 1800}, -900}}, nil},
		{"sound begins after the picture", 0, far, [][]media.Unit{pictures(epoch, 2), append(pictures(epoch+7200, 2), sounds(epoch+7300, 4)...)},
			[]track{{[]uint32{3600, 3600, 3600, 3600}, 0}, {[]uint32{1800, 1800, 1800, 1800}, 7300}}, nil},
		{"sound and picture jump together", 0, far, [][]media.Unit{append(pictures(epoch, 2), sounds(epoch, 3)...), append(pictures(epoch+9*second+30, 2), sounds(epoch+9*second, 3)...)},
			[]track{{[]uint32{3600, 3630, 3600, 3600}, 0}, {[]uint32{1800, 1800, 3600, 1800, 1800, 1800}, 0}}, []Jump{{7200, epoch + 7200, epoch + 9*second}}},
		{"a jump behind the hidden beginning", epoch + 3600, far, [][]media.Unit{pictures(epoch, 2), pictures(epoch+9*second, 2)},
			[]track{{[]uint32{3600, 3600, 3600, 3600}, -3600}}, []Jump{{3600, epoch + 7200, epoch + 9*second}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := reel{t: t, m: NewMovie(tt.from, tt.to)}
			var sent [2][]media.Unit
			for _, units := range tt.batches {
				if err := r.add(testTracks, units); err != nil {
					t.Fatal(err)
				}
				for _, u := range units {
					sent[u.Track-1] = append(sent[u.Track-1], u)
				}
			}
			file, jumps := r.file()
			var p pmp4.Presentation
			if err := p.Unmarshal(bytes.NewReader(file)); err != nil {
				t.Fatalf("peer: %v", err)
			}
			if len(p.Tracks) != len(tt.want) {
				t.Fatalf("%d tracks", len(p.Tracks))
			}
			for i, track := range p.Tracks {
				var durations []uint32
				for k, s := range track.Samples {
					durations = append(durations, s.Duration)
					u := sent[i][k]
					if got, err := s.GetPayload(); err != nil || !bytes.Equal(got, u.Data) || s.IsNonSyncSample == u.RandomAccess { // ctts it reads in version 1 only
						t.Errorf("track %d sample %d: %q %+v, want %+v", i+1, k, got, s, u)
					}
				}
				if offset := edit(file, i); !reflect.DeepEqual(durations, tt.want[i].durations) || offset != tt.want[i].offset {
					t.Errorf("track %d: durations %v, offset %d, want %+v", i+1, durations, offset, tt.want[i])
				}
			}
			if !reflect.DeepEqual(jumps, tt.jumps) {
				t.Errorf("jumps %+v, want %+v", jumps, tt.jumps)
			}
		})
	}
}

// edit reads where a track begins in the movie from its edit list; the peer
// does not.
func edit(file []byte, track int) int32 {
	for range track + 1 {
		file = file[bytes.Index(file, []byte("elst"))+4:]
	}
	if n := binary.BigEndian.Uint32(file[4:]); n == 2 {
		return int32(binary.BigEndian.Uint64(file[8:])) // waits, and then must begin at 0
	}
	return -int32(binary.BigEndian.Uint64(file[16:]))
}

// TestMovieOffsets: a movie beyond 4 GiB has offsets of 64 bits.
func TestMovieOffsets(t *testing.T) {
	for name, base := range map[string]int64{"stco": 1<<32 - 1, "co64": 1 << 32} {
		_, fragment := frame(t, pictures(epoch, 2))
		var f Fragment
		m := NewMovie(0, epoch*2)
		if err := f.Parse(fragment); err != nil {
			t.Fatal(err)
		}
		if err := m.Add(testTracks, &f, base); err != nil {
			t.Fatal(err)
		}
		moov, _, err := m.Tables()
		if i := bytes.Index(moov, []byte(name)); err != nil || i < 0 || moov[i+11] != 1 {
			t.Errorf("%d: no %s, %v", base, name, err)
		}
	}
}

// TestMovieRefusesOthers: what an encoder changed needs another file.
func TestMovieRefusesOthers(t *testing.T) {
	for name, change := range map[string]func(*media.Track){
		"codec":         func(t *media.Track) { t.Codec = media.H265 },
		"size":          func(t *media.Track) { t.Width++ },
		"configuration": func(t *media.Track) { t.Config = []byte{1} },
	} {
		r := reel{t: t, m: NewMovie(0, epoch+second)}
		other := append([]media.Track(nil), testTracks...)
		change(&other[0])
		if err := r.add(testTracks, pictures(epoch, 2)); err != nil {
			t.Fatal(err)
		}
		if err := r.add(other, pictures(epoch+7200, 2)); !errors.Is(err, ErrOther) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// TestMovieBounds: tables do not grow without end.
func TestMovieBounds(t *testing.T) {
	r := reel{t: t, m: NewMovie(0, epoch+second)}
	if _, _, err := r.m.Tables(); err == nil {
		t.Error("a movie of nothing")
	}
	r.m.count = MaxSamples - 1
	if err := r.add(testTracks, pictures(epoch, 2)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := r.add(testTracks[:1], sounds(epoch, 1)); err == nil {
		t.Error("samples of a track that is not there")
	}
}

// BenchmarkMovie is the cost of a fragment's tables.
func BenchmarkMovie(b *testing.B) {
	_, fragment := frame(b, pictures(epoch, 6))
	var f Fragment
	m := NewMovie(0, epoch*2)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Parse(fragment); err != nil {
			b.Fatal(err)
		}
		for i := range f.Parts[0].Samples {
			f.Parts[0].Samples[i].DTS += m.end - epoch
		}
		if m.count > MaxSamples/2 {
			m = NewMovie(0, epoch*2)
		}
		if err := m.Add(testTracks, &f, 0); err != nil {
			b.Fatal(err)
		}
	}
}
