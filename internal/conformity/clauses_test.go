package conformity

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"testing/fstest"
)

// TestClausesAreCounted compares the committed places and page with the tree.
func TestClausesAreCounted(t *testing.T) {
	if len(Clauses) != 31 {
		t.Fatalf("%d clauses, the standard has 31", len(Clauses))
	}
	got, err := Scan(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	var committed map[string]Places
	if err := json.Unmarshal(placesJSON, &committed); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, committed) {
		t.Error("places.json is stale: run make clauses")
	}
	page, err := os.ReadFile("../../docs/clauses.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Markdown(Rows(got)) {
		t.Error("docs/clauses.md is stale: run make clauses")
	}
	for _, r := range Rows(got) {
		if len(r.Code) > 0 && len(r.Tests) == 0 {
			t.Errorf("clause %s: %s answers it and no test shows it", r.ID, r.Code[0])
		}
		if len(r.Code) == 0 && len(r.Tests) > 0 {
			t.Errorf("clause %s: %s shows it and no code answers it", r.ID, r.Tests[0])
		}
	}
}

// TestScanRefuses feeds directives that must not pass.
func TestScanRefuses(t *testing.T) {
	for name, src := range map[string]string{
		"unknown clause": "package a\n\n// F is.\n//\n//vigil:clause 9.9.9.9\nfunc F() {}\n",
		"no declaration": "package a\n\nfunc F() {\n\t//vigil:clause 5.2.7.2\n}\n",
	} {
		if _, err := Scan(fstest.MapFS{"a.go": {Data: []byte(src)}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	got, err := Scan(fstest.MapFS{
		"a.go":      {Data: []byte("package a\n\n// F is.\n//\n//vigil:clause 5.2.7.2 5.2.8.1\nfunc (s *S) F() {}\n")},
		"a_test.go": {Data: []byte("package a\n\n//vigil:clause 5.2.7.2\nfunc TestF() {}\n")},
	})
	want := map[string]Places{"5.2.7.2": {Code: []string{"a.go S.F"}, Tests: []string{"a_test.go TestF"}}, "5.2.8.1": {Code: []string{"a.go S.F"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}
