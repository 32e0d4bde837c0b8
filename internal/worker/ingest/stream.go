package ingest

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// A stream makes batches of one session's units. It is that session's Sink.
type stream struct {
	id     uint32
	out    *queue
	cancel context.CancelFunc

	mu       sync.Mutex
	tracks   []media.Track // as declared; nil when none or refused
	declare  []byte        // the tracks frame, until it has gone out in front of a batch
	cur      *batch        // being filled, or nil
	next     media.Cause   // of the batch after cur
	lost     uint32        // pictures lost in front of the next batch
	skipping bool          // until the next random access unit of the video
	last     [media.MaxTracks + 1]media.Ticks
	status   wire.Status
	dropped  uint64 // pictures, since the start, because the core was slow
	choked   bool   // the core knows of the overload
	refused  uint64 // units that were malformed
}

// Tracks implements Sink.
func (s *stream) Tracks(tracks []media.Track) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	frame, err := wire.Append(nil, s.id, &wire.Tracks{List: tracks})
	if err != nil {
		slog.Error("tracks out of bounds", "error", err)
		s.tracks, s.declare = nil, nil
		return
	}
	if s.tracks != nil && s.next == "" {
		s.next = media.CutCodec
	}
	s.tracks, s.declare = slices.Clone(tracks), frame
	s.skipping = true
}

// Unit implements Sink. It allocates nothing in the steady state.
func (s *stream) Unit(u media.Unit, newTimeline media.Cause, lost uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	video := u.Track == 1
	entry := video && u.RandomAccess
	if newTimeline != "" {
		s.flush()
		if !wire.ValidCause(newTimeline) {
			newTimeline = media.CameraStart
		}
		s.next, s.skipping = newTimeline, true
	}
	if lost > 0 {
		s.flush()
		s.lost += lost
	}
	if entry && s.tracks != nil && s.tracks[0].Codec != media.MJPEG || s.cur != nil && (s.cur.full(len(u.Data)) || time.Since(s.cur.since) > maxAge) {
		s.flush()
	}
	if s.skipping && !entry || s.tracks == nil {
		if video {
			s.lost++
		}
		return
	}
	if !s.sound(u) {
		return
	}
	s.skipping = false
	if s.cur == nil {
		s.begin()
	}
	s.last[u.Track] = u.DTS
	s.cur.add(u)
}

// sound tells whether the core would take the unit. A session that makes
// others has a fault, which shall not cost its neighbours the worker.
func (s *stream) sound(u media.Unit) bool {
	ok := u.Track > 0 && int(u.Track) <= len(s.tracks) && len(u.Data) > 0 && len(u.Data) <= media.MaxUnit &&
		u.CTO >= 0 && u.CTO <= 10*media.TicksPerSecond && u.DTS >= 0 && (u.Track == 1 || u.RandomAccess) &&
		(s.next != "" || u.DTS > s.last[u.Track])
	if ok {
		return true
	}
	if s.refused++; s.refused == 1 || s.refused%1000 == 0 {
		slog.Error("session made an impossible unit", "track", u.Track, "bytes", len(u.Data), "dts", u.DTS, "cto", u.CTO, "so far", s.refused)
	}
	if u.Track == 1 {
		s.flush()
		s.lost++
		s.skipping = true
	}
	return false
}

// begin starts a batch; s.mu is held.
func (s *stream) begin() {
	b := s.out.take()
	b.owner, b.new, b.lost, b.tracks, b.since = s, s.next, s.lost, s.declare, time.Now()
	if b.new != "" || b.tracks != nil {
		s.last = [media.MaxTracks + 1]media.Ticks{-1, -1, -1, -1, -1}
	}
	s.next, s.lost, s.declare = "", 0, nil
	s.cur = b
}

// flush hands the current batch over, or drops it if the core is too slow;
// s.mu is held. What a dropped batch had to say, the next one says.
func (s *stream) flush() {
	b := s.cur
	if b == nil {
		return
	}
	s.cur = nil
	if s.out.put(item{batch: b}) {
		if s.choked {
			s.choked = false
			s.tell(s.status)
		}
		return
	}
	if s.next == "" {
		if s.next = b.new; s.next == "" {
			s.next = media.Overload
		}
	}
	if s.declare == nil {
		s.declare = b.tracks
	}
	s.lost += b.lost + b.pictures
	s.dropped += uint64(b.pictures)
	s.skipping = true
	s.out.give(b)
	if !s.choked {
		s.choked = true
		slow := s.status
		slow.Why = wire.Note{Code: "overload", Args: map[string]string{"pictures": strconv.FormatUint(s.dropped, 10)}}
		s.tell(slow)
	}
}

// handOver ends the current batch.
func (s *stream) handOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

// Status implements Sink. What came before it goes before it: the recorder ends
// its segment at the word that nothing comes, and could not use what is late.
func (s *stream) Status(st wire.Status) {
	st.Why = st.Why.Clean()
	st.Notes = slices.Clone(st.Notes[:min(len(st.Notes), wire.MaxNotes)])
	for i, n := range st.Notes {
		st.Notes[i] = n.Clean()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	s.status = st
	s.tell(st)
}

func (s *stream) tell(st wire.Status) {
	if st.State == "" || st.State == wire.Ended { // the end is ours to tell
		st.State = wire.Connecting
	}
	frame, err := wire.Append(nil, s.id, &st)
	if err != nil {
		slog.Error("status that cannot be told", "error", err)
		return
	}
	s.out.put(item{frame: frame})
}

// end is after the session's: the last frame for this number.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	s.tracks = nil // a session that goes on all the same is heard no more
	frame, err := wire.Append(nil, s.id, &wire.Status{State: wire.Ended})
	if err != nil {
		panic(err)
	}
	s.out.put(item{frame: frame})
}
