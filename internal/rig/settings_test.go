package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command line lists changes, takes one back, and carries the settings to a
// file and from there to another recorder.
func TestSettingsCommands(t *testing.T) {
	t.Setenv("VIGIL_PASSPHRASE", "Quiet-Orchard-77")
	r := New(t, Options{})
	r.Start()
	c := r.Add("Door", "rtsp://127.0.0.1:1/main", []string{"VIGIL_CAMERA_PASSWORD=camera-Pass-1"}, "--link", "plain", "--user", "demo", "--off")
	run := func(args ...string) string {
		t.Helper()
		out, stderr, err := r.Run(args...)
		if err != nil {
			t.Fatalf("%v: %v, %s", args, err, stderr)
		}
		return out
	}
	run("camera", "change", "Door", "--retention-days", "9")
	if out := run("settings", "changes"); !strings.Contains(out, "Door: footage is kept: as for all cameras → 9 days") || !strings.Contains(out, "Door: camera added") {
		t.Error(out)
	}
	run("settings", "undo", "2")
	if code, stderr := r.command(nil, "settings", "undo", "2"); code != 1 || !strings.Contains(stderr, "nothing to undo") {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, stderr := r.command(nil, "settings", "undo", "99"); code != 1 || !strings.Contains(stderr, "no change 99") {
		t.Errorf("%d, %s", code, stderr)
	}
	run("camera", "add", "--name", "Shed", "--url", "rtsp://127.0.0.1:1/shed", "--link", "plain", "--off")
	run("camera", "remove", "Shed")
	if out := run("settings", "forget", "5"); !strings.Contains(out, "Forgotten") {
		t.Error(out)
	}
	if code, stderr := r.command(nil, "settings", "undo", "5"); code != 1 || !strings.Contains(stderr, "not kept") && !strings.Contains(stderr, "no longer") {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, stderr := r.command(nil, "settings", "forget", "99"); code != 1 || !strings.Contains(stderr, "no change 99") {
		t.Errorf("%d, %s", code, stderr)
	}
	if out := run("audit", "--action", "settings.forget"); !strings.Contains(out, "Shed") {
		t.Error(out)
	}
	file := filepath.Join(r.Dir, "settings.vigil")
	run("settings", "export", "-o", file)
	b, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(b), "VIGILSET") || strings.Contains(string(b), "camera-Pass-1") {
		t.Errorf("%v, %.20q", err, b)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if code, stderr := r.command(nil, "settings", "export", "-o", file); code != 1 || !strings.Contains(stderr, "already") {
		t.Errorf("over an existing file: %d, %s", code, stderr)
	}

	other := New(t, Options{})
	other.Start()
	out, stderr, err := other.Run("settings", "import", file)
	if err != nil || !strings.Contains(out, "Door: camera added") || !strings.Contains(out, "--apply") {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if out, _, _ := other.Run("camera", "list"); strings.Contains(out, "Door") {
		t.Error("telling has changed it")
	}
	if out, stderr, err := other.Run("settings", "import", file, "--apply"); err != nil || !strings.Contains(out, "settings undo") {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	var got struct {
		Name, User  string
		HasPassword bool
	}
	if err := other.Call("GET", "/cameras/"+c.ID, nil, &got); err != nil || got.Name != "Door" || got.User != "demo" || !got.HasPassword {
		t.Errorf("%v: %+v", err, got)
	}
	t.Setenv("VIGIL_PASSPHRASE", "Another-Thing-9")
	if code, stderr := other.command(nil, "settings", "import", file); code != 1 || !strings.Contains(stderr, "passphrase is wrong") {
		t.Errorf("%d, %s", code, stderr)
	}
}
