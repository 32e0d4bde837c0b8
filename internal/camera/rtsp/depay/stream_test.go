package depay

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/pion/rtp"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// interleaved reads the RTP packets of a channel out of a TCP stream.
func interleaved(tb testing.TB, name string, channel byte) []*rtp.Packet {
	b := read(tb, "rtp/"+name)
	if i := bytes.Index(b, []byte("\r\n\r\n")); bytes.HasPrefix(b, []byte("RTSP/")) {
		b = b[i+4:]
	}
	var out []*rtp.Packet
	for len(b) >= 4 && b[0] == '$' {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			break
		}
		if b[1] == channel {
			p := &rtp.Packet{}
			if err := p.Unmarshal(b[4 : 4+n]); err != nil {
				tb.Fatal(err)
			}
			out = append(out, p)
		}
		b = b[4+n:]
	}
	return out
}

// ours makes packets of pion's, with gaps in the sequence numbers counted.
func ours(in []*rtp.Packet) []Packet {
	var out []Packet
	for i, p := range in {
		lost := 0
		if i > 0 {
			lost = int(p.SequenceNumber - in[i-1].SequenceNumber - 1)
		}
		out = append(out, Packet{Payload: p.Payload, Time: p.Timestamp, Marker: p.Marker, Lost: lost})
	}
	return out
}

// TestRecordedH264 compares with gortsplib's decoder over recorded streams.
func TestRecordedH264(t *testing.T) {
	for _, c := range []struct {
		name          string
		channel       byte
		width, height int
	}{{"hikvision-substream-interleaved.bin", 0, 640, 480}, {"retina-bunny-interleaved.rtsp.bin", 2, 240, 160}} {
		pkts := interleaved(t, c.name, c.channel)
		if len(pkts) < 20 {
			t.Fatalf("%s: %d packets", c.name, len(pkts))
		}
		var want []au
		dec := &rtph264.Decoder{PacketizationMode: 1}
		if err := dec.Init(); err != nil {
			t.Fatal(err)
		}
		for _, p := range pkts {
			if nals, err := dec.Decode(p); err == nil {
				want = append(want, au{nals: nals, pts: int64(p.Timestamp)})
			}
		}
		got := run(t, newVideo(t, media.H264), ours(pkts))
		n := 0
		for _, u := range want {
			nals := kept(media.H264, u.nals)
			if len(nals) == 0 {
				continue // Hikvision: parameter sets with a marker
			}
			if n == len(got) {
				t.Fatalf("%s: only %d units", c.name, n)
			}
			if !equalNALs(got[n].nals, nals) || uint32(got[n].PTS) != uint32(u.pts) {
				t.Fatalf("%s unit %d: %s at %d, want %s at %d", c.name, n, heads(got[n].nals), got[n].PTS, heads(nals), u.pts)
			}
			n++
		}
		if n != len(got) || got[0].Track.Width != c.width || got[0].Track.Height != c.height {
			t.Errorf("%s: %d units, want %d; %+v", c.name, len(got), n, got[0].Track)
		}
		for i, u := range got {
			if u.Lost > 0 || u.PTS != u.DTS {
				t.Errorf("%s unit %d: %+v", c.name, i, u.Unit)
			}
		}
	}
}

// TestRecordedAAC compares with gortsplib's decoder over a recorded stream.
func TestRecordedAAC(t *testing.T) {
	pkts := interleaved(t, "retina-bunny-interleaved.rtsp.bin", 0)
	dec := &rtpmpeg4audio.Decoder{SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	if err := dec.Init(); err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for _, p := range pkts {
		aus, err := dec.Decode(p)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, aus...)
	}
	d := newAACFor(t, "\x14\x90", 12000)
	got := run(t, d, ours(pkts))
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i, u := range got {
		if !bytes.Equal(u.Data, want[i]) || !u.RandomAccess {
			t.Fatalf("frame %d differs", i)
		}
		if i > 0 && u.PTS-got[i-1].PTS != 1024 {
			t.Errorf("frame %d at %d after %d", i, u.PTS, got[i-1].PTS)
		}
	}
	if tr := got[0].Track; tr.SampleRate != 12000 || tr.Channels != 2 || tr.Codecs != "mp4a.40.2" {
		t.Errorf("%+v", tr)
	}
}

func newAACFor(tb testing.TB, config string, clock int) Depacketizer {
	tb.Helper()
	d, err := New(sdp.Media{Codec: media.AAC, ClockRate: clock, AAC: sdp.AAC{Config: []byte(config), SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
