package depay

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// picture makes a JPEG with the standard tables of the size given.
func picture420(tb testing.TB, width, height int) []byte {
	tb.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for y := 0; y < height; y++ {
		for x := 0; x < width; x++ {
			m.Y[m.YOffset(x, y)] = byte(x ^ y)
			m.Cb[m.COffset(x, y)] = byte(x)
			m.Cr[m.COffset(x, y)] = byte(y)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 60}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// A parted picture is a JPEG in the parts that RFC 2435 sends.
type parted struct {
	tables []byte
	scan   []byte // with the end of the image
	e      segments
}

func part(tb testing.TB, file []byte) parted {
	p := parted{e: readSegments(file)}
	b := p.e.dqt // one segment of two tables, or two of one
	for len(b) > 4 {
		n := 2 + int(binary.BigEndian.Uint16(b[2:]))
		for t := b[4:n]; len(t) >= 65; t = t[65:] {
			p.tables = append(p.tables, t[1:65]...)
		}
		b = b[n:]
	}
	i := bytes.Index(file, []byte{0xff, 0xda})
	if i < 0 {
		tb.Fatal("no scan")
	}
	p.scan = file[i+2+int(binary.BigEndian.Uint16(file[i+2:])):]
	return p
}

// jpegPackets sends a scan in packets of at most n bytes behind a first packet's
// headers.
func jpegPackets(num int, kind, q byte, width, height byte, first, scan []byte, n int) []Packet {
	var out []Packet
	for at := 0; at < len(scan); at += n {
		b := []byte{0, byte(at >> 16), byte(at >> 8), byte(at), kind, q, width, height}
		if kind >= 64 {
			b = append(b, 0, 4, 0xff, 0xff)
		}
		if at == 0 {
			b = append(b, first...)
		}
		end := min(at+n, len(scan))
		out = append(out, raw(num, end == len(scan), append(b, scan[at:end]...)))
	}
	return out
}

func tableHeader(precision byte, tables []byte) []byte {
	return append([]byte{0, precision, byte(len(tables) >> 8), byte(len(tables))}, tables...)
}

func samePixels(t *testing.T, got, want []byte) {
	t.Helper()
	a, err := jpeg.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	b, err := jpeg.Decode(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if a.Bounds() != b.Bounds() {
		t.Fatalf("%v, want %v", a.Bounds(), b.Bounds())
	}
	for y := 0; y < a.Bounds().Dy(); y += 3 {
		for x := 0; x < a.Bounds().Dx(); x += 3 {
			if color.YCbCrModel.Convert(a.At(x, y)) != color.YCbCrModel.Convert(b.At(x, y)) {
				t.Fatalf("pixel %d,%d: %v, want %v", x, y, a.At(x, y), b.At(x, y))
			}
		}
	}
}

func newJPEG(tb testing.TB, width, height int) Depacketizer {
	d, err := New(sdp.Media{Codec: media.MJPEG, ClockRate: 90000, Width: width, Height: height})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// TestJPEGEncoder takes apart what gortsplib's encoder makes of a picture.
func TestJPEGEncoder(t *testing.T) {
	for _, file := range [][]byte{picture420(t, 320, 240), picture420(t, 2040, 1080)} {
		e := &rtpmjpeg.Encoder{}
		if err := e.Init(); err != nil {
			t.Fatal(err)
		}
		pkts, err := e.Encode(file)
		if err != nil {
			t.Fatal(err)
		}
		got := run(t, newJPEG(t, 0, 0), ours(pkts))
		if len(got) != 1 || got[0].Track == nil || !got[0].RandomAccess {
			t.Fatalf("%+v", got)
		}
		samePixels(t, got[0].Data, file)
	}
}

func TestJPEG(t *testing.T) {
	small := picture420(t, 320, 240)
	p := part(t, small)
	if len(p.tables) != 128 {
		t.Fatalf("%d bytes of tables", len(p.tables))
	}
	three := append(bytes.Clone(p.tables), p.tables[64:]...)
	t.Run("tables of 128 and 192 bytes", func(t *testing.T) {
		for _, tables := range [][]byte{p.tables, three} {
			got := run(t, newJPEG(t, 0, 0), jpegPackets(0, 1, 255, 40, 30, tableHeader(0, tables), p.scan, 1000))
			if len(got) != 1 {
				t.Fatalf("%d pictures", len(got))
			}
			samePixels(t, got[0].Data, small)
		}
	})
	t.Run("tables sent once", func(t *testing.T) {
		pkts := append(jpegPackets(0, 1, 200, 40, 30, tableHeader(0, p.tables), p.scan, 1000), jpegPackets(1, 1, 200, 40, 30, tableHeader(0, nil), p.scan, 1000)...)
		got := run(t, newJPEG(t, 0, 0), pkts)
		if len(got) != 2 || !bytes.Equal(got[0].Data, got[1].Data) || got[1].Track != nil || got[1].PTS != 3600 {
			t.Fatalf("%d pictures", len(got))
		}
	})
	t.Run("standard tables", func(t *testing.T) {
		want := &bytes.Buffer{}
		m, _ := jpeg.Decode(bytes.NewReader(small))
		if err := jpeg.Encode(want, m, &jpeg.Options{Quality: 70}); err != nil {
			t.Fatal(err)
		}
		got := run(t, newJPEG(t, 0, 0), jpegPackets(0, 1, 70, 40, 30, nil, part(t, want.Bytes()).scan, 1000))
		samePixels(t, got[0].Data, want.Bytes())
	})
	t.Run("no marker, no end of the image", func(t *testing.T) {
		pkts := append(jpegPackets(0, 1, 255, 40, 30, tableHeader(0, p.tables), p.scan[:len(p.scan)-2], 1000), jpegPackets(1, 1, 255, 40, 30, tableHeader(0, p.tables), p.scan, 1000)...)
		for i := range pkts[:len(pkts)-1] {
			pkts[i].Marker = false
		}
		got := run(t, newJPEG(t, 0, 0), pkts)
		if len(got) != 2 {
			t.Fatalf("%d pictures", len(got))
		}
		samePixels(t, got[0].Data, small)
		samePixels(t, got[1].Data, small)
	})
	t.Run("lost", func(t *testing.T) {
		var pkts []Packet
		for i := range 4 {
			pkts = append(pkts, jpegPackets(i, 1, 255, 40, 30, tableHeader(0, p.tables), p.scan, 1000)...)
		}
		n := len(pkts) / 4
		pkts[n+1].Lost = 1
		pkts = append(pkts[:n], append(pkts[n+1:2*n], pkts[2*n:]...)...)
		got := run(t, newJPEG(t, 0, 0), pkts)
		if len(got) != 3 || got[1].Lost == 0 || got[2].Lost != 0 {
			t.Fatalf("%d pictures, %+v", len(got), got[1].Lost)
		}
	})
	t.Run("size changes", func(t *testing.T) {
		pkts := append(jpegPackets(0, 1, 255, 40, 30, tableHeader(0, p.tables), p.scan, 1000), jpegPackets(1, 1, 255, 20, 60, tableHeader(0, p.tables), p.scan, 1000)...)
		got := run(t, newJPEG(t, 0, 0), pkts)
		if len(got) != 2 || got[1].Track == nil || got[1].Track.Width != 160 || got[1].Track.Height != 480 {
			t.Fatalf("%+v", got)
		}
	})
}

// TestJPEGBig is for pictures that RFC 2435 has no room for.
func TestJPEGBig(t *testing.T) {
	big := picture420(t, 2592, 1944)
	p := part(t, big)
	first := tableHeader(0, p.tables)
	low := byte(2592 / 8 % 256)
	extension := append(bytes.Clone(p.e.sof), 0xff, 0xff, 0xff)
	cases := []struct {
		name          string
		width, height int // of the description
		pkts          []Packet
	}{
		{"0, size in the description", 2592, 1944, jpegPackets(0, 1, 255, 0, 0, first, p.scan, 1400)},
		{"lower bits, size in the description", 2592, 1944, jpegPackets(0, 1, 255, low, 243, first, p.scan, 1400)},
		{"ONVIF header extension", 0, 0, jpegPackets(0, 1, 255, 0, 0, first, p.scan, 1400)},
		{"whole file", 0, 0, jpegPackets(0, 1, 255, 0, 0, tableHeader(0, nil), big, 1400)},
	}
	cases[2].pkts[0].Extension = extension
	for _, c := range cases {
		got := run(t, newJPEG(t, c.width, c.height), c.pkts)
		if len(got) != 1 || got[0].Track == nil || got[0].Track.Width != 2592 || got[0].Track.Height != 1944 {
			t.Errorf("%s: %d pictures", c.name, len(got))
			continue
		}
		samePixels(t, got[0].Data, big)
	}
	d := newJPEG(t, 0, 0)
	if _, err := d.Push(jpegPackets(0, 1, 255, 0, 0, first, p.scan, 1400)[0]); err != errJPEGSize {
		t.Errorf("a picture without a size: %v", err)
	}
}

// TestJPEGRestart is for restart intervals: type 65.
func TestJPEGRestart(t *testing.T) {
	p := part(t, picture420(t, 64, 64))
	got := run(t, newJPEG(t, 0, 0), jpegPackets(0, 65, 255, 8, 8, tableHeader(0, p.tables), p.scan, 1000))
	if len(got) != 1 || !bytes.Contains(got[0].Data, []byte{0xff, 0xdd, 0, 4, 0, 4}) || !bytes.HasSuffix(got[0].Data, p.scan) {
		t.Errorf("%d pictures", len(got))
	}
}
