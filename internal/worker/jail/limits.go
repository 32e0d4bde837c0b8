package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const limitsNote = "512 descriptors, 1 GiB of data, 16 GiB of address space, no core file, no file growth"

// limits are hard: soft and hard limit are set to the same. They stop a
// process that runs wild; what it may do at all is decided elsewhere.
var limits = []struct {
	name string
	what int
	most uint64
}{
	{"NOFILE", unix.RLIMIT_NOFILE, 512}, // 16 streams of at most 1 TCP and 8 UDP sockets
	{"CORE", unix.RLIMIT_CORE, 0},       // a core file would hold camera passwords
	{"FSIZE", unix.RLIMIT_FSIZE, 0},     // no file may grow; pipes and sockets are no files here
	{"NPROC", unix.RLIMIT_NPROC, 4096},  // counts the threads of all processes of this user, so not tight; forking is seccomp's
	{"MEMLOCK", unix.RLIMIT_MEMLOCK, 0}, //
	{"MSGQUEUE", unix.RLIMIT_MSGQUEUE, 0},
	{"DATA", unix.RLIMIT_DATA, 1 << 30}, // all queues of 16 streams full are far below
	{"AS", unix.RLIMIT_AS, 16 << 30},    // Go reserves much more than it uses
}

// limit sets the limits; one that is lower already stays.
func limit() error {
	for _, l := range limits {
		if raceEnabled && (l.what == unix.RLIMIT_AS || l.what == unix.RLIMIT_DATA) {
			continue // the race detector maps terabytes
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
		most := min(l.most, now.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	return nil
}
