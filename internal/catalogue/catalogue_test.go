package catalogue

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/seal"
)

func newLedger(t testing.TB) *ledger.Ledger {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ledger.Folder{FS: durable.NewMem(), Dir: "ledger", Name: "system"}, nil, ledger.Signer{ECDSA: ec, Ed25519: ed}, seal.NewKey(), "vigil.example/catalogue")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// add appends leaves made by metadata.
func add(t testing.TB, l *ledger.Ledger, metas ...any) {
	t.Helper()
	var leaves []ledger.Leaf
	for _, m := range metas {
		switch m := m.(type) {
		case ledger.SegmentMeta:
			leaf, err := m.Leaf()
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leaf)
		case ledger.TombstoneMeta:
			leaves = append(leaves, m.Leaf())
		case ledger.HoldMeta:
			leaves = append(leaves, m.Leaf())
		case ledger.Leaf:
			leaves = append(leaves, m)
		}
	}
	if _, err := l.Append(context.Background(), leaves); err != nil {
		t.Fatal(err)
	}
}

func newCatalogue(t testing.TB, opts Options) (*Catalogue, string, seal.Key) {
	t.Helper()
	path, key := filepath.Join(t.TempDir(), "catalogue #1%"), seal.NewKey()
	c, err := Open(path, key, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, path, key
}

func catchUp(t testing.TB, c *Catalogue, l Source) {
	t.Helper()
	if err := c.CatchUp(context.Background(), l); err != nil {
		t.Fatal(err)
	}
}

const t0 = int64(1790000000e9)

var (
	cam = media.CameraID{7}
	str = media.StreamID{8}
)

// seg is a segment of str: n is its id, start and length are in seconds.
func seg(n byte, start, length int64) ledger.SegmentMeta {
	at := t0 + start*1e9
	return ledger.SegmentMeta{Segment: media.SegmentID{n, n}, Stream: str, Camera: cam, Start: at, End: at + length*1e9, Bytes: 1000 * length,
		First: media.TicksOf(time.Unix(0, at)), Last: media.TicksOf(time.Unix(0, at+length*1e9)), EndCause: media.CutLength}
}

func tomb(m ledger.SegmentMeta, why media.Cause) ledger.TombstoneMeta {
	return ledger.TombstoneMeta{Segment: m.Segment, Stream: m.Stream, Camera: m.Camera, Start: m.Start, End: m.End, Bytes: m.Bytes, At: m.End, Why: why, By: "system retention"}
}

func ids(t testing.TB, c *Catalogue, from, to int64) (s string) {
	t.Helper()
	if err := c.Segments(str, t0+from*1e9, t0+to*1e9, func(g Segment) bool {
		s += fmt.Sprint(g.Segment[0], " ")
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSegmentsAndTimeline(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	lost := seg(3, 130, 60)
	lost.Before = &ledger.Gap{Cause: media.CameraLost, From: t0 + 120e9, Lost: 250}
	unknown := seg(4, 300, 60)
	unknown.Before = &ledger.Gap{Cause: media.Crash}
	back := seg(6, 330, 60) // the clock was stepped back: overlaps 4 and 5
	back.Before = &ledger.Gap{Cause: media.CutClock, From: t0 + 330e9}
	add(t, l, seg(1, 0, 60), seg(2, 60, 60), lost)
	add(t, l, unknown, seg(5, 360, 60), back, seg(2, 60, 60)) // 2 again: counts once
	catchUp(t, c, l)

	for _, x := range []struct {
		from, to int64
		want     string
	}{{0, 1000, "1 2 3 4 6 5 "}, {60, 130, "2 "}, {59, 131, "1 2 3 "}, {125, 126, ""}, {350, 351, "4 6 "}, {-100, 0, ""}, {420, 500, ""}} {
		if got := ids(t, c, x.from, x.to); got != x.want {
			t.Errorf("segments %d to %d: %q, want %q", x.from, x.to, got, x.want)
		}
	}
	sec := func(list ...int64) (out []Range) {
		for i := 0; i < len(list); i += 2 {
			out = append(out, Range{t0 + list[i]*1e9, t0 + list[i+1]*1e9})
		}
		return out
	}
	tl, err := c.Timeline(str, t0, t0+1000e9, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if want := sec(0, 120, 130, 190, 300, 420); !reflect.DeepEqual(tl.Ranges, want) {
		t.Errorf("ranges %v, want %v", tl.Ranges, want)
	}
	want := []Gap{{t0 + 120e9, t0 + 130e9, media.CameraLost, 250, 0}, {t0 + 190e9, t0 + 300e9, media.Crash, 0, 0}, {t0 + 330e9, t0 + 330e9, media.CutClock, 0, 0}}
	if !reflect.DeepEqual(tl.Gaps, want) {
		t.Errorf("gaps %+v, want %+v", tl.Gaps, want)
	}
	// A coarse resolution joins ranges, but not over a gap with a cause.
	if tl, err = c.Timeline(str, t0, t0+1000e9, time.Hour); err != nil || !reflect.DeepEqual(tl.Ranges, sec(0, 120, 130, 190, 300, 420)) {
		t.Errorf("ranges %v, %v", tl.Ranges, err)
	}
	if tl, err = c.Timeline(str, t0+125e9, t0+126e9, time.Second); err != nil || tl.Ranges != nil || len(tl.Gaps) != 1 || tl.Gaps[0].From != t0+125e9 || tl.Gaps[0].To != t0+126e9 {
		t.Errorf("inside a gap: %+v, %v", tl, err)
	}
	if tl, err = c.Timeline(media.StreamID{99}, t0, t0+1e9, time.Second); err != nil || tl.Ranges != nil {
		t.Errorf("unknown stream: %+v, %v", tl, err)
	}

	g, ok, err := c.Find(media.SegmentID{3, 3})
	if err != nil || !ok || g.Leaf != 2 || g.Camera != cam || g.Stream != str || g.Bytes != 60000 || g.First != lost.First || g.Last != lost.Last || g.EndCause != media.CutLength {
		t.Errorf("%+v, %v, %v", g, ok, err)
	}
	if _, ok, err := c.Find(media.SegmentID{3, 4}); ok || err != nil {
		t.Errorf("found what is not there: %v", err)
	}
	totals, err := c.Totals()
	if want := []Total{{str, cam, 6, 360000, 360e9, t0, t0 + 420e9}}; err != nil || !reflect.DeepEqual(totals, want) {
		t.Errorf("totals %+v, %v", totals, err)
	}
}

// TestGapAfterTheEnd has a segment that does not know what came before it, as
// the first after a start: how the one before ended is the cause.
func TestGapAfterTheEnd(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	killed, full := seg(1, 0, 30), seg(2, 40, 60)
	killed.EndCause, killed.Recovered = media.Crash, true
	add(t, l, killed, full, seg(3, 105, 60))
	catchUp(t, c, l)
	tl, err := c.Timeline(str, t0, t0+1000e9, time.Second)
	if want := []Gap{{From: t0 + 30e9, To: t0 + 40e9, Cause: media.Crash}}; err != nil || !reflect.DeepEqual(tl.Gaps, want) {
		t.Errorf("gaps %+v, %v; want %+v", tl.Gaps, err, want)
	}
}

func TestRemoval(t *testing.T) {
	l := newLedger(t)
	c, path, key := newCatalogue(t, Options{})
	var all []any
	for n := range byte(10) {
		all = append(all, seg(n+1, int64(n)*60, 60))
	}
	add(t, l, all...)
	catchUp(t, c, l)
	old, err := c.Oldest(3, func(g Segment) bool { return g.Segment[0] == 2 })
	if err != nil || len(old) != 3 || old[0].Segment[0] != 1 || old[1].Segment[0] != 3 || old[2].Segment[0] != 4 {
		t.Errorf("oldest: %v, %v", old, err)
	}
	add(t, l, tomb(seg(1, 0, 60), media.Retention), tomb(seg(2, 60, 60), media.Retention))
	catchUp(t, c, l)
	add(t, l, tomb(seg(3, 120, 60), media.Retention), tomb(seg(4, 180, 60), media.Deleted), tomb(seg(4, 180, 60), media.Deleted))
	catchUp(t, c, l)
	tl, err := c.Timeline(str, t0, t0+600e9, time.Second)
	want := []Gap{{t0, t0 + 180e9, media.Retention, 0, 3}, {t0 + 180e9, t0 + 240e9, media.Deleted, 0, 1}}
	if err != nil || !reflect.DeepEqual(tl.Gaps, want) || !reflect.DeepEqual(tl.Ranges, []Range{{t0 + 240e9, t0 + 600e9}}) {
		t.Errorf("%+v, %v", tl, err)
	}
	d, err := c.Density(str, t0-86400e9, t0+86400e9, 48*time.Hour)
	if err != nil || len(d) == 0 {
		t.Fatal(err)
	}
	var sum Bucket
	for _, b := range d {
		sum.Recorded, sum.Bytes, sum.Segments = sum.Recorded+b.Recorded, sum.Bytes+b.Bytes, sum.Segments+b.Segments
	}
	if sum.Recorded != 360e9 || sum.Segments != 6 || sum.Bytes < 359990 || sum.Bytes > 360000 {
		t.Errorf("density %+v", sum)
	}
	if err := c.Check(context.Background(), l, t.TempDir()); err != nil {
		t.Error(err)
	}
	// A row that is not from the ledger is found.
	c.Close()
	raw, err := Open(path, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.w.exec(`UPDATE segments SET bytes = bytes + 1 WHERE leaf = 7`); err != nil {
		t.Fatal(err)
	}
	var diff Difference
	if err := raw.Check(context.Background(), l, t.TempDir()); !errors.As(err, &diff) || diff.Table != "segments" {
		t.Errorf("check: %v", err)
	}
}

func TestHolds(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	a := ledger.HoldMeta{Hold: [16]byte{1}, At: 5, Camera: cam, From: 10, To: 20, By: "person amy", Reason: "case 7"}
	mark := ledger.HoldMeta{Hold: [16]byte{2}, At: 6, Camera: media.CameraID{9}, From: 5, To: 5, By: "person bo", Reason: "看這裡"}
	add(t, l, a, mark)
	a.To = 30
	add(t, l, a)
	catchUp(t, c, l)
	list, err := c.Holds(media.CameraID{})
	if err != nil || len(list) != 2 || list[0].Reason != "看這裡" || list[1] != (Hold{a.Hold, cam, 10, 30, 5, "person amy", "case 7"}) {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = c.Holds(cam); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	a.Released = true
	add(t, l, a)
	catchUp(t, c, l)
	if list, err = c.Holds(cam); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestDays: days are those of a place, with its clock changes.
func TestDays(t *testing.T) {
	taipei, err := time.LoadLocation("Asia/Taipei")
	if err != nil {
		t.Skip(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	begin := time.Date(2026, 10, 24, 0, 0, 0, 0, berlin) // the 25th has 25 hours
	var all []any
	for i := range 4 * 24 {
		m := seg(byte(i+1), 0, 0)
		m.Start = begin.UnixNano() + int64(i)*3600e9
		m.End = m.Start + 3600e9
		all = append(all, m)
	}
	add(t, l, all...)
	catchUp(t, c, l)
	for _, x := range []struct {
		in   *time.Location
		want []int64 // hours
	}{{berlin, []int64{24, 25, 24, 23}}, {taipei, []int64{18, 24, 24, 24, 6}}, {time.UTC, []int64{2, 24, 24, 24, 22}}} {
		days, err := c.Days(str, begin.UnixNano(), begin.AddDate(0, 0, 6).UnixNano(), x.in)
		var got []int64
		for _, d := range days {
			got = append(got, d.Recorded/3600e9)
			if y, m, day := time.Unix(0, d.From).In(x.in).Date(); !time.Date(y, m, day, 0, 0, 0, 0, x.in).Equal(time.Unix(0, d.From)) {
				t.Errorf("%v: a day begins at %v", x.in, time.Unix(0, d.From).In(x.in))
			}
		}
		if err != nil || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%v: %v, want %v (%v)", x.in, got, x.want, err)
		}
	}
	o, err := c.Outline(str, begin.UnixNano(), begin.AddDate(0, 0, 30).UnixNano(), 1000)
	if err != nil || !reflect.DeepEqual(o.Ranges, []Range{{begin.UnixNano(), begin.UnixNano() + 96*3600e9}}) {
		t.Errorf("coarse: %v, %v", o.Ranges, err)
	}
}

// TestOutline: a month with a gap of a week whose ends are known to the second, a
// short one that only the density shows, and what retention took.
func TestOutline(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	const hour, week = int64(3600), int64(7 * 86400)
	base := floor(t0, slot) * slot
	off := (base - t0) / 1e9 // seconds from t0 to a quarter of an hour
	var all []any
	for i := range 48 * hour / 60 {
		if i == 100 { // a minute is missing
			continue
		}
		all = append(all, seg(byte(i)%250+1, off+i*60, 60))
	}
	after := seg(251, off+48*hour+week+77, 60)
	after.Before = &ledger.Gap{Cause: media.CameraLost, From: base + 48*hour*1e9, Lost: 9}
	add(t, l, append(all, after)...)
	for i := range 4 * hour / 60 { // the first four hours go, one after the other
		if i != 100 {
			add(t, l, tomb(seg(byte(i)%250+1, off+i*60, 60), media.Retention))
		}
	}
	catchUp(t, c, l)
	at := func(s int64) int64 { return base + s*1e9 }
	o, err := c.Outline(str, at(-hour), at(-hour)+30*86400e9, 1440)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Range{{at(4 * hour), at(48 * hour)}, {at(48*hour + week + 77), at(48*hour + week + 137)}}; !reflect.DeepEqual(o.Ranges, want) {
		t.Errorf("ranges %v, want %v", o.Ranges, want)
	}
	if want := []Gap{{at(0), at(100 * 60), media.Retention, 0, 100}, {at(101 * 60), at(4 * hour), media.Retention, 0, 139}, {at(48 * hour), at(48*hour + week + 77), media.CameraLost, 9, 0}}; !reflect.DeepEqual(o.Gaps, want) {
		t.Errorf("gaps %v, want %v", o.Gaps, want)
	}
	if o.Cell != 2*slot || len(o.Recorded) > 1441 || o.From > at(-hour) || o.From+o.Cell*int64(len(o.Recorded)) < at(-hour)+30*86400e9 {
		t.Errorf("cells of %d from %d: %d", o.Cell, o.From, len(o.Recorded))
	}
	var sum int64
	for _, n := range o.Recorded {
		sum += n
	}
	if want := 44*hour*1e9 + 60e9; sum != want {
		t.Errorf("recorded %d, want %d", sum, want)
	}
	if o, err = c.Outline(media.StreamID{99}, at(0), at(30*86400), 100); err != nil || o.Ranges != nil || len(o.Recorded) > 101 {
		t.Errorf("unknown stream: %v, %v", o, err)
	}
}

// What was removed over years is not read for one day of it, and an old stretch
// that reaches into the day is found.
func TestRemovedBackwards(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	long := seg(1, -500, 100000) // reaches over all that follows it
	var all, gone []any
	for i := range int64(before - 1) {
		s := seg(byte(i+2), i*60, 10) // a hole after each
		all, gone = append(all, s), append(gone, tomb(s, media.Retention))
	}
	add(t, l, append([]any{long}, all...)...)
	add(t, l, append([]any{tomb(long, media.Deleted)}, gone...)...)
	catchUp(t, c, l)
	tl, err := c.Timeline(str, t0+50000e9, t0+50010e9, time.Second)
	if want := []Gap{{t0 + 50000e9, t0 + 50010e9, media.Deleted, 0, 1}}; err != nil || !reflect.DeepEqual(tl.Gaps, want) {
		t.Errorf("%+v, %v", tl.Gaps, err)
	}
}

// TestBatches: where transactions end does not matter.
func TestBatches(t *testing.T) {
	src := synth{streams: 5, segments: 3000, tombstones: 1200}
	one, _, _ := newCatalogue(t, Options{})
	catchUp(t, one, src)
	many, _, _ := newCatalogue(t, Options{Batch: 7, Bulk: 1})
	catchUp(t, many, src)
	if err := one.Equal(many); err != nil {
		t.Error(err)
	}
	half, _, _ := newCatalogue(t, Options{})
	catchUp(t, half, upTo{src, 3500})
	if err := one.Equal(half); err == nil {
		t.Error("half is equal to the whole")
	}
	catchUp(t, half, src)
	if err := one.Equal(half); err != nil {
		t.Error(err)
	}
	if err := one.Check(context.Background(), src, t.TempDir()); err != nil {
		t.Error(err)
	}
	totals, err := one.Totals()
	if err != nil || len(totals) != 5 || totals[0].Segments != 360 || totals[0].First != src.meta(1200).Start {
		t.Errorf("%+v, %v", totals, err)
	}
}

// TestDamage: whatever is wrong with the file, it is put aside and made again.
func TestDamage(t *testing.T) {
	src := synth{streams: 3, segments: 3000}
	for name, spoil := range map[string]func(path string, key *seal.Key, src *synth) error{
		"deleted": func(path string, _ *seal.Key, _ *synth) error { return os.Remove(path) },
		"emptied": func(path string, _ *seal.Key, _ *synth) error { return os.Truncate(path, 0) },
		"cut":     func(path string, _ *seal.Key, _ *synth) error { return os.Truncate(path, 20000) },
		"not ours": func(path string, _ *seal.Key, _ *synth) error {
			return os.WriteFile(path, []byte("what is this"), 0o600)
		},
		"wrong key":     func(_ string, key *seal.Key, _ *synth) error { *key = seal.NewKey(); return nil },
		"shorter truth": func(_ string, _ *seal.Key, s *synth) error { s.segments = 1000; return nil },
		"damaged": func(path string, _ *seal.Key, _ *synth) error {
			b, err := os.ReadFile(path)
			for i := 9000; i < len(b); i += 512 {
				b[i] ^= 0x55
			}
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		},
		"a folder": func(path string, _ *seal.Key, _ *synth) error {
			return errors.Join(os.Remove(path), os.MkdirAll(path+"/x", 0o700))
		},
		"a pipe": func(path string, _ *seal.Key, _ *synth) error {
			return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600))
		},
		"a link to itself": func(path string, _ *seal.Key, _ *synth) error {
			return errors.Join(os.Remove(path), os.Symlink(path, path))
		},
		"its log is a folder": func(path string, _ *seal.Key, _ *synth) error {
			return os.MkdirAll(path+"-wal/x", 0o700)
		},
		"not for us": func(path string, _ *seal.Key, _ *synth) error { return os.Chmod(path, 0) }, // nothing to root
		"a folder, and the name aside is taken": func(path string, _ *seal.Key, _ *synth) error {
			return errors.Join(os.Remove(path), os.MkdirAll(path+".aside/x", 0o700), os.MkdirAll(path+"/x", 0o700))
		},
		"first page": func(path string, _ *seal.Key, _ *synth) error {
			b, err := os.ReadFile(path)
			b[20] ^= 1
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		},
	} {
		src := src
		var told error
		c, path, key := newCatalogue(t, Options{})
		catchUp(t, c, src)
		c.Close()
		if err := spoil(path, &key, &src); err != nil {
			t.Fatal(err)
		}
		c, err := Open(path, key, Options{Aside: func(err error) { told = err }})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		more := src
		more.segments += 100
		catchUp(t, c, more)
		fresh, _, _ := newCatalogue(t, Options{})
		catchUp(t, fresh, more)
		if err := c.Equal(fresh); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path + ".aside"); (err == nil) != (told != nil) {
			t.Errorf("%s: told %v, put aside: %v", name, told, err)
		}
		c.Close()
	}
}

// TestDamageWhileOpen: a reader that meets damage has the catalogue made anew.
func TestDamageWhileOpen(t *testing.T) {
	src := synth{streams: 3, segments: 30000}
	told := 0
	c, path, key := newCatalogue(t, Options{})
	catchUp(t, c, src)
	c.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 4; i < len(b); i++ {
		b[i] ^= 0x55
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Open(path, key, Options{Aside: func(error) { told++ }}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	failed := 0
	for n := range src.streams {
		if err := c.Segments(synthStream(n), synthStart, synthStart+30*86400e9, func(Segment) bool { return true }); err != nil {
			failed++
		}
	}
	if failed == 0 || told != 0 {
		t.Fatalf("%d reads failed, told %d times", failed, told)
	}
	catchUp(t, c, src)
	fresh, _, _ := newCatalogue(t, Options{})
	catchUp(t, fresh, src)
	if err := c.Equal(fresh); err != nil || told != 1 {
		t.Errorf("told %d times, %v", told, err)
	}
}

// TestOtherLedger: a catalogue of a history that was replaced is made anew.
func TestOtherLedger(t *testing.T) {
	a, b := newLedger(t), newLedger(t)
	for i := range byte(5) {
		add(t, a, seg(i+1, int64(i)*60, 60))
		add(t, b, seg(i+101, int64(i)*60, 60))
	}
	c, _, _ := newCatalogue(t, Options{})
	catchUp(t, c, a)
	catchUp(t, c, b)
	if got := ids(t, c, 0, 1000); got != "101 102 103 104 105 " {
		t.Error(got)
	}
}

// TestFollow follows while the ledger grows and readers read.
func TestFollow(t *testing.T) {
	l := newLedger(t)
	c, path, _ := newCatalogue(t, Options{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Follow(ctx, l) }()
	for i := range byte(50) {
		add(t, l, seg(i+1, int64(i)*60, 60), ledger.Leaf{Kind: ledger.KeyEvent}, ledger.Leaf{Kind: ledger.Segment, Meta: []byte{9}})
	}
	for {
		at, lost, err := c.Position()
		if err != nil {
			t.Fatal(err)
		}
		if at == l.Size() {
			if lost != 50 {
				t.Errorf("%d leaves lost", lost)
			}
			break
		}
		select {
		case err := <-done:
			t.Fatalf("it follows no more: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	n := 0
	if err := c.Segments(str, t0, t0+86400e9, func(Segment) bool { n++; return true }); err != nil || n != 50 {
		t.Errorf("%d segments, %v", n, err)
	}
	c.Close()
	if _, err := c.Totals(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 16 || string(b[:15]) == "SQLite format 3" {
		t.Errorf("the file is readable: %.16q, %v", b, err)
	}
}

// TestOneState: what one reader asks for is of one state, whatever is added meanwhile.
func TestOneState(t *testing.T) {
	l := newLedger(t)
	c, _, _ := newCatalogue(t, Options{})
	add(t, l, seg(1, 0, 60))
	catchUp(t, c, l)
	if err := c.read(func(r *conn) error {
		before, _, err := r.position()
		if err != nil {
			return err
		}
		add(t, l, seg(2, 60, 60))
		catchUp(t, c, l)
		if after, _, err := r.position(); err != nil || after != before {
			t.Errorf("at %d, then %d: %v", before, after, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if at, _, err := c.Position(); err != nil || at != l.Size() {
		t.Errorf("the next reader is at %d of %d: %v", at, l.Size(), err)
	}
}

// TestRemovedBefore: a gap begins where the segment before it ended that is there, whether it was read in one
// transaction with it or not.
func TestRemovedBefore(t *testing.T) {
	l := newLedger(t)
	at, _, _ := newCatalogue(t, Options{})
	stopped := seg(2, 60, 60)
	stopped.EndCause = media.Stopped
	crashed := seg(3, 300, 60)
	crashed.Before = &ledger.Gap{Cause: media.Crash}
	for _, leaf := range []any{seg(1, 0, 60), stopped, tomb(stopped, media.Retention), crashed, seg(4, 400, 60)} {
		add(t, l, leaf)
		catchUp(t, at, l)
	}
	whole, _, _ := newCatalogue(t, Options{})
	catchUp(t, whole, l)
	if err := whole.Equal(at); err != nil {
		t.Error(err)
	}
	got, err := whole.Timeline(str, t0+60e9, t0+300e9, time.Second)
	if i := slices.IndexFunc(got.Gaps, func(g Gap) bool { return g.Cause == media.Crash }); err != nil || i < 0 || got.Gaps[i].From != t0+60e9 {
		t.Errorf("%v, %v", got.Gaps, err)
	}
}
