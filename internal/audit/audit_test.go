package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	mrand "math/rand/v2"
	"os"
	"path"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

var key = seal.NewKey()

// A desk is a log on a disk in memory, with the anchors that a ledger has.
type desk struct {
	t       testing.TB
	disk    *durable.Mem
	opts    Options
	anchors []Batch
	trouble []error
	*Log
}

func newDesk(t testing.TB) *desk {
	start := time.Date(2026, 9, 22, 12, 0, 0, 1, time.UTC)
	var asked atomic.Int64
	d := &desk{t: t, disk: durable.NewMem()}
	d.opts = Options{
		Now:     func() time.Time { return start.Add(time.Duration(asked.Add(1)) * time.Second) },
		Clock:   func() string { return "synchronised" },
		Trouble: func(err error) { d.trouble = append(d.trouble, err) },
		File:    4000,
	}
	d.open()
	return d
}

func (d *desk) open() {
	d.t.Helper()
	l, err := Open(d.disk, "state/audit", key, d.opts)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Log = l
}

func amy(action Action, object string) Record {
	return Record{Actor: actor.Actor{Kind: actor.Person, Name: "amy", Source: "192.0.2.7", Session: "s1"}, Action: action, Object: object}
}

func (d *desk) record(n int) {
	d.t.Helper()
	for i := range n {
		r := amy(ViewLive, fmt.Sprint("stream ", i))
		if i%3 == 0 {
			r = Record{Actor: actor.Of("recorder", "amy"), Action: SegmentClose, Camera: media.CameraID{byte(i%2 + 1)}, Detail: map[string]string{"bytes": "123"}}
		}
		if i%5 == 0 {
			r.Result, r.Reason = Failed, "disk-full"
		}
		if _, err := d.Record(r); err != nil {
			d.t.Fatal(err)
		}
	}
}

// beat is the store's: flush, then a leaf in the ledger.
func (d *desk) beat() {
	d.t.Helper()
	b, ok, err := d.Flush()
	if err != nil {
		d.t.Fatal(err)
	}
	if ok {
		d.anchors = append(d.anchors, b)
		d.Anchored(b)
	}
}

