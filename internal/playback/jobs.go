package playback

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vigil/internal/actor"
	"vigil/internal/document"
	"vigil/internal/media"
)

// A State is where an export job stands.
type State string

// The states. A job goes from waiting to running to one of the others.
const (
	Waiting   State = "waiting"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// A JobID names an export job.
type JobID = media.ID[jobTag]

type jobTag struct{}

// A Job is one export that was asked for, as it stands.
type Job struct {
	ID       JobID
	Camera   media.CameraID
	Stream   media.StreamID
	From, To media.Ticks // as asked for; of a further file, from where that begins
	Sound    bool        // with what was recorded of it
	Part     int         // 1; 2 and on are made by themselves when a range does not fit in one file
	By       actor.Actor
	State    State
	Held     bool    // it waits until files of the same order before it are fetched
	Progress float64 // 0 to 1
	Size     int64   // bytes of the file; once done
	SHA256   [32]byte
	Until    media.Ticks // once done: the file ends here, or at To
	Next     JobID       // once done: the further file that begins there; zero: none
	Gaps     []Gap
	Err      error // why it failed
	Created  time.Time
	Expires  time.Time // once ended: when it goes from the list
}

// Bounds of the list.
const (
	maxJobs   = 64        // in the list
	maxMine   = 32        // of them of one person
	maxAhead  = 16        // further files of one order that are made before the first of them is fetched
	maxTables = 128 << 20 // bytes of tables of exports that are done
	keepJobs  = 24 * time.Hour
)

// Errors of Jobs.
var (
	ErrTooMany  = errors.New("too many exports are waiting")
	ErrNoJob    = errors.New("no such export")
	ErrNotReady = errors.New("this export is not done")
)

// Jobs is the part that makes exports, one at a time, in the order in which
// they were asked for. What it makes is not a file but what Download needs: the record stays
// the only place of footage. The list is in memory, and with Keep what was ordered outlives a restart.
type Jobs struct {
	player *Player
	watch  func(Job)
	now    func() time.Time
	wake   chan struct{}

	saving sync.Mutex // held over the disk

	mu     sync.Mutex
	list   []*job         // guarded by mu; oldest first
	file   *document.File // guarded by mu; nil: nothing is kept
	failed func(error)    // guarded by mu
}

type job struct {
	Job    // guarded by Jobs.mu
	export *Export
	cancel context.CancelFunc

	begun   chan struct{} // closed once there is an export to read, or none will be; nil: nobody need wait
	edge    *edge         // up to where it was made first; nil: not yet
	sum     []byte        // the digest it had then; a file with another is not the one that was given out
	again   bool          // it was done before a restart: made again, behind all that somebody waits for
	next    JobID         // the further file that it had then, there or removed since
	removed bool          // while it was running
	stopped bool          // by the end of Run: it is kept
	fetched bool          // somebody began to
}

// NewJobs returns an empty list. watch is told of every change, of progress
// too, one call at a time for a job; it must not call back.
func NewJobs(player *Player, watch func(Job)) *Jobs {
	return &Jobs{player: player, watch: watch, now: time.Now, wake: make(chan struct{}, 1)}
}

// Start asks for an export. ErrNoFootage and ErrTooMany come at once.
func (j *Jobs) Start(ctx context.Context, by actor.Actor, camera media.CameraID, stream media.StreamID, from, to media.Ticks, sound bool) (Job, error) {
	if err := j.player.has(ctx, stream, from, to); err != nil {
		return Job{}, err
	}
	return j.add(Job{Camera: camera, Stream: stream, From: from, To: to, Sound: sound, Part: 1, By: by}, false)
}

// has tells whether there is any footage, without opening more than one
// segment.
func (p *Player) has(ctx context.Context, stream media.StreamID, from, to media.Ticks) error {
	_, err := p.Watch(ctx, stream, from, to, 1)
	return err
}

// add puts a job at the end of the list. One that goes on where another ended
// is never too many.
func (j *Jobs) add(x Job, further bool) (Job, error) {
	j.mu.Lock()
	j.expire()
	ended := func(y *job) bool { return y.State != Waiting && y.State != Running || y.State == Waiting && y.again }
	mine := func(y *job) bool { return y.By.Kind == x.By.Kind && y.By.Name == x.By.Name }
	// Those that are done make room, and whoever asks for many loses their own first.
	if further { // made again after a restart, it may be there
		if i := slices.IndexFunc(j.list, func(y *job) bool {
			return mine(y) && y.Stream == x.Stream && y.From == x.From && y.To == x.To && y.Part == x.Part && y.Sound == x.Sound && y.State != Failed && y.State != Cancelled && !j.follows(y.ID)
		}); i >= 0 {
			defer j.mu.Unlock()
			return j.list[i].Job, nil
		}
	}
	full := j.trim(maxMine, mine, ended) || j.trim(maxJobs, func(*job) bool { return true }, ended)
	if full && !further {
		j.mu.Unlock()
		return Job{}, fmt.Errorf("start an export of %v: %w", x.Stream, ErrTooMany)
	}
	x.ID, x.State, x.Created = media.NewID[jobTag](), Waiting, j.now()
	y := &job{Job: x}
	j.list = append(j.list, y)
	x = j.shown(y)
	j.mu.Unlock()
	j.save()
	j.watch(x)
	j.poke()
	return x, nil
}

// poke lets Run look again.
func (j *Jobs) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// ahead tells whether so many files of the order that a job goes on with have not been
// fetched that this one waits: they make room for each other, and who fetches one after the other would find some gone.
func (j *Jobs) ahead(x *job) bool {
	n := 0
	for _, y := range j.list {
		there := y.State == Done || y.again && (y.State == Waiting || y.State == Running) // or will be, after a restart
		if there && !y.fetched && y.By.Kind == x.By.Kind && y.By.Name == x.By.Name && y.Stream == x.Stream && y.To == x.To && y.Sound == x.Sound {
			n++
		}
	}
	return x.Part > 1 && n >= maxAhead
}

// shown is a job as others see it.
func (j *Jobs) shown(x *job) Job {
	was := x.Job
	was.Held = x.State == Waiting && !x.again && j.ahead(x)
	return was
}

// follows tells whether a job is the further file of another.
func (j *Jobs) follows(id JobID) bool {
	return slices.ContainsFunc(j.list, func(y *job) bool { return y.Next == id || y.next == id })
}

// trim drops the oldest that have ended until there is room for one more of a
// kind; false says that there is.
func (j *Jobs) trim(most int, kind, ended func(*job) bool) (full bool) {
	for {
		n, first := 0, -1
		for i, y := range j.list {
			if !kind(y) {
				continue
			}
			n++
			if first < 0 && ended(y) {
				first = i
			}
		}
		if n < most {
			return false
		}
		if first < 0 {
			return true
		}
		j.drop(first)
	}
}

func (j *Jobs) drop(i int) { j.list = slices.Delete(j.list, i, i+1) }

// expire drops what is old, and the oldest tables when there are too many.
func (j *Jobs) expire() {
	now, tables := j.now(), 0
	for i := len(j.list) - 1; i >= 0; i-- {
		x := j.list[i]
		if x.export != nil {
			tables += x.export.tables()
		}
		if x.State == Running { // it would be made all the same, and nobody could cancel it
			continue
		}
		if !x.Expires.IsZero() && now.After(x.Expires) || x.export != nil && tables > maxTables {
			j.drop(i)
			j.poke() // one may wait for those of its order to be fetched
		}
	}
}

// List returns the jobs, newest first.
func (j *Jobs) List() (list []Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire()
	for _, x := range slices.Backward(j.list) {
		list = append(list, j.shown(x))
	}
	return list
}

func (j *Jobs) find(id JobID) (int, error) {
	j.expire()
	i := slices.IndexFunc(j.list, func(x *job) bool { return x.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("export %v: %w", id, ErrNoJob)
	}
	return i, nil
}

// Get returns one job.
func (j *Jobs) Get(id JobID) (Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i, err := j.find(id)
	if err != nil {
		return Job{}, err
	}
	return j.shown(j.list[i]), nil
}

// Remove cancels a job that has not ended, and takes one that has from the
// list.
func (j *Jobs) Remove(id JobID) error {
	j.mu.Lock()
	i, err := j.find(id)
	if err != nil {
		j.mu.Unlock()
		return err
	}
	x := j.list[i]
	switch x.State {
	case Running:
		x.removed = true
		x.cancel() // Run does the rest
		j.mu.Unlock()
		j.save()
		return nil
	case Waiting:
		j.end(x, Cancelled)
	default:
		j.drop(i)
	}
	was := x.Job
	j.mu.Unlock()
	j.save()
	j.watch(was)
	j.poke()
	return nil
}

func (j *Jobs) end(x *job, s State) {
	x.State = s
	if x.Expires.IsZero() { // made again after a restart, it goes when it would have gone
		x.Expires = j.now().Add(keepJobs)
	}
}

// Open returns the file of a job that is done, or being made: then it waits until that has begun, and
// reading goes on as the file does. Who asks for it must still have the right. A file whose footage was removed
// meanwhile has failed, and the error is ErrChanged.
func (j *Jobs) Open(ctx context.Context, id JobID) (*Download, Job, error) {
	j.mu.Lock()
	i, err := j.find(id)
	if err != nil {
		j.mu.Unlock()
		return nil, Job{}, err
	}
	x := j.list[i]
	if begun := x.begun; begun != nil && x.export == nil {
		j.mu.Unlock()
		select {
		case <-begun:
		case <-ctx.Done():
			return nil, Job{}, ctx.Err()
		}
		j.mu.Lock()
	}
	was, export := x.Job, x.export
	first := export != nil && !x.fetched
	x.fetched = x.fetched || first
	j.mu.Unlock()
	j.poke()
	if first {
		j.save() // it makes room for further files of its order, after a restart too
	}
	switch {
	case was.State == Failed && errors.Is(was.Err, ErrChanged):
		return nil, was, was.Err
	case export == nil:
		return nil, was, fmt.Errorf("export %v: %w", id, ErrNotReady)
	case was.State == Done:
		there, err := export.plan.there(ctx)
		if err == nil && !there {
			err = fmt.Errorf("export %v: %w", id, ErrChanged)
			j.set(x, func() {
				x.export, x.Err = nil, err
				j.end(x, Failed)
			})
		}
		if err != nil {
			return nil, was, err
		}
	}
	return export.Open(ctx), was, nil
}

// Run makes the exports until ctx ends; what it is at is cancelled then.
func (j *Jobs) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if x, of, cancel := j.next(ctx); x != nil {
			j.make(of, x)
			cancel()
			if ctx.Err() == nil { // what the end of Run cancels is kept
				j.save()
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-j.wake:
		}
	}
	return nil
}

// next begins the oldest job that waits.
func (j *Jobs) next(ctx context.Context) (*job, context.Context, context.CancelFunc) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire()
	i := slices.IndexFunc(j.list, func(x *job) bool { return x.State == Waiting && !x.again && !j.ahead(x) })
	if i < 0 {
		i = slices.IndexFunc(j.list, func(x *job) bool { return x.State == Waiting && x.again })
	}
	if i < 0 {
		return nil, nil, nil
	}
	x := j.list[i]
	ctx, cancel := context.WithCancel(ctx)
	if x.State, x.cancel = Running, cancel; x.sum == nil { // one that was given out before is compared first
		x.begun = make(chan struct{})
	}
	return x, ctx, cancel
}

