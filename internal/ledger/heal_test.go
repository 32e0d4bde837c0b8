package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
)

// A wound is what happens to a file of the sealed log.
type wound func(b []byte) []byte // nil: it is gone

var wounds = map[string]wound{
	"gone":   func([]byte) []byte { return nil },
	"zeroed": func(b []byte) []byte { return make([]byte, len(b)) },
	"empty":  func([]byte) []byte { return []byte{} },
	"half":   func(b []byte) []byte { return b[:len(b)/2] },
	"most":   func(b []byte) []byte { return b[:len(b)*2/3] },
	"middle": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	"start":  func(b []byte) []byte { b[len(b)/5] ^= 1; return b },
	"end":    func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	"second": func(b []byte) []byte { clear(b[:len(b)/2]); return b },
}

// hurt wounds the newest file of the log in a folder and returns what it then
// has.
func (b *bench) hurt(dir string, span uint64, w wound) []byte {
	b.t.Helper()
	name := path.Join(dir, spanPath(span))
	whole := b.file(name)
	now := w(bytes.Clone(whole))
	var err error
	if now == nil {
		err = b.disk.Remove(name)
		if err == nil {
			err = b.disk.SyncDir(path.Dir(name))
		}
	} else {
		err = durable.WriteFile(b.disk, name, now)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return now
}

func (b *bench) file(name string) []byte {
	b.t.Helper()
	data, err := durable.ReadFile(b.disk, name, 1<<30)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	return data
}

// kept wants bytes in a file below a folder or beside it.
func (b *bench) kept(dir string, want []byte) {
	b.t.Helper()
	if len(want) == 0 {
		return
	}
	found := false
	var walk func(string)
	walk = func(dir string) {
		list, err := b.disk.ReadDir(dir)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range list {
			name := path.Join(dir, e.Name())
			if e.IsDir() {
				walk(name)
			} else if bytes.Equal(b.file(name), want) {
				found = true
			}
		}
	}
	walk(path.Dir(dir))
	if !found {
		b.t.Errorf("what was in %s is not kept", dir)
	}
}

// wounded makes a level ledger with one copy, in a few frames or in more than
// one file, and wounds home, the copy or both.
func wounded(t *testing.T, large bool, home, other wound) (b *bench, span uint64, whole, h, o []byte) {
	t.Helper()
	b = newBench(t, "a")
	frames, leaves := 20, 3
	if large {
		frames, leaves, span = 140, 31, 1
	}
	for range frames {
		b.must(leaves)
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	disk, err := b.disk.OpenFile(".", os.O_RDONLY, 0)
	if err == nil {
		err = errors.Join(disk.Syncfs(), disk.Close()) // the checkpoint too
	}
	if err != nil {
		t.Fatal(err)
	}
	whole = b.file("system/ledger/" + spanPath(span))
	if home != nil {
		h = b.hurt("system/ledger", span, home)
	}
	if other != nil {
		o = b.hurt("a/ledger", span, other)
	}
	return b, span, whole, h, o
}

// healedOf tells whether somebody is told that a folder was healed.
func (b *bench) healedOf(folder string) bool {
	for _, f := range b.Findings() {
		if f.Folder == folder && f.Trouble == Damaged && strings.Contains(f.Error(), "there again") {
			return true
		}
	}
	return false
}

// wholeAgain wants home and copy as they were before, and quiet.
func (b *bench) wholeAgain(span uint64, whole []byte) {
	b.t.Helper()
	if err := b.Level(); err != nil {
		b.t.Fatal(err)
	}
	for _, dir := range []string{"system/ledger/", "a/ledger/"} {
		if got := b.file(dir + spanPath(span)); !bytes.HasPrefix(got, whole) {
			b.t.Errorf("%s has %d bytes and not the %d it had", dir, len(got), len(whole))
		}
	}
	b.check()
	b.open()
	b.noFindings()
	b.must(2)
	if err := b.Level(); err != nil {
		b.t.Fatal(err)
	}
	b.check()
	b.audit(b.copies[0])
}

// TestHeal loses the sealed log of home, of a copy, or of both in different
// places: the next start has it whole again from whoever has it, tells, and keeps what it replaced.
//
//vigil:clause 5.2.8.2
func TestHeal(t *testing.T) {
	for name, w := range wounds {
		for _, large := range []bool{false, true} {
			for _, where := range []string{"home", "copy"} {
				t.Run(fmt.Sprint(name, " of ", where, " large ", large), func(t *testing.T) {
					home, other, folder := w, wound(nil), "system"
					if where == "copy" {
						home, other, folder = nil, w, "a"
					}
					b, span, whole, h, o := wounded(t, large, home, other)
					b.open()
					if !b.healedOf(folder) {
						t.Errorf("findings %v", b.Findings())
					}
					b.kept("system/ledger", h)
					b.kept("a/ledger", o)
					b.wholeAgain(span, whole)
				})
			}
		}
	}
}

func TestHealBoth(t *testing.T) {
	for _, c := range [][2]string{{"middle", "start"}, {"start", "end"}, {"second", "most"}, {"most", "second"}, {"middle", "end"}, {"end", "middle"}} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprint(c, large), func(t *testing.T) {
				b, span, whole, h, o := wounded(t, large, wounds[c[0]], wounds[c[1]])
				b.open()
				if !b.healedOf("system") || !b.healedOf("a") {
					t.Errorf("findings %v", b.Findings())
				}
				b.kept("system/ledger", h)
				b.kept("a/ledger", o)
				b.wholeAgain(span, whole)
			})
		}
	}
}

