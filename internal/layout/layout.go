// Package layout keeps how people arrange live pictures, each account its own.
//
//	web -> [layout] -> a sealed document
package layout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"vigil/internal/document"
	"vigil/internal/media"
	"vigil/internal/text"
)

// Bounds.
const (
	MaxLayouts  = 20 // of one account
	MaxTiles    = 36
	MaxColumns  = 8
	MaxName     = 64   // characters
	maxAccounts = 1000 // that have some
)

// ErrChanged says that a list is not the one that was read: another tab has
// written it.
var ErrChanged = errors.New("the layouts were changed meanwhile")

// A Layout is an arrangement of live pictures.
type Layout struct {
	ID      string           `json:"id"` // as media.ID's text
	Name    string           `json:"name"`
	Columns int              `json:"columns"` // 0: as many as the width has room for
	Cameras []media.CameraID `json:"cameras"` // row by row
}

// A List is the layouts of one account. Version counts its changes.
type List struct {
	Version int      `json:"version"`
	Layouts []Layout `json:"layouts"`
}

// A Store is a place. Safe for many callers.
type Store struct {
	mu   sync.Mutex
	file document.File
	all  map[string]List // by account; guarded by mu
}

// Open reads the document. A *document.Anew comes with a store that works and is empty.
func Open(file document.File) (*Store, error) {
	file.Kind, file.Version = "layouts", 1
	s := &Store{file: file, all: map[string]List{}}
	err := file.LoadOrBegin(&s.all)
	if anew := (*document.Anew)(nil); errors.As(err, &anew) {
		s.all = map[string]List{}
	} else if err != nil {
		return nil, err
	}
	return s, err
}

// Get returns an account's layouts, which the caller must not change.
func (s *Store) Get(account string) List {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[account]
}

// Put replaces an account's layouts if the list has the version that was read.
// The error is text.Mistakes, ErrChanged, or of the disk.
func (s *Store) Put(account string, l List) (List, error) {
	if err := check(l.Layouts); err != nil {
		return List{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.all[account]
	if l.Version != old.Version {
		return List{}, ErrChanged
	}
	if !known && len(s.all) >= maxAccounts {
		return List{}, fmt.Errorf("layouts of %d accounts", maxAccounts)
	}
	l.Version++
	s.all[account] = l
	if err := s.file.Save(s.all); err != nil {
		if s.all[account] = old; !known {
			delete(s.all, account)
		}
		return List{}, err
	}
	return l, nil
}

// All returns every account's layouts.
func (s *Store) All() map[string][]Layout {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]Layout{}
	for account, l := range s.all {
		if len(l.Layouts) > 0 {
			out[account] = slices.Clone(l.Layouts)
		}
	}
	return out
}

// Missing counts those of the given layouts that are not here, account by account.
func (s *Store) Missing(all map[string][]Layout) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for account, list := range all {
		n += len(missing(s.all[account].Layouts, list))
	}
	return n
}

// Add adds those that are not here, as far as there is room, and changes none
// that are. The error is text.Mistakes, or of the disk; then none is added.
func (s *Store) Add(all map[string][]Layout) error {
	for _, list := range all {
		if err := check(list); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := maps.Clone(s.all)
	for account, list := range all {
		l, known := now[account]
		if more := missing(l.Layouts, list); len(more) > 0 && (known || len(now) < maxAccounts) {
			now[account] = List{l.Version + 1, append(slices.Clone(l.Layouts), more...)}
		}
	}
	if err := s.file.Save(now); err != nil {
		return err
	}
	s.all = now
	return nil
}

// missing lists what is in more and not in list, within the bounds.
func missing(list, more []Layout) (out []Layout) {
	for _, l := range more {
		if len(list)+len(out) < MaxLayouts && !slices.ContainsFunc(list, func(o Layout) bool { return o.ID == l.ID }) {
			out = append(out, l)
		}
	}
	return out
}

func check(list []Layout) error {
	var m text.Mistakes
	if len(list) > MaxLayouts {
		m.Add("/layouts", "at-most", "max", strconv.Itoa(MaxLayouts))
		return m.Err()
	}
	for i, l := range list {
		at := "/layouts/" + strconv.Itoa(i)
		if _, err := media.ParseID[struct{}](l.ID); err != nil || slices.ContainsFunc(list[:i], func(o Layout) bool { return o.ID == l.ID }) {
			m.Add(at+"/id", "wrong-type")
		}
		switch n := utf8.RuneCountInString(l.Name); {
		case n == 0:
			m.Add(at+"/name", "required")
		case n > MaxName:
			m.Add(at+"/name", "too-long", "max", strconv.Itoa(MaxName))
		case !text.Printable(l.Name):
			m.Add(at+"/name", "not-printable")
		}
		if l.Columns < 0 || l.Columns > MaxColumns {
			m.Add(at+"/columns", "out-of-range", "min", "0", "max", strconv.Itoa(MaxColumns))
		}
		if len(l.Cameras) > MaxTiles {
			m.Add(at+"/cameras", "at-most", "max", strconv.Itoa(MaxTiles))
		}
	}
	return m.Err()
}
