package depay

import (
	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// A sounder is what all depacketizers of sound share: a buffer, a clock, and
// the count of lost packets.
type sounder struct {
	rate    int
	clock   clock
	buf     []byte
	units   []Unit
	lost    uint32
	track   *media.Track
	told    bool
	started bool
}

// begin starts a call.
func (s *sounder) begin(p *Packet) {
	s.units, s.buf = s.units[:0], s.buf[:0]
	if s.started {
		s.lost += uint32(max(p.Lost, 0))
	}
}

// emit hands out the frame at the end of buf that begins at from.
func (s *sounder) emit(from int, pts, arrived int64) {
	u := Unit{Data: s.buf[from:len(s.buf):len(s.buf)], PTS: pts, DTS: pts, Arrived: arrived, RandomAccess: true, Lost: s.lost}
	if !s.told {
		u.Track = s.track
	}
	s.told, s.started, s.lost = true, true, 0
	s.units = append(s.units, u)
}

// Flush returns nothing: sound waits for nothing.
func (s *sounder) Flush() []Unit { return nil }

// Restart is for a new RTP timeline.
func (s *sounder) Restart() { s.clock = clock{} }

// Track is what is known of the track.
func (s *sounder) Track() *media.Track { return s.track }

// ClockRate of the time stamps.
func (s *sounder) ClockRate() int { return s.rate }

// plain is for codecs whose packets are frames: Opus (RFC 7587) and G.711
// (RFC 3551, 4.5.14).
type plain struct{ sounder }

func newPlain(m sdp.Media) *plain {
	t := &media.Track{Codec: m.Codec, SampleRate: m.ClockRate, Channels: m.Channels}
	if m.Codec == media.Opus {
		t.Codecs, t.Config = "opus", dOps(m.Channels)
	}
	return &plain{sounder{rate: m.ClockRate, track: t}}
}

// Push takes a packet. Empty ones are silence that is not sent (RFC 7587, 3.1.3).
func (s *plain) Push(p Packet) ([]Unit, error) {
	s.begin(&p)
	pts := s.clock.extend(p.Time)
	if len(p.Payload) > 0 {
		s.buf = append(s.buf, p.Payload...)
		s.emit(0, pts, p.Arrived)
	}
	return s.units, nil
}
