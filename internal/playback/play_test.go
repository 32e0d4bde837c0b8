package playback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// watch plays a range and writes down what comes: "1.00" is a picture at that
// second, "|" a gap.
func (l *library) watch(from, to, long media.Ticks) (*Plan, []string, error) {
	plan, err := l.player().Watch(context.Background(), l.stream, from, to, long)
	if err != nil {
		return nil, nil, err
	}
	var got []string
	err = plan.Play(context.Background(), func(p Piece) error {
		if p.Gap != nil {
			got = append(got, fmt.Sprintf("| %s to %.2f", p.Gap.Cause, secs(p.Gap.To)))
		}
		var f fmp4.Fragment
		if err := f.Parse(p.Fragment); err != nil {
			return err
		}
		if f.Parts[0].Samples[0].DTS != p.Entry.DTS {
			l.t.Errorf("fragment of %d, entry of %d", f.Parts[0].Samples[0].DTS, p.Entry.DTS)
		}
		got = append(got, fmt.Sprintf("%.2f", secs(p.Entry.DTS)))
		return nil
	})
	return plan, got, err
}

func secs(t media.Ticks) float64 { return float64(t-dawn) / media.TicksPerSecond }

// every lists fragments of the rig's pictures: four a GOP of a second.
func every(from, to int) (list []string) {
	for s := from; s < to; s++ {
		for _, f := range []string{"00", "28", "56", "84"} { // seven pictures make a quarter second full
			list = append(list, fmt.Sprintf("%d.%s", s, f))
		}
	}
	return list
}

func at(seconds float64) media.Ticks { return dawn + media.Ticks(seconds*media.TicksPerSecond) }

// TestWatch says what comes for which question. The rig has 12 s in segments
// of 4 s, random access units at each second.
func TestWatch(t *testing.T) {
	long := 600 * second
	tests := []struct {
		name     string
		from, to float64
		long     media.Ticks
		want     []string
		next     float64 // 0: nothing more
		gaps     []Gap
		hurt     func(*library)
		reported []string
	}{
		{name: "all", from: 0, to: 12, long: long, want: every(0, 12)},
		{name: "from the random access unit before", from: 2.5, to: 3.9, long: long, want: every(2, 4)},
		{name: "exactly at one", from: 3, to: 4, long: long, want: every(3, 4)},
		{name: "over a border of segments", from: 3.9, to: 4.9, long: long, want: every(3, 5)},
		{name: "nothing after the end asked for", from: 2, to: 2.3, long: long, want: []string{"2.00", "2.28"}},
		{name: "the first after it", from: -30, to: 1, long: long, want: every(0, 1), gaps: []Gap{{at(-30), at(0), "", 0}}},
		{name: "so long and no longer", from: 2.5, to: 12, long: 3 * second, want: every(2, 5), next: 5},
		{name: "and from there on", from: 5, to: 12, long: 20 * second, want: every(5, 12)},
		{name: "nothing after the last", from: 11, to: 20, long: long, want: every(11, 12), gaps: []Gap{{at(12), at(20), "", 0}}},
		{name: "a segment that was removed", from: 0, to: 12, long: long, want: slices.Concat(every(0, 4), every(8, 12)),
			gaps: []Gap{{at(4), at(8), media.Retention, 0}}, hurt: func(l *library) { l.rows[1].Gone = media.Retention }},
		{name: "a segment that is missing", from: 0, to: 12, long: long, want: slices.Concat(every(0, 4), every(8, 12)),
			gaps: []Gap{{at(4), at(8), media.DiskFailed, 0}}, hurt: func(l *library) { l.gone[l.rows[1].Segment] = os.ErrNotExist },
			reported: []string{"segment 1 record disk"}},
		{name: "a segment cut short", from: 0, to: 12, long: long, want: slices.Concat(every(0, 4), every(8, 12)),
			gaps: []Gap{{at(4), at(8), media.Failed, 0}}, reported: []string{"segment 1 record -3"},
			hurt: func(l *library) { f := l.files[l.rows[1].Segment]; l.files[l.rows[1].Segment] = f[:len(f)-9] }},
		{name: "another segment's file in its place", from: 0, to: 12, long: long, want: slices.Concat(every(0, 4), every(8, 12)),
			gaps: []Gap{{at(4), at(8), media.Failed, 0}}, reported: []string{"segment 1 record -1"},
			hurt: func(l *library) { l.files[l.rows[1].Segment] = l.files[l.rows[0].Segment] }},
		{name: "a record that does not open", from: 3, to: 7, long: long, reported: []string{"segment 1 record 2"},
			want: slices.Concat(every(3, 4), []string{"4.00", "| verification to 5.00"}, every(5, 7)), hurt: func(l *library) { l.spoil(1, 2) }},
		{name: "the first record", from: 0, to: 3, long: long, reported: []string{"segment 0 record 1"},
			want: slices.Concat([]string{"| verification to 1.00"}, every(1, 3)), hurt: func(l *library) { l.spoil(0, 1) }},
		{name: "two records of a GOP", from: 0, to: 3, long: long, reported: []string{"segment 0 record 5"}, // what cannot be decoded is not read
			want: slices.Concat(every(0, 1), []string{"| verification to 2.00"}, every(2, 3)), hurt: func(l *library) { l.spoil(0, 5); l.spoil(0, 7) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := pictures(t)
			if tt.hurt != nil {
				tt.hurt(l)
			}
			plan, got, err := l.watch(at(tt.from), at(tt.to), tt.long)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
			next := media.Ticks(0)
			if tt.next != 0 {
				next = at(tt.next)
			}
			if plan.Next != next || !slices.Equal(plan.Gaps, tt.gaps) {
				t.Errorf("next %.2f, gaps %+v", secs(plan.Next), plan.Gaps)
			}
			if !slices.Equal(l.reported, tt.reported) {
				t.Errorf("reported %q, want %q", l.reported, tt.reported)
			}
			if l.open != 0 {
				t.Errorf("%d files left open", l.open)
			}
		})
	}
}

