package depay

import (
	"testing"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// bench pushes packets round and round; times go on.
func bench(b *testing.B, d Depacketizer, pkts []Packet, step uint32) {
	b.Helper()
	bytes, units, base := 0, 0, uint32(0)
	span := pkts[len(pkts)-1].Time - pkts[0].Time + step
	push := func() {
		for _, p := range pkts {
			p.Time += base
			us, _ := d.Push(p)
			units += len(us)
			bytes += len(p.Payload)
		}
		base += span
	}
	push() // buffers grow
	bytes, units = 0, 0
	b.ReportAllocs()
	for b.Loop() {
		push()
	}
	b.SetBytes(int64(bytes / b.N))
	if units == 0 {
		b.Fatal("nothing came out")
	}
}

func BenchmarkH264(b *testing.B) {
	bench(b, newVideo(b, media.H264), ours(interleaved(b, "hikvision-substream-interleaved.bin", 0)), 7200)
}

func BenchmarkH265(b *testing.B) {
	codec, aus := readMedia(b, "h26x-30-640x480-no-bframes.h265")
	bench(b, newVideo(b, codec), packetise(b, codec, aus, 1400, 1), 3000)
}

func BenchmarkAAC(b *testing.B) {
	bench(b, newAACFor(b, "\x14\x90", 12000), ours(interleaved(b, "retina-bunny-interleaved.rtsp.bin", 0)), 1024)
}

func BenchmarkG711(b *testing.B) {
	d, err := New(sdp.Media{Codec: media.PCMA, ClockRate: 8000, Channels: 1})
	if err != nil {
		b.Fatal(err)
	}
	bench(b, d, []Packet{{Payload: make([]byte, 160)}, {Payload: make([]byte, 160), Time: 160}}, 160)
}

func BenchmarkMJPEG(b *testing.B) {
	p := part(b, picture420(b, 640, 480))
	bench(b, newJPEG(b, 0, 0), jpegPackets(0, 1, 255, 80, 60, tableHeader(0, p.tables), p.scan, 1400), 3600)
}

// TestNoAllocation: H.264, H.265, AAC and G.711 allocate nothing in the steady
// state.
func TestNoAllocation(t *testing.T) {
	codec, aus := readMedia(t, "h26x-30-640x480-no-bframes.h265")
	g711, err := New(sdp.Media{Codec: media.PCMA, ClockRate: 8000, Channels: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		d    Depacketizer
		pkts []Packet
	}{
		"H264": {newVideo(t, media.H264), ours(interleaved(t, "hikvision-substream-interleaved.bin", 0))},
		"H265": {newVideo(t, codec), packetise(t, codec, aus, 1400, 1)},
		"AAC":  {newAACFor(t, "\x14\x90", 12000), ours(interleaved(t, "retina-bunny-interleaved.rtsp.bin", 0))},
		"G711": {g711, []Packet{{Payload: make([]byte, 160)}}},
	} {
		run := func() {
			for _, p := range c.pkts {
				c.d.Push(p)
			}
		}
		run()
		if n := testing.AllocsPerRun(10, run); n != 0 {
			t.Errorf("%s: %v allocations in %d packets", name, n, len(c.pkts))
		}
	}
}
