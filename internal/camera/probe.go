package camera

import (
	"context"
	"errors"
	"slices"
	"time"

	"vigil/internal/camera/rtsp"
	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/media"
)

// A Probed is what a test of a stream found.
type Probed struct {
	Tracks      []media.Track // the video, and the sound where it is taken and known
	FPS         float64       // pictures a second, by the camera's stamps; 0 unknown
	BitRate     int           // of the video, bit/s, over the time looked at; 0 unknown
	Picture     []byte        // the first random access unit of the video; nil: none came
	Transport   rtsp.Transport
	Link        rtsp.Link
	SRTP        bool
	Certificate *rtsp.Certificate // nil without TLS
	Notes       []rtsp.Note
}

const (
	probeLook = 2 * time.Second  // of pictures
	probeMost = 16 * time.Second // in all, less than who asks waits; key frames may be far apart
)

var errProbed = errors.New("seen enough")

// Probe plays a stream for about two seconds. Its error is an *rtsp.Error, with
// the certificate where TLS did not know the camera, or that of ctx.
func Probe(ctx context.Context, o rtsp.Options) (Probed, error) {
	if o.Clock == nil {
		o.Clock = rtsp.SystemClock
	}
	p := &prober{clock: o.Clock, start: o.Clock.Mono()}
	err := rtsp.Play(ctx, o, nil, p)
	if errors.Is(err, errProbed) {
		err = nil
	}
	return p.found(), err
}

// A prober is the handler of a probe.
type prober struct {
	clock  rtsp.Clock
	start  int64
	seen   Probed
	known  [media.MaxTracks]*media.Track
	rate   int
	first  int64 // DTS, RTP units
	last   int64
	bytes  int64 // of the units before the last
	size   int64 // of the last
	units  int
	picked int64 // Clock.Mono of the first picture
}

// Described notes what was agreed.
func (p *prober) Described(s rtsp.Session) {
	p.seen = Probed{Transport: s.Transport, Link: s.Link, SRTP: s.SRTP, Certificate: s.Certificate, Notes: slices.Clone(s.Notes)}
	p.rate = max(s.Tracks[0].ClockRate, 1)
	copy(p.known[:], s.Known)
}

// Unit counts pictures.
func (p *prober) Unit(track int, u *depay.Unit) {
	if u.Track != nil {
		p.known[track] = u.Track
	}
	if track != 0 {
		return
	}
	if p.units == 0 {
		p.first, p.picked = u.DTS, p.clock.Mono()
	}
	if u.RandomAccess && p.seen.Picture == nil {
		p.seen.Picture = slices.Clone(u.Data)
	}
	p.units++
	p.last = u.DTS
	p.bytes += p.size
	p.size = int64(len(u.Data))
}

// Report does not matter here.
func (p *prober) Report(int, rtsp.Report) {}

// Note keeps a fact.
func (p *prober) Note(n rtsp.Note) {
	if len(p.seen.Notes) < maxNotes {
		p.seen.Notes = append(p.seen.Notes, n)
	}
}

// Tick ends the probe.
func (p *prober) Tick(s *rtsp.Stats) error {
	mono := p.clock.Mono()
	switch {
	case p.units > 0 && time.Duration(mono-p.picked) >= probeLook:
		return errProbed
	case time.Duration(mono-max(s.Usable[0], s.Started)) > StallAfter:
		return silence(s, p.seen.Transport, StallAfter)
	case time.Duration(mono-p.start) > probeMost:
		p.Note(rtsp.Note{Code: NoKeyFrame})
		return errProbed
	}
	return nil
}

// found sums up.
func (p *prober) found() Probed {
	for _, t := range p.known {
		if t != nil {
			t := *t
			t.Number = uint8(len(p.seen.Tracks) + 1)
			p.seen.Tracks = append(p.seen.Tracks, t)
		}
	}
	if span := p.last - p.first; span > 0 && p.units > 1 {
		p.seen.FPS = float64(p.units-1) * float64(p.rate) / float64(span)
		p.seen.BitRate = int(float64(p.bytes*8) * float64(p.rate) / float64(span))
	}
	return p.seen
}
