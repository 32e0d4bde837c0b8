package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMain runs the inside of the jail when it is the child.
func TestMain(m *testing.M) {
	if what := os.Getenv("VIGIL_TEST_JAIL"); what != "" {
		inside(what)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// asNobody starts this test binary as the core starts a worker.
func asNobody(t *testing.T, what string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append([]string{"VIGIL_TEST_JAIL=" + what, "GOTRACEBACK=single", "GOMAXPROCS=2"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	return cmd
}

// A trial is something tried inside, and what came of it.
type trial struct {
	Name  string
	Error string
}

type outcome struct {
	Report Report
	Trials []trial
}

// TestInside tries what a worker must be able to do, and what it must not.
//
//vigil:clause 5.3.2.1
func TestInside(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := u.ReadFromUDP(b)
			if err != nil {
				return
			}
			u.WriteToUDP(b[:n], from)
		}
	}()
	open := t.TempDir() // everything above it is open to all, so that only the jail refuses
	for d := open; d != "/" && d != filepath.Clean(os.TempDir()); d = filepath.Dir(d) {
		os.Chmod(d, 0o777)
	}
	os.WriteFile(filepath.Join(open, "file"), []byte("x"), 0o666)
	os.Chmod(filepath.Join(open, "file"), 0o666)

	leak, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	cmd := asNobody(t, "trials", "DIR="+open, "TCP="+l.Addr().String(), "UDP="+u.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{leak, leak} // 3 is kept, 4 is an accident
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got outcome
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	for _, g := range got.Report {
		t.Logf("%-18s %-5v %s", g.Name, g.Holds, g.Note)
		if !g.Holds {
			t.Errorf("%s does not hold: %s", g.Name, g.Note)
		}
	}
	if len(got.Report) != 9 {
		t.Errorf("%d guards in the report", len(got.Report))
	}
	for _, tr := range got.Trials {
		may := strings.HasPrefix(tr.Name, "may ")
		if may != (tr.Error == "") {
			t.Errorf("%s: %q", tr.Name, tr.Error)
		}
	}
	if len(got.Trials) < 30 {
		t.Errorf("only %d trials", len(got.Trials))
	}
}

// TestDeadly tries what kills.
func TestDeadly(t *testing.T) {
	for name := range killers {
		t.Run(name, func(t *testing.T) {
			out, err := asNobody(t, "kill "+name).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestRoot shows that the report does not lie about a worker that stayed root.
func TestRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	cmd := asNobody(t, "trials", "DIR=/", "TCP=127.0.0.1:1", "UDP=127.0.0.1:1")
	cmd.SysProcAttr.Credential = nil
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got outcome
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Report.Holds() {
		t.Errorf("all holds: %v", got.Report)
	}
	for _, g := range got.Report {
		if g.Name == "user" && g.Holds {
			t.Errorf("a root that is no root: %v", g)
		}
	}
}

// killers are system calls that must end the process.
var killers = map[string]func(){
	"exec":     func() { syscall.Exec("/bin/true", []string{"true"}, nil) },
	"ptrace":   func() { syscall.PtraceAttach(os.Getppid()) },
	"mount":    func() { syscall.Mount("none", "/mnt", "tmpfs", 0, "") },
	"bpf":      func() { unix.Syscall(unix.SYS_BPF, 0, 0, 0) },
	"keyctl":   func() { unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true) },
	"unlink":   func() { os.Remove("/tmp/x") },
	"rename":   func() { os.Rename("/tmp/x", "/tmp/y") },
	"setuid":   func() { unix.RawSyscall(unix.SYS_SETUID, 0, 0, 0) },
	"unshare":  func() { unix.Unshare(unix.CLONE_NEWUSER) },
	"io_uring": func() { unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0) },
	"readv":    func() { unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(os.Getppid()), 0, 0, 0, 0, 0) },
}

func inside(what string) {
	if name, ok := strings.CutPrefix(what, "kill "); ok {
		Enter(Ingest)
		killers[name]()
		fmt.Println("alive")
		return
	}
	// A thread that is there before the walls are built must be within them.
	early, back := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread()
		for f := range early {
			back <- f()
		}
	}()
	early <- func() error { return nil }
	<-back
	out := outcome{Report: Enter(Ingest, 3)}
	for _, tr := range trials() {
		e := trial{Name: tr.name}
		if err := tr.try(); err != nil {
			e.Error = err.Error()
		}
		out.Trials = append(out.Trials, e)
		if strings.HasPrefix(tr.name, "open") {
			e = trial{Name: tr.name + " on an earlier thread"}
			early <- tr.try
			if err := <-back; err != nil {
				e.Error = err.Error()
			}
			out.Trials = append(out.Trials, e)
		}
	}
	json.NewEncoder(os.Stdout).Encode(out)
}

type attempt struct {
	name string // "may ..." must work, all others must fail
	try  func() error
}

func trials() []attempt {
	dir := os.Getenv("DIR")
	open := func(name string, flag int) func() error {
		return func() error {
			f, err := os.OpenFile(name, flag, 0o666)
			if err == nil {
				f.Close()
			}
			return err
		}
	}
	socket := func(family, kind, protocol int) func() error {
		return func() error { _, err := unix.Socket(family, kind, protocol); return err }
	}
	call := func(n uintptr, args ...uintptr) func() error {
		return func() error {
			var a [6]uintptr
			copy(a[:], args)
			if _, _, e := unix.RawSyscall6(n, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
				return e
			}
			return nil
		}
	}
	echo := func(network, addr string) func() error {
		return func() error {
			c, err := net.DialTimeout(network, addr, 5*time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			b := []byte("hello")
			if _, err := c.Write(b); err != nil {
				return err
			}
			_, err = io.ReadFull(c, b)
			return err
		}
	}
	path, _ := unix.BytePtrFromString(filepath.Join(dir, "confused"))
	return []attempt{
		{"may read resolv.conf", open("/etc/resolv.conf", os.O_RDONLY)},
		{"may read hosts", open("/etc/hosts", os.O_RDONLY)},
		{"may connect by TCP", echo("tcp", os.Getenv("TCP"))},
		{"may connect by UDP", echo("udp", os.Getenv("UDP"))},
		{"may find localhost", func() error { _, err := net.LookupHost("localhost"); return err }},
		{"may receive by UDP", func() error {
			c, err := net.ListenUDP("udp", nil)
			if err != nil {
				return err
			}
			defer c.Close()
			return c.SetReadBuffer(1 << 20)
		}},
		{"may list interfaces", func() error { _, err := net.Interfaces(); return err }},
		{"may start threads and collect garbage", func() error {
			done := make(chan bool)
			for range 20 {
				go func() { runtime.LockOSThread(); time.Sleep(time.Millisecond); done <- true }()
			}
			for range 20 {
				<-done
			}
			runtime.GC()
			return nil
		}},
		{"may use what it was given", func() error { _, err := unix.FcntlInt(3, unix.F_GETFD, 0); return err }},
		{"use what it was not given", func() error { _, err := unix.FcntlInt(4, unix.F_GETFD, 0); return err }},
		{"open passwd", open("/etc/passwd", os.O_RDONLY)},
		{"open a file of all", open(filepath.Join(dir, "file"), os.O_RDONLY)},
		{"open for writing", open(filepath.Join(dir, "file"), os.O_WRONLY)},
		{"open resolv.conf for writing", open("/etc/resolv.conf", os.O_RDWR)},
		{"open and create", open(filepath.Join(dir, "new"), os.O_CREATE|os.O_WRONLY)},
		{"open the program", open("/proc/self/exe", os.O_RDONLY)},
		{"open the memory of the core", open(fmt.Sprintf("/proc/%d/mem", os.Getppid()), os.O_RDONLY)},
		{"open a device", open("/dev/zero", os.O_RDONLY)},
		{"list a folder", func() error { _, err := os.ReadDir(dir); return err }},
		{"listen on TCP", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }},
		{"raw socket", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		{"packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"Unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)},
		{"socket pair", func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"multipath TCP", socket(unix.AF_INET, unix.SOCK_STREAM, 262)},
		{"vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"netlink but route", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT)},
		{"bind TCP", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return nil
			}
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		}},
		{"hand over a descriptor", func() error { // any message with parts will do
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				return nil
			}
			defer c.Close()
			_, _, err = c.WriteMsgUDP([]byte("x"), nil, c.LocalAddr().(*net.UDPAddr))
			return err
		}},
		{"signal the core", func() error { return syscall.Kill(os.Getppid(), 0) }},
		{"signal all", func() error { return syscall.Kill(-1, 0) }},
		{"signal a thread of the core", func() error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) }},
		{"signal by fcntl", func() error { _, err := unix.FcntlInt(3, unix.F_SETOWN, os.Getppid()); return err }},
		{"fork", call(unix.SYS_CLONE, uintptr(unix.SIGCHLD))},
		{"fork anew", call(unix.SYS_CLONE3, 0, 88)},
		{"new code", func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
			return err
		}},
		{"raise a limit", func() error {
			return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: 0})
		}},
		{"become dumpable", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }},
		// A filter that takes the flags of openat for the number of prctl would let this in.
		{"arguments that look like a call", call(unix.SYS_OPENAT, prSetVMA, uintptr(unsafe.Pointer(path)), unix.SYS_PRCTL|unix.O_CREAT, 0o666)},
	}
}
