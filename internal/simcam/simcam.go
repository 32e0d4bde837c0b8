// Package simcam is simulated cameras: RTSP and RTSPS servers that play real
// footage in real time, tell exactly what they sent, and misbehave on command
// in the ways that real cameras do.
//
//	simcam --RTSP--> camera/rtsp          in tests, in the demo and under load
//
// Each picture carries its identity twice. A mark, an SEI with path, number
// and time (Marks reads it back from a recording), says which picture a
// sample is and when it was sent. The loops with a clock also show, to eyes
// and to ReadClock, the instant they belong to: the picture on air at wall
// second s of any minute is the one that shows second s.
//
// A camera has one timeline, laid over the wall clock, whether anybody reads
// or not; a reader joins it where it is and may have to wait for the next key
// picture. All numbers, in marks and in Sent, go on over reconnects, loops
// and reboots, so that a gap in a recording is a loss.
package simcam

import (
	"fmt"
	"image"
	"io/fs"
	"net"
	"strings"
	"time"

	"vigil/internal/simcam/clockface"
)

// Auth is what a camera demands of those who have a user name.
type Auth string

// The kinds of authentication. GStreamer and ffmpeg 5 know DigestMD5 only.
const (
	DigestMD5    Auth = "md5" // RFC 2069, no qop
	DigestSHA256 Auth = "sha256"
	DigestBoth   Auth = "both"  // two challenges, MD5 first
	Basic        Auth = "basic" //
)

// Sets says where a camera tells its parameter sets.
type Sets string

// The places.
const (
	SetsBoth Sets = "both" // in the SDP and before each key picture
	SetsBand Sets = "band" // only before each key picture
	SetsSDP  Sets = "sdp"  // only in the SDP
)

// Config describes a camera.
type Config struct {
	Footage     fs.FS         // the built-in films and sounds: package footage; nil: none
	Listener    net.Listener  // on a loopback address, instead of Addr; only without TLS
	Addr        string        // loopback address to listen on; "" is 127.0.0.1 with any port
	TLS         bool          // RTSPS, with a certificate made at start; RTP stays plain inside the TLS connection
	SRTP        bool          // RTSPS that offers RTP/SAVP keyed by MIKEY; implies TLS
	User        string        // "" lets everybody in
	Password    string        //
	Auth        Auth          // "" is DigestMD5
	Streams     []Stream      // at least one
	MaxSessions int           // further SETUPs get 453; 0 is no limit
	ClockOffset time.Duration // what the camera's clock is ahead of ours
	Reports     time.Duration // time between RTCP sender reports; 0 is 5 s, negative none
	Keep        time.Duration // how long Sent remembers; 0 is 10 min
	NoMarks     bool          // pictures as in the film, without the SEI
	NoUDP       bool          // refuse UDP, and save its two ports
}

// A Stream is one path of a camera.
type Stream struct {
	Path   string        // without slash at the start: "main"
	Source string        // a built-in film (see Films) or a file: .mp4 .h264 .h265 .mjpeg
	Sound  string        // a built-in sound (see Films), a file: .aac .alaw .ulaw .ogg, "source" for the sound of the source, or "" for none
	Rate   float64       // pictures a second, for .h264 .h265 .mjpeg files; 0 is 25
	Sets   Sets          // "" is SetsBoth
	Shift  time.Duration // how much later than the wall clock says; spreads the key pictures of many cameras
	Mark   int           // the path number in the marks, 0 to 9999; by default the place in Config.Streams
}

// Demo returns the streams of the demonstration camera: "clock" with the clock
// over a street scene, "sub" the same in small, "aac" and "g711" with sound, "mjpeg",
// "h265".
func Demo() []Stream {
	return []Stream{
		{Path: "clock", Source: "clock"},
		{Path: "sub", Source: "clock-small"},
		{Path: "aac", Source: "clock", Sound: "aac"},
		{Path: "g711", Source: "clock", Sound: "alaw"},
		{Path: "h265", Source: "clock-h265-small"},
		{Path: "mjpeg", Source: "clock-mjpeg"},
	}
}

// ReadClock returns the time since the start of the minute that a picture of
// a film with a clock shows; see package clockface.
func ReadClock(img image.Image) (sinceMinute time.Duration, ok bool) {
	return clockface.Read(img)
}

// check fills in what was left out and refuses what cannot be.
func (c *Config) check() error {
	if c.Listener != nil {
		c.Addr = c.Listener.Addr().String()
		if c.TLS || c.SRTP {
			return fmt.Errorf("a listener and TLS")
		}
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", c.Addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("address %q: simulated cameras serve loopback only", c.Addr)
	}
	if c.Auth == "" {
		c.Auth = DigestMD5
	}
	if c.Reports == 0 {
		c.Reports = 5 * time.Second
	}
	if c.Keep == 0 {
		c.Keep = 10 * time.Minute
	}
	c.TLS = c.TLS || c.SRTP
	if len(c.Streams) == 0 {
		return fmt.Errorf("a camera without streams")
	}
	c.Streams = append([]Stream(nil), c.Streams...)
	seen := map[string]bool{}
	for i := range c.Streams {
		s := &c.Streams[i]
		s.Path = strings.Trim(s.Path, "/")
		if s.Path == "" || seen[s.Path] || strings.ContainsAny(s.Path, " \t\r\n?#") {
			return fmt.Errorf("stream %d: path %q", i, s.Path)
		}
		seen[s.Path] = true
		if s.Sets == "" {
			s.Sets = SetsBoth
		}
		if s.Mark == 0 {
			s.Mark = i
		}
		if s.Mark < 0 || s.Mark > 9999 {
			return fmt.Errorf("stream %q: mark %d", s.Path, s.Mark)
		}
		if s.Rate == 0 {
			s.Rate = 25
		}
		if s.Rate < 0.1 || s.Rate > 240 {
			return fmt.Errorf("stream %q: rate %g", s.Path, s.Rate)
		}
	}
	return nil
}
