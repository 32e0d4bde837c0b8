package jail

import (
	"fmt"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// restrictFiles leaves of the file system only the profile's files, for
// reading, and takes the binding of TCP ports, signals to and abstract sockets of
// processes outside. Connecting is not restricted: a camera may have any port.
func restrictFiles(p Profile) (note string, err error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return "", fmt.Errorf("this kernel has no Landlock: files are kept away by user id and seccomp alone")
	}
	// V9 is the newest whose every restriction we know; V10 would take UDP.
	config := landlock.V9
	config.HandledAccessNet = ll.AccessNetBindTCP
	rules := []landlock.Rule{}
	if len(p.Files) > 0 {
		rules = append(rules, landlock.ROFiles(p.Files...).IgnoreIfMissing())
	}
	if p.Program != "" {
		rules = append(rules, landlock.ROFiles(p.Program), landlock.RODirs(libraries...).IgnoreIfMissing()) // with the right to execute
	}
	if err := config.BestEffort().Restrict(rules...); err != nil {
		return "", fmt.Errorf("landlock: %w", err)
	}
	note = fmt.Sprintf("ABI %d: no file but %s for reading", abi, strings.Join(p.Files, ", "))
	if len(p.Files) == 0 {
		note = fmt.Sprintf("ABI %d: no file", abi)
	}
	if p.Program != "" {
		note += fmt.Sprintf(" and %s with its libraries", p.Program)
	}
	switch {
	case abi < 4:
		note += "; too old to keep from binding TCP ports, signals and abstract sockets: seccomp does"
	case abi < 6:
		note += "; no binding of TCP ports; too old to keep from signals and abstract sockets: seccomp does"
	default:
		note += "; no binding of TCP ports, no signals, no abstract sockets"
	}
	return note, nil
}
