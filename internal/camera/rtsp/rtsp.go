// Package rtsp plays one stream of a camera: from its address to access units
// (RFC 2326; RFC 7826 where cameras speak it; RTP of RFC 3550, SRTP of RFC
// 3711 keyed by MIKEY, RFC 4567).
//
//	camera --> [connection, session, packets --> depay] --> internal/camera
//
// It is our own client on gortsplib's pieces. What cameras do wrong is dealt
// with here, each where it happens, and nothing is allocated for a packet: RTP
// is read in place from the connection's buffer.
//
// Play blocks for as long as the session lasts and owns all goroutines it
// starts: none over TCP, one per socket over UDP.
package rtsp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// Options say which stream to play and how. They come from an administrator.
type Options struct {
	URL       URL       //
	User      string    // empty: none
	Password  Password  //
	Transport Transport // "" is Auto
	Link      Link      // "" goes with the scheme of the URL: LinkPlain for rtsp, LinkCA for rtsps
	Pin       []byte    // for LinkPin: SHA-256 of the certificate's public key (SPKI) or of the whole certificate
	CA        []byte    // for LinkCA: PEM; nil: the system's authorities
	Audio     bool      // take sound too
	LegacyMD5 bool      // a digest by MD5 will do for a camera that has no better
	Basic     bool      // the password may be sent as it is, over a plain connection too

	Dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Clock Clock                                                                // nil: SystemClock

	// Pace, if not 0, is how often a TCP connection is read while it plays. It
	// saves most wake-ups of a process with many cameras.
	Pace time.Duration
}

// A Transport says how RTP comes.
type Transport string

// The transports. Auto means TCP first, then UDP for a camera that refuses.
const (
	Auto Transport = "auto"
	TCP  Transport = "tcp"
	UDP  Transport = "udp"
)

// A Link says how the connection to a camera is secured.
type Link string

// The links. LinkInsecure is an exception that an administrator names: it
// keeps a listener out and an impostor not.
const (
	LinkCA       Link = "rtsps-ca"       // TLS, certificate signed by an authority of Options.CA
	LinkPin      Link = "rtsps-pin"      // TLS, exactly this key
	LinkInsecure Link = "rtsps-insecure" // TLS, any certificate
	LinkPlain    Link = "plain"          // no TLS
)

// Check tells whether the options make sense together.
func (o *Options) Check() error {
	if o.URL.host == "" {
		return &Error{Code: BadOptions, Args: args("what", "url")}
	}
	switch o.Link {
	case LinkPlain:
		if o.URL.TLS() {
			return &Error{Code: BadOptions, Args: args("what", "link")}
		}
	case LinkCA, LinkPin, LinkInsecure:
		if !o.URL.TLS() {
			return &Error{Code: BadOptions, Args: args("what", "link")}
		}
	default:
		return &Error{Code: BadOptions, Args: args("what", "link")}
	}
	if o.Link == LinkPin && len(o.Pin) != 32 {
		return &Error{Code: BadOptions, Args: args("what", "pin")}
	}
	switch o.Transport {
	case Auto, TCP, UDP:
	default:
		return &Error{Code: BadOptions, Args: args("what", "transport")}
	}
	return nil
}

func (o *Options) defaults() {
	if o.Transport == "" {
		o.Transport = Auto
	}
	if o.Link == "" {
		o.Link = LinkPlain
		if o.URL.TLS() {
			o.Link = LinkCA
		}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Clock == nil {
		o.Clock = SystemClock
	}
}

// A Password does not print and does not marshal.
type Password struct{ text string }

// NewPassword hides text.
func NewPassword(text string) Password { return Password{text} }

var errPassword = errors.New("a password is not to be written")

// Format writes a constant for every verb.
func (p Password) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "password") }

// String is a constant.
func (p Password) String() string { return "password" }

// LogValue is a constant.
func (p Password) LogValue() slog.Value { return slog.StringValue("password") }

// MarshalText refuses.
func (p Password) MarshalText() ([]byte, error) { return nil, errPassword }

// MarshalJSON refuses.
func (p Password) MarshalJSON() ([]byte, error) { return nil, errPassword }

// A Clock tells our time. Wall may be stepped by who sets the machine's clock,
// Mono never is.
type Clock interface {
	Wall() int64 // ns since the Unix epoch
	Mono() int64 // ns since some moment
}

// SystemClock is the machine's clock.
var SystemClock Clock = systemClock{time.Now()}

type systemClock struct{ start time.Time }

func (systemClock) Wall() int64   { return time.Now().UnixNano() }
func (c systemClock) Mono() int64 { return int64(time.Since(c.start)) }

// Memory is what one session learns about a camera for the next. The zero
// value knows nothing. It belongs to one Play at a time.
type Memory struct {
	udp        bool // TCP was refused with 461
	clientKeys bool // SRTP: the camera wants keys from us (Axis)
	keepAlive  int  // place in keepAlives of the method to use
	quiet      int  // sessions that ended while that method was in use

	// What setting up the sound ended a connection with last. So many connections from now on
	// go without it, the one after those tries it again.
	muted    string
	mutedFor int
	mutes    int // times in a row
}

// mute leaves the sound out for a while: 1 connection, then 3, 7, and at most 63.
func (m *Memory) mute(why string) {
	m.mutes = min(m.mutes+1, 6)
	m.muted, m.mutedFor = why, 1<<m.mutes-1
}

// A Session is what a camera agreed to.
type Session struct {
	Tracks      []sdp.Media    // video first, then at most one sound: those that were set up
	Known       []*media.Track // what the description tells of each, nil where only the packets will
	Transport   Transport      // TCP or UDP
	Link        Link
	SRTP        bool
	Certificate *Certificate // TLS only
	Notes       []Note
}

// A Note is a fact about a camera that is worth telling and no failure.
type Note struct {
	Code string
	Args map[string]string
}

// A Report is a sender report of RTCP: the camera's clock beside a time stamp
// of RTP. It labels units and never moves media time.
type Report struct {
	NTP uint64 // RFC 5905 time stamp, as it came
	RTP uint32
}

// Stats counts since the start of the session.
type Stats struct {
	Packets  uint64   // RTP packets of tracks that were set up
	Bytes    uint64   // their sizes
	Lost     uint64   // packets missing in their sequences
	Foreign  uint64   // packets of unknown channels, payload types and sources
	Skipped  uint64   // bytes of garbage between frames
	Faults   uint64   // packets that could not be used
	Usable   [2]int64 // Clock.Mono of the last usable packet, by track; of H.264 and H.265, of one that brought a slice; 0: none yet
	Started  int64    // Clock.Mono at the reply to PLAY
	Restarts uint64   // sequences that started anew
}

// A Handler takes what a session brings. Its calls never overlap; they come
// from Play's goroutine and from those of its sockets, and must not block.
type Handler interface {
	// Described comes once, before the first unit.
	Described(s Session)
	// Unit takes an access unit of a track of the session (0 is the video).
	// u and its data are valid during the call.
	Unit(track int, u *depay.Unit)
	// Report takes a sender report.
	Report(track int, r Report)
	// Note takes a fact found while playing; each once per session.
	Note(n Note)
	// Tick comes about once a second after PLAY was answered. An error ends the
	// session and is what Play returns.
	Tick(s *Stats) error
}
