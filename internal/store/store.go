// Package store keeps the record: sealed segments on volumes, each with its
// leaf in the ledger.
//
//	recorder -> [store] -> volume, ledger, audit
//	playback, scrub, backup -> store
//
// It alone knows the order in which a segment becomes part of the record, and
// the order in which it goes. It knows nothing of cameras or of when to record.
//
// The truth is the ledger. [Store.Check] asserts:
//
//  1. Every segment leaf without a tombstone has a file with that digest on a volume.
//  2. Every segment file has a leaf, or waits in open/ for one, or lies in quarantine and is reported.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/keys"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// A Book is the part of ledger.Ledger that the store needs.
type Book interface {
	Size() uint64
	Append(ctx context.Context, leaves []ledger.Leaf) (first uint64, err error)
	Follow(from uint64, fn func(i uint64, leaf ledger.Leaf) error) error
}

// An Alerts is the part of the alert board that the store needs. A kind is a
// fact, the object what it is about; texts are made elsewhere. Calls do not wait.
type Alerts interface {
	Raise(kind, object string, args map[string]string)
	Clear(kind, object string)
}

// The kinds of alerts that the store raises.
const (
	DiskTrouble  = "disk-trouble"  // object: folder of the volume; state, cause, error
	VolumeNewer  = "volume-newer"  // object: folder of the volume; state, cause, error
	VolumeTaken  = "volume-taken"  // object: folder of the volume; state, cause, error
	FileTampered = "file-tampered" // object: segment; camera, seconds, from, to, reason
	FileDamaged  = "file-damaged"  // object: segment; camera, from, to, reason
	FileUnknown  = "file-unknown"  // object: folder of the volume; file, reason
	CommitFailed = "commit-failed" // object: "ledger" or "audit"; error
	KeysRestored = "keys-restored" // object: file of keys; keys, volume
)

// A Config is what a store is made of.
type Config struct {
	Volumes []*volume.Volume // one; a list, because mirrors come
	Keys    *keys.Ring
	Ledger  Book
	Audit   Auditor
	Alerts  Alerts
	// Memory bounds the bytes that wait for the disk: this much and
	// MemoryPerStream for each open segment. Defaults 64 MiB and 2 MiB.
	Memory, MemoryPerStream int64
	// Attached and Detached are told, on a goroutine that may wait, that a
	// volume came or went: the ledger keeps a copy on it. May be nil.
	Attached func(ctx context.Context, v *volume.Volume)
	Detached func(ctx context.Context, v *volume.Volume)
	// ArmedBy names the account that last switched the recording of a stream
	// on, for the records of recovered segments. May be nil.
	ArmedBy func(stream media.StreamID) string

	Beat  time.Duration // default 1 s
	Pulse time.Duration // default 5 s
	Log   *slog.Logger
}

// A Store keeps the record. It is a place, safe for many callers; Run owns
// the goroutines that write.
type Store struct {
	cfg      Config
	log      *slog.Logger
	complain rate.Sometimes // in the log: a disk in trouble fails each beat, and may be the one that the log is on
	budget   *volume.Budget
	kick     chan struct{} // the beat has something to do
	came     chan struct{} // a volume came or went

	// mu is taken after the locks of writers and volumes, never before.
	mu         sync.Mutex
	open       map[media.SegmentID]*Writer // guarded by mu; until settled
	latest     map[media.StreamID]*Writer  // guarded by mu; being written
	turn       uint64                      // guarded by mu; of the last Create
	waiting    []*sealed                   // guarded by mu; from recovery, for the beat
	recovering map[media.SegmentID]bool    // guarded by mu; those, until settled
	changes    []change                    // guarded by mu; of volumes, to be told
	shelves    map[*volume.Volume]*shelf   // the map never changes; the shelves are guarded by mu

	beat     beat       // owned by the beat
	recovery sync.Mutex // held by who reads open/ of a volume
}

// A shelf is what the store remembers of a volume.
type shelf struct {
	fresh    bool           // came since the recovery looked
	told     bool           // Attached was told
	debts    map[uint64]int // leaves from which on something may be left to do here, and how often
	failed   []uint64       // those of debts that the next recovery pays
	settled  uint64         // what its mark says
	settling bool           // a new mark is on its way
	keyGen   uint64         // its copies of the wrapped keys are of this generation
}

// owed returns the first leaf that may have left something to do.
func (h *shelf) owed() uint64 {
	first := ^uint64(0)
	for leaf := range h.debts {
		first = min(first, leaf)
	}
	return first
}

func (h *shelf) owe(leaf uint64) { h.debts[leaf]++ }

func (h *shelf) paid(leaf uint64) {
	if h.debts[leaf]--; h.debts[leaf] <= 0 {
		delete(h.debts, leaf)
	}
}

type change struct {
	v        *volume.Volume
	from, to volume.Status
}

