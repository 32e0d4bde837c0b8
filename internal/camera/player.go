package camera

import (
	"bytes"
	"slices"
	"time"

	"vigil/internal/camera/rtsp"
	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/media"
)

// A player is the handler of one connection: it gives units their place in
// time and declares the tracks. rtsp.Play calls it from one goroutine at a time.
type player struct {
	o     *rtsp.Options
	sink  Sink
	audio bool

	agreed  rtsp.Session
	line    *Timeline
	labels  []label
	known   [media.MaxTracks]*media.Track // the newest of each track; nil: unknown, or of no use
	list    []media.Track                 // as declared
	place   [media.MaxTracks]uint8        // number in list of a track of the session, 0 not in it
	started bool
	stale   bool // list is not what known says any more

	notes    []rtsp.Note
	code     string // of the status told last
	since    int64  // Clock.Mono of the first picture
	picture  int64  // and of the last
	fault    error
	silenced bool // the sound's silence was noted
}

// A label is the camera's clock beside a track's time stamps.
type label struct {
	rate int64
	ns   int64 // since the epoch; 0 unknown
	rtp  uint32
}

// Described prepares for the units.
func (p *player) Described(s rtsp.Session) {
	p.agreed = s
	p.notes = slices.Clone(s.Notes)
	rates := make([]int, len(s.Tracks))
	p.labels = make([]label, len(s.Tracks))
	for i, m := range s.Tracks {
		rates[i] = m.ClockRate
		p.labels[i].rate = int64(max(m.ClockRate, 1))
		p.learn(i, s.Known[i])
	}
	p.line = NewTimeline(rates...)
}

// learn takes what is known of a track now and tells whether that is new.
func (p *player) learn(i int, t *media.Track) bool {
	if t == nil {
		return false
	}
	checked := *t
	checked.Number = 1
	if i > 0 {
		checked.Number = 2
	}
	if err := checked.Check(); err != nil || checked.Codec.Video() != (i == 0) {
		if i == 0 {
			p.fault = &rtsp.Error{Code: "unsupported-video", Args: map[string]string{"codec": t.Codec.String()}, Err: err}
			return false
		}
		p.known[i] = nil
		p.Note(rtsp.Note{Code: AudioInvalid, Args: map[string]string{"what": t.Codec.String()}})
		return true
	}
	if was := p.known[i]; was != nil && same(was, &checked) {
		return false
	}
	p.known[i] = &checked
	return true
}

// same compares tracks by what a sample entry would say.
func same(a, b *media.Track) bool {
	return a.Codec == b.Codec && a.Codecs == b.Codecs && bytes.Equal(a.Config, b.Config) &&
		a.Width == b.Width && a.Height == b.Height && a.SampleRate == b.SampleRate && a.Channels == b.Channels
}

// declare tells the sink the tracks that are known.
func (p *player) declare() {
	p.list = nil
	p.place = [media.MaxTracks]uint8{}
	for i := range p.agreed.Tracks {
		if t := p.known[i]; t != nil && len(p.list) < media.MaxTracks {
			t := *t
			t.Number = uint8(len(p.list) + 1)
			p.list = append(p.list, t)
			p.place[i] = t.Number
		}
	}
	p.stale = false
	p.sink.Tracks(slices.Clone(p.list))
}

