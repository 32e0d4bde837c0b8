package playback

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// A packet is what ffmpeg demuxed: when it is shown, and the SHA-256 of its bytes.
type packet struct {
	pts  media.Ticks
	hash string
}

// packets asks ffmpeg for those of one stream of a file.
func packets(t *testing.T, name string, stream int) (list []packet) {
	t.Helper()
	num, den := int64(1), int64(1)
	for line := range strings.Lines(string(ffmpeg(t, "-i", name, "-map", fmt.Sprint("0:", stream), "-c", "copy", "-f", "framehash", "-hash", "sha256", "-"))) {
		if base, ok := strings.CutPrefix(line, "#tb 0: "); ok {
			fmt.Sscanf(base, "%d/%d", &num, &den)
		}
		if f := strings.Split(strings.TrimSpace(line), ","); len(f) >= 6 && !strings.HasPrefix(line, "#") {
			pts := must(strconv.ParseInt(strings.TrimSpace(f[2]), 10, 64))
			list = append(list, packet{media.Ticks(pts * num * media.TicksPerSecond / den), strings.TrimSpace(f[5])})
		}
	}
	return list
}

// export plans and writes a range into a file.
func (l *library) export(from, to media.Ticks) (name string, x *Export) {
	l.t.Helper()
	plan, err := l.player().Collect(context.Background(), l.stream, from, to, true)
	if err != nil {
		l.t.Fatal(err)
	}
	name = filepath.Join(l.t.TempDir(), "out.mp4")
	f := must(os.Create(name))
	defer f.Close()
	x, err = plan.Export(context.Background(), f, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if s := must(f.Stat()); s.Size() != x.Size {
		l.t.Errorf("file of %d bytes, said %d", s.Size(), x.Size)
	}
	l.t.Cleanup(func() {
		if l.open != 0 {
			l.t.Errorf("%d files left open", l.open)
		}
	})
	return name, x
}

var films = []struct {
	name  string
	make  func(t testing.TB) string
	sound bool
}{
	{"H.264", func(testing.TB) string { return footage + "clock-h264.mp4" }, false},
	{"H.264, B-frames", func(testing.TB) string { return footage + "pyramid-h264.mp4" }, false},
	{"H.265", func(testing.TB) string { return footage + "clock-h265-small.mp4" }, false},
	{"H.264 and AAC", func(t testing.TB) string {
		return mux(t, "-i", footage+"clock-h264-small.mp4", "-i", footage+"sound.aac", "-shortest")
	}, true},
	{"H.264 and Opus", func(t testing.TB) string {
		return mux(t, "-i", footage+"clock-h264-small.mp4", "-i", footage+"sound.ogg", "-shortest")
	}, true},
}

// TestExportIsTheInput: what was recorded in several segments comes out as
// one file with the same packets, in ffmpeg's eyes, and decodes without a word.
func TestExportIsTheInput(t *testing.T) {
	needFFmpeg(t)
	for _, tt := range films {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.make(t)
			f := load(t, in)
			l := newLibrary(t)
			r := l.record(f.tracks)
			r.begin(nil)
			r.play(f, dawn, func(n int) bool { return n%3 == 0 })
			r.stay() // the last one is still being written
			name, x := l.export(dawn-5*second, dawn+f.length+5*second)
			for track := range f.tracks {
				got, in := packets(t, name, track), packets(t, in, track)
				var want []packet
				for _, u := range f.units {
					if int(u.Track) == track+1 {
						want = append(want, packet{u.DTS + media.Ticks(u.CTO), fmt.Sprintf("%x", sha256.Sum256(u.Data))})
					}
				}
				if len(got) != len(want) || len(in) != len(want) || len(want) == 0 {
					t.Fatalf("track %d: %d packets, want %d of %d", track+1, len(got), len(want), len(in))
				}
				for i, w := range want {
					d := (got[i].pts - got[0].pts) - (w.pts - want[0].pts)
					if got[i].hash != w.hash || in[i].hash != w.hash || d < -2 || d > 2 { // ffmpeg rounds
						t.Fatalf("track %d packet %d: got %+v, want %+v", track+1, i, got[i], w)
					}
				}
			}
			ffmpeg(t, "-i", name, "-f", "null", "-")
			if len(x.Gaps) != 2 || x.Gaps[0].To != dawn || len(x.Jumps) != 0 {
				t.Errorf("gaps %+v, jumps %+v", x.Gaps, x.Jumps)
			}
			if len(l.reported) > 0 {
				t.Errorf("reported %q", l.reported)
			}
		})
	}
}

