package depay

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// Parameter sets of real cameras (testdata of camera/rtsp/sdp).
var (
	sps264a = b64("Z2QAHqwsaoLA9puCgIKgAAADACAAAAMD0IAA") // Dahua, 704 x 480
	pps264a = b64("aO4xshsA")
	sps264b = b64("Z00AH5WoFAFuQA==") // Foscam, 1280 x 720
	pps264b = b64("aO48gA==")

	vps265a = b64("QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==") // Dahua
	sps265a = b64("QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=")
	pps265a = b64("RAHA8saNA7NA")
)

func b64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// pkt makes a packet of a payload in hex; picture number n gives its time.
func pkt(n int, marker bool, payload string) Packet {
	return Packet{Payload: unhex(payload), Time: uint32(n * 3600), Marker: marker, Arrived: int64(n)}
}

func raw(n int, marker bool, payload []byte) Packet {
	return Packet{Payload: payload, Time: uint32(n * 3600), Marker: marker, Arrived: int64(n)}
}

// Slices: the first bit says that a picture begins. 88: I, 9a: P, 9e: B of
// H.264; H.265 has its type in the header.
const (
	idr264  = "65 88 80 40"
	idrMore = "65 40 80 40"
	p264    = "41 9a 24 6c"
	p264b   = "41 4a 24 6c"
	b264    = "01 9e 42 6c"
	sei264  = "06 05 02 ab cd 80"
	aud264  = "09 f0"
	idr265  = "26 01 af 08 40"
	cra265  = "2a 01 af 08 40"
	rasl265 = "12 01 d0 40 40"
	p265    = "02 01 d0 09 7e"
	p265b   = "02 01 50 09 7e"
	sei265  = "4e 01 05 02 ab cd 80"
	suf265  = "50 01 84 02 ab cd 80"
	aud265  = "46 01 50"
)

