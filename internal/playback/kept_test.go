package playback

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// A counter is where jobs are kept over restarts.
type counter struct {
	*library
	t    *testing.T
	file document.File
}

func newCounter(t *testing.T, l *library) *counter {
	return &counter{l, t, document.File{FS: durable.NewMem(), Name: "exports", Key: seal.NewKey(), Kind: "exports", Version: 1}}
}

func (c *counter) open() *Jobs {
	c.t.Helper()
	d := NewJobs(c.player(), func(Job) {})
	if err := d.Keep(c.file, func(err error) { c.t.Error(err) }); err != nil {
		c.t.Fatal(err)
	}
	return d
}

func (c *counter) ask(d *Jobs, to float64) Job {
	c.t.Helper()
	return must(d.Start(context.Background(), amy, media.CameraID{1}, c.stream, at(0), at(to), true))
}

// all makes what waits, one after the other.
func (c *counter) all(d *Jobs) {
	for {
		x, ctx, cancel := d.next(context.Background())
		if x == nil {
			return
		}
		d.make(ctx, x)
		cancel()
		d.save()
	}
}

// inParts is footage that makes an export of three files.
func inParts(t testing.TB) *library {
	l := newLibrary(t)
	larger := slices.Clone(justPictures)
	larger[0].Width++
	for s, tracks := range [][]media.Track{justPictures, justPictures, larger, justPictures} {
		r := l.record(tracks)
		r.begin(nil)
		r.add(gop(at(float64(s))))
		r.end(media.CutCodec)
	}
	return l
}

// A further file that was removed stays away after a restart; those of two equal orders, placed
// at different times, are two, and each goes when its own time comes.
func TestFurtherFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, inParts(t))
		d := c.open()
		first := c.ask(d, 4)
		c.all(d)
		time.Sleep(23 * time.Hour)
		second := c.ask(d, 4)
		c.all(d)
		if n := len(d.List()); n != 6 {
			t.Fatalf("%d files", n)
		}
		for range 2 {
			d = c.open()
			c.all(d)
			if n := len(d.List()); n != 6 {
				t.Fatalf("%d files after a restart", n)
			}
		}
		for x := must(d.Get(first.ID)).Next; x != (JobID{}); {
			next := must(d.Get(x)).Next
			if err := d.Remove(x); err != nil {
				t.Fatal(err)
			}
			x = next
		}
		d = c.open()
		c.all(d)
		if n := len(d.List()); n != 4 {
			t.Errorf("%d files: what was removed is back", n)
		}
		time.Sleep(2 * time.Hour)
		if n := len(d.List()); n != 3 {
			t.Errorf("%d files", n)
		}
		if _, err := d.Get(must(d.Get(second.ID)).Next); err != nil {
			t.Error(err)
		}
	})
}