func (d *desk) leaves() iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for _, a := range d.anchors {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (d *desk) verify() (uint64, []Finding) {
	d.t.Helper()
	good, found, err := d.Verify(context.Background(), d.leaves())
	if err != nil {
		d.t.Fatal(err)
	}
	return good, found
}

func (d *desk) all(f Filter) (list []Record) {
	d.t.Helper()
	for pages := 0; ; pages++ {
		page, next, err := d.Read(context.Background(), f)
		if err != nil || pages > 10000 {
			d.t.Fatalf("page %d: %v", pages, err)
		}
		list = append(list, page...)
		if f.Before = next; next == 0 {
			return list
		}
	}
}

// TestReview writes, reads back with filters, newest first, in pages.
//
//vigil:clause 5.2.7.1 5.2.7.2
func TestReview(t *testing.T) {
	d := newDesk(t)
	for range 20 {
		d.record(11)
		d.beat()
	}
	d.record(4) // not yet on disk
	check := func(name string, f Filter, want int) []Record {
		t.Helper()
		list := d.all(f)
		if len(list) != want {
			t.Errorf("%s: %d records, want %d", name, len(list), want)
		}
		for i := 1; i < len(list); i++ {
			if list[i].Seq >= list[i-1].Seq {
				t.Errorf("%s: record %d after %d", name, list[i].Seq, list[i-1].Seq)
			}
		}
		return list
	}
	for _, limit := range []int{1, 7, 100, 5000} {
		check("all", Filter{Limit: limit}, 224)
	}
	list := check("camera", Filter{Camera: media.CameraID{1}, Limit: 10}, 41)
	for _, r := range list {
		if r.Actor.Kind != actor.System || r.Actor.ArmedBy != "amy" || r.At.Location() != time.UTC || r.Clock != "synchronised" || r.At.Nanosecond() != 1 {
			t.Fatalf("%+v", r)
		}
	}
	check("user, also as who armed it", Filter{Name: "amy"}, 224)
	check("user", Filter{Name: "bob"}, 0)
	check("action", Filter{Action: SegmentClose}, 82)
	check("actions", Filter{Action: "segment."}, 82)
	check("actions by their first word", Filter{Action: "segment"}, 82)
	check("result", Filter{Result: Failed}, 61)
	check("object", Filter{Object: "stream 1"}, 21)
	oldest := d.all(Filter{})[223].At
	for range 2 { // the second time from what is known of the files
		check("time", Filter{From: oldest.Add(10 * time.Second), To: oldest.Add(20 * time.Second)}, 10)
	}
	if good, found := d.verify(); good != 220 || len(found) > 0 {
		t.Errorf("%d good, %v", good, found)
	}
	d.beat()
	d.open()
	if got := check("after a restart", Filter{}, 224); got[0].Seq != 224 {
		t.Errorf("newest is %d", got[0].Seq)
	}
	d.record(1)
	d.beat()
	if a := d.anchors[len(d.anchors)-1]; a.Last != 225 {
		t.Errorf("anchored to %d", a.Last)
	}
	if good, found := d.verify(); good != 225 || len(found) > 0 {
		t.Errorf("%d good, %v", good, found)
	}
}

// TestIdentity: the user is never empty, and text cannot forge lines.
//
//vigil:clause 5.2.7.1 5.2.7.2
func TestIdentity(t *testing.T) {
	d := newDesk(t)
	d.Record(Record{Action: SegmentOpen, Actor: actor.Of("recorder", "")})
	d.Record(Record{Action: SignIn, Result: Denied, Actor: actor.Actor{Kind: actor.Nobody, Name: " "}})
	d.Record(Record{})
	d.Record(Record{Actor: actor.Actor{Kind: "god", Name: "eve\nadmin signed in\u202e\x00\xff<b>" + strings.Repeat("好", 500)}, Action: SignIn, Object: "\x1b[2J", Result: "maybe",
		Detail: map[string]string{"a\tb": "c\r\nd"}})
	for _, r := range d.all(Filter{}) {
		if r.Actor.Name == "" || r.Actor.Name == " " || r.Actor.Kind == "" || r.Action == "" || r.Result == "" {
			t.Errorf("%+v", r)
		}
		line := string(r.AppendJSON(nil))
		for _, bad := range []string{"\n", "\r", "\x1b", "\x00", "\u202e", "<"} {
			if strings.Contains(line, bad) {
				t.Errorf("%q in %s", bad, line)
			}
		}
		if len(r.Actor.Name) > maxName {
			t.Errorf("name of %d bytes", len(r.Actor.Name))
		}
		if r.Action == SegmentOpen && r.Actor.ArmedBy == "" {
			t.Errorf("%+v", r)
		}
	}
	if r := d.all(Filter{})[0]; !strings.HasPrefix(r.Actor.Name, `eve\nadmin signed in\u202e\x00`) || r.Actor.Kind != actor.Nobody || r.Object != `\x1b[2J` || r.Detail[`a\tb`] != `c\r\nd` {
		t.Errorf("%+v", r)
	}
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]durable.Fault{"refused": durable.Refused, "applied": durable.AppliedThenError, "before": durable.CrashBefore, "after": durable.CrashAfter} {
		for skip := 0; ; skip++ {
			d := newDesk(t)
			d.record(3)
			d.beat()
			d.disk.Inject(durable.Rule{Skip: skip, Fault: fault, Err: unix.ENOSPC})
			for range 6 {
				d.record(7)
				b, ok, err := d.Flush()
				if err == nil && ok {
					d.anchors = append(d.anchors, b)
					d.Anchored(b)
				}
			}
			hit := d.disk.Hits() > 0
			if !d.disk.Crashed() {
				d.beat()
				if n := len(d.all(Filter{})); n != 45 {
					t.Fatalf("%s %d: %d records", name, skip, n)
				}
				if hit && (len(d.trouble) != 2 || d.trouble[0] == nil || d.trouble[1] != nil) {
					t.Fatalf("%s %d: trouble %v", name, skip, d.trouble)
				}
			}
			last := d.anchors[len(d.anchors)-1].Last
			d.disk.RestartKeeping(mrand.New(mrand.NewPCG(uint64(skip), uint64(fault))))
			d.open()
			good, found := d.verify()
			if good < last || len(found) > 0 {
				t.Fatalf("%s %d: %d good of %d anchored: %v", name, skip, good, last, found)
			}
			d.record(2)
			d.beat()
			if again, found := d.verify(); again != good+2 || len(found) > 0 {
				t.Fatalf("%s %d: %d good, then %d: %v", name, skip, good, again, found)
			}
			if !hit {
				if skip < 12 {
					t.Fatalf("only %d operations", skip)
				}
				break
			}
		}
	}
}