// show writes the units of a run: their NAL units in hex, "!" for random
// access, "-n" for lost pictures.
func show(rs []result) string {
	var out []string
	for _, r := range rs {
		s := ""
		if r.Lost > 0 {
			s = "-" + strconv.Itoa(int(r.Lost))
		}
		if r.RandomAccess {
			s += "!"
		}
		for i, n := range r.nals {
			if i > 0 {
				s += "+"
			}
			s += hex.EncodeToString(n)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// want brings constants into the form of show: "|" parts units.
func want(units ...string) string {
	for i := range units {
		units[i] = strings.ReplaceAll(units[i], " ", "")
	}
	return strings.Join(units, " ")
}

func lose(n int, p Packet) Packet { p.Lost = n; return p }

func TestH264(t *testing.T) {
	stapA := func(nals ...string) string {
		b := []byte{0x18}
		for _, n := range nals {
			b = binary.BigEndian.AppendUint16(b, uint16(len(unhex(n))))
			b = append(b, unhex(n)...)
		}
		return hex.EncodeToString(b)
	}
	cases := []struct {
		name string
		pkts []Packet
		want string
	}{
		{"single", []Packet{pkt(0, true, idr264), pkt(1, true, p264)}, want("!"+idr264, p264)},
		{"nothing before the first random access unit", []Packet{pkt(0, true, p264), pkt(1, true, p264), pkt(2, true, idr264)}, want("!" + idr264)},
		{"slices", []Packet{pkt(0, false, idr264), pkt(0, true, idrMore), pkt(1, false, p264), pkt(1, true, p264b)},
			want("!"+idr264+"+"+idrMore, p264+"+"+p264b)},
		{"every slice with a time stamp and a marker of its own", []Packet{pkt(0, true, idr264), pkt(1, true, idrMore), pkt(2, true, p264), pkt(3, true, p264b)},
			want("!"+idr264+"+"+idrMore, p264+"+"+p264b)},
		{"two pictures of one time stamp", []Packet{pkt(0, true, idr264), pkt(1, false, p264), pkt(1, true, p264)}, want("!"+idr264, p264, p264)},
		{"delimiters and filler", []Packet{pkt(0, false, aud264), pkt(0, false, sei264), pkt(0, true, idr264), pkt(1, false, aud264), pkt(1, false, p264), pkt(1, true, "0c ff ff 80")},
			want("!"+sei264+"+"+idr264, p264)},
		{"parameter sets with the time stamp before", []Packet{pkt(0, true, idr264), raw(0, false, sps264a), raw(0, true, pps264a), pkt(1, true, idr264)},
			want("!"+idr264, "!"+idr264)},
		{"message alone with a marker", []Packet{pkt(0, true, idr264), pkt(1, true, sei264), pkt(1, true, p264), pkt(2, true, p264)},
			want("!"+idr264, sei264+"+"+p264, p264)},
		{"aggregation", []Packet{pkt(0, true, stapA(sei264, idr264, idrMore)), pkt(1, true, stapA(p264))}, want("!"+sei264+"+"+idr264+"+"+idrMore, p264)},
		{"aggregation of two pictures", []Packet{pkt(0, true, stapA(idr264, p264, p264))}, want("!"+idr264, p264, p264)},
		{"aggregation with padding", []Packet{pkt(0, true, stapA(idr264)+"0000000000"), pkt(1, true, "18 0000")}, want("!" + idr264)},
		{"aggregation cut off", []Packet{pkt(0, true, idr264), pkt(1, true, "18 0004 419a246c 0009 4142"), pkt(2, true, p264), pkt(3, true, idr264)},
			want("!"+idr264, "-2!"+idr264)},
		{"fragments", []Packet{pkt(0, false, "7c 85 88"), pkt(0, false, "7c 05 80"), pkt(0, true, "7c 45 40")}, want("!" + idr264)},
		{"fragments with other headers", []Packet{pkt(0, false, "7c 85 88"), pkt(0, false, "5c 27 80"), pkt(0, true, "7c 67 40")}, want("!" + idr264)},
		{"empty fragments", []Packet{pkt(0, false, "7c 85"), pkt(0, false, "7c 05 88 80"), pkt(0, false, "7c 05"), pkt(0, true, "7c 45 40")}, want("!" + idr264)},
		{"one fragment", []Packet{pkt(0, true, "7c c5 88 80 40")}, want("!" + idr264)},
		{"no end of the fragments", []Packet{pkt(0, false, "7c 85 88"), pkt(0, true, "7c 05 80 40"), pkt(1, true, p264), pkt(2, false, "5c 81 9a 24"), pkt(2, true, "5c 01 6c"), pkt(3, false, "5c 81 9a"), pkt(3, true, "5c 41 24 6c")},
			want("!"+idr264, p264, p264, p264)},
		{"no start of the fragments", []Packet{pkt(0, true, idr264), pkt(1, true, "5c 41 9a 24 6c"), pkt(2, true, p264), pkt(3, true, idr264)}, want("!"+idr264, "-1!"+idr264)},
		{"the connection begins in a picture", []Packet{pkt(0, false, "7c 05 80"), pkt(0, true, "7c 45 40"), pkt(1, true, idrMore), pkt(2, true, idr264)}, want("!" + idr264)},
		{"nothing at all", []Packet{pkt(0, true, idr264), pkt(1, true, ""), pkt(1, false, "7c"), pkt(1, true, "41"), pkt(1, true, p264)}, want("!"+idr264, p264)},
		{"interleaved", []Packet{pkt(0, true, idr264), pkt(1, true, "19 0000 0004 419a246c"), pkt(2, true, idr264)}, want("!"+idr264, "-1!"+idr264)},
		{"bundle behind start codes", []Packet{pkt(0, true, "00000001 65888040 000001 65408040"), pkt(1, true, "000001 419a246c")}, want("!"+idr264+"+"+idrMore, p264)},
		{"bundle in a parameter set (V380)", []Packet{
			raw(0, false, slices.Concat(unhex("7c87"), sps264a[1:], unhex("00000001"), pps264a, unhex("000000016588"))), pkt(0, true, "7c 47 80 40"), pkt(1, true, p264)},
			want("!"+idr264, p264)},
		{"bundle whose first byte passes as a header", []Packet{pkt(0, true, "7c c0 000001 65888040"), pkt(1, true, "1c c0 000001 419a246c")}, want("!"+idr264, p264)},
		{"start code begun by the header (Amatek)", []Packet{
			pkt(0, false, "1c 80 00 01 67"+hex.EncodeToString(sps264a[1:9])), pkt(0, false, "1c 00"+hex.EncodeToString(sps264a[9:])),
			pkt(0, false, "1c 40 000001"+hex.EncodeToString(pps264a)+"00000001"), pkt(0, true, idr264), pkt(1, true, p264)},
			want("!"+idr264, p264)},
		{"small fragment whole (CostarHD)", []Packet{pkt(0, true, idr264), pkt(1, true, "5c c1 9a 24 6c")}, want("!"+idr264, p264)},
		{"sets and a message of an unknown kind, each with a marker (H264DVR)", []Packet{
			raw(0, true, sps264a), raw(0, true, pps264a), pkt(0, true, "06 e5 01 a7 80"), pkt(0, true, idr264), pkt(1, true, p264)},
			want("!06 e5 01 a7 80 + "+idr264, p264)},
		{"sets with a marker and the time stamp before (Reolink)", []Packet{
			raw(0, true, sps264a), raw(0, false, pps264a), pkt(1, true, idr264), pkt(2, true, p264), raw(2, false, sps264a), raw(2, false, pps264a), pkt(3, true, idr264)},
			want("!"+idr264, p264, "!"+idr264)},
		{"time stamps one tick apart, no markers (FLIR M400)", []Packet{
			pkt(0, true, idr264), {Payload: unhex(p264), Time: 3600}, {Payload: unhex(p264b), Time: 3601}, pkt(2, false, p264), pkt(3, true, p264)},
			want("!"+idr264, p264+"+"+p264b, p264, p264)},
		{"message with a start code", []Packet{pkt(0, false, "06 05 06 ab 00000001 65 80"), pkt(0, true, idr264)}, want("!06 05 06 ab 00000001 65 80+" + idr264)},
		{"message with a start code in a bundle", []Packet{pkt(0, true, "00000001 06 05 06 ab 00000001 65 80 00000001 65888040")}, want("!06 05 06 ab 00000001 65 80+" + idr264)},
		{"lost in a picture", []Packet{pkt(0, true, idr264), pkt(1, false, p264), lose(1, pkt(1, true, p264b)), pkt(2, true, p264), pkt(3, true, idr264), pkt(4, true, p264)},
			want("!"+idr264, "-2!"+idr264, p264)},
		{"lost in fragments", []Packet{pkt(0, true, idr264), pkt(1, false, "5c 81 9a"), lose(1, pkt(1, true, "5c 41 6c")), pkt(2, true, p264), pkt(3, true, idr264)},
			want("!"+idr264, "-1!"+idr264)},
		{"whole pictures lost", []Packet{pkt(0, true, idr264), lose(9, pkt(4, true, p264)), pkt(5, true, idr264)}, want("!"+idr264, "-1!"+idr264)},
		{"lost directly before a random access unit", []Packet{pkt(0, true, idr264), lose(1, pkt(2, true, idr264))}, want("!"+idr264, "-1!"+idr264)},
		{"start of a random access unit lost", []Packet{pkt(0, true, idr264), lose(1, pkt(1, true, idrMore)), pkt(2, true, p264), pkt(3, true, idr264)}, want("!"+idr264, "-2!"+idr264)},
		{"end and start lost", []Packet{pkt(0, true, idr264), pkt(1, false, p264), lose(2, pkt(2, true, idrMore)), pkt(3, true, idr264)}, want("!"+idr264, "-1!"+idr264)},
		{"a picture is whole before the gap", []Packet{pkt(0, true, idr264), pkt(1, true, p264), lose(1, pkt(3, true, p264)), pkt(4, true, idr264)}, want("!"+idr264, p264, "-1!"+idr264)},
		{"lost before anything came", []Packet{lose(5, pkt(0, true, idr264)), pkt(1, true, p264)}, want("!"+idr264, p264)},
		{"recovery point", []Packet{pkt(0, true, p264), pkt(1, false, "06 06 01 c4 80"), pkt(1, true, "41 88 80 40"), pkt(2, true, p264)}, want("!06 06 01 c4 80 + 41 88 80 40", p264)},
		{"gradual refresh", []Packet{pkt(0, true, p264), pkt(1, false, "06 06 01 24 80"), pkt(1, true, p264), pkt(2, true, p264)}, want("!06 06 01 24 80 + "+p264, p264)},
		{"gradual refresh between IDR pictures", []Packet{pkt(0, true, idr264), pkt(1, false, "06 06 01 24 80"), pkt(1, true, p264)}, want("!"+idr264, "06 06 01 24 80 + "+p264)},
		{"leading pictures of an open start", []Packet{pkt(3, false, "06 06 01 c4 80"), pkt(3, true, "41 88 80 40"), pkt(1, true, b264), pkt(2, true, b264), pkt(6, true, p264), pkt(4, true, b264)},
			want("!06 06 01 c4 80 + 41 88 80 40", p264, b264)},
		{"other NAL units stay", []Packet{pkt(0, true, idr264), pkt(0, true, "0a"), pkt(1, true, p264)}, want("!"+idr264+"+0a", p264)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.want = strings.ReplaceAll(c.want, " + ", "+")
			got := run(t, newVideo(t, media.H264, sps264a, pps264a), c.pkts)
			if show(got) != c.want {
				t.Errorf("\n got %s\nwant %s", show(got), c.want)
			}
		})
	}
}

func TestH265(t *testing.T) {
	ap := func(nals ...string) string {
		b := []byte{0x60, 1}
		for _, n := range nals {
			b = binary.BigEndian.AppendUint16(b, uint16(len(unhex(n))))
			b = append(b, unhex(n)...)
		}
		return hex.EncodeToString(b)
	}
	cases := []struct {
		name string
		pkts []Packet
		want string
	}{
		{"single", []Packet{pkt(0, true, idr265), pkt(1, true, p265)}, want("!"+idr265, p265)},
		{"slices", []Packet{pkt(0, true, idr265), pkt(1, false, p265), pkt(1, true, p265b)}, want("!"+idr265, p265+"+"+p265b)},
		{"parameter sets with the time stamp before (Reolink)", []Packet{pkt(0, true, idr265), raw(0, false, vps265a), raw(0, false, sps265a), raw(0, true, pps265a), pkt(1, true, idr265)},
			want("!"+idr265, "!"+idr265)},
		{"message alone with a marker (Tapo)", []Packet{pkt(0, true, idr265), pkt(1, true, sei265), pkt(1, true, p265), pkt(2, true, sei265), pkt(2, true, p265)},
			want("!"+idr265, sei265+"+"+p265, sei265+"+"+p265)},
		{"message behind the picture", []Packet{pkt(0, false, idr265), pkt(0, true, suf265), pkt(1, true, p265), pkt(1, true, suf265), pkt(2, true, p265)},
			want("!"+idr265+"+"+suf265, p265+"+"+suf265, p265)},
		{"aggregation", []Packet{pkt(0, true, ap(aud265, sei265, idr265)), pkt(1, true, ap(p265, p265b))}, want("!"+sei265+"+"+idr265, p265+"+"+p265b)},
		{"fragments", []Packet{pkt(0, false, "62 01 93 af"), pkt(0, false, "62 01 13"), pkt(0, false, "62 01 13 08"), pkt(0, true, "62 01 53 40")}, want("!" + idr265)},
		{"fragments with other headers", []Packet{pkt(0, false, "62 01 93 af"), pkt(0, true, "62 01 66 08 40")}, want("!" + idr265)},
		{"one fragment", []Packet{pkt(0, true, "62 01 d3 af 08 40")}, want("!" + idr265)},
		{"no end of the fragments", []Packet{pkt(0, false, "62 01 93 af"), pkt(0, true, "62 01 13 08 40"), pkt(1, true, p265)}, want("!"+idr265, p265)},
		{"CRA at the start", []Packet{pkt(3, true, cra265), pkt(1, true, rasl265), pkt(4, true, p265), pkt(8, true, cra265), pkt(6, true, rasl265)},
			want("!"+cra265, p265, "!"+cra265, rasl265)},
		{"CRA after a loss", []Packet{pkt(0, true, idr265), lose(1, pkt(4, true, cra265)), pkt(3, true, rasl265), pkt(5, true, p265)}, want("!"+idr265, "-1!"+cra265, p265)},
		{"lost", []Packet{pkt(0, true, idr265), pkt(1, false, p265), lose(1, pkt(1, true, p265b)), pkt(2, true, p265), pkt(3, true, idr265)}, want("!"+idr265, "-2!"+idr265)},
		{"short", []Packet{pkt(0, true, idr265), pkt(1, true, "02"), pkt(1, false, "02 01"), pkt(1, true, "62 01"), pkt(1, true, p265)}, want("!"+idr265, p265)},
		{"end of sequence", []Packet{pkt(0, true, idr265), pkt(0, true, "60 01 0002 4801"), pkt(1, true, p265)}, want("!"+idr265+"+4801", p265)},
		{"PACI", []Packet{pkt(0, true, idr265), pkt(1, true, "64 01 0000 00"), pkt(2, true, idr265)}, want("!"+idr265, "-1!"+idr265)},
		{"bundle in a parameter set", []Packet{
			raw(0, true, slices.Concat(vps265a, unhex("00000001"), sps265a, unhex("00000001"), pps265a, unhex("00000001"), unhex(sei265), unhex("000001"), unhex(idr265)))},
			want("!" + sei265 + "+" + idr265)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, newVideo(t, media.H265, vps265a, sps265a, pps265a), c.pkts)
			if show(got) != c.want {
				t.Errorf("\n got %s\nwant %s", show(got), c.want)
			}
		})
	}
}

