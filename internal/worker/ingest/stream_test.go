package ingest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

var testTracks = []media.Track{
	{Number: 1, Codec: media.H264, Codecs: "avc1.64001f", Config: []byte{1}, Width: 640, Height: 360},
	{Number: 2, Codec: media.PCMU, SampleRate: 8000, Channels: 1},
}

var testMJPEG = []media.Track{{Number: 1, Codec: media.MJPEG, Width: 640, Height: 360}}

const frame = media.TicksPerSecond / 25

func newStream(tracks []media.Track) (*stream, *queue) {
	q := newQueue()
	s := &stream{id: 7, out: q, cancel: func() {}, skipping: true}
	if tracks != nil {
		s.Tracks(tracks)
	}
	return s, q
}

// A got is what the core would read.
type got struct {
	tracks  int
	batches []*media.Batch
	status  []wire.Status
	after   []int // batches before each status
}

// read writes all that is queued and reads it as the core does.
func read(t *testing.T, q *queue) (g got) {
	t.Helper()
	var buf bytes.Buffer
	q.close()
	if err := q.write(to{&buf}); err != nil {
		t.Fatal(err)
	}
	q.closed = false
	r := wire.NewReader(&buf, true)
	tracks := new(media.Tracks)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return g
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Type {
		case wire.TypeTracks:
			var m wire.Tracks
			if err := r.Message(&m); err != nil {
				t.Fatal(err)
			}
			tracks = &media.Tracks{List: m.List}
			g.tracks++
		case wire.TypeStatus:
			var m wire.Status
			if err := r.Message(&m); err != nil {
				t.Fatal(err)
			}
			g.status = append(g.status, m)
			g.after = append(g.after, len(g.batches))
		case wire.TypeBatch:
			b, err := r.Batch()
			if err != nil {
				t.Fatal(err)
			}
			b.Tracks = tracks
			if tracks.List == nil {
				b.Tracks = &media.Tracks{List: testTracks} // a later read of the same stream
			}
			if err := b.Check(); err != nil {
				t.Fatalf("batch %d: %v", len(g.batches), err)
			}
			g.batches = append(g.batches, b)
		}
	}
}

func picture(n int, entry bool) media.Unit {
	return media.Unit{Track: 1, RandomAccess: entry, DTS: media.Ticks(n+1) * frame, Arrived: 1, Data: []byte{byte(n), 1, 2, 3}}
}

func sound(n int) media.Unit {
	return media.Unit{Track: 2, RandomAccess: true, DTS: media.Ticks(n+1)*frame + 7, Arrived: 1, Data: []byte{byte(n)}}
}

func TestBatches(t *testing.T) {
	s, q := newStream(testTracks)
	s.Unit(sound(0), media.CameraStart, 0)       // before the first entry: dropped
	s.Unit(picture(0, false), "", 0)             // cannot be decoded: dropped and counted
	s.Unit(picture(1, true), "", 0)              // first batch
	s.Unit(sound(1), "", 0)                      //
	s.Unit(picture(2, false), "", 0)             //
	s.Unit(sound(2), "", 0)                      //
	s.Unit(picture(3, true), "", 0)              // second: an entry
	s.Unit(picture(4, false), "", 2)             // third: something is missing before it
	s.handOver()                                 //
	s.Unit(picture(5, false), "", 0)             // fourth: the third had waited long enough
	s.Unit(picture(6, false), media.CutClock, 1) // dropped: a new timeline wants an entry
	s.Unit(picture(7, true), "", 0)              // fifth
	s.Unit(picture(7, false), "", 0)             // time stands still: dropped
	s.Unit(picture(8, false), "", 0)             // dropped too, until an entry
	s.Unit(picture(9, true), "", 0)              // sixth
	s.Tracks(testMJPEG)
	s.Unit(picture(10, true), "", 0) // seventh
	s.Unit(picture(11, true), "", 0) // the same: MJPEG is all entries
	s.handOver()
	g := read(t, q)
	want := []struct {
		units int
		new   media.Cause
		lost  uint32
	}{
		{4, media.CameraStart, 1}, {1, "", 0}, {1, "", 2}, {1, "", 0}, {1, media.CutClock, 2}, {1, "", 2}, {2, media.CutCodec, 0},
	}
	if len(g.batches) != len(want) || g.tracks != 2 {
		t.Fatalf("%d batches, %d times tracks", len(g.batches), g.tracks)
	}
	for i, w := range want {
		b := g.batches[i]
		if len(b.Units) != w.units || b.New != w.new || b.Lost != w.lost {
			t.Errorf("batch %d: %d units, new %q, %d lost; want %+v", i, len(b.Units), b.New, b.Lost, w)
		}
	}
	if u := g.batches[0].Units; u[1].Track != 1 || u[2].Track != 2 || u[1].Data[0] != 2 || u[2].Data[0] != 1 {
		t.Errorf("not grouped by track: %+v", u)
	}
}