// Open returns a store. Volumes are looked for by Run, or by their Attach.
func Open(cfg Config) *Store {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.Beat, time.Second)
	def(&cfg.Pulse, 5*time.Second)
	if cfg.Memory == 0 {
		cfg.Memory = 64 << 20
	}
	if cfg.MemoryPerStream == 0 {
		cfg.MemoryPerStream = 2 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		cfg: cfg, log: cfg.Log, complain: rate.Sometimes{First: 1, Interval: time.Minute}, budget: volume.NewBudget(cfg.Memory),
		kick: make(chan struct{}, 1), came: make(chan struct{}, 1),
		open: map[media.SegmentID]*Writer{}, latest: map[media.StreamID]*Writer{},
		recovering: map[media.SegmentID]bool{}, shelves: map[*volume.Volume]*shelf{},
	}
	for _, v := range cfg.Volumes {
		// Fresh until recovery has looked, also where it was attached before.
		s.shelves[v] = &shelf{fresh: true, debts: map[uint64]int{0: 1}, failed: []uint64{0}}
		v.Share(s.budget)
		v.Observe(s.changed, s.wake)
		if st := v.Status(); st.State != volume.Starting { // what it said then, nobody heard
			s.changes = append(s.changes, change{v, volume.Status{State: volume.Starting}, st})
		}
	}
	s.look()
	return s
}

// Errors that a caller tells apart. Cause names them on the timeline.
var (
	ErrFull    = errors.New("too much waits for the disk") // drop to the next random access unit
	ErrFailed  = errors.New("the segment cannot go on")    // close it and make another
	ErrNoSpace = volume.ErrNoSpace
	ErrGone    = errors.New("no file of this segment")
	ErrBusy    = errors.New("the segment is still being written")
)

// A Refusal is footage that the store did not take, and what to call the gap.
type Refusal struct {
	Segment media.SegmentID
	Cause   media.Cause
	Err     error
}

func (r *Refusal) Error() string { return fmt.Sprintf("segment %s: %v", r.Segment, r.Err) }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Err }

// Is makes every refusal for want of space ErrNoSpace.
func (r *Refusal) Is(target error) bool { return target == ErrNoSpace && r.Cause == media.DiskFull }

// Cause names an error of the store on the timeline.
func Cause(err error) media.Cause {
	var r *Refusal
	var v *volume.Error
	switch {
	case errors.As(err, &r):
		return r.Cause
	case errors.Is(err, ErrNoSpace):
		return media.DiskFull
	case errors.As(err, &v) && v.Cause != "":
		return v.Cause
	}
	return media.DiskFailed
}

// Volumes returns the volumes, for pages that show their state.
func (s *Store) Volumes() []*volume.Volume { return s.cfg.Volumes }

// Held tells how many bytes wait for the disk, and the bound.
func (s *Store) Held() (held, limit int64) { return s.budget.Held(), s.budget.Limit() }

// unwrap opens the key of a segment, and tells which one it was.
func (s *Store) unwrap(id *[16]byte) segment.Unwrap {
	return func(keyID [16]byte, wrapped []byte) (seal.Key, error) {
		if id != nil {
			*id = keyID
		}
		return s.cfg.Keys.OpenSegment(keys.KeyID(keyID), wrapped)
	}
}

// Unwrap opens the key of a segment, for readers of its file.
func (s *Store) Unwrap(keyID [16]byte, wrapped []byte) (seal.Key, error) {
	return s.unwrap(nil)(keyID, wrapped)
}

// changed is told by a volume, which is locked.
func (s *Store) changed(v *volume.Volume, from, to volume.Status) {
	s.mu.Lock()
	s.changes = append(s.changes, change{v, from, to})
	if to.State == volume.Online && from.State != volume.Suspect {
		s.shelves[v].fresh = true
	}
	s.mu.Unlock()
	s.wake()
	s.look()
}

// look lets the visitor look.
func (s *Store) look() {
	select {
	case s.came <- struct{}{}:
	default:
	}
}

func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default: // it will look anyway
	}
}

// goodbye is how long Run waits at its end for what is finished to become
// part of the record; what is not is recovered at the next start.
const goodbye = 10 * time.Second

// Run writes, commits once a second, and recovers what lies open on a volume
// whenever one comes, until ctx ends and what is closed by then is committed.
// Those who write must stop first.
func (s *Store) Run(ctx context.Context) error {
	disks, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var volumes, visitor sync.WaitGroup
	for _, v := range s.cfg.Volumes {
		volumes.Go(func() { _ = v.Run(disks) })
	}
	visitor.Go(func() { s.visit(ctx) })

	tick := time.NewTicker(s.cfg.Beat)
	defer tick.Stop()
	var deadline time.Time
	ending, soon := ctx.Done(), s.cfg.Beat/128
	for {
		select {
		case <-s.kick:
		case <-tick.C:
		case <-ending:
			ending = nil
		}
		last := ctx.Err() != nil
		if last && deadline.IsZero() {
			deadline = time.Now().Add(goodbye)
			for _, v := range s.cfg.Volumes {
				v.Hurry()
			}
		}
		s.tick(disks, last)
		if last && (s.idle() || time.Now().After(deadline)) {
			break
		}
		if last { // each step needs the one before: a command does not take as many beats, and a slow disk is not asked all the time
			tick.Reset(soon)
			soon = min(2*soon, s.cfg.Beat)
		}
	}
	stop()
	volumes.Wait()
	s.tell() // what they said at the end
	visitor.Wait()
	return nil
}

