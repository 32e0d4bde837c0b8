package app

import (
	"strconv"
	"time"

	"vigil/internal/live"
	"vigil/internal/worker/wire"
)

// What makes a stream unsteady: single troubles of a few seconds that no alert
// is raised for, and that add up. A camera that somebody restarts goes once or twice.
const (
	steadySpan  = 120 // s looked at
	manyFalls   = 3   // times that pictures ceased
	manyLost    = 20  // pictures lost,
	lostInTotal = 20  // and one in so many
)

// A steadiness watches how often a stream goes and what is lost on the way,
// sample by sample, one a second.
type steadiness struct {
	ring     [steadySpan + 1]sample
	n        int
	falls    int
	unsteady bool
}

type sample struct {
	live           bool
	since          time.Time
	falls          int // so far
	lost, pictures uint64
}

// look takes a sample and tells what a person must know; nil: nothing. What was
// told once stays until there is none of it left. Pictures that came and that the recorder missed are lost as well.
func (s *steadiness) look(st live.State, missed uint64) map[string]string {
	now := sample{live: st.State == wire.Live, since: st.Since, lost: st.Lost + missed, pictures: st.Pictures - missed}
	if s.n > 0 { // a camera that is asked again at once goes and comes between two samples
		if was := s.ring[(s.n-1)%len(s.ring)]; was.live && (!now.live || now.since != was.since) {
			s.falls++
		}
	}
	now.falls = s.falls
	s.ring[s.n%len(s.ring)] = now
	s.n++
	old := s.ring[(s.n-min(s.n, len(s.ring)))%len(s.ring)]
	falls, lost, total := now.falls-old.falls, now.lost-old.lost, now.lost-old.lost+now.pictures-old.pictures
	if s.unsteady {
		s.unsteady = falls > 0 || lost*2*lostInTotal > total
	} else {
		s.unsteady = falls >= manyFalls || lost >= manyLost && lost*lostInTotal > total
	}
	if !s.unsteady {
		return nil
	}
	return map[string]string{"times": strconv.Itoa(falls), "lost": strconv.FormatUint(lost, 10)}
}
