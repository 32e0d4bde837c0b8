package alert

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/text"
)

// A logger keeps records.
type logger struct{ list []string }

func (l *logger) Record(r audit.Record) (uint64, error) {
	l.list = append(l.list, fmt.Sprintf("%s %s %s %s", r.Actor.Name, r.Action, r.Detail["kind"], r.Object))
	return uint64(len(l.list)), nil
}

type desk struct {
	t    testing.TB
	disk *durable.Mem
	key  seal.Key
	log  *logger
	at   time.Time
	*Board
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, disk: durable.NewMem(), key: seal.NewKey(), log: &logger{}, at: time.Date(2026, 9, 22, 8, 0, 0, 5, time.UTC)}
	if err := durable.MkdirAll(d.disk, "state"); err != nil {
		t.Fatal(err)
	}
	d.open()
	return d
}

func (d *desk) open() {
	d.t.Helper()
	b, err := Open(d.disk, "state/alerts", d.key, d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	b.now = func() time.Time { d.at = d.at.Add(time.Second); return d.at }
	d.Board = b
}

func (d *desk) kinds(all bool) (s string) {
	for _, a := range d.List(all) {
		s += fmt.Sprintf("%s:%s:%d ", a.Kind, a.Object, a.Count)
	}
	return s
}

var amy = actor.Actor{Kind: actor.Person, Name: "amy"}

// TestBoard raises once, counts, stays over a restart, clears.
//
//vigil:clause 5.2.7.1 5.2.8.1
func TestBoard(t *testing.T) {
	d := newDesk(t)
	cam := media.CameraID{1}
	d.Raise(Condition{Kind: SpaceLow, Object: "/disk/a", Args: map[string]string{"free": "1 GB"}})
	d.Raise(Condition{Kind: SpaceLow, Object: "/disk/a", Args: map[string]string{"free": "900 MB"}})
	d.Raise(Condition{Kind: CameraLost, Object: cam.String()})
	d.Raise(Condition{Kind: FileTampered, Object: "x", Args: map[string]string{"camera": cam.String()}})
	d.Clear(SpaceLow, "/disk/b") // not there
	want := "file-tampered:x:1 camera-lost:" + cam.String() + ":1 space-low:/disk/a:2 "
	if got := d.kinds(false); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	list := d.List(false)
	if list[0].Camera != cam || list[1].Camera != cam || !list[0].Alarm() || list[2].Alarm() || list[2].Args["free"] != "900 MB" || !list[2].Last.After(list[2].Since) {
		t.Errorf("%+v", list)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	d.disk.Restart()
	d.open()
	if got := d.List(false); !reflect.DeepEqual(got, list) {
		t.Errorf("after a restart %+v, want %+v", got, list)
	}
	d.Raise(Condition{Kind: SpaceLow, Object: "/disk/a"}) // still the same condition
	seen, err := d.Acknowledge(amy, list[2].ID)
	if err != nil || seen.By != "amy" || seen.Acknowledged.IsZero() || !seen.Lasts() {
		t.Errorf("%+v, %v", seen, err)
	}
	if again, err := d.Acknowledge(actor.Actor{Kind: actor.Person, Name: "bo"}, list[2].ID); err != nil || again.By != "amy" {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := d.Acknowledge(amy, "nothing"); err == nil {
		t.Error("acknowledged nothing")
	}
	d.Clear(SpaceLow, "/disk/a")
	d.Clear(SpaceLow, "/disk/a")
	d.Clear(CameraLost, cam.String())
	if got, want := d.kinds(false), "file-tampered:x:1 camera-lost:"+cam.String()+":1 "; got != want { // over, and seen by nobody
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := d.Acknowledge(amy, list[1].ID); err != nil {
		t.Error(err)
	}
	if got := d.kinds(false); got != "file-tampered:x:1 " {
		t.Error(got)
	}
	if got := len(d.List(true)); got != 3 {
		t.Errorf("%d alerts in all", got)
	}
	d.Raise(Condition{Kind: SpaceLow, Object: "/disk/a"}) // anew
	if a, ok := d.Get(list[2].ID); !ok || a.Lasts() {
		t.Errorf("%+v", a)
	}
	wantLog := []string{
		"alert alert.raise space-low /disk/a", "alert alert.raise camera-lost " + cam.String(), "alert alert.raise file-tampered x",
		"amy alert.acknowledge space-low /disk/a", "alert alert.clear space-low /disk/a", "alert alert.clear camera-lost " + cam.String(),
		"amy alert.acknowledge camera-lost " + cam.String(), "alert alert.raise space-low /disk/a",
	}
	if !reflect.DeepEqual(d.log.list, wantLog) {
		t.Errorf("records\n%q, want\n%q", d.log.list, wantLog)
	}
}

func TestBounds(t *testing.T) {
	d := newDesk(t)
	for i := range maxOpen + 10 {
		d.Raise(Condition{Kind: FileDamaged, Object: fmt.Sprint(i)})
	}
	if n := len(d.List(true)); n != maxOpen || d.dropped != 10 {
		t.Errorf("%d open, %d dropped", n, d.dropped)
	}
	for i := range maxOpen {
		d.Clear(FileDamaged, fmt.Sprint(i))
	}
	if n := len(d.List(true)); n != maxHistory {
		t.Errorf("%d kept", n)
	}
	long := make([]byte, 5000)
	d.Raise(Condition{Kind: DiskTrouble, Object: string(long), Args: map[string]string{"a": string(long)}})
	d.Clear(DiskTrouble, string(long))
	if a := d.List(true)[0]; a.Kind != DiskTrouble || a.Lasts() || len(a.Object) > maxText || len(a.Args["a"]) > maxText {
		t.Errorf("%d, %d bytes", len(a.Object), len(a.Args["a"]))
	}
}

// TestRun saves by itself, also when the disk refuses for a while.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		d.disk.Inject(durable.Rule{Kind: durable.OpSync, Times: 2, Fault: durable.Refused, Err: unix.EIO})
		d.Raise(Condition{Kind: ClockFree})
		time.Sleep(20 * time.Second)
		d.disk.Restart() // a power cut
		again, err := Open(d.disk, "state/alerts", d.key, d.log)
		if err != nil || len(again.List(false)) != 1 {
			t.Errorf("%v, %v", again, err)
		}
		d.Clear(ClockFree, "")
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if again, err = Open(d.disk, "state/alerts", d.key, d.log); err != nil || again.List(false)[0].Lasts() {
			t.Errorf("%v, %v", again, err)
		}
	})
}

func TestWatch(t *testing.T) {
	d := newDesk(t)
	slow, _ := d.Watch()
	quick, stop := d.Watch()
	for i := range 100 {
		d.Raise(Condition{Kind: FileDamaged, Object: fmt.Sprint(i)})
		if a := <-quick; a.Object != fmt.Sprint(i) {
			t.Fatalf("%+v", a)
		}
	}
	d.Raise(Condition{Kind: FileDamaged, Object: "1"}) // the same: nothing new to show
	stop()
	stop()
	if a, ok := <-quick; ok {
		t.Errorf("%+v", a)
	}
	n := 0
	for range slow {
		n++
	}
	if n != watchQueue {
		t.Errorf("the slow one got %d", n)
	}
}

// TestDamagedFile: whatever is in the place of the file, it is put aside and the
// board begins anew, which it says.
func TestDamagedFile(t *testing.T) {
	for name, spoil := range map[string]func(*durable.Mem) error{
		"garbage": func(m *durable.Mem) error { return durable.WriteFile(m, "state/alerts", []byte("what is this")) },
		"a folder": func(m *durable.Mem) error {
			return errors.Join(m.Remove("state/alerts"), durable.MkdirAll(m, "state/alerts/x"))
		},
		"a file of somebody else's": func(m *durable.Mem) error {
			m.Inject(durable.Rule{Kind: durable.OpOpen, Name: "state/alerts", Err: unix.EACCES})
			return nil
		},
		"a pipe": func(m *durable.Mem) error {
			m.Inject(durable.Rule{Kind: durable.OpOpen, Name: "state/alerts", Err: durable.ErrSpecial})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.Raise(Condition{Kind: ClockFree})
			if err := d.Save(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(d.disk); err != nil {
				t.Fatal(err)
			}
			d.open()
			if list := d.List(true); len(list) != 1 || list[0].Kind != BoardAnew {
				t.Errorf("%v, want that the list was lost and nothing else", list)
			}
			if _, err := d.disk.Stat("state/alerts.damaged"); err != nil {
				t.Error(err)
			}
			if err := d.Save(); err != nil {
				t.Error(err)
			}
			d.open()
			if list := d.List(true); len(list) != 1 {
				t.Errorf("after another start: %v", list)
			}
		})
	}
}

// TestKeptAtOnce: a board without alerts has a file too, so that one that is gone is missed.
func TestKeptAtOnce(t *testing.T) {
	d := newDesk(t)
	d.disk.Restart()
	if _, err := d.disk.Stat("state/alerts"); err != nil {
		t.Error(err)
	}
}

// A name of a file is text for a person's terminal, and no more.
func TestNothingThatDoesNotPrint(t *testing.T) {
	d := newDesk(t)
	d.Raise(Condition{Kind: FileUnknown, Object: "a\x1b[31m", Args: map[string]string{"file": "b\nc\u202e"}})
	a := d.List(true)[0]
	if a.Object != `a\x1b[31m` || a.Args["file"] != `b\nc\u202e` {
		t.Errorf("%+v", a)
	}
	if d.Clear(FileUnknown, "a\x1b[31m"); d.List(true)[0].Lasts() {
		t.Error("not cleared")
	}
}

// TestTexts: every kind has its texts in both languages, and a meaning.
func TestTexts(t *testing.T) {
	for kind := range meanings {
		for _, lang := range text.Langs {
			for _, key := range []string{"alert." + string(kind), "alert." + string(kind) + ".detail"} {
				if got := text.Get(lang, key, nil); got == key || got == text.Get(lang, "unknown", map[string]string{"code": key}) {
					t.Errorf("%s lacks %s", lang, key)
				}
			}
		}
	}
}
