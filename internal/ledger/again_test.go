package ledger

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"vigil/internal/durable"
)

// A run that ends without a power cut leaves folders whose names are not synced, and the next one finds them made. The
// tiles of a file of the log are durable all the same before the first frame of the next.
func TestTilesOfEarlierRuns(t *testing.T) {
	b := newBench(t)
	b.must(spanLeaves)
	b.Close()
	b.open()
	b.must(1)
	b.disk.Restart()
	b.open()
	b.noFindings()
	b.check()
}

// A new copy loses the first frame that it caught up with: it was in no checkpoint, and comes again.
func TestCutBeforeFirstCheckpoint(t *testing.T) {
	for seed := range uint64(20) {
		b := newBench(t)
		for range 5 {
			b.must(40)
		}
		disk := durable.NewMem()
		b.copies = []Folder{{disk, "ledger", "a"}}
		b.open()
		disk.Inject(durable.Rule{Kind: durable.OpWrite, Name: "00.vlog", Skip: 3, Fault: durable.CrashAfter})
		_ = b.Level()
		b.Close()
		disk.RestartKeeping(rand.New(rand.NewPCG(seed, 0)))
		b.open()
		b.noFindings()
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.check()
		b.audit(b.copies[0])
		if _, err := disk.Stat("ledger.damaged-1"); err == nil {
			t.Errorf("seed %d: the copy is made anew", seed)
		}
	}
}

// The metadata of some leaves is lost everywhere. Their public half is taken from whoever has it, bundle by bundle.
func TestPublicHalvesFromTwoFolders(t *testing.T) {
	b := newBench(t, "a")
	for range 20 {
		b.must(100)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"system", "a"} {
		b.hurt(name+"/ledger", 0, wounds["gone"])
	}
	b.gone("system/ledger/" + tileBase(entries, 2))
	b.gone("a/ledger/" + tileBase(entries, 3))
	if err := b.Follow(0, func(i uint64, l Leaf) error {
		if l.Kind != Kind(1+i%7) {
			t.Errorf("leaf %d is of %v", i, l.Kind)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// Old frames and a tile are lost in home: one verification brings both back.
func TestTileBeforeFrames(t *testing.T) {
	b := newBench(t, "a")
	for range 50 {
		b.must(100)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.must(3) // the copy's tiles do not lead to the newest checkpoint
	b.hurt("system/ledger", 0, wounds["half"])
	b.gone("system/ledger/tile/0/000")
	_ = b.Verify(t.Context(), nil)
	b.check()
}

// A copy lost frames and home a tile: the copy's own tiles tell which frames are right.
func TestCopyHealsByItsTiles(t *testing.T) {
	b := newBench(t, "a")
	for range 100 {
		b.must(60)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	b.hurt("a/ledger", 1, wounds["half"])
	b.gone("system/ledger/tile/0/001")
	b.open()
	if f := b.copyOf("a").f; len(f.lost) > 0 {
		t.Errorf("still lost: %v; findings %v", f.lost, b.Findings())
	}
	_ = b.Verify(t.Context(), nil)
	b.check()
	b.audit(b.copies[0])
}

// Home lost a whole file of its log: a copy that is behind catches up with what is left of these leaves.
func TestCopyBehindLostFile(t *testing.T) {
	b := newBench(t, "a")
	b.must(30)
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b.must(1000)
	}
	b.must(3)
	b.Close()
	b.gone("system/ledger/sealed/000000/00.vlog")
	b.open()
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	if got := b.copyOf("a").f.edge.size; got != b.Size() {
		t.Errorf("the copy has %d of %d leaves", got, b.Size())
	}
	b.audit(b.copies[0])
}

// Who attaches a volume anew while a disk that hangs still holds up its first opening waits for that.
func TestHungCopyAttachedAgain(t *testing.T) {
	for _, at := range []string{"open", "attach"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.must(20)
			disk := durable.NewMem()
			a := Folder{disk, "ledger", "a"}
			disk.Inject(durable.Rule{Times: -1, Fault: durable.Hang})
			if at == "open" {
				b.Close()
				b.copies = []Folder{a}
				b.open()
			} else {
				b.AddCopy(a)
			}
			b.RemoveCopy("a")
			if found := b.AddCopy(a); !slices.ContainsFunc(found, func(x Finding) bool { return x.Trouble == Unwritable && !errors.Is(x.Err, errHeld) }) {
				t.Errorf("findings %v", found)
			}
			disk.Heal()
			synctest.Wait()
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.audit(a)
			b.Close()
		})
	}
}