// A probe is what ffprobe says of a file.
type probe struct {
	Format struct {
		Name     string `json:"format_name"`
		Duration string
		Tags     map[string]string
	}
	Streams []struct {
		Codec    string `json:"codec_name"`
		Start    string `json:"start_time"`
		Duration string
		Frames   string `json:"nb_frames"`
	}
}

func ffprobe(t *testing.T, name string) (p probe) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "warning", "-show_format", "-show_streams", "-of", "json", name).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, out)
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, out)
	}
	return p
}

// TestExportOfAPart begins and ends where it was asked to, not at a random
// access unit.
func TestExportOfAPart(t *testing.T) {
	needFFmpeg(t)
	f := load(t, films[3].make(t))
	l := newLibrary(t)
	r := l.record(f.tracks)
	r.begin(nil)
	r.play(f, dawn, func(n int) bool { return n%3 == 0 })
	r.end(media.Shutdown)
	const skipped, shown = 63, 75 // pictures of 1/12.5 s: 5.04 s are the middle of a GOP
	name, x := l.export(dawn+skipped*7200, dawn+(skipped+shown)*7200)
	p := ffprobe(t, name)
	for i, s := range p.Streams {
		start, duration := must(strconv.ParseFloat(s.Start, 64)), must(strconv.ParseFloat(s.Duration, 64))
		if start < -0.001 || start > 0.05 || duration < 5.94 || duration > 6.01 {
			t.Errorf("stream %d: from %v for %v s, want 6", i, start, duration)
		}
	}
	if got := p.Format.Tags["creation_time"]; !strings.HasPrefix(got, "2030-03-17T17:46:45") {
		t.Errorf("creation time %s", got)
	}
	if len(x.Gaps) != 0 {
		t.Errorf("gaps %+v", x.Gaps)
	}
	whole, _ := l.export(dawn, dawn+f.length)
	hashes := func(b []byte) (list []string) {
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, "#") {
				list = append(list, line[strings.LastIndex(line, ",")+1:])
			}
		}
		return list
	}
	decode := func(name string) []string {
		return hashes(ffmpeg(t, "-i", name, "-map", "0:0", "-f", "framehash", "-hash", "sha256", "-"))
	}
	if got, want := decode(name), decode(whole)[skipped:skipped+shown]; !slices.Equal(got, want) {
		t.Errorf("%d pictures, want %d, or others", len(got), len(want))
	}
}

// TestExportWithoutSound: the pictures, and not a byte of sound.
func TestExportWithoutSound(t *testing.T) {
	needFFmpeg(t)
	f := load(t, films[3].make(t))
	l := newLibrary(t)
	r := l.record(f.tracks)
	r.begin(nil)
	r.play(f, dawn, func(n int) bool { return n%3 == 0 })
	r.end(media.Shutdown)
	plan := must(l.player().Collect(context.Background(), l.stream, dawn, dawn+f.length, false))
	var made bytes.Buffer
	x := must(plan.Export(context.Background(), &made, nil))
	file := made.Bytes()
	for i, u := range f.units {
		if got, want := bytes.Contains(file, u.Data), u.Track == 1; got != want && len(u.Data) > 16 {
			t.Errorf("unit %d of track %d: %v", i, u.Track, got)
		}
	}
	name := filepath.Join(t.TempDir(), "silent.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := ffprobe(t, name); len(p.Streams) != 1 {
		t.Errorf("%d streams", len(p.Streams))
	}
	ffmpeg(t, "-i", name, "-f", "null", "-")
	d := x.Open(context.Background())
	if b := must(io.ReadAll(d)); !bytes.Equal(b, file) {
		t.Error("the download is another")
	}
	d.Close()
}

