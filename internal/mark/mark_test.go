package mark

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

func open(t *testing.T, file document.File) *Store {
	t.Helper()
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, at int64, text string) Mark {
	t.Helper()
	m, err := s.Put(Mark{Cameras: []media.CameraID{{1}, {2}}, At: at, Text: text, By: "amy"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestStore(t *testing.T) {
	file := document.File{FS: durable.NewMem(), Name: "marks", Key: seal.NewKey()}
	s := open(t, file)
	late, early := put(t, s, 2000, " 車禍 🦉 "), put(t, s, 1000, "")
	if late.Text != "車禍 🦉" || late.ID == "" || late.Put == 0 || late.ID == early.ID {
		t.Errorf("%+v", late)
	}
	same := put(t, s, 2000, "again") // two marks of one instant are two
	last := put(t, s, 3000, "")
	want := []Mark{early, late, same, last}
	s = open(t, file)
	if got := s.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart: %+v", got)
	}
	before := s.List()
	if err := s.Remove(last.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(last.ID); !errors.Is(err, ErrGone) {
		t.Errorf("removed twice: %v", err)
	}
	if !reflect.DeepEqual(before, want) {
		t.Error("a list that somebody holds was changed")
	}
	if got := s.List(); len(got) != 3 {
		t.Errorf("%+v", got)
	}
	s = open(t, file)
	if m, removed, ok := s.Find(last.ID); !ok || !removed || m.At != 3000 {
		t.Errorf("%+v, %v, %v", m, removed, ok)
	}
	if m, err := s.Restore(last.ID); err != nil || !reflect.DeepEqual(m, last) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := s.Restore(last.ID); !errors.Is(err, ErrGone) {
		t.Errorf("restored twice: %v", err)
	}
	if got := s.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("brought back: %+v", got)
	}
	if _, removed, ok := s.Find(early.ID); removed || !ok {
		t.Error("not found")
	}

	file.Key = seal.NewKey()
	s, err := Open(file)
	if !errors.Is(err, document.ErrDamaged) || s == nil {
		t.Fatalf("damaged: %v", err)
	}
	put(t, s, 1, "after damage")
}

func TestBounds(t *testing.T) {
	s := open(t, document.File{FS: durable.NewMem(), Name: "marks", Key: seal.NewKey()})
	for want, m := range map[string]Mark{
		"/text: too-long":      {Text: strings.Repeat("門", MaxText+1)},
		"/text: not-printable": {Text: "a\u202eb"},
		"/with: at-most":       {Cameras: []media.CameraID{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}}},
		"/with: wrong-type":    {Cameras: []media.CameraID{{1}, {1}}},
	} {
		if _, err := s.Put(m); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	s.all.Marks = make([]Mark, Max)
	if _, err := s.Put(Mark{Cameras: []media.CameraID{{1}}}); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	s.all.Marks = nil
	for range maxRemoved + 5 {
		if err := s.Remove(put(t, s, 1, "").ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.all.Removed); n != maxRemoved {
		t.Errorf("%d removed ones are kept", n)
	}
}

func TestForget(t *testing.T) {
	s := open(t, document.File{FS: durable.NewMem(), Name: "marks", Key: seal.NewKey()})
	put(t, s, 1, "of two")
	if _, err := s.Put(Mark{Cameras: []media.CameraID{{2}}, At: 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget([]media.CameraID{{2}, {3}}); err != nil {
		t.Fatal(err)
	}
	if got := s.List(); len(got) != 1 || !reflect.DeepEqual(got[0].Cameras, []media.CameraID{{1}}) {
		t.Errorf("%+v", got)
	}
}

// A disk that does not take it leaves what was.
func TestNotSaved(t *testing.T) {
	s := open(t, document.File{FS: durable.OS{}, Name: "/nowhere/at/all/marks", Key: seal.NewKey()})
	if _, err := s.Put(Mark{Cameras: []media.CameraID{{1}}}); err == nil || len(s.List()) != 0 {
		t.Errorf("%v, %v", err, s.List())
	}
}
