package worker

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// Ids that systemd gives to services which are to have a user of their own
// while they run (DynamicUser=, systemd.exec(5)), and who nobody is.
const (
	firstUser, lastUser = 61184, 65519
	nobody              = 65534
)

// ownUser returns an id that no account and no process has. Workers that
// were nobody would share that with other services that are: these may trace each other
// (ptrace(2)) once a program is executed, whatever it was before. Where the namespace has no such
// id, or none is free, it is nobody.
func ownUser() int {
	mapped, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return nobody
	}
	for range 64 {
		id := firstUser + rand.IntN(lastUser-firstUser+1)
		if _, err := user.LookupId(strconv.Itoa(id)); err == nil || !isMapped(mapped, id) || runs(id) {
			continue
		}
		return id
	}
	return nobody
}

// isMapped tells whether a uid_map (user_namespaces(7)) has an id.
func isMapped(m []byte, id int) bool {
	for s := bufio.NewScanner(bytes.NewReader(m)); s.Scan(); {
		var inside, outside, n int64
		if _, err := fmt.Sscan(s.Text(), &inside, &outside, &n); err == nil && int64(id) >= inside && int64(id)-inside < n {
			return true
		}
	}
	return false
}

// runs tells whether a process has a user id.
func runs(id int) bool {
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if info, err := e.Info(); err == nil && owner(info) == id {
			return true
		}
	}
	return false
}

func owner(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}