// TestFull: the disk takes nothing, then the queue is full, then it is over.
//
//vigil:clause 5.2.7.1
func TestFull(t *testing.T) {
	d := newDesk(t)
	d.opts.Queue = 10
	d.open()
	d.record(10)
	d.disk.Inject(durable.Rule{Kind: durable.OpWrite, Times: -1, Fault: durable.Refused, Err: unix.ENOSPC})
	for range 5 {
		if _, err := d.Record(amy(SignIn, "")); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	if len(d.trouble) != 1 || d.trouble[0] == nil {
		t.Errorf("trouble: %v", d.trouble)
	}
	d.disk.Heal()
	d.record(20) // a full queue is written by Record itself
	d.beat()
	list := d.all(Filter{Action: LogLost})
	if len(list) != 1 || list[0].Detail["records"] != "5" {
		t.Errorf("lost: %v", list)
	}
	if n := len(d.all(Filter{})); n != 31 {
		t.Errorf("%d records", n)
	}
	if good, found := d.verify(); good != 31 || len(found) > 0 {
		t.Errorf("%d good, %v", good, found)
	}
}

// TestHang: while somebody writes to a hung disk nobody else waits.
func TestHang(t *testing.T) {
	d := newDesk(t)
	d.opts.Queue = 5
	d.open()
	d.record(5)
	d.disk.Inject(durable.Rule{Kind: durable.OpWrite, Fault: durable.Hang})
	done := make(chan error)
	go func() { _, _, err := d.Flush(); done <- err }()
	for d.disk.Hits() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := d.Record(amy(SignIn, "")); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	d.disk.Heal()
	if err := <-done; err != nil {
		t.Error(err)
	}
	d.record(1)
}

// TestTampering does to the files what a person with the disk can do.
//
//vigil:clause 5.2.7.1
func TestTampering(t *testing.T) {
	names := func(d *desk) (list []string) {
		all, err := files(d.disk, "state/audit")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range all {
			list = append(list, path.Join("state/audit", fileName(n)))
		}
		return list
	}
	edit := func(d *desk, name string, fn func([]byte) []byte) {
		b, err := durable.ReadFile(d.disk, name, 1<<30)
		if err == nil {
			err = durable.WriteFile(d.disk, name, fn(append([]byte(nil), b...)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func(d *desk, f []string)
		want Trouble
	}{
		"byte in the first file": {func(d *desk, f []string) { edit(d, f[0], func(b []byte) []byte { b[200] ^= 1; return b }) }, Altered},
		"byte in the last file":  {func(d *desk, f []string) { edit(d, f[len(f)-1], func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) }, Truncated},
		"head of a file":         {func(d *desk, f []string) { edit(d, f[1], func(b []byte) []byte { b[30] ^= 1; return b }) }, Altered},
		"end cut":                {func(d *desk, f []string) { edit(d, f[len(f)-1], func(b []byte) []byte { return b[:len(b)-5] }) }, Truncated},
		"middle cut":             {func(d *desk, f []string) { edit(d, f[1], func(b []byte) []byte { return b[:len(b)-5] }) }, Missing},
		"last file removed":      {func(d *desk, f []string) { d.disk.Remove(f[len(f)-1]) }, Truncated},
		"middle file removed":    {func(d *desk, f []string) { d.disk.Remove(f[1]) }, Missing},
		"first file removed":     {func(d *desk, f []string) { d.disk.Remove(f[0]) }, Missing},
		"all removed": {func(d *desk, f []string) {
			for _, n := range f {
				d.disk.Remove(n)
			}
		}, Truncated},
		"files swapped": {func(d *desk, f []string) {
			d.disk.Rename(f[0], "x")
			d.disk.Rename(f[1], f[0])
			d.disk.Rename("x", f[1])
		}, Altered},
		"written anew with the key": {func(d *desk, f []string) {
			for _, n := range f {
				d.disk.Remove(n)
			}
			forged := &desk{t: t, disk: d.disk, opts: d.opts}
			forged.open()
			for range 12 {
				forged.record(11)
				forged.beat()
			}
		}, Altered},
	} {
		for _, restart := range []bool{false, true} {
			d := newDesk(t)
			for range 12 {
				d.record(11)
				d.beat()
			}
			f := names(d)
			if len(f) < 3 {
				t.Fatal("too few files")
			}
			c.do(d, f)
			if restart {
				d.open()
			}
			_, found := d.verify()
			ok := false
			for _, x := range found {
				ok = ok || x.Trouble == c.want
			}
			if !ok {
				t.Errorf("%s (restart %v): %v, want %s", name, restart, found, c.want)
			}
			d.record(1)
			if _, _, err := d.Flush(); err != nil {
				t.Errorf("%s: it does not go on: %v", name, err)
			}
		}
	}
}

// TestNewer refuses the log of a newer Vigil and leaves all of it as it is, also
// what it would put aside otherwise.
func TestNewer(t *testing.T) {
	d := newDesk(t)
	for range 12 {
		d.record(11)
		d.beat()
	}
	list, err := files(d.disk, "state/audit")
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(first uint64, at int, to byte) string {
		name := path.Join("state/audit", fileName(first))
		b, err := durable.ReadFile(d.disk, name, maxFile)
		if err != nil {
			t.Fatal(err)
		}
		b[at] = to
		durable.WriteFile(d.disk, name, b)
		return name
	}
	spoil(list[len(list)-1], 3, 'x')
	name := spoil(list[len(list)-2], 9, 2)
	before, _ := d.disk.ReadDir("state/audit")
	if _, err := Open(d.disk, "state/audit", key, d.opts); !errors.Is(err, durable.ErrNewer) || !strings.Contains(err.Error(), name) {
		t.Errorf("open: %v", err)
	}
	after, _ := d.disk.ReadDir("state/audit")
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("refused, but made %v of %v", after, before)
	}
	spoil(list[len(list)-2], 9, 1)
	d.open()
}

// TestResume opens a log whose end is gone: that is told at once, the numbers go
// on behind what the ledger has, and nothing else is found wrong later.
//
//vigil:clause 5.2.7.1
func TestResume(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(d *desk, files []string)
		gone bool
	}{
		"nothing":           {func(*desk, []string) {}, false},
		"last file removed": {func(d *desk, f []string) { d.disk.Remove(f[len(f)-1]) }, true},
		"all removed": {func(d *desk, f []string) {
			for _, n := range f {
				d.disk.Remove(n)
			}
		}, true},
		"last file garbage": {func(d *desk, f []string) { durable.WriteFile(d.disk, f[len(f)-1], make([]byte, 3000)) }, true},
	} {
		d := newDesk(t)
		for range 12 {
			d.record(11)
			d.beat()
		}
		newest := d.anchors[len(d.anchors)-1]
		list, err := files(d.disk, "state/audit")
		if err != nil || len(list) < 3 {
			t.Fatal(list, err)
		}
		var full []string
		for _, n := range list {
			full = append(full, path.Join("state/audit", fileName(n)))
		}
		c.do(d, full)
		d.open()
		d.record(1) // before the ledger was open
		gone, ok := d.Resume(newest)
		if ok == c.gone || c.gone && gone.Last != newest.Last {
			t.Errorf("%s: %v, %v", name, gone, ok)
		}
		d.record(1)
		d.beat()
		if b := d.anchors[len(d.anchors)-1]; b.First != newest.Last+1 || b.Last != newest.Last+2 {
			t.Errorf("%s: it goes on with %d to %d after %d", name, b.First, b.Last, newest.Last)
		}
		_, found := d.verify()
		if len(found) > 0 != c.gone {
			t.Errorf("%s: %v", name, found)
		}
		for _, f := range found {
			if f.Last > newest.Last {
				t.Errorf("%s: new records are found wrong: %v", name, f)
			}
		}
	}
}

// TestPrune: the oldest files go when the log has its size, which is recorded.
//
//vigil:clause 5.2.7.1
func TestPrune(t *testing.T) {
	d := newDesk(t)
	d.opts.Total = 20000
	d.open()
	for range 60 {
		d.record(11)
		d.beat()
	}
	used, capacity, waiting := d.Usage()
	if used > capacity+2*d.opts.File || waiting != 0 {
		t.Errorf("%d of %d bytes, %d waiting", used, capacity, waiting)
	}
	if len(d.all(Filter{Action: LogPrune})) == 0 {
		t.Error("nothing pruned")
	}
	for range 2 {
		if _, found := d.verify(); len(found) > 0 {
			t.Error(found)
		}
		d.open()
	}
	list, err := files(d.disk, "state/audit")
	if err != nil || list[0] == 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := d.disk.Remove("state/audit/" + fileName(list[0])); err != nil {
		t.Fatal(err)
	}
	if _, found := d.verify(); len(found) == 0 {
		t.Error("a file more was removed, and not found")
	}
}

func TestGolden(t *testing.T) {
	r := Record{At: time.Date(2026, 9, 22, 12, 0, 0, 120, time.FixedZone("CST", 8*3600)), Seq: 7, Clock: "synchronised", Actor: actor.Of("recorder", "amy"), Action: SegmentClose,
		Object: "0123456789abcdefghijklmno0", Camera: media.CameraID{1, 2}, Result: Failed, Reason: "disk-full", Detail: map[string]string{"bytes": "123", "名": "前門"}}.cleaned()
	json := r.AppendJSON(nil)
	head := chain{}.next(json)
	got := string(json) + "\n" + hex.EncodeToString(head[:]) + "\n" + hex.EncodeToString(appendFileHead(nil, 7, head)) + "\n"
	if os.Getenv("UPDATE") != "" {
		os.MkdirAll("testdata", 0o755)
		os.WriteFile("testdata/record.txt", []byte(got), 0o644)
	}
	want, err := os.ReadFile("testdata/record.txt")
	if err != nil || string(want) != got {
		t.Errorf("got\n%swant\n%s%v", got, want, err)
	}
	back, err := ParseRecord(json)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%+v, %v", back, err)
	}
	// A file of the day the format was made still opens.
	k, _ := seal.KeyFrom([]byte("a key for the golden file, 32 b."))
	if os.Getenv("UPDATE") != "" {
		disk := durable.NewMem()
		l, err := Open(disk, "a", k, Options{Now: func() time.Time { return time.Unix(1790000000, 5) }})
		if err != nil {
			t.Fatal(err)
		}
		l.Record(amy(SignIn, "web"))
		l.Record(amy(SignOut, "web"))
		l.Flush()
		b, _ := durable.ReadFile(disk, "a/"+fileName(1), 1<<20)
		os.WriteFile("testdata/golden.vaud", b, 0o644)
	}
	b, err := os.ReadFile("testdata/golden.vaud")
	if err != nil {
		t.Fatal(err)
	}
	disk := durable.NewMem()
	if err := errors.Join(durable.MkdirAll(disk, "a"), durable.WriteFile(disk, "a/"+fileName(1), b)); err != nil {
		t.Fatal(err)
	}
	l, err := Open(disk, "a", k, Options{})
	if err != nil {
		t.Fatal(err)
	}
	page, _, err := l.Read(context.Background(), Filter{})
	if err != nil || len(page) != 2 || page[1].Action != SignIn || page[1].Actor.Name != "amy" || page[1].At.UnixNano() != 1790000000000000005 {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err := disk.Stat("a/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(amy(SignIn, "web").cleaned().AppendJSON(nil))
	f.Add([]byte(`{"seq":1,"at":"2026-09-22T12:00:00.000000001Z","kind":"person","name":"a","action":"b","result":"ok","detail":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRecord(b); err == nil && string(r.AppendJSON(nil)) != string(b) {
			t.Errorf("parse, then append: %s, want %s", r.AppendJSON(nil), b)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("eve\nadmin\u202e\xff", 10)
	f.Fuzz(func(t *testing.T, s string, n int) {
		r := Record{Actor: actor.Actor{Kind: actor.Kind(s), Name: s}, Action: Action(s), Object: s, Reason: s, Detail: map[string]string{s: s}}.cleaned()
		if back, err := ParseRecord(r.AppendJSON(nil)); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%+v becomes %+v, %v", r, back, err)
		}
	})
}

func FuzzFile(f *testing.F) {
	good, err := os.ReadFile("testdata/golden.vaud")
	if err != nil {
		f.Fatal(err)
	}
	k, _ := seal.KeyFrom([]byte("a key for the golden file, 32 b."))
	f.Add(70, byte(1), 3)
	f.Fuzz(func(t *testing.T, at int, xor byte, cut int) {
		b := append([]byte(nil), good...)
		if at >= 0 && at < len(b) {
			b[at] ^= xor
		}
		if cut >= 0 && cut < len(b) {
			b = b[:len(b)-cut]
		}
		walk(b, k, 1, func(f frame) error {
			if f.first != 1 || f.count != 2 {
				t.Errorf("frame of %d records from %d", f.count, f.first)
			}
			return nil
		})
	})
}

func BenchmarkRecordAndFlush(b *testing.B) {
	l, err := Open(durable.OS{}, b.TempDir()+"/audit", key, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for range 100 {
			if _, err := l.Record(amy(SegmentClose, "0123456789abcdefghijklmno0")); err != nil {
				b.Fatal(err)
			}
		}
		if _, _, err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}
