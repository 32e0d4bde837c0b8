package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// environment is all that a worker knows of ours. One processor is plenty for
// eight cameras, and with more the Go scheduler spends as much on waking threads as
// the cameras cost. Its memory is small and
// steady: collecting early costs little there and keeps a worker of eight
// cameras, two streams each, at 14 to 19 MiB (BenchmarkWorker); the limit is a
// backstop for full queues.
func environment(extra []string) []string {
	debug := "tracebacklabels=1" // a panic's first line names the stream
	for kv := range strings.SplitSeq(os.Getenv("GODEBUG"), ",") {
		if strings.HasPrefix(kv, "fips140=") {
			debug += "," + kv
		}
	}
	return append([]string{
		"GOGC=100", "GOMEMLIMIT=160MiB", "GOMAXPROCS=1", "GOTRACEBACK=single", "GODEBUG=" + debug, "TZ=UTC", "LANG=C.UTF-8",
	}, extra...)
}

// A spawner forks. The kernel kills a child when the thread that forked it
// ends, so all forks are made on one thread that lives as long as there are
// workers.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

var errEnded = errors.New("the worker pool has ended")

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and what it forked with the thread
		for {
			select {
			case job := <-s.jobs:
				job()
			case <-s.done:
				return
			}
		}
	}()
	return s
}

// do runs job on the thread and waits for its end.
func (s *spawner) do(job func()) error {
	ran := make(chan struct{})
	select {
	case s.jobs <- func() { defer close(ran); job() }:
		<-ran
		return nil
	case <-s.done:
		return errEnded
	}
}

// sendRoom takes what eight cameras of 8 Mbit/s hand over at once.
const sendRoom = 2 << 20

// roomy lets a worker hand over without waiting for the core in between. The
// kernel gives less to a core that may not ask for more; that costs switches, no
// footage.
func roomy(fd int) {
	if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUFFORCE, sendRoom) != nil {
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendRoom) //nolint:errcheck // then it stays as it is
	}
}

// A child is a process that was started, and our ends of its socket and its
// standard error.
type child struct {
	proc   *os.Process
	conn   *net.UnixConn
	stderr *os.File
}

// spawn starts a worker process with a socket at descriptor 3.
func (p *Pool) spawn() (c *child, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start worker: socket: %w", err)
	}
	roomy(pair[1])
	ours, theirs := os.NewFile(uintptr(pair[0]), "worker"), os.NewFile(uintptr(pair[1]), "core")
	defer ours.Close()
	defer theirs.Close()
	fc, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("start worker: socket: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		fc.Close()
		return nil, fmt.Errorf("start worker: pipe: %w", err)
	}
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		fc.Close()
		r.Close()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	defer null.Close()
	proc, err := p.spawner.fork(&p.o, append([]string{"vigil"}, p.o.Args...), environment(p.o.Env), null, null, w, theirs)
	if err != nil {
		fc.Close()
		r.Close()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	return &child{proc: proc, conn: fc.(*net.UnixConn), stderr: r}, nil
}

// fork starts our program as the unprivileged user, in a process group of its
// own that dies with us, with files as its descriptors from 0 on.
func (s *spawner) fork(o *Options, argv, env []string, files ...*os.File) (proc *os.Process, err error) {
	attr := &os.ProcAttr{Dir: "/", Env: env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	if os.Getuid() == 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	}
	fault := s.do(func() {
		proc, err = os.StartProcess(o.Program, argv, attr)
		if attr.Sys.Credential != nil && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)) {
			// A container without the right to drop rights, or a program only root
			// may run: recording comes first. The jail report says "still root".
			o.Log.Error("worker cannot be given an unprivileged user", "uid", o.UID, "error", err)
			attr.Sys.Credential = nil
			proc, err = os.StartProcess(o.Program, argv, attr)
		}
	})
	return proc, errors.Join(fault, err)
}
