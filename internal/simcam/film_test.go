package simcam

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/pion/rtp"

	"vigil/internal/media"

	"vigil/internal/simcam/footage"
)

func TestBuiltInFilms(t *testing.T) {
	for name, want := range map[string]struct {
		codec       media.Codec
		units, keys int
		seconds     float64
	}{
		"clock":            {media.H264, 1500, 30, 60},
		"clock-small":      {media.H264, 750, 30, 60},
		"clock-h265":       {media.H265, 750, 4, 60},
		"clock-h265-small": {media.H265, 750, 30, 60},
		"clock-mjpeg":      {media.MJPEG, 300, 300, 60},
		"pyramid":          {media.H264, 120, 4, 4},
	} {
		f, err := loadFilm(footage.All, name, 25)
		if err != nil {
			t.Error(err)
			continue
		}
		keys := 0
		for i, u := range f.units {
			if u.key {
				keys++
			}
			if i > 0 && u.at <= f.units[i-1].at {
				t.Errorf("%s: picture %d is at %d after %d", name, i, u.at, f.units[i-1].at)
			}
			for _, p := range u.packets {
				if len(p.payload) == 0 || len(p.payload) > maxPayload {
					t.Errorf("%s: picture %d has a packet of %d bytes", name, i, len(p.payload))
				}
			}
		}
		if got := float64(f.length) / float64(f.clock); f.codec != want.codec || len(f.units) != want.units || keys != want.keys || got != want.seconds {
			t.Errorf("%s: %v, %d pictures, %d of them key, %g s; want %+v", name, f.codec, len(f.units), keys, got, want)
		}
	}
	videos, audios := Films()
	if len(videos) != 6 {
		t.Errorf("films %v", videos)
	}
	for _, name := range audios {
		f, err := loadSound(footage.All, name, "")
		if err != nil {
			t.Error(err)
		} else if s := float64(f.length) / float64(f.clock); s < 11 || s > 21 {
			t.Errorf("sound %s: %g s", name, s)
		}
	}
}

// What an independent reader of RTP puts together again is what went in.
func TestCutPictures(t *testing.T) {
	packets := func(f *film, u unit) (l []*rtp.Packet) {
		for i, p := range u.packets {
			if p.kind == mark {
				p.payload = appendMark(p.payload, Mark{Sent: time.Now()})
			}
			l = append(l, &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: f.payloadType(), SequenceNumber: uint16(i), Timestamp: 1, Marker: i == len(u.packets)-1}, Payload: p.payload})
		}
		return l
	}
	fragmented := 0
	for _, name := range []string{"clock", "clock-h265", "pyramid"} {
		f, err := loadFilm(footage.All, name, 25)
		if err != nil {
			t.Fatal(err)
		}
		var decode func(*rtp.Packet) ([][]byte, error)
		var more error
		if f.codec == media.H264 {
			d := &rtph264.Decoder{PacketizationMode: 1}
			if err := d.Init(); err != nil {
				t.Fatal(err)
			}
			decode, more = d.Decode, rtph264.ErrMorePacketsNeeded
		} else {
			d := &rtph265.Decoder{}
			if err := d.Init(); err != nil {
				t.Fatal(err)
			}
			decode, more = d.Decode, rtph265.ErrMorePacketsNeeded
		}
		for i, u := range f.units[:70] {
			var nals [][]byte
			for _, p := range packets(f, u) {
				if len(p.Payload) == maxPayload {
					fragmented++
				}
				if nals, err = decode(p); err != nil && err != more {
					t.Fatalf("%s, picture %d: %v", name, i, err)
				}
			}
			total, sets := 0, 0
			var marks []Mark
			for _, n := range nals {
				if m := Marks(n); m != nil {
					marks = append(marks, m...)
					continue
				}
				total += len(n)
				if kindOf(f.codec, n) == nalSet {
					sets++
				}
			}
			if want := u.bytes - len(markHead(f.codec)); total != want || len(marks) != 1 || (sets > 0) != u.key {
				t.Errorf("%s, picture %d (key %v): %d bytes of NAL units, want %d; %d marks, %d parameter sets", name, i, u.key, total, want, len(marks), sets)
			}
		}
	}
	if fragmented < 100 {
		t.Errorf("only %d full packets seen: fragments were not tested", fragmented)
	}
}

