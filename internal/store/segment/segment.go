// Package segment is the file format of the record: one sealed file of about a
// minute of one stream. docs/format/segment.md has it with offsets.
//
//	recorder -> (store) -> [segment] -> seal
//	playback, scrub, backup -> [segment]
//
// It turns batches into bytes and bytes into fragments. It opens no file,
// starts nothing and knows nothing of volumes, keys or the ledger. What it reads is
// taken for hostile until it has authenticated.
package segment

import (
	"errors"
	"fmt"

	"vigil/internal/media"
	"vigil/internal/seal"
)

// Bounds of the format. A writer refuses to exceed them, a reader to believe
// more.
const (
	MaxSize      = 4 << 30                                                  // bytes of a file
	MaxRecords   = 1 << 17                                                  // fragments in a file: half an hour of a picture per fragment at 72 a second
	MaxRecord    = frameSize + seal.Overhead + maxMeta + maxFragment        // bytes of a fragment's record
	MaxInit      = 128 << 10                                                // bytes of the initialisation segment
	WrappedSize  = seal.Size + seal.Overhead                                // bytes of a wrapped segment key
	maxFragment  = media.HeadRoom + media.MaxBatch                          //
	maxInitPlain = 32 + 64 + MaxInit + media.MaxTracks*(media.MaxConfig+80) //
)

// Errors that a caller tells apart. All others are of the reader underneath,
// or of unwrap, and are wrapped.
var (
	ErrFormat    = errors.New("not a segment of a version known here") // the header's first bytes are another's
	ErrNoTrailer = errors.New("segment without trailer")               // never finished, or cut short: Recover reads it
	ErrDamaged   = errors.New("segment damaged or altered")            // is in every *Damage
	ErrFull      = errors.New("segment full")                          // Append: MaxSize or MaxRecords is reached
)

// A Damage says which record of which segment is not what was written. It
// wraps ErrDamaged and the reason.
type Damage struct {
	Segment media.SegmentID // as far as the header can be believed
	Record  int             // 0 the initialisation segment, 1... the fragments (Index()[Record-1]); InHeader, InIndex, InTrailer
	Err     error
}

// Places of damage that have no record number of their own.
const (
	InHeader  = -1
	InIndex   = -2
	InTrailer = -3
)

// Error names segment and place.
func (d *Damage) Error() string {
	place := fmt.Sprintf("record %d", d.Record)
	switch d.Record {
	case InHeader:
		place = "header"
	case InIndex:
		place = "index"
	case InTrailer:
		place = "trailer"
	}
	return fmt.Sprintf("segment %v, %s: %v: %v", d.Segment, place, ErrDamaged, d.Err)
}

// Unwrap gives ErrDamaged and the reason.
func (d *Damage) Unwrap() []error { return []error{ErrDamaged, d.Err} }

// An Unwrap turns the wrapped key of a header into the segment's key:
// keys.Ring.OpenSegment, seen from here. Its errors are passed on, wrapped.
type Unwrap func(keyID [16]byte, wrapped []byte) (seal.Key, error)

// An Info says whose segment it is.
type Info struct {
	Segment media.SegmentID
	Stream  media.StreamID
	Camera  media.CameraID
}

// A Gap is what is missing directly before a segment.
type Gap struct {
	Cause  media.Cause `json:"cause"`
	FromNs int64       `json:"fromNs,omitempty"` // arrival of the last unit kept before, ns since the epoch; 0: none is known
	Lost   uint32      `json:"lost,omitempty"`   // pictures known to be lost
}

// An Entry describes one fragment. It stands in front of the fragment, sealed
// with it, and again in the index.
type Entry struct {
	Offset       int64                      // of the record in the file
	Length       int                        // of the record, framing and seal included
	DTS          media.Ticks                // decode time of the first unit (of track 1, if it has one)
	Duration     media.Ticks                // of that unit's track; the last unit's share repeats the one before
	WallStart    int64                      // arrival of the first unit, ns since the epoch, our clock
	WallEnd      int64                      // arrival of the latest unit
	CameraStart  int64                      // the camera's clock at the first unit, ns since the epoch; 0 unknown
	Lost         uint32                     // pictures known to be lost directly before
	New          media.Cause                // not "": a new timeline starts here
	RandomAccess bool                       // decoding may start here
	Tracks       [media.MaxTracks]TrackPart // by track number - 1
}

// A TrackPart is what one track has in one fragment.
type TrackPart struct {
	Units int      // 0: the track has nothing here, and no leaf
	Bytes int      // of the units' data
	Leaf  [32]byte // SHA-256(0 | canonical samples), see SampleHead
}

// A TrackDigest commits to all samples of one track of a segment.
type TrackDigest struct {
	Number  uint8       `json:"number"`
	Codec   media.Codec `json:"codec"`
	Leaves  int         `json:"leaves"` // fragments that have units of it
	Samples int64       `json:"samples"`
	Bytes   int64       `json:"bytes"`
	Root    [32]byte    `json:"-"` // of the RFC 6962 tree over the leaves
}

// A ClockOffset is the camera's clock less ours in ns, where first and last
// known.
type ClockOffset struct {
	Known bool
	Start int64
	End   int64
}

// A Summary is what the ledger and the catalogue keep of a segment.
type Summary struct {
	Info
	Bytes    int64       // of the whole file
	Records  int         // fragments
	Start    int64       // arrival of the first unit, ns since the epoch, our clock
	End      int64       // arrival of the last unit and its duration
	FirstDTS media.Ticks // of the first entry
	LastDTS  media.Ticks // of the last entry
	Duration media.Ticks // LastDTS + its Duration - FirstDTS
	Offset   ClockOffset // of the camera
	Sealed   [32]byte    // SHA-256 of all bytes of the file but the last 32, which are this digest
	Tracks   []TrackDigest
	EndCause media.Cause
	Before   *Gap // nil: nothing is missing
}

// A Running is the state of a segment that is being written, for pulses.
type Running struct {
	Info
	Records int      // fragments so far
	Bytes   int64    // file length so far
	End     int64    // as Summary.End, of the last fragment so far
	Sealed  [32]byte // SHA-256 of those bytes
	Tracks  []TrackDigest
}
