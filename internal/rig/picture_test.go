package rig

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"vigil/internal/simcam"
	"vigil/internal/simcam/clockface"
)

// picture asks for one and reads the clock in it: how far it is from the time
// that the recorder says. It is not ok when there is none.
func (r *Rig) picture(path string) (at time.Time, off time.Duration, width int, ok bool) {
	r.t.Helper()
	resp, err := r.ask("GET", path, nil)
	r.must(err)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return at, 0, 0, false
	}
	b, err := io.ReadAll(resp.Body)
	r.must(err)
	img, err := jpeg.Decode(bytes.NewReader(b))
	r.must(err)
	ms, err := strconv.ParseInt(resp.Header.Get("Vigil-At"), 10, 64)
	r.must(err)
	at = time.UnixMilli(ms)
	shown, ok := clockface.Read(img)
	if !ok {
		r.t.Fatalf("%s: no clock in the picture", path)
	}
	off = at.Sub(at.Truncate(time.Minute)) - shown
	if off < -30*time.Second {
		off += time.Minute
	} else if off > 30*time.Second {
		off -= time.Minute
	}
	return at, off, img.Bounds().Dx(), true
}

// Pictures of live cameras and of stored footage show the instant that they
// claim, in all codings; those of the past come again from where they are kept, and nothing of
// them can be read on the disk.
//
//vigil:clause 5.1.1.2 5.5.1.1
func TestPictures(t *testing.T) {
	r := New(t, Options{})
	r.Start()
	r.Simulate(
		simcam.Stream{Path: "h264", Source: "clock-small"}, simcam.Stream{Path: "h265", Source: "clock-h265-small"},
		simcam.Stream{Path: "mjpeg", Source: "clock-mjpeg"},
	)
	r.WaitRecording()
	since := time.Now()
	for _, c := range r.Cameras {
		r.Until("footage of some seconds", Patience, func() bool {
			ranges := r.Timeline(c, since.Add(-time.Minute), time.Now().Add(time.Minute)).Ranges
			return len(ranges) > 0 && ranges[len(ranges)-1].To-ranges[0].From > 5000
		})
		at, off, width, ok := r.picture("/streams/" + c.Stream + "/snapshot.jpg?width=200")
		if !ok || off.Abs() > time.Second || width != 200 || time.Since(at) > 10*time.Second {
			t.Errorf("%s now: %v, the clock in it is off by %v, %d pixels wide", c.Name, at, off, width)
		}
		for range 2 { // decoded, and kept
			for back := time.Second; back < 5*time.Second; back += time.Second {
				want := time.Now().Add(-back)
				at, off, width, ok := r.picture(fmt.Sprintf("/streams/%s/picture.jpg?at=%d", c.Stream, want.UnixMilli()))
				if !ok || off.Abs() > time.Second || want.Sub(at) > 3*time.Second || at.After(want) || width != 320 {
					t.Errorf("%s, %v ago: %v, %v before that, the clock in it is off by %v, %d pixels wide", c.Name, back, ok, want.Sub(at), off, width)
				}
			}
		}
		if at, off, _, ok := r.picture("/streams/" + c.Stream + "/picture.jpg"); !ok || off.Abs() > time.Second || time.Since(at) > 5*time.Second {
			t.Errorf("%s, the newest: %v, %v, the clock in it is off by %v", c.Name, ok, at, off)
		}
		for _, at := range []time.Time{since.Add(-time.Hour), time.Now().Add(time.Hour)} {
			if _, _, _, ok := r.picture(fmt.Sprintf("/streams/%s/picture.jpg?at=%d", c.Stream, at.UnixMilli())); ok {
				t.Errorf("%s: a picture of %v, when nothing was recorded", c.Name, at)
			}
		}
	}
	kept, err := os.ReadFile(r.State + "/pictures")
	if err != nil || len(kept) == 0 {
		t.Errorf("pictures that are kept: %d bytes, %v", len(kept), err)
	}
	if bytes.Contains(kept, []byte{0xff, 0xd8, 0xff}) && bytes.Contains(kept, []byte("Lavc")) {
		t.Error("a picture can be read on the disk")
	}
	if n := len(r.Audit("view.play")); n == 0 || n > len(r.Cameras) {
		t.Errorf("%d records of looks at %d cameras within a minute", n, len(r.Cameras))
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(r.State + "/pictures"); err != nil || st.Size() != 0 {
		t.Errorf("pictures outlive the recorder: %v, %v", st, err)
	}
}
