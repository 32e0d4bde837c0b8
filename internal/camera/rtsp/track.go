package rtsp

import (
	"errors"
	"time"

	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/camera/rtsp/sdp"
)

// A track is one media that was set up: from its packets to its access units.
// Its fields are guarded by the session's mu once packets come.
type track struct {
	s        *session
	place    int // in Session.Tracks
	m        sdp.Media
	depay    depay.Depacketizer
	control  string // the address it was set up under
	channels [2]int // of RTP and RTCP; -1: UDP
	sockets  *socketPair
	order    *reorder // UDP only
	opening  *protection
	sealing  *protection
	own      uint32 // our source, for reports

	src     source
	others  [newSource - 1]heldPacket // of the source that may become ours
	seq     sequence
	held    [probation - 1]heldPacket
	rcv     receiver
	time    uint32 // RTP time stamp and arrival of the last packet used
	arrived int64
	bye     int64 // Clock.Mono of a goodbye that no packet followed; 0 none
	broken  map[string]bool
	slices  uint64 // of the depacketizer, when last looked at
}

// A heldPacket waits for the judgement of a far jump or of another source.
type heldPacket struct {
	used    bool
	arrived int64
	data    []byte
}

// take handles an RTP packet as it came over the wire. b is ours during the
// call and may be changed.
func (t *track) take(b []byte, arrived int64) {
	stats := &t.s.stats
	p, ok := parseRTP(b)
	if !ok {
		stats.Faults++
		return
	}
	if !t.m.Takes(p.payloadType) { // before anything is counted by it: INTEROP row 16
		stats.Foreign++
		return
	}
	mine, fresh := t.src.mine(p.ssrc)
	if !mine {
		stats.Foreign++
		h := &t.others[t.src.run-1] // an encoder that starts anew begins with a key picture
		h.used, h.arrived, h.data = true, arrived, append(h.data[:0], b...)
		return
	}
	if fresh {
		t.seq = sequence{}
		t.rcv.counting = false
		t.again(1)
		t.adopt(p.ssrc)
	}
	t.open(p.seq, b, arrived)
}

// adopt takes what came of a source before it was believed.
func (t *track) adopt(ssrc uint32) {
	for i := range t.others {
		h := &t.others[i]
		if p, _ := parseRTP(h.data); h.used && p.ssrc == ssrc {
			t.s.stats.Foreign--
			t.open(p.seq, h.data, h.arrived)
		}
		*h = heldPacket{}
	}
}

// open handles a packet of our source.
func (t *track) open(seq uint16, b []byte, arrived int64) {
	stats := &t.s.stats
	if t.opening != nil {
		var err error
		if b, err = t.opening.open(b, false); err != nil {
			stats.Faults++
			t.fault("srtp", err)
			return
		}
	}
	stats.Packets++
	stats.Bytes += uint64(len(b))
	if t.order != nil {
		t.order.push(seq, b, arrived)
		return
	}
	t.ordered(b, arrived)
}

// ordered handles a packet in the clear whose turn it is.
func (t *track) ordered(b []byte, arrived int64) {
	p, ok := parseRTP(b)
	if !ok {
		t.s.stats.Faults++ // only after decryption can it have become so
		return
	}
	// Over TCP nothing comes late, so what is stamped later than all before was sent later.
	v, lost := t.seq.add(p.seq, t.order == nil && int32(p.time-t.time) > 0, t.order == nil)
	switch v {
	case late:
		return
	case hold:
		t.hold(b, arrived)
		return
	case restart:
		t.s.stats.Restarts++
		t.rcv.counting = false
		first := p
		if t.held[0].used {
			first, _ = parseRTP(t.held[0].data)
		}
		lost := 0
		if gap := first.time - t.time; gap > uint32(2*t.m.ClockRate) { // not the stamps that were due: something is missing
			t.again(1)
			lost = 1
		}
		for i := range t.held {
			if h := &t.held[i]; h.used {
				if p, ok := parseRTP(h.data); ok {
					t.push(&p, h.data, lost, h.arrived)
					lost = 0
				}
				h.used = false
			}
		}
		t.push(&p, b, lost, arrived)
		return
	}
	t.s.stats.Lost += uint64(lost)
	t.push(&p, b, lost, arrived)
}

