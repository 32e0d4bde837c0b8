package media

import (
	"fmt"
	"sync/atomic"
)

// A Unit is one access unit: a coded picture or a frame of sound, in the form
// an MP4 sample has (NAL units behind 4-byte lengths).
type Unit struct {
	Track        uint8
	RandomAccess bool   // decoding may start here; always set for sound and MJPEG
	DTS          Ticks  // decode time on our clock; rises within a track
	CTO          int32  // ticks from decode to composition; never negative
	Arrived      int64  // when its first packet came: ns since the epoch, our clock
	Camera       int64  // when the camera says it was taken: ns since the epoch, the camera's clock; 0 unknown
	Data         []byte // part of the batch's payload
}

// A Batch is what a worker hands over at once: the units of one stream over at
// most 250 ms, grouped by track, each track's in decode order. A random
// access unit of the video is always the first of its batch. One batch becomes one
// MP4 fragment in place: the payload is the body of its mdat, and Head leaves
// room in front for the boxes.
//
// A batch is shared without copying: each holder calls Retain before keeping
// it and Release when done; after the last Release the memory is used again.
// Nobody writes to a batch once it is published.
type Batch struct {
	Tracks   *Tracks // what the units belong to
	New      Cause   // not "": this batch starts a new timeline, and why
	Lost     uint32  // pictures known to be lost directly before this batch
	Units    []Unit
	Fragment []byte // the MP4 fragment, once made: a part of the buffer that ends with the payload

	buf  []byte // HeadRoom bytes, then the payload
	refs atomic.Int32
}

// Tracks is what a session declared. A codec change is a new Tracks; holders
// compare pointers.
type Tracks struct {
	Stream StreamID
	List   []Track
	Init   []byte           // ftyp and moov, made once
	Pace   [MaxTracks]Ticks // distance of the last two units of each track, a guess for the next; owned by who makes the fragments
	Last   [MaxTracks]Ticks // decode time of the last unit of each track; likewise
}

// HeadRoom is the space kept in front of a batch's payload: enough for the
// boxes of the largest batch (MaxUnits of 16 bytes each, and MaxTracks heads).
const HeadRoom = MaxUnits*16 + 1024

var batches = Pool[Batch]{Make: func(size int) *Batch { return &Batch{buf: make([]byte, size)} }}

// NewBatch returns a batch with one holder and an uninitialised payload of n
// bytes.
func NewBatch(n int) *Batch {
	b := batches.Get(HeadRoom + n)
	b.buf = b.buf[:HeadRoom+n]
	b.Tracks, b.New, b.Lost, b.Units, b.Fragment = nil, "", 0, b.Units[:0], nil
	b.refs.Store(1)
	return b
}

// Payload returns the bytes of all units.
func (b *Batch) Payload() []byte { return b.buf[HeadRoom:] }

// Front returns n bytes directly before the payload together with the
// payload: the place of a fragment whose boxes take n bytes.
func (b *Batch) Front(n int) []byte { return b.buf[HeadRoom-n:] }

// Retain adds a holder.
func (b *Batch) Retain() { b.refs.Add(1) }

// Release takes a holder away. Using the batch after that is a fault.
func (b *Batch) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		clear(b.Units)
		batches.Put(b, cap(b.buf))
	case n < 0:
		panic("media: batch released twice")
	}
}

// RandomAccess tells whether decoding may start with this batch.
func (b *Batch) RandomAccess() bool {
	return len(b.Units) > 0 && b.Units[0].Track == 1 && b.Units[0].RandomAccess
}

// Check tells whether the batch keeps its promises: known tracks, grouped and
// in order, sizes that add up to the payload, no random access unit of video but the
// first. It is the core's whole trust in a worker.
func (b *Batch) Check() error {
	if b.Tracks == nil {
		return fmt.Errorf("units before tracks")
	}
	if len(b.Units) == 0 || len(b.Units) > MaxUnits {
		return fmt.Errorf("%d units", len(b.Units))
	}
	total := 0
	for i, u := range b.Units {
		switch {
		case u.Track == 0 || int(u.Track) > len(b.Tracks.List):
			return fmt.Errorf("unit %d: unknown track %d", i, u.Track)
		case len(u.Data) == 0 || len(u.Data) > MaxUnit:
			return fmt.Errorf("unit %d: %d bytes", i, len(u.Data))
		case u.CTO < 0 || u.CTO > 10*TicksPerSecond:
			return fmt.Errorf("unit %d: composition offset %d", i, u.CTO)
		case u.DTS < 0 || u.DTS > maxTicks:
			return fmt.Errorf("unit %d: decode time %d", i, u.DTS)
		case u.Track == 1 && b.Tracks.List[0].Codec != MJPEG && u.RandomAccess && i > 0:
			return fmt.Errorf("unit %d: random access inside a batch", i)
		case u.Track != 1 && !u.RandomAccess:
			return fmt.Errorf("unit %d: sound that depends on other sound", i)
		}
		if i > 0 {
			p := b.Units[i-1]
			if u.Track < p.Track || u.Track == p.Track && u.DTS <= p.DTS {
				return fmt.Errorf("unit %d: track %d at %d after track %d at %d", i, u.Track, u.DTS, p.Track, p.DTS)
			}
		}
		total += len(u.Data)
	}
	if total != len(b.Payload()) {
		return fmt.Errorf("units of %d bytes in a payload of %d", total, len(b.Payload()))
	}
	return nil
}

// maxTicks is the year 2262, where nanoseconds in an int64 end.
const maxTicks = 9223372036 * TicksPerSecond

// A Cause says why a stretch of time has no footage, or why a segment ended.
// The texts are part of the formats and of the API.
type Cause string

// The causes.
const (
	CutLength   Cause = "length"         // about a minute is full: no gap
	CutCodec    Cause = "codec"          // the camera changed its coding: no gap
	CutClock    Cause = "clock"          // our clock was stepped
	CameraClock Cause = "camera-clock"   // the camera's time stamps jumped for good
	CameraStart Cause = "start"          // first units after a connect
	CameraLost  Cause = "camera-offline" // no connection, or no pictures
	Network     Cause = "network"        // packets missing
	WorkerLost  Cause = "worker"         // the ingest process fell
	Overload    Cause = "overload"       // this machine was too slow
	Unsteady    Cause = "unsteady"       // the camera began anew so often that each time would have been a segment
	DiskFailed  Cause = "disk"           // a volume refused
	DiskFull    Cause = "disk-full"      //
	Stopped     Cause = "stopped"        // recording switched off by a person
	Shutdown    Cause = "shutdown"       // the recorder was stopped
	Crash       Cause = "crash"          // the recorder was killed or lost power
	Retention   Cause = "retention"      // old footage made room
	Deleted     Cause = "deleted"        // removed by a person
	Failed      Cause = "verification"   // damaged or altered, and no good copy
)
