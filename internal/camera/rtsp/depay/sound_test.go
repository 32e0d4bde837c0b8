package depay

import (
	"bytes"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpfragmented"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

func texts(rs []result) (out []string) {
	for _, r := range rs {
		out = append(out, string(r.Data))
	}
	return out
}

// auPacket is an RFC 3640 packet of AAC-hbr; sizes are those of the headers.
func auPacket(n int, marker bool, sizes []int, data string) Packet {
	b := []byte{0, byte(16 * len(sizes))}
	for _, s := range sizes {
		b = append(b, byte(s>>5), byte(s<<3))
	}
	return Packet{Payload: append(b, data...), Time: uint32(n * 1024), Marker: marker, Arrived: int64(n)}
}

func TestAAC(t *testing.T) {
	adts := string([]byte{0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc}) + "ab"
	cases := []struct {
		name string
		pkts []Packet
		want []string
		lost uint32 // before the last
	}{
		{"single", []Packet{auPacket(0, true, []int{3}, "abc"), auPacket(1, true, []int{2}, "de")}, []string{"abc", "de"}, 0},
		{"several", []Packet{auPacket(0, true, []int{3, 2, 1}, "abcdef")}, []string{"abc", "de", "f"}, 0},
		{"fragments by the whole size", []Packet{auPacket(0, false, []int{7}, "abc"), auPacket(0, false, []int{7}, "de"), auPacket(0, true, []int{7}, "fg"), auPacket(1, true, []int{1}, "h")}, []string{"abcdefg", "h"}, 0},
		{"fragments by their own size", []Packet{auPacket(0, false, []int{3}, "abc"), auPacket(0, true, []int{2}, "de"), auPacket(1, true, []int{1}, "h")}, []string{"abcde", "h"}, 0},
		{"no markers", []Packet{auPacket(0, false, []int{3}, "abc"), auPacket(1, false, []int{2}, "de"), auPacket(2, false, []int{2}, "fg")}, []string{"abc", "de", "fg"}, 0},
		{"lost fragment", []Packet{auPacket(0, true, []int{1}, "x"), auPacket(1, false, []int{7}, "abc"), lose(1, auPacket(1, true, []int{7}, "fg")), auPacket(2, true, []int{1}, "h")}, []string{"x", "h"}, 2},
		{"lost", []Packet{auPacket(0, true, []int{1}, "x"), lose(3, auPacket(4, true, []int{1}, "h"))}, []string{"x", "h"}, 3},
		{"ADTS", []Packet{auPacket(0, true, []int{9}, adts), auPacket(1, true, []int{9, 9}, adts+adts)}, []string{"ab", "ab", "ab"}, 0},
		{"padding", []Packet{auPacket(0, true, []int{3}, "abc\x00\x00"), auPacket(1, true, []int{0, 1}, "d")}, []string{"abc", "d"}, 0},
		{"too short", []Packet{auPacket(0, true, []int{1}, "x"), auPacket(1, true, []int{1, 9}, "a"), {Payload: []byte{0}}, {Payload: []byte{0, 0, 1}}, {Payload: []byte{1, 0, 1}}, {}, auPacket(2, true, []int{1}, "h")}, []string{"x", "a", "h"}, 4},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, newAACFor(t, "\x11\x90", 48000), c.pkts)
			if want := c.want; len(got) != len(want) {
				t.Fatalf("%q, want %q", texts(got), want)
			}
			for i, u := range got {
				if string(u.Data) != c.want[i] || !u.RandomAccess || u.PTS != u.DTS {
					t.Errorf("frame %d: %q %+v", i, u.Data, u.Unit)
				}
			}
			if lost := got[len(got)-1].Lost; lost != c.lost {
				t.Errorf("%d lost, want %d", lost, c.lost)
			}
		})
	}
	got := run(t, newAACFor(t, "\x11\x90", 48000), []Packet{auPacket(5, true, []int{1, 1, 1}, "abc")})
	if got[2].PTS != 7*1024 {
		t.Errorf("%d", got[2].PTS)
	}
}

// TestAACLow is AAC-lbr (headers of 6 and 2 bits), and frames of constant size.
func TestAACLow(t *testing.T) {
	d, err := New(sdp.Media{Codec: media.AAC, ClockRate: 8000, AAC: sdp.AAC{Config: []byte{0x15, 0x88}, SizeLength: 6, IndexLength: 2, IndexDeltaLength: 2}})
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, d, []Packet{{Payload: []byte{0, 16, 3 << 2, 2 << 2, 'a', 'b', 'c', 'd', 'e'}, Marker: true}})
	if len(got) != 2 || string(got[0].Data) != "abc" || string(got[1].Data) != "de" {
		t.Errorf("%q", texts(got))
	}
	d, err = New(sdp.Media{Codec: media.AAC, ClockRate: 8000, AAC: sdp.AAC{Config: []byte{0x15, 0x88}, ConstantSize: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, d, []Packet{{Payload: []byte("abcd"), Marker: true}, {Payload: []byte("abc")}}); len(got) != 2 || string(got[1].Data) != "cd" {
		t.Errorf("%q", texts(got))
	}
}

// TestAACEncoder takes apart what gortsplib's encoder makes.
func TestAACEncoder(t *testing.T) {
	e := &rtpmpeg4audio.Encoder{PayloadType: 96, PayloadMaxSize: 100, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	if err := e.Init(); err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i := range 40 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, 1+i*i%300))
	}
	pkts, err := e.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, newAACFor(t, "\x11\x90", 48000), ours(pkts))
	if len(got) != len(want) {
		t.Fatalf("%d frames of %d", len(got), len(want))
	}
	for i, u := range got {
		if !bytes.Equal(u.Data, want[i]) {
			t.Errorf("frame %d: %d bytes, want %d", i, len(u.Data), len(want[i]))
		}
	}
}

