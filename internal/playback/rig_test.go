package playback

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	peer "github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/store/segment"
)

const (
	second = media.Ticks(media.TicksPerSecond)
	dawn   = 1_900_000_000 * second // when the rig's footage begins
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A library is a shelf in memory.
type library struct {
	t      testing.TB
	stream media.StreamID
	wrap   seal.Key

	mu       sync.Mutex
	rows     []Stored
	files    map[media.SegmentID][]byte
	gone     map[media.SegmentID]error
	young    []*young
	forgot   int // how often a file was not wanted again
	open     int
	reported []string

	read atomic.Int64 // bytes of all files
}

func newLibrary(t testing.TB) *library {
	return &library{t: t, stream: newStream(), wrap: seal.NewKey(), files: map[media.SegmentID][]byte{}, gone: map[media.SegmentID]error{}}
}

func (l *library) unwrap(id [16]byte, wrapped []byte) (seal.Key, error) {
	return l.wrap.Unwrap(wrapped, id[:])
}

func (l *library) player() *Player {
	return New(l, l.unwrap, func(_ media.StreamID, id media.SegmentID, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		place := "disk"
		var d *segment.Damage
		if errors.As(err, &d) {
			place = fmt.Sprint(d.Record)
		}
		l.reported = append(l.reported, fmt.Sprintf("segment %d record %s", slices.IndexFunc(l.rows, func(s Stored) bool { return s.Segment == id }), place))
	})
}

func (l *library) Stored(_ context.Context, stream media.StreamID, from, to int64, fn func(Stored) error) error {
	for _, s := range l.rows {
		if stream == l.stream && s.End >= from && s.Start <= to {
			if err := fn(s); err != nil {
				return err
			}
		}
	}
	return nil
}

type memory struct {
	*bytes.Reader
	l *library
}

func (m memory) Forget() {
	m.l.mu.Lock()
	defer m.l.mu.Unlock()
	m.l.forgot++
}

func (m memory) Close() error {
	m.l.mu.Lock()
	defer m.l.mu.Unlock()
	m.l.open--
	return nil
}

func (m memory) ReadAt(b []byte, at int64) (int, error) {
	n, err := m.Reader.ReadAt(b, at)
	m.l.read.Add(int64(n))
	return n, err
}

func (l *library) file(b []byte) memory {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	return memory{bytes.NewReader(b), l}
}

func (l *library) Open(id media.SegmentID, _ int64) (File, error) {
	if err := l.gone[id]; err != nil {
		return nil, err
	}
	return l.file(l.files[id]), nil
}

// A young segment is one that is being written.
type young struct {
	info    segment.Info
	file    []byte
	entries []segment.Entry
}

type youngFile struct {
	memory
	y *young
}

func (y youngFile) Info() segment.Info       { return y.y.info }
func (y youngFile) Entries() []segment.Entry { return y.y.entries }

func (l *library) Live(stream media.StreamID) (list []Live) {
	for _, y := range l.young {
		if stream == l.stream {
			list = append(list, youngFile{l.file(y.file), y})
		}
	}
	return list
}

// A recording is made of batches, cut into segments where the test says.
type recording struct {
	l      *library
	tracks *media.Tracks
	w      *segment.Writer
	info   segment.Info
	file   []byte
}

func (l *library) record(tracks []media.Track) *recording {
	return &recording{l: l, tracks: &media.Tracks{Stream: l.stream, List: tracks, Init: must(fmp4.Init(tracks))}}
}

func (r *recording) begin(before *segment.Gap) {
	key, id := seal.NewKey(), [16]byte{1}
	r.info = segment.Info{Segment: newSegment(), Stream: r.l.stream}
	r.w = segment.NewWriter(r.info, key, id, r.l.wrap.Wrap(nil, key, id[:]))
	r.file = must(r.w.Init(r.w.Header(nil), r.tracks, before))
}

func (r *recording) add(units []media.Unit) {
	n := 0
	for _, u := range units {
		n += len(u.Data)
	}
	b := media.NewBatch(n)
	defer b.Release()
	b.Tracks, n = r.tracks, 0
	for _, u := range units {
		m := copy(b.Payload()[n:], u.Data)
		u.Data = b.Payload()[n : n+m]
		u.Arrived = u.DTS.Time().UnixNano() + 30e6
		n += m
		b.Units = append(b.Units, u)
	}
	if err := b.Check(); err != nil {
		r.l.t.Fatal(err)
	}
	if err := fmp4.Frame(b); err != nil {
		r.l.t.Fatal(err)
	}
	r.file = must(r.w.Append(r.file, b))
}

// end puts the segment into the ledger.
func (r *recording) end(why media.Cause) {
	file, s := r.w.Finish(r.file, why)
	r.l.files[r.info.Segment] = file
	r.l.rows = append(r.l.rows, Stored{Segment: r.info.Segment, Leaf: uint64(len(r.l.rows)), Start: s.Start, End: s.End})
}

// stored sorts segments by their start, as a catalogue does.
func (l *library) stored(t *testing.T) {
	slices.SortFunc(l.rows, func(a, b Stored) int { return cmp.Compare(a.Start, b.Start) })
	if slices.IsSortedFunc(l.rows, func(a, b Stored) int { return cmp.Compare(a.Leaf, b.Leaf) }) {
		t.Fatal("no clock was set back")
	}
}

// stay leaves the segment open, as it stands.
func (r *recording) stay() {
	r.l.young = append(r.l.young, &young{r.info, slices.Clone(r.file), r.w.Entries(0)})
}

// A film is real footage: the units of a file by decode time.
type film struct {
	tracks []media.Track
	units  []media.Unit // DTS from 0
	length media.Ticks
}

const footage = "../simcam/footage/"

// ffmpeg runs it and fails the test with whatever it says, a warning even.
func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-nostdin", "-v", "warning", "-y"}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, said.Bytes())
	}
	if said.Len() > 0 {
		t.Errorf("ffmpeg %q says:\n%s", args, said.Bytes())
	}
	return out.Bytes()
}

