package store

import (
	"testing"
	"testing/synctest"
	"time"

	"vigil/internal/audit"
	"vigil/internal/media"
)

// TestRecord follows segments from batch to ledger, audit log and place.
//
//vigil:clause 5.2.7.2
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.put(8)
		ids := []media.SegmentID{r.streams[0].w.ID(), r.streams[1].w.ID()}
		r.cutAll()
		r.put(4)
		time.Sleep(3 * time.Second)
		r.witness()
		for _, id := range ids {
			if _, ok := r.sealed[id]; !ok {
				t.Errorf("segment %s is not in the ledger", id)
			}
			e := r.log.find("segment.close", id.String())
			if e == nil {
				t.Fatalf("segment %s: no record of its closing", id)
			}
			if e.Actor.String() != "system recorder (armed by amy)" || e.Result != audit.OK || e.At.IsZero() || e.Camera.IsZero() {
				t.Errorf("record of closing: %+v", e)
			}
			for _, k := range []string{"bytes", "from", "to", "digest", "stream", "volume", "leaf"} {
				if e.Detail[k] == "" {
					t.Errorf("record of closing has no %s: %v", k, e.Detail)
				}
			}
			if f, err := r.disk.Stat("mnt/" + SegmentName(id, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())); err != nil || f.Size() == 0 {
				t.Errorf("segment %s: %v", id, err)
			}
		}
		r.cutAll()
		r.end()
		r.boot()
		r.await()
		r.invariants(false)
		if n, _ := r.vol.Settled(); n == 0 {
			t.Error("an orderly end leaves no mark")
		}
		r.end()
	})
}

// TestEndsAtOnce: what is left at the end becomes part of the record without waiting for a beat for
// each of its steps; nor does a command, which has little to leave. The clock is the bubble's.
func TestEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.put(8)
		r.cutAll()
		since := time.Now()
		r.end()
		if took := time.Since(since); took >= time.Second {
			t.Errorf("the end took %v", took)
		}
		r.boot()
		r.await()
		r.invariants(false)
		r.end()
	})
}

// TestCrash cuts the power at rest and in the middle.
func TestCrash(t *testing.T) {
	for _, group := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, group)
			r.boot()
			r.put(10)
			r.cutAll()
			r.put(30)
			r.crash()
			r.restart()
			r.invariants(false)
			most := 0
			for _, n := range r.safe {
				most = max(most, n)
			}
			if most < 30-6 { // a beat and a hand-over
				t.Errorf("of 30 fragments %d were durable", most)
			}
			r.put(5)
			r.cutAll()
			time.Sleep(3 * time.Second)
			r.invariants(false)
			r.end()
		})
	}
}

// TestAttachedBefore opens the store on a volume that was looked for already,
// as the app does: what lies open is recovered, and what was said is told.
func TestAttachedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.early = true
		r.boot()
		r.put(20)
		r.crash()
		r.disk.Restart()
		r.boot()
		time.Sleep(5 * time.Second)
		r.invariants(false)
		if len(r.safe) == 0 {
			t.Error("nothing was recorded")
		}
		r.end()

		if err := r.disk.Rename("mnt", "elsewhere"); err != nil {
			t.Fatal(err)
		}
		r.boot()
		time.Sleep(5 * time.Second)
		if !r.board.stands(DiskTrouble + " mnt") {
			t.Error("nobody is told that the disk is missing")
		}
		if err := r.disk.Rename("elsewhere", "mnt"); err != nil {
			t.Fatal(err)
		}
		r.end()
		r.boot()
		time.Sleep(2 * time.Second)
		if r.board.stands(DiskTrouble + " mnt") {
			t.Error("the disk is still said to be missing")
		}
		r.end()
	})
}

// TestTaken finds another recorder on the volume: that has an alert of its own, which ends
// when the other is gone, and recording begins.
func TestTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.put(4)
		r.cutAll()
		r.end()
		other, err := r.disk.Sub("mnt")
		if err != nil {
			t.Fatal(err)
		}
		lock, err := other.Lock()
		if err != nil {
			t.Fatal(err)
		}
		r.early = true
		r.boot()
		time.Sleep(5 * time.Second)
		if !r.board.stands(VolumeTaken+" mnt") || r.board.stands(DiskTrouble+" mnt") {
			t.Errorf("told %v", r.board.now)
		}
		lock.Close()
		time.Sleep(5 * time.Second)
		if r.board.stands(VolumeTaken + " mnt") {
			t.Error("still said to be taken")
		}
		for _, st := range r.streams {
			st.w = nil
		}
		r.put(4)
		r.cutAll()
		time.Sleep(3 * time.Second)
		r.invariants(false)
		r.end()
	})
}