// TestImpossible gives what the core would kill for; none may leave.
func TestImpossible(t *testing.T) {
	tests := []media.Unit{
		{Track: 0, RandomAccess: true, DTS: frame, Data: []byte{1}},
		{Track: 3, RandomAccess: true, DTS: frame, Data: []byte{1}},
		{Track: 2, DTS: frame, Data: []byte{1}},
		{Track: 1, RandomAccess: true, DTS: frame},
		{Track: 1, RandomAccess: true, DTS: frame, Data: make([]byte, media.MaxUnit+1)},
		{Track: 1, RandomAccess: true, DTS: -1, Data: []byte{1}},
		{Track: 1, RandomAccess: true, DTS: frame, CTO: -1, Data: []byte{1}},
	}
	for _, u := range tests {
		s, q := newStream(testTracks)
		s.Unit(u, media.CameraStart, 0)
		s.Unit(picture(1, true), "", 0)
		s.Unit(u, "", 0)
		s.handOver()
		if g := read(t, q); len(g.batches) != 1 || len(g.batches[0].Units) != 1 {
			t.Errorf("track %d, %d bytes at %d: %d batches", u.Track, len(u.Data), u.DTS, len(g.batches))
		}
	}
	s, q := newStream([]media.Track{{Number: 1, Codec: media.PCMU, SampleRate: 8000, Channels: 1}})
	s.Unit(picture(1, true), media.CameraStart, 0)
	s.end()
	if g := read(t, q); len(g.batches) != 0 || g.tracks != 0 {
		t.Errorf("units of refused tracks: %+v", g)
	}
}

func TestLimitsOfABatch(t *testing.T) {
	s, q := newStream(testTracks)
	s.Unit(picture(0, true), media.CameraStart, 0)
	for n := range media.MaxUnits {
		s.Unit(sound(n), "", 0)
	}
	big := picture(1, false)
	big.Data = make([]byte, media.MaxUnit)
	s.Unit(big, "", 0)
	s.handOver()
	g := read(t, q) // Check is in there
	if len(g.batches) != 2 || len(g.batches[0].Units) != media.MaxUnits {
		t.Errorf("%d batches", len(g.batches))
	}
}