// An order of very many files waits until some of them are fetched, and says so.
func TestHeld(t *testing.T) {
	l := newLibrary(t)
	larger := slices.Clone(justPictures)
	larger[0].Width++
	for s := range 2 * maxAhead {
		r := l.record([][]media.Track{justPictures, larger}[s%2])
		r.begin(nil)
		r.add(gop(at(float64(s))))
		r.end(media.CutCodec)
	}
	c := newCounter(t, l)
	d := c.open()
	var told []int // parts that were said to be held
	d.watch = func(x Job) {
		if x.Held {
			told = append(told, x.Part)
		}
	}
	c.ask(d, 2*maxAhead)
	for done := maxAhead; done < maxAhead+3; done++ {
		c.all(d)
		list := d.List()
		if len(list) != done+1 || !list[0].Held || list[0].State != Waiting || list[0].Part != done+1 || !must(d.Get(list[0].ID)).Held {
			t.Fatalf("%d files done: %d in the list, the last %+v", done, len(list), list[0])
		}
		for _, x := range list[1:] {
			if x.Held || x.State != Done {
				t.Errorf("part %d: %+v", x.Part, x)
			}
		}
		if want := done - maxAhead + 1; len(told) != want || told[want-1] != done+1 {
			t.Errorf("told of parts %d", told)
		}
		f, _, err := d.Open(context.Background(), list[1].ID)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if must(d.Get(list[0].ID)).Held {
			t.Error("still held after one is fetched")
		}
	}

	// After a restart the same: what was fetched makes room. What is made again is not held, whatever was fetched.
	c.all(d)
	had := d.List()[0].Part
	d = c.open()
	for {
		for _, x := range d.List() {
			if x.Held && x.Part != had {
				t.Errorf("part %d is said to be held", x.Part)
			}
		}
		x, ctx, cancel := d.next(context.Background())
		if x == nil {
			break
		}
		d.make(ctx, x)
		cancel()
	}
	list := d.List()
	i := slices.IndexFunc(list, func(x Job) bool { return x.Held })
	if len(list) != had || i < 0 {
		t.Fatalf("after a restart %d files, %d before; held: %d", len(list), had, i)
	}
	held := list[i]
	for _, x := range list {
		if x.State != Done || x.Part >= maxAhead { // those were fetched before
			continue
		}
		f, _, err := d.Open(context.Background(), x.ID)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		break
	}
	if must(d.Get(held.ID)).Held {
		t.Error("what was fetched before the restart counts as not fetched")
	}

	// What expires makes room too, and whoever makes files hears of it.
	d = c.open()
	c.all(d)
	for len(d.wake) > 0 {
		<-d.wake
	}
	d.now = func() time.Time { return time.Now().Add(keepJobs + time.Minute) }
	if d.List(); len(d.wake) == 0 {
		t.Error("nobody is woken when files expire")
	}
}

// After a restart what was done makes room and waits behind what is asked for now, as before it;
// expired orders take no place from others.
func TestKeptMakeRoom(t *testing.T) {
	l, _ := pictures(t)
	c := newCounter(t, l)
	var list []order
	for i := range 2 * maxJobs {
		o := order{ID: media.NewID[jobTag](), Stream: l.stream, From: at(0), To: at(20), Part: 1, By: amy, Expires: time.Now().Add(time.Hour), Done: true}
		if i < 2*maxJobs-maxMine {
			o.Expires = time.Now().Add(-time.Hour)
		}
		list = append(list, o)
	}
	if err := c.file.Save(list); err != nil {
		t.Fatal(err)
	}
	d := c.open()
	if n := len(d.List()); n != maxMine {
		t.Fatalf("%d are kept", n)
	}
	now := c.ask(d, 10)
	if x, _, cancel := d.next(context.Background()); x.ID != now.ID {
		t.Error("it waits for what was done long ago")
	} else {
		cancel()
	}
}

// The end of Run stops what is being made. It is an order still, whatever is written
// meanwhile; what was removed while it was made is none, even if Run ends at that moment.
func TestStoppedIsKept(t *testing.T) {
	l, _ := pictures(t)
	for _, removed := range []bool{false, true} {
		c := newCounter(t, l)
		d := c.open()
		runs, other := c.ask(d, 30), c.ask(d, 20)
		ctx, cancel := context.WithCancel(context.Background())
		d.watch = func(x Job) {
			if x.ID != runs.ID || x.State != Running || ctx.Err() != nil {
				return
			}
			if removed {
				if err := d.Remove(x.ID); err != nil {
					t.Error(err)
				}
			}
			cancel()
		}
		if err := d.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if !removed {
			if err := d.Remove(other.ID); err != nil { // a request that was under way
				t.Fatal(err)
			}
		}
		if _, err := c.open().Get(runs.ID); (err == nil) == removed {
			t.Errorf("removed %v: %v", removed, err)
		}
	}
}

