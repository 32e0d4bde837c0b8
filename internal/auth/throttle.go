package auth

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Tries are counted for the account and for the source, each on its own, and
// before the password is looked at, so that many at once gain nothing. From the
// first number of failures on each further one doubles the wait. A name that does not exist is counted
// like one that does: what is refused says nothing about names.
//
// A source from which an account has signed in before is counted apart for that
// account, so that nobody else can lock its owner out.
const (
	accountTries = 5
	sourceTries  = 20
	codeTries    = 5
	firstWait    = 30 * time.Second
	longestWait  = 15 * time.Minute
	forgetAfter  = time.Hour // without a failure
	maxCounters  = 20_000
)

type counter struct {
	fails int
	last  time.Time
	until time.Time
}

// A throttle counts failures. Safe for many callers.
type throttle struct {
	mu sync.Mutex
	m  map[string]*counter // guarded by mu
}

// try asks whether the keys are free, and counts a failure for each until
// succeeded takes it back. locked tells that this one made the wait begin or longer.
//
//vigil:clause 5.4.1.1
func (t *throttle) try(now time.Time, limits map[string]int) (wait time.Duration, locked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range limits {
		if c := t.m[key]; c != nil {
			if now.Sub(c.last) > forgetAfter {
				delete(t.m, key)
			} else {
				wait = max(wait, c.until.Sub(now))
			}
		}
	}
	if wait > 0 {
		return wait, false
	}
	for key, free := range limits {
		c := t.m[key]
		if c == nil {
			t.room()
			c = new(counter)
			t.m[key] = c
		}
		c.fails++
		c.last = now
		if n := c.fails - free; n >= 0 {
			c.until = now.Add(min(firstWait<<min(n, 10), longestWait))
			locked = true
		}
	}
	return 0, locked
}

// succeeded forgets the failures of one key and takes back the last of
// another.
func (t *throttle) succeeded(forget, forgive string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, forget)
	if c := t.m[forgive]; c != nil {
		c.fails--
		c.until = time.Time{}
	}
}

// forgive takes back the try of a key that was no guess after all.
func (t *throttle) forgive(keys ...string) {
	for _, key := range keys {
		t.succeeded("", key)
	}
}

// fails tells how often a key has failed.
func (t *throttle) fails(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.m[key]; c != nil {
		return c.fails
	}
	return 0
}

// forgetAll takes the waits of an account away, for who sets its password
// anew.
func (t *throttle) forgetAll(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		delete(t.m, key)
	}
}

// forgetCodes takes the waits of set-up away.
func (t *throttle) forgetCodes() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.m {
		if key == "code" || strings.HasPrefix(key, "code:") {
			delete(t.m, key)
		}
	}
}

// room keeps the map in bounds: of some counters the one that matters least
// goes. The caller holds mu.
func (t *throttle) room() {
	if len(t.m) < maxCounters {
		return
	}
	var victim string
	var least *counter
	n := 0
	for key, c := range t.m { // in random order
		if least == nil || c.fails < least.fails || c.fails == least.fails && c.last.Before(least.last) {
			victim, least = key, c
		}
		if n++; n == 64 {
			break
		}
	}
	delete(t.m, victim)
}

// accountKey is what the tries at a name are counted by. Strangers choose names:
// what is longer than any account's is cut.
func accountKey(name string) string {
	const most = 4 * maxName
	name = fold(name[:min(len(name), most)])
	return "a:" + name[:min(len(name), most)]
}

// sourceKey is what sources are counted by: an IPv4 address, or the /64 of an
// IPv6 address, which is what one machine has to itself.
func sourceKey(source string) string {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return source
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}
