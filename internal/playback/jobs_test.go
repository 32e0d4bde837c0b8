package playback

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"vigil/internal/actor"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// A desk runs jobs and collects what is said of them.
type desk struct {
	*Jobs
	said chan Job
	stop func()
}

func newDesk(t *testing.T, p *Player) *desk {
	d := &desk{said: make(chan Job, 1000)}
	d.Jobs = NewJobs(p, func(j Job) { d.said <- j })
	return d
}

func (d *desk) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	d.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { cancel() })
}

// until waits for a job to be in a state.
func (d *desk) until(id JobID, s State) Job {
	for {
		if j := <-d.said; j.ID == id && j.State == s {
			return j
		}
	}
}

var amy = actor.Actor{Kind: actor.Person, Name: "amy"}

// TestJobs: asked for, made, downloaded, removed.
func TestJobs(t *testing.T) {
	l, _ := pictures(t)
	d := newDesk(t, l.player())
	j, err := d.Start(context.Background(), amy, media.CameraID{1}, l.stream, at(0.5), at(30), true)
	if err != nil || j.State != Waiting || j.By != amy || j.Part != 1 {
		t.Fatalf("%+v, %v", j, err)
	}
	if _, _, err := d.Open(context.Background(), j.ID); !errors.Is(err, ErrNotReady) {
		t.Errorf("open before: %v", err)
	}
	d.run(t)
	j = d.until(j.ID, Done)
	if j.Progress != 1 || len(j.Gaps) != 1 || j.Until != at(30) || j.Expires.IsZero() {
		t.Errorf("%+v", j)
	}
	f, _, err := d.Open(context.Background(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	b := must(io.ReadAll(f))
	f.Close()
	if int64(len(b)) != j.Size || sha256.Sum256(b) != j.SHA256 {
		t.Errorf("%d bytes, said %d", len(b), j.Size)
	}
	if list := d.List(); len(list) != 1 || list[0].ID != j.ID {
		t.Errorf("list %+v", list)
	}
	if err := d.Remove(j.ID); err != nil {
		t.Error(err)
	}
	if _, err := d.Get(j.ID); !errors.Is(err, ErrNoJob) {
		t.Errorf("get after: %v", err)
	}
	if err := d.Remove(j.ID); !errors.Is(err, ErrNoJob) {
		t.Errorf("remove after: %v", err)
	}
	if _, err := d.Start(context.Background(), amy, media.CameraID{1}, l.stream, at(50), at(60), true); !errors.Is(err, ErrNoFootage) {
		t.Errorf("of nothing: %v", err)
	}
	d.stop()
}

// TestJobInParts: where one file must end, the next job goes on by itself.
func TestJobInParts(t *testing.T) {
	l := newLibrary(t)
	l.record(justPictures)
	larger := slices.Clone(justPictures)
	larger[0].Width++
	for s, tracks := range [][]media.Track{justPictures, justPictures, larger, justPictures} {
		r := l.record(tracks)
		r.begin(nil)
		r.add(gop(at(float64(s))))
		r.end(media.CutCodec)
	}
	d := newDesk(t, l.player())
	d.run(t)
	j := must(d.Start(context.Background(), amy, media.CameraID{1}, l.stream, at(0), at(4), true))
	var parts []Job
	for len(parts) < 3 {
		if x := <-d.said; x.State == Done {
			parts = append(parts, x)
		}
	}
	d.stop()
	for i, want := range []struct{ from, until float64 }{{0, 2}, {2, 3}, {3, 4}} {
		x := parts[i]
		if x.Part != i+1 || x.From != at(want.from) || x.Until != at(want.until) || x.To != at(4) || x.By != amy || len(x.Gaps) != 0 {
			t.Errorf("part %d: %+v", i+1, x)
		}
	}
	if parts[0].ID != j.ID {
		t.Error("the first part is not the job asked for")
	}
}

// TestJobsWaitForWhoFetches: a camera that changes its coding all the time makes many
// files of one order, and whoever fetches them one after the other finds each.
func TestJobsWaitForWhoFetches(t *testing.T) {
	l := newLibrary(t)
	const parts = 2 * maxJobs
	for s := range parts {
		r := l.record([]media.Track{{Number: 1, Codec: media.H264, Codecs: "avc1.42c01e", Config: []byte{1, 0x42, 0xc0, byte(s)}, Width: 640, Height: 360}})
		r.begin(nil)
		r.add(gop(at(float64(s))))
		r.end(media.CutCodec)
	}
	d := NewJobs(l.player(), func(Job) {})
	next := must(d.Start(context.Background(), amy, media.CameraID{1}, l.stream, at(0), at(parts), true)).ID
	for n := range parts {
		for { // as many as are made meanwhile
			x, ctx, cancel := d.next(context.Background())
			if x == nil {
				break
			}
			d.make(ctx, x)
			cancel()
		}
		f, x, err := d.Open(context.Background(), next)
		if err != nil || x.Part != n+1 {
			t.Fatalf("part %d: %+v, %v", n+1, x, err)
		}
		f.Close()
		next = x.Next
	}
	if next != (JobID{}) {
		t.Error("there is more")
	}
}

// TestJobCancelled before it began, while it runs, and by the end of all.
func TestJobCancelled(t *testing.T) {
	l, _ := pictures(t)
	d := newDesk(t, l.player())
	start := func() Job {
		return must(d.Start(context.Background(), amy, media.CameraID{1}, l.stream, at(0), at(30), true))
	}
	waiting := start()
	if err := d.Remove(waiting.ID); err != nil {
		t.Error(err)
	}
	if x := must(d.Get(waiting.ID)); x.State != Cancelled {
		t.Errorf("%+v", x)
	}
	running := start()
	x, ctx, cancel := d.next(context.Background())
	if x == nil || x.ID != running.ID {
		t.Fatal("another is next")
	}
	if err := d.Remove(running.ID); err != nil || ctx.Err() == nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
	d.make(ctx, x)
	cancel()
	if x := must(d.Get(running.ID)); x.State != Cancelled || x.Err != nil {
		t.Errorf("%+v", x)
	}
	l.rows = nil
	d.list = append(d.list, &job{Job: Job{ID: media.NewID[jobTag](), Stream: l.stream, From: at(0), To: at(1), State: Waiting}})
	d.run(t)
	if x := d.until(d.list[2].ID, Failed); !errors.Is(x.Err, ErrNoFootage) {
		t.Errorf("%+v", x)
	}
	d.stop()
}

// TestJobsAreBounded: in number, in age, and in what they hold.
func TestJobsAreBounded(t *testing.T) {
	l, _ := pictures(t)
	d := newDesk(t, l.player())
	now := time.Unix(0, 0)
	d.now = func() time.Time { return now }
	by := amy
	start := func() error {
		_, err := d.Start(context.Background(), by, media.CameraID{1}, l.stream, at(0), at(30), true)
		return err
	}
	for _, by = range []actor.Actor{amy, {Kind: actor.Person, Name: "bob"}} {
		for range maxMine {
			if err := start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := start(); !errors.Is(err, ErrTooMany) {
			t.Errorf("one too many of %s: %v", by.Name, err)
		}
	}
	by = actor.Actor{Kind: actor.Console, Name: "bob"}
	if err := start(); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	d.Remove(d.List()[3].ID)
	if err := start(); err != nil {
		t.Errorf("one that has ended makes room: %v", err)
	}
	for _, x := range d.list {
		d.end(x, Done)
	}
	// Who asks for ever more pushes out nobody else's.
	by = amy
	for range 3 * maxMine {
		if err := start(); err != nil {
			t.Fatal(err)
		}
		d.end(d.list[len(d.list)-1], Done)
	}
	left := map[string]int{}
	for _, x := range d.list {
		left[string(x.By.Kind)+" "+x.By.Name]++
	}
	if left["person bob"] < maxMine-1 {
		t.Errorf("of the others there are left %v", left)
	}
	if now = now.Add(keepJobs); len(d.List()) != maxJobs {
		t.Errorf("%d jobs", len(d.List()))
	}
	if now = now.Add(1); len(d.List()) != 0 {
		t.Errorf("%d old jobs", len(d.List()))
	}
	for i := range 5 {
		d.list = append(d.list, &job{Job: Job{ID: JobID{byte(i)}, State: Done}, export: &Export{moov: make([]byte, maxTables/4+1)}})
	}
	if list := d.List(); len(list) != 3 || list[2].ID != (JobID{2}) {
		t.Errorf("%d jobs with large tables", len(list))
	}
}

// TestJobsAreKept: after a restart what was done and what was not yet is made again,
// with the same bytes under the same name; what was removed stays away.
func TestJobsAreKept(t *testing.T) {
	l, _ := pictures(t)
	file := document.File{FS: durable.NewMem(), Name: "exports", Key: seal.NewKey()}
	failed := func(err error) { t.Error(err) }
	start := func() *desk {
		d := newDesk(t, l.player())
		if err := d.Keep(file, failed); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := start()
	ask := func(to float64) Job {
		return must(d.Start(context.Background(), amy, media.CameraID{1}, l.stream, at(0.5), at(to), true))
	}
	done, gone := ask(30), ask(20)
	if err := d.Remove(gone.ID); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	done = d.until(done.ID, Done)
	d.stop()
	waiting := ask(10)

	d = start()
	if list := d.List(); len(list) != 2 || list[0].ID != done.ID || list[1].ID != waiting.ID || list[1].By != amy || !list[0].Expires.Equal(done.Expires) {
		t.Fatalf("%+v", list)
	}
	d.run(t)
	for _, id := range []JobID{waiting.ID, done.ID} { // those that somebody waits for come first
		if x := <-d.said; x.ID != id {
			t.Errorf("%v, want %v", x.ID, id)
		}
		d.until(id, Done)
	}
	again := must(d.Get(done.ID))
	if again.SHA256 != done.SHA256 || again.Size != done.Size || !again.Expires.Equal(done.Expires) {
		t.Errorf("%+v, was %+v", again, done)
	}
	d.stop()

	d = newDesk(t, l.player())
	d.now = func() time.Time { return done.Expires.Add(time.Second) }
	if err := d.Keep(file, failed); err != nil || len(d.List()) != 0 {
		t.Errorf("%v, %+v", err, d.List())
	}
	if err := durable.WriteFile(file.FS, "exports", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if err := newDesk(t, l.player()).Keep(file, failed); !errors.Is(err, document.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
}

// TestJobRemovedAtTheEnd: one that is removed when all of it is read is not done, and nothing goes on from it.
func TestJobRemovedAtTheEnd(t *testing.T) {
	var d *Jobs
	d = NewJobs(inParts(t).player(), func(j Job) {
		if j.State == Running && j.Progress == 1 {
			if err := d.Remove(j.ID); err != nil {
				t.Error(err)
			}
		}
	})
	first := must(d.Start(context.Background(), amy, media.CameraID{1}, d.player.lib.(*library).stream, at(0), at(4), true))
	x, ctx, cancel := d.next(context.Background())
	d.make(ctx, x)
	cancel()
	if list := d.List(); len(list) != 1 || list[0].ID != first.ID || list[0].State != Cancelled {
		t.Errorf("%+v", list)
	}
}
