package rtsp

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"io"
	"testing"

	"github.com/pion/srtp/v3"

	"vigil/internal/camera/rtsp/depay"
	"vigil/internal/camera/rtsp/sdp"
)

// nothing is a handler without interest.
type nothing struct{ units int }

func (*nothing) Described(Session)       {}
func (n *nothing) Unit(int, *depay.Unit) { n.units++ }
func (*nothing) Report(int, Report)      {}
func (*nothing) Note(Note)               {}
func (*nothing) Tick(*Stats) error       { return nil }

// loop repeats a recorded connection without end, its numbers going on.
type loop struct {
	frames [][]byte
	at     int
	seq    uint16
	time   uint32
	buf    [2048]byte
	rest   []byte // of buf
	before uint32
}

func (l *loop) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(l.rest) == 0 {
			f := l.frames[l.at%len(l.frames)]
			if t := binary.BigEndian.Uint32(f[8:]); t != l.before {
				l.before = t
				l.time += 3600
			}
			binary.BigEndian.PutUint16(f[6:], l.seq)
			l.seq++
			l.at++
			l.rest = l.buf[:copy(l.buf[:], f)]
			binary.BigEndian.PutUint32(l.rest[8:], l.time)
		}
		c := copy(p[n:], l.rest)
		l.rest = l.rest[c:]
		n += c
		if n > 4096 { // as sockets do
			break
		}
	}
	return n, nil
}

// playing is a session whose packets come from r.
func playing(t testing.TB, r io.Reader) *session {
	d, err := sdp.Parse([]byte(h264SDP))
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{}
	o.defaults()
	s := &session{o: o, mem: new(Memory), h: &nothing{}, described: true, c: &conn{o: o, sc: two(r)}}
	tr, err := s.newTrack(d.Tracks[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	tr.channels = [2]int{0, 1}
	s.tracks = []*track{tr}
	return s
}

func filmLoop(t testing.TB) *loop {
	l := &loop{}
	for _, p := range film(t) {
		l.frames = append(l.frames, frameOf(0, p))
	}
	l.frames = l.frames[:150] // up to the second random access unit
	return l
}

// TestNoAllocation: a packet costs none, from the connection to the unit.
func TestNoAllocation(t *testing.T) {
	s := playing(t, filmLoop(t))
	one := func() {
		it, err := s.c.sc.next()
		if err != nil {
			t.Fatal(err)
		}
		s.take(it)
	}
	for range 2000 {
		one()
	}
	many := func() {
		for range 5000 {
			one()
		}
	}
	if n := testing.AllocsPerRun(2, many); n > 5 { // AllocsPerRun rounds down: so many packets at once
		t.Errorf("%v allocations for 5000 packets", n)
	}
	if s.h.(*nothing).units == 0 || s.stats.Faults != 0 || s.stats.Lost != 0 {
		t.Errorf("%+v", s.stats)
	}
}

// BenchmarkPacket is interleaved TCP: find the frame, follow the sequence, put
// the picture together.
func BenchmarkPacket(b *testing.B) {
	s := playing(b, filmLoop(b))
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		it, err := s.c.sc.next()
		if err != nil {
			b.Fatal(err)
		}
		bytes += len(it.frame)
		s.take(it)
	}
	b.SetBytes(int64(bytes / b.N))
}

// BenchmarkUDP is the same behind the buffer that reorders.
func BenchmarkUDP(b *testing.B) {
	s := playing(b, nil)
	l := filmLoop(b)
	t := s.tracks[0]
	t.order = &reorder{out: t.ordered}
	b.ReportAllocs()
	for b.Loop() {
		f := l.frames[l.at%len(l.frames)]
		binary.BigEndian.PutUint16(f[6:], l.seq)
		l.seq++
		l.at++
		t.take(f[4:], 1)
	}
}

// BenchmarkSRTP is the price of a camera's own encryption.
func BenchmarkSRTP(b *testing.B) {
	key := make([]byte, srtpKey+srtpSalt)
	rand.Read(key)
	var err error
	s := playing(b, nil)
	t := s.tracks[0]
	if t.opening, err = newProtection(key, nil); err != nil {
		b.Fatal(err)
	}
	ctx, err := srtp.CreateContext(key[:srtpKey], key[srtpKey:], srtpProfile)
	if err != nil {
		b.Fatal(err)
	}
	l := filmLoop(b)
	var sealed [][]byte
	for i := range 4096 {
		f := bytes.Clone(l.frames[i%len(l.frames)][4:])
		binary.BigEndian.PutUint16(f[2:], uint16(i))
		e, err := ctx.EncryptRTP(nil, f, nil)
		if err != nil {
			b.Fatal(err)
		}
		sealed = append(sealed, e)
	}
	buf := make([]byte, 65536)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		e := sealed[i%len(sealed)]
		i++
		if i%len(sealed) == 0 {
			t.opening, _ = newProtection(key, nil)
		}
		t.take(buf[:copy(buf, e)], 1)
	}
	if s.stats.Packets == 0 {
		b.Fatalf("%+v", s.stats)
	}
}