// TestKeyless: a stream in which decoding starts nowhere by its own account is
// recorded from parameter sets on, once no key picture has come for a minute.
func TestKeyless(t *testing.T) {
	for _, c := range []struct {
		codec    media.Codec
		sets     [][]byte
		key, not string
	}{
		{media.H264, [][]byte{sps264a, pps264a}, idr264, p264},
		{media.H265, [][]byte{vps265a, sps265a, pps265a}, idr265, p265},
	} {
		play := func(first string) (got []bool) {
			d := newVideo(t, c.codec)
			for s := range 100 {
				at := func(p Packet) Packet { p.Arrived = int64(s+1) * 1e9; return p }
				var ps []Packet
				if s%10 == 0 {
					for _, b := range c.sets {
						ps = append(ps, at(raw(25*s, false, b)))
					}
				}
				nal := c.not
				if s == 0 {
					nal = first
				}
				for _, r := range run(t, d, append(ps, at(pkt(25*s, true, nal)))) {
					got = append(got, r.RandomAccess)
				}
			}
			return got
		}
		if got := play(c.not); len(got) != 30 || !got[0] || got[1] || !got[10] {
			t.Errorf("%v: %v", c.codec, got)
		}
		if got := play(c.key); len(got) != 100 || slices.Contains(got[1:], true) {
			t.Errorf("%v with a key picture: %v", c.codec, got)
		}
	}
}

