package rig

import (
	"encoding/json"
	"os"
	"time"

	"vigil/internal/simcam"
	"vigil/internal/simcam/footage"
)

// A Camera is a camera of the recorder.
type Camera struct {
	ID     string // the recorder's
	Stream string // id of its main stream
	Name   string
	URL    string
	Feed   *simcam.Feed // what it sends; nil for cameras that are not simulated
	Mark   int          // of its pictures
}

// Simulate starts simulated cameras, one for each stream, and adds them.
func (r *Rig) Simulate(streams ...simcam.Stream) {
	r.t.Helper()
	sim, err := simcam.Start(simcam.Config{Footage: footage.All, Streams: streams, Keep: 2 * time.Hour, NoUDP: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sim.Close)
	for i, s := range streams {
		args := []string{"--link", "plain"}
		if s.Sound != "" {
			args = append(args, "--audio")
		}
		c := r.Add(s.Path, sim.URL(s.Path), nil, args...)
		c.Feed, c.Mark = sim.Feed(s.Path), i
	}
}

// Add adds a camera with the command line.
func (r *Rig) Add(name, url string, env []string, args ...string) *Camera {
	r.t.Helper()
	own := r.env
	r.env = append(append([]string{}, own...), env...)
	out, errOut, err := r.Run(append([]string{"--json", "camera", "add", "--name", name, "--url", url}, args...)...)
	r.env = own
	if err != nil {
		r.t.Fatalf("vigil camera add: %v: %s", err, errOut)
	}
	var info cameraInfo
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		r.t.Fatalf("vigil camera add: %v: %s", err, out)
	}
	c := &Camera{ID: info.ID, Stream: info.Streams[0].ID, Name: name, URL: url}
	r.Cameras = append(r.Cameras, c)
	return c
}

type cameraInfo struct {
	ID        string
	State     string
	Recording struct {
		On, Now bool
		Why     *struct{ Code, Text string }
	}
	Streams []struct {
		ID    string
		State string
		Lost  int64
	}
}

// Info asks for the state of all cameras, by id. It is nil while the recorder
// does not answer.
func (r *Rig) Info() map[string]cameraInfo {
	var list struct{ Cameras []cameraInfo }
	if err := r.Call("GET", "/cameras", nil, &list); err != nil {
		return nil
	}
	m := map[string]cameraInfo{}
	for _, c := range list.Cameras {
		m[c.ID] = c
	}
	return m
}

// Recording tells whether all cameras are being recorded.
func (r *Rig) Recording() bool {
	all := r.Info()
	for _, c := range r.Cameras {
		if !all[c.ID].Recording.Now {
			return false
		}
	}
	return all != nil
}

// WaitRecording waits until all cameras are being recorded and returns how
// long after the start of the process each was.
func (r *Rig) WaitRecording() map[string]time.Duration {
	r.t.Helper()
	took := map[string]time.Duration{}
	r.Until("all cameras are being recorded", Patience, func() bool {
		now := time.Since(r.Started)
		for id, c := range r.Info() {
			if c.Recording.Now && took[id] == 0 {
				took[id] = now
			}
		}
		return len(took) >= len(r.Cameras)
	})
	return took
}

// Switch switches recording of a camera on or off.
func (r *Rig) Switch(c *Camera, on bool) {
	r.t.Helper()
	r.must(r.Call("PUT", "/cameras/"+c.ID+"/recording", map[string]bool{"on": on}, nil))
}

// soak tells whether the long tests are wanted.
func soak() bool { return os.Getenv("VIGIL_SOAK") == "1" }
