package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/media"
	"vigil/internal/text"
)

// Bounds of the changes that are remembered. The audit log has all of them,
// without what opens a camera.
const (
	MaxChanges = 1000
	maxHistory = 4 << 20 // bytes of all values
	maxChange  = 1 << 20 // bytes of one change's
	// KeepSecrets is how long old passwords are kept, to be taken back (docs/adr/0061-changes.md).
	KeepSecrets = 7 * 24 * time.Hour
)

// A Cause is why a change was made. The zero Cause: somebody wanted it.
type Cause struct {
	// Undoes is the version of the change that this one takes back.
	Undoes int64 `json:"undoes,omitempty"`
	// File is when the sealed file was made that this comes from.
	File time.Time `json:"file,omitzero"`
}

func (c Cause) detail() map[string]string {
	switch {
	case c.Undoes > 0:
		return map[string]string{"undoes": strconv.FormatInt(c.Undoes, 10)}
	case !c.File.IsZero():
		return map[string]string{"file": c.File.UTC().Format(time.RFC3339)}
	}
	return nil
}

// A entry is one change as it is kept.
type entry struct {
	Version int64       `json:"version"`
	At      time.Time   `json:"at"`
	By      actor.Actor `json:"by"`
	Cause
	Edits []edit `json:"edits"`
}

// history is the sealed document of changes, oldest first.
type history struct {
	Changes []entry `json:"changes"`
}

// A Change is what may be told of one.
type Change struct {
	// Version is what the settings had after it, and names it.
	Version int64
	At      time.Time
	By      actor.Actor
	Cause
	// UndoneBy is the change that took it back and stands; 0: none.
	UndoneBy int64
	// Lost: what it held is not kept any more, so it cannot be taken back.
	Lost bool
	// Secrets: it holds an old password, or what reaches a removed camera, which can be forgotten at once.
	Secrets bool
	Edits   []Edit
}

// An Edit is one difference: of a field, or of a whole camera.
type Edit struct {
	Camera media.CameraID // zero: the recorder's own
	Name   string         // of the camera then
	Act    Act
	Field  string // JSON pointer, for Changed: "/storage/retentionDays", "/streams/0/url"
	// From and To are values as JSON has them, without secrets: a string, a bool,
	// a json.Number, or nil for none and for a value that is not shown.
	From, To any
}

// Why a change cannot be taken back. The codes are part of the interface.
const (
	UndoNothing   = "undo-nothing"   // all is as it was before
	UndoChanged   = "undo-changed"   // the field has a third value by now
	UndoRemoved   = "undo-removed"   // the camera was removed since
	UndoLost      = "undo-lost"      // what it held is not kept any more
	UndoForgotten = "undo-forgotten" // the footage of the camera is gone
	UndoReach     = "undo-reach"     // the password would go to somebody else
	UndoRefused   = "undo-refused"   // the settings would contradict themselves
)

// ErrNoChange says that no such change is remembered.
var ErrNoChange = errors.New("no such change")

// An UndoError says why a change cannot be taken back, and what stands in the
// way.
type UndoError struct {
	Code     string
	Edit     Edit          // what stands in the way; From and To of the change itself
	Now      any           // the value it has instead
	Mistakes text.Mistakes // for UndoRefused
}

// Error is for logs.
func (e *UndoError) Error() string { return e.Code + " " + e.Edit.Name + e.Edit.Field }

// loadChanges reads the history. What is damaged is put aside and the history begins anew, which Anew
// tells; an entry of a version that the settings never came to is dropped.
func (s *Store) loadChanges(version int64) error {
	err := s.past.LoadOrBegin(&s.changes)
	if errors.As(err, &s.anew) {
		s.changes = history{}
		return nil
	}
	if err != nil {
		return err
	}
	s.changes.Changes = slices.DeleteFunc(s.changes.Changes, func(e entry) bool { return e.Version > version })
	return nil
}

// Anew returns why the remembered changes began anew at the start; nil: they
// did not.
func (s *Store) Anew() *document.Anew { return s.anew }

// remember makes the history with one more change durable. It needs changing.
// How far set-up is, is no choice of anybody's.
func (s *Store) remember(e entry) (undo func(), err error) {
	e.Edits = slices.DeleteFunc(slices.Clone(e.Edits), func(x edit) bool { return x.Field == setUpField })
	if len(e.Edits) == 0 {
		return func() {}, nil
	}
	if e.size() > maxChange {
		e.lose(func(*edit) bool { return true })
	}
	s.mu.Lock()
	old := s.changes
	s.mu.Unlock()
	now := old.with(e)
	if err := s.past.Save(now); err != nil {
		return nil, err
	}
	s.setChanges(now)
	return func() { s.setChanges(old) }, nil
}

func (s *Store) setChanges(h history) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = h
}

// with returns the history with one more change, within the bounds.
func (h history) with(e entry) history {
	list := append(slices.Clone(h.Changes), e)
	total := 0
	for i, x := range slices.Backward(list) {
		if total += x.size(); total > maxHistory || len(list)-i > MaxChanges {
			list = slices.Clone(list[i+1:])
			break
		}
	}
	return history{list}
}