// TestHealFaults lets every operation of a start that heals fail in each way:
// the start after it has all.
func TestHealFaults(t *testing.T) {
	faults := map[string]durable.Fault{"refused": durable.Refused, "applied": durable.AppliedThenError, "before": durable.CrashBefore, "after": durable.CrashAfter}
	for name, fault := range faults {
		for _, c := range [][2]string{{"gone", ""}, {"zeroed", ""}, {"half", ""}, {"", "middle"}, {"", "gone"}, {"second", "most"}, {"middle", "start"}} {
			for skip := 0; ; skip++ {
				b, span, whole, h, o := wounded(t, false, wounds[c[0]], wounds[c[1]])
				b.disk.Inject(durable.Rule{Skip: skip, Fault: fault, Err: unix.EIO})
				if l, err := Open(b.home(), b.copies, b.signer, b.key, testOrigin); err == nil {
					b.Ledger = l
					b.Close()
				}
				hit := b.disk.Hits() > 0
				b.disk.RestartKeeping(rand.New(rand.NewPCG(uint64(skip), uint64(fault))))
				t.Run(fmt.Sprint(name, c, skip), func(t *testing.T) {
					b.t = t
					b.open()
					t.Log(b.Findings())
					b.kept("system/ledger", h)
					b.kept("a/ledger", o)
					b.wholeAgain(span, whole)
				})
				if !hit {
					if skip < 5 {
						t.Fatalf("only %d operations", skip)
					}
					break
				}
			}
		}
	}
}

// TestVerifyHeals loses files of the sealed log that are not the newest, of
// which a start reads nothing: to verify tells and heals, and the next time all is well.
//
//vigil:clause 5.2.8.2
func TestVerifyHeals(t *testing.T) {
	for name, w := range wounds {
		for _, folder := range []string{"system", "a"} {
			t.Run(name+" "+folder, func(t *testing.T) {
				b := newBench(t, "a")
				for range 92 {
					b.must(97)
				}
				if err := b.Level(); err != nil {
					t.Fatal(err)
				}
				b.Close()
				whole := b.file(folder + "/ledger/" + spanPath(0))
				now := b.hurt(folder+"/ledger", 0, w)
				b.open()
				b.noFindings()
				if err := b.Verify(t.Context(), nil); !errors.Is(err, errLost) {
					t.Errorf("verify: %v", err)
				}
				if !b.healedOf(folder) {
					t.Errorf("findings %v", b.Findings())
				}
				b.kept(folder+"/ledger", now)
				b.wholeAgain(0, whole)
			})
		}
	}
}

