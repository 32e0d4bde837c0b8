package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// builds are the programs of this run of tests.
var builds struct {
	mu   sync.Mutex
	dir  string
	done map[string]error
}

// Main runs the tests of a package that builds programs, and removes them.
func Main(m *testing.M) {
	code := m.Run()
	if builds.dir != "" {
		os.RemoveAll(builds.dir)
	}
	os.Exit(code)
}

// Program returns the recorder's program, built once a run as a release is;
// VIGIL_BIN names one that is there already.
func Program(t testing.TB) string {
	t.Helper()
	if name := os.Getenv("VIGIL_BIN"); name != "" {
		return name
	}
	return build(t, "vigil", func(out string) error {
		return run(Root(t), "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", out, "./cmd/vigil")
	})
}

// ClockProgram returns the recorder's program with a wall clock that is ahead
// by as many seconds as the file clock says, in the core and in the workers.
func ClockProgram(t testing.TB, clock string) string {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 makes the overlay with the wrong clock, and is not here")
	}
	overlay := tempDir(t)
	if err := run(Root(t), "python3", "tools/vclock.py", overlay, clock); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(overlay, "vigil")
	if err := run(Root(t), "go", "build", "-overlay", filepath.Join(overlay, "overlay.json"), "-o", out, "./cmd/vigil"); err != nil {
		t.Fatal(err)
	}
	return out
}

// FaultFS returns the program of tools/faultfs.
func FaultFS(t testing.TB) string {
	t.Helper()
	return build(t, "faultfs", func(out string) error {
		return run(filepath.Join(Root(t), "tools/faultfs"), "go", "build", "-o", out, ".")
	})
}

// build makes a program unless it was made.
func build(t testing.TB, name string, make func(out string) error) string {
	t.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "vigil-rig-bin-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		builds.dir, builds.done = dir, map[string]error{}
	}
	out := filepath.Join(builds.dir, name)
	err, made := builds.done[name]
	if !made {
		err = make(out)
		builds.done[name] = err
	}
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	return out
}

// Root returns the root of the source tree.
func Root(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// run runs a tool with the environment of a release build.
func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFIPS140=v1.0.0", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
