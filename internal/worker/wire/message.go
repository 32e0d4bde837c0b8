package wire

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"vigil/internal/media"
)

// A Message is the body of a control frame.
type Message interface {
	Kind() Type
	Check() error // that it keeps the bounds; Append and Reader.Message both ask
}

// Start asks a worker to keep a stream alive.
type Start struct{ Spec }

// Probe asks a worker to try a stream once.
type Probe struct{ Spec }

// Stop ends a stream.
type Stop struct{}

// Ping asks for the Pong with the same number.
type Ping struct {
	Seq uint64 `json:"seq"`
}

// Pong answers a Ping.
type Pong struct {
	Seq uint64 `json:"seq"`
}

// Names tells which name servers to ask: a jailed worker cannot re-read
// resolv.conf once it was replaced.
type Names struct {
	Servers []netip.AddrPort `json:"servers"`
}

// Hello is a worker's first frame.
type Hello struct {
	PID  int     `json:"pid"`
	Jail []Guard `json:"jail"`
}

// A Guard is one of the walls around a worker, and whether it stands.
type Guard struct {
	Name  string `json:"name"`           // "landlock", "seccomp", ...
	Holds bool   `json:"holds"`          //
	Note  string `json:"note,omitempty"` // what it does, or why it does not hold
}

// A State is how a stream is.
type State string

// The states.
const (
	Connecting State = "connecting" // a try is under way
	Live       State = "live"       // pictures come
	Waiting    State = "waiting"    // no pictures; the note says why, the next try comes
	Ended      State = "ended"      // stopped by a Stop: the last frame for this number
)

// NoKeyFrame is the code of a Status: pictures come, and decoding cannot start
// with any of them. While Waiting, because one was lost and the next key frame is far.
const NoKeyFrame = "waiting-for-key-frame"

// Status says how a stream is.
type Status struct {
	State State  `json:"state"`
	Why   Note   `json:"why,omitzero"`
	Notes []Note `json:"notes,omitempty"` // facts about the connection that are no failure; at most MaxNotes
}

// MaxNotes bounds the notes of a Status and of a Probed.
const MaxNotes = 16

// A Note is a fact in the form the pages can say in two languages: a code and
// its arguments. It is an error too.
type Note struct {
	Code string            `json:"code,omitempty"` // "camera-unreachable", "auth-failed", ...
	Args map[string]string `json:"args,omitempty"`
}

// Error is for logs.
func (n Note) Error() string {
	s := n.Code
	for _, k := range slices.Sorted(maps.Keys(n.Args)) {
		s += fmt.Sprintf(" %s=%q", k, n.Args[k])
	}
	return s
}

// Tracks declares what the units that follow belong to.
type Tracks struct {
	List []media.Track `json:"list"`
}

// Probed is what a probe found; Fault is nil when pictures came.
type Probed struct {
	Tracks      []media.Track `json:"tracks,omitempty"`
	FPS         float64       `json:"fps,omitempty"`     // pictures a second; 0: not known
	BitRate     int64         `json:"bitRate,omitempty"` // of the video, bit/s; 0: not known
	Picture     []byte        `json:"picture,omitempty"` // a random access unit of the video; none where it is larger than MaxProbePicture
	Notes       []Note        `json:"notes,omitempty"`
	Link        Link          `json:"link,omitempty"`
	Certificate *Certificate  `json:"certificate,omitempty"`
	Fault       *Note         `json:"fault,omitempty"`
}

// MaxProbePicture bounds the picture of a Probed, in bytes.
const MaxProbePicture = 1 << 20

// Bounds of what a probe measures: no network carries more.
const (
	maxFPS     = 1e4
	maxBitRate = 1e12
)

// A Certificate is what a camera showed over TLS, for a person to judge.
type Certificate struct {
	SHA256    []byte   `json:"sha256"` // of the DER; what a pin is
	Subject   string   `json:"subject"`
	Issuer    string   `json:"issuer"`
	Names     []string `json:"names,omitempty"`
	NotBefore int64    `json:"notBefore"` // s since the epoch
	NotAfter  int64    `json:"notAfter"`
}

// Log is a line for developers.
type Log struct {
	Level   int    `json:"level"` // as slog
	Message string `json:"message"`
	Attrs   []Attr `json:"attrs,omitempty"`
}

// An Attr is a word of a Log.
type Attr struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Fell are a worker's last words: the session of the frame's stream panicked.
type Fell struct {
	Reason string   `json:"reason"`
	Stack  []string `json:"stack,omitempty"`
}

// Kind and Check, message by message.

