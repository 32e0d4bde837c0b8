package jail

import (
	"os"

	"golang.org/x/sys/unix"
)

// deadly are calls that no worker makes by itself: one that does was taken
// over, and dies before the call. The core sees SIGSYS.
var deadly = []string{
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	"mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick", "mount_setattr", "pivot_root", "chroot",
	"unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
	"reboot", "swapon", "swapoff", "acct", "quotactl", "open_by_handle_at", "name_to_handle_at", "personality",
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "capset",
	"iopl", "ioperm", "modify_ldt", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
	"mknod", "mknodat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "rmdir", "mkdir", "mkdirat", "symlink", "symlinkat",
	"link", "linkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "truncate", "ftruncate", "creat",
}

// allowed are calls that the Go runtime and reading and writing need. A name
// that an architecture lacks is skipped.
var allowed = []string{
	// memory and threads
	"munmap", "madvise", "mremap", "brk", "mincore", "membarrier", "futex", "sched_yield", "sched_getaffinity",
	"gettid", "getpid", "getppid", "set_robust_list", "rseq", "set_tid_address", "arch_prctl", "sigaltstack", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "restart_syscall", "exit", "exit_group", "getcpu", "getrandom", "getrusage", "sysinfo", "uname",
	"getuid", "geteuid", "getgid", "getegid", "getrlimit",
	// time
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
	"timer_create", "timer_settime", "timer_delete", "setitimer",
	// descriptors
	"read", "write", "readv", "writev", "close", "dup", "dup3", "lseek", "pread64", "fstat", "newfstatat", "fstatat", "stat", "lstat", "statx", "statfs", "fstatfs",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "pipe2", "poll", "ppoll", "pselect6",
	// the socket to the core, and any that the profile lets be made. There is no sendmsg, which hands over descriptors: the core takes none, but
	// closing one can wait for as long as the worker likes, and it would be closed within the core's read.
	"sendto", "recvfrom", "recvmsg", "recvmmsg", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername",
}

// servesOnly are for profiles that are connected to.
var servesOnly = []string{"accept4"}

// networkOnly are for profiles with a network. There is no listen and no
// accept: nobody connects to a worker.
var networkOnly = []string{"connect", "bind"}

// programOnly are for profiles that become another program: its loader and its
// C library ask for more than Go does.
var programOnly = []string{"execve", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "sched_getparam", "sched_getscheduler", "select"}

// absent fail with ENOSYS: their arguments lie in memory, where a filter
// cannot look, and callers fall back to the older call.
var absent = []string{"clone3", "openat2"}

// Flags of open that could change something. O_TMPFILE contains O_DIRECTORY,
// so its own bit stands here.
const writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND | (unix.O_TMPFILE &^ unix.O_DIRECTORY)

const (
	prSetVMA = 0x53564d41 // names a memory area; Go's runtime does
	fionread = 0x541b     // how much there is to read
)

// A rule allows a call whose arguments pass all tests of one alternative, and
// refuses it otherwise.
type rule struct {
	name string
	any  [][]test
}

// A test wants arg & mask == want, for the low or the high word of an
// argument. The kernel reads only the low word of what is an int.
type test struct {
	arg        uint32
	high       bool
	mask, want uint32
}

func is(arg, v uint32) test              { return test{arg: arg, mask: ^uint32(0), want: v} }
func masked(arg, mask, want uint32) test { return test{arg: arg, mask: mask, want: want} }
func null(arg uint32) []test             { return []test{is(arg, 0), {arg: arg, high: true, mask: ^uint32(0)}} }

// rules are the calls that depend on their arguments.
func rules(p Profile) []rule {
	self := uint32(os.Getpid())
	r := []rule{
		{"clone", [][]test{{masked(0, unix.CLONE_THREAD, unix.CLONE_THREAD)}}}, // threads, no processes
		{"openat", [][]test{{masked(2, writing, 0)}}},
		{"open", [][]test{{masked(1, writing, 0)}}},
		{"mmap", [][]test{{masked(2, unix.PROT_EXEC, 0)}}}, // no new code
		{"mprotect", [][]test{{masked(2, unix.PROT_EXEC, 0)}}},
		{"fcntl", [][]test{ // not F_SETOWN, which sends signals
			{is(1, unix.F_DUPFD)}, {is(1, unix.F_DUPFD_CLOEXEC)}, {is(1, unix.F_GETFD)}, {is(1, unix.F_SETFD)}, {is(1, unix.F_GETFL)}, {is(1, unix.F_SETFL)},
		}},
		{"tgkill", [][]test{{is(0, self)}}}, // the runtime interrupts its own threads
		{"kill", [][]test{{is(0, self)}}},
		{"prctl", [][]test{{is(0, prSetVMA)}}},
		{"prlimit64", [][]test{append(null(2), is(0, 0))}}, // to read, not to set
		{"ioctl", [][]test{{is(1, fionread)}}},
	}
	if p.Program != "" {
		for i := range r {
			if r[i].name == "mmap" { // the loader maps code, from files; what can be written cannot run
				r[i].any = append(r[i].any, []test{masked(2, unix.PROT_WRITE, 0)})
			}
		}
	}
	if !p.Network {
		return r
	}
	const kind = ^uint32(unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)
	var sockets [][]test
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		// MPTCP, which Landlock does not see, is another protocol of STREAM.
		sockets = append(sockets,
			[]test{is(0, family), masked(1, kind, unix.SOCK_STREAM), is(2, 0)},
			[]test{is(0, family), masked(1, kind, unix.SOCK_STREAM), is(2, unix.IPPROTO_TCP)},
			[]test{is(0, family), masked(1, kind, unix.SOCK_DGRAM), is(2, 0)},
			[]test{is(0, family), masked(1, kind, unix.SOCK_DGRAM), is(2, unix.IPPROTO_UDP)})
	}
	// The list of interfaces: for link-local addresses with a zone, and for
	// multicast, which joins by interface. To change anything needs a right.
	sockets = append(sockets, []test{is(0, unix.AF_NETLINK), masked(1, kind, unix.SOCK_RAW), is(2, unix.NETLINK_ROUTE)})
	return append(r, rule{"socket", sockets})
}
