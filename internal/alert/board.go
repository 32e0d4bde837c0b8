// Package alert is the board of conditions that a person must know.
//
//	store, recorder, ledger, ... -> (alert) -> web, notify
//	                                   +-----> audit: every raise, clear and acknowledgement
//
// A condition is raised once for a kind and an object, however often it is
// found, and stays until who raised it clears it, over restarts too. It is listed
// until it is over and somebody has seen it. The board knows no texts and decides
// nothing. Raise and Clear do not wait for a disk: Run saves.
package alert

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// Bounds of the board.
const (
	maxOpen    = 2000 // conditions that last
	maxHistory = 500  // that are over
	maxArgs    = 16
	maxText    = 512 // bytes of an object or an argument
	watchQueue = 64
)

// A Condition is what a part of Vigil has found.
type Condition struct {
	Kind   Kind
	Object string            // what it is about: an id, a folder; may be empty
	Camera media.CameraID    // zero: of none, or as Object or the argument "camera" say
	Args   map[string]string // for the texts
}

// An Alert is a condition on the board.
type Alert struct {
	ID           string            `json:"id"`
	Kind         Kind              `json:"kind"`
	Object       string            `json:"object,omitempty"`
	Camera       media.CameraID    `json:"camera,omitzero"`
	Args         map[string]string `json:"args,omitempty"`
	Since        time.Time         `json:"since"`                 // UTC
	Last         time.Time         `json:"last"`                  // when it was raised last
	Count        int               `json:"count"`                 // how often it was raised
	Cleared      time.Time         `json:"cleared,omitzero"`      // zero: it lasts
	Acknowledged time.Time         `json:"acknowledged,omitzero"` // zero: nobody did
	By           string            `json:"by,omitempty"`          // who acknowledged
}

// Lasts tells whether the condition is not over.
func (a Alert) Lasts() bool { return a.Cleared.IsZero() }

// Alarm tells whether footage or its proof is in danger.
func (a Alert) Alarm() bool { return a.Kind.Alarm() }

// listed tells whether it is on the board for everybody to see.
func (a Alert) listed() bool { return a.Lasts() || a.Acknowledged.IsZero() }

// ErrGone is returned for an alert that is not on the board.
var ErrGone = errors.New("no such alert")

// An Auditor is the part of audit.Log that the board needs.
type Auditor interface {
	Record(audit.Record) (seq uint64, err error)
}

// A Board is safe for many callers. Run and Save have one caller at a time.
type Board struct {
	audit Auditor
	now   func() time.Time
	file  document.File // used by Save alone
	wake  chan struct{} // one token: something is to be saved

	saving sync.Mutex

	mu      sync.Mutex
	open    map[condition]*Alert // guarded by mu; that last
	history []*Alert             // guarded by mu; that are over, oldest first
	dirty   bool                 // guarded by mu
	dropped int                  // guarded by mu; raised beyond maxOpen
	watch   map[chan Alert]bool  // guarded by mu
}

type condition struct {
	kind   Kind
	object string
}

// document of a board, version 1.
type saved struct {
	Alerts []*Alert `json:"alerts"` // in the order of Since
}

// Open reads the board from a sealed file. A file that does not open, or something else in its place, is put
// aside as <file>.damaged, which is an alert: conditions that last are raised again by who finds
// them, what was over is in the audit log alone.
func Open(fsys durable.FS, file string, key seal.Key, log Auditor) (*Board, error) {
	b := &Board{audit: log, now: time.Now, file: document.File{FS: fsys, Name: file, Key: key, Kind: "alerts", Version: 1},
		wake: make(chan struct{}, 1), open: map[condition]*Alert{}, watch: map[chan Alert]bool{}}
	var s saved
	var damaged error
	switch _, err := b.file.Load(&s); {
	case errors.Is(err, fs.ErrNotExist):
		b.dirty = true // kept at once: that there is none later tells of a loss
	case errors.Is(err, document.ErrDamaged), durable.NoFile(err):
		if _, err := durable.Aside(fsys, file); err != nil {
			return nil, fmt.Errorf("open alerts: %w", err)
		}
		s, damaged = saved{}, err
	case err != nil:
		return nil, fmt.Errorf("open alerts: %w", err)
	}
	if b.dirty && b.Save() != nil {
		b.wake <- struct{}{} // Run tries again
	}
	for _, a := range s.Alerts {
		if a.Lasts() {
			b.open[condition{a.Kind, a.Object}] = a
		} else {
			b.history = append(b.history, a)
		}
	}
	if damaged != nil {
		b.Raise(Condition{Kind: BoardAnew, Args: map[string]string{"error": damaged.Error()}})
	}
	return b, nil
}

// Raise puts a condition on the board, or counts it once more. Only the first
// time is an audit record. It never waits and never fails: a record or a save that
// does not work is tried again by Run.
//
//vigil:clause 5.2.7.1 5.2.8.1 5.2.8.2
func (b *Board) Raise(c Condition) {
	c.Object = cut(c.Object)
	now := b.now().UTC().Round(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	key := condition{c.Kind, c.Object}
	if a := b.open[key]; a != nil {
		again := *a // what was handed out is not changed
		again.Count++
		again.Last = now
		fresh := args(c.Args)
		changed := !maps.Equal(fresh, a.Args)
		again.Args = fresh
		b.open[key] = &again
		b.changed(&again, changed)
		return
	}
	if len(b.open) >= maxOpen {
		b.dropped++
		return
	}
	a := &Alert{ID: newID(), Kind: c.Kind, Object: c.Object, Camera: c.camera(), Args: args(c.Args), Since: now, Last: now, Count: 1}
	b.open[key] = a
	b.record(audit.AlertRaise, actor.Of("alert", ""), a)
	b.changed(a, true)
}

// camera finds out which camera a condition is about.
func (c Condition) camera() (id media.CameraID) {
	if !c.Camera.IsZero() {
		return c.Camera
	}
	if meanings[c.Kind].camera && id.UnmarshalText([]byte(c.Object)) == nil {
		return id
	}
	if id.UnmarshalText([]byte(c.Args["camera"])) != nil {
		return media.CameraID{}
	}
	return id
}

// cut also escapes what does not print: a file's name must not write on a
// person's terminal.
func cut(s string) string { return audit.Clean(s, maxText) }

func args(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, min(len(in), maxArgs))
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if len(out) < maxArgs {
			out[cut(k)] = cut(in[k])
		}
	}
	return out
}

