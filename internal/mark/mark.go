// Package mark keeps the marks that people put on the timeline: an instant of some
// cameras, and what there is to be seen.
//
//	web -> [mark] -> a sealed document
//
// A mark is a note. It keeps nothing from retention, and it proves nothing: who put it, and who
// administers the recorder, may take it away and bring it back.
package mark

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"vigil/internal/document"
	"vigil/internal/media"
	"vigil/internal/text"
)

// Bounds.
const (
	Max        = 2000 // marks
	MaxText    = 200  // characters
	MaxCameras = 9
	maxRemoved = 100 // that can be brought back
)

// What a caller may decide upon.
var (
	ErrFull = errors.New("there are as many marks as there may be")
	ErrGone = errors.New("there is no such mark")
)

// A Mark is an instant that somebody wants to find again.
type Mark struct {
	ID      string           `json:"id"`      // as media.ID's text
	Cameras []media.CameraID `json:"cameras"` // at least one, each once
	At      int64            `json:"at"`      // ms since the epoch
	Text    string           `json:"text"`
	By      string           `json:"by"`
	Put     int64            `json:"put"` // when, ms since the epoch
}

// content is the document.
type content struct {
	Marks   []Mark `json:"marks"`   // by At
	Removed []Mark `json:"removed"` // the latest at the end
}

// A Store is a place. Safe for many callers.
type Store struct {
	mu   sync.Mutex
	file document.File
	all  content // guarded by mu; its lists are replaced, not changed
}

// Open reads the document. A *document.Anew comes with a store that works and is empty.
func Open(file document.File) (*Store, error) {
	file.Kind, file.Version = "marks", 1
	s := &Store{file: file}
	err := file.LoadOrBegin(&s.all)
	if anew := (*document.Anew)(nil); errors.As(err, &anew) {
		s.all = content{}
	} else if err != nil {
		return nil, err
	}
	return s, err
}

// List returns all marks by their instant. The caller must not change them.
func (s *Store) List() []Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Marks
}

// Find returns a mark; removed: one that can be brought back.
func (s *Store) Find(id string) (m Mark, removed, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := index(s.all.Marks, id); i >= 0 {
		return s.all.Marks[i], false, true
	}
	if i := index(s.all.Removed, id); i >= 0 {
		return s.all.Removed[i], true, true
	}
	return Mark{}, false, false
}

// Put adds a mark, which gets an id and the time. The error is text.Mistakes,
// ErrFull, or of the disk.
func (s *Store) Put(m Mark) (Mark, error) {
	m.Text = strings.TrimSpace(m.Text)
	if err := check(m); err != nil {
		return Mark{}, err
	}
	m.ID, m.Put = media.NewID[struct{}]().String(), time.Now().UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	return m, s.add(m, s.all.Removed)
}

// Remove takes a mark away. The error is ErrGone, or of the disk.
func (s *Store) Remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := index(s.all.Marks, id)
	if i < 0 {
		return ErrGone
	}
	now := content{Marks: without(s.all.Marks, i), Removed: append(slices.Clone(s.all.Removed), s.all.Marks[i])}
	now.Removed = now.Removed[max(len(now.Removed)-maxRemoved, 0):]
	return s.save(now)
}

// Restore brings a mark back that was removed, as it was. The error is ErrGone,
// ErrFull, or of the disk.
func (s *Store) Restore(id string) (Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := index(s.all.Removed, id)
	if i < 0 {
		return Mark{}, ErrGone
	}
	m := s.all.Removed[i]
	return m, s.add(m, without(s.all.Removed, i))
}

// Forget takes cameras out of all marks, and marks with them that have no other.
func (s *Store) Forget(gone []media.CameraID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now content
	changed := false
	rest := func(list []Mark) (out []Mark) {
		for _, m := range list {
			n := len(m.Cameras)
			m.Cameras = slices.DeleteFunc(slices.Clone(m.Cameras), func(c media.CameraID) bool { return slices.Contains(gone, c) })
			changed = changed || len(m.Cameras) < n
			if len(m.Cameras) > 0 {
				out = append(out, m)
			}
		}
		return out
	}
	now.Marks, now.Removed = rest(s.all.Marks), rest(s.all.Removed)
	if !changed {
		return nil
	}
	return s.save(now)
}

// add puts a mark in its place. The caller holds mu.
func (s *Store) add(m Mark, removed []Mark) error {
	if len(s.all.Marks) >= Max {
		return ErrFull
	}
	i, _ := slices.BinarySearchFunc(s.all.Marks, m, func(a, b Mark) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Put, b.Put), -1) }) // after one of the same instant
	return s.save(content{Marks: slices.Insert(slices.Clone(s.all.Marks), i, m), Removed: removed})
}

func (s *Store) save(now content) error {
	if err := s.file.Save(now); err != nil {
		return err
	}
	s.all = now
	return nil
}

func index(list []Mark, id string) int {
	return slices.IndexFunc(list, func(m Mark) bool { return m.ID == id })
}

func without(list []Mark, i int) []Mark {
	return slices.Delete(slices.Clone(list), i, i+1)
}

func check(m Mark) error {
	var mistakes text.Mistakes
	switch n := utf8.RuneCountInString(m.Text); {
	case n > MaxText:
		mistakes.Add("/text", "too-long", "max", strconv.Itoa(MaxText))
	case !text.Printable(m.Text):
		mistakes.Add("/text", "not-printable")
	}
	if len(m.Cameras) > MaxCameras {
		mistakes.Add("/with", "at-most", "max", strconv.Itoa(MaxCameras-1))
	}
	for i, c := range m.Cameras {
		if slices.Contains(m.Cameras[:i], c) {
			mistakes.Add("/with", "wrong-type")
			break
		}
	}
	return mistakes.Err()
}
