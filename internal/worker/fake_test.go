package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/media"
	"vigil/internal/worker/ingest"
	"vigil/internal/worker/picture"
	"vigil/internal/worker/wire"
)

// TestMain is also the worker process, and a core that a test kills.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "ingest" {
		os.Exit(ingest.Main(fakes{}))
	}
	if len(os.Args) > 2 && os.Args[1] == "picture" {
		os.Exit(picture.Main(os.Args[2:]))
	}
	if os.Getenv("VIGIL_TEST_CORE") != "" {
		coreToKill()
		return
	}
	os.Exit(m.Run())
}

// fakes are cameras; the path of the address says how they behave.
type fakes struct{}

var testTracks = []media.Track{
	{Number: 1, Codec: media.H264, Codecs: "avc1.64001f", Config: []byte{1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 1, 0, 0}, Width: 640, Height: 360},
	{Number: 2, Codec: media.PCMU, SampleRate: 8000, Channels: 1},
}

const frameTicks = media.TicksPerSecond / 25

func (fakes) Run(ctx context.Context, spec wire.Spec, sink ingest.Sink) {
	sink.Status(wire.Status{State: wire.Connecting})
	u, _ := url.Parse(spec.URL)
	now := media.TicksOf(time.Now())
	sink.Tracks(testTracks)
	sink.Status(wire.Status{State: wire.Live})
	cause := media.CameraStart
	if u.Path == "/load" {
		load(ctx, now, sink)
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			if u.Path == "/stubborn" {
				select {}
			}
			return
		case <-tick.C:
		}
		dts := now + media.Ticks(n)*frameTicks/8
		sink.Unit(media.Unit{Track: 1, RandomAccess: n%10 == 0, DTS: dts, Arrived: time.Now().UnixNano(), Data: []byte{0, 0, 0, 1, 0x65}}, cause, 0)
		sink.Unit(media.Unit{Track: 2, RandomAccess: true, DTS: dts, Arrived: time.Now().UnixNano(), Data: []byte{0xd5}}, "", 0)
		cause = ""
		if n == 12 {
			misbehave(spec, strings.TrimPrefix(u.Path, "/"))
		}
	}
}

// load is a camera of 4 Mbit/s with pictures to measure by.
func load(ctx context.Context, now media.Ticks, sink ingest.Sink) {
	data := make([]byte, 200<<10)
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	cause := media.CameraStart
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		u := media.Unit{Track: 1, RandomAccess: n%50 == 0, DTS: now + media.Ticks(n)*frameTicks, Arrived: time.Now().UnixNano(), Data: data[:16<<10]}
		if u.RandomAccess {
			u.Data = data
		}
		sink.Unit(u, cause, 0)
		cause = ""
	}
}

func (fakes) Probe(ctx context.Context, spec wire.Spec) wire.Probed {
	u, _ := url.Parse(spec.URL)
	switch u.Path {
	case "/silent":
		<-ctx.Done()
	case "/panic":
		panic("in a probe")
	}
	return wire.Probed{Tracks: testTracks, Link: spec.Link, Notes: []wire.Note{{Code: "seen", Args: map[string]string{"password": spec.Password.Reveal()}}}}
}