// Unit places a unit and hands it on. Sound is dropped before the first
// picture, and after a change of its coding until the next timeline can start:
// at a random access unit of the video.
func (p *player) Unit(track int, u *depay.Unit) {
	now := Read(p.o.Clock)
	video := track == 0
	if u.Track != nil && p.learn(track, u.Track) {
		p.stale = true
	}
	if p.fault != nil || p.known[track] == nil {
		return
	}
	cut := video && u.RandomAccess
	switch {
	case !p.started && !cut:
		return
	case !video && (p.stale || p.place[track] == 0):
		p.stale = true
		return
	case !video && p.code == NoKeyFrame:
		return
	}
	var cause media.Cause
	switch {
	case !p.started:
		p.started, p.since, cause = true, now.Mono, media.CameraStart
		p.declare()
	case cut && p.stale:
		cause = media.CutCodec
		p.declare()
	}
	if video {
		p.picture = now.Mono
	}
	at := p.line.Add(track, u.DTS, u.PTS, u.Arrived, now, cut)
	if at.New == media.CameraClock {
		p.Note(rtsp.Note{Code: NoteClock})
	}
	if at.New != "" && cause != media.CameraStart {
		cause = at.New // the stronger reason: time itself
	}
	out := media.Unit{Track: p.place[track], RandomAccess: u.RandomAccess || !video, DTS: at.DTS, CTO: at.CTO,
		Arrived: at.Arrived, Camera: p.labels[track].time(u.PTS), Data: u.Data}
	var lost uint32
	if video {
		lost = u.Lost
	}
	p.sink.Unit(out, cause, lost)
	if video && (p.code != "" || cause != "") {
		p.tell("")
	}
}

// tell gives the status while connected.
func (p *player) tell(code string) {
	p.code = code
	s := Status{State: Playing, Code: code, Link: p.agreed.Link, Notes: slices.Clone(p.notes), Tracks: slices.Clone(p.list)}
	switch {
	case !p.started:
		s.State = Connecting
	case code == NoKeyFrame:
		s.State = Stalled
	}
	p.sink.Status(s)
}

// Report notes what time it is for the camera.
func (p *player) Report(track int, r rtsp.Report) {
	p.labels[track].set(r, p.o.Clock.Wall())
}

// set takes a sender report; wall is our time, for the era of a clock of 32
// bits that wraps in 2036. Cameras that count from their start are before 1970
// and have no time to tell.
func (l *label) set(r rtsp.Report, wall int64) {
	const toUnix = 2208988800 // s from 1900 to 1970
	s := int64(r.NTP>>32) - toUnix
	if s < 0 {
		if s += 1 << 32; abs(s-wall/1e9) > 366*86400 {
			l.ns = 0
			return
		}
	}
	l.ns, l.rtp = s*1e9+int64((r.NTP&0xffffffff)*1e9>>32), r.RTP
}

// time is when the camera took what has this time stamp; 0 unknown.
func (l *label) time(pts int64) int64 {
	if l.ns == 0 {
		return 0
	}
	return max(l.ns+int64(int32(uint32(pts)-l.rtp))*1e9/l.rate, 0)
}

// maxNotes bounds the notes of a connection.
const maxNotes = 32

// Note keeps a fact and shows it.
func (p *player) Note(n rtsp.Note) {
	if len(p.notes) >= maxNotes || slices.ContainsFunc(p.notes, func(o rtsp.Note) bool { return o.Code == n.Code && o.Args["what"] == n.Args["what"] }) {
		return
	}
	p.notes = append(p.notes, n)
	if p.started {
		p.tell(p.code)
	}
}

// Tick looks whether the stream still is one.
func (p *player) Tick(s *rtsp.Stats) error {
	if p.fault != nil {
		return p.fault
	}
	mono := p.o.Clock.Mono()
	silent := time.Duration(mono - max(s.Usable[0], s.Started))
	if silent > StallAfter {
		if s.Usable[0] == 0 {
			return silence(s, p.agreed.Transport, silent)
		}
		return &rtsp.Error{Code: StreamStopped, Args: map[string]string{"seconds": seconds(silent)}}
	}
	switch without := time.Duration(mono - max(p.picture, s.Started)); {
	case p.started && without > keylessRetry:
		return &rtsp.Error{Code: NoKeyFrame}
	case p.code != NoKeyFrame && without > StallAfter:
		p.tell(NoKeyFrame)
	}
	if len(p.agreed.Tracks) > 1 && s.Usable[1] == 0 && !p.silenced && time.Duration(mono-s.Started) > StallAfter {
		p.silenced = true
		p.Note(rtsp.Note{Code: AudioSilent})
	}
	return nil
}

// played is for how long pictures came.
func (p *player) played() time.Duration { return time.Duration(p.picture - p.since) }
