package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"unicode/utf8"

	"vigil/internal/media"
)

// A Spec is what a worker must know to keep one stream of a camera alive.
type Spec struct {
	ID        uint32         // the stream number on the wire; set by who sends, from the header by who receives
	Camera    media.CameraID // both streams of a camera live in the same worker
	Stream    media.StreamID //
	URL       string         // rtsp:// or rtsps://, without user and password
	User      string         // empty: none
	Password  Secret         //
	Transport Transport      //
	Link      Link           //
	Pin       []byte         // SHA-256 of the camera's certificate (DER); for LinkPin, else empty
	CA        []byte         // PEM; for LinkCA, else empty. A worker cannot read the system's authorities
	Audio     bool           // take sound too
	LegacyMD5 bool           // a digest by MD5 will do for a camera that has no better
	Basic     bool           // the password may be sent as it is; only over TLS without this
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

// The links.
const (
	LinkCA       Link = "rtsps-ca"       // TLS, certificate signed by CA
	LinkPin      Link = "rtsps-pin"      // TLS, exactly this certificate
	LinkInsecure Link = "rtsps-insecure" // TLS, any certificate: a listener is kept out, an impostor is not
	LinkPlain    Link = "plain"          // no TLS
)

// Bounds of a Spec.
const (
	MaxURL      = 2048
	MaxUser     = 256
	MaxPassword = 256
	MaxCA       = 64 << 10
)

// Check tells whether the spec keeps the bounds and does not contradict
// itself; it reports all mistakes together. No error shows the password.
func (s *Spec) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("stream spec: "+format, args...)) }
	if s.Camera.IsZero() || s.Stream.IsZero() {
		bad("no camera or stream id")
	}
	if err := checkURL(s.URL, s.Link == LinkPlain); err != nil {
		errs = append(errs, err)
	}
	if len(s.User) > MaxUser || !printable(s.User) {
		bad("user of %d bytes: want at most %d printable", len(s.User), MaxUser)
	}
	if len(s.Password.text) > MaxPassword || !utf8.ValidString(s.Password.text) {
		bad("password: want at most %d bytes of UTF-8", MaxPassword)
	}
	if s.Transport != Auto && s.Transport != TCP && s.Transport != UDP {
		bad("transport %.20q", s.Transport)
	}
	switch s.Link {
	case LinkCA, LinkPin, LinkInsecure, LinkPlain:
	default:
		bad("link %.20q", s.Link)
	}
	if want := s.Link == LinkPin; want && len(s.Pin) != sha256.Size || !want && len(s.Pin) != 0 {
		bad("pin of %d bytes with link %.20q", len(s.Pin), s.Link)
	}
	if want := s.Link == LinkCA; want != (len(s.CA) > 0) || len(s.CA) > MaxCA {
		bad("authorities of %d bytes with link %.20q", len(s.CA), s.Link)
	} else if block, _ := pem.Decode(s.CA); want && block == nil {
		bad("authorities are not PEM")
	}
	return errors.Join(errs...)
}

// checkURL never puts the address into its error: people paste passwords.
func checkURL(text string, plain bool) error {
	if len(text) > MaxURL || !printable(text) {
		return fmt.Errorf("stream spec: address of %d bytes: want at most %d printable", len(text), MaxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("stream spec: the address is no URL")
	case u.User != nil:
		return errors.New("stream spec: user and password belong beside the address, not into it")
	case u.Hostname() == "" || u.Opaque != "" || u.Fragment != "":
		return errors.New("stream spec: the address wants a host and no fragment")
	case plain && u.Scheme != "rtsp", !plain && u.Scheme != "rtsps":
		return fmt.Errorf("stream spec: scheme %.20q does not go with the security of the link", u.Scheme)
	}
	return nil
}

// Equal tells whether both ask for the same session, whatever its number.
func (s *Spec) Equal(o *Spec) bool {
	return s.Camera == o.Camera && s.Stream == o.Stream && s.URL == o.URL && s.User == o.User && s.Password == o.Password &&
		s.Transport == o.Transport && s.Link == o.Link && bytes.Equal(s.Pin, o.Pin) && bytes.Equal(s.CA, o.CA) &&
		s.Audio == o.Audio && s.LegacyMD5 == o.LegacyMD5 && s.Basic == o.Basic
}

// A Secret is a camera's password. It does not print and does not marshal;
// only the wire carries it, to the worker that needs it.
type Secret struct{ text string }

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, for the one who authenticates with it.
func (s Secret) Reveal() string { return s.text }

// IsZero tells whether there is no password.
func (s Secret) IsZero() bool { return s.text == "" }

var errSecret = errors.New("a password is not to be written")

// Format writes a constant for every verb.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "secret") }

// String is a constant.
func (s Secret) String() string { return "secret" }

// LogValue is a constant.
func (s Secret) LogValue() slog.Value { return slog.StringValue("secret") }

// MarshalText refuses.
func (s Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalJSON refuses.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }

// specBody is a Spec as it travels.
type specBody struct {
	Camera    media.CameraID `json:"camera"`
	Stream    media.StreamID `json:"stream"`
	URL       string         `json:"url"`
	User      string         `json:"user,omitempty"`
	Password  string         `json:"password,omitempty"`
	Transport Transport      `json:"transport"`
	Link      Link           `json:"link"`
	Pin       []byte         `json:"pin,omitempty"`
	CA        []byte         `json:"ca,omitempty"`
	Audio     bool           `json:"audio"`
	LegacyMD5 bool           `json:"legacyMD5"`
	Basic     bool           `json:"basic"`
}

func (s *Spec) body() any {
	return &specBody{s.Camera, s.Stream, s.URL, s.User, s.Password.text, s.Transport, s.Link, s.Pin, s.CA, s.Audio, s.LegacyMD5, s.Basic}
}

func (s *Spec) adopt(body any) {
	b := body.(*specBody)
	*s = Spec{s.ID, b.Camera, b.Stream, b.URL, b.User, Secret{b.Password}, b.Transport, b.Link, b.Pin, b.CA, b.Audio, b.LegacyMD5, b.Basic}
}
