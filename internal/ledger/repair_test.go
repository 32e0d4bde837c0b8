package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

// A full tile of home is lost. The copy that is behind goes on all the same, the person is told, and a verification
// makes it again.
//
//vigil:clause 5.2.8.2
func TestTileMadeAgain(t *testing.T) {
	for _, tile := range []string{"tile/0/000", "tile/1/000", "tile/entries/003"} {
		for how, hurt := range map[string]func(b *bench, name string){
			"gone":    func(b *bench, name string) { b.gone(name) },
			"flipped": func(b *bench, name string) { b.edit(name, func(x []byte) []byte { x[70] ^= 1; return x }) },
		} {
			t.Run(how+" "+tile, func(t *testing.T) {
				b := newBench(t, "a")
				b.must(300)
				if err := b.Level(); err != nil {
					t.Fatal(err)
				}
				b.must(70000 - 300)
				b.Close()
				hurt(b, "system/ledger/"+tile)
				b.open()
				if err := b.Level(); err != nil {
					t.Fatal(err)
				}
				if got := b.copyOf("a").f.edge.size; got != b.Size() {
					t.Errorf("the copy has %d of %d leaves; findings %v", got, b.Size(), b.Findings())
				}
				for _, size := range []uint64{5, 300, 66000} { // the copy's tiles stand in
					if _, err := b.RootAt(size); err != nil {
						t.Error(err)
					}
					if _, _, err := b.Consistency(size); err != nil {
						t.Error(err)
					}
					l, err := b.Leaf(size)
					if err != nil {
						t.Fatal(err)
					}
					if p, err := b.Proof(size); err != nil || p.Check(l.AppendPublic(nil)) != nil {
						t.Errorf("proof of %d: %v", size, err)
					}
				}
				if err := b.Verify(t.Context(), nil); err == nil {
					t.Error("a damaged tile is verified")
				}
				b.finds("system", Damaged)
				b.check()
			})
		}
	}
}

// The power goes while a copy catches up: what it had not synced is lost, in any order, and
// it goes on from there. Nobody is alarmed, and nothing is made anew.
func TestCutWhileCatchingUp(t *testing.T) {
	cut := 0
	for skip := range 60 {
		b := newBench(t)
		disk := durable.NewMem()
		b.copies = []Folder{{disk, "ledger", "a"}}
		b.open()
		b.must(700)
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		for range 90 {
			b.must(40)
		}
		disk.Inject(durable.Rule{Kind: durable.OpWrite, Skip: 5 * skip, Fault: durable.CrashAfter})
		_ = b.Level()
		b.Close()
		if disk.Crashed() {
			cut++
			disk.RestartKeeping(rand.New(rand.NewPCG(uint64(skip), 0)))
		}
		disk.Heal()
		b.open()
		b.noFindings()
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.check()
		b.audit(b.copies[0])
		if _, err := disk.Stat("ledger.damaged-1"); err == nil {
			t.Errorf("cut at write %d: the copy is made anew", 5*skip)
		}
		b.Close()
	}
	if cut < 20 {
		t.Errorf("%d cuts", cut)
	}
}

