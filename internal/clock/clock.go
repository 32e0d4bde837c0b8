// Package clock tells how far the machine's clock can be trusted.
//
// The record is in UTC by that clock. It may be wrong at a start and be set
// later, by a person or by a time service: that is seen as a step between the
// wall clock and the monotonic one.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// A State says whether a time service keeps the clock.
type State string

// The states, as they stand in audit records.
const (
	Synchronised State = "synchronised"
	Free         State = "free"
)

// Now tells whether the kernel's clock is being kept by a time service
// (adjtimex(2): STA_UNSYNC).
func Now() State {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil || t.Status&unix.STA_UNSYNC != 0 {
		return Free
	}
	return Synchronised
}

// Step is the smallest difference between the two clocks, over one look,
// that counts as a step; a clock that is slewed stays far below.
const Step = 2 * time.Second

// A Watch notices steps. It belongs to one goroutine.
type Watch struct{ last time.Time }

// Look returns how far the wall clock was stepped since the last look; 0
// when it was not. now must carry a monotonic reading, as time.Now does.
func (w *Watch) Look(now time.Time) time.Duration {
	last := w.last
	w.last = now
	if last.IsZero() {
		return 0
	}
	step := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
	if step.Abs() < Step {
		return 0
	}
	return step
}