// TestNothingWrittenOver begins a log where a file without any frame lies.
func TestNothingWrittenOver(t *testing.T) {
	b := newBench(t)
	b.must(5)
	b.Close()
	if err := b.disk.Remove("system/ledger/checkpoint"); err != nil {
		t.Fatal(err)
	}
	now := b.hurt("system/ledger", 0, wounds["zeroed"])
	b.open()
	b.want = nil
	b.must(3)
	b.kept("system/ledger", now)
	b.check()
}

// TestCopyAnew damages log and bundles of a copy, so that it cannot be opened:
// it is kept and made anew from home, at the start or while the recorder works.
func TestCopyAnew(t *testing.T) {
	for _, late := range []bool{false, true} {
		b, span, whole, _, now := wounded(t, false, nil, wounds["middle"])
		list, err := b.disk.ReadDir("a/ledger/tile/entries/000.p")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			b.edit("a/ledger/tile/entries/000.p/"+e.Name(), func([]byte) []byte { return nil })
		}
		if late { // the disk answers again after the start
			b.disk.Inject(durable.Rule{Kind: durable.OpStat, Name: "a/ledger", Times: -1, Fault: durable.Refused, Err: unix.EIO})
		}
		b.open()
		if b.disk.Heal(); late {
			b.finds("a", Unreadable)
			if err := b.Level(); err != nil {
				t.Fatal(err)
			}
		}
		if f := b.finds("a", Damaged); !strings.Contains(f.Error(), "a/ledger.damaged-1") {
			t.Error(f)
		}
		b.kept("a/ledger", now)
		b.wholeAgain(span, whole)
	}
}

// TestLyingDisk has a copy on a disk that drops writes which it acknowledged:
// the next start has the copy level again.
func TestLyingDisk(t *testing.T) {
	for _, kind := range []durable.Kind{durable.OpWrite, durable.OpCreate, durable.OpRename, durable.OpSync} {
		for skip := range 40 {
			b := newBench(t)
			liar := durable.NewMem()
			b.copies = []Folder{{liar, "ledger", "a"}}
			b.open()
			for range 12 {
				b.must(25)
				if err := b.Level(); err != nil {
					t.Fatal(err)
				}
			}
			liar.Inject(durable.Rule{Kind: kind, Skip: skip, Times: 3, Fault: durable.Lost})
			for range 12 {
				b.must(25)
				_ = b.Level()
			}
			liar.RestartKeeping(rand.New(rand.NewPCG(uint64(skip), 0)))
			b.open()
			if err := b.Level(); err != nil {
				t.Fatalf("%s %d: %v; %v", kind, skip, err, b.Findings())
			}
			if err := b.Verify(t.Context(), nil); err != nil {
				t.Fatalf("%s %d: %v; %v", kind, skip, err, b.Findings())
			}
			b.audit(b.copies[0])
		}
	}
}

// TestCheckpointFolder puts a folder in the place of a checkpoint.
func TestCheckpointFolder(t *testing.T) {
	for _, at := range []string{"system", "a"} {
		dir := t.TempDir()
		b := newBench(t)
		home, other := Folder{durable.OS{}, path.Join(dir, "system"), "system"}, Folder{durable.OS{}, path.Join(dir, "a"), "a"}
		start := func() {
			t.Helper()
			l, err := Open(home, []Folder{other}, b.signer, b.key, testOrigin)
			if err != nil {
				t.Fatal(err)
			}
			b.Ledger = l
			t.Cleanup(func() { l.Close() })
			b.must(3)
			if err := errors.Join(b.Level(), b.Verify(t.Context(), nil)); err != nil {
				t.Error(err)
			}
			if _, err := b.Proof(2); err != nil {
				t.Error(err)
			}
		}
		start()
		b.Close()
		name := path.Join(dir, at, "checkpoint")
		if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o700)); err != nil {
			t.Fatal(err)
		}
		start()
		if f := b.finds(at, BadSignature); !strings.Contains(f.Error(), name+".damaged-1") {
			t.Error(f)
		}
		b.Close()
		start()
		b.noFindings()
	}
}

