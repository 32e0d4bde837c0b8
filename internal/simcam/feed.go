package simcam

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// maxLate is how late a picture may be sent; after that a camera whose
// machine is too slow goes on with the next key picture in time.
const maxLate = 2 * time.Second

// A Feed is one path of a camera: the pictures and the sound that it sends to
// whoever reads. Safe for concurrent use.
type Feed struct {
	cam    *Camera
	stream Stream        // Source is guarded by mu
	home   string        // the Source at start
	wake   chan struct{} // the schedule changed
	late   atomic.Uint64 // packets that a reader was too slow for

	mu      sync.Mutex
	video   *playhead // guarded by mu, as all below
	sound   *playhead // nil for none
	next    *film     // to be switched to at its next key picture
	sets    Sets
	out     *outlet // nil while the camera is off
	stalled time.Time
	offline time.Time
	faults  faults
	readers map[*gortsplib.ServerSession]*conn // conn is nil for UDP
	number  uint64                             // of the next picture
	count   Counters
	sent    sentLog
	buf     []byte // of the mark
}

// An outlet is what one run of the server gives a feed to write to.
type outlet struct {
	stream *gortsplib.ServerStream
	video  line
	sound  line
}

// A line is one RTP stream.
type line struct {
	media   *description.Media
	ssrc    uint32
	seq     uint16
	stamp   uint32 // added to positions
	packets uint32
	octets  uint32
	report  time.Time // when the next sender report is due
	held    *rtp.Packet
}

func newFeed(cam *Camera, s Stream, video, sound *film, now time.Time) *Feed {
	f := &Feed{
		cam: cam, stream: s, home: s.Source, sets: s.Sets, wake: make(chan struct{}, 1),
		video: newPlayhead(video, now, s.Shift), readers: map[*gortsplib.ServerSession]*conn{},
		sent: sentLog{keep: cam.cfg.Keep},
	}
	if sound != nil {
		f.sound = newPlayhead(sound, now, s.Shift)
	}
	f.count.Path, f.count.Source = s.Path, s.Source
	return f
}

// run sends until ctx ends.
func (f *Feed) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.wake:
		}
		timer.Reset(time.Until(f.step(time.Now())))
	}
}

// poke makes run look at the schedule anew.
func (f *Feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// step sends what is due and returns the time of what comes next.
func (f *Feed) step(now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if !f.stalled.IsZero() {
			if now.Before(f.stalled) {
				return f.stalled
			}
			f.stalled = time.Time{}
			f.seek(now)
		}
		if f.next != nil {
			f.switchOver(now)
		}
		u, pos, due := f.video.next()
		if f.sound != nil {
			if su, spos, sdue := f.sound.next(); sdue.Before(due) {
				if sdue.After(now) {
					return sdue
				}
				f.sound.advance()
				f.sendSound(su, spos, now)
				continue
			}
		}
		if due.After(now) {
			return due
		}
		if now.Sub(due) > maxLate {
			f.count.Skipped++
			f.seek(now)
			continue
		}
		f.video.advance()
		f.sendPicture(u, pos, due, now)
	}
}

// seek skips what was due before now; pictures go on with a key picture.
func (f *Feed) seek(now time.Time) {
	f.video.seek(now, true)
	if f.sound != nil {
		f.sound.seek(now, false)
	}
}

// switchOver changes to the next film once its key picture is the next thing due.
func (f *Feed) switchOver(now time.Time) {
	head := newPlayhead(f.next, now, f.stream.Shift)
	head.seek(now, true)
	_, _, due := f.video.next()
	if _, _, key := head.next(); key.After(due.Add(time.Millisecond)) {
		return
	}
	f.video, f.next = head, nil
	f.count.Source = f.stream.Source
	f.describe()
}

func (f *Feed) sendPicture(u *unit, pos int64, due, now time.Time) {
	if f.out == nil {
		return
	}
	n := f.number
	f.number++
	l := &f.out.video
	stamp := f.faults.stand(l.stamp + uint32(pos+u.cto) + f.faults.shift + f.faults.stampOf(n))
	f.report(l, f.video, now)
	f.lie(l, stamp)
	var dropped, packets int
	last := len(u.packets) - 1
	for i, p := range u.packets {
		payload := p.payload
		switch p.kind {
		case set:
			if f.sets == SetsSDP {
				continue
			}
		case mark:
			if f.cam.cfg.NoMarks {
				continue
			}
			f.buf = appendMark(append(f.buf[:0], payload...), Mark{f.stream.Mark, n, now})
			payload = f.buf
		}
		packets++
		if !f.emit(l, payload, stamp, i == last) {
			dropped++
		}
	}
	f.count.Pictures++
	if u.key {
		f.count.KeyPictures++
	}
	f.count.Bytes += uint64(u.bytes)
	f.count.Packets += uint64(packets)
	f.count.Dropped += uint64(dropped)
	s := Sent{Number: n, At: now.UnixMilli(), Clock: -1, Stamp: stamp, Key: u.key, Bytes: u.bytes, Packets: packets, Dropped: dropped, Readers: len(f.readers)}
	if f.video.film.face {
		s.Clock = pos % f.video.film.length * 1000 / int64(f.video.film.clock)
	}
	f.sent.add(s)
}

func (f *Feed) sendSound(u *unit, pos int64, now time.Time) {
	if f.out == nil {
		return
	}
	l := &f.out.sound
	f.report(l, f.sound, now)
	f.emit(l, u.packets[0].payload, l.stamp+uint32(pos+u.cto), true)
	f.count.Sounds++
}

// emit sends one packet through the faults; false if it was dropped.
func (f *Feed) emit(l *line, payload []byte, stamp uint32, marker bool) bool {
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: l.media.Formats[0].PayloadType(), SequenceNumber: l.seq, Timestamp: stamp, Marker: marker},
		Payload: payload,
	}
	l.seq++
	l.packets++
	l.octets += uint32(len(payload))
	pictures := l == &f.out.video
	if pictures && f.faults.drops() {
		return false
	}
	if pictures && l.held == nil && f.faults.swaps() {
		p.Payload = append([]byte(nil), payload...) // the mark's buffer is used again
		l.held = p
		return true
	}
	f.write(l, p)
	if l.held != nil {
		f.write(l, l.held)
		l.held = nil
	}
	return true
}

func (f *Feed) write(l *line, p *rtp.Packet) {
	// Without readers the last packet is enough for the server to tell the
	// next reader, in RTP-Info, where the stream is.
	if len(f.readers) > 0 || p.Marker {
		_ = f.out.stream.WritePacketRTP(l.media, p) // closed streams only; slow readers are counted by the server's handler
	}
}

// report sends a sender report when one is due: RFC 3550 6.4.1. It states the
// camera's clock, which may be wrong, beside the stamp that belongs to now.
func (f *Feed) report(l *line, head *playhead, now time.Time) {
	if f.cam.cfg.Reports < 0 || now.Before(l.report) {
		return
	}
	l.report = now.Add(f.cam.cfg.Reports)
	if len(f.readers) == 0 {
		return
	}
	shift := uint32(0)
	if head == f.video {
		shift = f.faults.shift
	}
	_ = f.out.stream.WritePacketRTCP(l.media, &rtcp.SenderReport{
		SSRC: l.ssrc, NTPTime: ntpTime(f.cam.clockAt(now)), RTPTime: l.stamp + uint32(head.at(now)) + shift,
		PacketCount: l.packets, OctetCount: l.octets,
	})
}

// ntpTime is RFC 3550 4: seconds since 1900 and their 2^32th parts.
func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()+2208988800)<<32 | uint64(t.Nanosecond())<<32/1e9
}