// idle tells that nothing waits to become part of the record.
func (s *Store) idle() bool {
	online := map[*volume.Volume]bool{}
	for _, v := range s.cfg.Volumes {
		online[v] = v.Status().State == volume.Online
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.open {
		if w.item != nil {
			return false
		}
	}
	for v, h := range s.shelves {
		if h.settling && online[v] {
			return false
		}
	}
	return len(s.waiting) == 0 && len(s.beat.items) == 0 && s.beat.anchor == nil
}

// visitEvery is how often the visitor looks without being called.
const visitEvery = 5 * time.Second

// visit looks after volumes that came or went. It may wait for a disk, so the
// beat does not do it.
func (s *Store) visit(ctx context.Context) {
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.came:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, v := range s.cfg.Volumes {
			s.visitOne(ctx, v)
		}
	}
}

func (s *Store) visitOne(ctx context.Context, v *volume.Volume) {
	state := v.Status().State
	there := state == volume.Online || state == volume.Suspect
	s.mu.Lock()
	h := s.shelves[v]
	fresh, told := h.fresh, h.told
	h.told = there
	h.fresh = fresh && !there
	s.mu.Unlock()
	if told && (fresh || !there) && s.cfg.Detached != nil {
		s.cfg.Detached(ctx, v)
	}
	if !there {
		return
	}
	if (fresh || !told) && s.cfg.Attached != nil {
		s.cfg.Attached(ctx, v)
	}
	if fresh {
		if _, err := s.recoverVolume(ctx, v); err != nil && ctx.Err() == nil {
			s.log.Error("recovery of a volume", "volume", v.Dir(), "err", err)
		}
	}
	if err := s.copyKeys(v, fresh); err != nil {
		s.log.Error("copies of the wrapped keys", "volume", v.Dir(), "err", err)
	}
}

// takeKeys takes back from a volume what the system disk has lost of the
// wrapped keys, before anything is opened with them and before copyKeys writes over it.
func (s *Store) takeKeys(v *volume.Volume, root durable.FS) error {
	list, err := root.ReadDir(volume.KeyDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copies of the wrapped keys: %w", err)
	}
	ours := map[string][]byte{}
	copies, _ := s.cfg.Keys.Copies(0)
	for _, c := range copies {
		ours[c.Name] = c.Data
	}
	for _, e := range list {
		if path.Ext(e.Name()) != ".keys" || !e.Type().IsRegular() {
			continue
		}
		b, err := durable.ReadFile(root, path.Join(volume.KeyDir, e.Name()), keys.MaxCopy)
		if errors.Is(err, durable.ErrTooLarge) || err == nil && bytes.Equal(b, ours[e.Name()]) {
			continue
		}
		if err != nil {
			return fmt.Errorf("copies of the wrapped keys: %w", err)
		}
		n, err := s.cfg.Keys.Restore(keys.Copy{Name: e.Name(), Data: b})
		if err != nil { // of keys that were destroyed, or damaged: ours is written over it, if we have one
			s.log.Warn("a copy of wrapped keys is of no use", "volume", v.Dir(), "file", e.Name(), "err", err)
		}
		if n == 0 {
			continue
		}
		args := map[string]string{"keys": strconv.Itoa(n), "volume": v.Dir()}
		s.cfg.Alerts.Raise(KeysRestored, e.Name(), args)
		_ = s.note(Entry{At: time.Now(), Actor: actor.Of("store", ""), Action: "keys.restore", Object: e.Name(), OK: true, Detail: args})
	}
	return nil
}

// copyKeys brings the wrapped keys on a volume up to date.
func (s *Store) copyKeys(v *volume.Volume, all bool) error {
	s.mu.Lock()
	have := s.shelves[v].keyGen
	s.mu.Unlock()
	if all {
		have = 0
	}
	list, gen := s.cfg.Keys.Copies(have)
	if len(list) == 0 {
		return nil
	}
	root, err := v.Root()
	if err != nil {
		return err
	}
	for _, c := range list {
		name := path.Join(volume.KeyDir, c.Name)
		if old, err := durable.ReadFile(root, name, keys.MaxCopy); err == nil && (bytes.Equal(old, c.Data) || keys.Copy{Data: old}.Newer()) {
			continue
		}
		if err := durable.WriteFile(root, name, c.Data); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.shelves[v].keyGen = gen
	s.mu.Unlock()
	return nil
}
