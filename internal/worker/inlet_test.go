package worker

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// framing is a sink as package stream is one.
type framing struct{ got []media.Cause }

func (f *framing) Publish(b *media.Batch) error {
	defer b.Release()
	f.got = append(f.got[:min(len(f.got), 100)], b.New)
	return fmp4.Frame(b)
}

func (*framing) Down(media.Cause) {}

func testInlet(t *testing.T, s Sink) *inlet {
	t.Helper()
	spec := cam(1, "x")[0]
	in := newInlet(spec, &stream{id: spec.Stream, camera: spec.Camera, sink: s, events: silent{}})
	in.own()
	return in
}

func testBatch(new media.Cause, units ...media.Unit) *media.Batch {
	n := 0
	for _, u := range units {
		n += len(u.Data)
	}
	b := media.NewBatch(n)
	b.New = new
	rest := b.Payload()
	for _, u := range units {
		k := copy(rest, u.Data)
		u.Data, rest = rest[:k:k], rest[k:]
		b.Units = append(b.Units, u)
	}
	return b
}

// TestDoor has pairs of batches, each right by itself.
func TestDoor(t *testing.T) {
	now := time.Now()
	at := media.TicksOf(now)
	unit := func(track uint8, dts media.Ticks) media.Unit {
		return media.Unit{Track: track, RandomAccess: true, DTS: at + dts, Arrived: now.UnixNano(), Camera: -5, Data: []byte{1}}
	}
	late := unit(1, 1)
	late.Arrived = now.Add(2 * time.Hour).UnixNano()
	tests := []struct {
		name          string
		first, second []media.Unit
		new           media.Cause // of the second
		again         bool        // tracks are declared anew between
		err           error
		want          media.Cause // what the core makes of New
	}{
		{"goes on", []media.Unit{unit(1, 0)}, []media.Unit{unit(1, 1)}, "", false, nil, ""},
		{"stands still", []media.Unit{unit(1, 0)}, []media.Unit{unit(1, 0)}, "", false, ErrBatch, ""},
		{"sound goes back", []media.Unit{unit(1, 0), unit(2, 5)}, []media.Unit{unit(1, 1), unit(2, 4)}, "", false, ErrBatch, ""},
		{"sound waits a batch and goes back", []media.Unit{unit(1, 0), unit(2, 5)}, []media.Unit{unit(2, 5)}, "", false, ErrBatch, ""},
		{"new timeline", []media.Unit{unit(1, 9)}, []media.Unit{unit(1, 0)}, media.CutClock, false, nil, media.CutClock},
		{"new tracks", []media.Unit{unit(1, 9)}, []media.Unit{unit(1, 0)}, "", true, nil, media.CutCodec},
		{"far ahead", []media.Unit{unit(1, 0)}, []media.Unit{unit(1, media.TicksIn(2*time.Hour))}, "", false, ErrTime, ""},
		{"far back", []media.Unit{unit(1, 0)}, []media.Unit{unit(1, -media.TicksIn(2*time.Hour))}, media.CutClock, false, ErrTime, ""},
		{"arrived in the future", []media.Unit{unit(1, 0)}, []media.Unit{late}, "", false, ErrTime, ""},
	}
	for _, test := range tests {
		f := new(framing)
		in, c := testInlet(t, f), new(clock)
		if err := in.publish(testBatch("", unit(1, 0)), now, c); !errors.Is(err, ErrBatch) {
			t.Errorf("units before tracks: %v", err)
		}
		if err := in.declare(testTracks); err != nil {
			t.Fatal(err)
		}
		if err := in.publish(testBatch("", test.first...), now, c); err != nil || f.got[0] != media.CameraStart {
			t.Errorf("%s: first batch: %v", test.name, err)
		}
		if test.again {
			in.declare(testTracks)
		}
		in.odd = now.Add(-ahead) // for a while already: no step of the clock that only the worker has seen
		err := in.publish(testBatch(test.new, test.second...), now, c)
		if !errors.Is(err, test.err) || (test.err == nil && (err != nil || f.got[1] != test.want)) {
			t.Errorf("%s: %v, causes %q", test.name, err, f.got)
		}
	}
}

// TestDoorOfTwo shows that only the newest session of a stream gets through,
// and that a fall is told once.
func TestDoorOfTwo(t *testing.T) {
	now := time.Now()
	unit := media.Unit{Track: 1, RandomAccess: true, DTS: media.TicksOf(now), Arrived: now.UnixNano(), Data: []byte{1}}
	f := new(framing)
	old := testInlet(t, f)
	next := newInlet(old.spec, old.stream)
	old.declare(testTracks)
	next.declare(testTracks)
	publish := func(in *inlet) {
		t.Helper()
		unit.DTS++
		if err := in.publish(testBatch("", unit), now, new(clock)); err != nil {
			t.Error(err)
		}
	}
	publish(old)
	old.fell()
	publish(old) // nobody's
	next.own()
	publish(old)
	publish(next)
	publish(next)
	if want := []media.Cause{media.CameraStart, media.WorkerLost, ""}; len(f.got) != 3 || f.got[1] != want[1] || f.got[2] != want[2] {
		t.Errorf("%q, want %q", f.got, want)
	}
}

// TestDoorAllocatesNothing reads, checks and frames batches in the steady state.
func TestDoorAllocatesNothing(t *testing.T) {
	now := time.Now()
	f := new(framing)
	in, c := testInlet(t, f), new(clock)
	in.declare(testTracks)
	u := media.Unit{Track: 1, RandomAccess: true, DTS: media.TicksOf(now), Arrived: now.UnixNano(), Data: make([]byte, 20000)}
	var frame []byte
	src := new(bytes.Reader)
	r := wire.NewReader(src, true)
	step := func() {
		u.DTS += frameTicks
		now = now.Add(40 * time.Millisecond)
		u.Arrived = now.UnixNano()
		frame = wire.AppendBatch(frame[:0], 1, wire.BatchHead{Units: 1, Payload: len(u.Data)})
		frame = append(wire.AppendRow(frame, &u), u.Data...)
		src.Reset(frame)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		b, err := r.Batch()
		if err != nil {
			t.Fatal(err)
		}
		if err := in.publish(b, now, c); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(500, step); n >= 1 { // a pool may lose a batch to the collector
		t.Errorf("a batch costs %v allocations", n)
	}
}

// TestStepSeenEarly: a worker sees a step of the clock a moment before the core
// does. If none comes, it is not believed any more.
func TestStepSeenEarly(t *testing.T) {
	now := time.Now()
	for _, comes := range []bool{true, false} {
		in, c := testInlet(t, new(framing)), new(clock)
		if err := in.declare(testTracks); err != nil {
			t.Fatal(err)
		}
		for ms := media.Ticks(0); ms < 5000; ms += 500 {
			at := now.Add(time.Duration(ms) * time.Millisecond)
			u := media.Unit{Track: 1, RandomAccess: true, DTS: media.TicksOf(at), Arrived: at.UnixNano(), Data: []byte{1}}
			var why media.Cause
			switch {
			case ms == 1000:
				why = media.CutClock
				fallthrough
			case ms > 1000:
				u.DTS, u.Arrived = u.DTS+media.TicksIn(24*time.Hour), u.Arrived+int64(24*time.Hour)
			}
			if ms >= 1500 && comes {
				c.step = at
			}
			err := in.publish(testBatch(why, u), at, c)
			if want := !comes && ms >= 3000; errors.Is(err, ErrTime) != want || err != nil && !want {
				t.Errorf("step seen here %v, after %d ms: %v", comes, ms, err)
			}
		}
	}
}