// again tells the depacketizer that another sequence of time stamps begins.
func (t *track) again(restarts uint64) {
	t.s.stats.Restarts += restarts
	t.depay.Restart()
}

func (t *track) hold(b []byte, arrived int64) {
	if t.seq.first() {
		for i := range t.held {
			t.held[i].used = false
		}
	}
	for i := range t.held {
		if h := &t.held[i]; !h.used {
			h.used, h.arrived = true, arrived
			h.data = append(h.data[:0], b...)
			return
		}
	}
}

// push hands a packet to the depacketizer and its units to the handler.
func (t *track) push(p *packet, b []byte, lost int, arrived int64) {
	mono := t.s.o.Clock.Mono()
	t.rcv.add(p.seq, p.time, mono, int64(t.m.ClockRate))
	t.time, t.arrived, t.bye = p.time, arrived, 0
	units, err := t.depay.Push(depay.Packet{Payload: p.trim(b), Time: p.time, Marker: p.marker, Lost: lost, Arrived: arrived, Extension: p.extra(b)})
	if err != nil {
		t.s.stats.Faults++
		t.fault("depacketize", err)
	} else if t.lives() {
		t.s.stats.Usable[t.place] = mono
	}
	for i := range units {
		t.s.h.Unit(t.place, &units[i])
	}
}

// lives tells whether the packet just pushed shows that the encoder works.
func (t *track) lives() bool {
	s, ok := t.depay.(depay.Slicer)
	if !ok {
		return true
	}
	was := t.slices
	t.slices = s.Slices()
	return t.slices != was
}

// fault notes each kind of fault once per session.
func (t *track) fault(kind string, err error) {
	code := kind
	var d *depay.Error
	if errors.As(err, &d) {
		code = d.Code
	}
	if t.broken[code] || len(t.broken) > 16 {
		return
	}
	if t.broken == nil {
		t.broken = map[string]bool{}
	}
	t.broken[code] = true
	t.s.h.Note(Note{"packets-unusable", args("track", t.name(), "what", code)})
}

// name is for notes.
func (t *track) name() string {
	if t.place == 0 {
		return "video"
	}
	return "audio"
}

// takeRTCP handles an RTCP packet as it came over the wire.
func (t *track) takeRTCP(b []byte) {
	if t.opening != nil {
		var err error
		if b, err = t.opening.open(b, true); err != nil {
			t.s.stats.Faults++
			return
		}
	}
	if !t.src.locked {
		return
	}
	r, ok, bye := parseRTCP(b, t.src.ssrc)
	mono := t.s.o.Clock.Mono()
	if ok {
		t.rcv.report, t.rcv.reportAt = r.NTP, mono
		t.s.h.Report(t.place, r)
	}
	if bye {
		t.bye = mono
	}
}

// byeWait is how long a source must be silent after a goodbye to be believed:
// some cameras say goodbye for an older session of theirs and go on.
const byeWait = 2 * time.Second

// ended tells whether the camera has ended the track.
func (t *track) ended(mono int64) bool { return t.bye != 0 && mono-t.bye > int64(byeWait) }

// report returns a receiver report as it goes over the wire, in dst's memory
// where it is not protected.
func (t *track) report(dst []byte, mono int64) []byte {
	b := t.rcv.appendReport(dst[:0], t.own, t.src.ssrc, mono)
	if t.sealing == nil {
		return b
	}
	sealed, err := t.sealing.sealRTCP(b)
	if err != nil {
		return nil
	}
	return sealed
}