func (*Start) Kind() Type  { return TypeStart }
func (*Probe) Kind() Type  { return TypeProbe }
func (*Stop) Kind() Type   { return TypeStop }
func (*Ping) Kind() Type   { return TypePing }
func (*Pong) Kind() Type   { return TypePong }
func (*Names) Kind() Type  { return TypeNames }
func (*Hello) Kind() Type  { return TypeHello }
func (*Status) Kind() Type { return TypeStatus }
func (*Tracks) Kind() Type { return TypeTracks }
func (*Probed) Kind() Type { return TypeProbed }
func (*Log) Kind() Type    { return TypeLog }
func (*Fell) Kind() Type   { return TypeFell }

// Check of these has nothing to find.
func (*Stop) Check() error { return nil }

// Check of these has nothing to find.
func (*Ping) Check() error { return nil }

// Check of these has nothing to find.
func (*Pong) Check() error { return nil }

// Check keeps the bounds.
func (m *Names) Check() error {
	if len(m.Servers) > 8 {
		return fmt.Errorf("names: %d servers", len(m.Servers))
	}
	for _, s := range m.Servers {
		if !s.IsValid() {
			return errors.New("names: invalid server")
		}
	}
	return nil
}

// Check keeps the bounds.
func (m *Hello) Check() error {
	if m.PID <= 0 || len(m.Jail) > 32 {
		return fmt.Errorf("hello: pid %d, %d guards", m.PID, len(m.Jail))
	}
	for _, g := range m.Jail {
		if !code(g.Name) || !text(g.Note, 400) {
			return fmt.Errorf("hello: guard %.70q", g.Name)
		}
	}
	return nil
}

// Check keeps the bounds.
func (m *Status) Check() error {
	switch m.State {
	case Connecting, Live, Waiting, Ended:
	default:
		return fmt.Errorf("status: state %.20q", m.State)
	}
	if len(m.Notes) > MaxNotes {
		return fmt.Errorf("status: %d notes", len(m.Notes))
	}
	for _, n := range m.Notes {
		if err := n.Check(); err != nil {
			return fmt.Errorf("status: %w", err)
		}
	}
	if m.Why.Code == "" && len(m.Why.Args) == 0 {
		return nil
	}
	return m.Why.Check()
}

// Check keeps the bounds.
func (n Note) Check() error {
	if !code(n.Code) || len(n.Args) > 12 {
		return fmt.Errorf("note: code %.70q, %d arguments", n.Code, len(n.Args))
	}
	for k, v := range n.Args {
		if !code(k) || !text(v, 512) {
			return fmt.Errorf("note %s: argument %.70q", n.Code, k)
		}
	}
	return nil
}

// Check keeps the bounds.
func (m *Tracks) Check() error { return media.CheckTracks(m.List) }

// Check keeps the bounds.
func (m *Probed) Check() error {
	if len(m.Tracks) > 0 {
		if err := media.CheckTracks(m.Tracks); err != nil {
			return fmt.Errorf("probed: %w", err)
		}
	}
	if !(m.FPS >= 0 && m.FPS <= maxFPS) || m.BitRate < 0 || m.BitRate > maxBitRate {
		return fmt.Errorf("probed: %g pictures, %d bits a second", m.FPS, m.BitRate)
	}
	if len(m.Picture) > MaxProbePicture || len(m.Picture) > 0 && len(m.Tracks) == 0 {
		return fmt.Errorf("probed: picture of %d bytes, %d tracks", len(m.Picture), len(m.Tracks))
	}
	if len(m.Notes) > MaxNotes || !text(string(m.Link), 32) {
		return fmt.Errorf("probed: %d notes, link %.40q", len(m.Notes), m.Link)
	}
	for _, n := range m.Notes {
		if err := n.Check(); err != nil {
			return fmt.Errorf("probed: %w", err)
		}
	}
	if c := m.Certificate; c != nil {
		if len(c.SHA256) != 32 || !text(c.Subject, 512) || !text(c.Issuer, 512) || len(c.Names) > 16 {
			return errors.New("probed: certificate out of bounds")
		}
		for _, n := range c.Names {
			if !text(n, 256) {
				return errors.New("probed: certificate name out of bounds")
			}
		}
	}
	if m.Fault != nil {
		return m.Fault.Check()
	}
	return nil
}

// Check keeps the bounds.
func (m *Log) Check() error {
	if m.Level < -8 || m.Level > 16 || m.Message == "" || !text(m.Message, 200) || len(m.Attrs) > 16 {
		return fmt.Errorf("log: level %d, message of %d bytes, %d attributes", m.Level, len(m.Message), len(m.Attrs))
	}
	for _, a := range m.Attrs {
		if a.Key == "" || !text(a.Key, 64) || !text(a.Value, 512) {
			return errors.New("log: attribute out of bounds")
		}
	}
	return nil
}

// Check keeps the bounds.
func (m *Fell) Check() error {
	if !text(m.Reason, 512) || len(m.Stack) > 64 {
		return errors.New("fell: out of bounds")
	}
	for _, l := range m.Stack {
		if !text(l, 256) {
			return errors.New("fell: out of bounds")
		}
	}
	return nil
}
