package sdp

import (
	"reflect"
	"testing"
	"unicode/utf8"

	gsdp "github.com/bluenviron/gortsplib/v5/pkg/sdp"
)

// FuzzParse: no text makes gortsplib refuse what was mended; what comes out
// keeps its bounds; mending twice changes nothing.
func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(body(f, s.file))
	}
	for _, row := range table(f, "odd.tsv", 8) {
		f.Add(body(f, row[0]))
	}
	f.Add([]byte(plain))
	f.Add([]byte("m=video -1 TCP/RTP/AVP 0 35;96\na=rtpmap:102 H265/90000\na=rtpmap:96 /90000\na=fmtp:96 packetization-mode=1 sprop-parameter-sets=\"Z0IAHvQCgC3I\",\"aM48gA==\"\na=fmtp:96 x=1"))
	f.Add([]byte("m=audio 0 RTP/AVP 0\na=rtpmap:0 PCMA\na=rtpmap:0 PCMU/8000;\nm=video 0 RTP/AVP 97\na=rtpmap:97 H265/90000\na=fmtp:98 sprop-parameter-sets="))
	f.Fuzz(func(t *testing.T, text []byte) {
		rec := &record{}
		lines, err := readLines(text, rec)
		if err != nil {
			return
		}
		var d gsdp.SessionDescription
		s := mend(lines, rec)
		if err := d.Unmarshal(s.text()); err != nil {
			t.Fatalf("%v in\n%s", err, s.text())
		}
		if len(d.MediaDescriptions) != len(s.medias) {
			t.Fatalf("%d medias of %d", len(d.MediaDescriptions), len(s.medias))
		}
		got, err := Parse(text)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatal(err)
			}
			return
		}
		if len(got.Tracks) == 0 || len(got.Tracks) > 2 || len(got.Notes) > maxNotes {
			t.Fatalf("%+v", got)
		}
		for i, m := range got.Tracks {
			if m.ClockRate <= 0 || m.Channels < 0 || m.Channels > 8 || m.PayloadType > 127 || m.Codec != 0 && m.Codec.Video() != (i == 0) {
				t.Fatalf("%+v", m)
			}
		}
		for _, n := range got.Notes {
			for _, v := range n.Args {
				if len(v) > 3*maxArg || !utf8.ValidString(v) {
					t.Fatalf("%q", v)
				}
			}
		}
		again, err := Parse(s.text())
		if err != nil {
			t.Fatalf("not the second time: %v", err)
		}
		for i := range got.Tracks {
			a, b := got.Tracks[i], again.Tracks[i]
			a.Format, b.Format, a.Params, b.Params, a.MIKEY, b.MIKEY = nil, nil, nil, nil, nil, nil
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v, then %+v", a, b)
			}
		}
	})
}
