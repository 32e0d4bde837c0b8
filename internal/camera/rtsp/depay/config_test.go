package depay

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	mch264 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	mch265 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// TestConfigOfCaptures makes the configuration of every session description
// with parameter sets, and compares the size with mediacommon's parser.
func TestConfigOfCaptures(t *testing.T) {
	files, err := filepath.Glob("../sdp/testdata/sdp/*.sdp")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	made := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := sdp.Parse(text)
		if err != nil || len(d.Video().ParameterSets) == 0 {
			continue
		}
		for _, m := range d.Tracks {
			dep, err := New(m)
			if err != nil {
				t.Errorf("%s: %v", f, err)
				continue
			}
			tr := dep.Track()
			if tr == nil {
				t.Errorf("%s: no track of %v", f, m.Codec)
				continue
			}
			c := *tr
			c.Number = 1
			if err := c.Check(); err != nil {
				t.Errorf("%s: %v", f, err)
			}
			made++
		}
		v := d.Video()
		tr := func() *media.Track { d, _ := New(v); return d.Track() }()
		w, h := 0, 0
		for _, s := range v.ParameterSets {
			if v.Codec == media.H264 {
				var p mch264.SPS
				if s[0]&0x1f == 7 && p.Unmarshal(s) == nil {
					w, h = p.Width(), p.Height()
				}
			} else {
				var p mch265.SPS
				if s[0]>>1 == 33 && p.Unmarshal(s) == nil {
					w, h = p.Width(), p.Height()
				}
			}
		}
		if w != 0 && tr != nil && (tr.Width != w || tr.Height != h) {
			t.Errorf("%s: %d x %d, mediacommon says %d x %d", f, tr.Width, tr.Height, w, h)
		}
	}
	if made < 25 {
		t.Errorf("%d tracks", made)
	}
}

func TestConfigs(t *testing.T) {
	h := &h264{}
	for _, s := range [][]byte{sps264b, pps264b} {
		h.store(s)
	}
	tr := h.track(nil)
	if got := hex.EncodeToString(tr.Config); got != "014d001fffe1000a674d001f95a814016e40"+"01000468ee3c80" {
		t.Errorf("avcC %s", got)
	}
	h = &h264{}
	for _, s := range [][]byte{sps264a, pps264a} {
		h.store(s)
	}
	if got := h.track(nil).Config; string(got[len(got)-4:]) != "\xfd\xf8\xf8\x00" {
		t.Errorf("avcC of High profile ends with %x", got[len(got)-4:])
	}
	g := &h265{}
	for _, s := range [][]byte{vps265a, sps265a, pps265a} {
		g.store(s)
	}
	tr = g.track(nil)
	want := "0101600000" + "00b000000000005a" + "f000fcfdf8f80000" + "0f03" +
		"a00001" + "0022" + hex.EncodeToString(vps265a) + "a10001" + "002c" + hex.EncodeToString(sps265a) + "a20001" + "0009" + hex.EncodeToString(pps265a)
	if got := hex.EncodeToString(tr.Config); got != want {
		t.Errorf("hvcC\n got %s\nwant %s", got, want)
	}
	if tr.Codecs != "hvc1.1.6.L90.B0" || tr.Width != 704 || tr.Height != 480 {
		t.Errorf("%s %d x %d", tr.Codecs, tr.Width, tr.Height)
	}
}

// TestRareSets are legal and rare: another parser gives up on them.
func TestRareSets(t *testing.T) {
	// H.265 with three sub-layers that have a profile and a level each.
	w := &bitWriter{}
	w.put(0x4201, 16)
	w.put(0, 4)
	w.put(2, 3)
	w.put(1, 1)
	w.put(1, 8)
	w.put(0x60000000, 32)
	w.put(0x900000000000, 48)
	w.put(120, 8)
	w.put(0b1111, 4)
	w.put(0, 12)
	for range 2 {
		for range 11 {
			w.put(0x11, 8)
		}
		w.put(90, 8)
	}
	for _, v := range []uint{0, 1, 3840, 2176} {
		w.ue(v)
	}
	w.put(1, 1)
	for _, v := range []uint{0, 0, 0, 8, 0, 0, 4} {
		w.ue(v)
	}
	w.put(1, 1)
	for _, v := range []uint{1, 0, 0, 2, 1, 0, 4, 2, 0} {
		w.ue(v)
	}
	s, ok := parseSPS265(w.bytes())
	if !ok || s.width != 3840 || s.height != 2160 || s.reorder != 2 || s.subLayers != 2 {
		t.Errorf("%+v, %v", s, ok)
	}
	var p mch265.SPS
	if p.Unmarshal(w.bytes()) == nil {
		t.Error("mediacommon reads it now: the note in sps265.go is out of date")
	}
	// H.264 with a broken VUI: the size counts.
	if s, ok := parseSPS264(b64("Z00AKp2oHgCJ+WbgICAoAAADAAgAAAMAfCA=")); !ok || s.width != 1920 || s.height != 1080 {
		t.Errorf("VStarcam: %+v, %v", s, ok)
	}
	// Bytes behind the end (Reolink).
	if s, ok := parseSPS264(unhex("67640033ac1514a0a03da1000004f6000063380404")); !ok || s.width != 640 || s.height != 480 {
		t.Errorf("Reolink: %+v, %v", s, ok)
	}
}

func TestReorderDepth(t *testing.T) {
	for _, c := range []struct {
		sps  string
		want int
	}{
		{"Z0IAKeKQCgDLYC3AQEBpB4kRUA==", 0}, // Baseline
		{"Z00AH5WoFAFuQA==", 0},             // Main, output order is decoding order
		{"Z2QAM6wVFKAoAPGQ", -1},            // High, nothing said
	} {
		if s, ok := parseSPS264(b64(c.sps)); !ok || s.reorder != c.want {
			t.Errorf("%s: %+v", c.sps, s)
		}
	}
}
