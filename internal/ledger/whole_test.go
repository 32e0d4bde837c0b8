package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

// anyway opens the ledger as often as it takes, as a recorder that starts again does,
// and tells whether it was refused at first.
func (b *bench) anyway() (refused error) {
	b.t.Helper()
	for range 3 {
		l, err := Open(b.home(), b.copies, b.signer, b.key, testOrigin)
		if err == nil {
			b.Ledger = l
			return refused
		}
		refused = errors.Join(refused, err)
	}
	b.t.Fatal(refused)
	return nil
}

// One thing goes wrong at the start, and a copy is there that was away for a
// while: what the checkpoint commits to is in home's log or in the copy, and the ledger has all of it.
//
//vigil:clause 5.2.8.2
func TestNothingIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		rule  durable.Rule
		hurt  func(*bench)
		other durable.Rule // of the copy's disk
	}{
		"a read of the log fails":      {rule: durable.Rule{Kind: durable.OpRead, Name: "02.vlog", Fault: durable.Refused, Err: unix.EIO}},
		"no memory to list":            {rule: durable.Rule{Kind: durable.OpReadDir, Name: "sealed", Fault: durable.Refused, Err: unix.ENOMEM}},
		"too many open files":          {rule: durable.Rule{Kind: durable.OpOpen, Name: "02.vlog", Fault: durable.Refused, Err: unix.EMFILE}},
		"tiles lost and the disk full": {rule: durable.Rule{Kind: durable.OpWrite, Skip: 3, Fault: durable.Refused, Err: unix.ENOSPC}, hurt: noTiles},
		"tiles and a frame lost that the copy has": {hurt: func(b *bench) {
			noTiles(b)
			b.hurt("system/ledger", 0, wounds["start"])
		}},
		"the same, and a read of the copy fails": {hurt: func(b *bench) {
			noTiles(b)
			b.hurt("system/ledger", 0, wounds["start"])
		}, other: durable.Rule{Name: "*.vlog", Kind: durable.OpRead, Skip: 4, Fault: durable.Refused, Err: unix.EIO}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			other := durable.NewMem()
			b.copies = []Folder{{other, "ledger", "a"}}
			b.open()
			for range 100 {
				b.must(60)
			}
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			copies := b.copies
			b.copies = nil // away
			b.open()
			for range 50 {
				b.must(60)
			}
			b.Close()
			b.copies = copies
			if c.hurt != nil {
				c.hurt(b)
			}
			if c.rule.Err != nil {
				b.disk.Inject(c.rule)
			}
			if c.other.Err != nil {
				other.Inject(c.other)
			}
			refused := b.anyway()
			t.Log("refused at first:", refused)
			if b.Size() != uint64(len(b.want)) {
				t.Fatalf("%d leaves of %d", b.Size(), len(b.want))
			}
			b.check()
			b.must(3)
			if err := b.Level(); err != nil {
				t.Error(err)
			}
			b.Close()
			b.open()
			b.check()
		})
	}
}

func noTiles(b *bench) {
	b.t.Helper()
	if err := b.disk.Rename("system/ledger/tile", "gone"); err != nil {
		b.t.Fatal(err)
	}
}

// A frame near the end is lost with the tiles, and what copies are there are
// old, or of a history that was left: they are worth no more than none.
//
//vigil:clause 5.2.8.2
func TestStaleCopyIsNoCopy(t *testing.T) {
	for _, committed := range []bool{false, true} {
		for _, copies := range []string{"none", "stale", "forked"} {
			t.Run(fmt.Sprintf("committed %v, %s", committed, copies), func(t *testing.T) {
				b := newBench(t, "a")
				cs := b.copies
				for range 20 {
					b.must(3)
				}
				if err := b.Level(); err != nil {
					t.Fatal(err)
				}
				if copies == "forked" { // home went back to an older state once, and nobody took the fork away
					b.Close()
					removeTree(t, b.disk, "system/ledger")
					b.copies, b.want = nil, nil
					b.open()
					for range 25 {
						b.must(3)
					}
					b.copies = cs
					b.open()
					b.finds("a", Forked)
				}
				b.Close()
				b.copies = nil
				b.open()
				for range 300 {
					b.must(3)
				}
				signed := bytes.Clone(b.file("system/ledger/checkpoint"))
				lost := len(b.file("system/ledger/" + spanPath(0)))
				before := len(b.want)
				for range 5 {
					b.must(3)
				}
				b.Close()
				b.hurt("system/ledger", 0, func(x []byte) []byte { x[lost+50] ^= 1; return x })
				noTiles(b)
				if !committed {
					b.edit("system/ledger/checkpoint", func([]byte) []byte { return signed })
				}
				if copies != "none" {
					b.copies = cs
				}
				l, err := Open(b.home(), b.copies, b.signer, b.key, testOrigin)
				if committed {
					if err == nil {
						t.Fatalf("goes on with %d of %d leaves that a checkpoint commits to", l.Size(), len(b.want))
					}
					return
				}
				if err != nil || l.Size() != uint64(before) {
					t.Fatalf("%v, %v", l, err)
				}
			})
		}
	}
}

// Somebody writes heads of frames all over a copy, each of which says that
// megabytes follow: the start does not open them all, which would take hours.
func TestHeadsAllOver(t *testing.T) {
	b := newBench(t, "a")
	b.must(3)
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	x := appendFileHead(nil, 0)
	const size = 8 << 20
	for len(x) < size {
		x = binary.BigEndian.AppendUint32(x, uint32(max(frameHead+100, min(maxFrame, size-len(x)))))
		x = binary.BigEndian.AppendUint32(x, 1)
		x = binary.BigEndian.AppendUint64(x, 0)
	}
	if err := durable.WriteFile(b.disk, "a/ledger/"+spanPath(0), x); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.check()
}