// TestNumbered: decoding order numbers (RFC 7798 section 4.4) are no part of
// NAL units, in any kind of packet.
func TestNumbered(t *testing.T) {
	d, err := sdp.Parse([]byte("v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-max-don-diff=2;sprop-vps=" +
		base64.StdEncoding.EncodeToString(vps265a) + ";sprop-sps=" + base64.StdEncoding.EncodeToString(sps265a) + ";sprop-pps=" + base64.StdEncoding.EncodeToString(pps265a) + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(d.Video())
	if err != nil {
		t.Fatal(err)
	}
	numbered := func(nal string) string {
		b := unhex(nal)
		return hex.EncodeToString(slices.Concat(b[:2], []byte{1, 2}, b[2:]))
	}
	ap := slices.Concat([]byte{0x60, 1, 1, 3, 0, byte(len(unhex(sei265)))}, unhex(sei265), []byte{0, 0, byte(len(unhex(p265)))}, unhex(p265))
	got := run(t, v, []Packet{pkt(0, true, numbered(idr265)), raw(1, true, ap), pkt(2, false, "62 01 93 0104 af"), pkt(2, true, "62 01 53 0840"), pkt(3, true, "02 01 01"), pkt(3, true, "62 01 93 01")})
	if want := want("!"+idr265, sei265+"+"+p265, "!"+idr265); show(got) != want {
		t.Errorf("\n got %s\nwant %s", show(got), want)
	}
}

// TestBundleCutAnywhere: an Annex B text in fragments, wherever they begin.
func TestBundleCutAnywhere(t *testing.T) {
	text := slices.Concat(sps264a, unhex("00000001"), pps264a, unhex("00000001"), unhex(sei264), unhex("000001"), unhex(idr264))
	for first := 2; first < len(text)-1; first++ {
		for middle := range 5 {
			if first+middle >= len(text) {
				continue
			}
			pkts := []Packet{raw(0, false, slices.Concat([]byte{0x7c, 0x87}, text[1:first]))}
			if middle > 0 {
				pkts = append(pkts, raw(0, false, slices.Concat([]byte{0x7c, 0x07}, text[first:first+middle])))
			}
			pkts = append(pkts, raw(0, true, slices.Concat([]byte{0x7c, 0x47}, text[first+middle:])), pkt(1, true, p264))
			got := show(run(t, newVideo(t, media.H264), pkts))
			if w := want("!"+sei264+"+"+idr264, p264); got != w {
				t.Fatalf("cut at %d and %d:\n got %s\nwant %s", first, first+middle, got, w)
			}
		}
	}
}

// TestMarkers: once the marker has proved true, a picture is handed out with
// it; when it lies then, one picture is lost and it is not believed again.
func TestMarkers(t *testing.T) {
	d := newVideo(t, media.H264, sps264a, pps264a)
	n := 0
	push := func(p Packet) int {
		units, err := d.Push(p)
		if err != nil {
			t.Fatal(err)
		}
		n += len(units)
		return len(units)
	}
	push(pkt(0, true, idr264))
	for i := 1; i <= trusted; i++ {
		push(pkt(i, true, p264))
	}
	if n != trusted+1 {
		t.Fatalf("%d units while learning", n)
	}
	if got := push(pkt(20, true, p264)); got != 1 {
		t.Errorf("%d units at a marker that is believed", got)
	}
	push(pkt(21, true, p264))
	push(pkt(21, true, p264b)) // belongs to what was handed out
	push(pkt(22, true, p264))
	units, _ := d.Push(pkt(23, true, idr264))
	if len(units) != 0 {
		t.Error("the marker is believed again")
	}
	units, _ = d.Push(pkt(24, true, p264))
	if len(units) != 1 || !units[0].RandomAccess || units[0].Lost != 2 {
		t.Errorf("%+v", units)
	}
}

// TestChangedSets: equal parameter sets change nothing; others begin a new
// track with the next random access unit, and stay in the sample before that.
func TestChangedSets(t *testing.T) {
	pkts := []Packet{
		raw(0, false, sps264a), raw(0, false, pps264a), pkt(0, true, idr264), pkt(1, true, p264),
		raw(2, false, sps264a), raw(2, false, append(bytes.Clone(pps264a), 0, 0)), pkt(2, true, idr264), // the same again
		raw(3, false, pps264b), pkt(3, true, p264), // changed in mid-GOP
		pkt(4, true, idr264),
		raw(5, false, sps264b), raw(5, false, pps264b), pkt(5, true, idr264), // another size
		raw(6, false, sps264b), raw(6, false, pps264b), pkt(6, true, idr264),
	}
	got := run(t, newVideo(t, media.H264), pkts)
	if len(got) != 7 {
		t.Fatal(show(got))
	}
	sizes := []int{704, 0, 0, 0, 704, 1280, 0}
	for i, u := range got {
		width := 0
		if u.Track != nil {
			width = u.Track.Width
		}
		if width != sizes[i] {
			t.Errorf("unit %d: track %+v", i, u.Track)
		}
		if in := len(u.nals) > 1; in != (i == 3) {
			t.Errorf("unit %d: %s", i, heads(u.nals))
		}
	}
	if !bytes.Contains(got[4].Track.Config, pps264b) || bytes.Contains(got[0].Track.Config, pps264b) {
		t.Error("the configuration has other sets")
	}
}

// TestSetsOnlyInDescription and without any: Axis never repeats them in band;
// without any there is no video, and an error says so.
func TestSetsMissing(t *testing.T) {
	d := newVideo(t, media.H264, sps264b, pps264b)
	if tr := d.Track(); tr == nil || tr.Width != 1280 || tr.Height != 720 || tr.Codecs != "avc1.4d001f" {
		t.Errorf("%+v", tr)
	}
	if got := run(t, d, []Packet{pkt(0, true, idr264)}); len(got) != 1 || got[0].Track != d.Track() {
		t.Errorf("%+v", got)
	}
	d = newVideo(t, media.H264)
	d.Push(pkt(0, true, idr264))
	_, err := d.Push(pkt(1, true, p264))
	var e *Error
	if !errors.As(err, &e) || e.Code != "no-parameter-sets" {
		t.Errorf("%v", err)
	}
	got := run(t, d, []Packet{raw(2, false, sps264a), raw(2, false, pps264a), pkt(2, true, idr264)})
	if len(got) != 1 || got[0].Lost != 0 || got[0].Track == nil {
		t.Errorf("%+v", got)
	}
}

// TestFields: the second field of a frame goes into the sample of the first,
// also when it has a marker and a time stamp of its own.
func TestFields(t *testing.T) {
	// SPS: Main, 720 x 576, frame_mbs_only_flag 0, frame_num of 4 bits, poc type 0
	w := &bitWriter{}
	w.put(0x67, 8)
	w.put(77, 8)
	w.put(0, 8)
	w.put(30, 8)
	for _, v := range []uint{0, 0, 0, 0, 1} { // id, frame num bits, poc type, poc bits, ref frames
		w.ue(v)
	}
	w.put(0, 1)
	w.ue(44)
	w.ue(17)
	w.put(0, 1) // frame_mbs_only_flag
	w.put(0b0100, 4)
	w.put(1, 1)
	sps := w.bytes()
	field := func(head byte, kind, frame, bottom uint) []byte {
		w := &bitWriter{}
		w.put(uint(head), 8)
		w.ue(0)
		w.ue(kind)
		w.ue(0)
		w.put(frame, 4)
		w.put(1, 1)
		w.put(bottom, 1)
		w.put(0x5a, 8)
		return w.bytes()
	}
	var pkts []Packet
	var wants [][][]byte
	for i := range 20 {
		head, kind := byte(0x41), uint(5)
		if i%10 == 0 {
			head, kind = 0x65, 7
		}
		a, b := field(head, kind, uint(i%10), 0), field(0x41, 5, uint(i%10), 1)
		pkts = append(pkts, raw(2*i, true, a), raw(2*i+1, true, b))
		wants = append(wants, [][]byte{a, b})
	}
	got := run(t, newVideo(t, media.H264, sps, pps264a), pkts)
	if len(got) != 20 {
		t.Fatalf("%d units: %s", len(got), show(got))
	}
	for i, u := range got {
		if !equalNALs(u.nals, wants[i]) {
			t.Errorf("unit %d: %s", i, heads(u.nals))
		}
	}
	if tr := got[0].Track; tr.Width != 720 || tr.Height != 576 {
		t.Errorf("%d x %d", tr.Width, tr.Height)
	}
}

// A bitWriter makes parameter sets for tests; it adds emulation prevention.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) put(v uint, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bitWriter) ue(v uint) {
	n := 0
	for (v+1)>>(n+1) > 0 {
		n++
	}
	w.put(0, n)
	w.put(v+1, n+1)
}

func (w *bitWriter) bytes() []byte {
	w.put(1, 1)
	var out []byte
	zeros := 0
	for _, c := range w.b {
		if zeros >= 2 && c <= 3 {
			out, zeros = append(out, 3), 0
		}
		if out = append(out, c); c == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// TestTooBig: a unit that outgrows its bound is given up, and the stream goes on.
func TestTooBig(t *testing.T) {
	for _, kind := range []byte{0x41, 0x06, 0x0a} {
		d := newVideo(t, media.H264, sps264a, pps264a)
		d.Push(pkt(0, true, idr264))
		d.Push(pkt(1, true, p264))
		big := make([]byte, 60000)
		big[0], big[1] = kind, 0x9a
		tooBig := false
		for range media.MaxUnit/60000 + 3 {
			if big[0] == 0x41 && tooBig {
				break
			}
			_, err := d.Push(raw(1, false, big))
			if err == errTooBig {
				tooBig = true
			}
			big[1] = 0x1a // slices that go on
		}
		if !tooBig {
			t.Errorf("%02x: no end", kind)
		}
		got := run(t, d, []Packet{pkt(2, true, idr264), pkt(3, true, p264)})
		if len(got) < 2 || !got[len(got)-2].RandomAccess || got[len(got)-2].Lost == 0 {
			t.Errorf("%02x: %d units, %.100s", kind, len(got), show(got))
		}
	}
}

// TestRestart: a new RTP timeline begins anew, at a random access unit.
func TestRestart(t *testing.T) {
	d := newVideo(t, media.H264, sps264a, pps264a)
	run(t, d, []Packet{pkt(100, true, idr264), pkt(101, true, p264)})
	d.Restart()
	got := run(t, d, []Packet{pkt(7, true, p264), pkt(8, true, idr264)})
	if show(got) != want("-1!"+idr264) || got[0].PTS != 8*3600 || got[0].DTS != 8*3600 {
		t.Errorf("%s %+v", show(got), got)
	}
}

// TestWrap: time stamps go on where the 32 bits of RTP end.
func TestWrap(t *testing.T) {
	p := []Packet{pkt(0, true, idr264), pkt(0, true, p264), pkt(0, true, p264)}
	for i := range p {
		p[i].Time = uint32(0xfffff000 + i*3000)
	}
	got := run(t, newVideo(t, media.H264, sps264a, pps264a), p)
	for i, u := range got {
		if u.PTS != 0xfffff000+int64(i)*3000 {
			t.Errorf("unit %d at %d", i, u.PTS)
		}
	}
}

// TestRetinaCases replays the packet sequences seen on cameras that retina's
// authors collected. Their slices are text, so an IDR picture goes before each
// case and the NAL units are compared.
func TestRetinaCases(t *testing.T) {
	wants := map[string]string{
		"h264/depacketize":                             "06plain|06stap-a 1|06stap-a 2|afu-a start, fu-a middle, fu-a end",
		"h264/sps_with_extra_trailing_bytes":           "eidr slice",
		"h264/allow_inconsistent_headers_between_fu_a": "!start of non-idra wild sps appeared",
		"h264/empty_fragment":                          "astart, end",
		"h264/skip_end_of_fragment":                    "ffu-a start, |\x01plain",
		"h265/depacketize":                             "N\x01plain|(\x01fu start, fu middle, fu end",
		"h265/single_fragment_fu":                      "\x02\x01small nal",
		"h265/skip_end_of_fragment":                    "(\x01fu start, |N\x01plain",
	}
	for _, name := range []string{"h264", "h265"} {
		var cases []struct {
			Name    string
			FMTP    *string
			Packets []struct {
				Timestamp  string
				Mark       bool
				PayloadHex string `json:"payload_hex"`
			}
		}
		if err := json.Unmarshal(read(t, "rtp/retina-"+name+"-packet-cases.json"), &cases); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				codec, sets, idr := media.H264, [][]byte{sps264a, pps264a}, idr264
				if name == "h265" {
					codec, sets, idr = media.H265, [][]byte{vps265a, sps265a, pps265a}, idr265
				}
				pkts := []Packet{pkt(0, true, idr)}
				for _, p := range c.Packets {
					n := 1
					if strings.HasSuffix(p.Timestamp, "1") {
						n = 2
					}
					pkts = append(pkts, pkt(n, p.Mark, p.PayloadHex))
				}
				d := newVideo(t, codec, sets...)
				var nals [][]byte
				for _, r := range run(t, d, pkts) {
					nals = append(nals, r.nals...)
				}
				text := string(bytes.Join(nals[1:], []byte("|")))
				if want, ok := wants[name+"/"+c.Name]; !ok || !loose(text, want) {
					t.Errorf("got %q, want %q", text, want)
				}
			})
		}
	}
}

// loose compares without the header bytes that are no text.
func loose(got, want string) bool {
	strip := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r == ' ' || r == ',' || r == '|' || r == '-' {
				return r
			}
			return -1
		}, s)
	}
	return strip(got) == strip(want)
}
