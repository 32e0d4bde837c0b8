package fmp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"vigil/internal/media"
)

const epoch = media.Ticks(1_900_000_000 * media.TicksPerSecond)

// testUnits is a quarter second from a time on: pictures that are reordered,
// and sound.
func testUnits(at media.Ticks) []media.Unit {
	return []media.Unit{
		{Track: 1, RandomAccess: true, DTS: at, CTO: 6000, Arrived: 1, Camera: 5, Data: []byte("first picture")},
		{Track: 1, DTS: at + 3000, CTO: 9000, Arrived: 1, Data: []byte("second")},
		{Track: 1, DTS: at + 6100, CTO: 0, Arrived: 1, Data: []byte("third picture")},
		{Track: 2, RandomAccess: true, DTS: at + 10, Arrived: 1, Data: []byte("sound")},
		{Track: 2, RandomAccess: true, DTS: at + 1930, Arrived: 1, Data: []byte("more")},
	}
}

func frame(t testing.TB, units []media.Unit) (*media.Batch, []byte) {
	b := testBatch(&media.Tracks{List: testTracks}, units)
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if err := Frame(b); err != nil {
		t.Fatal(err)
	}
	return b, bytes.Clone(b.Fragment)
}

// TestParse gives back what was framed.
func TestParse(t *testing.T) {
	var f Fragment
	for _, units := range [][]media.Unit{testUnits(epoch), testUnits(epoch)[:1], testUnits(epoch)[3:], testUnits(0)[:3]} {
		b, fragment := frame(t, units)
		if err := f.Parse(fragment); err != nil {
			t.Fatal(err)
		}
		i := 0
		for _, p := range f.Parts {
			for _, s := range p.Samples {
				u := b.Units[i]
				if p.Track != u.Track || s.DTS != u.DTS || s.CTO != u.CTO || s.Sync != u.RandomAccess || !bytes.Equal(fragment[s.Offset:s.Offset+s.Size], u.Data) {
					t.Errorf("unit %d: got track %d %+v, want %+v", i, p.Track, s, u)
				}
				i++
			}
		}
		if i != len(b.Units) || f.Payload != len(fragment)-len(b.Payload()) {
			t.Errorf("%d samples behind %d bytes, want %d", i, f.Payload, len(b.Units))
		}
	}
	for _, ahead := range []int64{0, -76e9, 1500e6, -1.9e18 + 1} { // the last is a camera that believes it is 1970
		units := testUnits(epoch)
		units[0].Arrived, units[0].Camera = 1.9e18, 1.9e18+ahead
		if _, fragment := frame(t, units); f.Parse(fragment) != nil || !f.Told || max(f.Ahead-ahead, ahead-f.Ahead) > 1 {
			t.Errorf("the camera's clock is %d ahead, read %d", ahead, f.Ahead)
		}
	}
	if _, fragment := frame(t, testUnits(epoch)[3:]); f.Parse(fragment) != nil || f.Told {
		t.Error("a clock that was not told")
	}
	_, fragment := frame(t, testUnits(epoch))
	if n := testing.AllocsPerRun(100, func() { f.Parse(fragment) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestParseRefuses has one mistake in each fragment.
func TestParseRefuses(t *testing.T) {
	_, good := frame(t, testUnits(epoch))
	box := func(b []byte, kind string) []byte { return b[bytes.Index(b, []byte(kind))-4:] }
	put := func(b []byte, at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }
	tests := []struct {
		name  string
		spoil func(b []byte) []byte
	}{
		{"nothing", func(b []byte) []byte { return nil }},
		{"cut short", func(b []byte) []byte { return b[:len(b)-1] }},
		{"something behind", func(b []byte) []byte { return append(b, "\x00\x00\x00\x08free"...) }},
		{"box of no size", func(b []byte) []byte { put(b, 0, 0); return b }},
		{"box larger than all", func(b []byte) []byte { put(b, 0, 1<<31); return b }},
		{"no moof", func(b []byte) []byte { copy(box(b, "moof")[4:], "free"); return b }},
		{"two moofs", func(b []byte) []byte { copy(box(b, "prft")[4:], "moof"); return b }},
		{"track 0", func(b []byte) []byte { put(box(b, "tfhd"), 12, 0); return b }},
		{"track 5", func(b []byte) []byte { put(box(b, "tfhd"), 12, 5); return b }},
		{"a track twice", func(b []byte) []byte { put(box(b, "tfhd"), 12, 2); return b }},
		{"base offset", func(b []byte) []byte { put(box(b, "tfhd"), 8, 1); return b }},
		{"decode time of 32 bits", func(b []byte) []byte { put(box(b, "tfdt"), 8, 0); return b }},
		{"end of time", func(b []byte) []byte { put(box(b, "tfdt"), 12, 1<<31); return b }},
		{"other flags", func(b []byte) []byte { put(box(b, "trun"), 8, 0x000301); return b }},
		{"no samples", func(b []byte) []byte { put(box(b, "trun"), 12, 0); return b }},
		{"more samples than rows", func(b []byte) []byte { put(box(b, "trun"), 12, 4); return b }},
		{"samples in the boxes", func(b []byte) []byte { put(box(b, "trun"), 16, 8); return b }},
		{"samples behind the end, offset within", func(b []byte) []byte { put(box(b, "trun"), 16, uint32(len(b))); return b }},
		{"samples behind the end", func(b []byte) []byte { put(box(b, "trun"), 16, 1<<20); return b }},
		{"offset that runs over", func(b []byte) []byte { put(box(b, "trun"), 16, 1<<32-1); return b }},
		{"no duration", func(b []byte) []byte { put(box(b, "trun"), 20, 0); return b }},
		{"size of 0", func(b []byte) []byte { put(box(b, "trun"), 24, 0); return b }},
		{"size behind the end", func(b []byte) []byte { put(box(b, "trun"), 24, 1<<31); return b }},
		{"unknown sample flags", func(b []byte) []byte { put(box(b, "trun"), 28, 1); return b }},
		{"negative offset", func(b []byte) []byte { put(box(b, "trun"), 32, 1<<31); return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f Fragment
			if err := f.Parse(tt.spoil(bytes.Clone(good))); !errors.Is(err, ErrParse) || f.Parts != nil {
				t.Errorf("got %v, %+v", err, f.Parts)
			}
		})
	}
}

// FuzzParse: whatever is parsed lies inside, in order, and can be framed
// again to the same samples.
func FuzzParse(f *testing.F) {
	for _, units := range [][]media.Unit{testUnits(epoch), testUnits(epoch)[:1], testUnits(epoch)[3:]} {
		_, fragment := frame(f, units)
		f.Add(fragment)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var x Fragment
		if err := x.Parse(b); err != nil {
			return
		}
		var units []media.Unit
		total := 0
		for _, p := range x.Parts {
			last := media.Ticks(-1)
			for _, s := range p.Samples {
				if s.Offset < x.Payload || s.Size <= 0 || s.Offset+s.Size > len(b) || s.DTS <= last {
					t.Fatalf("sample %+v after %d in %d bytes from %d", s, last, len(b), x.Payload)
				}
				last = s.DTS
				total += s.Size
				units = append(units, media.Unit{Track: p.Track, RandomAccess: s.Sync, DTS: s.DTS, CTO: s.CTO, Data: b[s.Offset : s.Offset+s.Size]})
			}
		}
		if total > 1<<20 { // parts may overlap: a multiple of the input
			return
		}
		again := testBatch(&media.Tracks{List: make([]media.Track, media.MaxTracks)}, units)
		for i := range again.Tracks.Pace {
			again.Tracks.Pace[i] = 1 // or a codec would be asked for a guess
		}
		if err := Frame(again); err != nil {
			t.Fatal(err)
		}
		var y Fragment
		if err := y.Parse(again.Fragment); err != nil {
			t.Fatalf("framed again: %v", err)
		}
	})
}
