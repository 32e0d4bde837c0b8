package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"vigil/internal/media"
	"vigil/internal/simcam/clockface"
)

// A key is a random access unit of a film.
type key struct {
	at   time.Duration
	unit []byte
}

// readKeys takes the track and the key pictures out of a film of simcam.
func readKeys(t *testing.T, name string) (track media.Track, keys []key) {
	t.Helper()
	b, err := os.ReadFile("../simcam/footage/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".mjpeg") {
		for i, j := range bytes.SplitAfter(b, []byte{0xff, 0xd9}) {
			if len(j) > 0 {
				keys = append(keys, key{time.Duration(i) * time.Second / 5, j})
			}
		}
		return media.Track{Number: 1, Codec: media.MJPEG, Width: 320, Height: 240}, keys
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	f := p.Tracks[0]
	track = media.Track{Number: 1, Codec: media.H264}
	box := "avcC"
	if strings.Contains(name, "h265") {
		track.Codec, box = media.H265, "hvcC"
	}
	i := bytes.Index(b, []byte(box))
	track.Config = b[i+4 : i-4+int(binary.BigEndian.Uint32(b[i-4:]))]
	var at int64
	for _, s := range f.Samples {
		if !s.IsNonSyncSample {
			u, err := s.GetPayload()
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key{time.Duration(at) * time.Second / time.Duration(f.TimeScale), u})
		}
		at += int64(s.Duration)
	}
	return track, keys
}

func newPictures(t *testing.T) (*Pictures, *lockedWriter) {
	w := new(lockedWriter)
	p := NewPictures(Options{Log: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	t.Cleanup(p.Close)
	return p, w
}

func decodeJPEG(t *testing.T, b []byte) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v in %d bytes", err, len(b))
	}
	return img
}

// TestPictures decodes key pictures in any order and reads the clock in them.
//
//vigil:clause 5.3.2.1
func TestPictures(t *testing.T) {
	p, log := newPictures(t)
	for _, c := range []struct {
		film        string
		width, w, h int
		clock       bool
	}{
		{"clock-h264.mp4", 320, 320, 240, true},
		{"clock-h264-small.mp4", 0, 320, 240, true},
		{"clock-h265-small.mp4", 160, 160, 120, true},
		{"clock.mjpeg", 200, 200, 150, true},
		{"clock.mjpeg", 0, 320, 240, true},
		{"pyramid-h264.mp4", 400, 400, 224, false}, // B-pictures: the decoder holds pictures back; its pixels are not square
	} {
		t.Run(fmt.Sprintf("%s %d", c.film, c.width), func(t *testing.T) {
			track, keys := readKeys(t, c.film)
			of := media.StreamID(media.NewID[struct{}]())
			pids := map[int]bool{}
			for range 12 {
				k := keys[rand.N(len(keys))]
				b, err := p.JPEG(t.Context(), Still{Of: of, Track: track, Unit: k.unit, Width: c.width})
				if err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
				img := decodeJPEG(t, b)
				if s := img.Bounds().Size(); s.X != c.w || s.Y != c.h {
					t.Errorf("%v pixels", s)
				}
				if got, ok := clockface.Read(img); c.clock && (!ok || got != k.at%time.Minute) {
					t.Errorf("the picture shows %v, %v, not %v", got, ok, k.at)
				}
				for _, d := range p.list() {
					pids[d.proc.Pid] = true
				}
			}
			if len(pids) > mostDecoders {
				t.Errorf("%d processes for one stream", len(pids))
			}
		})
	}
}

// list returns the decoders that live.
func (p *Pictures) list() (l []*decoder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.decoders {
		l = append(l, d)
	}
	return l
}

