package rig

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// An older folder of `make run` has a camera that was a program beside the recorder, on a port that
// was chosen then: it goes on. What has the port instead is named.
func TestOldDemoFolder(t *testing.T) {
	dir := tempDir(t)
	script, err := os.ReadFile(filepath.Join(Root(t), "tools/demo"))
	if err != nil {
		t.Fatal(err)
	}
	simcam := build(t, "simcam", func(out string) error { return run(Root(t), "go", "build", "-o", out, "./cmd/simcam") })
	for _, sub := range []string{"tools", "bin", ".demo"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := New(t, Options{State: filepath.Join(dir, ".demo/state"), Video: filepath.Join(dir, ".demo/video")})
	_, port, _ := net.SplitHostPort(freeAddress(t))
	for name, b := range map[string]string{"tools/demo": string(script), ".demo/port": port + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, program := range map[string]string{"vigil": r.Program, "simcam": simcam} {
		if err := os.Symlink(program, filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	r.Start()
	r.Add("Demo", "rtsp://127.0.0.1:"+port+"/clock", []string{"VIGIL_CAMERA_PASSWORD=demo-Camera-1"}, "--user", "demo", "--link", "plain")
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	demo := func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(dir, "tools/demo"))
		cmd.Env = append(os.Environ(), "LISTEN="+freeAddress(t), "LANG=C")
		return cmd
	}
	other, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if said, err := demo().CombinedOutput(); err == nil || !strings.Contains(string(said), "another program uses port "+port) {
		t.Errorf("%v: %s", err, said)
	}
	other.Close()
	cmd := demo()
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	defer func() {
		if t.Failed() {
			t.Log(ends(said.Name(), 2000))
		}
	}()
	r.Until("the recorder runs", Patience, func() bool { // a command before that would open the folder itself
		return strings.Contains(ends(said.Name(), 2000), "Vigil records the demo camera")
	})
	r.Until("the old camera records", Patience, func() bool {
		out, _, err := r.Run("--json", "camera", "list")
		return err == nil && regexp.MustCompile(`"now":\s*true`).MatchString(out)
	})
	if out, _, _ := r.Run("--json", "camera", "list"); strings.Count(out, `"armedBy"`) != 1 {
		t.Errorf("%s\n%s", out, ends(said.Name(), 2000))
	}
}