func needFFmpeg(t testing.TB) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
}

// mux makes an MP4 of pictures and sound.
func mux(t testing.TB, args ...string) string {
	name := filepath.Join(t.TempDir(), "in.mp4")
	ffmpeg(t, append(append([]string{"-v", "error"}, args...), "-c", "copy", name)...)
	return name
}

// load reads an MP4 of another maker, which ffmpeg puts into fragments first.
func load(t testing.TB, name string) film {
	t.Helper()
	raw := ffmpeg(t, "-v", "error", "-i", name, "-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "-")
	var p peer.Init
	if err := p.Unmarshal(bytes.NewReader(raw)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var parts peer.Parts
	if err := parts.Unmarshal(raw); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	config := func(box string) []byte {
		i := bytes.Index(raw, []byte(box))
		n := int(raw[i-4])<<24 | int(raw[i-3])<<16 | int(raw[i-2])<<8 | int(raw[i-1])
		return raw[i+4 : i-4+n]
	}
	var f film
	for i, track := range p.Tracks {
		m := media.Track{Number: uint8(i + 1)}
		switch c := track.Codec.(type) {
		case *codecs.H264:
			m.Codec, m.Codecs, m.Config, m.Width, m.Height = media.H264, "avc1", config("avcC"), 640, 480
		case *codecs.H265:
			m.Codec, m.Codecs, m.Config, m.Width, m.Height = media.H265, "hvc1", config("hvcC"), 640, 480
		case *codecs.MPEG4Audio:
			m.Codec, m.Codecs, m.SampleRate, m.Channels = media.AAC, "mp4a.40.2", c.Config.SampleRate, 2
			m.Config = must(c.Config.Marshal())
		case *codecs.Opus:
			m.Codec, m.SampleRate, m.Channels, m.Config = media.Opus, 48000, c.ChannelCount, config("dOps")
		default:
			t.Fatalf("%s: %T", name, c)
		}
		f.tracks = append(f.tracks, m)
		scale := func(v int64) media.Ticks { return media.Ticks(v * media.TicksPerSecond / int64(track.TimeScale)) }
		for _, part := range parts {
			for _, pt := range part.Tracks {
				if pt.ID != track.ID {
					continue
				}
				at := int64(pt.BaseTime)
				for _, s := range pt.Samples {
					f.units = append(f.units, media.Unit{Track: m.Number, DTS: scale(at), CTO: int32(scale(int64(s.PTSOffset))), RandomAccess: decodable(m.Codec, s.Payload), Data: s.Payload})
					at += int64(s.Duration)
				}
				f.length = max(f.length, scale(at))
			}
		}
	}
	return f
}

// decodable looks for an IDR or CRA picture: the peer does not read the flags
// where ffmpeg puts them.
func decodable(c media.Codec, unit []byte) bool {
	for len(unit) > 4 {
		switch kind := unit[4]; {
		case c == media.H264 && kind&31 == 5, c == media.H265 && kind>>1&63 >= 16 && kind>>1&63 <= 21, !c.Video():
			return true
		}
		unit = unit[min(len(unit), 4+int(binary.BigEndian.Uint32(unit))):]
	}
	return !c.Video()
}

// play records a film that begins at a time, in batches of a quarter second
// that end before random access units, and cuts when told to: before the nth random access unit.
func (r *recording) play(f film, start media.Ticks, cut func(n int) bool) {
	units := slices.Clone(f.units)
	slices.SortStableFunc(units, func(a, b media.Unit) int { return cmp.Compare(a.DTS, b.DTS) })
	var batch []media.Unit
	flush := func() {
		if len(batch) > 0 {
			slices.SortStableFunc(batch, func(a, b media.Unit) int { return cmp.Compare(a.Track, b.Track) })
			r.add(batch)
		}
		batch = nil
	}
	n := 0
	for _, u := range units {
		key := u.Track == 1 && u.RandomAccess
		if key || len(batch) > 0 && u.DTS+start-batch[0].DTS >= second/4 {
			flush()
		}
		if key {
			if n > 0 && cut != nil && cut(n) {
				r.end(media.CutLength)
				r.begin(nil)
			}
			n++
		}
		u.DTS += start
		batch = append(batch, u)
	}
	flush()
}

func newStream() (id media.StreamID)   { return random(id) }
func newSegment() (id media.SegmentID) { return random(id) }

// random infers the kind of an ID, which has no name outside media.
func random[T any](media.ID[T]) media.ID[T] { return media.NewID[T]() }
