package internal

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestDeps compares deps.txt, the drawing of docs/ARCHITECTURE.md in words,
// with the imports of the source: neither may have what the other lacks. No part
// may import another.
func TestDeps(t *testing.T) {
	allowed, fenced := readDeps(t)
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...", "../cmd/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	parts := allowed["apart"]
	delete(allowed, "apart")
	seen := map[string]bool{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := short(p.ImportPath)
		if name == "internal" { // this test
			continue
		}
		seen[name] = true
		if strings.HasPrefix(name, "cmd/") { // main lists: it may import what it likes
			continue
		}
		want, ok := allowed[name]
		if !ok {
			t.Errorf("%s is not in deps.txt", name)
			continue
		}
		var got []string
		for _, i := range p.Imports {
			if s := short(i); s != "" {
				got = append(got, s)
				if !slices.Contains(want, s) {
					t.Errorf("%s imports %s: deps.txt does not let it", name, s)
				}
				if slices.Contains(parts, name) && slices.Contains(parts, s) {
					t.Errorf("%s imports %s: parts meet at places", name, s)
				}
			}
			for prefix, users := range fenced {
				if (i == prefix || strings.HasPrefix(i, prefix+"/")) && !slices.Contains(users, name) {
					t.Errorf("%s imports %s: only %v may", name, i, users)
				}
			}
			if parent, nested := owner(short(i)); nested && parent != name && !strings.HasPrefix(name, parent+"/") && !slices.Contains(want, short(i)) {
				t.Errorf("%s imports %s, which belongs to %s", name, i, parent)
			}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("deps.txt lets %s import %s, which it does not", name, w)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("deps.txt has %s, which does not exist", name)
		}
	}
}

// short returns the name of a package of ours, "" for others.
func short(importPath string) string {
	if s, ok := strings.CutPrefix(importPath, "vigil/internal/"); ok {
		return s
	}
	if s, ok := strings.CutPrefix(importPath, "vigil/"); ok {
		return s
	}
	return ""
}

func owner(name string) (string, bool) {
	dir := path.Dir(name)
	return dir, dir != "." && dir != "cmd"
}

func readDeps(t *testing.T) (allowed, fenced map[string][]string) {
	f, err := os.Open("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	allowed, fenced = map[string][]string{}, map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		name, rest, ok := strings.Cut(line, ":")
		if !ok {
			if strings.TrimSpace(line) != "" {
				t.Fatalf("deps.txt: %q", line)
			}
			continue
		}
		if outside, ok := strings.CutPrefix(name, "only "); ok {
			fenced[strings.TrimSpace(outside)] = strings.Fields(rest)
			continue
		}
		allowed[strings.TrimSpace(name)] = strings.Fields(rest)
	}
	return allowed, fenced
}
