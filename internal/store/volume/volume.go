// Package volume is one disk: whose it is, whether it is there, and bytes on
// their way to it.
//
//	store -> [volume] -> durable
//
// Everything handed over is written by one goroutine of the volume, so that a
// hung disk stalls nobody: the bytes wait in memory, within a budget, until
// they are durable. It knows nothing of segments, keys or the ledger.
//
// A volume refuses a folder without its label: the disk that belongs there is
// missing, and what is written to the mount point would fill the system disk.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// A State is the condition of a volume.
type State string

// The states. Only an online volume is sure to take bytes; a suspect one keeps
// them in memory and tries.
const (
	Starting State = "starting" // not looked for yet
	Online   State = "online"
	Suspect  State = "suspect" // refuses or hangs, being tried
	Failed   State = "failed"  // given up: what was not durable is dropped
	Missing  State = "missing" // its disk is not there
	Foreign  State = "foreign" // a disk is there, and not this one
	Taken    State = "taken"   // another process works with it
	Newer    State = "newer"   // a newer Vigil wrote its label
)

// Errors of a volume that cannot be used.
var (
	ErrMissing = errors.New("the disk is not there")
	ErrForeign = errors.New("the disk is another one")
	ErrTaken   = errors.New("another Vigil works with this disk")
	ErrNoSpace = errors.New("the disk is full")
	ErrHung    = errors.New("the disk does not answer")
	ErrFailed  = errors.New("the disk failed")
)

// A Config says which disk is wanted and how patient to be.
type Config struct {
	FS  durable.FS
	Dir string
	Key seal.Key // authenticates the label
	Set SetID
	// Volume is the id that the label must have; zero: any of the set.
	Volume ID
	// New lets an empty folder become a volume. It does no harm when the folder
	// is one already.
	New bool
	// Moved lets the label be on another file system than the one it remembers,
	// and makes it remember this one.
	Moved bool
	// Floor is the free space in bytes below which nothing is written, so that
	// room for tombstones is left. Default 16 MiB.
	Floor int64
	// Budget bounds the bytes in memory, of all volumes that share it.
	Budget *Budget

	Beat  time.Duration // from one sync to the next; default 1 s
	Slow  time.Duration // one operation may take so long, then the disk is suspect; default 3 s
	Dead  time.Duration // so long suspect, then failed; default 15 s
	Probe time.Duration // between looks at a volume that is not attached; default 2 s

	// Changed is told each change of state, in order, with the condition
	// before and after; it must not call back nor wait.
	Changed func(v *Volume, from, to Status)
	// Synced is told when something became durable; it must not wait.
	Synced func()
	Log    *slog.Logger
}

// A Status is the condition of a volume at one moment.
type Status struct {
	State State
	Cause media.Cause // what a gap in the footage would be called; empty when online
	Err   error       // why it is not online
	Since time.Time
	Disk  durable.Disk // as last measured; zero while not attached
	Group bool         // one sync for all: the volume is a file system of its own
}

// A Volume is one disk. Safe for many callers; Run owns its goroutines.
type Volume struct {
	cfg Config
	log *slog.Logger

	attaching sync.Mutex // held by who looks for the disk

	mu     sync.Mutex
	status Status          // guarded by mu
	label  Label           // guarded by mu; zero before the first attach
	runs   bool            // guarded by mu; Run lets the disk go
	root   durable.Root    // guarded by mu; nil: not attached
	lock   io.Closer       // guarded by mu; the hold on the folder; nil where the file system has none
	whole  durable.File    // guarded by mu; the folder, open for syncfs
	files  []*File         // guarded by mu; with bytes on their way
	tasks  []task          // guarded by mu; to do
	moved  []task          // guarded by mu; done, not durable
	dirs   map[string]bool // guarded by mu; folders with names not durable
	tombs  []io.Closer     // guarded by mu; to be closed by the writer

	kick    chan struct{} // there is work
	busy    atomic.Int64  // ns of the epoch (monotonic) since when the writer is in one operation; 0: it is not
	hurry   atomic.Bool   // see Hurry
	epoch   time.Time
	trouble time.Time // owned by the writer: since when it fails
	synced  time.Time // owned by the writer: start of the last sync
	retry   time.Time // owned by the writer: not before then
	made    string    // owned by the writer: the folder that it made last
}

// New returns a volume that is not attached. It does not touch the disk.
func New(cfg Config) *Volume {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.Beat, time.Second)
	def(&cfg.Slow, 3*time.Second)
	def(&cfg.Dead, 15*time.Second)
	def(&cfg.Probe, 2*time.Second)
	if cfg.Floor == 0 {
		cfg.Floor = 16 << 20
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(64 << 20)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	return &Volume{
		cfg: cfg, log: cfg.Log.With("volume", cfg.Dir), epoch: now,
		status: Status{State: Starting, Cause: media.DiskFailed, Err: fmt.Errorf("not looked for yet: %w", ErrMissing), Since: now},
		dirs:   map[string]bool{}, kick: make(chan struct{}, 1),
	}
}

