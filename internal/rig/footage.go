package rig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"vigil/internal/simcam"
)

// Footage is what a range of the record holds of a camera.
type Footage struct {
	Pictures map[uint64]int // by number, how often it is there
	Samples  int            // of all tracks
	Sound    int            // of these
	Gaps     []Gap
	Times    map[uint64]time.Time // Play only: decode time of a picture, on the recorder's clock
}

// A Gap is a stretch without footage, with its cause.
type Gap struct {
	From, To int64 // ms since the epoch
	Cause    string
	By       string
	Lost     int64
}

// Numbers returns the numbers of the pictures, in order.
func (f Footage) Numbers() (l []uint64) {
	for n := range f.Pictures {
		l = append(l, n)
	}
	slices.Sort(l)
	return l
}

// Doubles returns the numbers of pictures that are there more than once.
func (f Footage) Doubles() (l []uint64) {
	for n, times := range f.Pictures {
		if times > 1 {
			l = append(l, n)
		}
	}
	slices.Sort(l)
	return l
}

// add counts what a sample holds.
func (f *Footage) add(c *Camera, data []byte) (marks []uint64, err error) {
	f.Samples++
	for _, m := range simcam.Marks(data) {
		if m.Path != c.Mark {
			return nil, fmt.Errorf("a picture of camera %d in the footage of camera %d", m.Path, c.Mark)
		}
		f.Pictures[m.Number]++
		marks = append(marks, m.Number)
	}
	return marks, nil
}

// Export makes an MP4 of a range as a person would, reads it with a parser
// that is not ours, and returns what it holds.
func (r *Rig) Export(c *Camera, from, to time.Time) Footage {
	r.t.Helper()
	f := Footage{Pictures: map[uint64]int{}}
	var x struct {
		ID, State, SHA256 string
		Size              int64
		Gaps              []Gap
		Why               *struct{ Code, Text string }
	}
	err := r.Call("POST", "/cameras/"+c.ID+"/exports", map[string]int64{"from": from.UnixMilli(), "to": to.UnixMilli()}, &x)
	var no *Refused
	if errors.As(err, &no) && no.Code == "no-footage" {
		return f
	}
	r.must(err)
	path := "/exports/" + x.ID
	defer r.Call("DELETE", path, nil, nil)
	r.Until("the export is made", Patience, func() bool {
		r.must(r.Call("GET", path, nil, &x))
		return x.State != "waiting" && x.State != "running"
	})
	if x.State != "done" {
		r.t.Fatalf("export of %s: %s %v", c.Name, x.State, x.Why)
	}
	f.Gaps = x.Gaps
	b := r.download(path + "/file")
	if int64(len(b)) != x.Size {
		r.t.Fatalf("export of %s: %d bytes came, %d were announced", c.Name, len(b), x.Size)
	}
	r.open(c, b, &f)
	return f
}

// open reads an exported file.
func (r *Rig) open(c *Camera, b []byte, f *Footage) {
	r.t.Helper()
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(b)); err != nil {
		r.t.Fatalf("export of %s: %v", c.Name, err)
	}
	for _, t := range p.Tracks {
		for _, s := range t.Samples {
			data, err := s.GetPayload()
			r.must(err)
			marks, err := f.add(c, data)
			r.must(err)
			if !t.Codec.IsVideo() {
				f.Sound++
			} else if c.Feed != nil && len(marks) != 1 {
				r.t.Errorf("export of %s: a sample with %d pictures", c.Name, len(marks))
			}
		}
	}
}

// ExportAll exports a range in as many pieces as it takes; a piece may be a
// day at most.
func (r *Rig) ExportAll(c *Camera, from, to time.Time) Footage {
	r.t.Helper()
	all := Footage{Pictures: map[uint64]int{}}
	for from.Before(to) {
		end := from.Add(24 * time.Hour)
		if end.After(to) {
			end = to
		}
		f := r.Export(c, from, end)
		for n, times := range f.Pictures {
			all.Pictures[n] += times
		}
		all.Samples += f.Samples
		all.Sound += f.Sound
		all.Gaps = append(all.Gaps, f.Gaps...)
		from = end
	}
	return all
}

func (r *Rig) download(path string) []byte {
	r.t.Helper()
	resp, err := r.ask("GET", path, nil)
	r.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	r.must(err)
	return b
}

// Play reads a range as the page does, in as many pieces as it takes, and
// returns what it holds with its times.
func (r *Rig) Play(c *Camera, from, to time.Time) Footage {
	r.t.Helper()
	f := Footage{Pictures: map[uint64]int{}, Times: map[uint64]time.Time{}}
	for next := from.UnixMilli(); ; {
		resp, err := r.ask("GET", fmt.Sprintf("/streams/%s/video.mp4?from=%d&to=%d", c.Stream, next, to.UnixMilli()), nil)
		r.must(err)
		if resp.StatusCode == http.StatusNoContent {
			resp.Body.Close()
			return f
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		r.must(err)
		r.must(f.parts(c, b))
		more := resp.Header.Get("Vigil-Next")
		if more == "" {
			return f
		}
		at, err := strconv.ParseInt(more, 10, 64)
		r.must(err)
		if at <= next {
			r.t.Fatalf("play %s: from %d on it goes on at %d", c.Name, next, at)
		}
		next = at
	}
}

// parts reads fragmented MP4.
func (f *Footage) parts(c *Camera, b []byte) error {
	var init fmp4.Init
	head := bytes.Index(b, []byte("moof"))
	if head < 4 {
		return errors.New("no fragment")
	}
	if err := init.Unmarshal(bytes.NewReader(b)); err != nil {
		return err
	}
	scale := map[int]int64{}
	video := map[int]bool{}
	for _, t := range init.Tracks {
		scale[t.ID], video[t.ID] = int64(t.TimeScale), t.Codec.IsVideo()
	}
	var parts fmp4.Parts
	if err := parts.Unmarshal(b); err != nil {
		return err
	}
	for _, p := range parts {
		for _, t := range p.Tracks {
			at := int64(t.BaseTime)
			for _, s := range t.Samples {
				marks, err := f.add(c, s.Payload)
				if err != nil {
					return err
				}
				if !video[t.ID] {
					f.Sound++
				}
				for _, n := range marks {
					per := scale[t.ID]
					f.Times[n] = time.Unix(at/per, at%per*int64(time.Second)/per)
				}
				at += int64(s.Duration)
			}
		}
	}
	return nil
}

// A Timeline is what the page shows of a camera.
type Timeline struct {
	Ranges []struct {
		From, To int64
		Open     bool
	}
	Gaps []Gap
}

// Timeline asks for it.
func (r *Rig) Timeline(c *Camera, from, to time.Time) (t Timeline) {
	r.t.Helper()
	r.must(r.Call("GET", fmt.Sprintf("/cameras/%s/timeline?from=%d&to=%d", c.ID, from.UnixMilli(), to.UnixMilli()), nil, &t))
	return t
}
