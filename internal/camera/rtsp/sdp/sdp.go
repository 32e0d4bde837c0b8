// Package sdp reads the session description of a camera (RFC 4566, and what
// cameras make of it) and chooses what to record.
//
//	DESCRIBE -> [sdp] -> SETUP, depay
//
// gortsplib does the parsing. Its parser is all or nothing, so the text is
// mended before it, line by line (mend.go and the files beside it; each mend
// names the maker or the thread it is for): what is understood is kept, and a
// description is refused only when no usable video is left in it.
//
// Everything runs on its caller's goroutine and keeps nothing.
package sdp

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/mikey"

	"vigil/internal/media"
)

// A Description is what a camera offers.
type Description struct {
	Control      string  // a=control of the session as it came, "" when absent; often "*"
	Tracks       []Media // what to record: the video first, then at most one sound
	BackChannels []Media // what the camera wants to hear; never recorded
	Notes        []Note  // what was mended or left out, in the order of the text
}

// Video returns the video, which is always there.
func (d Description) Video() Media { return d.Tracks[0] }

// A Media is one m= section, with the one format of it that was chosen.
type Media struct {
	Index   int         // the section's place in the text, from 0
	Codec   media.Codec // 0: dynamic payload type without a name; depay finds out from the packets
	Doubt   bool        // the text has signs of H.264 and of H.265 and sets of neither: depay finds out
	Name    string      // the encoding name as it came ("H264", "mpeg4-generic"); "" without rtpmap
	Control string      // a=control as it came: absolute, relative, "*" or ""

	PayloadType uint8
	OtherTypes  []uint8 // packets may come under these as well: the text contradicts itself, or has the coding more than once
	ClockRate   int     // of RTP time stamps, Hz
	Channels    int     // sound; 0 when not said
	Width       int     // by a=x-dimensions or a=framesize; 0 when not said. The parameter sets count, where there are any
	Height      int

	Profile   Profile
	MIKEY     *mikey.Message // from a=key-mgmt here or in the session; nil when absent or unreadable
	Crypto    []string       // values of a=crypto (RFC 4568), as they came
	Direction Direction

	ParameterSets     [][]byte // from sprop-*, checked: NAL units without start code, VPS SPS PPS in order
	PacketizationMode int      // H.264: 0, 1; 2 is noted
	Numbered          bool     // H.265: packets have decoding order numbers
	AAC               AAC

	Format format.Format     // gortsplib's reading; nil where it refuses what we take
	Params map[string]string // fmtp, keys in lower case
}

// AAC is what RFC 3640 and RFC 6416 need to know.
type AAC struct {
	Config           []byte // AudioSpecificConfig; made from the rtpmap when the text has none; nil when it comes in band
	SizeLength       int    // bits
	IndexLength      int
	IndexDeltaLength int
	ConstantSize     int    // bytes; RFC 3640 constantSize, 0 not given
	LATM             bool   // RFC 3016/6416 instead of RFC 3640
	MuxConfig        []byte // LATM: StreamMuxConfig; nil when in band (cpresent=1)
}

// A Profile is the transport of an m= line.
type Profile string

// The profiles.
const (
	AVP   Profile = "RTP/AVP"
	AVPF  Profile = "RTP/AVPF"
	SAVP  Profile = "RTP/SAVP"  // SRTP, keys by MIKEY or a=crypto
	SAVPF Profile = "RTP/SAVPF" //
	DTLS  Profile = "UDP/TLS/RTP/SAVPF"
)

// Secure tells whether packets are SRTP.
func (p Profile) Secure() bool { return p == SAVP || p == SAVPF || p == DTLS }

// A Direction is that of a media as the text says it.
type Direction string

// The directions. ONVIF uses SendOnly for a back-channel: the client sends.
const (
	Unsaid   Direction = ""
	RecvOnly Direction = "recvonly"
	SendOnly Direction = "sendonly"
	SendRecv Direction = "sendrecv"
	Inactive Direction = "inactive"
)

// A Note says what was mended or left out. Code and Args are facts for logs
// and the stream test page, no text for people.
type Note struct {
	Code string            // "no-version", "media-left-out", ...: one per mend
	Args map[string]string // "line", "track", "codec", ...; values are cut to 200 characters
}

// An Error is a refusal.
type Error struct {
	Code string            // one of the codes below
	Args map[string]string // "track": number of the m= section from 1, "kind": video, "codec", "payload"
}

// The refusals.
const (
	NotSDP           = "not-sdp"            // nothing of it is a session description
	TooLong          = "too-long"           // over MaxText
	NoMedia          = "no-media"           // no m= line
	NoVideo          = "no-video"           // kinds: what there is instead
	UnsupportedCodec = "unsupported-codec"  // codec, track: video, but of a codec that is not recorded
	InactiveVideo    = "inactive-video"     // track
	UndeclaredType   = "undeclared-payload" // payload, track: a word or a static type that nobody assigned
)

// Error names the refusal and its arguments.
func (e *Error) Error() string {
	s := "session description: " + e.Code
	for _, k := range slices.Sorted(maps.Keys(e.Args)) {
		s += " " + k + "=" + e.Args[k]
	}
	return s
}

// Takes tells whether packets of a payload type belong to the media. Others
// must be dropped before sequence numbers are looked at: some cameras mix them
// in with the same numbers (GeoVision GV-EBD4701).
func (m Media) Takes(payloadType uint8) bool {
	return payloadType == m.PayloadType || slices.Contains(m.OtherTypes, payloadType)
}

// Bounds of what is read of a description; the rest is refused or left out.
const (
	MaxText  = 256 << 10 // bytes
	maxLine  = 16 << 10  // bytes of a line
	maxLines = 1024
	maxMedia = 32
	maxNotes = 64
	maxArg   = 200 // characters of an argument
)

// A record collects notes.
type record struct{ notes []Note }

// note adds a note; args are pairs of name and value. Beyond maxNotes it does
// nothing: a text that needs more is not read by a person.
func (r *record) note(code string, args ...string) {
	if len(r.notes) == maxNotes {
		return
	}
	n := Note{Code: code}
	if len(args) > 0 {
		n.Args = arguments(args...)
	}
	r.notes = append(r.notes, n)
}

func refuse(code string, args ...string) *Error {
	return &Error{Code: code, Args: arguments(args...)}
}

// arguments makes a map of pairs, each value printable and short.
func arguments(pairs ...string) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = printable(pairs[i+1])
	}
	return m
}

func printable(s string) string {
	if len(s) > maxArg {
		s = s[:maxArg]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}