func TestCutJPEGAndSound(t *testing.T) {
	f, err := loadFilm(footage.All, "clock-mjpeg", 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &rtpmjpeg.Decoder{}
	if err := d.Init(); err != nil {
		t.Fatal(err)
	}
	var jpeg []byte
	for i, p := range f.units[33].packets {
		jpeg, err = d.Decode(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 26, SequenceNumber: uint16(i), Marker: i == len(f.units[33].packets)-1}, Payload: p.payload})
		if err != nil && err != rtpmjpeg.ErrMorePacketsNeeded {
			t.Fatal(err)
		}
	}
	at, ok := decodeClock(t, jpeg)
	if want := 33 * 200 * time.Millisecond; !ok || at != want {
		t.Errorf("picture 33 shows %v, %v; want %v", at, ok, want)
	}

	s, err := loadSound(footage.All, "aac", "")
	if err != nil {
		t.Fatal(err)
	}
	ad := &rtpmpeg4audio.Decoder{SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	if err := ad.Init(); err != nil {
		t.Fatal(err)
	}
	aus, err := ad.Decode(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: true}, Payload: s.units[5].packets[0].payload})
	if err != nil || len(aus) != 1 || len(aus[0]) != s.units[5].bytes {
		t.Errorf("AAC: %d units, %v; want one of %d bytes", len(aus), err, s.units[5].bytes)
	}
}

// A raw stream read from a file gives the same pictures as the MP4 it came from.
func TestReadAnnexB(t *testing.T) {
	for _, name := range []string{"clock-small", "clock-h265"} {
		want, err := loadFilm(footage.All, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		for _, u := range want.units {
			var fu []byte
			for _, p := range u.packets {
				switch {
				case p.kind == mark:
				case want.codec == media.H264 && p.payload[0]&0x1f == avcFUA:
					if p.payload[1]&0x80 != 0 {
						fu = []byte{p.payload[0]&0xe0 | p.payload[1]&0x1f}
					}
					fu = append(fu, p.payload[2:]...)
					if p.payload[1]&0x40 != 0 {
						raw = append(append(raw, 0, 0, 0, 1), fu...)
					}
				case want.codec == media.H265 && p.payload[0]>>1&0x3f == hevcFU:
					if p.payload[2]&0x80 != 0 {
						fu = []byte{p.payload[0]&0x81 | p.payload[2]&0x3f<<1, p.payload[1]}
					}
					fu = append(fu, p.payload[3:]...)
					if p.payload[2]&0x40 != 0 {
						raw = append(append(raw, 0, 0, 0, 1), fu...)
					}
				default:
					raw = append(append(raw, 0, 0, 1), p.payload...)
				}
			}
		}
		ext := map[media.Codec]string{media.H264: ".h264", media.H265: ".h265"}[want.codec]
		file := filepath.Join(t.TempDir(), "film"+ext)
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := loadFilm(footage.All, file, 12.5)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.units) != len(want.units) || got.length != want.length || !slices.EqualFunc(got.sets, want.sets, bytes.Equal) {
			t.Fatalf("%s: %d pictures, %d ticks, sets %x; want %d, %d, %x", name, len(got.units), got.length, got.sets, len(want.units), want.length, want.sets)
		}
		for i := range got.units {
			if g, w := got.units[i], want.units[i]; g.at != w.at || g.key != w.key || !slices.EqualFunc(g.packets, w.packets, func(a, b packet) bool {
				return a.kind == b.kind && bytes.Equal(a.payload, b.payload)
			}) {
				t.Fatalf("%s: picture %d differs", name, i)
			}
		}
	}
}

func TestUnusableFilms(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.h264": "", "b.h264": "\x00\x00\x01\x41\x9a\x00\x00", "c.mp4": "not an MP4", "d.mjpeg": "no end", "e.avi": "RIFF",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := loadFilm(footage.All, file, 25); err == nil {
			t.Errorf("%s: %d pictures, want an error", name, len(f.units))
		}
	}
	for name, content := range map[string]string{"a.ogg": "OggS", "b.aac": "x", "c.alaw": "short", "d.wav": ""} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := loadSound(footage.All, file, ""); err == nil {
			t.Errorf("%s: %d frames, want an error", name, len(f.units))
		}
	}
	if _, err := loadSound(footage.All, "source", "clock"); err == nil {
		t.Error("the clock has no sound, and yet it was found")
	}
}

func TestMarks(t *testing.T) {
	want := []Mark{{7, 0, time.UnixMilli(0)}, {9999, 9999999999, time.UnixMilli(1795492408761)}}
	b := []byte("something before")
	for _, m := range want {
		b = append(b, appendMark(markHead(media.H265), m)...)
		b = append(b, 0, 0, 1, 5)
	}
	if got := Marks(b); !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
	for n := range b { // a recording may end anywhere
		if got := Marks(b[:n]); len(got) > 2 {
			t.Errorf("%d marks in %d bytes", len(got), n)
		}
	}
	if got := Marks(bytes.Replace(b, []byte("n=0"), []byte("n=x"), 1)); len(got) != 1 {
		t.Errorf("a spoilt mark and a good one: %v", got)
	}
}
