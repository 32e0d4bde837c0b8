package depay

import (
	"bytes"
	"encoding/binary"
	"testing"

	mch264 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	mch265 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/pion/rtp"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// packets reads the form of gortsplib's corpora: each packet behind its size, 4
// bytes little endian.
func packets(b []byte) []Packet {
	var out []Packet
	last := uint16(0)
	for len(b) >= 4 && len(out) < 500 {
		n := int(min(binary.LittleEndian.Uint32(b), uint32(len(b)-4)))
		var p rtp.Packet
		if p.Unmarshal(b[4:4+n]) == nil {
			lost := 0
			if len(out) > 0 && p.SequenceNumber != last+1 {
				lost = int(p.SequenceNumber-last-1) % 100
			}
			last = p.SequenceNumber
			q := Packet{Payload: p.Payload, Time: p.Timestamp, Marker: p.Marker, Lost: lost}
			if p.Extension && len(p.Extensions) > 0 {
				q.Extension = p.Payload
			}
			out = append(out, q)
		}
		b = b[4+n:]
	}
	return out
}

func serialise(pkts []Packet) []byte {
	var out []byte
	for i, p := range pkts {
		b, err := (&rtp.Packet{Header: rtp.Header{Version: 2, Marker: p.Marker, Timestamp: p.Time, SequenceNumber: uint16(i), PayloadType: 96}, Payload: p.Payload}).Marshal()
		if err != nil {
			panic(err)
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	return out
}

// hold checks what every depacketizer promises, whatever the packets are.
func hold(t *testing.T, d Depacketizer, pkts []Packet) {
	first := true
	check := func(units []Unit) {
		for _, u := range units {
			if first && u.Track == nil {
				t.Fatal("first unit without a track")
			}
			if u.Track != nil {
				tr := *u.Track
				tr.Number = 1
				if err := tr.Check(); err != nil {
					t.Fatal(err)
				}
				if u.Track != d.Track() && len(units) == 1 {
					t.Fatal("another track")
				}
			}
			if first && !u.RandomAccess || first && u.Lost > 0 {
				t.Fatalf("first unit %+v", u)
			}
			first = false
			if u.Lost > 0 && !u.RandomAccess {
				t.Fatal("loss is not followed by a random access unit")
			}
			if len(u.Data) == 0 || len(u.Data) > media.MaxUnit+maxFrame {
				t.Fatalf("%d bytes", len(u.Data))
			}
			if u.DTS > u.PTS || u.PTS-u.DTS > 10*90000 {
				t.Fatalf("decoded at %d, shown at %d", u.DTS, u.PTS)
			}
			if c := d.Track().Codec; c == media.H264 || c == media.H265 {
				unpack(t, u.Data)
			}
		}
	}
	for i, p := range pkts {
		units, err := d.Push(p)
		if _, ok := err.(*Error); err != nil && !ok {
			t.Fatal(err)
		}
		check(units)
		if i == 200 {
			check(d.Flush())
			d.Restart()
		}
	}
	check(d.Flush())
	check(d.Flush())
}

func fuzzVideo(f *testing.F, codec media.Codec, sets ...[]byte) {
	for _, name := range files {
		if c, aus := readMedia(f, name); c == codec {
			var small []au
			for _, u := range aus[:min(len(aus), 4)] {
				var nals [][]byte
				for _, n := range u.nals {
					nals = append(nals, n[:min(len(n), 200)])
				}
				small = append(small, au{nals: nals, pts: u.pts})
			}
			f.Add(serialise(packetise(f, codec, small, 100, 1)), true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, known bool) {
		if !known {
			sets = nil
		}
		hold(t, newVideo(t, codec, sets...), packets(b))
	})
}

func FuzzH264(f *testing.F) { fuzzVideo(f, media.H264, sps264a, pps264a) }

func FuzzH265(f *testing.F) { fuzzVideo(f, media.H265, vps265a, sps265a, pps265a) }

func FuzzProbe(f *testing.F) {
	f.Add(serialise([]Packet{raw(0, false, sps264a), raw(0, false, pps264a), pkt(0, true, idr264), pkt(1, true, p264)}))
	f.Add(serialise([]Packet{raw(0, false, vps265a), raw(0, false, sps265a), raw(0, false, pps265a), pkt(0, true, idr265)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := New(sdp.Media{ClockRate: 90000})
		if err != nil {
			t.Fatal(err)
		}
		hold(t, d, packets(b))
	})
}

func FuzzMJPEG(f *testing.F) {
	p := part(f, picture420(f, 64, 64))
	f.Add(serialise(jpegPackets(0, 65, 255, 8, 8, tableHeader(0, p.tables), p.scan, 400)), 0, 0)
	f.Add(serialise(jpegPackets(0, 1, 50, 0, 0, nil, p.scan, 400)), 4000, 3000)
	f.Fuzz(func(t *testing.T, b []byte, width, height int) {
		hold(t, newJPEG(t, width, height), packets(b))
	})
}

func FuzzAAC(f *testing.F) {
	f.Add(serialise([]Packet{auPacket(0, true, []int{3, 2}, "abcde"), auPacket(1, false, []int{7}, "abc"), auPacket(1, true, []int{7}, "defg")}), []byte{0x11, 0x90}, uint8(13), uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, b, config []byte, size, index, constant uint8) {
		d, err := New(sdp.Media{Codec: media.AAC, ClockRate: 48000, AAC: sdp.AAC{
			Config: config, SizeLength: int(size % 33), IndexLength: int(index % 33), IndexDeltaLength: int(index % 33), ConstantSize: int(constant)}})
		if err != nil {
			return
		}
		hold(t, d, packets(b))
	})
}

func FuzzLATM(f *testing.F) {
	f.Add([]byte{0x20, 0, 0x11, 0x90, 1, 2, 3}, []byte{0x40, 0, 0x24, 0x10, 0x3f, 0xc0}, true)
	f.Fuzz(func(t *testing.T, element, config []byte, inBand bool) {
		m := sdp.Media{Codec: media.AAC, ClockRate: 48000, AAC: sdp.AAC{LATM: true, MuxConfig: config}, Params: map[string]string{"cpresent": "1"}}
		if !inBand {
			m.Params["cpresent"] = "0"
		}
		d, err := New(m)
		if err != nil {
			return
		}
		hold(t, d, []Packet{raw(0, true, element), raw(1, false, element[:len(element)/2]), raw(1, true, element[len(element)/2:]), raw(2, true, element)})
	})
}

// FuzzSPS264 compares with mediacommon: what it reads, we read the same.
func FuzzSPS264(f *testing.F) {
	f.Add(sps264a)
	f.Add(sps264b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseSPS264(b)
		if ok && (s.width <= 0 || s.height <= 0 || s.width > media.MaxPictureSide || s.height > media.MaxPictureSide || s.reorder > maxReorder) {
			t.Fatalf("%+v", s)
		}
		var p mch264.SPS
		if p.Unmarshal(b) != nil || bytes.Contains(b, []byte{0, 0, 0}) { // no NAL unit has that
			return
		}
		sane := p.ID < 32 && p.ChromaFormatIdc <= 3 && p.BitDepthLumaMinus8 <= 6 && p.BitDepthChromaMinus8 <= 6 && p.Log2MaxFrameNumMinus4 <= 12 &&
			p.PicWidthInMbsMinus1 < 1024 && p.PicHeightInMapUnitsMinus1 < 512
		if !sane || p.ChromaFormatIdc == 0 || p.SeparateColourPlaneFlag { // it does not crop monochrome
			return
		}
		if c := p.FrameCropping; c != nil && (c.LeftOffset > 4000 || c.RightOffset > 4000 || c.TopOffset > 2000 || c.BottomOffset > 2000) {
			return
		}
		if w, h := p.Width(), p.Height(); w > 0 && h > 0 && w <= media.MaxPictureSide && h <= media.MaxPictureSide && (!ok || w != s.width || h != s.height) {
			t.Fatalf("%+v, %v; mediacommon %d x %d", s, ok, w, h)
		}
	})
}

// FuzzSPS265 likewise.
func FuzzSPS265(f *testing.F) {
	f.Add(sps265a)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseSPS265(b)
		if ok && (s.width <= 0 || s.height <= 0 || s.width > media.MaxPictureSide || s.height > media.MaxPictureSide || s.reorder > maxReorder) {
			t.Fatalf("%+v", s)
		}
		var p mch265.SPS
		if p.Unmarshal(b) != nil || len(b) < 15 || b[1] == 0 || s.id > 15 { // mediacommon keeps 8 bits of the id
			return
		}
		sane := p.ID < 16 && p.PicWidthInLumaSamples <= 8192 && p.PicHeightInLumaSamples <= 8192 && p.PicWidthInLumaSamples > 0 && p.PicHeightInLumaSamples > 0 &&
			p.BitDepthLumaMinus8 <= 8 && p.BitDepthChromaMinus8 <= 8 && p.MaxSubLayersMinus1 <= 6 && !p.SeparateColourPlaneFlag
		if c := p.ConformanceWindow; c != nil && (c.LeftOffset > 4000 || c.RightOffset > 4000 || c.TopOffset > 4000 || c.BottomOffset > 4000) || !sane {
			return
		}
		if w, h := p.Width(), p.Height(); w > 0 && h > 0 && w <= media.MaxPictureSide && h <= media.MaxPictureSide && (!ok || w != s.width || h != s.height) {
			t.Fatalf("%+v, %v; mediacommon %d x %d", s, ok, w, h)
		}
	})
}

// FuzzReorder: decode times rise but at jumps, and never pass the time stamp.
func FuzzReorder(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 6, 4, 5}, int8(1), true)
	f.Fuzz(func(t *testing.T, steps []byte, depth int8, b bool) {
		o := &reorderer{}
		o.set(max(min(int(depth), maxReorder), -1), 0)
		base := int64(0)
		for i, s := range steps {
			if s > 250 {
				base += int64(s-253) * 90000
				o.restart()
			}
			if b {
				o.bidirectional()
			}
			pts := base + int64(s)*1500
			dts, shown := o.next(pts, s%16 == 0)
			if dts > shown || shown < pts || shown-dts > 10*90000 {
				t.Fatalf("picture %d at %d: %d, %d", i, pts, dts, shown)
			}
		}
	})
}
