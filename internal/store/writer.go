package store

import (
	"fmt"
	"path"
	"sync"
	"time"

	"vigil/internal/actor"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// A Writer is one segment being written. Create, Append and Close never wait
// for a disk of footage. One goroutine writes; OpenLive reads beside it.
type Writer struct {
	s     *Store
	by    actor.Actor
	info  segment.Info
	keyID [16]byte
	vol   *volume.Volume
	file  *volume.File
	gap   *segment.Gap // what is missing before it
	since uint64       // leaves in the ledger when it was created: all about it comes later
	turn  uint64       // guarded by s.mu; rises from one Create to the next
	item  *sealed      // guarded by s.mu; set by Close
	taken bool         // guarded by s.mu; the beat has it
	leaf  bool         // guarded by s.mu; the ledger has it

	mu    sync.Mutex      // held while bytes are made and handed over
	seg   *segment.Writer // guarded by mu; nil once closed
	final []segment.Entry // guarded by mu; all entries, once closed
	count int             // guarded by mu; fragments
	pulse segment.Running // owned by the beat; Records 0: none taken
}

// recordRoom is what a record needs besides its fragment: frame, seal and
// metadata.
const recordRoom = 512

// openName is where a segment is until it is in the ledger.
func openName(id media.SegmentID) string { return path.Join(volume.OpenDir, id.String()+suffix) }

const suffix = ".vseg"

// SegmentName is where a segment is once it is in the ledger; start is its
// wall time in ns since the epoch.
func SegmentName(id media.SegmentID, start int64) string {
	t := time.Unix(0, start).UTC()
	return path.Join(volume.SegmentDir, fmt.Sprint(dayOf(start)), fmt.Sprintf("%02d", t.Hour()), id.String()+suffix)
}

// dayOf returns the number of a UTC day.
func dayOf(ns int64) int32 {
	const day = 24 * int64(time.Hour)
	if ns < 0 {
		ns -= day - 1
	}
	return int32(ns / day)
}

// pick returns a volume that takes footage. When much waits already, nothing
// new is begun: it would only be cut again.
func (s *Store) pick() (*volume.Volume, error) {
	var last error = &volume.Error{State: volume.Missing, Cause: media.DiskFailed, Err: volume.ErrMissing}
	for _, v := range s.cfg.Volumes {
		st := v.Status()
		switch {
		case st.State == volume.Online:
			return v, nil
		case st.State == volume.Suspect && s.budget.Held() < s.budget.Limit()/2:
			return v, nil
		}
		last = &volume.Error{Dir: v.Dir(), State: st.State, Cause: st.Cause, Err: st.Err}
	}
	return nil, last
}

// Create starts a segment. Who records is asked for, and written down with
// its opening, its closing and every failure. A zero info.Segment gets a fresh id.
// Errors are of kind *Refusal.
//
//vigil:clause 5.2.7.2
func (s *Store) Create(by actor.Actor, info segment.Info, tracks *media.Tracks, before *segment.Gap) (*Writer, error) {
	if info.Segment.IsZero() {
		info.Segment = media.SegmentID(media.NewID[struct{}]())
	}
	w := &Writer{s: s, by: by, info: info, gap: before, since: s.cfg.Ledger.Size()}
	if err := s.begin(w, tracks, before); err != nil {
		r := &Refusal{info.Segment, Cause(err), fmt.Errorf("create: %w", err)}
		_ = s.note(failed(w.by, info, r.Cause, r.Err))
		return nil, r
	}
	_ = s.note(opened(w))
	return w, nil
}

func (s *Store) begin(w *Writer, tracks *media.Tracks, before *segment.Gap) (err error) {
	if w.vol, err = s.pick(); err != nil {
		return err
	}
	keyID, day, err := s.cfg.Keys.ForSegment(w.info.Camera, dayOf(time.Now().UnixNano()))
	if err != nil {
		return err
	}
	w.keyID = keyID
	key, wrapped := day.New()
	w.seg = segment.NewWriter(w.info, key, keyID, wrapped)
	buf := volume.NewBuffer(segment.HeaderSize + len(tracks.Init) + 4<<10)
	buf.B, err = w.seg.Init(w.seg.Header(buf.B), tracks, before)
	if err != nil {
		return err
	}

	if w.file, err = w.vol.Create(openName(w.info.Segment)); err != nil {
		return err
	}
	s.mu.Lock() // known as open before it can be seen on the disk
	s.turn++
	w.turn = s.turn
	s.open[w.info.Segment] = w
	s.latest[w.info.Stream] = w
	s.resize()
	s.mu.Unlock()
	s.budget.Force(int64(len(buf.B)))
	if err := w.file.Write(buf); err != nil {
		s.forget(w)
		return err
	}
	return nil
}

// resize shares out memory by the number of streams. Called with mu held.
func (s *Store) resize() {
	s.budget.SetLimit(s.cfg.Memory + s.cfg.MemoryPerStream*int64(len(s.latest)))
}

// forget takes a segment from the list of open ones.
func (s *Store) forget(w *Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, w.info.Segment)
	s.unlist(w)
}