// TestExportHasNoMore: nothing recorded at or after the end asked for is in
// the file, readable or not.
func TestExportHasNoMore(t *testing.T) {
	l, payload := pictures(t)
	name, _ := l.export(dawn, dawn+second)
	file := must(os.ReadFile(name))
	for i, data := range payload {
		if got, want := bytes.Contains(file, data), i < 25; got != want {
			t.Errorf("picture %d: %v", i, got)
		}
	}
}

var justPictures = []media.Track{{Number: 1, Codec: media.H264, Codecs: "avc1.42c01e", Width: 320, Height: 240, Config: []byte{1, 2, 3}}}

// pictures records 12 s of random bytes: 25 a second, a GOP a second, in
// three segments. It gives the bytes of each.
func pictures(t testing.TB) (l *library, payload [][]byte) {
	random := rand.New(rand.NewPCG(1, 2))
	var f film
	for i := range 12 * 25 {
		data := make([]byte, 40+random.IntN(400))
		for k := range data {
			data[k] = byte(1 + random.IntN(255))
		}
		payload = append(payload, data)
		f.units = append(f.units, media.Unit{Track: 1, DTS: media.Ticks(i) * 3600, RandomAccess: i%25 == 0, Data: data})
	}
	l = newLibrary(t)
	r := l.record(justPictures)
	r.begin(nil)
	r.play(f, dawn, func(n int) bool { return n%4 == 0 })
	r.end(media.CutLength)
	return l, payload
}

// spoil changes a byte of one record of a segment.
func (l *library) spoil(row, record int) {
	id := l.rows[row].Segment
	r := must(segment.Open(bytes.NewReader(l.files[id]), int64(len(l.files[id])), l.unwrap))
	l.files[id][r.Index()[record-1].Offset+100] ^= 1
}

// TestForgets: an export leaves the system's memory to others, a player does not: others watch the same.
func TestForgets(t *testing.T) {
	l, _ := pictures(t)
	plan := must(l.player().Collect(context.Background(), l.stream, dawn, dawn+12*second, true))
	var x *Export
	for _, step := range []struct {
		name string
		do   func() error
		want int
	}{
		{"play", func() error { return plan.Play(context.Background(), func(Piece) error { return nil }) }, 0},
		{"export", func() (err error) { x, err = plan.Export(context.Background(), io.Discard, nil); return err }, len(l.rows)},
		{"download", func() error {
			d := x.Open(context.Background())
			_, err := io.Copy(io.Discard, d)
			return errors.Join(err, d.Close())
		}, len(l.rows)},
	} {
		l.forgot = 0
		if err := step.do(); err != nil || l.forgot != step.want {
			t.Errorf("%s: %d of %d segments forgotten, %v", step.name, l.forgot, step.want, err)
		}
	}
}

// TestDownload: any part of the file, in any order, is what Export wrote;
// also where something is damaged, and at the edges.
func TestDownload(t *testing.T) {
	for name, hurt := range map[string]func(*library){
		"sound": func(*library) {},
		"two records, the second after the end of its GOP": func(l *library) { l.spoil(1, 2); l.spoil(1, 6) },
		"the first": func(l *library) { l.spoil(0, 1) },
		"a segment": func(l *library) { l.files[l.rows[1].Segment][60] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := pictures(t)
			plan := must(l.player().Collect(context.Background(), l.stream, dawn+second/2, dawn+11*second+5000, true))
			hurt(l)
			growing := plan.file()
			followed := make(chan []byte)
			early := growing.Open(context.Background())
			if _, err := early.Seek(0, io.SeekEnd); !errors.Is(err, ErrNotReady) {
				t.Errorf("the end of a file that is not made: %v", err)
			}
			go func() {
				defer early.Close()
				b, err := io.ReadAll(early)
				if err != nil {
					t.Error(err)
				}
				followed <- b
			}()
			var whole bytes.Buffer
			x := must(plan.Export(context.Background(), &whole, nil))
			file := whole.Bytes()
			if x.Size != int64(len(file)) {
				t.Errorf("%d bytes, said %d", len(file), x.Size)
			}
			if err := growing.make(context.Background(), io.Discard, nil); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(<-followed, file) {
				t.Error("followed while it was made: other bytes")
			}
			d := x.Open(context.Background())
			if got := must(io.ReadAll(d)); !bytes.Equal(got, file) {
				t.Error("read through: other bytes")
			}
			random := rand.New(rand.NewPCG(1, 3))
			for range 300 {
				at, n := random.IntN(len(file)), random.IntN(3000)
				n = min(n, len(file)-at)
				b := make([]byte, n)
				must(d.Seek(int64(at), io.SeekStart))
				if _, err := io.ReadFull(d, b); err != nil || !bytes.Equal(b, file[at:at+n]) {
					t.Fatalf("%d bytes at %d: %v", n, at, err)
				}
			}
			if end := must(d.Seek(0, io.SeekEnd)); end != x.Size {
				t.Errorf("end at %d", end)
			}
			if _, err := d.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("behind the end: %v", err)
			}
			if _, err := d.Seek(-1, io.SeekStart); err == nil {
				t.Error("before the start")
			}
			d.Close()
			if l.open != 0 {
				t.Errorf("%d files left open", l.open)
			}
		})
	}
}

