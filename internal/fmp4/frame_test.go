package fmp4

import (
	"bytes"
	"testing"

	peer "github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"vigil/internal/media"
)

var testTracks = []media.Track{
	{
		Number: 1, Codec: media.H264, Codecs: "avc1.42c01e", Width: 320, Height: 240,
		Config: []byte("\x01\x42\xc0\x1e\xff\xe1\x00\x17\x67\x42\xc0\x1e\x92\x54\x0a\x0f\xd8\x08\x80\x00\x00\x03\x00\x80\x00\x00\x0c\x87\x8b\x17\x50\x01\x00\x04\x68\xce\x0f\xc8"),
	},
	{Number: 2, Codec: media.AAC, Codecs: "mp4a.40.2", SampleRate: 48000, Channels: 2, Config: []byte{0x11, 0x90}},
}

func testBatch(tracks *media.Tracks, units []media.Unit) *media.Batch {
	n := 0
	for _, u := range units {
		n += len(u.Data)
	}
	b := media.NewBatch(n)
	at := 0
	for i := range units {
		m := copy(b.Payload()[at:], units[i].Data)
		units[i].Data = b.Payload()[at : at+m]
		at += m
	}
	b.Tracks, b.Units = tracks, append(b.Units, units...)
	return b
}

// TestFragmentReadsBack has another maker's reader say what is in the boxes.
func TestFragmentReadsBack(t *testing.T) {
	init, err := Init(testTracks)
	if err != nil {
		t.Fatal(err)
	}
	var in peer.Init
	if err := in.Unmarshal(bytes.NewReader(init)); err != nil {
		t.Fatalf("peer on init: %v", err)
	}
	if len(in.Tracks) != 2 || in.Tracks[0].TimeScale != media.TicksPerSecond {
		t.Fatalf("peer sees %+v", in.Tracks)
	}

	const start = media.Ticks(1_900_000_000 * media.TicksPerSecond)
	const at = 1_900_000_000 * int64(1e9)
	tests := []struct {
		name  string
		units []media.Unit
		want  [][]peer.Sample
	}{
		{
			"one picture", []media.Unit{{Track: 1, RandomAccess: true, DTS: start, Arrived: at, Data: []byte("idr")}},
			[][]peer.Sample{{{Duration: 3600, Payload: []byte("idr")}}},
		},
		{
			"pictures and sound, the camera's clock, reordering", []media.Unit{
				{Track: 1, RandomAccess: true, DTS: start, CTO: 6000, Arrived: at, Camera: at + 5, Data: []byte("idr")},
				{Track: 1, DTS: start + 3000, CTO: 9000, Arrived: at, Data: []byte("p")},
				{Track: 2, RandomAccess: true, DTS: start + 10, Arrived: at, Data: []byte("sound")},
				{Track: 2, RandomAccess: true, DTS: start + 1930, Arrived: at, Data: []byte("more")},
			},
			[][]peer.Sample{
				{{Duration: 3000, PTSOffset: 6000, Payload: []byte("idr")}, {Duration: 3000, PTSOffset: 9000, IsNonSyncSample: true, Payload: []byte("p")}},
				{{Duration: 1920, Payload: []byte("sound")}, {Duration: 1920, Payload: []byte("more")}},
			},
		},
		{
			"sound alone", []media.Unit{{Track: 2, RandomAccess: true, DTS: start, Arrived: at, Data: []byte("sound")}},
			[][]peer.Sample{{{Duration: 1920, Payload: []byte("sound")}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := testBatch(&media.Tracks{List: testTracks, Init: init}, tt.units)
			defer b.Release()
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			if err := Frame(b); err != nil {
				t.Fatal(err)
			}
			var parts peer.Parts
			if err := parts.Unmarshal(b.Fragment); err != nil {
				t.Fatalf("peer: %v", err)
			}
			if len(parts) != 1 || len(parts[0].Tracks) != len(tt.want) {
				t.Fatalf("peer sees %d parts", len(parts))
			}
			for i, track := range parts[0].Tracks {
				if i == 0 && track.BaseTime != uint64(start) {
					t.Errorf("base time %d, want %d", track.BaseTime, start)
				}
				for j, s := range track.Samples {
					w := tt.want[i][j]
					if s.Duration != w.Duration || s.PTSOffset != w.PTSOffset || s.IsNonSyncSample != w.IsNonSyncSample || !bytes.Equal(s.Payload, w.Payload) {
						t.Errorf("track %d sample %d: got %+v, want %+v", i, j, *s, w)
					}
				}
			}
		})
	}
}

// TestSlowCamera has one picture a batch: its duration is the distance to the
// one before, not a guess.
func TestSlowCamera(t *testing.T) {
	tracks := &media.Tracks{List: testTracks}
	for i, want := range []uint32{3600, 90000, 90000} {
		b := testBatch(tracks, []media.Unit{{Track: 1, RandomAccess: true, DTS: media.Ticks(1000 + i*90000), Data: []byte("x")}})
		if err := Frame(b); err != nil {
			t.Fatal(err)
		}
		var parts peer.Parts
		if err := parts.Unmarshal(b.Fragment); err != nil {
			t.Fatal(err)
		}
		if got := parts[0].Tracks[0].Samples[0].Duration; got != want {
			t.Errorf("picture %d lasts %d ticks, want %d", i, got, want)
		}
		b.Release()
	}
}

// TestLargestHead frames the batch with the most units and tracks.
func TestLargestHead(t *testing.T) {
	var units []media.Unit
	for i := range media.MaxUnits {
		units = append(units, media.Unit{Track: 1 + uint8(i*2/media.MaxUnits), RandomAccess: i == 0 || i*2 >= media.MaxUnits, DTS: media.Ticks(i), CTO: 1, Camera: 1, Data: []byte{1}})
	}
	b := testBatch(&media.Tracks{List: testTracks}, units)
	defer b.Release()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if err := Frame(b); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkFrame(b *testing.B) {
	batch := testBatch(&media.Tracks{List: testTracks}, []media.Unit{
		{Track: 1, RandomAccess: true, DTS: 1, Data: make([]byte, 50000)}, {Track: 1, DTS: 2, Data: make([]byte, 9000)},
		{Track: 1, DTS: 3, Data: make([]byte, 9000)}, {Track: 1, DTS: 4, Data: make([]byte, 9000)},
	})
	b.ReportAllocs()
	for b.Loop() {
		if err := Frame(batch); err != nil {
			b.Fatal(err)
		}
	}
}
