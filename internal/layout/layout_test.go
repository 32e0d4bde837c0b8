package layout

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

func of(n byte) string { return media.CameraID{n}.String() }

func TestStore(t *testing.T) {
	mem := durable.NewMem()
	file := document.File{FS: mem, Name: "layouts", Key: seal.NewKey()}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	two := []Layout{{ID: of(1), Name: "收銀台 🦉", Columns: 3, Cameras: []media.CameraID{{7}, {8}}}, {ID: of(2), Name: "Yard"}}
	first, err := s.Put("amy", List{Layouts: two})
	if err != nil || first.Version != 1 {
		t.Fatalf("%v, %v", first, err)
	}
	if _, err := s.Put("amy", List{Layouts: nil}); !errors.Is(err, ErrChanged) {
		t.Errorf("written over what another tab wrote: %v", err)
	}
	if _, err := s.Put("bob", List{Layouts: two[1:]}); err != nil {
		t.Error(err)
	}
	s, err = Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Get("amy"); !reflect.DeepEqual(got, List{1, two}) {
		t.Errorf("after a restart: %v", got)
	}
	if got := s.Get("bob"); len(got.Layouts) != 1 {
		t.Errorf("bob's: %v", got)
	}
	if got := s.Get("eve"); got.Version != 0 || got.Layouts != nil {
		t.Errorf("of nobody: %v", got)
	}

	file.Key = seal.NewKey()
	s, err = Open(file)
	if !errors.Is(err, document.ErrDamaged) || s == nil {
		t.Fatalf("damaged: %v", err)
	}
	if _, err := s.Put("amy", List{Layouts: two}); err != nil {
		t.Errorf("after damage: %v", err)
	}
}

func TestBadLayouts(t *testing.T) {
	s, err := Open(document.File{FS: durable.NewMem(), Name: "layouts", Key: seal.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	good := Layout{ID: of(1), Name: "a"}
	for want, l := range map[string][]Layout{
		"/layouts: at-most":                make([]Layout, MaxLayouts+1),
		"/layouts/0/id: wrong-type":        {{ID: "x", Name: "a"}},
		"/layouts/1/id: wrong-type":        {good, good},
		"/layouts/0/name: required":        {{ID: of(1)}},
		"/layouts/0/name: too-long":        {{ID: of(1), Name: strings.Repeat("門", MaxName+1)}},
		"/layouts/0/name: not-printable":   {{ID: of(1), Name: "a\u202eb"}},
		"/layouts/0/columns: out-of-range": {{ID: of(1), Name: "a", Columns: 9}},
		"/layouts/0/cameras: at-most":      {{ID: of(1), Name: "a", Cameras: make([]media.CameraID, MaxTiles+1)}},
	} {
		if _, err := s.Put("amy", List{Layouts: l}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if got := s.Get("amy"); got.Version != 0 {
		t.Errorf("something was kept: %v", got)
	}
}

// A disk that does not take it leaves what was.
func TestNotSaved(t *testing.T) {
	file := document.File{FS: durable.OS{}, Name: "/nowhere/at/all/layouts", Key: seal.NewKey()}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put("amy", List{Layouts: []Layout{{ID: of(1), Name: "a"}}}); err == nil {
		t.Error("no error")
	}
	if got := s.Get("amy"); got.Version != 0 || len(s.all) != 0 {
		t.Errorf("%v", got)
	}
}