// TestDownloadOfAnother: what was damaged or removed since the export was made
// ends the download; the file is never silently another.
func TestDownloadOfAnother(t *testing.T) {
	for name, hurt := range map[string]func(*library){
		"damaged": func(l *library) { l.spoil(1, 6) },
		"removed": func(l *library) { l.gone[l.rows[1].Segment] = os.ErrNotExist },
		"shorter": func(l *library) {
			id := l.rows[1].Segment
			l.files[id] = l.files[id][:len(l.files[id])-1]
		},
	} {
		l, _ := pictures(t)
		x := must(must(l.player().Collect(context.Background(), l.stream, dawn, dawn+60*second, true)).Export(context.Background(), io.Discard, nil))
		hurt(l)
		d := x.Open(context.Background())
		b, err := io.ReadAll(d)
		if !errors.Is(err, ErrChanged) || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		d.Close()
	}
}

// TestExportWithDamage leaves out what cannot be decoded, reports it and says
// so in the gaps.
func TestExportWithDamage(t *testing.T) {
	l, payload := pictures(t)
	l.spoil(1, 2) // segment 1 is from 4 to 8 s, four records a second: 4.24 s; the GOP goes on to 5 s
	name, x := l.export(dawn, dawn+60*second)
	file := must(os.ReadFile(name))
	for i, data := range payload {
		lost := i >= 4*25+7 && i < 5*25
		if got := bytes.Contains(file, data); got == lost {
			t.Errorf("picture %d: %v", i, got)
		}
	}
	want := []Gap{{dawn + 4*second + 7*3600, dawn + 5*second, media.Failed, 0}, {dawn + 12*second, dawn + 60*second, "", 0}}
	if !slices.Equal(x.Gaps, want) {
		t.Errorf("gaps %+v, want %+v", x.Gaps, want)
	}
	if !slices.Equal(l.reported, []string{"segment 1 record 2"}) {
		t.Errorf("reported %q", l.reported)
	}
	plan := must(l.player().Collect(context.Background(), l.stream, dawn, dawn+60*second, true))
	for i := range l.rows {
		l.gone[l.rows[i].Segment] = errors.New("disk away")
	}
	if _, err := plan.Export(context.Background(), io.Discard, nil); err == nil {
		t.Error("an export of nothing")
	}
}

// failing refuses after n bytes.
type failing struct{ n int }

func (f *failing) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

var errFull = errors.New("disk full")

