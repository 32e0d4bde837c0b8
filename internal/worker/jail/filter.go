package jail

import (
	"fmt"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)): number of the call, audit
// architecture, instruction pointer, six arguments of 64 bits.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

const (
	retAllow  = unix.SECCOMP_RET_ALLOW
	retKill   = unix.SECCOMP_RET_KILL_PROCESS
	retPerm   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	retNoCall = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// filter loads the allow-list for all threads of the process.
func filter(p Profile) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	raw, err := bpf.Assemble(program(p, info))
	if err != nil {
		return fmt.Errorf("seccomp: assemble: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL:
		return fmt.Errorf("this kernel has no seccomp filters (%w): system calls are not restricted", errno)
	case errno != 0:
		return fmt.Errorf("seccomp: load: %w", errno)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d could not be brought in", thread)
	}
	return nil
}

// program is the filter. What is on no list fails with EPERM and does not
// kill: a call that a later Go makes first must not stop recording.
//
// Each rule ends in a return, so that an argument that was loaded is never
// taken for the number of a call. (go-seccomp-bpf 1.6.0 falls through to the next
// comparison with the argument still loaded; its tables are good.)
func program(p Profile, info *arch.Info) []bpf.Instruction {
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: retKill}, // another architecture's numbers mean other calls
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	if info.ID == arch.X86_64.ID {
		prog = append(prog, // x32: the same architecture, other numbers
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(arch.X32.SeccompMask), SkipFalse: 1},
			bpf.RetConstant{Val: retNoCall})
	}
	each := func(names []string, ret uint32) {
		for _, name := range names {
			if n, ok := info.SyscallNames[name]; ok { // an architecture may lack some
				prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(n), SkipFalse: 1}, bpf.RetConstant{Val: ret})
			}
		}
	}
	each(allowed, retAllow)
	if p.Network {
		each(networkOnly, retAllow)
	}
	if p.Serves {
		each(servesOnly, retAllow)
	}
	if p.Program != "" {
		each(programOnly, retAllow)
	}
	for _, r := range rules(p) {
		if n, ok := info.SyscallNames[r.name]; ok {
			body := r.body()
			prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(n), SkipTrue: 1}, bpf.Jump{Skip: uint32(len(body))})
			prog = append(prog, body...)
		}
	}
	each(absent, retNoCall)
	each(deadly, retKill)
	return append(prog, bpf.RetConstant{Val: retPerm})
}

// body tests the arguments, alternative by alternative, and returns.
func (r rule) body() (body []bpf.Instruction) {
	for _, tests := range r.any {
		left := 3*len(tests) + 1 // instructions of this alternative that are to come
		for _, t := range tests {
			left -= 3
			off := offArgs + 8*t.arg
			if t.high != bigEndian {
				off += 4
			}
			body = append(body,
				bpf.LoadAbsolute{Off: off, Size: 4},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: t.want, SkipFalse: uint8(left)})
		}
		body = append(body, bpf.RetConstant{Val: retAllow})
	}
	return append(body, bpf.RetConstant{Val: retPerm})
}

// bigEndian is the order of words in an argument.
var bigEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 0
}()
