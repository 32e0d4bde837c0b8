// Package rig is a whole recorder on a bench: the real program with a state
// of its own, simulated cameras in front of it, and hands that kill it, pull its
// disk and turn its clock.
//
//	simcam --RTSP--> vigil serve <--control socket-- [rig]
//
// It measures what the promises are about: which pictures a camera sent, which
// of them the record holds, and how long a start took. It is for tests, ours and
// those of other packages; nothing of it is in the product.
package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// StartLimit is how long after the start of the process recording is back.
const StartLimit = 5 * time.Second

// Patience bounds every wait for something that must come.
const Patience = 45 * time.Second

// Options say how a recorder differs from the ordinary one.
type Options struct {
	Program string   // default: Program(t)
	State   string   // default: a temporary folder
	Video   string   // default: "video" beside the state
	Env     []string // added to the environment
}

// A Rig is one recorder. It is for one goroutine, the test's.
type Rig struct {
	t       testing.TB
	Program string
	Dir     string // temporary; the log is in it
	State   string
	Video   string
	Address string // host:port of the page
	env     []string

	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	result  error         // of the process, once ended
	greeted chan greeting // what it printed, once
	log     *os.File
	Started time.Time // when the process was started
	Greeted greeting

	Cameras []*Camera
}

// A greeting is what the program prints when it is ready.
type greeting struct {
	Lines       []string
	Fingerprint string // of the page's certificate
	Code        string // one-time; empty once there is an administrator
}

// New returns a recorder that is not started. It ends with the test.
func New(t testing.TB, o Options) *Rig {
	t.Helper()
	r := &Rig{t: t, Program: o.Program, State: o.State, Video: o.Video, env: o.Env, Dir: tempDir(t)}
	if r.Program == "" {
		r.Program = Program(t)
	}
	if r.State == "" {
		r.State = filepath.Join(r.Dir, "state")
	}
	if r.Video == "" {
		r.Video = filepath.Join(r.Dir, "video")
	}
	r.Address = freeAddress(t)
	var err error
	if r.log, err = os.OpenFile(filepath.Join(r.Dir, "log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Kill()
		if t.Failed() {
			t.Logf("the recorder's log:\n%s", ends(r.log.Name(), 6000))
		}
		r.log.Close()
	})
	return r
}

// tempDir is a temporary folder that other users may enter, as the workers are
// one; its content is as private as it is made.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vigil-rig-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove what the test left: %v", err)
		}
	})
	return dir
}

// freeAddress returns a loopback address that nobody listens on. It is below
// the range of outgoing connections, so that it stays free over restarts.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Start starts the program and waits until it is ready.
func (r *Rig) Start() {
	r.t.Helper()
	r.Launch()
	r.Ready()
}

// Launch starts the program and does not wait.
func (r *Rig) Launch() {
	r.t.Helper()
	if r.cmd != nil {
		r.t.Fatal("the recorder runs already")
	}
	cmd := exec.Command(r.Program, "serve", "--lang", "en", "--state", r.State, "--video", r.Video, "--listen", r.Address)
	cmd.Env = append(os.Environ(), r.env...)
	cmd.Stderr = r.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: 0}
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	r.Started = time.Now()
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.cmd, r.ended, r.greeted, r.result = cmd, make(chan struct{}), make(chan greeting, 1), nil
	ended, greeted := r.ended, r.greeted
	var reading sync.WaitGroup
	reading.Go(func() { read(out, greeted) })
	go func() {
		defer close(ended)
		reading.Wait()
		r.result = cmd.Wait()
	}()
}

// read passes on what the program prints.
func read(out io.Reader, greeted chan<- greeting) {
	var g greeting
	told := false
	for s := bufio.NewScanner(out); s.Scan(); {
		line := s.Text()
		g.Lines = append(g.Lines, line)
		if f, ok := strings.CutPrefix(line, "certificate SHA-256 "); ok {
			g.Fingerprint = f
		}
		if strings.HasPrefix(line, "one-time code") {
			g.Code = line[strings.LastIndex(line, " ")+1:]
		}
		if (line == "ready" || g.Code != "") && !told {
			told = true
			greeted <- g
		}
	}
}

// Ready waits until the program says that it is.
func (r *Rig) Ready() {
	r.t.Helper()
	select {
	case r.Greeted = <-r.greeted:
	case <-r.ended:
		r.t.Fatalf("the recorder ended: %v\n%s", r.result, ends(r.log.Name(), 4000))
	case <-time.After(Patience):
		r.t.Fatal("the recorder does not get ready")
	}
}

// Running tells whether the program runs.
func (r *Rig) Running() bool {
	if r.cmd == nil {
		return false
	}
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// Kill ends the program and all its workers at once, with SIGKILL, and
// returns when. Nothing happens when it does not run.
func (r *Rig) Kill() time.Time {
	r.t.Helper()
	at := time.Now()
	if r.cmd == nil {
		return at
	}
	tree := processes(r.cmd.Process.Pid)
	at = time.Now()
	for _, pid := range tree {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	r.gone(append(tree, processes(r.cmd.Process.Pid)...))
	return at
}

// Freeze stops the program and all its workers where they are, so that they
// do nothing between a fault and the Kill that belongs to it.
func (r *Rig) Freeze() time.Time {
	r.t.Helper()
	tree := processes(r.cmd.Process.Pid)
	at := time.Now()
	for _, pid := range tree {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	return at
}

// gone waits until the processes are no more.
func (r *Rig) gone(pids []int) {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(Patience):
		r.t.Fatal("the killed recorder does not end")
	}
	r.cmd = nil
	r.Until("the workers are gone", Patience, func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	})
}

// Stop asks the program to end and returns how it did.
func (r *Rig) Stop() error {
	r.t.Helper()
	tree := processes(r.cmd.Process.Pid)
	syscall.Kill(r.cmd.Process.Pid, syscall.SIGTERM)
	r.gone(tree)
	return r.result
}

// processes returns a process and all its descendants.
func processes(root int) (list []int) {
	list = append(list, root)
	for i := 0; i < len(list); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", list[i]))
		for _, task := range tasks {
			b, _ := os.ReadFile(task)
			for _, f := range strings.Fields(string(b)) {
				var pid int
				if _, err := fmt.Sscan(f, &pid); err == nil {
					list = append(list, pid)
				}
			}
		}
	}
	return list
}

// alive tells whether a process runs; one that only waits to be collected
// does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// Until waits for what must come, and fails the test when it does not.
func (r *Rig) Until(what string, limit time.Duration, ok func() bool) {
	r.t.Helper()
	if !within(limit, ok) {
		r.t.Fatalf("not within %v: %s", limit, what)
	}
}

func within(limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(25 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Run runs a command of the program on this recorder: Run("camera", "list").
func (r *Rig) Run(args ...string) (stdout, stderr string, err error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Program, append([]string{"--state", r.State, "--lang", "en"}, args...)...)
	cmd.Env = append(os.Environ(), r.env...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return out.String(), errOut.String(), err
}

// ends returns the beginning and the end of a file, for messages.
func ends(name string, most int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	if len(b) > 2*most {
		return string(b[:most]) + "\n[...]\n" + string(b[len(b)-most:])
	}
	return string(b)
}

// PID is the process id of the core.
func (r *Rig) PID() int { return r.cmd.Process.Pid }