// TestExportEnds with the writer's error or the context's, and leaves nothing
// running or open.
func TestExportEnds(t *testing.T) {
	l, _ := pictures(t)
	plan := must(l.player().Collect(context.Background(), l.stream, dawn, dawn+60*second, true))
	for _, n := range []int{0, 10, 30000} {
		if _, err := plan.Export(context.Background(), &failing{n}, nil); !errors.Is(err, errFull) {
			t.Errorf("full after %d: %v", n, err)
		}
	}
	// So does reading what was being made, as far as it came.
	x := plan.file()
	d := x.Open(context.Background())
	ended := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, d)
		d.Close()
		ended <- err
	}()
	_ = x.make(context.Background(), &failing{30000}, nil)
	if err := <-ended; !errors.Is(err, errFull) {
		t.Errorf("following what failed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	never := plan.file()
	d = never.Open(ctx)
	go func() {
		_, err := io.Copy(io.Discard, d)
		d.Close()
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	if _, err := plan.Export(ctx, io.Discard, func(done int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if l.open != 0 || len(l.reported) != 0 {
		t.Errorf("%d files left open, reported %q", l.open, l.reported)
	}
}

// TestFollowed: who keeps up with the making of a file reads what is made, and the record is read for it once; who
// does not reads the record, and nobody waits.
func TestFollowed(t *testing.T) {
	l, end := minutes(t, 1)
	collect := func() *Plan {
		return must(l.player().Collect(context.Background(), l.stream, dawn, end, true))
	}
	var whole bytes.Buffer
	before := l.read.Load()
	must(collect().Export(context.Background(), &whole, nil))
	once := l.read.Load() - before

	x := collect().file()
	x.made.patience = 20 * time.Second
	quick, left := x.Open(context.Background()), x.Open(context.Background())
	left.Close() // who has gone is not waited for
	got := make(chan []byte)
	go func() { got <- must(io.ReadAll(quick)) }()
	before = l.read.Load()
	if err := x.make(context.Background(), io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, whole.Bytes()) {
		t.Error("keeping up: other bytes")
	}
	if n := l.read.Load() - before; n > once+(chunks+2)*chunk { // the last chunks are gone when the file is made
		t.Errorf("read %d bytes for the making and the reading, %d for the making", n, once)
	}
	quick.Close()

	x = collect().file()
	x.made.patience = time.Millisecond
	slow := x.Open(context.Background())
	part := make([]byte, 3*chunk/2)
	done := make(chan error)
	go func() { done <- x.make(context.Background(), io.Discard, nil) }()
	must(io.ReadFull(slow, part))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rest := must(io.ReadAll(slow)); !bytes.Equal(append(part, rest...), whole.Bytes()) {
		t.Error("slow: other bytes")
	}
	slow.Close()
	if l.open != 0 {
		t.Errorf("%d files left open", l.open)
	}
}

// A tail reads a file being made from where its tables begin, while the last of them is being written.
type tail struct {
	x   *Export
	at  int64 // where the tables begin
	got []byte
	err error
}

func (w *tail) Write(b []byte) (int, error) {
	if len(b) == chunk {
		return chunk, nil
	}
	d := w.x.Open(context.Background())
	defer d.Close()
	w.got = make([]byte, 10)
	if _, w.err = d.Seek(w.at+5, io.SeekStart); w.err == nil {
		_, w.err = io.ReadFull(d, w.got)
	}
	return len(b), nil
}

// TestFollowedTables: who is behind where large tables begin reads them, before all of them is written.
func TestFollowedTables(t *testing.T) {
	l := newLibrary(t)
	r := l.record(justPictures)
	r.begin(nil)
	data := make([]byte, 2)
	for n := 0; n < 500_000; n += 1000 { // each has an entry in nearly every table
		var units []media.Unit
		for i := range 1000 {
			units = append(units, media.Unit{Track: 1, RandomAccess: i == 0, DTS: dawn + media.Ticks(3*(n+i)+i%2), CTO: int32(i % 2), Data: data})
		}
		r.add(units)
	}
	r.end(media.CutLength)
	x := must(l.player().Collect(context.Background(), l.stream, dawn, dawn+60*second, true)).file()
	w := &tail{x: x, at: int64(len(x.head)) + x.plan.payload}
	if err := x.make(context.Background(), w, nil); err != nil || w.err != nil {
		t.Fatal(err, w.err)
	}
	if len(x.moov) < (chunks+1)*chunk || !bytes.Equal(w.got, x.moov[5:15]) {
		t.Errorf("%x of %d bytes of tables", w.got, len(x.moov))
	}
}
