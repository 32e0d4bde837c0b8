// Package media has the words of the recording path: ids, ticks, tracks,
// access units and the batches they travel in. It imports nothing of Vigil
// and does nothing but hold and check.
package media

import (
	"fmt"
	"time"
)

// Ticks is a time or a duration on a track, in units of 1/90000 s. As a time
// it counts from the Unix epoch on the recorder's own clock (UTC), so that
// 1970 is 0 and a decode time tells the wall clock without a table.
type Ticks int64

// TicksPerSecond is the resolution of every track, sound included: it holds
// every video clock of RTP exactly and every sound clock to within 6 µs,
// rounded afresh for each unit so that errors do not add up.
const TicksPerSecond = 90000

// TicksOf returns t in ticks, rounded down.
func TicksOf(t time.Time) Ticks {
	return Ticks(t.Unix()*TicksPerSecond + int64(t.Nanosecond())*9/100000)
}

// TicksIn returns d in ticks, rounded towards zero.
func TicksIn(d time.Duration) Ticks {
	return Ticks(int64(d/time.Second)*TicksPerSecond + int64(d%time.Second)*9/100000)
}

// Time returns t as a UTC time.
func (t Ticks) Time() time.Time {
	sec, rest := int64(t)/TicksPerSecond, int64(t)%TicksPerSecond
	return time.Unix(sec, rest*100000/9).UTC()
}

// Duration returns t as a duration.
func (t Ticks) Duration() time.Duration {
	return time.Duration(int64(t)/TicksPerSecond)*time.Second + time.Duration(int64(t)%TicksPerSecond*100000/9)
}

// A Codec is a coding of pictures or sound that is kept as it came.
type Codec uint8

// The codecs. The numbers are part of the wire and segment formats.
const (
	H264  Codec = 1
	H265  Codec = 2
	MJPEG Codec = 3
	AAC   Codec = 16
	Opus  Codec = 17
	PCMA  Codec = 18 // G.711 A-law
	PCMU  Codec = 19 // G.711 µ-law
)

var codecNames = map[Codec]string{H264: "H264", H265: "H265", MJPEG: "MJPEG", AAC: "AAC", Opus: "Opus", PCMA: "PCMA", PCMU: "PCMU"}

// Valid tells whether c is one of the codecs above.
func (c Codec) Valid() bool { return codecNames[c] != "" }

// Video tells pictures from sound.
func (c Codec) Video() bool { return c < AAC }

// String returns the name that users read.
func (c Codec) String() string {
	if n := codecNames[c]; n != "" {
		return n
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// MarshalText is String, for JSON.
func (c Codec) MarshalText() ([]byte, error) {
	if !c.Valid() {
		return nil, fmt.Errorf("unknown codec %d", uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText reads a name.
func (c *Codec) UnmarshalText(b []byte) error {
	for k, n := range codecNames {
		if n == string(b) {
			*c = k
			return nil
		}
	}
	return fmt.Errorf("unknown codec %.20q", b)
}

// A Track describes one elementary stream of a camera's stream. Everything in
// it was found out by the ingest process; the core copies Config into the
// sample entry without reading it.
type Track struct {
	Number     uint8  `json:"number"`               // as in the MP4: 1, 2, ...
	Codec      Codec  `json:"codec"`                //
	Codecs     string `json:"codecs"`               // RFC 6381, "avc1.64001f"; empty where none is registered
	Config     []byte `json:"config,omitempty"`     // avcC, hvcC, dOps body, or AudioSpecificConfig
	Width      int    `json:"width,omitempty"`      // pixels as shown, cropping applied
	Height     int    `json:"height,omitempty"`     //
	SampleRate int    `json:"sampleRate,omitempty"` // sound, Hz
	Channels   int    `json:"channels,omitempty"`   // sound
}

// Bounds of what a worker may declare.
const (
	MaxTracks      = 4
	MaxConfig      = 16 << 10
	MaxPictureSide = 16384
	MaxBatch       = 16 << 20 // bytes of payload in one batch
	MaxUnits       = 1024     // units in one batch
	MaxUnit        = 8 << 20  // bytes of one access unit
)

// Check tells whether the track keeps the bounds.
func (t Track) Check() error {
	switch {
	case t.Number == 0 || t.Number > MaxTracks:
		return fmt.Errorf("track number %d", t.Number)
	case !t.Codec.Valid():
		return fmt.Errorf("track %d: %v", t.Number, t.Codec)
	case len(t.Config) > MaxConfig:
		return fmt.Errorf("track %d: %d bytes of configuration", t.Number, len(t.Config))
	case !printable(t.Codecs, 64):
		return fmt.Errorf("track %d: codecs parameter %.70q", t.Number, t.Codecs)
	case t.Codec.Video() && (t.Width <= 0 || t.Height <= 0 || t.Width > MaxPictureSide || t.Height > MaxPictureSide):
		return fmt.Errorf("track %d: picture of %d x %d", t.Number, t.Width, t.Height)
	case !t.Codec.Video() && (t.SampleRate <= 0 || t.SampleRate > 1<<20 || t.Channels <= 0 || t.Channels > 8):
		return fmt.Errorf("track %d: sound of %d Hz, %d channels", t.Number, t.SampleRate, t.Channels)
	}
	return nil
}

func printable(s string, most int) bool {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return len(s) <= most
}

// CheckTracks tells whether the tracks of one stream keep the bounds: numbers
// rise from 1, the first is video and is the only one.
func CheckTracks(tracks []Track) error {
	if len(tracks) == 0 || len(tracks) > MaxTracks {
		return fmt.Errorf("%d tracks", len(tracks))
	}
	for i, t := range tracks {
		if err := t.Check(); err != nil {
			return err
		}
		if int(t.Number) != i+1 || t.Codec.Video() != (i == 0) {
			return fmt.Errorf("track %d stands at place %d", t.Number, i+1)
		}
	}
	return nil
}
