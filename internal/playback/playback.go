// Package playback reads stored footage back: a range of a stream as fragments
// for a player, or as one ordinary MP4 file for a person.
//
//	store, catalogue -> [playback] -> web
//	                         |
//	                    store/segment, fmp4
//
// A Plan says from the indexes alone what there is; Play and Export then
// decrypt, and verify as they read. What is damaged is reported, left out by whole GOPs,
// and shown as a gap. It keeps no footage, and no file but the one it reads is open.
package playback

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// A Library is where footage is: store and catalogue, seen from here.
type Library interface {
	// Stored calls fn for the segments of a stream that the ledger has, in the order of their
	// start, which have a part between two arrival times (ns since the epoch). It ends
	// when fn returns an error, and returns that.
	Stored(ctx context.Context, stream media.StreamID, from, to int64, fn func(Stored) error) error
	// Open opens a segment. It may wait for a disk.
	Open(id media.SegmentID, start int64) (File, error)
	// Live opens the segments of a stream that the ledger does not have yet, oldest first.
	Live(stream media.StreamID) []Live
}

// A Stored is a segment that the ledger has.
type Stored struct {
	Segment media.SegmentID
	Leaf    uint64      // its index in the ledger: the order of recording
	Start   int64       // arrival of its first unit, ns since the epoch
	End     int64       // of its last
	Gone    media.Cause // not "": it was removed, and why
}

// A File is a segment's file. Its ReadAt is for many callers.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
	// Forget says that the file will not be read again soon.
	Forget()
}

// A Live is the file of a segment that is not in the ledger yet.
type Live interface {
	io.ReaderAt
	io.Closer
	Info() segment.Info
	Entries() []segment.Entry // of what ReadAt serves by now
}

// A Player reads footage. Safe for many callers.
type Player struct {
	lib    Library
	unwrap segment.Unwrap
	report func(media.StreamID, media.SegmentID, error)
}

// New returns a player. report is told of every segment that cannot be read
// or does not authenticate, maybe more than once: an error that wraps segment.ErrDamaged is for a
// person, others are of the disk.
func New(lib Library, unwrap segment.Unwrap, report func(media.StreamID, media.SegmentID, error)) *Player {
	return &Player{lib, unwrap, report}
}

// A Gap is a stretch of the range without footage.
type Gap struct {
	From  media.Ticks // since the epoch
	To    media.Ticks
	Cause media.Cause // "" is unknown
	Lost  uint32      // pictures known to be lost
}

// Errors that a caller tells apart.
var (
	ErrNoFootage = errors.New("no footage in this range")
	ErrChanged   = errors.New("footage is not as it was when the export was made") // of a Download
)

// maxHole is how long nothing may be there before it is a gap.
const maxHole = media.TicksPerSecond

// A source is an open segment.
type source struct {
	*segment.Reader
	io.Closer
}

// open opens a segment by the way of the ledger, or, if it may be too young
// for that, by the way of what is being written.
func (p *Player) open(stream media.StreamID, id media.SegmentID, start int64, young bool) (source, error) {
	if young {
		if s, ok, err := p.live(stream, id); ok {
			return s, err
		}
	}
	f, err := p.lib.Open(id, start)
	if err != nil {
		return source{}, err
	}
	r, err := segment.Open(f, f.Size(), p.unwrap)
	if err == nil && (r.Info().Segment != id || r.Info().Stream != stream) {
		err = &segment.Damage{Segment: id, Record: segment.InHeader, Err: fmt.Errorf("the file is segment %v of stream %v", r.Info().Segment, r.Info().Stream)}
	}
	if errors.Is(err, segment.ErrNoTrailer) || errors.Is(err, segment.ErrFormat) { // the ledger has it: it was finished once
		err = &segment.Damage{Segment: id, Record: segment.InTrailer, Err: err}
	}
	if err != nil {
		f.Close()
		return source{}, err
	}
	return source{r, f}, nil
}

// live looks for a segment among those being written.
func (p *Player) live(stream media.StreamID, id media.SegmentID) (s source, ok bool, err error) {
	for _, l := range p.lib.Live(stream) {
		if ok || l.Info().Segment != id {
			l.Close()
			continue
		}
		ok = true
		r, e := segment.OpenLive(l, l.Entries(), p.unwrap)
		if e != nil {
			l.Close()
			err = e
			continue
		}
		s = source{r, l}
	}
	return s, ok, err
}

// causeOf says what an error is on the timeline.
func causeOf(err error) media.Cause {
	if errors.Is(err, segment.ErrDamaged) || errors.Is(err, durable.ErrSpecial) {
		return media.Failed
	}
	return media.DiskFailed
}
