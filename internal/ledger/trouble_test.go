package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

// copyTree copies a folder on a disk, for putting it back later.
func copyTree(t testing.TB, disk durable.FS, from, to string) {
	t.Helper()
	if err := durable.MkdirAll(disk, to); err != nil {
		t.Fatal(err)
	}
	list, err := disk.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		a, b := path.Join(from, e.Name()), path.Join(to, e.Name())
		if e.IsDir() {
			copyTree(t, disk, a, b)
			continue
		}
		data, err := durable.ReadFile(disk, a, 1<<30)
		if err == nil {
			err = durable.WriteFile(disk, b, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func removeTree(t testing.TB, disk durable.FS, dir string) {
	t.Helper()
	list, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.IsDir() {
			removeTree(t, disk, path.Join(dir, e.Name()))
		} else if err := disk.Remove(path.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.Remove(dir); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) edit(name string, fn func([]byte) []byte) {
	b.t.Helper()
	data, err := durable.ReadFile(b.disk, name, 1<<30)
	if err == nil {
		err = durable.WriteFile(b.disk, name, fn(bytes.Clone(data)))
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) finds(folder string, want Trouble) Finding {
	b.t.Helper()
	for _, f := range b.Findings() {
		if f.Folder == folder && f.Trouble == want {
			return f
		}
	}
	b.t.Fatalf("findings %v, want %s: %s", b.Findings(), folder, want)
	return Finding{}
}

func TestCopies(t *testing.T) {
	b := newBench(t, "a", "b")
	b.must(5000)
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	for _, c := range b.copies {
		b.audit(c)
	}
	b.must(1)
	b.must(2)
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.noFindings()
	b.check()
	for _, c := range b.copies {
		b.audit(c)
	}
}

// TestCopyFailureNeverBlocks lets the disk of a copy hang, and heals it.
func TestCopyFailureNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		hung, good := durable.NewMem(), durable.NewMem()
		b.copies = []Folder{{hung, "ledger", "hung"}, {good, "ledger", "good"}}
		b.open()
		var told []Trouble
		b.Tell = func(f Finding) { told = append(told, f.Trouble) } // each from another goroutine, one long after the other
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		hung.Inject(durable.Rule{Kind: durable.OpWrite, Times: -1, Fault: durable.Hang})
		for range 20 {
			b.must(3)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if v := b.copyOf("good").f.view(); v.head.Size+15 < b.Size() {
			t.Errorf("the good copy has %d of %d leaves", v.head.Size, b.Size())
		}
		if v := b.copyOf("hung").f.view(); v.head.Size != 0 {
			t.Errorf("the hung copy has %d leaves", v.head.Size)
		}
		hung.Heal()
		hung.Inject(durable.Rule{Kind: durable.OpSync, Fault: durable.Refused, Err: unix.EIO})
		for range 100 {
			b.must(1)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if !slices.Equal(told, []Trouble{Unwritable, Restored}) {
			t.Errorf("told %v", told)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.open()
		b.noFindings()
		for _, c := range b.copies {
			b.audit(c)
		}
	})
}

func (b *bench) copyOf(name string) *copier {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Ledger.copies[name]
}

// TestRollback puts home back to an older state: the copy knows better.
//
//vigil:clause 5.2.8.2
func TestRollback(t *testing.T) {
	for _, sizes := range [][2]int{{100, 20}, {300, 4000}, {4096, 1}, {5000, 4096}} {
		b := newBench(t, "a")
		b.must(sizes[0])
		copyTree(t, b.disk, "system/ledger", "old")
		b.must(sizes[1])
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.Close()
		removeTree(t, b.disk, "system/ledger")
		copyTree(t, b.disk, "old", "system/ledger")
		b.open()
		if f := b.finds("system", Short); f.Have != uint64(sizes[0]) || f.Want != uint64(sizes[0]+sizes[1]) || f.Err != nil {
			t.Errorf("%v", f)
		}
		b.must(2)
		b.check()
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.open()
		b.noFindings()
		b.check()
	}
}

// TestFork lets home go on from an older state without its copy, which then
// comes back.
//
//vigil:clause 5.2.8.2
func TestFork(t *testing.T) {
	for _, more := range []int{1, 50} {
		b := newBench(t, "a")
		b.must(100)
		copyTree(t, b.disk, "system/ledger", "old")
		b.must(20)
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.Close()
		removeTree(t, b.disk, "system/ledger")
		copyTree(t, b.disk, "old", "system/ledger")
		b.want = b.want[:100]
		copies := b.copies
		b.copies = nil
		b.open()
		b.must(more)
		b.copies = copies
		b.open()
		b.finds("a", Forked)
		before := tree(t, b.disk, "a")
		b.must(10)
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.check()
		if tree(t, b.disk, "a") != before {
			t.Error("the forked copy was written to")
		}
	}
}

func tree(t testing.TB, disk durable.FS, dir string) string {
	var s strings.Builder
	var walk func(string)
	walk = func(dir string) {
		list, err := disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			name := path.Join(dir, e.Name())
			if e.IsDir() {
				walk(name)
				continue
			}
			data, err := durable.ReadFile(disk, name, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			h := sha(data)
			fmt.Fprintf(&s, "%s %x\n", name, h)
		}
	}
	walk(dir)
	return s.String()
}

// TestDamage changes one thing in home at a time.
//
//vigil:clause 5.2.8.2
func TestDamage(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	const sealed = "system/ledger/sealed/000000/"
	cases := map[string]struct {
		name  string
		edit  func([]byte) []byte
		want  Trouble // found at open; "": by Verify alone
		lost  bool    // without a copy, metadata is lost
		whole bool    // all is repaired at open, Verify finds nothing more; with a copy, what was found and lost is too
	}{
		"old frame":        {sealed + "00.vlog", flip(5000), "", true, false},
		"new frame":        {sealed + "01.vlog", flip(5000), Damaged, true, false},
		"last frame":       {sealed + "01.vlog", flip(-1), Damaged, true, false},
		"file head":        {sealed + "01.vlog", flip(0), "", false, true},
		"log cut":          {sealed + "01.vlog", func(b []byte) []byte { return b[:len(b)-300] }, Damaged, true, false},
		"log emptied":      {sealed + "01.vlog", func(b []byte) []byte { return nil }, Damaged, true, false},
		"old tile":         {"system/ledger/tile/0/003", flip(77), "", false, false},
		"old bundle":       {"system/ledger/tile/entries/003", flip(77), "", false, false},
		"new tile":         {"system/ledger/tile/0/016", flip(77), "", false, true},
		"upper tile":       {"system/ledger/tile/1/000.p/18", flip(3), "", false, true},
		"upper edge":       {"system/ledger/tile/1/000.p/16", flip(3), "", false, true},
		"tile and upper":   {"system/ledger/tile/1/000.p/16", nil, Damaged, false, true},
		"checkpoint root":  {"system/ledger/checkpoint", flip(30), BadSignature, false, true},
		"checkpoint empty": {"system/ledger/checkpoint", func([]byte) []byte { return nil }, "", false, true},
	}
	for name, c := range cases {
		for _, withCopy := range []bool{false, true} {
			var b *bench
			if withCopy {
				b = newBench(t, "a")
			} else {
				b = newBench(t)
			}
			for range 100 {
				b.must(47)
			}
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			edit := c.edit
			if edit == nil {
				b.edit("system/ledger/tile/0/003", flip(77))
				edit = flip(3)
			}
			b.edit(c.name, edit)
			b.open()
			if c.want != "" {
				b.finds("system", c.want)
			} else {
				b.noFindings()
			}
			if b.Size() != 4700 {
				t.Errorf("%s: %d leaves left", name, b.Size())
			}
			lost := 0
			err := b.Follow(0, func(i uint64, l Leaf) error {
				if l.Lost {
					lost++
				} else if string(l.Meta) != b.want[i] {
					t.Errorf("%s: leaf %d is %q", name, i, l.Meta)
				}
				return nil
			})
			if err != nil || (lost > 0) != (c.lost && !withCopy) {
				t.Errorf("%s, copy %v: %d leaves lost, %v", name, withCopy, lost, err)
			}
			if err := b.Verify(context.Background(), nil); (err == nil) != (c.whole || withCopy && c.lost && c.want != "") {
				t.Errorf("%s, copy %v: verify: %v", name, withCopy, err)
			}
			b.must(5) // it goes on
			b.must(5)
			b.open()
			if b.Size() != 4710 {
				t.Errorf("%s: %d leaves after going on", name, b.Size())
			}
			if _, err := b.Proof(4705); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestForeignFrames puts back a file of the sealed log that is older than the
// tree: what it says is sealed by us and still not believed.
func TestForeignFrames(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.must(10)
	}
	copyTree(t, b.disk, "system/ledger", "old")
	for range 500 {
		b.must(10)
	}
	b.Close()
	fork := newBench(t)
	fork.key, fork.signer = b.key, b.signer
	fork.disk, fork.want = b.disk, b.want[:20]
	copyTree(t, b.disk, "old", "fork/ledger")
	l, err := Open(Folder{b.disk, "fork/ledger", "fork"}, nil, b.signer, b.key, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	for range 480 {
		if _, err := l.Append(context.Background(), []Leaf{leaf(1), leaf(2), leaf(3), leaf(4), leaf(5), leaf(6), leaf(7), leaf(8), leaf(9), leaf(10)}); err != nil {
			t.Fatal(err)
		}
	}
	other, err := durable.ReadFile(b.disk, "fork/ledger/sealed/000000/00.vlog", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	b.edit("system/ledger/sealed/000000/00.vlog", func([]byte) []byte { return other })
	b.open()
	lost := 0
	if err := b.Follow(0, func(i uint64, l Leaf) error {
		if l.Lost {
			lost++
		} else if string(l.Meta) != b.want[i] {
			t.Fatalf("leaf %d is %q", i, l.Meta)
		}
		return nil
	}); err != nil || lost < 4000 {
		t.Errorf("%d leaves lost, %v", lost, err)
	}
}

// TestShort removes the newest part of the ledger, tiles and all, but leaves
// the checkpoint.
//
//vigil:clause 5.2.8.2
func TestShort(t *testing.T) {
	b := newBench(t)
	b.must(100)
	copyTree(t, b.disk, "system/ledger", "old")
	b.must(50)
	b.Close()
	signed, err := durable.ReadFile(b.disk, "system/ledger/checkpoint", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	removeTree(t, b.disk, "system/ledger")
	copyTree(t, b.disk, "old", "system/ledger")
	b.edit("system/ledger/checkpoint", func([]byte) []byte { return signed })
	b.open()
	if f := b.finds("system", Short); f.Have != 100 || f.Want != 150 {
		t.Error(f)
	}
	b.want = b.want[:100]
	b.must(3)
	b.check()
}

// TestUnreadable damages home in so many places that nothing of it leads to
// its root any more.
func TestUnreadable(t *testing.T) {
	for _, withCopy := range []bool{false, true} {
		var b *bench
		if withCopy {
			b = newBench(t, "a")
		} else {
			b = newBench(t)
		}
		for range 100 {
			b.must(47)
		}
		if err := b.Level(); err != nil {
			t.Fatal(err)
		}
		b.Close()
		for _, name := range []string{"tile/0/003", "tile/0/008", "tile/1/000.p/16", "sealed/000000/00.vlog", "tile/entries/004", "tile/entries/005", "tile/entries/006"} {
			b.edit("system/ledger/"+name, func(x []byte) []byte { x[len(x)/3] ^= 1; return x })
		}
		l, err := Open(b.home(), b.copies, b.signer, b.key, testOrigin)
		if (err == nil) != withCopy {
			t.Fatalf("copy %v: %v", withCopy, err)
		}
		if !withCopy {
			continue
		}
		b.Ledger = l
		b.finds("system", Damaged)
		b.must(3)
		b.check()
		if _, err := b.disk.Stat("system/ledger.damaged-1/checkpoint"); err != nil {
			t.Error(err)
		}
	}
}

// TestOwedTilesAreTold lets a tile of home fail once.
func TestOwedTilesAreTold(t *testing.T) {
	b := newBench(t)
	b.must(10)
	var told []Trouble
	b.Tell = func(f Finding) { told = append(told, f.Trouble) }
	b.disk.Inject(durable.Rule{Kind: durable.OpWrite, Name: "13", Fault: durable.Refused, Err: unix.ENOSPC})
	b.must(3)
	b.must(3)
	if !slices.Equal(told, []Trouble{Unwritable, Restored}) {
		t.Errorf("told %v", told)
	}
	b.check()
}

func TestForeignKeys(t *testing.T) {
	b, other := newBench(t), newBench(t)
	b.must(10)
	keep := b.signer
	b.signer = other.signer
	if l, err := Open(b.home(), nil, b.signer, b.key, testOrigin); err == nil {
		if l.finds() == 0 {
			t.Error("another signer: nothing found")
		}
	}
	b.signer = keep
	if l, err := Open(b.home(), nil, keep, other.key, testOrigin); err == nil && l.finds() == 0 {
		t.Error("another sealing key: nothing found")
	}
	if _, err := Open(b.home(), nil, keep, b.key, "bad origin"); err == nil {
		t.Error("origin with a space")
	}
}

func (l *Ledger) finds() int { return len(l.Findings()) }

func TestProofs(t *testing.T) {
	b := newBench(t)
	var heads []Checkpoint
	for range 30 {
		b.must(37)
		heads = append(heads, b.Checkpoint())
	}
	for i := uint64(0); i < b.Size(); i += 13 {
		p, err := b.Proof(i)
		if err != nil {
			t.Fatal(err)
		}
		p.Extra = []byte("salt and metadata")
		q, err := ParseProof(p.AppendText(nil), b.PublicKeys())
		if err != nil {
			t.Fatal(err)
		}
		l, err := b.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Check(l.AppendPublic(nil)); err != nil {
			t.Error(err)
		}
		l.Kind = l.Kind%7 + 1
		if err := q.Check(l.AppendPublic(nil)); !errors.Is(err, ErrProof) {
			t.Errorf("another leaf: %v", err)
		}
	}
	for _, old := range heads {
		if _, _, err := b.Consistency(old.Size); err != nil {
			t.Error(err)
		}
		root, err := b.Ledger.RootAt(old.Size)
		if err != nil || root != old.Root {
			t.Errorf("root at %d: %v", old.Size, err)
		}
	}
}

// TestCheckpointSignatures: the ECDSA signature is demanded, Ed25519 alone
// proves nothing, and a wrong one spoils the whole.
func TestCheckpointSignatures(t *testing.T) {
	b, other := newBench(t), newBench(t)
	b.must(3)
	keys := b.PublicKeys()
	note := string(b.Checkpoint().Note)
	head, sigs, _ := strings.Cut(note, "\n\n")
	lines := strings.SplitAfter(sigs, "\n")
	foreign := head + "\n\n" + strings.SplitAfter(string(b.Checkpoint().signed(signatures{make([]byte, 70), make([]byte, 64)}, other.PublicKeys()).Note), "\n")[4]
	for name, c := range map[string]struct {
		note string
		ok   bool
	}{
		"both":             {note, true},
		"ECDSA alone":      {head + "\n\n" + lines[0], true},
		"Ed25519 alone":    {head + "\n\n" + lines[1], false},
		"none":             {head + "\n\n", false},
		"unknown key":      {foreign, false},
		"both and unknown": {note + strings.SplitAfter(foreign, "\n\n")[1], true},
		"size changed":     {strings.Replace(note, "\n3\n", "\n4\n", 1), false},
		"Ed25519 wrong":    {head + "\n\n" + lines[0] + strings.Replace(lines[1], "AA", "AB", 1)[:len(lines[1])-9] + "AAAAAAA=\n", false},
	} {
		if _, err := keys.Open([]byte(c.note)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	b := newBench(f)
	b.must(1)
	text := b.Checkpoint().text()
	f.Add(text)
	f.Add(bytes.Replace(text, []byte("\n1\n"), []byte("\n01\n"), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseCheckpoint(text); err == nil && !bytes.Equal(c.text(), text) {
			t.Errorf("parse, then text: %q, want %q", c.text(), text)
		}
	})
}

// FuzzWalk reads damaged files of the log: no panic, no leaf that was not
// sealed.
func FuzzWalk(f *testing.F) {
	b := newBench(f)
	b.must(3)
	b.must(2)
	good, err := b.Ledger.home.readSpan(0)
	if err != nil {
		f.Fatal(err)
	}
	key := spanKey(b.key, testOrigin, 0)
	f.Add(0, byte(1), 10)
	f.Add(200, byte(0x80), 0)
	f.Fuzz(func(t *testing.T, at int, xor byte, cut int) {
		x := bytes.Clone(good)
		if at >= 0 && at < len(x) {
			x[at] ^= xor
		}
		if cut >= 0 && cut < len(x) {
			x = x[:len(x)-cut]
		}
		var s frameScratch
		last := -1
		if _, err := walk(x, key, 0, 0, &s, func(i uint64, l Leaf) error {
			if int(i) <= last || string(l.Meta) != b.want[i] {
				t.Errorf("leaf %d after %d: %q", i, last, l.Meta)
			}
			last = int(i)
			return nil
		}, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestOneWriterOfACopy takes a copy away and brings it back while its disk
// hangs: who writes to it next waits until the first one is back.
func TestOneWriterOfACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		disk := durable.NewMem()
		at := Folder{disk, "ledger", "a"}
		b.copies = []Folder{at}
		b.open()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		b.must(3)
		time.Sleep(2 * copyEvery)
		disk.Inject(durable.Rule{Kind: durable.OpWrite, Times: -1, Fault: durable.Hang})
		b.must(3)
		time.Sleep(2 * copyEvery) // the copy's goroutine hangs
		first := b.copyOf("a")
		b.RemoveCopy("a")
		b.RemoveCopy("a")
		disk.ForgetOps()
		if found := b.AddCopy(at); len(found) != 1 || found[0].Trouble != Unwritable {
			t.Errorf("beside one that hangs: %v", found)
		}
		b.RemoveCopy("a")
		b.AddCopy(at)
		time.Sleep(2 * copyRetry)
		if log := disk.Log(); log != "" {
			t.Errorf("a second one wrote:\n%s", log)
		}
		var told []Trouble
		b.Tell = func(f Finding) { told = append(told, f.Trouble) }
		disk.Heal()
		synctest.Wait()
		select {
		case <-first.done:
		default:
			t.Error("the first one is not back")
		}
		time.Sleep(2 * copyEvery)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !slices.Equal(told, []Trouble{Restored}) {
			t.Errorf("told %v", told)
		}
		b.audit(at)
		if got := b.copyOf("a").f.view().head.Size; got != 6 {
			t.Errorf("the copy has %d leaves", got)
		}
	})
}

// closer counts how often a disk is let go.
type closer struct {
	durable.FS
	closed *int
}

func (c closer) Close() error { *c.closed++; return nil }

// TestCopyIsLetGo wants the disk of a copy closed, once, when the copy is
// removed or the ledger closed.
func TestCopyIsLetGo(t *testing.T) {
	b := newBench(t)
	var one, two int
	b.copies = []Folder{{closer{durable.NewMem(), &one}, "ledger", "one"}}
	b.open()
	b.AddCopy(Folder{closer{durable.NewMem(), &two}, "ledger", "two"})
	b.must(3)
	if err := b.Level(); err != nil || one+two != 0 {
		t.Errorf("%v; closed %d and %d times", err, one, two)
	}
	b.RemoveCopy("two")
	if one != 0 || two != 1 {
		t.Errorf("removed: closed %d and %d times", one, two)
	}
	b.Close()
	if one != 1 || two != 1 {
		t.Errorf("at the end: closed %d and %d times", one, two)
	}
}