// make makes one export.
func (j *Jobs) make(ctx context.Context, x *job) {
	j.set(x, func() {})
	plan, err := j.player.collect(ctx, x.Stream, x.From, x.To, x.Sound, x.edge)
	var export *Export
	h := sha256.New()
	if err == nil {
		export = plan.file()
		if x.begun != nil {
			j.set(x, func() {
				x.export = export
				close(x.begun)
			})
		}
		shown := 0.0
		err = export.make(ctx, h, func(done int64) {
			if p := float64(done) / float64(plan.payload); p-shown >= 0.01 {
				shown = p
				j.set(x, func() { x.Progress = min(p, 1) })
			}
		})
		if err == nil { // all of it was read, but it may have been removed since
			err = ctx.Err()
		}
	}
	if x.sum != nil && (errors.Is(err, ErrNoFootage) || err == nil && !bytes.Equal(h.Sum(nil), x.sum)) {
		err = fmt.Errorf("make export %v again: %w", x.ID, ErrChanged)
	}
	var next Job
	if err == nil && plan.Next > x.From {
		next = j.had(x, plan.Next)
	}
	if err == nil && plan.Next > x.From && next.ID == (JobID{}) {
		next, _ = j.add(Job{Camera: x.Camera, Stream: x.Stream, From: plan.Next, To: x.To, Sound: x.Sound, Part: x.Part + 1, By: x.By}, true)
	}
	j.set(x, func() {
		if x.begun != nil && x.export == nil {
			close(x.begun)
		}
		x.begun = nil
		switch {
		case err == nil && !x.removed:
			x.export, x.Next, x.edge = export, next.ID, plan.edge()
			x.Size, x.Gaps, x.Progress, x.Until = export.Size, export.Gaps, 1, x.To
			x.sum = h.Sum(x.SHA256[:0])
			if plan.Next != 0 {
				x.Until = plan.Next
			}
			j.end(x, Done)
		case ctx.Err() != nil:
			x.export, x.stopped = nil, !x.removed
			j.end(x, Cancelled)
		default:
			x.export, x.Err = nil, err
			j.end(x, Failed)
		}
	})
	if y, err := j.Get(next.ID); err == nil && y.Held { // by this
		j.watch(y)
	}
}

// had returns the further file that a job had before a restart, unless that begins elsewhere now.
// One that was removed since, or has gone, is not made again.
func (j *Jobs) had(x *job, from media.Ticks) Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.list, func(y *job) bool { return y.ID == x.next })
	switch {
	case i < 0:
		return Job{ID: x.next}
	case j.list[i].From == from:
		return j.list[i].Job
	}
	return Job{}
}

// set changes a job and tells.
func (j *Jobs) set(x *job, change func()) {
	j.mu.Lock()
	change()
	was := j.shown(x)
	j.mu.Unlock()
	j.watch(was)
}
