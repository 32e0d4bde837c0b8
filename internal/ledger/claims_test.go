package ledger

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

func (b *bench) cutInHalf() {
	b.t.Helper()
	b.hurt("system/ledger", 0, func(x []byte) []byte { return x[:len(x)/2] })
	removeTree(b.t, b.disk, "system/ledger/tile")
}

// others appends n leaves of another history.
func (b *bench) others(n int) {
	b.t.Helper()
	for range n {
		if _, err := b.Append(b.t.Context(), []Leaf{{Kind: Pulse, Meta: []byte("other")}}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// A ledger was cut and went on beyond what it had signed for. A power cut that costs it tiles does
// not cost it the alarm, and a copy's disk that fails does not hold up the start: home needs nothing of it.
//
//vigil:clause 5.2.8.2
func TestShortIsToldWithoutTiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func(was time.Duration) { sourcePause = was }(sourcePause)
		sourcePause = 2 * time.Second
		b := newBench(t)
		for range 10 {
			b.must(30)
		}
		b.Close()
		b.cutInHalf()
		b.open()
		b.others(240)
		b.Close()
		noTiles(b)
		fails := durable.NewMem()
		fails.Inject(durable.Rule{Times: -1, Fault: durable.Refused, Err: unix.EIO})
		b.copies = []Folder{{fails, "ledger", "a"}}
		at := time.Now()
		b.open()
		if f := b.finds("system", Short); f.Have != 390 || f.Want != 300 {
			t.Error(f)
		}
		if d := time.Since(at); d > 0 {
			t.Errorf("it waited for %v", d)
		}
	})
}

// One read of the checkpoint or of a bundle fails: that is no bad signature, costs no leaves
// and no alarm. A checkpoint that cannot be read for longer is kept.
//
//vigil:clause 5.2.8.2
func TestOneReadFails(t *testing.T) {
	for name, times := range map[string]int{"checkpoint": 1, "system/ledger/checkpoint": -1} {
		for skip := range 4 {
			b := newBench(t)
			for range 10 {
				b.must(30)
			}
			b.Close()
			b.cutInHalf()
			b.disk.Inject(durable.Rule{Kind: durable.OpRead, Name: name, Skip: skip, Times: times, Fault: durable.Refused, Err: unix.EIO})
			b.open()
			b.disk.Heal()
			b.Close()
			b.open()
			b.finds("system", Short)
		}
	}
	for skip := range 5 {
		b := newBench(t)
		for range 10 {
			b.must(30)
		}
		b.Close()
		b.disk.Inject(durable.Rule{Kind: durable.OpRead, Name: "checkpoint", Skip: skip, Fault: durable.Refused, Err: unix.EIO})
		b.open()
		b.noFindings()
		b.Close()
		b.hurt("system/ledger", 0, wounds["half"])
		b.disk.Inject(durable.Rule{Kind: durable.OpRead, Name: "system/ledger/tile/entries/000", Skip: skip, Fault: durable.Refused, Err: unix.EIO})
		b.open()
		if b.Size() != 300 {
			t.Errorf("%d leaves, and the public ones stand", b.Size())
		}
	}
}

// A copy that was left alone for its history is longer than the copy that has what
// home's checkpoint commits to: home takes the latter when it needs one.
//
//vigil:clause 5.2.8.2
func TestCheckpointChooses(t *testing.T) {
	for how, hurt := range map[string]func(*bench){
		"cut": func(b *bench) {
			removeTree(b.t, b.disk, "system/ledger/sealed")
			copyTree(b.t, b.disk, "old/sealed", "system/ledger/sealed")
			removeTree(b.t, b.disk, "system/ledger/tile")
		},
		"gone": func(b *bench) {
			removeTree(b.t, b.disk, "system/ledger/sealed")
			removeTree(b.t, b.disk, "system/ledger/tile")
		},
		"damaged": func(b *bench) {
			noTiles(b)
			b.hurt("system/ledger", 0, wounds["start"])
		},
	} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t, "a")
			for range 10 {
				b.must(3)
			}
			b.Close()
			copyTree(t, b.disk, "system/ledger", "old")
			b.open()
			b.others(300)
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			removeTree(t, b.disk, "system/ledger")
			copyTree(t, b.disk, "old", "system/ledger")
			a := b.copies
			b.copies = []Folder{{b.disk, "b/ledger", "b"}}
			b.open()
			for range 50 {
				b.must(1)
			}
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			b.copies = append(a, b.copies...)
			hurt(b)
			b.open()
			b.check()
			b.finds("a", Forked)
		})
	}
}

// Home was set aside to be made again from a copy, the start broke off, and at the next one
// that copy is away: what the checkpoint of the one set aside commits to is missed, at each start.
//
//vigil:clause 5.2.8.2
func TestAsideIsMissed(t *testing.T) {
	b := newBench(t, "stale")
	for range 20 {
		b.must(3)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	stale := b.copies
	b.copies = nil
	b.open()
	for range 300 {
		b.must(3)
	}
	b.Close()
	b.hurt("system/ledger", 0, func(x []byte) []byte { x[len(x)*3/4] ^= 1; return x })
	if err := b.disk.Rename("system/ledger", "system/ledger.damaged-1"); err != nil {
		t.Fatal(err)
	}
	b.copies = stale
	for range 2 {
		b.open()
		if !slices.ContainsFunc(b.Findings(), func(f Finding) bool {
			return f.Folder == "system" && f.Trouble == Short && f.Want == uint64(len(b.want))
		}) {
			t.Fatal(fmt.Sprint(b.Findings()))
		}
		b.others(1)
		b.Close()
	}
}

// However many copies fail, and whenever, home waits for them for a bounded time.
//
//vigil:clause 5.2.8.2
func TestManySourcesFail(t *testing.T) {
	for skip := range 20 {
		synctest.Test(t, func(t *testing.T) {
			defer func(was time.Duration) { sourcePause = was }(sourcePause)
			sourcePause = 2 * time.Second
			b := newBench(t)
			var disks []*durable.Mem
			for n := range 4 {
				disks = append(disks, durable.NewMem())
				b.copies = append(b.copies, Folder{disks[n], "ledger", fmt.Sprint(n)})
			}
			b.open()
			for range 10 {
				b.must(30)
			}
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			b.cutInHalf()
			for _, m := range disks {
				m.Inject(durable.Rule{Name: "00.vlog", Kind: durable.OpRead, Skip: skip, Times: -1, Fault: durable.Refused, Err: unix.EIO})
			}
			at := time.Now()
			b.open()
			if d := time.Since(at); d > 10*time.Second {
				t.Errorf("skip %d: %v", skip, d)
			}
			b.finds("system", Short)
		})
	}
}
