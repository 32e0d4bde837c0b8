package rtsp

import (
	"fmt"
	"maps"
	"slices"
)

// An Error says why a camera cannot be recorded, in a form that pages can say
// in two languages.
type Error struct {
	Code        string            // one of the codes below, or one of package sdp
	Args        map[string]string // facts; what the camera said is cut and may hold anything that prints badly
	Certificate *Certificate      // what the camera showed, for the tls- codes
	Err         error             // for logs; may be nil
}

// The codes, and their arguments.
const (
	BadOptions   = "bad-options"        // what
	DNSFailed    = "dns-failed"         // host
	Unreachable  = "camera-unreachable" // address, reason
	Refused      = "refused-connection" // address
	NoAnswer     = "no-answer"          // step: connected, and then silence
	Lost         = "connection-lost"    // step
	SpeaksHTTP   = "speaks-http"        // status
	SpeaksSSH    = "speaks-ssh"         // banner
	SpeaksTLS    = "speaks-tls"         // a plain connection to a port of RTSPS
	SpeaksPlain  = "speaks-plain"       // TLS to a port that has none
	NotRTSP      = "not-rtsp"           // banner
	BadReply     = "bad-reply"          // step, what
	Garbage      = "stream-garbage"     // bytes
	TLSUnknown   = "tls-unknown-authority"
	TLSName      = "tls-wrong-name" // host
	TLSExpired   = "tls-expired"
	TLSPin       = "tls-pin-mismatch"
	TLSRefused   = "tls-refused"         // the camera ends the handshake
	TLSFailed    = "tls-failed"          // reason
	AuthNeeded   = "auth-needed"         // a user is wanted and none is set
	AuthFailed   = "auth-failed"         // user: refused
	AuthLegacy   = "auth-legacy-off"     // the camera has only MD5, which is switched off
	AuthUnsafe   = "auth-basic-unsafe"   // the camera wants the password as it is, over a plain connection
	AuthUnknown  = "auth-unsupported"    // schemes
	NotFound     = "not-found-404"       // step
	SessionLimit = "session-limit"       // step, status
	Redirect     = "redirect-refused"    // location
	NoTransport  = "transport-refused"   // transport
	UnsafeUDP    = "udp-not-secure"      // UDP without SRTP beside TLS
	SRTPFailed   = "srtp-failed"         // reason
	Status       = "refused"             // step, status, reason
	Gone         = "session-gone"        // 454: the camera forgot the session
	Ended        = "camera-ended-stream" // a BYE, or a TEARDOWN by the camera
)

// Error is for logs.
func (e *Error) Error() string {
	s := "rtsp: " + e.Code
	for _, k := range slices.Sorted(maps.Keys(e.Args)) {
		s += fmt.Sprintf(" %s=%q", k, e.Args[k])
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ends tells whether nothing more can be said over the connection.
func (e *Error) ends() bool {
	switch e.Code {
	case Lost, NoAnswer, Gone, BadReply, Garbage, NotRTSP:
		return true
	}
	return false
}

// maxArg bounds what a camera can put into an argument.
const maxArg = 200

// args makes arguments of pairs.
func args(pairs ...string) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		v := pairs[i+1]
		m[pairs[i]] = v[:min(len(v), maxArg)]
	}
	return m
}

func fail(code string, err error, pairs ...string) *Error {
	return &Error{Code: code, Args: args(pairs...), Err: err}
}
