package worker

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"vigil/internal/fmp4"
	"vigil/internal/media"
)

// film makes fragments of a track's key pictures, one every second from an
// instant on.
func film(t *testing.T, track media.Track, keys []key, from media.Ticks) (init []byte, fragments [][]byte) {
	t.Helper()
	track.Width, track.Height, track.Codecs = 640, 480, "x"
	if track.Codec == media.MJPEG {
		track.Codecs, track.Width, track.Height = "", 320, 240
	}
	init, err := fmp4.Init([]media.Track{track})
	if err != nil {
		t.Fatal(err)
	}
	tracks := &media.Tracks{List: []media.Track{track}, Init: init}
	for i, k := range keys {
		b := media.NewBatch(len(k.unit))
		b.Tracks = tracks
		copy(b.Payload(), k.unit)
		dts := from + media.Ticks(i)*media.TicksPerSecond
		b.Units = []media.Unit{{Track: 1, RandomAccess: true, DTS: dts, Arrived: dts.Time().UnixNano(), Data: b.Payload()[:len(k.unit)]}}
		if err := fmp4.Frame(b); err != nil {
			t.Fatal(err)
		}
		fragments = append(fragments, append([]byte(nil), b.Fragment...))
		b.Release()
	}
	return init, fragments
}

// decodeTimes finds the tfdt and the number of samples of each fragment (ISO/IEC 14496-12 8.8).
func decodeTimes(t *testing.T, b []byte) (times []media.Ticks, samples int) {
	t.Helper()
	for len(b) >= 8 {
		n := int(binary.BigEndian.Uint32(b))
		if n < 8 || n > len(b) {
			t.Fatalf("a box of %d bytes, there are %d", n, len(b))
		}
		switch string(b[4:8]) {
		case "moof", "traf":
			x, s := decodeTimes(t, b[8:n])
			times, samples = append(times, x...), samples+s
		case "tfdt":
			times = append(times, media.Ticks(binary.BigEndian.Uint64(b[12:])))
		case "trun":
			samples += int(binary.BigEndian.Uint32(b[12:]))
		}
		b = b[n:]
	}
	return times, samples
}

// TestRecode: what no browser plays comes out as H.264, picture for picture, at the same times.
func TestRecode(t *testing.T) {
	for _, name := range []string{"clock-h265.mp4", "clock.mjpeg"} {
		t.Run(name, func(t *testing.T) {
			p, log := newPictures(t)
			track, keys := readKeys(t, name)
			keys = keys[:min(len(keys), 8)]
			from := media.TicksOf(time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
			init, fragments := film(t, track, keys, from)
			r, err := p.Recode([]media.Track{track})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			go func() {
				for _, b := range append([][]byte{init}, fragments...) {
					if _, err := r.Write(b); err != nil {
						t.Error(err)
					}
				}
				r.End()
			}()
			out, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			times, samples := decodeTimes(t, out)
			if samples != len(keys) || len(times) == 0 || times[0] != from {
				t.Fatalf("%d pictures of %d, at %v from %v\n%s", samples, len(keys), times, from, log.String())
			}
			for _, at := range times {
				if (at-from)%media.TicksPerSecond != 0 {
					t.Errorf("a picture at %v", at-from)
				}
			}
		})
	}
}

// Streams are coded anew as many at a time as the machine is to bear; one that is
// closed makes room, whatever it was at.
func TestRecodeIsBounded(t *testing.T) {
	p, _ := newPictures(t)
	track, keys := readKeys(t, "clock-h265.mp4")
	init, fragments := film(t, track, keys[:2], media.TicksPerSecond*1000)
	var open []*Recode
	for range mostRecodes {
		r, err := p.Recode([]media.Track{track})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	if _, err := p.Recode([]media.Track{track}); !errors.Is(err, ErrTooManyRecodes) {
		t.Errorf("one more: %v", err)
	}
	if _, err := open[0].Write(append(init, fragments[0]...)); err != nil {
		t.Error(err)
	}
	open[0].Close()
	open[0].Close()
	if _, err := open[0].Write(fragments[1]); err == nil {
		t.Error("written to after it was closed")
	}
	r, err := p.Recode([]media.Track{track})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("not at all a film, and then nothing more\x00\x00\x00\x00")); err != nil {
		t.Error(err)
	}
	r.End()
	if b, err := io.ReadAll(r); err != nil || len(b) > 4096 {
		t.Errorf("%d bytes of nonsense, %v", len(b), err)
	}
	r.Close()
	open[1].Close()
	if p.recodes != 0 {
		t.Errorf("%d are counted", p.recodes)
	}
}

func TestRecoded(t *testing.T) {
	plays := []media.Track{{Number: 1, Codec: media.H264, Codecs: "avc1.64001f"}, {Number: 2, Codec: media.AAC, Codecs: "mp4a.40.2"}}
	if list, changes := Recoded(plays); changes || len(list) != 2 || list[0].Codecs != "avc1.64001f" {
		t.Errorf("%v %v", list, changes)
	}
	for _, c := range []media.Codec{media.H265, media.MJPEG} {
		if list, changes := Recoded([]media.Track{{Codec: c, Codecs: "hvc1.1"}}); !changes || list[0].Codec != media.H264 {
			t.Errorf("%v: %v", c, list)
		}
	}
	if list, changes := Recoded([]media.Track{plays[0], {Codec: media.PCMA}}); !changes || list[0].Codecs != "avc1.64001f" || list[1].Codec != media.AAC {
		t.Errorf("%v", list)
	}
}
