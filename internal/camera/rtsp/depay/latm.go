package depay

import (
	"bytes"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"vigil/internal/camera/rtsp/sdp"
)

// latm takes RFC 3016 and RFC 6416 apart: AudioMuxElements, whose configuration
// is in the description or in each element.
type latm struct {
	sounder
	mux      *mpeg4audio.StreamMuxConfig
	inBand   bool
	channels int
	step     int64
	element  []byte
	open     bool
	time     uint32
	at       int64
	since    int64
}

var errLATM = &Error{Code: "latm"}

func newLATM(m sdp.Media) (*latm, error) {
	s := &latm{sounder: sounder{rate: m.ClockRate}, inBand: m.Params["cpresent"] != "0", channels: m.Channels}
	if m.AAC.MuxConfig != nil {
		s.mux = s.muxConfig(m.AAC.MuxConfig)
	}
	if s.mux == nil && !s.inBand {
		return nil, &Error{Code: "audio-config"}
	}
	return s, nil
}

// muxConfig reads the configuration of a description, with a few bytes too many
// behind it.
func (s *latm) muxConfig(b []byte) *mpeg4audio.StreamMuxConfig {
	for n := len(b); n > 0 && n > len(b)-4; n-- {
		var c mpeg4audio.StreamMuxConfig
		if c.Unmarshal(b[:n]) == nil && s.configure(&c) {
			return &c
		}
	}
	return nil
}

// configure takes a configuration over.
func (s *latm) configure(c *mpeg4audio.StreamMuxConfig) bool {
	if len(c.Programs) == 0 || len(c.Programs[0].Layers) == 0 || c.Programs[0].Layers[0].AudioSpecificConfig == nil {
		return false
	}
	config, err := c.Programs[0].Layers[0].AudioSpecificConfig.Marshal()
	if err != nil {
		return false
	}
	t, a, ok := aacTrack(config, s.channels)
	if !ok {
		return false
	}
	s.step = int64(a.samples) * int64(s.rate) / int64(a.rate)
	if s.track == nil || !bytes.Equal(s.track.Config, config) {
		s.track, s.told = t, false
	}
	return true
}

// Push takes a packet.
func (s *latm) Push(p Packet) ([]Unit, error) {
	s.begin(&p)
	if p.Lost > 0 {
		s.open = false
	}
	pts := s.clock.extend(p.Time)
	var err error
	if s.open && p.Time != s.time { // no marker
		err = s.end()
	}
	if !s.open {
		s.open, s.element, s.time, s.at, s.since = true, s.element[:0], p.Time, pts, p.Arrived
	}
	if len(s.element)+len(p.Payload) > 64<<10 {
		s.open = false
		return s.units, errTooBig
	}
	s.element = append(s.element, p.Payload...)
	if p.Marker {
		err = s.end()
	}
	if err != nil && s.started {
		s.lost++
	}
	return s.units, err
}

// end takes an element apart.
func (s *latm) end() error {
	s.open = false
	if len(s.element) == 0 {
		return nil
	}
	e := mpeg4audio.AudioMuxElement{MuxConfigPresent: s.inBand, StreamMuxConfig: s.mux}
	if err := e.Unmarshal(s.element); err != nil && !complete(&e) { // bytes behind the end are no fault
		return errLATM
	}
	if e.StreamMuxConfig != s.mux {
		if !s.configure(e.StreamMuxConfig) {
			return errLATM
		}
		s.mux = e.StreamMuxConfig
	}
	if s.track == nil {
		return errLATM
	}
	at := s.at
	for _, sub := range e.Payloads {
		if len(sub) > 0 && len(sub[0]) > 0 && len(sub[0][0]) > 0 {
			from := len(s.buf)
			s.buf = append(s.buf, sub[0][0]...)
			s.emit(from, at, s.since)
		}
		at += s.step
	}
	return nil
}

func complete(e *mpeg4audio.AudioMuxElement) bool {
	return e.StreamMuxConfig != nil && len(e.Payloads) > 0 && e.Payloads[len(e.Payloads)-1] != nil
}

// Flush returns nothing that has not ended.
func (s *latm) Flush() []Unit {
	s.open = false
	return nil
}

// Restart is for a new RTP timeline.
func (s *latm) Restart() {
	s.sounder.Restart()
	s.open = false
}
