package live

import (
	"testing"
	"time"

	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/worker/wire"
)

// A camera that was removed and is brought back is the one that the workers
// know: its stream, where their pictures go, and how it is, which they tell only when
// that changes.
func TestBroughtBack(t *testing.T) {
	s := New()
	with := &settings.Doc{Cameras: []settings.Camera{{
		ID: media.CameraID{1}, Streams: []settings.Stream{{ID: media.StreamID{1}, Kind: settings.Main, Recorded: true}}, Recording: settings.Recording{On: true, By: "amy"},
	}}}
	gone := &settings.Doc{Cameras: []settings.Camera{with.Cameras[0]}}
	gone.Cameras[0].Remove("amy", time.Unix(1e9, 0))
	s.Follow(with)
	place := s.Stream(media.StreamID{1})
	s.SetStatus(media.CameraID{1}, media.StreamID{1}, wire.Status{State: wire.Live})
	s.Follow(gone)
	if s.Stream(media.StreamID{1}) != nil || !s.State(media.StreamID{1}).Off || len(s.Specs()) != 0 || place.Stats().Down != media.Stopped {
		t.Errorf("removed: %+v", s.State(media.StreamID{1}))
	}
	s.Follow(with)
	if s.Stream(media.StreamID{1}) != place || s.State(media.StreamID{1}).State != wire.Live || len(s.Recorded()) != 1 {
		t.Errorf("brought back: %+v", s.State(media.StreamID{1}))
	}
}