// TestPicturesOrder: each caller gets its own picture, however many ask at
// once, and of however many streams.
func TestPicturesOrder(t *testing.T) {
	p, log := newPictures(t)
	track, keys := readKeys(t, "clock-h264-small.mp4")
	var all sync.WaitGroup
	for range 5 {
		of := media.StreamID(media.NewID[struct{}]())
		for range 2 {
			all.Go(func() {
				for range 4 {
					k := keys[rand.N(len(keys))]
					b, err := p.JPEG(t.Context(), Still{Of: of, Track: track, Unit: k.unit, Width: 320})
					if err != nil {
						t.Errorf("%v\n%s", err, log)
						return
					}
					img, err := jpeg.Decode(bytes.NewReader(b))
					if err != nil {
						t.Error(err)
						return
					}
					if got, ok := clockface.Read(img); !ok || got != k.at%time.Minute {
						t.Errorf("the picture shows %v, %v, not %v", got, ok, k.at)
					}
				}
			})
		}
	}
	all.Wait()
	if n := len(p.list()); n > mostDecoders {
		t.Errorf("%d decoders", n)
	}
}

// TestPicturesHostile gives what is no picture; the next one is decoded all the
// same.
func TestPicturesHostile(t *testing.T) {
	p, log := newPictures(t)
	track, keys := readKeys(t, "clock-h264-small.mp4")
	of := media.StreamID(media.NewID[struct{}]())
	good := Still{Of: of, Track: track, Unit: keys[1].unit}
	noise := bytes.Clone(keys[0].unit)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 12; i < len(noise); i++ {
		noise[i] = byte(r.Uint32())
	}
	empty := track
	empty.Config = nil
	short := track
	short.Config = track.Config[:9]
	for name, s := range map[string]Still{
		"breaks off":      {Of: of, Track: track, Unit: keys[0].unit[:100]},
		"no length":       {Of: of, Track: track, Unit: []byte{0, 0}},
		"length of zero":  {Of: of, Track: track, Unit: []byte{0, 0, 0, 0, 1}},
		"no sets":         {Of: of, Track: empty, Unit: keys[0].unit},
		"sets break off":  {Of: of, Track: short, Unit: keys[0].unit},
		"not JPEG":        {Of: of, Track: media.Track{Codec: media.MJPEG}, Unit: []byte("GET / HTTP/1.1")},
		"sound":           {Of: of, Track: media.Track{Codec: media.AAC}, Unit: []byte{1}},
		"empty":           {Of: of, Track: track},
		"nothing of ours": {Of: of, Track: track, Unit: []byte{0, 0, 0, 2, 9, 0xf0}},
	} {
		if b, err := p.JPEG(t.Context(), s); err == nil {
			t.Errorf("%s: a picture of %d bytes", name, len(b))
		}
	}
	if b, err := p.JPEG(t.Context(), Still{Of: of, Track: track, Unit: noise}); err == nil {
		decodeJPEG(t, b) // what a decoder makes of noise is its affair
	}
	b, err := p.JPEG(t.Context(), good)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if got, ok := clockface.Read(decodeJPEG(t, b)); !ok || got != keys[1].at {
		t.Errorf("the picture shows %v, %v, not %v", got, ok, keys[1].at)
	}
}