// TestSlowCore feeds a stream whose core reads now and then: every picture is
// either handed over or counted, nothing waits, and what comes after a loss is
// a whole GOP with a cause.
func TestSlowCore(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s, q := newStream(testTracks)
		data := make([]byte, 400<<10)
		var sent, lost, given uint32
		take := func() {
			for _, b := range read(t, q).batches {
				lost += b.Lost
				for _, u := range b.Units {
					if u.Track == 1 {
						sent++
					}
				}
				if b.Lost > 0 && (b.New != media.Overload || !b.RandomAccess()) {
					t.Fatalf("seed %d: after a loss: new %q, random access %v", seed, b.New, b.RandomAccess())
				}
				b.Release()
			}
		}
		cause := media.CameraStart
		for n := range 600 {
			u := picture(n, n%25 == 0)
			u.Data = data[:1+rnd.IntN(len(data))]
			s.Unit(u, cause, 0)
			cause = ""
			given++
			if rnd.IntN(3) == 0 {
				s.Unit(sound(n), "", 0)
			}
			if rnd.IntN(6) == 0 {
				s.handOver()
			}
			if rnd.IntN(150) == 0 {
				take()
			}
			if q.bytes > streamBudget {
				t.Fatalf("seed %d: %d bytes wait", seed, q.bytes)
			}
		}
		take()
		s.Unit(picture(600, true), "", 0) // tells what was lost
		given++
		s.handOver()
		take()
		if sent+lost != given {
			t.Errorf("seed %d: %d pictures given, %d handed over, %d counted as lost", seed, given, sent, lost)
		}
		if lost == 0 {
			t.Errorf("seed %d: nothing lost: the test does not test", seed)
		}
		if len(q.of) != 0 || q.bytes != 0 {
			t.Errorf("seed %d: %d bytes of %d streams are still counted", seed, q.bytes, len(q.of))
		}
	}
}

// TestStatusComesLast: a connection ends with pictures in hand, which the core
// must have before it hears that no more come.
func TestStatusComesLast(t *testing.T) {
	s, q := newStream(testTracks)
	s.Unit(picture(0, true), media.CameraStart, 0)
	s.Status(wire.Status{State: wire.Live})
	s.Unit(picture(1, false), "", 0)
	s.Unit(sound(1), "", 0)
	s.Status(wire.Status{State: wire.Waiting})
	if g := read(t, q); len(g.batches) != 2 || len(g.after) != 2 || g.after[0] != 1 || g.after[1] != 2 {
		t.Errorf("%d batches, statuses after %v", len(g.batches), g.after)
	}
}

// TestNotesAreBounded: what cameras make us note must not cost us the status.
func TestNotesAreBounded(t *testing.T) {
	s, q := newStream(testTracks)
	long := wire.Note{Code: "x", Args: map[string]string{"what": strings.Repeat("\x00", 1000)}}
	s.Status(wire.Status{State: wire.Live, Notes: slices.Repeat([]wire.Note{long}, 40)})
	if g := read(t, q); len(g.status) != 1 || len(g.status[0].Notes) != wire.MaxNotes {
		t.Errorf("%+v", g.status)
	}
}

func TestOverloadIsTold(t *testing.T) {
	s, q := newStream(testTracks)
	s.Status(wire.Status{State: wire.Live})
	u := picture(0, true)
	u.Data = make([]byte, media.MaxUnit)
	for n := range 4 {
		u.DTS += frame * media.Ticks(n+1)
		s.Unit(u, "", 0)
	}
	s.handOver()
	first := read(t, q)
	u.DTS += frame
	s.Unit(u, "", 0)
	s.handOver()
	second := read(t, q)
	if len(first.status) != 2 || first.status[1].Why.Code != "overload" {
		t.Errorf("status: %+v", first.status)
	}
	if len(second.status) != 1 || second.status[0].State != wire.Live || second.status[0].Why.Code != "" {
		t.Errorf("status after: %+v", second.status)
	}
}

// TestUnitAllocatesNothing runs a stream in the steady state.
func TestUnitAllocatesNothing(t *testing.T) {
	s, q := newStream(testTracks)
	data := make([]byte, 4000)
	n := 0
	step := func() {
		u := picture(n, n%25 == 0)
		u.Data = data
		s.Unit(u, "", 0)
		s.Unit(sound(n), "", 0)
		if n++; n%5 == 0 {
			s.handOver()
			q.close()
			q.write(to{io.Discard})
			q.closed = false
		}
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(500, step); n > 0 {
		t.Errorf("a unit costs %v allocations", n)
	}
}

// to writes what a socket would take.
type to struct{ w io.Writer }

func (t to) WriteAll(bufs [][]byte) error {
	v := net.Buffers(bufs)
	_, err := v.WriteTo(t.w)
	return err
}
