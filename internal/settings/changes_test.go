package settings

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

var bob = actor.Actor{Kind: actor.Person, Name: "bob"}

// do makes a change and returns its version.
func (b *bench) do(fn func(d *Doc)) int64 {
	b.t.Helper()
	_, now, err := b.s.Change(amy, func(d *Doc) error { fn(d); return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	return now.Version
}

func (b *bench) undo(version int64) Change {
	b.t.Helper()
	c, err := b.s.Undo(bob, version)
	if err != nil {
		b.t.Fatalf("undo %d: %v", version, err)
	}
	return c
}

// refused returns why an undo is refused.
func (b *bench) refused(version int64) *UndoError {
	b.t.Helper()
	before := b.s.Get()
	_, err := b.s.Undo(bob, version)
	var no *UndoError
	if !errors.As(err, &no) || b.s.Get() != before {
		b.t.Fatalf("undo %d: %v", version, err)
	}
	return no
}

func TestUndoField(t *testing.T) {
	b := newBench(t)
	v := b.do(func(d *Doc) { d.Storage.RetentionDays, d.TimeZone = 45, "UTC" })
	b.do(func(d *Doc) { d.Storage.QuotaBytes = 7 }) // of another's, it stays
	b.log.take()
	c := b.undo(v)
	d := b.s.Get()
	if d.Storage.RetentionDays != 30 || d.TimeZone != "Asia/Taipei" || d.Storage.QuotaBytes != 7 || c.Version != 3 || c.Undoes != v || c.By.Name != "bob" {
		t.Errorf("%+v, %+v", d, c)
	}
	if r := b.log.recs; len(r) != 1 || r[0].Actor.Name != "bob" || r[0].Detail["undoes"] != "1" || r[0].Detail["/storage/retentionDays"] != "45 -> 30" {
		t.Errorf("recorded %+v", r)
	}
	if no := b.refused(v); no.Code != UndoNothing {
		t.Errorf("twice: %+v", no)
	}
	list, more := b.s.Changes(0, 10)
	if more || len(list) != 3 || list[2].UndoneBy != 3 || list[0].UndoneBy != 0 {
		t.Errorf("%+v", list)
	}
	if e := list[2].Edits; len(e) != 2 || e[0].Field != "/storage/retentionDays" || fmt.Sprint(e[0].From) != "30" || fmt.Sprint(e[0].To) != "45" {
		t.Errorf("%+v", e)
	}
	redo := b.undo(c.Version)
	if d := b.s.Get(); d.Storage.RetentionDays != 45 || d.TimeZone != "UTC" {
		t.Errorf("redone: %+v", d)
	}
	if list, _ := b.s.Changes(0, 10); list[1].UndoneBy != redo.Version || list[3].UndoneBy != 0 {
		t.Errorf("after the redo the first stands again: %+v", list)
	}
	b.do(func(d *Doc) { d.Storage.RetentionDays = 60 })
	if no := b.refused(v); no.Code != UndoChanged || no.Edit.Field != "/storage/retentionDays" || fmt.Sprint(no.Now) != "60" {
		t.Errorf("%+v", no)
	}
	if _, err := b.s.Undo(bob, 99); !errors.Is(err, ErrNoChange) {
		t.Errorf("unknown: %v", err)
	}
}

// A camera comes back as it was, password, ids and all; who brings it back has
// armed it.
func TestUndoRemove(t *testing.T) {
	b := newBench(t)
	c := camera("Door")
	days := 7
	c.RetentionDays, c.Link, c.Pin, c.Streams[0].URL = &days, wire.LinkPin, bytes.Repeat([]byte{7}, 32), "rtsps://192.0.2.1/Door"
	b.add(c)
	want := *b.s.Get().Camera(c.ID)
	v := b.do(func(d *Doc) { d.Camera(c.ID).Remove("amy", time.Unix(2e9, 0)) })
	b.open() // it is on the disk
	b.log.take()
	again := b.undo(v)
	got := *b.s.Get().Camera(c.ID)
	if got.Recording.By != "bob" || !got.Recording.On || got.Password.Reveal() != "cam-Secret-1" {
		t.Errorf("%+v", got)
	}
	got.Recording, got.Added = want.Recording, want.Added // another zone of the same instant
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if s := fmt.Sprint(b.log.take()); s != "[camera.restore Door ok recording.on Door ok]" {
		t.Error(s)
	}
	b.undo(again.Version)
	if !b.s.Get().Camera(c.ID).Gone() {
		t.Error("redone, and it is still there")
	}
	b.do(func(d *Doc) { d.Cameras = nil }) // its last footage went
	if no := b.refused(b.s.Get().Version); no.Code != UndoForgotten || no.Edit.Name != "Door" {
		t.Errorf("%+v", no)
	}
	b.undo(v)
	if x := b.s.Get().Camera(c.ID); x == nil || x.Gone() || x.Password.IsZero() {
		t.Errorf("forgotten and brought back: %+v", x)
	}
	b.do(func(d *Doc) { d.Camera(c.ID).Remove("amy", time.Unix(2e9, 0)) })
	b.add(camera("door")) // has its name now
	if no := b.refused(v); no.Code != UndoRefused || !strings.Contains(no.Mistakes.Error(), "name-used") {
		t.Errorf("%+v", no)
	}
}

func TestUndoAdd(t *testing.T) {
	b := newBench(t)
	c := camera("Door")
	b.add(c)
	v := b.s.Get().Version
	b.undo(v)
	if x := b.s.Get().Camera(c.ID); !x.Gone() || !x.Password.IsZero() {
		t.Errorf("%+v", x)
	}
	if no := b.refused(v); no.Code != UndoNothing {
		t.Errorf("%+v", no)
	}
}

func TestUndoCamera(t *testing.T) {
	b := newBench(t)
	c := camera("Door")
	b.add(c)
	v := b.do(func(d *Doc) {
		x := d.Camera(c.ID)
		x.Name, x.Password, x.Recording = "Gate", wire.NewSecret("cam-Secret-2"), Recording{By: "amy", Since: time.Unix(2e9, 0)}
		x.Streams = append(x.Streams, Stream{media.StreamID(media.NewID[struct{}]()), Second, "rtsp://192.0.2.1/sub?token=abc123", false})
	})
	list, _ := b.s.Changes(0, 1)
	if s := fmt.Sprintf("%+v %v", list, b.s.changes.Changes); strings.Contains(s, "cam-Secret") || strings.Contains(s, "abc123") || !strings.Contains(s, "rtsp://192.0.2.1/sub") {
		t.Errorf("told: %s", s)
	}
	b.undo(v)
	x := b.s.Get().Camera(c.ID)
	if x.Name != "Door" || x.Password.Reveal() != "cam-Secret-1" || len(x.Streams) != 1 || !x.Recording.On || x.Recording.By != "bob" {
		t.Errorf("%+v", x)
	}
	v = b.do(func(d *Doc) { d.Camera(c.ID).Name = "Yard" })
	b.do(func(d *Doc) { d.Camera(c.ID).Remove("amy", time.Unix(2e9, 0)) })
	if no := b.refused(v); no.Code != UndoRemoved || no.Edit.Name != "Yard" {
		t.Errorf("%+v", no)
	}
}

// An undo is no way to have the kept password sent to another machine.
//
//vigil:clause 5.2.4.1
func TestUndoGivesNoPasswordAway(t *testing.T) {
	for name, fn := range map[string]func(*Camera){
		"host":  func(c *Camera) { c.Streams[0].URL = "rtsp://192.0.2.66/Door" },
		"user":  func(c *Camera) { c.User = "other" },
		"basic": func(c *Camera) { c.BasicAuth = true },
	} {
		b := newBench(t)
		c := camera("Door")
		b.add(c)
		v := b.do(func(d *Doc) { d.Camera(c.ID).Password = wire.Secret{} })
		b.do(func(d *Doc) { fn(d.Camera(c.ID)) })
		if no := b.refused(v); no.Code != UndoReach || no.Edit.Name != "Door" {
			t.Errorf("%s: %+v", name, no)
		}
		b.undo(v + 1)
		b.undo(v)
		if b.s.Get().Camera(c.ID).Password.Reveal() != "cam-Secret-1" {
			t.Errorf("%s: back at the old place it is not there", name)
		}
	}
}

// Old passwords are kept for a week, and what does not open a camera for as long as there is room.
//
//vigil:clause 5.2.4.1
func TestForget(t *testing.T) {
	b := newBench(t)
	now := time.Unix(1e9, 0)
	b.s.now = func() time.Time { return now }
	c := camera("Door")
	b.add(c)
	pass := b.do(func(d *Doc) { d.Camera(c.ID).Password = wire.NewSecret("cam-Secret-2") })
	token := b.do(func(d *Doc) { d.Camera(c.ID).Streams[0].URL += "?token=abc123" })
	days := b.do(func(d *Doc) { d.Storage.RetentionDays = 45 })
	gone := b.do(func(d *Doc) { d.Camera(c.ID).Remove("amy", now) })
	now = now.Add(KeepSecrets)
	if err := b.s.Forget(); err != nil {
		t.Fatal(err)
	}
	if s := rawHistory(b); !strings.Contains(s, "cam-Secret-2") {
		t.Error("forgotten too early")
	}
	now = now.Add(time.Second)
	if err := b.s.Forget(); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.s.now = func() time.Time { return now }
	if s := rawHistory(b); strings.Contains(s, "cam-Secret") || strings.Contains(s, "abc123") || !strings.Contains(s, "45") {
		t.Errorf("kept: %s", s)
	}
	for _, v := range []int64{gone} {
		if no := b.refused(v); no.Code != UndoLost || no.Edit.Name != "Door" {
			t.Errorf("%d: %+v", v, no)
		}
	}
	list, _ := b.s.Changes(0, 10)
	for _, x := range list {
		if want := x.Version == pass || x.Version == token || x.Version == gone; x.Lost != want {
			t.Errorf("%+v", x)
		}
	}
	b.undo(days)
	if b.s.Get().Storage.RetentionDays != 30 {
		t.Error("days")
	}
	writes := b.mem
	writes.Inject(durable.Rule{Fault: durable.Refused, Err: unix.EIO})
	if err := b.s.Forget(); err != nil {
		t.Errorf("nothing to forget, and it was written: %v", err)
	}
}

// A removal is final at once where somebody says so: nothing remembers what opened the camera,
// not the older changes either. What it was of other cameras stays.
//
//vigil:clause 5.2.4.1
func TestForgetNow(t *testing.T) {
	b := newBench(t)
	c, other := camera("Door"), camera("Yard")
	b.add(c)
	b.add(other)
	b.do(func(d *Doc) { d.Camera(c.ID).Password = wire.NewSecret("cam-Secret-2") })
	kept := b.do(func(d *Doc) { d.Camera(other.ID).Password = wire.NewSecret("yard-Secret-3") })
	days := b.do(func(d *Doc) { d.Storage.RetentionDays = 45 })
	gone := b.do(func(d *Doc) { d.Camera(c.ID).Remove("amy", time.Unix(1e9, 0)) })
	if _, err := b.s.ForgetNow(amy, 99); !errors.Is(err, ErrNoChange) {
		t.Error(err)
	}
	for _, v := range []int64{days, gone} {
		list, _ := b.s.Changes(v+1, 1)
		if list[0].Secrets != (v == gone) {
			t.Errorf("%+v", list[0])
		}
	}
	if x, err := b.s.ForgetNow(amy, days); err != nil || x.Version != days || !strings.Contains(rawHistory(b), "cam-Secret-2") {
		t.Errorf("%+v, %v", x, err)
	}
	b.log.take()
	b.mem.Inject(durable.Rule{Fault: durable.Refused, Err: unix.EIO})
	if _, err := b.s.ForgetNow(amy, gone); !errors.Is(err, unix.EIO) || !strings.Contains(rawHistory(b), "cam-Secret-2") {
		t.Errorf("the disk refused: %v", err)
	}
	b.mem.Heal()
	for range 2 { // the second time there is nothing to forget or to record
		if x, err := b.s.ForgetNow(amy, gone); err != nil || x.Version != gone || !x.Lost || x.Secrets {
			t.Errorf("%+v, %v", x, err)
		}
	}
	if r := b.log.recs[len(b.log.recs)-1]; r.Actor != amy || r.Camera != c.ID || r.Detail["change"] != fmt.Sprint(gone) {
		t.Errorf("recorded %+v", r)
	}
	if got, want := b.log.take(), []string{"settings.forget Door ok", "settings.forget Door failed", "settings.forget Door ok"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	b.open()
	if s := rawHistory(b); strings.Contains(s, "cam-Secret-2") || strings.Contains(s, "192.0.2.1/Door") || !strings.Contains(s, "yard-Secret-3") {
		t.Errorf("kept: %s", s)
	}
	if no := b.refused(gone); no.Code != UndoLost {
		t.Errorf("%+v", no)
	}
	b.undo(kept)
}

func rawHistory(b *bench) string {
	var s strings.Builder
	for _, e := range b.s.changes.Changes {
		for _, x := range e.Edits {
			fmt.Fprintf(&s, "%d %s %s %s\n", e.Version, x.Field, x.From, x.To)
		}
	}
	return s.String()
}

func TestChangesAreBounded(t *testing.T) {
	b := newBench(t)
	h := history{}
	for i := range MaxChanges + 5 {
		h = h.with(entry{Version: int64(i + 1), Edits: []edit{{Field: "/x", From: raw("a"), To: raw("b")}}})
	}
	if len(h.Changes) != MaxChanges || h.Changes[0].Version != 6 {
		t.Errorf("%d changes from %d", len(h.Changes), h.Changes[0].Version)
	}
	big := raw(strings.Repeat("x", maxHistory/10))
	for i := range 20 {
		h = h.with(entry{Version: int64(2000 + i), Edits: []edit{{Field: "/x", To: big}}})
	}
	if len(h.Changes) != 9 || h.Changes[8].Version != 2019 {
		t.Errorf("%d changes", len(h.Changes))
	}
	b.s.changes = h
	first, more := b.s.Changes(0, 5)
	rest, end := b.s.Changes(first[4].Version, 5)
	if !more || end || len(first) != 5 || len(rest) != 4 || rest[0].Version != 2014 {
		t.Errorf("%d, %v, %d, %v", len(first), more, len(rest), end)
	}
	// One change that is too large for its values is remembered without them.
	e := entry{Version: 3000, Edits: []edit{{Field: "/x", To: raw(strings.Repeat("x", maxChange))}}}
	if _, err := b.s.remember(e); err != nil {
		t.Fatal(err)
	}
	if list, _ := b.s.Changes(0, 1); !list[0].Lost {
		t.Errorf("%+v", list)
	}
}

// The changes on the disk and the settings on the disk are of one piece, whatever
// step fails.
func TestRememberFails(t *testing.T) {
	for _, fault := range []durable.Fault{durable.Refused, durable.AppliedThenError, durable.CrashBefore, durable.CrashAfter} {
		for step := 0; ; step++ {
			b := newBench(t)
			b.do(func(d *Doc) { d.Storage.RetentionDays = 45 })
			b.mem.Inject(durable.Rule{Skip: step, Fault: fault, Err: unix.EIO})
			_, _, err := b.s.Change(amy, func(d *Doc) error { d.Storage.RetentionDays = 99; return nil })
			if list, _ := b.s.Changes(0, 9); err != nil && (len(list) != 1 || b.s.Get().Version != 1) {
				t.Fatalf("fault %d, step %d: %+v", fault, step, list)
			}
			reached := b.mem.Hits() > 0
			b.mem.Restart()
			b.open()
			d := b.s.Get()
			list, _ := b.s.Changes(0, 9)
			if int64(len(list)) != d.Version || b.s.Anew() != nil {
				t.Fatalf("fault %d, step %d: version %d, %d changes, %v", fault, step, d.Version, len(list), b.s.Anew())
			}
			b.undo(d.Version)
			if got, want := b.s.Get().Storage.RetentionDays, map[int64]int{1: 30, 2: 45}[d.Version]; got != want {
				t.Fatalf("fault %d, step %d: %d days, want %d", fault, step, got, want)
			}
			if !reached {
				break
			}
		}
	}
}

// Without the history, or with a damaged one, the settings are there all the same.
func TestChangesBeginAnew(t *testing.T) {
	b := newBench(t)
	b.do(func(d *Doc) { d.Storage.RetentionDays = 45 })
	rubbish := []byte("VIGILDOC\x01rubbish that is long enough to look like a document")
	durable.WriteFile(b.mem, "settings.doc.changes", rubbish)
	b.open()
	if list, _ := b.s.Changes(0, 9); len(list) != 0 || b.s.Anew() == nil || b.s.Get().Storage.RetentionDays != 45 {
		t.Errorf("%v, %v", list, b.s.Anew())
	}
	if kept, err := durable.ReadFile(b.mem, b.s.Anew().File, 1000); !bytes.Equal(kept, rubbish) {
		t.Errorf("%v: %q, %v", b.s.Anew(), kept, err)
	}
	v := b.do(func(d *Doc) { d.Storage.RetentionDays = 46 })
	b.open()
	b.undo(v)
	if b.s.Anew() != nil {
		t.Error(b.s.Anew())
	}
}

// Whatever two documents there are, the edits between them lead back.
func TestUndoIsTheInverse(t *testing.T) {
	b := newBench(t)
	one, two := camera("One"), camera("Two")
	b.add(one)
	days := 3
	docs := []func(d *Doc){
		func(d *Doc) { d.Language, d.Storage.LowSpaceDays = text.English, 5 },
		func(d *Doc) { d.Cameras = append(d.Cameras, two) },
		func(d *Doc) { d.Camera(two.ID).RetentionDays = &days },
		func(d *Doc) { c := d.Camera(two.ID); c.Streams[0].Recorded, c.Audio = true, true },
		func(d *Doc) {
			c := d.Camera(two.ID)
			c.Link, c.Pin, c.Streams[0].URL = wire.LinkPin, bytes.Repeat([]byte{1}, 32), "rtsps://192.0.2.9/two"
		},
		func(d *Doc) { d.Camera(two.ID).RetentionDays = nil },
	}
	var before []*Doc
	for _, fn := range docs {
		before = append(before, b.s.Get())
		b.do(fn)
	}
	for i := len(docs) - 1; i >= 2; i-- {
		b.undo(before[i].Version + 1)
		got, want := b.s.Get().Camera(two.ID), before[i].Camera(two.ID)
		if !bytes.Equal(raw(got.tree()), raw(want.tree())) {
			t.Errorf("%d:\n got %s\nwant %s", i, raw(got.tree()), raw(want.tree()))
		}
	}
}