// TestHealNotFromAFork loses a frame that a copy with another history has
// in its way: sealed by us, and not what the checkpoint commits to.
func TestHealNotFromAFork(t *testing.T) {
	b := newBench(t, "a")
	for n := range 10 {
		if b.must(3); n == 4 {
			copyTree(t, b.disk, "system/ledger", "old")
		}
	}
	if err := b.Level(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	removeTree(t, b.disk, "system/ledger")
	copyTree(t, b.disk, "old", "system/ledger")
	copies := b.copies
	b.copies, b.want = nil, b.want[:15]
	b.open()
	for range 5 {
		b.must(3)
	}
	b.Close()
	now := b.hurt("system/ledger", 0, wounds["end"])
	before := tree(t, b.disk, "a")
	b.copies = copies
	b.open()
	b.finds("a", Forked)
	if f := b.finds("system", Damaged); !errors.Is(f, errLost) || b.Size() != 30 {
		t.Errorf("%d leaves, %v", b.Size(), f)
	}
	if got := b.file("system/ledger/" + spanPath(0)); !bytes.Equal(got, now) || tree(t, b.disk, "a") != before {
		t.Error("written to")
	}
	b.must(3)
	b.open()
	if l, err := b.Leaf(28); err != nil || !l.Lost {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestShortened loses a frame that the disk had acknowledged, and its tiles,
// behind the checkpoint that the disk has: the ledger goes on before it, and keeps what
// is behind it. What the checkpoint commits to, a checkpoint that is not ours, and more than a disk
// holds back are for a person.
func TestShortened(t *testing.T) {
	for _, frames := range []int{20, 125} { // in one file of the log and in two
		for name, c := range map[string]struct {
			behind     int // frames
			checkpoint func(b *bench, before []byte)
			goesOn     bool
		}{
			"before": {20, func(b *bench, before []byte) {
				b.edit("system/ledger/checkpoint", func([]byte) []byte { return before })
			}, true},
			"none":  {20, func(b *bench, _ []byte) { b.gone("system/ledger/checkpoint") }, true},
			"after": {20, func(*bench, []byte) {}, false},
			"forged": {20, func(b *bench, _ []byte) {
				b.edit("system/ledger/checkpoint", func([]byte) []byte { return []byte("nonsense") })
			}, false},
			"too much": {40, func(b *bench, _ []byte) { b.gone("system/ledger/checkpoint") }, false},
			"too much2": {40, func(b *bench, before []byte) {
				b.edit("system/ledger/checkpoint", func([]byte) []byte { return before })
			}, false},
		} {
			b := newBench(t)
			for range frames {
				b.must(31)
			}
			have := uint64(frames) * 31
			signed := bytes.Clone(b.file("system/ledger/checkpoint"))
			first := len(b.file("system/ledger/" + spanPath(have/spanLeaves)))
			for range c.behind {
				b.must(31)
			}
			b.Close()
			b.hurt("system/ledger", have/spanLeaves, func(x []byte) []byte { x[first+50] ^= 1; return x })
			if err := b.disk.Rename("system/ledger/tile", "gone"); err != nil {
				t.Fatal(err)
			}
			c.checkpoint(b, signed)
			for range 2 { // a second try is no wiser
				l, err := Open(b.home(), nil, b.signer, b.key, testOrigin)
				if (err == nil) != c.goesOn {
					t.Fatalf("%s, %d frames: %v", name, frames, err)
				}
				if err == nil {
					b.Ledger = l
					break
				}
			}
			if !c.goesOn {
				continue
			}
			end := have + uint64(c.behind)*31
			if f := b.finds("system", Short); f.Have != have || f.Want != end || b.Size() != have {
				t.Errorf("%s, %d frames: %v, %d leaves", name, frames, f, b.Size())
			}
			for span := have / spanLeaves; span*spanLeaves < end; span++ {
				if _, err := b.disk.Stat("system/ledger/" + asideOf(spanPath(span), 1)); err != nil {
					t.Error(err)
				}
			}
			b.want = b.want[:have]
			for range 150 {
				b.must(31)
			}
			b.check()
			b.Close()
			b.open()
			b.check()
		}
	}
}

func (b *bench) gone(name string) {
	b.t.Helper()
	if err := b.disk.Remove(name); err != nil {
		b.t.Fatal(err)
	}
}
