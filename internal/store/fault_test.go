package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
)

// trouble is the work during which something fails: segments begin, grow, end
// and go.
func (r *rig) trouble() {
	r.put(6)
	r.cutAll()
	r.put(5)
	r.removeOldest()
	r.put(2)
	r.cutAll()
	r.put(3)
	time.Sleep(2 * time.Second)
}

// removeOldest removes the first segment of the ledger that is still there.
func (r *rig) removeOldest() {
	var ref *Ref
	gone := map[media.SegmentID]bool{}
	r.book.Follow(0, func(_ uint64, l ledger.Leaf) error {
		if m, err := ledger.ParseTombstone(l); err == nil {
			gone[m.Segment] = true
		}
		return nil
	})
	r.book.Follow(0, func(_ uint64, l ledger.Leaf) error {
		if m, err := ledger.ParseSegment(l); err == nil && ref == nil && !gone[m.Segment] {
			x := RefOf(m)
			ref = &x
		}
		return nil
	})
	if ref == nil {
		return
	}
	r.store.Remove(context.Background(), actor.Of("retention", ""), []Ref{*ref}, media.Retention, "")
	r.witness()
}

// TestEveryStep makes every durable step fail in every way, once, while
// segments begin, grow, end and go; then the power fails, and after the restart
// nothing acknowledged is lost and nothing lost is acknowledged.
func TestEveryStep(t *testing.T) {
	prepared := func(r *rig) {
		r.boot()
		r.put(6)
		r.cutAll()
		r.put(4)
		r.cutAll()
		time.Sleep(3 * time.Second)
		r.disk.ForgetOps()
	}
	steps := 0
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false)
		prepared(r)
		r.trouble()
		steps = len(r.disk.Ops())
		r.crash()
	})
	if steps < 50 {
		t.Fatalf("only %d steps", steps)
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for _, f := range []struct {
		name  string
		fault durable.Fault
		err   error
		kind  durable.Kind
	}{
		{"refused", durable.Refused, unix.EIO, ""},
		{"full", durable.Refused, unix.ENOSPC, ""},
		{"lost", durable.Lost, nil, ""},
		{"applied, then error", durable.AppliedThenError, unix.EIO, ""},
		{"crash before", durable.CrashBefore, nil, ""},
		{"crash after", durable.CrashAfter, nil, ""},
	} {
		for step := 0; step < steps; step += stride {
			t.Run(fmt.Sprintf("%s/%d", f.name, step), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, false)
					prepared(r)
					r.disk.Inject(durable.Rule{Kind: f.kind, Skip: step, Fault: f.fault, Err: f.err})
					r.trouble()
					ops := r.disk.Ops()
					r.crash()
					r.restart()
					r.invariants(f.fault == durable.Lost)
					r.put(4)
					r.cutAll()
					time.Sleep(3 * time.Second)
					r.invariants(f.fault == durable.Lost)
					r.end()
					if t.Failed() && step < len(ops) {
						t.Logf("the step: %v", ops[step])
					}
				})
			})
		}
	}
}

// TestRandom does anything in any order, on a disk that keeps by chance what
// was not synced.
func TestRandom(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chance := rand.New(rand.NewPCG(seed, 7))
				r := newRig(t, seed%2 == 0)
				r.boot()
				for range 40 {
					switch n := chance.IntN(20); {
					case n < 9:
						r.put(1 + chance.IntN(8))
					case n < 12:
						r.cut(r.streams[chance.IntN(2)])
					case n < 14:
						r.removeOldest()
					case n < 15:
						time.Sleep(time.Duration(chance.IntN(5000)) * time.Millisecond)
					case n < 17:
						errs := []error{unix.EIO, unix.ENOSPC}
						r.disk.Inject(durable.Rule{Skip: chance.IntN(30), Times: 1 + chance.IntN(5), Err: errs[chance.IntN(2)]})
					case n < 18:
						r.disk.Inject(durable.Rule{Skip: chance.IntN(30), Fault: durable.AppliedThenError, Err: unix.EIO})
						if chance.IntN(3) == 0 {
							r.put(4)
							r.disk.Heal()
							time.Sleep(2 * markEvery) // marks move on while segments are open
						}
					case n < 19 && chance.IntN(2) == 0: // an end in order
						r.cutAll()
						r.disk.Heal()
						r.end()
						r.boot()
						r.await()
						r.invariants(false)
					default:
						r.witness()
						r.crash()
						r.disk.RestartKeeping(chance)
						r.torn = true
						r.boot()
						r.await()
						r.invariants(false)
					}
					if r.disk.Crashed() {
						t.Fatal("crashed by itself")
					}
				}
				r.cutAll()
				r.disk.Heal()
				time.Sleep(20 * time.Second)
				r.witness()
				r.crash()
				r.restart()
				r.invariants(false)
				r.end()
			})
		})
	}
}