// unlist says that a segment is no longer its stream's newest. Called with mu
// held.
func (s *Store) unlist(w *Writer) {
	if s.latest[w.info.Stream] == w {
		delete(s.latest, w.info.Stream)
		s.resize()
	}
}

// ID returns the segment's id.
func (w *Writer) ID() media.SegmentID { return w.info.Segment }

// Append seals a batch, whose fragment is made, and hands it to the disk's
// writer. It is nil, or a *Refusal: ErrFull when too much waits already, and the caller
// drops to the next random access unit; ErrFailed when the segment cannot go on.
func (w *Writer) Append(b *media.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil {
		return &Refusal{w.info.Segment, media.DiskFailed, fmt.Errorf("append: %w: closed", ErrFailed)}
	}
	if _, _, _, err := w.file.Progress(); err != nil {
		return &Refusal{w.info.Segment, Cause(err), fmt.Errorf("append: %w: %w", ErrFailed, err)}
	}
	room := int64(len(b.Fragment)) + recordRoom
	if !w.s.budget.Take(room) {
		cause := w.vol.Status().Cause
		if cause == "" {
			cause = media.Overload
		}
		return &Refusal{w.info.Segment, cause, fmt.Errorf("append: %w", ErrFull)}
	}
	buf := volume.NewBuffer(int(room))
	sealed, err := w.seg.Append(buf.B, b)
	if err != nil {
		w.s.budget.Force(-room)
		return &Refusal{w.info.Segment, media.DiskFailed, fmt.Errorf("append: %w: %w", ErrFailed, err)}
	}
	buf.B = sealed
	w.count++
	w.s.budget.Force(int64(len(buf.B)) - room)
	if err := w.file.Write(buf); err != nil {
		return &Refusal{w.info.Segment, Cause(err), fmt.Errorf("append: %w: %w", ErrFailed, err)}
	}
	return nil
}

// Close ends the segment and says why. It does not wait: the beat makes the
// segment part of the record. Closing twice does nothing.
func (w *Writer) Close(end media.Cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil {
		return
	}
	w.final = w.seg.Entries(0)
	item := &sealed{by: w.by, info: w.info, vol: w.vol, w: w, since: w.since}
	if w.count == 0 {
		item.stage = empty
	} else {
		buf := volume.NewBuffer(64 << 10)
		var sum segment.Summary
		buf.B, sum = w.seg.Finish(buf.B, end)
		item.meta = meta(sum, w.keyID)
		w.s.budget.Force(int64(len(buf.B)))
		_ = w.file.Write(buf) // an error is found by the beat
	}
	w.seg = nil
	w.file.End()

	w.s.mu.Lock()
	w.item = item
	w.s.unlist(w)
	w.s.mu.Unlock()
	w.s.wake()
}

// meta is the summary of a segment in the ledger's words.
func meta(s segment.Summary, keyID [16]byte) ledger.SegmentMeta {
	m := ledger.SegmentMeta{
		Segment: s.Segment, Stream: s.Stream, Camera: s.Camera, KeyID: keyID,
		Start: s.Start, End: s.End, First: s.FirstDTS, Last: s.LastDTS, Duration: s.Duration,
		Bytes: s.Bytes, Records: uint32(s.Records), Sealed: s.Sealed, EndCause: s.EndCause, Copies: 1,
	}
	if s.Offset.Known {
		m.CameraStart, m.CameraEnd = s.Start+s.Offset.Start, s.End+s.Offset.End
	}
	for _, t := range s.Tracks {
		m.Tracks = append(m.Tracks, ledger.SegmentTrack{Number: t.Number, Codec: t.Codec, Samples: uint32(t.Samples), Bytes: t.Bytes, Root: t.Root})
	}
	if g := s.Before; g != nil {
		m.Before = &ledger.Gap{Cause: g.Cause, From: g.FromNs, Lost: g.Lost}
	}
	return m
}