func TestASC(t *testing.T) {
	for _, c := range []struct {
		config   string
		codecs   string
		rate, ch int
	}{
		{"\x11\x90", "mp4a.40.2", 48000, 2},
		{"\x14\x08", "mp4a.40.2", 16000, 1},
		{"\x11\x88\x56\xe5\x00", "mp4a.40.2", 48000, 1}, // LiveReporter: SBR told behind
		{"\x2b\x11\x88\x00", "mp4a.40.5", 48000, 2},     // explicit SBR, 24 kHz core
		{"\xeb\x09\x88\x00", "mp4a.40.29", 48000, 2},
		{"\xf8\xe8\x50\x00", "mp4a.40.39", 44100, 2}, // ELD
		{"\x11\xb8", "mp4a.40.2", 48000, 8},
		{"\x11\x80", "mp4a.40.2", 48000, 1}, // channels in the stream
		{"", "", 0, 0}, {"\x11", "", 0, 0}, {"\x00\x00", "", 0, 0}, {"\x17\x90", "", 0, 0}, {"\xff\xff\xff", "", 0, 0}, {"\x41\x90", "", 0, 0},
	} {
		tr, _, ok := aacTrack([]byte(c.config), 0)
		if !ok {
			if c.codecs != "" {
				t.Errorf("%x is refused", c.config)
			}
			continue
		}
		if tr.Codecs != c.codecs || tr.SampleRate != c.rate || tr.Channels != c.ch {
			t.Errorf("%x: %+v", c.config, tr)
		}
	}
}

func TestLATM(t *testing.T) {
	mux := &mpeg4audio.StreamMuxConfig{Programs: []*mpeg4audio.StreamMuxConfigProgram{{Layers: []*mpeg4audio.StreamMuxConfigLayer{{
		AudioSpecificConfig: &mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 44100, ChannelConfig: 2, ChannelCount: 2}, LatmBufferFullness: 255,
	}}}}}
	config, err := mux.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, inBand := range []bool{false, true} {
		m := sdp.Media{Codec: media.AAC, ClockRate: 44100, Channels: 2, AAC: sdp.AAC{LATM: true}, Params: map[string]string{}}
		if !inBand {
			m.Params["cpresent"] = "0"
			m.AAC.MuxConfig = append(config, 0)
		}
		d, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		e := &rtpfragmented.Encoder{PayloadType: 96, PayloadMaxSize: 50}
		if err := e.Init(); err != nil {
			t.Fatal(err)
		}
		var pkts []Packet
		var want [][]byte
		for i := range 10 {
			frame := bytes.Repeat([]byte{byte('a' + i)}, 10+i*20)
			el := mpeg4audio.AudioMuxElement{MuxConfigPresent: inBand, StreamMuxConfig: mux, UseSameStreamMux: inBand && i%3 != 0, Payloads: [][][][]byte{{{frame}}}}
			b, err := el.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			ps, err := e.Encode(b)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range ps {
				p.Timestamp = uint32(i * 1024)
			}
			pkts = append(pkts, ours(ps)...)
			want = append(want, frame)
		}
		pkts = append(pkts, Packet{Payload: []byte{0xff}, Time: 20 * 1024, Marker: true}) // nonsense
		got := run(t, d, pkts)
		if len(got) != len(want) {
			t.Fatalf("in band %v: %d frames of %d", inBand, len(got), len(want))
		}
		for i, u := range got {
			if !bytes.Equal(u.Data, want[i]) || u.PTS != int64(i*1024) || (u.Track != nil) != (i == 0) {
				t.Errorf("in band %v, frame %d: %q %+v", inBand, i, u.Data, u.Unit)
			}
		}
		if tr := d.Track(); tr.SampleRate != 44100 || tr.Channels != 2 || tr.Codecs != "mp4a.40.2" {
			t.Errorf("%+v", tr)
		}
	}
	if _, err := New(sdp.Media{Codec: media.AAC, ClockRate: 44100, AAC: sdp.AAC{LATM: true}, Params: map[string]string{"cpresent": "0"}}); err == nil {
		t.Error("LATM without a configuration is taken")
	}
}

func TestPlain(t *testing.T) {
	for _, m := range []sdp.Media{
		{Codec: media.PCMA, ClockRate: 8000, Channels: 1}, {Codec: media.PCMU, ClockRate: 16000, Channels: 2}, {Codec: media.Opus, ClockRate: 48000, Channels: 2},
	} {
		d, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		got := run(t, d, []Packet{{Payload: []byte("abc"), Time: 100}, {Time: 200}, {Payload: []byte("de"), Time: 300, Lost: 2}})
		if len(got) != 2 || string(got[1].Data) != "de" || got[1].PTS != 300 || got[1].Lost != 2 || !got[1].RandomAccess || got[0].Track == nil || got[1].Track != nil {
			t.Errorf("%v: %+v", m.Codec, got)
		}
		tr := *got[0].Track
		tr.Number = 2
		if err := tr.Check(); err != nil || tr.SampleRate != m.ClockRate || tr.Channels != m.Channels || d.ClockRate() != m.ClockRate {
			t.Errorf("%+v, %v", tr, err)
		}
		if m.Codec == media.Opus && (len(tr.Config) != 11 || tr.Codecs != "opus") {
			t.Errorf("%x", tr.Config)
		}
	}
}
