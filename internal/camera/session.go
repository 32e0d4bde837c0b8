package camera

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"vigil/internal/camera/rtsp"
	"vigil/internal/media"
)

// A Sink takes what a session makes of a stream. Its calls do not overlap and
// must not block for long.
type Sink interface {
	// Tracks declares what the units that follow belong to: after each connect
	// and at each change, always before a unit that starts a new timeline.
	Tracks(list []media.Track)
	// Unit takes an access unit; its data is valid during the call. timeline, if
	// not "", says that decode times start anew here and why: only ever with a
	// random access unit of the video. lost pictures are known to be missing
	// directly before it.
	Unit(u media.Unit, timeline media.Cause, lost uint32)
	// Status tells how the stream is, when that changes.
	Status(s Status)
}

// A State is how a stream is.
type State string

// The states.
const (
	Connecting State = "connecting" // a try is under way; the code tells how the last one ended
	Playing    State = "playing"    // pictures come
	Stalled    State = "stalled"    // connected, and nothing usable came for StallAfter; a try may follow
	Failed     State = "failed"     // the try ended; the code says how
)

// A Status says how a stream is, in codes with arguments that pages can say in
// two languages: those of package rtsp and sdp, and the ones below.
type Status struct {
	State  State
	Code   string
	Args   map[string]string
	Link   rtsp.Link     // while connected
	Notes  []rtsp.Note   // of this connection
	Tracks []media.Track // declared last, while connected
	Retry  time.Duration // Stalled, Failed: the next try comes after this
}

// The codes of this package.
const (
	NoPackets     = "no-packets"            // seconds: none ever came
	NoDatagrams   = "no-packets-udp"        // seconds: the same, over UDP
	Undeclared    = "undeclared-packets"    // what came is not what was declared
	StreamStopped = "stream-stopped"        // seconds
	NoKeyFrame    = "waiting-for-key-frame" // packets come and decoding cannot start yet
	AudioSilent   = "audio-silent"          // a note: the sound was set up and sends nothing
	AudioInvalid  = "audio-left-out"        // a note; what
	NoteClock     = "camera-clock-jumped"   // a note
)

// silence says why nothing that can be used ever came.
func silence(s *rtsp.Stats, t rtsp.Transport, d time.Duration) error {
	code := NoPackets
	switch {
	case s.Packets == 0 && s.Foreign > 0:
		code = Undeclared
	case s.Packets == 0 && t == rtsp.UDP:
		code = NoDatagrams
	}
	return &rtsp.Error{Code: code, Args: map[string]string{"seconds": seconds(d)}}
}

// StallAfter is how long nothing usable may come before a connection is given
// up. Packets of a picture that cannot be decoded yet are something: cameras
// exist that send a key frame every few minutes (INTEROP row 14).
const StallAfter = 10 * time.Second

// keylessRetry is how long a stream that was recorded may go on without a
// picture that can be used. It has lost something, and its next key frame may be minutes away; a new
// connection usually begins with one. A stream that has not begun yet is not asked again: it would never come to an end.
const keylessRetry = 2 * StallAfter

// A Session keeps one stream alive. What it learnt about the camera outlives a
// Run. The zero value is ready; one Run at a time.
type Session struct {
	mem rtsp.Memory

	sleep func(ctx context.Context, d time.Duration) // tests; nil: real
	spin  func() float64                             // 0 to 1, tests; nil: random
}

// Run connects, plays and connects again until ctx ends, and returns its
// error. The camera was told goodbye by then.
func (s *Session) Run(ctx context.Context, o rtsp.Options, sink Sink) error {
	if s.sleep == nil {
		s.sleep = sleep
	}
	if s.spin == nil {
		s.spin = rand.Float64
	}
	if o.Clock == nil {
		o.Clock = rtsp.SystemClock
	}
	var pause backoff
	status := Status{State: Connecting}
	for ctx.Err() == nil {
		sink.Status(status)
		p := &player{o: &o, sink: sink, audio: o.Audio}
		err := rtsp.Play(ctx, o, &s.mem, p)
		if ctx.Err() != nil {
			break
		}
		status = Status{State: Failed, Code: rtsp.Lost}
		var e *rtsp.Error
		if errors.As(err, &e) {
			status.Code, status.Args = e.Code, e.Args
		}
		switch status.Code {
		case NoPackets, NoDatagrams, Undeclared, StreamStopped:
			status.State = Stalled
		}
		status.Retry = pause.next(status.Code, p.played(), s.spin())
		sink.Status(status)
		s.sleep(ctx, status.Retry)
		status.State, status.Retry = Connecting, 0
	}
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// A backoff says how long to wait before the next try.
type backoff struct {
	tries  int
	denied bool // the last try ended with a wrong password
}

// The pauses. The first after a stream that played is the shortest, since a
// camera that restarts is to be recorded again soon, and one that plays for
// moments only is to be missed for a fifth of the time at most; for the same reason a
// camera that is not there at all is asked often for the first minutes, which costs it
// nothing. One that refuses us is left alone for longer; how long it was not
// there before has no part in that, for cameras refuse while they start.
const (
	shortest    = 500 * time.Millisecond
	longest     = 30 * time.Second
	longestGone = 8 * time.Second // not reachable, for the first triesGone tries
	triesGone   = 60
	refused     = 30 * time.Second // a wrong password: cameras lock whoever tries too often
	longestAuth = 5 * time.Minute
	crowded     = 2 * time.Second
)

func (b *backoff) next(code string, played time.Duration, spin float64) time.Duration {
	if denied := code == rtsp.AuthFailed; played > StallAfter || denied != b.denied {
		b.tries, b.denied = 0, denied
	}
	first, most := shortest, longest
	if played > time.Second { // less is a camera that our coming fells
		most = min(max(played/4, shortest), longest)
	}
	switch code {
	case rtsp.Unreachable, rtsp.Refused, rtsp.NoAnswer, rtsp.DNSFailed:
		if b.tries < triesGone {
			most = min(most, longestGone)
		}
	case rtsp.AuthFailed:
		first, most = refused, longestAuth
	case rtsp.SessionLimit:
		first = crowded
	}
	d := min(first<<min(b.tries, 12), most)
	b.tries++
	return d - time.Duration(spin*float64(d)/2)
}

// seconds is for arguments.
func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
