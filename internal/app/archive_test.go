package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/conf"
	"vigil/internal/fmp4"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/playback"
	"vigil/internal/rig"
	"vigil/internal/simcam"
	"vigil/internal/store/segment"
)

func TestMain(m *testing.M) { rig.Main(m) }

// BenchmarkArchive is a recorder with a large archive: VIGIL_LEAVES made-up
// segments in the ledger (100,000 unless set), a hundredth, but 10,000 at most, of real files, among
// them an hour of 4 Mbit/s. How long a start takes, what making the catalogue anew costs, how fast timelines and
// footage come, and how fast an export is. Run it with -benchtime 1x; caches are dropped, which only root may do.
func BenchmarkArchive(b *testing.B) {
	leaves := 100_000
	if n, err := strconv.Atoi(os.Getenv("VIGIL_LEAVES")); err == nil {
		leaves = n
	}
	r := rig.New(b, rig.Options{})
	r.Start()
	r.Simulate(simcam.Stream{Path: "a", Source: "clock"}, simcam.Stream{Path: "b", Source: "clock-small"},
		simcam.Stream{Path: "c", Source: "clock-small"}, simcam.Stream{Path: "d", Source: "clock-h265-small"})
	r.WaitRecording()
	if err := r.Call("POST", "/setup", map[string]string{"code": r.Greeted.Code, "name": "amy", "password": password}, nil); err != nil {
		b.Fatal(err)
	}
	r.Settings(func(storage map[string]any) { storage["retentionDays"] = 0 }) // an archive of months would be removed meanwhile, one of hours would not
	if err := r.Stop(); err != nil {
		b.Fatal(err)
	}
	x := &archive{b: b, r: r, hour: time.Now().Add(-24 * time.Hour).Truncate(time.Hour)}
	x.fill(leaves)
	for b.Loop() {
		x.start()
		x.rebuild(leaves)
		x.days(leaves)
		x.months()
		x.instants(min(leaves/100, 10_000) - 60)
		x.export()
		if err := r.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}

const password = "Lantern-Harbour-42"

type archive struct {
	b    *testing.B
	r    *rig.Rig
	hour time.Time // of footage
}

func (x *archive) must(err error) {
	x.b.Helper()
	if err != nil {
		x.b.Fatal(err)
	}
}

// fill makes the archive while the recorder is stopped.
func (x *archive) fill(leaves int) {
	ctx, stop := context.WithCancel(context.Background())
	a, err := Open(ctx, conf.Config{State: x.r.State, Listen: ":0"}, Offline, slog.New(slog.DiscardHandler))
	x.must(err)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	x.leaves(ctx, a, leaves)
	x.files(a, min(leaves/100, 10_000))
	for { // all of it in the ledger, and in the catalogue
		open := len(a.store.OpenLive(x.stream(0)))
		if at, _, err := a.catalogue.Position(); err == nil && at == a.ledger.Size() && open == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	stop()
	x.must(<-ended)
}

func (x *archive) stream(i int) (id media.StreamID) {
	x.must(id.UnmarshalText([]byte(x.r.Cameras[i].Stream)))
	return id
}

// leaves appends segments of 32 streams, a minute each, up to a week ago.
func (x *archive) leaves(ctx context.Context, a *App, n int) {
	first := x.hour.Add(-7*24*time.Hour - time.Duration(n/32)*time.Minute)
	var list []ledger.Leaf
	for i := range n {
		m := ledger.SegmentMeta{Stream: media.StreamID{1, byte(i % 32)}, Camera: media.CameraID{2, byte(i % 32)}, Start: first.Add(time.Duration(i/32) * time.Minute).UnixNano(),
			Bytes: 30e6, Records: 240, EndCause: media.CutLength, Tracks: []ledger.SegmentTrack{{Number: 1, Codec: media.H264}}}
		if i%32 < 4 {
			m.Stream = x.stream(i % 32)
		}
		rand.Read(m.Segment[:8])
		binary.BigEndian.PutUint64(m.Segment[8:], uint64(i))
		m.End = m.Start + 60e9
		m.First, m.Last = media.TicksOf(time.Unix(0, m.Start)), media.TicksOf(time.Unix(0, m.End))
		l, err := m.Leaf()
		x.must(err)
		if list = append(list, l); len(list) == ledger.MaxBatch || i == n-1 {
			_, err := a.ledger.Append(ctx, list)
			x.must(err)
			list = list[:0]
		}
	}
}

// files records an hour of the first camera, and small segments of the second.
func (x *archive) files(a *App, n int) {
	for m := range 60 {
		x.record(a, 0, x.hour.Add(time.Duration(m)*time.Minute), 240, 20833)
	}
	for i := range n - 60 {
		x.record(a, 1, x.hour.Add(time.Duration(i)*4*time.Second-12*time.Hour), 8, 500)
	}
}

// record writes one segment of batches of a quarter of a second.
func (x *archive) record(a *App, camera int, at time.Time, batches, size int) {
	list := []media.Track{{Number: 1, Codec: media.H264, Codecs: "avc1.42c01e", Width: 1920, Height: 1080, Config: []byte{1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0}}}
	init, err := fmp4.Init(list)
	x.must(err)
	tracks := &media.Tracks{Stream: x.stream(camera), List: list, Init: init}
	var id media.CameraID
	x.must(id.UnmarshalText([]byte(x.r.Cameras[camera].ID)))
	w, err := a.store.Create(actor.Of("recorder", ""), segment.Info{Stream: tracks.Stream, Camera: id}, tracks, nil)
	x.must(err)
	for i := range batches {
		const units = 6
		bt := media.NewBatch(units * size)
		bt.Tracks = tracks
		rand.Read(bt.Payload()[:64])
		for u := range units {
			t := at.Add(time.Duration(i*units+u) * time.Second / (4 * units))
			data := bt.Payload()[u*size : (u+1)*size]
			binary.BigEndian.PutUint32(data, uint32(size-4))
			bt.Units = append(bt.Units, media.Unit{Track: 1, RandomAccess: u == 0 && i%8 == 0, DTS: media.TicksOf(t), Arrived: t.UnixNano(), Data: data})
		}
		x.must(bt.Check())
		x.must(fmp4.Frame(bt))
		for w.Append(bt) != nil { // the disk is slower than this
			time.Sleep(10 * time.Millisecond)
		}
		bt.Release()
	}
	w.Close(media.CutLength)
}

// start measures a start with all in place.
func (x *archive) start() {
	x.r.Start()
	x.b.ReportMetric(time.Since(x.r.Started).Seconds(), "s/ready")
	x.b.ReportMetric(slowest(x.r.WaitRecording()).Seconds(), "s/recording")
	x.must(x.r.Stop())
}

func slowest(took map[string]time.Duration) (most time.Duration) {
	for _, d := range took {
		most = max(most, d)
	}
	return most
}

// rebuild measures a start without a catalogue, while footage is recorded and
// played.
func (x *archive) rebuild(leaves int) {
	old, _ := filepath.Glob(filepath.Join(x.r.State, "catalogue*"))
	for _, name := range old {
		x.must(os.Remove(name))
	}
	x.r.Start()
	x.b.ReportMetric(slowest(x.r.WaitRecording()).Seconds(), "s/recording-anew")
	began := time.Now()
	var worst time.Duration
	for {
		at := time.Now()
		t := x.r.Timeline(x.r.Cameras[0], x.hour, x.hour.Add(time.Hour))
		worst = max(worst, time.Since(at))
		if len(t.Ranges) > 0 && t.Ranges[len(t.Ranges)-1].To >= x.hour.Add(time.Hour-time.Second).UnixMilli() {
			break
		}
		at = time.Now()
		if f := x.r.Play(x.r.Cameras[1], at.Add(-5*time.Second), at); len(f.Pictures) == 0 && at.Sub(began) > 10*time.Second {
			x.b.Errorf("%v after the start the last seconds cannot be played", at.Sub(x.r.Started))
		}
		worst = max(worst, time.Since(at))
		time.Sleep(200 * time.Millisecond)
	}
	took := time.Since(x.r.Started)
	x.b.ReportMetric(float64(leaves)/took.Seconds(), "segments/s-anew")
	x.b.ReportMetric(float64(worst.Milliseconds()), "ms/slowest-answer")
	time.Sleep(5 * time.Second) // something to judge, in a small archive too
	s := rig.Session{Started: x.r.Started, Ended: time.Now().Add(-time.Second)}
	for _, c := range x.r.Cameras {
		f := x.r.Play(c, s.Started.Add(-time.Second), time.Now())
		if l := c.Loss(s, f.Pictures); l.Have == 0 || l.Head+l.Holes > 0 || l.Tail > time.Second {
			x.b.Errorf("recording suffered: %v", l)
		}
	}
}

// days measures what the page asks for: a day of one camera with what lies around it. And in turn, on the same connection,
// who one is, which costs next to nothing: what the machine itself takes.
func (x *archive) days(leaves int) {
	client := x.browser(false)
	var all, least []time.Duration
	span := time.Duration(leaves/32) * time.Minute
	for i := range 1000 {
		from := x.hour.Add(-7*24*time.Hour - span + time.Duration(i*7919)*time.Minute%max(span, time.Minute))
		time.Sleep(pace)
		at := time.Now()
		x.get(client, "/session", new(struct{}))
		least = append(least, time.Since(at))
		time.Sleep(pace)
		at = time.Now()
		t := x.timeline(client, i%4, from, from.Add(24*time.Hour))
		all = append(all, time.Since(at))
		if len(t.Ranges) == 0 {
			x.b.Fatalf("nothing of %v", from)
		}
	}
	x.spread("day", all)
	x.spread("day-least", least)
}

// spread reports the median and the slowest hundredth.
func (x *archive) spread(name string, all []time.Duration) {
	slices.Sort(all)
	x.b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms/"+name+"-median")
	x.b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms/"+name+"-p99")
}

func (x *archive) timeline(client *http.Client, camera int, from, to time.Time) (t rig.Timeline) {
	x.get(client, fmt.Sprintf("/cameras/%s/timeline?from=%d&to=%d", x.r.Cameras[camera].ID, from.UnixMilli(), to.UnixMilli()), &t)
	return t
}

// get asks as the page does: over HTTPS, signed in.
func (x *archive) get(client *http.Client, path string, out any) {
	resp, err := client.Get("https://" + x.r.Address + "/api/v1" + path)
	x.must(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		x.b.Fatalf("%s: %s", path, resp.Status)
	}
	x.must(json.NewDecoder(resp.Body).Decode(out))
}

// months measures a month of 16 cameras.
func (x *archive) months() {
	client := x.browser(false)
	var all []time.Duration
	for i := range 10 {
		from := x.hour.Add(-37 * 24 * time.Hour).Add(time.Duration(i) * time.Hour)
		time.Sleep(16 * pace)
		at := time.Now()
		for n := range 16 {
			x.timeline(client, n%4, from, from.Add(30*24*time.Hour))
		}
		all = append(all, time.Since(at))
	}
	slices.Sort(all)
	x.b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms/month-16")
	x.b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms/month-16-slowest")
}

// pace is between two requests: a person asks no faster, and nobody may.
const pace = 50 * time.Millisecond

// browser is a client that is signed in, on one connection or on a new one for each request.
func (x *archive) browser(anew bool) *http.Client {
	jar, err := cookiejar.New(nil)
	x.must(err)
	client := &http.Client{Jar: jar, Timeout: rig.Patience, Transport: &http.Transport{
		DisableKeepAlives: anew, ForceAttemptHTTP2: !anew, // one request a connection needs no HTTP/2
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it is measured, and on loopback
	}}
	resp, err := client.Post("https://"+x.r.Address+"/api/v1/session", "application/json", strings.NewReader(`{"name":"amy","password":"`+password+`"}`))
	x.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		x.b.Fatalf("sign-in: %s", resp.Status)
	}
	return client
}

// instants measures how long the first byte of video takes of a random instant of
// the small segments, on a connection that is there and on new ones.
func (x *archive) instants(files int) {
	for _, how := range []struct {
		name string
		n    int
		anew bool
	}{{"", 1000, false}, {"-new-connection", 300, true}} {
		client := x.browser(how.anew)
		var all []time.Duration
		for range how.n {
			at := x.hour.Add(time.Duration(mathrand.IntN(files))*4*time.Second - 12*time.Hour + time.Duration(mathrand.IntN(2000))*time.Millisecond)
			time.Sleep(pace)
			began := time.Now()
			resp, err := client.Get(fmt.Sprintf("https://%s/api/v1/streams/%s/video.mp4?from=%d&to=%d", x.r.Address, x.r.Cameras[1].Stream, at.UnixMilli(), at.Add(2*time.Second).UnixMilli()))
			x.must(err)
			var got []byte
			for part := make([]byte, 32<<10); !bytes.Contains(got, []byte("mdat")); {
				n, err := resp.Body.Read(part)
				if got = append(got, part[:n]...); n == 0 && err != nil {
					x.b.Fatalf("no video of %v: %s after %d bytes: %v", at, resp.Status, len(got), err)
				}
			}
			all = append(all, time.Since(began))
			_, err = io.Copy(io.Discard, resp.Body)
			x.must(err)
			resp.Body.Close()
		}
		x.spread("first-byte"+how.name, all)
	}
}

// export measures an export of the hour, beside what the disk and the cipher
// can do.
func (x *archive) export() {
	folder := filepath.Join(x.r.Video, "segments", fmt.Sprint(x.hour.Unix()/86400), x.hour.UTC().Format("15"))
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	out := filepath.Join(x.r.Dir, "hour.mp4")
	cold := func() {
		unix.Sync()
		x.must(os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0))
	}
	var size int64
	rate := func(name string, n int64, took time.Duration) {
		x.b.ReportMetric(float64(n)/1e6/took.Seconds(), "MB/s-"+name)
	}

	read := func(to io.Writer) (n int64) {
		for _, name := range files {
			f, err := os.Open(name)
			x.must(err)
			k, err := io.CopyBuffer(struct{ io.Writer }{to}, f, make([]byte, 1<<20))
			x.must(err)
			n += k
			f.Close()
		}
		return n
	}
	cold()
	at := time.Now()
	size = read(io.Discard)
	if size < 1e9 {
		x.b.Fatalf("%d files of %d bytes in %s", len(files), size, folder)
	}
	rate("disk-read", size, time.Since(at))

	at = time.Now()
	f, err := os.Create(out)
	x.must(err)
	for b, n := bytes.Repeat([]byte{7}, 1<<20), int64(0); n < size; n += int64(len(b)) {
		_, err := f.Write(b)
		x.must(err)
	}
	x.must(unix.Fdatasync(int(f.Fd())))
	rate("disk-write", size, time.Since(at))
	f.Close()
	x.must(os.Remove(out))

	cold()
	at = time.Now()
	f, err = os.Create(out)
	x.must(err)
	read(f)
	x.must(unix.Fdatasync(int(f.Fd())))
	rate("disk-copy", size, time.Since(at))
	f.Close()
	x.must(os.Remove(out))

	before := x.peak()
	cold()
	at = time.Now()
	_, stderr, err := x.r.Run("export", x.r.Cameras[0].Name, "--from", x.hour.Format(time.RFC3339), "--to", x.hour.Add(time.Hour).Format(time.RFC3339), "-o", out)
	if err != nil {
		x.b.Fatalf("%v: %s", err, stderr)
	}
	took := time.Since(at)
	info, err := os.Stat(out)
	x.must(err)
	rate("export", info.Size(), took)
	x.b.ReportMetric(float64(x.peak()-before)/1e6, "MB/export-memory")
	x.must(os.Remove(out))

	x.must(x.r.Stop())
	ctx := context.Background()
	p, err := open(ctx, conf.Config{State: x.r.State, Listen: ":0"}, slog.New(slog.DiscardHandler))
	x.must(err)
	plan, err := playback.New(library{p}, p.store.Unwrap, func(media.StreamID, media.SegmentID, error) {}).
		Collect(ctx, x.stream(0), media.TicksOf(x.hour), media.TicksOf(x.hour.Add(time.Hour)), true)
	x.must(err)
	at = time.Now()
	x.must(plan.Play(ctx, func(playback.Piece) error { return nil }))
	rate("decrypt", plan.Payload(), time.Since(at))
	x.must(p.close())
	x.r.Start()
}

// peak returns the most memory that the core ever had.
func (x *archive) peak() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.r.PID()))
	x.must(err)
	lines := strings.Split(string(status), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "VmHWM:") })
	kB, err := strconv.ParseInt(strings.Fields(lines[i])[1], 10, 64)
	x.must(err)
	return kB << 10
}