func (e *entry) size() (n int) {
	for _, x := range e.Edits {
		n += len(x.From) + len(x.To) + 256
	}
	return n
}

// secret tells whether the edit holds what opens a camera.
func (x *edit) secret() bool {
	if x.From == nil && x.To == nil {
		return false
	}
	return x.Field == passwordField || x.Act != Changed || strings.HasSuffix(x.Field, "/url") && (bytes.Contains(x.From, []byte("?")) || bytes.Contains(x.To, []byte("?")))
}

// secrets tells whether it holds what opened a camera once and does not need to any more.
func (e *entry) secrets() bool {
	return slices.ContainsFunc(e.Edits, func(x edit) bool { return x.secret() && (x.Act == Changed || x.Act == Removed) })
}

// lose takes the values out of some edits. It tells whether there were any.
func (e *entry) lose(some func(*edit) bool) (changed bool) {
	list := slices.Clone(e.Edits)
	for i := range list {
		x := &list[i]
		if some(x) && (x.From != nil || x.To != nil) {
			x.Lost, x.From, x.To, x.Reach = true, nil, nil, nil
			changed = true
		}
	}
	e.Edits = list
	return changed
}

// lost tells whether what is needed to take the change back is not kept.
func (e *entry) lost() bool {
	return slices.ContainsFunc(e.Edits, func(x edit) bool {
		return x.Act == Forgotten || x.Lost && (x.Act == Changed || x.Act == Removed)
	})
}

// Forget takes old passwords out of the remembered changes, once they are
// older than KeepSecrets.
//
//vigil:clause 5.2.4.1
func (s *Store) Forget() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.forget(func(e *entry, x *edit) bool { return s.now().Sub(e.At) > KeepSecrets && x.secret() })
}

// forget takes values out of the remembered changes. It needs changing.
func (s *Store) forget(which func(*entry, *edit) bool) error {
	s.mu.Lock()
	h := history{slices.Clone(s.changes.Changes)}
	s.mu.Unlock()
	changed := false
	for i := range h.Changes {
		e := &h.Changes[i]
		changed = e.lose(func(x *edit) bool { return which(e, x) }) || changed
	}
	if !changed {
		return nil
	}
	if err := s.past.Save(h); err != nil {
		return fmt.Errorf("forget old passwords: %w", err)
	}
	s.setChanges(h)
	return nil
}

// ForgetNow takes what opened the cameras of a change out of all remembered changes, whatever their
// age: a removal is final then, and an old password is known here no longer. The settings stay as they are. Asked for again
// it changes and records nothing. The error is ErrNoChange, or of the log or the disk.
//
//vigil:clause 5.2.4.1
func (s *Store) ForgetNow(by actor.Actor, version int64) (Change, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	e, ok := s.entry(version)
	if !ok {
		return Change{}, ErrNoChange
	}
	names := map[media.CameraID]string{}
	for _, x := range e.Edits {
		if x.secret() && (x.Act == Changed || x.Act == Removed) {
			names[x.Camera] = x.Name
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(names), func(a, b media.CameraID) int { return bytes.Compare(a[:], b[:]) }) {
		r := audit.Record{At: s.now(), Actor: by, Action: settingsForget, Object: names[id], Camera: id, Result: audit.OK, Detail: map[string]string{"change": strconv.FormatInt(version, 10)}}
		if _, err := s.audit.Record(r); err != nil {
			return Change{}, fmt.Errorf("forget old passwords: it cannot be recorded: %w", err)
		}
	}
	err := s.forget(func(_ *entry, x *edit) bool { return names[x.Camera] != "" && x.secret() })
	if err != nil {
		for id, name := range names {
			_, _ = s.audit.Record(audit.Record{At: s.now(), Actor: by, Action: settingsForget, Object: name, Camera: id, Result: audit.Failed, Reason: "storage"}) // the disk's error is what counts
		}
		return Change{}, err
	}
	list, _ := s.Changes(version+1, 1)
	return list[0], nil
}

// entry finds a remembered change.
func (s *Store) entry(version int64) (e entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.changes.Changes, func(e entry) bool { return e.Version == version })
	if i < 0 {
		return entry{}, false
	}
	return s.changes.Changes[i], true
}

// Changes returns at most limit changes, newest first, whose version is below
// before (0: all), and whether there are more.
func (s *Store) Changes(before int64, limit int) (list []Change, more bool) {
	s.mu.Lock()
	all := s.changes.Changes
	s.mu.Unlock()
	undone := map[int64]int64{}
	for _, e := range slices.Backward(all) {
		if e.Undoes > 0 && undone[e.Version] == 0 {
			undone[e.Undoes] = e.Version
		}
		if before > 0 && e.Version >= before {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, e.change(undone[e.Version]))
	}
	return list, false
}

func (e *entry) change(undoneBy int64) Change {
	c := Change{Version: e.Version, At: e.At, By: e.By, Cause: e.Cause, UndoneBy: undoneBy, Lost: e.lost(), Secrets: e.secrets()}
	for _, x := range e.Edits {
		c.Edits = append(c.Edits, x.told())
	}
	return c
}