// A copy that lost what home lacks too is short, however little it is.
func TestShortCopyIsTold(t *testing.T) {
	b := newBench(t, "a")
	for range 10 {
		b.must(30)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	old := b.file("a/ledger/checkpoint")
	for range 10 {
		b.must(30)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	removeTree(t, b.disk, "system/ledger")
	removeTree(t, b.disk, "a/ledger/tile")
	b.edit("a/ledger/checkpoint", func([]byte) []byte { return old })
	b.hurt("a/ledger", 0, func(x []byte) []byte { x[len(x)*3/4] ^= 1; return x })
	b.open()
	if b.Size() < 300 || b.Size() >= 600 {
		t.Errorf("%d leaves", b.Size())
	}
	if x := b.finds("a", Short); x.Want != 600 {
		t.Errorf("%v", x)
	}
	b.want = b.want[:b.Size()]
	b.check()
}

// The disk of a copy hangs before the ledger is opened: the others and the record go on, and the copy
// catches up when its disk is back.
func TestHungCopyAtOpen(t *testing.T) {
	for _, kind := range []durable.Kind{durable.OpRead, durable.OpMkdir, durable.OpWrite} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			hung, good := durable.NewMem(), durable.NewMem()
			b.copies = []Folder{{hung, "ledger", "hung"}, {good, "ledger", "good"}}
			b.open()
			b.must(20)
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			if kind != durable.OpRead {
				removeTree(t, hung, "ledger")
			}
			hung.Inject(durable.Rule{Kind: kind, Times: -1, Fault: durable.Hang})
			b.open()
			if kind != durable.OpWrite { // an empty one is not written to by Open
				b.finds("hung", Unreadable)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- b.Run(ctx) }()
			b.must(5)
			time.Sleep(2 * copyEvery)
			if got := b.copyOf("good").f.view().head.Size; got != 25 {
				t.Errorf("the good copy has %d leaves", got)
			}
			hung.Heal()
			time.Sleep(2 * copyRetry)
			b.must(5)
			time.Sleep(2 * copyEvery)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			b.check()
			for _, c := range b.copies {
				b.audit(c)
			}
			b.Close()
			b.AddCopy(b.copies[1])
		})
	}
}

// A volume that is attached while its disk hangs holds nobody up either.
func TestHungCopyAttached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(20)
		disk := durable.NewMem()
		disk.Inject(durable.Rule{Times: -1, Fault: durable.Hang})
		found := b.AddCopy(Folder{disk, "ledger", "a"})
		if !slices.ContainsFunc(found, func(x Finding) bool { return x.Trouble == Unreadable && errors.Is(x.Err, errHeld) }) {
			t.Errorf("findings %v", found)
		}
		disk.Heal()
		synctest.Wait()
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.audit(Folder{disk, "ledger", "a"})
		b.Close()
	})
}

// Leaves of which nothing is left but their place in the tree are given as lost, so
// that who follows gets to those behind them. A disk that fails for now is no such loss.
func TestNothingLeftOfALeaf(t *testing.T) {
	b := newBench(t)
	for range 20 {
		b.must(30)
	}
	b.Close()
	b.hurt("system/ledger", 0, wounds["middle"])
	b.open()
	var lost []uint64
	follow := func() error {
		lost = nil
		next := uint64(0)
		return b.Follow(0, func(i uint64, l Leaf) error {
			if i != next {
				return fmt.Errorf("leaf %d where %d was expected", i, next)
			}
			next++
			if l.Lost {
				lost = append(lost, i)
			}
			return nil
		})
	}
	if err := follow(); err != nil || len(lost) != 30 {
		t.Fatalf("%v: lost %v", err, lost)
	}
	n := lost[0] / tileWidth
	b.disk.Inject(durable.Rule{Kind: durable.OpRead, Name: "system/ledger/" + tileBase(entries, n), Times: -1, Fault: durable.Refused, Err: unix.EIO})
	if err := follow(); !errors.Is(err, unix.EIO) {
		t.Errorf("a disk that fails: %v, lost %v", err, lost)
	}
	b.disk.Heal()
	b.gone("system/ledger/" + tileBase(entries, n))
	if err := follow(); err != nil || len(lost) != 30 {
		t.Fatalf("%v: lost %v", err, lost)
	}
	if l, err := b.Leaf(lost[3]); err != nil || !l.Lost || l.Kind != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// A checkpoint that a disk does not give is no forgery.
func TestCheckpointFails(t *testing.T) {
	b := newBench(t)
	b.must(30)
	b.Close()
	b.disk.Inject(durable.Rule{Kind: durable.OpRead, Name: "system/ledger/checkpoint", Times: -1, Fault: durable.Refused, Err: unix.EIO})
	b.open()
	b.finds("system", Damaged)
	for _, x := range b.Findings() {
		if x.Trouble == BadSignature {
			t.Errorf("%v", x)
		}
	}
}
