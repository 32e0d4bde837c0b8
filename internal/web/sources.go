package web

import (
	"context"
	"errors"
	"io"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/keys"
	"vigil/internal/live"
	"vigil/internal/media"
	"vigil/internal/stream"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// What the server needs of the other parts and places. Each is small, so that
// a test has its own, and says what its errors mean.

// Audit is the security event log: audit.Durably.
type Audit interface {
	Record(audit.Record) (seq uint64, err error) // durable when it returns
	Note(audit.Record) (seq uint64, err error)   // durable a second later
	Read(ctx context.Context, f audit.Filter) (page []audit.Record, next uint64, err error)
}

// Cameras knows how the streams are and lets one watch them: live.Streams.
type Cameras interface {
	State(media.StreamID) live.State
	Watch(media.StreamID) (r *stream.Reader, leave func(), err error)
	Subscribe() (changed <-chan media.CameraID, leave func())
	Jail() []wire.Guard
}

// Prober tries a stream once, in a jailed worker. What is wrong with the camera is
// in the result; an error is about trying at all.
type Prober interface {
	Probe(ctx context.Context, spec wire.Spec) (wire.Probed, error)
}

// Footage finds and reads what is stored.
type Footage interface {
	// Days lists the days with footage in a time zone, oldest first.
	Days(ctx context.Context, id media.StreamID, zone *time.Location) ([]Day, error)
	// Timeline says what there is from from to to: some thousand things at most, however
	// long that is and however much there is.
	Timeline(ctx context.Context, id media.StreamID, from, to time.Time) (Timeline, error)
	// Play opens the footage at or after from, up to to and at most most of it, with one
	// initialisation segment. Without footage there it returns nil and no error.
	Play(ctx context.Context, id media.StreamID, from, to time.Time, most time.Duration) (*Clip, error)
	// Oldest is the start of the oldest footage; zero when there is none. It is at hand.
	Oldest(id media.StreamID) time.Time
}

// A Day has footage.
type Day struct {
	Day     string // 2006-01-02
	Footage time.Duration
}

// A Timeline is what to draw: ranges and gaps in order, clipped to what was asked
// for.
type Timeline struct {
	Ranges []Range
	Gaps   []Gap
	Cells  *Cells // of a long stretch, whose gaps are not all told; else nil
}

// Cells say how much was recorded in each of some stretches of one length.
type Cells struct {
	From     time.Time
	Length   time.Duration
	Recorded []time.Duration // may be more than the length, where the clock was set back
}

// Add counts a stretch, ns since the epoch, as far as there are cells for it. There
// may be no cells.
func (c *Cells) Add(from, to int64) {
	if c == nil || c.Length <= 0 {
		return
	}
	length := int64(c.Length)
	begin := c.From.UnixNano()
	for from = max(from, begin); from < to; {
		i := (from - begin) / length
		if i >= int64(len(c.Recorded)) {
			return
		}
		end := min(begin+(i+1)*length, to)
		c.Recorded[i] += time.Duration(end - from)
		from = end
	}
}

// A Range has footage.
type Range struct {
	From, To time.Time
	Open     bool // still being written
}

// A Gap has none.
type Gap struct {
	From, To time.Time
	Cause    media.Cause // "": not known
	By       string      // who, for what people do
	Lost     uint32      // pictures known to be lost
}

// A Clip is footage that is about to be read. Its reader calls Close.
type Clip struct {
	Start  time.Time     // of the first fragment
	End    time.Time     // of what the clip covers
	Next   time.Time     // from where there is more; zero: nowhere before to
	Tracks []media.Track //
	Init   []byte        // ftyp and moov
	// Fragment returns the next one, verified, and io.EOF after the last. It is good
	// until the next call.
	Fragment func(ctx context.Context) ([]byte, error)
	Close    func() error
}

// Pictures finds single pictures and makes JPEG files of them. The errors of
// making wrap ErrNoDecoder, ErrUndecodable or ErrLate.
type Pictures interface {
	// Find finds the stored picture of an instant: the last one before it that can be decoded by
	// itself; at zero the newest there is. Without footage then it returns nil and no error.
	Find(ctx context.Context, id media.StreamID, at time.Time) (*Picture, error)
	// JPEG decodes a random access unit of a stream's video; width is pixels at most, 0 as it is.
	JPEG(ctx context.Context, id media.StreamID, track media.Track, unit []byte, width int) ([]byte, error)
	// Recode begins to code a stream anew in what every browser plays, and returns the tracks that come
	// out. Nil and no error: it is that already. ErrTooMany: as many are coded as the machine bears.
	Recode(tracks []media.Track) (Recoding, []media.Track, error)
}

// A Picture is one that was found.
type Picture struct {
	ID   string    // of it alone, for good
	At   time.Time // when it was taken, on our clock
	JPEG func(ctx context.Context, width int) ([]byte, error)
}

// Errors of Pictures.
var (
	ErrNoDecoder   = errors.New("nothing is installed that decodes pictures")
	ErrUndecodable = errors.New("the picture cannot be decoded")
	ErrLate        = errors.New("the picture took too long")
)

// Exports makes files for people to take away.
type Exports interface {
	// Start checks an order and begins. The error wraps ErrNoFootage, ErrTooMany or ErrNoSpace.
	Start(ctx context.Context, by actor.Actor, o Order) (Export, error)
	List() []Export // newest first
	Get(id string) (Export, bool)
	// Open returns the file of an export that is done or running, for as long as ctx lasts. Of one
	// that runs, reading goes on as the file does, and its end is known only when it is done. The error
	// wraps ErrGone, ErrNotReady or ErrChanged.
	Open(ctx context.Context, id string) (File, error)
	// Remove cancels or removes.
	Remove(by actor.Actor, id string) error
}

// Errors of Exports.
var (
	ErrNoFootage = errors.New("no footage in the range")
	ErrTooMany   = errors.New("too many exports")
	ErrNoSpace   = errors.New("no space for the export")
	ErrGone      = errors.New("no such thing")
	ErrNotReady  = errors.New("the export is not done")
	ErrChanged   = errors.New("the footage of the export is not there any more as it was")
)

// A File is read from any place.
type File interface {
	io.ReadSeekCloser
}

// An Order is what to export.
type Order struct {
	Camera   media.CameraID
	Stream   media.StreamID
	From, To time.Time
	Audio    bool
}

// An Export is an order and how far it is.
type Export struct {
	ID string // as media.ID's text
	Order
	State    ExportState
	Progress float64   // 0 to 1
	Part     int       // 1; 2 and on begin where one file could not go on
	Until    time.Time // once done: where the file ends
	Next     string    // once done: the export that goes on there; "" none
	Size     int64     // bytes, once done
	FileName string    // once running
	SHA256   []byte    // of the file, once done
	Gaps     []Gap
	Why      text.Note // it failed, or waits although nothing else is made
	By       string
	Created  time.Time
	Expires  time.Time
}

// An ExportState is where an export stands.
type ExportState string

// The states.
const (
	ExportWaiting   ExportState = "waiting"
	ExportRunning   ExportState = "running"
	ExportDone      ExportState = "done"
	ExportFailed    ExportState = "failed"
	ExportCancelled ExportState = "cancelled"
)

// Alerts is the board of what a person must know.
type Alerts interface {
	List(all bool) []Alert // newest first
	Get(id string) (Alert, bool)
	Acknowledge(by actor.Actor, id string) (Alert, error) // ErrGone
}

// An Alert is a condition. Its texts are alert.<kind> and alert.<kind>.detail.
type Alert struct {
	ID           string
	Kind         string
	Alarm        bool // footage or its proof is in danger
	Object       string
	Camera       media.CameraID // zero: of none
	Args         map[string]string
	Since, Last  time.Time
	Count        int
	Cleared      time.Time // zero: it lasts
	Acknowledged time.Time // zero: not
	By           string    // who acknowledged
}

// Machine tells how the recorder is.
type Machine interface {
	// Recording has the streams whose pictures are being written.
	Recording() map[media.StreamID]bool
	Status(ctx context.Context) (Status, error)
}

// A Status is what only the machine knows; the server adds the rest.
type Status struct {
	Version      string
	Started      time.Time
	Volumes      []Volume
	DaysLeft     float64 // negative: not known
	BytesPerDay  int64   // negative: not known
	Oldest       time.Time
	Keys         keys.Mode
	FIPS         bool
	Module       string // of the cryptography
	Synchronised bool   // the clock
	Certificate  [32]byte
}

// A Volume is a disk with footage.
type Volume struct {
	ID, Name                   string
	State                      string
	Total, Free, Used, Reserve int64     // bytes
	Room                       int64     // bytes that footage may take altogether
	Why                        text.Note // its text is volume.<code>; empty: nothing
}

// A Clause is a requirement of TAICS TS-0014-3:2018 and how far it is built.
type Clause struct{ ID, Title, TitleChinese, State, Missing string }

// A Part is a third-party library.
type Part struct{ Name, Version, Licence, Text string }
