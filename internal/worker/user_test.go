package worker

import (
	"os"
	"testing"
)

func TestOwnUser(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		id := ownUser()
		if id != nobody && (id < firstUser || id > lastUser) {
			t.Errorf("%d", id)
		}
		seen[id] = true
	}
	if m, _ := os.ReadFile("/proc/self/uid_map"); isMapped(m, firstUser) && isMapped(m, lastUser) && len(seen) < 2 {
		t.Errorf("always %v", seen)
	}
	if !runs(os.Getuid()) {
		t.Error("this process does not run")
	}
}

func TestIsMapped(t *testing.T) {
	for m, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"0 100000 65536\n":                   true,
		"0 1000 1\n1 100000 60000\n":         false,
		"0 1000 1\n61000 100000 1000\n":      true,
		"":                                   false,
		"x y z\n0 0 -5\n99999999999999999999999999 0 1\n": false,
	} {
		if isMapped([]byte(m), firstUser) != want {
			t.Errorf("%q: want %v", m, want)
		}
	}
}
