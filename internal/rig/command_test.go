package rig

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vigil/internal/simcam"
)

// command runs the program with a standard output of its own and returns the
// exit code.
func (r *Rig) command(out *os.File, args ...string) (code int, stderr string) {
	r.t.Helper()
	cmd := exec.Command(r.Program, append([]string{"--state", r.State, "--lang", "en"}, args...)...)
	var errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &errOut
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errOut.String()
}

// The exit code tells whether a command did what it was asked for: where
// nobody reads what it prints, where the disk does not take it, where the command line is
// wrong, and where no recorder runs.
func TestExitCodes(t *testing.T) {
	r := New(t, Options{})
	r.Start()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	reader, nobody, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer nobody.Close()
	for _, args := range [][]string{{"audit"}, {"audit", "--json"}, {"check"}, {"check", "--json"}, {"clauses"}, {"camera", "list", "--json"}, {"code"}} {
		if code, stderr := r.command(full, args...); code != 1 || !strings.Contains(stderr, "no space left") {
			t.Errorf("%v on a full disk: exit code %d, %s", args, code, stderr)
		}
		if code, stderr := r.command(nobody, args...); code != 1 || stderr != "" && !strings.HasPrefix(stderr, "\r") {
			t.Errorf("%v that nobody reads: exit code %d, %s", args, code, stderr)
		}
	}
	for _, args := range [][]string{{}, {"nothing"}, {"audit", "--limit", "0"}, {"audit", "--from", "today"}, {"camera", "record", "Door", "maybe"}, {"check", "--lang", "fr"}} {
		if code, stderr := r.command(nil, args...); code != 2 || stderr == "" {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	// Without a recorder a command does its own work, but makes no code that
	// would be void at its end, and no state where there is none.
	if code, stderr := r.command(nil, "alert"); code != 0 || stderr != "" {
		t.Errorf("alert: exit code %d, %s", code, stderr)
	}
	if code, stderr := r.command(nil, "code"); code != 1 || !strings.Contains(stderr, "vigil serve") {
		t.Errorf("code: exit code %d, %s", code, stderr)
	}
	out, _, err := r.Run("init", "--json")
	var made map[string]string
	if json.Unmarshal([]byte(out), &made); err != nil || made["state"] != r.State || made["footage"] == "" {
		t.Errorf("init: %q, %v", out, err)
	}
	empty := filepath.Join(r.Dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	r.State = empty
	for _, args := range [][]string{{"alert"}, {"camera", "list"}, {"code"}, {"verify"}} {
		if code, stderr := r.command(nil, args...); code != 1 || !strings.Contains(stderr, "vigil serve") {
			t.Errorf("%v of no recorder: exit code %d, %s", args, code, stderr)
		}
	}
	if list, err := os.ReadDir(empty); err != nil || len(list) > 0 {
		t.Errorf("a command left %v, %v", list, err)
	}
}

// A change on the command line changes what it names, and sends no password to
// another machine that it was not told for it.
func TestChangeCamera(t *testing.T) {
	r := New(t, Options{})
	r.Start()
	c := r.Add("Door", "rtsp://127.0.0.1:1/main", []string{"VIGIL_CAMERA_PASSWORD=camera-Pass-1"}, "--link", "plain", "--user", "demo", "--second", "rtsp://127.0.0.1:1/second", "--off")
	type camera struct {
		Name, User, Link, Transport   string
		HasPassword, Audio, BasicAuth bool
		RetentionDays                 int
		RetentionOwn                  bool
		Recording                     struct{ On bool }
		Streams                       []struct{ ID, Kind, URL string }
	}
	now := func() (c1 camera) {
		t.Helper()
		if err := r.Call("GET", "/cameras/"+c.ID, nil, &c1); err != nil {
			t.Fatal(err)
		}
		return c1
	}
	before := now()
	for _, tt := range []struct {
		args   []string
		change func(*camera)
		says   string // instead of a change
	}{
		{args: []string{"--name", "Gate 門口"}, change: func(c *camera) { c.Name = "Gate 門口" }},
		{args: []string{"--audio", "--transport", "udp", "--retention-days", "9"}, change: func(c *camera) {
			c.Audio, c.Transport, c.RetentionDays, c.RetentionOwn = true, "udp", 9, true
		}},
		{args: []string{"--no-audio", "--url", "rtsp://127.0.0.1:1/other"}, change: func(c *camera) { c.Audio, c.Streams[0].URL = false, "rtsp://127.0.0.1:1/other" }},
		{args: []string{"--second", ""}, change: func(c *camera) { c.Streams = c.Streams[:1] }},
		{args: []string{"--url", "rtsp://127.0.0.2:1/main"}, says: "password"},
		{args: []string{"--user", "other"}, says: "password"},
		{args: []string{"--basic-auth"}, says: "password"},
		{args: []string{"--url", "http://127.0.0.1/"}, says: "rtsp"},
		{args: []string{"--name", ""}, says: "ame"},
	} {
		want := before
		want.Streams = slices.Clone(before.Streams)
		code, stderr := r.command(nil, append([]string{"camera", "change", c.ID}, tt.args...)...)
		if tt.change != nil {
			tt.change(&want)
		}
		if (code != 0) != (tt.says != "") || !strings.Contains(stderr, tt.says) {
			t.Errorf("%v: exit code %d, %s", tt.args, code, stderr)
		}
		if before = now(); !reflect.DeepEqual(before, want) {
			t.Errorf("%v:\n is %+v\nnot %+v", tt.args, before, want)
		}
	}
}

// Who forgot the password, or was locked out by strangers, gets back in at the
// machine, by the same rules, with a password that must be changed.
//
//vigil:clause 5.4.1.1 5.4.2.1
func TestForgottenPassword(t *testing.T) {
	r := New(t, Options{})
	r.Start()
	signIn := func(password string) (must bool, err error) {
		var s struct{ PasswordMustChange bool }
		err = r.Call("POST", "/session", map[string]string{"name": "amy", "password": password}, &s)
		return s.PasswordMustChange, err
	}
	if err := r.Call("POST", "/setup", map[string]string{"code": r.Greeted.Code, "name": "amy", "password": "Correct-Horse-9"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, err := signIn("Wrong-Password-1"); err == nil {
			t.Fatal("any password will do")
		}
	}
	if _, err := signIn("Correct-Horse-9"); err == nil {
		t.Error("not locked")
	}
	set := func(account, password string) (code int, stderr string) {
		cmd := exec.Command(r.Program, "--state", r.State, "--lang", "en", "password", account)
		var errOut bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader(password+"\n"), &errOut
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), errOut.String()
	}
	for _, c := range []struct{ account, password, says string }{
		{"amy", "1234", "12 characters"}, {"amy", "", "12 characters"}, {"amy", "Correct-Horse-9", "last 5"}, {"eve", "Battery!Staple_7", "no account “eve”"},
	} {
		if code, stderr := set(c.account, c.password); code != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%q for %s: exit code %d, %s", c.password, c.account, code, stderr)
		}
	}
	if code, stderr := set("Amy", "Battery!Staple_7"); code != 0 || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if must, err := signIn("Battery!Staple_7"); err != nil || !must {
		t.Errorf("must be changed: %v, %v", must, err)
	}
	out, _, err := r.Run("audit", "--action", "password.reset", "--json")
	if err != nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"kind":"console"`) || strings.Contains(out, "Staple") {
		t.Errorf("recorded %s, %v", out, err)
	}
}

// A recorder goes on when nobody reads what it prints, and what it makes is
// for nobody else.
//
//vigil:clause 5.2.4.1
func TestNobodyReads(t *testing.T) {
	r := New(t, Options{})
	out, print, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, printErr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(r.Program, "serve", "--state", r.State, "--video", r.Video, "--listen", r.Address)
	cmd.Stdout, cmd.Stderr = print, printErr
	out.Close()
	errs.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	print.Close()
	printErr.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.Until("the recorder answers", Patience, func() bool { return r.Call("GET", "/status", nil, nil) == nil })
	for range 3 {
		if err := r.Call("GET", "/status", nil, nil); err != nil {
			t.Error(err)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if i := strings.Index(string(limits), "Max core file size"); err != nil || i < 0 || strings.Join(strings.Fields(string(limits)[i:])[4:6], " ") != "0 0" {
		t.Errorf("the recorder may leave a core file: %s, %v", limits, err)
	}
	for _, line := range strings.Split(modes(t, r.State), "\n") {
		if line != "" && !strings.HasPrefix(line[4:], "------") {
			t.Error("others may enter or read:", line)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(Patience):
		cmd.Process.Kill()
		t.Error("it does not end")
	}
}

// modes lists what is below a folder, with modes.
func modes(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode()&os.ModeSymlink == 0 {
			m := info.Mode().Perm().String() // -rwx------
			b.WriteString(m + " " + name + "\n")
		}
		return nil // what goes while we look is no matter
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestExportParts: where the coding of a camera changes, the command goes on in
// a further file, and no picture is missing in all of them together.
//
//vigil:clause 5.5.1.1
func TestExportParts(t *testing.T) {
	r := New(t, Options{})
	r.Start()
	r.Simulate(simcam.Stream{Path: "gate", Source: "clock-small"})
	c := r.Cameras[0]
	r.WaitRecording()
	begin := time.Now()
	sent := func(n int) {
		t.Helper()
		last := c.Feed.Sent(0)
		r.Until("more pictures", Patience, func() bool {
			now := c.Feed.Sent(0)
			return now[len(now)-1].Number >= last[len(last)-1].Number+uint64(n)
		})
	}
	sent(50)
	for _, film := range []string{"clock", "clock-small"} {
		r.must(c.Feed.Switch(film))
		sent(100)
	}
	end := time.Now()
	sent(50) // what was sent before the end is recorded by then
	out := filepath.Join(r.Dir, "gate.mp4")
	args := func(out string) []string {
		return []string{"--json", "export", "gate", "--from", begin.UTC().Format(time.RFC3339), "--to", end.UTC().Format(time.RFC3339), "-o", out}
	}
	text, stderr, err := r.Run(args(out)...)
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	var said struct {
		Files []struct {
			File        string
			From, Until int64
			Part        int
			Size        int64
			SHA256      string
		}
	}
	r.must(json.Unmarshal([]byte(text), &said))
	if len(said.Files) != 3 {
		t.Fatalf("%d files: %s", len(said.Files), text)
	}
	f := Footage{Pictures: map[uint64]int{}}
	for i, x := range said.Files {
		b, err := os.ReadFile(x.File)
		r.must(err)
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != x.SHA256 || x.Size != int64(len(b)) || x.Part != i+1 {
			t.Errorf("%d bytes, said %+v", len(b), x)
		}
		if i > 0 && x.From != said.Files[i-1].Until {
			t.Errorf("part %d begins at %d, the one before ends at %d", x.Part, x.From, said.Files[i-1].Until)
		}
		r.open(c, b, &f)
	}
	if said.Files[1].File != filepath.Join(r.Dir, "gate-2.mp4") {
		t.Error(said.Files[1].File)
	}
	for _, s := range c.Feed.Sent(0) {
		if at := time.UnixMilli(s.At); at.After(begin.Add(time.Second)) && at.Before(end.Add(-2*time.Second)) && f.Pictures[s.Number] != 1 {
			t.Errorf("picture %d is there %d times", s.Number, f.Pictures[s.Number])
		}
	}
	var list struct{ Exports []struct{ ID string } }
	r.must(r.Call("GET", "/exports", nil, &list))
	if len(list.Exports) != 0 {
		t.Errorf("%d exports are left behind", len(list.Exports))
	}
	// A file that is there already is not touched, and none of the others stays.
	r.must(os.Remove(said.Files[0].File))
	r.must(os.Remove(said.Files[2].File))
	if _, stderr, err := r.Run(args(out)...); err == nil || !strings.Contains(stderr, "gate-2.mp4") {
		t.Errorf("%v: %s", err, stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Dir, "gate*.mp4")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
