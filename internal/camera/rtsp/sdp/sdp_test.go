package sdp

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vigil/internal/media"
)

// sample is a row of testdata/expected.tsv: what must come out of a text.
type sample struct{ file, video, audio, back string }

func samples(tb testing.TB) (rows []sample) {
	for _, f := range table(tb, "expected.tsv", 5) {
		rows = append(rows, sample{f[0], f[1], f[2], f[3]})
	}
	return rows
}

// table reads the rows of a file of testdata.
func table(tb testing.TB, file string, columns int) (rows [][]string) {
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(l), "\t"); l[0] != '#' && len(f) == columns {
			rows = append(rows, f)
		}
	}
	return rows
}

// body returns the session description in a file: the whole of it, or what
// follows the head of an RTSP reply.
func body(tb testing.TB, file string) []byte {
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	if strings.HasPrefix(file, "rtsp/") {
		_, text, _ = bytes.Cut(text, []byte("\r\n\r\n"))
	}
	return text
}

func TestExpected(t *testing.T) {
	rows := samples(t)
	if len(rows) != 54 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, want := range rows {
		t.Run(want.file, func(t *testing.T) {
			want.check(t)
		})
	}
}

// TestOdd is the same for testdata/odd.tsv, and says more.
func TestOdd(t *testing.T) {
	rows := table(t, "odd.tsv", 8)
	if len(rows) != 15 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, f := range rows {
		t.Run(f[0], func(t *testing.T) {
			d := sample{f[0], f[1], f[2], f[3]}.check(t)
			if f[1] == "refuse" {
				return
			}
			if v := d.Video(); v.Control != f[5] || strconv.Itoa(len(v.ParameterSets)) != f[6] {
				t.Errorf("control %q, %d sets", v.Control, len(v.ParameterSets))
			}
			if f[7] != "-" && !slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Code == f[7] }) {
				t.Errorf("notes %v, want %s", d.Notes, f[7])
			}
		})
	}
}

// check compares a row with what is read of its file. A refusal names the track
// and what is wrong with it, where there is one.
func (want sample) check(t *testing.T) Description {
	d, err := Parse(body(t, want.file))
	if want.video == "refuse" {
		e, ok := err.(*Error)
		if !ok {
			t.Fatalf("not refused: %+v, %v", d, err)
		}
		named := e.Args["track"] != "" && e.Args["codec"]+e.Args["payload"] != ""
		if !named && e.Code != NoMedia && (e.Code != NoVideo || e.Args["kinds"] == "") {
			t.Errorf("refused without a reason: %v", e)
		}
		t.Log(err)
		return d
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(d.Notes)
	undeclared := strings.Contains(want.file, "aja") || strings.Contains(want.file, "avigilon")
	if got := d.Video().Codec; undeclared && got != 0 || !undeclared && got.String() != want.video {
		t.Errorf("video %v, want %v", got, want.video)
	}
	audio := "-"
	if len(d.Tracks) > 1 {
		audio = d.Tracks[1].Codec.String()
	}
	if want.audio != "?" && audio != want.audio {
		t.Errorf("audio %v, want %v", audio, want.audio)
	}
	back := "no"
	if len(d.BackChannels) > 0 {
		back = d.BackChannels[0].Codec.String()
	}
	if back != want.back {
		t.Errorf("back-channel %v, want %v", back, want.back)
	}
	for _, m := range append(d.Tracks, d.BackChannels...) {
		if m.ClockRate == 0 || m.Codec != 0 && m.Format == nil {
			t.Errorf("%+v", m)
		}
		if m.Codec == media.AAC && (len(m.AAC.Config) < 2 || m.AAC.SizeLength == 0) {
			t.Errorf("%+v", m.AAC)
		}
	}
	return d
}

// Of several formats of a video the first counts that the text maps to a coding that is recorded; a static type that is only
// listed comes after those. Others of the same coding are taken as well.
func TestSeveralFormats(t *testing.T) {
	for _, c := range []struct {
		m, maps string
		codec   media.Codec
		pt      uint8
		others  []uint8
	}{
		{"video 0 RTP/AVP 26 96 34", "96 H264/90000", media.H264, 96, nil},
		{"video 0 RTP/AVP 26 34", "", media.MJPEG, 26, nil},
		{"video 0 RTP/AVP 26 96", "96 VP8/90000", media.MJPEG, 26, nil},
		{"video 0 RTP/AVP 26 96", "26 JPEG/90000,96 H264/90000", media.MJPEG, 26, nil},
		{"video 0 RTP/AVP 34 97 96", "34 H263/90000,96 H264/90000,97 H265/90000", media.H265, 97, nil},
		{"video 0 RTP/AVP 96 97 98 99", "96 H264/90000,97 H265/90000,98 H264/90000,99 H264/45000", media.H264, 96, []uint8{98}},
		{"video 0 RTP/AVP 96 98", "96 VP8/90000,98 H264/90000", media.H264, 98, nil},
	} {
		text := "v=0\r\nm=" + c.m + "\r\n"
		for m := range strings.SplitSeq(c.maps, ",") {
			if m != "" {
				text += "a=rtpmap:" + m + "\r\n"
			}
		}
		d, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s, %s: %v", c.m, c.maps, err)
			continue
		}
		if v := d.Video(); v.Codec != c.codec || v.PayloadType != c.pt || !slices.Equal(v.OtherTypes, c.others) {
			t.Errorf("%s, %s: %v under %d and %v", c.m, c.maps, v.Codec, v.PayloadType, v.OtherTypes)
		}
	}
}