func TestNoFootage(t *testing.T) {
	l, _ := pictures(t)
	for _, r := range [][2]float64{{20, 30}, {-30, 0}, {5, 5}, {6, 5}, {-3e9, -2e9}} {
		if _, _, err := l.watch(at(r[0]), at(r[1]), second); !errors.Is(err, ErrNoFootage) {
			t.Errorf("%v: %v", r, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.player().Watch(ctx, l.stream, at(0), at(9), second); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// gop is a GOP of a second.
func gop(from media.Ticks) (units []media.Unit) {
	for i := range 5 {
		units = append(units, media.Unit{Track: 1, RandomAccess: i == 0, DTS: from + media.Ticks(i)*18000, Data: []byte{byte(i), 1}})
	}
	return units
}

// TestLiveEdge: what is being written can be seen up to the last record, and
// a segment that enters the ledger in between is seen once.
func TestLiveEdge(t *testing.T) {
	l := newLibrary(t)
	r := l.record(justPictures)
	for s := range 6 {
		if s%2 == 0 {
			r.begin(nil)
		}
		r.add(gop(at(float64(s))))
		switch s {
		case 1:
			r.end(media.CutLength)
		case 3: // closed, and in both places
			r.stay()
			r.end(media.CutLength)
		}
	}
	r.stay()
	want := []string{"0.00", "1.00", "2.00", "3.00", "4.00", "5.00"}
	plan, got, err := l.watch(at(0), at(600), 600*second)
	if err != nil || !slices.Equal(got, want) || plan.End != at(6) {
		t.Fatalf("got %v to %.2f, %v", got, secs(plan.End), err)
	}
	if _, got, err = l.watch(at(5.5), at(600), 600*second); err != nil || !slices.Equal(got, want[5:]) {
		t.Errorf("the last half second: %v, %v", got, err)
	}
	// The plan is older than the commit: the file is then found through the ledger.
	plan = must(l.player().Watch(context.Background(), l.stream, at(0), at(600), 600*second))
	r.add(gop(at(6)))
	r.end(media.CutLength)
	l.young = nil
	n := 0
	if err := plan.Play(context.Background(), func(Piece) error { n++; return nil }); err != nil || n != 6 || len(l.reported) != 0 {
		t.Errorf("%d fragments, %v, reported %q", n, err, l.reported)
	}
	if l.open != 0 {
		t.Errorf("%d files left open", l.open)
	}
}

// TestGaps have the cause that the next segment was told.
func TestGaps(t *testing.T) {
	l := newLibrary(t)
	r := l.record(justPictures)
	for _, x := range []struct {
		at     float64
		before *segment.Gap
	}{{0, nil}, {10, &segment.Gap{Cause: media.CameraLost, Lost: 7}}, {20, nil}, {21, &segment.Gap{Cause: media.CutCodec}}, {22.9, &segment.Gap{Cause: media.Network}}} {
		r.begin(x.before)
		r.add(gop(at(x.at)))
		r.end(media.CutLength)
	}
	plan := must(l.player().Watch(context.Background(), l.stream, at(0), at(23), 600*second))
	want := []Gap{{at(1), at(10), media.CameraLost, 7}, {at(11), at(20), "", 0}} // 0.9 s are none
	if !slices.Equal(plan.Gaps, want) {
		t.Errorf("got %+v, want %+v", plan.Gaps, want)
	}
	// The gap that the range ends in has its cause from what follows.
	plan = must(l.player().Watch(context.Background(), l.stream, at(0), at(5), 600*second))
	if want := []Gap{{at(1), at(5), media.CameraLost, 7}}; !slices.Equal(plan.Gaps, want) {
		t.Errorf("got %+v, want %+v", plan.Gaps, want)
	}
}

// TestGapThatLasts: nothing follows, so how the last segment ended says why.
func TestGapThatLasts(t *testing.T) {
	for _, cause := range []media.Cause{media.Stopped, media.CameraLost, media.CutLength} {
		l := newLibrary(t)
		r := l.record(justPictures)
		r.begin(nil)
		r.add(gop(at(0)))
		r.end(cause)
		plan := must(l.player().Watch(context.Background(), l.stream, at(0), at(9), 600*second))
		want := cause
		if cause == media.CutLength {
			want = ""
		}
		if !slices.Equal(plan.Gaps, []Gap{{at(1), at(9), want, 0}}) {
			t.Errorf("%s: %+v", cause, plan.Gaps)
		}
	}
}

// TestClockSetBack: all there is comes in the order in which it was recorded,
// to a player, to a player that asks piece by piece, and in a file.
func TestClockSetBack(t *testing.T) {
	l := newLibrary(t)
	r := l.record(justPictures)
	for _, starts := range [][]float64{{0, 1, 2}, {3, 4, 5}, {0.5, 1.5, 2.5, 3.5}, {4.5, 5.5, 6.5}, {7.5, 8.5}} {
		r.begin(nil)
		for _, s := range starts {
			r.add(gop(at(s)))
		}
		r.end(media.CutClock)
	}
	l.stored(t) // as a catalogue has them
	_, got, err := l.watch(at(0), at(20), 600*second)
	if want := strings.Fields("0.00 1.00 2.00 3.00 4.00 5.00 0.50 1.50 2.50 3.50 4.50 5.50 6.50 7.50 8.50"); err != nil || !slices.Equal(got, want) {
		t.Errorf("watched %v, %v", got, err)
	}
	got = nil
	for from := at(0); from != 0; {
		plan, some, err := l.watch(from, at(20), 2*second)
		if err != nil || plan.Next != 0 && plan.Next <= from {
			t.Fatalf("from %.2f: %v, next %.2f, %v", secs(from), some, secs(plan.Next), err)
		}
		got, from = append(got, some...), plan.Next
	}
	if want := strings.Fields("0.00 1.00 0.50 1.50 2.00 3.00 2.50 3.50 4.00 5.00 4.50 5.50 6.50 7.50 8.50"); !slices.Equal(got, want) {
		t.Errorf("piece by piece %v", got)
	}
	if _, got, err = l.watch(at(1.5), at(3), 600*second); err != nil || !slices.Equal(got, strings.Fields("1.00 2.00 1.50 2.50")) {
		t.Errorf("from the middle: %v, %v", got, err)
	}
	plan := must(l.player().Collect(context.Background(), l.stream, at(0), at(20), true))
	var b bytes.Buffer
	x := must(plan.Export(context.Background(), &b, nil))
	if want := []fmp4.Jump{{At: 6 * second, From: at(6), To: at(0.5)}}; !reflect.DeepEqual(x.Jumps, want) || plan.samples != 75 {
		t.Errorf("jumps %+v, %d samples", x.Jumps, plan.samples)
	}
}

// TestNoRandomAccess: a segment may begin within a GOP when the one before
// was full; then it goes on, but it is no beginning.
func TestNoRandomAccess(t *testing.T) {
	l := newLibrary(t)
	r := l.record(justPictures)
	r.begin(nil)
	r.add(gop(at(0)))
	r.end(media.CutLength)
	r.begin(nil)
	r.add(gop(at(1))[1:])
	r.add(gop(at(2)))
	r.end(media.CutLength)
	if _, got, err := l.watch(at(0), at(9), 600*second); err != nil || !slices.Equal(got, []string{"0.00", "1.20", "2.00"}) {
		t.Errorf("through: %v, %v", got, err)
	}
	l.rows[0].Gone = media.Deleted
	if _, got, err := l.watch(at(0), at(9), 600*second); err != nil || !slices.Equal(got, []string{"2.00"}) {
		t.Errorf("without its beginning: %v, %v", got, err)
	}
}

// TestPlayEnds when its reader does.
func TestPlayEnds(t *testing.T) {
	l, _ := pictures(t)
	plan := must(l.player().Watch(context.Background(), l.stream, at(0), at(12), 600*second))
	n := 0
	if err := plan.Play(context.Background(), func(Piece) error { n++; return os.ErrClosed }); err != os.ErrClosed || n != 1 {
		t.Errorf("%d pieces, %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := plan.Play(ctx, func(Piece) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if l.open != 0 || len(l.reported) != 0 {
		t.Errorf("%d files open, reported %q", l.open, l.reported)
	}
}

// TestPlayed has ffmpeg decode what a player gets.
func TestPlayed(t *testing.T) {
	needFFmpeg(t)
	f := load(t, films[3].make(t))
	l := newLibrary(t)
	r := l.record(f.tracks)
	r.begin(nil)
	r.play(f, dawn, func(n int) bool { return n%3 == 0 })
	r.end(media.Shutdown)
	plan := must(l.player().Watch(context.Background(), l.stream, at(5), at(15), 600*second))
	all := slices.Clone(plan.Init)
	if err := plan.Play(context.Background(), func(p Piece) error { all = append(all, p.Fragment...); return nil }); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "play.mp4")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	ffmpeg(t, "-i", name, "-f", "null", "-")
	want := 0
	for _, u := range f.units {
		if u.Track == 1 && u.DTS >= plan.Start-dawn && u.DTS < 15*second {
			want++
		}
	}
	if got := packets(t, name, 0); len(got) < want || len(got) > want+4 { // whole fragments
		t.Errorf("%d pictures, want %d", len(got), want)
	}
}