// A frame was lost long ago whose public leaves stand, and the disk loses tiles
// now: the bundles stand in for the frame, and what they say is proved by the next frame's root.
//
//vigil:clause 5.2.8.2
func TestBundlesStandIn(t *testing.T) {
	for name, c := range map[string]struct {
		hurt func(b *bench)
		ok   bool
	}{
		"a frame":     {func(b *bench) { b.hurt("system/ledger", 0, wounds["start"]) }, true},
		"a file":      {func(b *bench) { b.hurt("system/ledger", 1, wounds["gone"]) }, true},
		"the newest":  {func(b *bench) { b.hurt("system/ledger", 2, wounds["middle"]) }, true},
		"and bundles": {func(b *bench) { b.hurt("system/ledger", 0, wounds["start"]); b.gone("system/ledger/tile/entries/003") }, false},
		"other bundles": {func(b *bench) {
			b.hurt("system/ledger", 0, wounds["start"])
			for n := range 16 {
				b.edit("system/ledger/"+tileBase(entries, uint64(n)), func(x []byte) []byte {
					list, err := splitBundle(x)
					if err != nil {
						b.t.Fatal(err)
					}
					for _, e := range list {
						e[len(e)-1] ^= 1
					}
					return x
				})
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for range 200 {
				b.must(47)
			}
			whole := fullTiles(t, b)
			b.Close()
			c.hurt(b)
			for _, level := range []string{"tile/0", "tile/1"} {
				if err := b.disk.Rename("system/ledger/"+level, "gone-"+path.Base(level)); err != nil {
					t.Fatal(err)
				}
			}
			l, err := Open(b.home(), nil, b.signer, b.key, testOrigin)
			if !c.ok {
				if err == nil {
					t.Fatal("opened")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Ledger = l
			if f := b.finds("system", Damaged); b.Size() != uint64(len(b.want)) {
				t.Fatalf("%d leaves: %v", b.Size(), f)
			}
			if got := fullTiles(t, b); got != whole {
				t.Error("other tiles than before")
			}
			b.must(3)
			b.Close()
			b.open()
			b.must(3)
		})
	}
}

// A log that was cut is told of at each start, not only at the first one, until it has again
// what it had signed for, or a person takes the old checkpoint away.
//
//vigil:clause 5.2.8.2
func TestShortIsToldAgain(t *testing.T) {
	b := newBench(t, "a")
	copies := b.copies
	for range 10 {
		b.must(30)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	whole := b.file("system/ledger/" + spanPath(0))
	copyTree(t, b.disk, "system/ledger", "whole")
	cut := func() {
		b.hurt("system/ledger", 0, func(x []byte) []byte { return x[:len(x)/2] })
		removeTree(t, b.disk, "system/ledger/tile")
	}
	cut()
	b.copies = nil
	for range 3 {
		b.open()
		if f := b.finds("system", Short); f.Want != 300 {
			t.Fatal(f)
		}
		b.Close()
	}
	if n := len(kept(t, b, "system/ledger")); n != 1 {
		t.Fatalf("%d checkpoints kept", n)
	}
	b.copies = copies // it comes back from a copy
	b.open()
	b.Close()
	b.open()
	b.noFindings()
	if n := len(kept(t, b, "system/ledger")); n != 0 || len(b.file("system/ledger/"+spanPath(0))) != len(whole) {
		t.Fatalf("%d checkpoints kept", n)
	}
	b.Close()
	cut()
	b.copies, b.want = nil, b.want[:0]
	b.open()
	for range 20 { // beyond what it had signed for, with another history
		if _, err := b.Append(t.Context(), []Leaf{{Kind: Pulse, Meta: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	b.open()
	b.finds("system", Short)
	b.Close()
	for _, name := range kept(t, b, "system/ledger") {
		b.gone(name)
	}
	b.open()
	b.noFindings()
}

func kept(t *testing.T, b *bench, dir string) (list []string) {
	t.Helper()
	all, err := b.disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), "checkpoint.damaged-") {
			list = append(list, path.Join(dir, e.Name()))
		}
	}
	return list
}

// Home is shorter than its copy, and the copy's disk fails for a moment: home waits for it
// instead of going on without its leaves. One that fails for good does not keep the recorder from recording.
//
//vigil:clause 5.2.8.2
func TestSourceFails(t *testing.T) {
	for _, times := range []int{3, -1} { // -1: for good
		for skip := range 12 {
			func() {
				b := newBench(t)
				other := durable.NewMem()
				b.copies = []Folder{{other, "ledger", "a"}}
				b.open()
				for range 10 {
					b.must(30)
				}
				if err := b.Level(); err != nil {
					t.Fatal(err)
				}
				b.Close()
				b.hurt("system/ledger", 0, func(x []byte) []byte { return x[:len(x)/2] })
				removeTree(t, b.disk, "system/ledger/tile")
				other.Inject(durable.Rule{Name: "00.vlog", Kind: durable.OpRead, Skip: skip, Times: times, Fault: durable.Refused, Err: unix.EIO})
				b.open()
				other.Heal()
				b.finds("system", Short)
				switch short := b.Size() < 300; {
				case times > 0:
					b.check()
				case short:
					b.Close()
					b.open()
					b.check() // nothing was written meanwhile: it catches up
				}
				b.Close()
			}()
		}
	}
}

func fullTiles(t *testing.T, b *bench) string {
	lines := strings.Split(tree(t, b.disk, "system/ledger/tile"), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return strings.Contains(s, ".p/") }), "\n")
}