// misbehave does what a camera may bring its worker to do, if the worst comes
// to the worst: code of the attacker's choice in the worker.
func misbehave(spec wire.Spec, how string) {
	unit := media.Unit{Track: 1, RandomAccess: true, DTS: media.TicksOf(time.Now().Add(time.Minute)), Arrived: time.Now().UnixNano(), Data: []byte{1}}
	var cause media.Cause
	frame := func(id uint32, units ...media.Unit) []byte {
		h := wire.BatchHead{Units: len(units), New: cause}
		for _, u := range units {
			h.Payload += len(u.Data)
		}
		b := wire.AppendBatch(nil, id, h)
		for _, u := range units {
			b = wire.AppendRow(b, &u)
		}
		for _, u := range units {
			b = append(b, u.Data...)
		}
		return b
	}
	control := func(id uint32, m wire.Message) []byte {
		b, err := wire.Append(nil, id, m)
		if err != nil {
			panic(err)
		}
		return b
	}
	switch how {
	case "panic":
		panic("index out of range, say")
	case "panic-child":
		go func() { panic("in a goroutine of the session") }()
		select {}
	case "exit":
		os.Exit(3)
	case "exec":
		syscall.Exec("/bin/true", []string{"true"}, nil)
	case "hang":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "deaf": // the kernel wakes those that a death orphans
		for {
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
	case "garbage":
		raw([]byte("HTTP/1.1 200 OK\r\n\r\n<html>"))
	case "stranger":
		raw(frame(spec.ID+1000, unit))
	case "backwards":
		raw(frame(spec.ID, unit))
		raw(frame(spec.ID, unit))
	case "future":
		time.Sleep(500 * time.Millisecond)                                     // what was handed over before goes first
		for unit.DTS += 24 * 3600 * media.TicksPerSecond; ; unit.DTS += 9000 { // the first may be those of a step of the clock
			raw(frame(spec.ID, unit))
			time.Sleep(100 * time.Millisecond)
		}
	case "undeclared":
		unit.Track = 3
		raw(frame(spec.ID, unit))
	case "inside":
		later := unit
		later.DTS++
		raw(frame(spec.ID, unit, later))
	case "flood":
		time.Sleep(500 * time.Millisecond) // what was handed over before goes first
		cause = media.CutClock             // nothing else is wrong
		for {
			unit.DTS++
			raw(frame(spec.ID, unit))
		}
	case "log-flood":
		b := control(0, &wire.Log{Message: "again"})
		for {
			raw(b)
		}
	case "hello":
		raw(control(0, &wire.Hello{PID: 1}))
	case "pong":
		raw(control(0, &wire.Pong{Seq: 1 << 40}))
	case "probed":
		for range 3 {
			raw(control(spec.ID, &wire.Probed{}))
		}
	case "ended":
		raw(control(spec.ID, &wire.Status{State: wire.Ended}))
	case "huge":
		raw(wire.Header{Type: wire.TypeBatch, Stream: spec.ID, Size: 1 << 31}.Append(nil))
	}
}

// raw writes past all that is orderly to the socket of the core.
func raw(b []byte) {
	for fd := 3; fd < 64; fd++ {
		if _, err := unix.Getpeername(fd); err != nil {
			continue
		}
		for len(b) > 0 {
			n, err := unix.Write(fd, b)
			switch err {
			case nil:
				b = b[n:]
			case unix.EAGAIN, unix.EINTR:
				time.Sleep(time.Millisecond)
			default:
				return
			}
		}
		return
	}
}

// coreToKill is a core with two cameras, of which one does not even run any
// more; it tells the numbers of its workers and waits.
func coreToKill() {
	a, b := cam(1, "steady"), cam(2, "deaf")
	o := Options{Sink: func(media.StreamID) Sink { return nowhere{} }, Log: slog.New(slog.DiscardHandler)}
	o.time = standard
	o.time.unheard = 1 << 30
	o.Args = []string{"ingest"}
	p := New(o)
	p.dead[b[0].Camera] = &pastFalls{alone: true}
	if err := p.Set(append(a, b...)); err != nil {
		panic(err)
	}
	go p.Run(context.Background())
	for {
		var pids []string
		for _, w := range p.Workers() {
			if w.PID > 0 {
				pids = append(pids, fmt.Sprint(w.PID))
			}
		}
		if len(pids) == 2 {
			time.Sleep(time.Second) // not for the result: so that the one has stopped itself
			fmt.Println(strings.Join(pids, " "))
			select {}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

type nowhere struct{}

func (nowhere) Publish(b *media.Batch) error { b.Release(); return nil }
func (nowhere) Down(media.Cause)             {}

// cam makes the specs of a camera with a main stream.
func cam(n byte, how string) []wire.Spec {
	return []wire.Spec{{
		Camera: media.CameraID{n}, Stream: media.StreamID{n, 1}, URL: "rtsp://192.0.2.1/" + how,
		User: "admin", Password: wire.NewSecret("hunter2"), Transport: wire.Auto, Link: wire.LinkPlain,
	}}
}

// second adds a second stream.
func second(specs []wire.Spec) []wire.Spec {
	s := specs[0]
	s.Stream[1] = 2
	return append(specs, s)
}

func isDead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}