// ID returns the volume's id; zero before it was first attached, if the
// settings do not have it.
func (v *Volume) ID() ID {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.label.Volume.IsZero() {
		return v.cfg.Volume
	}
	return v.label.Volume
}

// Dir returns the folder, as in the settings.
func (v *Volume) Dir() string { return v.cfg.Dir }

// Status returns the condition now. It does not touch the disk.
func (v *Volume) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status
}

// Observe sets who is told of changes and of syncs, before Run.
func (v *Volume) Observe(changed func(v *Volume, from, to Status), synced func()) {
	v.cfg.Changed, v.cfg.Synced = changed, synced
}

// Share sets the budget, before Run.
func (v *Volume) Share(b *Budget) { v.cfg.Budget = b }

// Root returns the volume's folder for reading and for removing files on the
// caller's own time, or why it is not attached.
func (v *Volume) Root() (durable.FS, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == nil {
		return nil, v.errLocked()
	}
	return v.root, nil
}

func (v *Volume) errLocked() error {
	return &Error{Dir: v.cfg.Dir, State: v.status.State, Cause: v.status.Cause, Err: v.status.Err}
}

// An Error is a volume that is not online.
type Error struct {
	Dir   string
	State State
	Cause media.Cause
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("volume %s is %s: %v", e.Dir, e.State, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// change sets the state and tells. Called with mu held; the state's time is
// that of the change, not of the reason.
func (v *Volume) change(s State, cause media.Cause, err error) {
	from := v.status
	v.status.State, v.status.Cause, v.status.Err = s, cause, err
	if from.State == s && from.Cause == cause {
		return
	}
	v.status.Since = time.Now()
	if s == Online {
		v.log.Info("volume is online", "was", from.State)
	} else {
		v.log.Error("volume is not online", "state", s, "was", from.State, "err", err)
	}
	if v.cfg.Changed != nil {
		v.cfg.Changed(v, from, v.status)
	}
}

// Run attaches the disk, writes what is handed over, and attaches again
// whatever was lost, until ctx ends; then what can be made durable is.
func (v *Volume) Run(ctx context.Context) error {
	v.mu.Lock()
	v.runs = true
	v.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.write(ctx)
	}()
	tick := time.NewTicker(v.cfg.Slow / 4)
	defer tick.Stop()
	var ending time.Time
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		v.watch()
		if ctx.Err() == nil {
			continue
		}
		if ending.IsZero() {
			ending = time.Now()
		}
		if v.hung() > v.cfg.Slow && time.Since(ending) > v.cfg.Slow {
			return nil // the writer sits in a system call that nobody can end
		}
	}
}

// Close lets a disk go that was attached and that nobody ran.
func (v *Volume) Close() {
	v.mu.Lock()
	mine := v.root != nil && !v.runs
	if mine {
		v.detach(fmt.Errorf("%w: closed", ErrFailed))
	}
	v.mu.Unlock()
	if mine {
		v.bury()
	}
}

// hung tells for how long the writer has been in one operation.
func (v *Volume) hung() time.Duration {
	b := v.busy.Load()
	if b == 0 {
		return 0
	}
	return time.Since(v.epoch) - time.Duration(b)
}

// watch makes a volume suspect, and then failed, whose writer hangs.
func (v *Volume) watch() {
	d := v.hung()
	if d < v.cfg.Slow {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	err := fmt.Errorf("%w for %v", ErrHung, d.Round(time.Second))
	switch {
	case v.root == nil:
		if v.status.State == Starting && d >= v.cfg.Dead {
			v.change(Failed, media.DiskFailed, err)
		}
	case d >= v.cfg.Dead:
		v.drop(Failed, media.DiskFailed, err)
	case v.status.State == Online:
		v.change(Suspect, media.DiskFailed, err)
	}
}

// do runs one operation on the disk under the watch.
func (v *Volume) do(op func() error) error {
	v.busy.Store(max(1, int64(time.Since(v.epoch))))
	defer v.busy.Store(0)
	return op()
}

// full tells whether an error is about space.
func full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, ErrNoSpace)
}

// permanent tells whether trying again through the same open files is in
// vain.
func permanent(err error) bool {
	for _, e := range []error{unix.EROFS, unix.ENODEV, unix.ENXIO, unix.ESHUTDOWN, unix.ESTALE, unix.ENOTCONN, unix.ENOENT, ErrMissing, ErrForeign, durable.ErrCrashed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
