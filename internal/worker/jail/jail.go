// Package jail takes from a process what it does not need, before it reads a
// hostile byte.
//
//	[jail] <- ingest
//
// The walls overlap on purpose: Landlock takes the file system, seccomp the
// system calls, the limits the resources, and the parent the user id. A wall
// that this kernel lacks is not fatal (recording comes first) but is in the
// Report, which the core shows.
//
// Nothing here can be undone, and it acts on the whole process.
package jail

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Profile says what a kind of worker needs.
type Profile struct {
	Name    string
	Files   []string // may be read; missing ones are skipped
	Network bool     // may connect by TCP and UDP, and receive by UDP; never listen
	Serves  bool     // may accept connections on the listening sockets that it was given
	Program string   // may become this program, and read its libraries; "" : may start nothing
}

// Ingest is for processes that talk to cameras: the network as a client, and
// of all files only those that say where names are resolved.
var Ingest = Profile{
	Name:    "ingest",
	Files:   []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"},
	Network: true,
}

// Picture is for processes that decode pictures: they become a decoder, and
// what they are given comes and goes by their standard input and output.
func Picture(decoder string) Profile {
	return Profile{Name: "picture", Files: []string{"/etc/ld.so.cache"}, Program: decoder}
}

// Demo is for the demonstration camera: it answers on the one socket it was
// given, which listens on loopback.
var Demo = Profile{Name: "demo camera", Serves: true}

// libraries are where the loader finds what a program is linked with.
var libraries = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"}

// A Guard is one wall and whether it stands.
type Guard struct {
	Name  string
	Holds bool
	Note  string // what it does, or why it does not hold
}

// A Report lists all walls.
type Report []Guard

// Holds tells whether every wall stands.
func (r Report) Holds() bool {
	for _, g := range r {
		if !g.Holds {
			return false
		}
	}
	return true
}

func (r *Report) add(name, note string, err error) {
	if err != nil {
		*r = append(*r, Guard{name, false, err.Error()})
		return
	}
	*r = append(*r, Guard{name, true, note})
}

// Enter builds the walls around this process and returns what holds. keep
// names the descriptors above 2 that the process was given on purpose; others
// that were inherited are closed.
//
// The order matters: what needs a right comes before what takes it, and
// seccomp, which forbids all the other steps, is last.
//
//vigil:clause 5.3.2.1
func Enter(p Profile, keep ...int) Report {
	runtime.LockOSThread() // for the attributes of a thread; the others follow by TSYNC
	defer runtime.UnlockOSThread()
	var r Report
	warm(p)
	closed, err := closeInherited(keep)
	r.add("descriptors", fmt.Sprintf("%d inherited by accident and closed", closed), err)
	r.add("user", fmt.Sprintf("uid %d, gid %d", os.Geteuid(), os.Getegid()), unprivileged())
	r.add("oom", "first to go when memory runs out", os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0))
	r.add("parent-death", "killed when the core dies", parentDeath())
	r.add("dumpable", "no core file, no tracing by the same user", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	r.add("limits", limitsNote, limit())
	r.add("no-new-privileges", "", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	note, err := restrictFiles(p)
	r.add("landlock", note, err)
	r.add("seccomp", "system calls by allow-list; exec, ptrace, mount, bpf and the like kill", filter(p))
	return r
}

// warm does what the standard library does once and could not do inside.
func warm(p Profile) {
	if !p.Network {
		return
	}
	// The first socket makes package net find out whether there is IPv6, by
	// binding a TCP socket, which Landlock will refuse.
	if c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err == nil {
		c.Close()
	}
}

// closeInherited closes descriptors that came across exec: they are the ones
// without the close-on-exec mark, for everything that Go opens has it.
func closeInherited(keep []int) (closed int, err error) {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("list descriptors: %w", err)
	}
next:
	for _, e := range dir {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		for _, k := range keep {
			if fd == k {
				continue next
			}
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 && unix.Close(fd) == nil {
			closed++
		}
	}
	return closed, nil
}

// unprivileged tells whether root's powers are gone. Dropping them is the
// parent's work, in the fork: here the process is already many threads.
func unprivileged() error {
	if os.Geteuid() == 0 || os.Getuid() == 0 {
		return fmt.Errorf("still root")
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), ":"); k == "CapEff" || k == "CapPrm" {
			if strings.Trim(v, " \t0") != "" {
				return fmt.Errorf("capabilities left: %s %s", k, strings.TrimSpace(v))
			}
		}
	}
	return nil
}

// parentDeath asks for SIGKILL when the thread that forked us ends. The
// parent's SysProcAttr has asked already; this repeats it after exec and sees
// a parent that is dead by now.
func parentDeath() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("parent death signal: %w", err)
	}
	if os.Getppid() == 1 {
		return fmt.Errorf("the parent is gone, or is init")
	}
	return nil
}