func newID() string {
	var b [10]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process first
	return strings.ToLower(base32.HexEncoding.EncodeToString(b[:]))
}

// Clear says that a condition is over. Clearing what is not there is nothing.
func (b *Board) Clear(kind Kind, object string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := condition{kind, cut(object)}
	a := b.open[key]
	if a == nil {
		return
	}
	over := *a
	over.Cleared = b.now().UTC().Round(0)
	delete(b.open, key)
	b.history = append(b.history, &over)
	if n := len(b.history) - maxHistory; n > 0 {
		b.history = slices.Delete(b.history, 0, n)
	}
	b.record(audit.AlertClear, actor.Of("alert", ""), &over)
	b.changed(&over, true)
}

// Acknowledge says that somebody has seen an alert. It stays while the
// condition lasts. The second to do so changes nothing.
func (b *Board) Acknowledge(by actor.Actor, id string) (Alert, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, a := range b.open {
		if a.ID == id {
			seen := b.acknowledged(by, a)
			b.open[key] = seen
			return *seen, nil
		}
	}
	for i, a := range b.history {
		if a.ID == id {
			b.history[i] = b.acknowledged(by, a)
			return *b.history[i], nil
		}
	}
	return Alert{}, fmt.Errorf("acknowledge alert %.40q: %w", id, ErrGone)
}

func (b *Board) acknowledged(by actor.Actor, a *Alert) *Alert {
	if !a.Acknowledged.IsZero() {
		return a
	}
	seen := *a
	seen.Acknowledged, seen.By = b.now().UTC().Round(0), by.Name
	b.record(audit.AlertAck, by, &seen)
	b.changed(&seen, true)
	return &seen
}

// record writes an audit record. Called with mu held: audit.Log.Record does not
// wait for a disk unless its queue is full.
func (b *Board) record(action audit.Action, by actor.Actor, a *Alert) {
	detail := map[string]string{"alert": a.ID, "kind": string(a.Kind)}
	for k, v := range a.Args {
		if k != "alert" && k != "kind" {
			detail[k] = v
		}
	}
	_, _ = b.audit.Record(audit.Record{Actor: by, Action: action, Object: a.Object, Camera: a.Camera, Detail: detail}) // a log that fails is an alert itself
}

// changed tells who watches, and has it saved. Called with mu held.
func (b *Board) changed(a *Alert, tell bool) {
	b.dirty = true
	select {
	case b.wake <- struct{}{}:
	default:
	}
	if !tell {
		return
	}
	for c := range b.watch {
		select {
		case c <- *a:
		default: // too slow: it lists again
			delete(b.watch, c)
			close(c)
		}
	}
}

// List returns the alerts, newest first: those that last or that nobody has
// acknowledged; with all also the others that are kept.
func (b *Board) List(all bool) []Alert {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Alert
	for _, a := range b.open {
		list = append(list, *a)
	}
	for _, a := range b.history {
		if all || a.listed() {
			list = append(list, *a)
		}
	}
	slices.SortFunc(list, func(x, y Alert) int {
		if n := y.Since.Compare(x.Since); n != 0 {
			return n
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list
}

// Get returns one alert.
func (b *Board) Get(id string) (Alert, bool) {
	for _, a := range b.List(true) {
		if a.ID == id {
			return a, true
		}
	}
	return Alert{}, false
}

// Watch returns a channel that gets each alert that is new or changed, until
// stop is called. A reader that is too slow finds it closed, and lists and watches
// again.
func (b *Board) Watch() (changes <-chan Alert, stop func()) {
	c := make(chan Alert, watchQueue)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watch[c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.watch[c] {
			delete(b.watch, c)
			close(c)
		}
	}
}

// Save makes the board durable if it changed.
func (b *Board) Save() error {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	if !b.dirty {
		b.mu.Unlock()
		return nil
	}
	b.dirty = false
	s := saved{Alerts: slices.Clone(b.history)} // what they point to is never changed
	for _, a := range b.open {
		s.Alerts = append(s.Alerts, a)
	}
	b.mu.Unlock()
	slices.SortStableFunc(s.Alerts, func(x, y *Alert) int { return x.Since.Compare(y.Since) })
	if err := b.file.Save(s); err != nil {
		b.mu.Lock()
		b.dirty = true
		b.mu.Unlock()
		return err
	}
	return nil
}

const (
	saveCalm  = 200 * time.Millisecond // changes come in bursts
	saveAgain = 5 * time.Second        // after a failure
)

// Run saves what changes until ctx ends, and then once more.
func (b *Board) Run(ctx context.Context) error {
	wait := saveCalm
	for {
		select {
		case <-ctx.Done():
			_ = b.Save() // what fails now is raised again after the next start
			return nil
		case <-b.wake:
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = saveCalm
		if b.Save() != nil {
			wait = saveAgain
			select {
			case b.wake <- struct{}{}:
			default:
			}
		}
	}
}