// TestPicturesEnd: a decoder that falls is replaced, one that nobody needs
// ends, a caller that leaves is not waited for.
func TestPicturesEnd(t *testing.T) {
	p, log := newPictures(t)
	track, keys := readKeys(t, "clock-h264-small.mp4")
	s := Still{Of: media.StreamID(media.NewID[struct{}]()), Track: track, Unit: keys[0].unit}
	if _, err := p.JPEG(t.Context(), s); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	d := p.list()[0]
	if err := d.proc.Kill(); err != nil {
		t.Fatal(err)
	}
	for d.ended.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.JPEG(t.Context(), s); err != nil {
		t.Errorf("after a fall: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.JPEG(gone, Still{Of: media.StreamID(media.NewID[struct{}]()), Track: track, Unit: keys[0].unit}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
	d = p.list()[0]
	p.Close()
	for d.ended.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.JPEG(t.Context(), s); err == nil {
		t.Error("a picture after the end")
	}
}

// Of a unit with two pictures, or none that begins a sequence, one of its own
// is shown, and what is left of it never in place of the next.
func TestPicturesOdd(t *testing.T) {
	for _, film := range []string{"clock-h264-small.mp4", "clock-h265-small.mp4"} {
		p, log := newPictures(t)
		track, keys := readKeys(t, film)
		of := media.StreamID(media.NewID[struct{}]())
		for i := range 12 {
			a, b := keys[i%len(keys)], keys[(i+len(keys)/2)%len(keys)]
			unit := a.unit
			if i%3 > 0 {
				unit = append(bytes.Clone(a.unit), b.unit...)
			}
			got, err := p.JPEG(t.Context(), Still{Of: of, Track: track, Unit: unit, Width: 320})
			if err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			if shown, ok := clockface.Read(decodeJPEG(t, got)); !ok || shown != a.at%time.Minute && (i%3 == 0 || shown != b.at%time.Minute) {
				t.Errorf("%s: picture %d shows %v, %v, not %v", film, i, shown, ok, a.at)
			}
		}
	}
}

// A caller that leaves gets an error, not an empty picture.
func TestPicturesLeft(t *testing.T) {
	p, log := newPictures(t)
	track, keys := readKeys(t, "clock-h264-small.mp4")
	s := Still{Of: media.StreamID(media.NewID[struct{}]()), Track: track, Unit: keys[0].unit}
	if _, err := p.JPEG(t.Context(), s); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s.Unit = append(bytes.Clone(keys[0].unit), keys[1].unit...) // for a process of its own
	if b, err := p.JPEG(gone, s); err == nil {
		t.Errorf("%d bytes and no error", len(b))
	}
}

// The end comes while decoders start: no process and no descriptor is left.
func TestPicturesCloseStarting(t *testing.T) {
	track, keys := readKeys(t, "clock-h264-small.mp4")
	for i := range 10 {
		p, _ := newPictures(t)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				_, _ = p.JPEG(t.Context(), Still{Of: media.StreamID(media.NewID[struct{}]()), Track: track, Unit: keys[0].unit})
			})
		}
		time.Sleep(time.Duration(i) * 5 * time.Millisecond)
		p.Close()
		all.Wait()
		if n := len(p.list()); n > 0 {
			t.Errorf("%d decoders after the end", n)
		}
	}
}

// TestPicturesJail looks at a decoder from outside: it is ffmpeg, nobody, with
// no rights, no new ones, a filter, and the descriptors that it was given.
//
//vigil:clause 5.3.2.1
func TestPicturesJail(t *testing.T) {
	p, log := newPictures(t)
	track, keys := readKeys(t, "clock-h264-small.mp4")
	if _, err := p.JPEG(t.Context(), Still{Of: media.StreamID(media.NewID[struct{}]()), Track: track, Unit: keys[0].unit}); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if strings.Contains(log.String(), "jail:") {
		t.Errorf("not all walls stand:\n%s", log)
	}
	pid := p.list()[0].proc.Pid
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		status[k] = strings.TrimSpace(v)
	}
	for k, want := range map[string]string{"Name": "ffmpeg", "NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000", "CapPrm": "0000000000000000"} {
		if status[k] != want {
			t.Errorf("%s: %s, not %s", k, status[k], want)
		}
	}
	if strings.HasPrefix(status["Uid"], "0") {
		t.Errorf("uid %s", status["Uid"])
	}
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/fd/" + fd.Name())
		if !strings.HasPrefix(to, "pipe:") {
			t.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
}

// BenchmarkPicture is one picture of a decoder that lives.
func BenchmarkPicture(b *testing.B) {
	t := &testing.T{}
	track, keys := readKeys(t, "clock-h264.mp4")
	p := NewPictures(Options{Log: slog.New(slog.DiscardHandler)})
	defer p.Close()
	s := Still{Of: media.StreamID(media.NewID[struct{}]()), Track: track, Width: 320, Unit: keys[0].unit}
	if _, err := p.JPEG(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		s.Unit = keys[i%len(keys)].unit
		if _, err := p.JPEG(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