// What expires while it is made again can be cancelled, as long as it is made.
func TestExpiresWhileRunning(t *testing.T) {
	l, _ := pictures(t)
	c := newCounter(t, l)
	now := time.Now()
	o := order{ID: media.NewID[jobTag](), Stream: l.stream, From: at(0), To: at(20), Part: 1, By: amy, Expires: now.Add(time.Minute), Done: true}
	if err := c.file.Save([]order{o}); err != nil {
		t.Fatal(err)
	}
	d := c.open()
	d.now = func() time.Time { return now }
	x, ctx, cancel := d.next(context.Background())
	defer cancel()
	now = now.Add(time.Hour)
	if err := d.Remove(o.ID); err != nil || ctx.Err() == nil {
		t.Error(err, ctx.Err())
	}
	d.make(ctx, x)
	if n := len(d.List()); n != 0 {
		t.Errorf("%d in the list", n)
	}
}

// An export that reaches beyond what is stored ends where that ended: what is stored later does
// not make another file of it, over a restart neither.
func TestEndIsKept(t *testing.T) {
	l := newLibrary(t)
	r := l.record(justPictures)
	r.begin(nil)
	r.add(gop(at(0)))
	r.stay()
	c := newCounter(t, l)
	d := c.open()
	x := c.ask(d, 60)
	c.all(d)
	first := must(d.Get(x.ID))
	whole := c.read(d, x.ID)
	l.young = nil
	r.add(gop(at(1)))
	r.end(media.CutLength)
	r.begin(nil)
	r.add(gop(at(2)))
	r.end(media.CutLength)
	for range 2 { // what was made again is kept as what was made
		d = c.open()
		c.all(d)
		again := must(d.Get(x.ID))
		if again.State != Done || again.SHA256 != first.SHA256 || !slices.Equal(again.Gaps, first.Gaps) || again.Until != first.Until {
			t.Errorf("%+v\nwas %+v", again, first)
		} else if !bytes.Equal(c.read(d, x.ID), whole) {
			t.Error("the bytes are others")
		}
	}
	if n := must(d.Get(c.asked(d, 60))).Size; n <= first.Size {
		t.Errorf("what is asked for now has %d bytes", n)
	}
}

// An export whose footage was removed meanwhile says so; no other file stands under its name. The
// next restart tries again: a disk may be back.
func TestRemovedFootage(t *testing.T) {
	for _, restart := range []bool{false, true} {
		c := newCounter(t, inParts(t))
		d := c.open()
		x := c.asked(d, 2)
		first := must(d.Get(x))
		rows := slices.Clone(c.rows)
		c.rows = c.rows[1:]
		if restart {
			d = c.open()
			c.all(d)
			if x := must(d.Get(x)); x.State != Failed || !errors.Is(x.Err, ErrChanged) {
				t.Errorf("made again: %+v", x)
			}
		}
		if _, _, err := d.Open(context.Background(), x); !errors.Is(err, ErrChanged) {
			t.Errorf("open: %v", err)
		}
		if x := must(d.Get(x)); x.State != Failed || !errors.Is(x.Err, ErrChanged) {
			t.Errorf("opened: %+v", x)
		}
		d.save()
		c.rows = rows
		d = c.open()
		c.all(d)
		if again := must(d.Get(x)); again.State != Done || again.SHA256 != first.SHA256 {
			t.Errorf("back: %+v", again)
		}
	}
}

// While it is made again nothing of it is given out: it may turn out to be another.
func TestComparedFirst(t *testing.T) {
	c := newCounter(t, inParts(t))
	d := c.open()
	x := c.asked(d, 2)
	d = c.open()
	running := 0
	d.watch = func(j Job) {
		if j.State == Running {
			running++
			if _, _, err := d.Open(context.Background(), x); !errors.Is(err, ErrNotReady) {
				t.Errorf("open: %v", err)
			}
		}
	}
	c.all(d)
	if running == 0 {
		t.Error("it was not made")
	}
}

func (c *counter) asked(d *Jobs, to float64) JobID {
	id := c.ask(d, to).ID
	c.all(d)
	return id
}

func (c *counter) read(d *Jobs, id JobID) []byte {
	f, _, err := d.Open(context.Background(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	return must(io.ReadAll(f))
}