// told is the edit without secrets. What is a tree in itself, a stream that came
// or went, is told by its address.
func (e edit) told() Edit {
	t := Edit{Camera: e.Camera, Name: e.Name, Act: e.Act, Field: e.Field}
	if e.Act != Changed || e.Field == passwordField {
		return t
	}
	t.From, t.To = plain(e.Field, value(e.From)), plain(e.Field, value(e.To))
	return t
}

func plain(field string, v any) any {
	switch x := v.(type) {
	case map[string]any:
		if field == recordingField {
			return get(x, "/on")
		}
		return plain(field+"/url", x["url"])
	case string:
		return shown(field, x)
	case bool, json.Number:
		return x
	}
	return nil
}

// Undo takes one change back: what it changed, and nothing else, gets the value that
// it had before, as a new change. The error is ErrNoChange, *UndoError, or one of Change.
func (s *Store) Undo(by actor.Actor, version int64) (Change, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	e, ok := s.entry(version)
	if !ok {
		return Change{}, ErrNoChange
	}
	old, now, err := s.change(by, Cause{Undoes: version}, func(d *Doc) error { return e.undo(d, by, s.now()) })
	var m text.Mistakes
	switch {
	case errors.As(err, &m):
		return Change{}, &UndoError{Code: UndoRefused, Mistakes: m}
	case err != nil:
		return Change{}, err
	case old == now:
		return Change{}, &UndoError{Code: UndoNothing}
	}
	list, _ := s.Changes(0, 1)
	return list[0], nil
}

// undo puts what the change changed back into the document, or says what
// stands in the way.
func (e *entry) undo(d *Doc, by actor.Actor, at time.Time) error {
	at = at.UTC().Round(0)
	own := any(d.tree())
	trees := map[media.CameraID]any{} // of the cameras whose fields change
	for _, x := range slices.Backward(e.Edits) {
		stop := func(code string, now any) error { return &UndoError{Code: code, Edit: x.told(), Now: now} }
		c := d.Camera(x.Camera)
		switch x.Act {
		case Forgotten:
			return stop(UndoForgotten, nil)
		case Added, Restored:
			if c != nil && !c.Gone() {
				c.Remove(by.Name, at)
			}
			continue
		case Removed:
			if c != nil && !c.Gone() {
				continue
			}
			if x.Lost {
				return stop(UndoLost, nil)
			}
			if err := d.restore(x.From, by, at); err != nil {
				return err
			}
			continue
		}
		tree := own
		if !x.Camera.IsZero() {
			if c == nil || c.Gone() {
				return stop(UndoRemoved, nil)
			}
			if trees[x.Camera] == nil {
				trees[x.Camera] = c.tree()
			}
			tree = trees[x.Camera]
		}
		if x.Lost {
			return stop(UndoLost, nil)
		}
		is, was, made := get(tree, x.Field), value(x.From), value(x.To)
		if x.Field == recordingField { // whoever switches it back has armed it
			if get(is, "/on") == get(was, "/on") {
				continue
			}
			on, _ := get(was, "/on").(bool)
			is, made, was = get(is, "/on"), get(made, "/on"), value(raw(Recording{On: on, By: by.Name, Since: at}))
		}
		switch {
		case same(is, was) && x.Field != recordingField:
			continue
		case !same(is, made):
			return stop(UndoChanged, plain(x.Field, is))
		}
		if _, err := put(tree, strings.Split(x.Field, "/")[1:], was); err != nil {
			return stop(UndoChanged, plain(x.Field, is))
		}
	}
	if err := d.fromTree(own.(map[string]any)); err != nil {
		return fmt.Errorf("undo a change of settings: %w", err)
	}
	for id, tree := range trees {
		c, err := cameraOf(tree.(map[string]any))
		if err != nil {
			return fmt.Errorf("undo a change of camera %v: %w", id, err)
		}
		*d.Camera(id) = c
	}
	return e.within(d)
}

// within refuses to give an old password to somebody who it was not for: the
// address may have become another one since.
func (e *entry) within(d *Doc) error {
	for _, x := range e.Edits {
		if x.Field != passwordField || x.From == nil || x.Reach == nil {
			continue
		}
		if c := d.Camera(x.Camera); !c.Reach().Within(x.Reach[0]) {
			return &UndoError{Code: UndoReach, Edit: x.told()}
		}
	}
	return nil
}

// restore brings a removed camera back as it was, armed by who does it.
func (d *Doc) restore(from json.RawMessage, by actor.Actor, at time.Time) error {
	t, _ := value(from).(map[string]any)
	c, err := cameraOf(t)
	if err != nil {
		return fmt.Errorf("undo a removal: %w", err)
	}
	if c.Recording.On {
		c.Recording = Recording{On: true, By: by.Name, Since: at}
	}
	if is := d.Camera(c.ID); is != nil {
		*is = c
	} else {
		d.Cameras = append(d.Cameras, c)
	}
	return nil
}

func same(a, b any) bool { return bytes.Equal(raw(a), raw(b)) }
