package ledger

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

const testOrigin = "vigil.example/test"

// A bench is a ledger with its keys on disks in memory.
type bench struct {
	t      testing.TB
	signer Signer
	key    seal.Key
	disk   *durable.Mem // home and copies are folders of it
	copies []Folder
	*Ledger
	want []string // metadata of all acknowledged leaves
}

func newBench(t testing.TB, copies ...string) *bench {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, signer: Signer{ec, ed}, key: seal.NewKey(), disk: durable.NewMem()}
	for _, c := range copies {
		b.copies = append(b.copies, Folder{b.disk, c + "/ledger", c})
	}
	b.open()
	return b
}

func (b *bench) home() Folder { return Folder{b.disk, "system/ledger", "system"} }

func (b *bench) open() {
	b.t.Helper()
	l, err := Open(b.home(), b.copies, b.signer, b.key, testOrigin)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Ledger = l
}

func TestMain(m *testing.M) {
	sourcePause = 0
	m.Run()
}

// leaf makes a leaf whose metadata says which one it is.
func leaf(n int) Leaf {
	kind := Kind(1 + n%7)
	l := Leaf{Kind: kind, Meta: []byte(fmt.Sprintf("leaf %d %s", n, strings.Repeat("x", n%90)))}
	for i := range n % 3 {
		l.Digests = append(l.Digests, Digest{byte(n), byte(n >> 8), byte(i)})
	}
	return l
}

func (b *bench) append(count int) error {
	var leaves []Leaf
	for i := range count {
		leaves = append(leaves, leaf(len(b.want)+i))
	}
	first, err := b.Append(context.Background(), leaves)
	if err != nil {
		return err
	}
	if first != uint64(len(b.want)) {
		b.t.Fatalf("first leaf %d, want %d", first, len(b.want))
	}
	for _, l := range leaves {
		b.want = append(b.want, string(l.Meta))
	}
	return nil
}

func (b *bench) must(count int) {
	b.t.Helper()
	for ; count > MaxBatch; count -= MaxBatch {
		b.must(MaxBatch)
	}
	if err := b.append(count); err != nil {
		b.t.Fatal(err)
	}
}

// check reads everything in all ways.
func (b *bench) check() {
	b.t.Helper()
	if got := b.Size(); got != uint64(len(b.want)) {
		b.t.Fatalf("size %d, want %d", got, len(b.want))
	}
	n := uint64(0)
	err := b.Follow(0, func(i uint64, l Leaf) error {
		if i != n || string(l.Meta) != b.want[i] || l.Lost || l.Kind != Kind(1+i%7) || !l.Shows(l.Salt, l.Meta) {
			return fmt.Errorf("leaf %d of %d: %v %q lost=%v, want %q", i, n, l.Kind, l.Meta, l.Lost, b.want[i])
		}
		n++
		return nil
	})
	if err != nil || n != uint64(len(b.want)) {
		b.t.Fatalf("followed %d of %d leaves: %v", n, len(b.want), err)
	}
	if err := b.Verify(context.Background(), nil); err != nil {
		b.t.Fatal(err)
	}
	if n > 0 {
		b.audit(b.home())
	}
}

func (b *bench) noFindings() {
	b.t.Helper()
	for _, f := range b.Findings() {
		if f.Trouble != Behind {
			b.t.Fatalf("finding: %v", f)
		}
	}
}

func TestAppendAndReadBack(t *testing.T) {
	b := newBench(t)
	b.check()
	for _, n := range []int{1, 2, 253, 1, 1, 300, 3, 4096, 700, 1} {
		b.must(n)
		b.check()
	}
	b.open()
	b.noFindings()
	b.check()
	for _, from := range []uint64{0, 1, 255, 256, 257, 558, 560, 561, 4095, 4096, 4656, 4657, 5357, b.Size() - 1, b.Size()} {
		next := from
		if err := b.Follow(from, func(i uint64, l Leaf) error {
			if i != next || string(l.Meta) != b.want[i] {
				return fmt.Errorf("leaf %d, want %d", i, next)
			}
			next++
			return nil
		}); err != nil || next != b.Size() {
			t.Errorf("follow from %d: to %d, %v", from, next, err)
		}
		if from < b.Size() {
			if l, err := b.Leaf(from); err != nil || string(l.Meta) != b.want[from] {
				t.Errorf("leaf %d: %q, %v", from, l.Meta, err)
			}
		}
	}
	if err := b.Follow(b.Size()+1, nil); !errors.Is(err, ErrRange) {
		t.Errorf("follow beyond the end: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	b := newBench(t)
	for name, leaves := range map[string][]Leaf{
		"kind":     {{Kind: 0}},
		"digests":  {{Kind: Segment, Digests: make([]Digest, MaxDigests+1)}},
		"metadata": {{Kind: Segment, Meta: make([]byte, MaxMeta+1)}},
		"leaves":   make([]Leaf, MaxBatch+1),
	} {
		if _, err := b.Append(context.Background(), leaves); err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	b.check()
}

// TestFaults lets every operation of appends fail in each way, around the
// borders of tiles and files, and then asks: nothing acknowledged is lost,
// nothing lost is acknowledged, and what is there is whole.
func TestFaults(t *testing.T) {
	faults := map[string]durable.Fault{"refused": durable.Refused, "applied": durable.AppliedThenError, "before": durable.CrashBefore, "after": durable.CrashAfter}
	steps := [][]int{{2, 3}, {3, 2}, {300}, {4000}, {200}}
	for name, fault := range faults {
		for skip := 0; ; skip++ {
			b := newBench(t)
			b.must(250)
			b.disk.Inject(durable.Rule{Skip: skip, Fault: fault, Err: unix.EIO})
			var sizes []int
			for _, step := range steps {
				for _, n := range step {
					if b.append(n) != nil {
						sizes = append(sizes, len(b.want)+n)
						if b.disk.Crashed() {
							break
						}
						if err := b.append(n); err != nil { // once more: the fault is over
							t.Fatalf("%s %d: again: %v", name, skip, err)
						}
						sizes = nil
					}
				}
				if b.disk.Crashed() {
					break
				}
			}
			hit := b.disk.Hits() > 0
			if !b.disk.Crashed() {
				b.disk.Heal()
				b.must(1) // pays tiles that are owed
				b.check()
			}
			b.disk.RestartKeeping(mrand.New(mrand.NewPCG(uint64(skip), uint64(fault))))
			b.open()
			b.noFindings()
			// What was not acknowledged may be there when the machine stopped at that moment.
			if got := int(b.Size()); len(sizes) > 0 && got == sizes[len(sizes)-1] {
				for i := len(b.want); i < got; i++ {
					b.want = append(b.want, string(leaf(i).Meta))
				}
			}
			b.check()
			b.must(3)
			b.check()
			if !hit {
				if skip < 40 {
					t.Fatalf("only %d operations", skip)
				}
				break
			}
			if skip > 60 { // full tiles and their syncs: many alike
				skip += 7
			}
		}
	}
}

// TestNoGarbage appends one leaf at a time and counts what lies in the folder.
func TestNoGarbage(t *testing.T) {
	b := newBench(t)
	for range 700 {
		b.must(1)
	}
	files := 0
	var walk func(dir string)
	walk = func(dir string) {
		list, err := b.disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.IsDir() {
				walk(path.Join(dir, e.Name()))
			} else {
				files++
			}
		}
	}
	walk("system/ledger")
	// Two full tiles and bundles; 188 widths of the third of each; level 1 of two widths; log; checkpoint.
	if want := 4 + 2*188 + 2 + 1 + 1; files != want {
		t.Errorf("%d files, want %d", files, want)
	}
	b.must(68) // the third is full
	files = 0
	walk("system/ledger")
	if want := 6 + 3 + 1 + 1; files != want {
		t.Errorf("%d files, want %d", files, want)
	}
}

// TestOrder is the order of durable steps of an append, as a golden file.
func TestOrder(t *testing.T) {
	b := newBench(t)
	b.must(255)
	b.disk.ForgetOps()
	b.must(1)
	b.must(4096 - 256)
	b.disk.ForgetOps()
	b.must(1)
	var got []string
	for _, line := range strings.Split(b.disk.Log(), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "write" {
			line = f[0] + " " + f[1]
		}
		got = append(got, line)
	}
	golden(t, "order.txt", []byte(strings.Join(got, "\n")))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if os.Getenv("UPDATE") != "" {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", file, got, want)
	}
}

// audit is an independent reading of a folder: it needs the public keys alone
// and nothing of this package but the names of kinds. Tiles by RFC 6962 on paper.
func (b *bench) audit(f Folder) {
	b.t.Helper()
	read := func(name string) []byte {
		data, err := durable.ReadFile(f.FS, path.Join(f.Dir, name), 1<<20)
		if err != nil {
			b.t.Fatalf("audit: %v", err)
		}
		return data
	}
	root, size := auditCheckpoint(b.t, read("checkpoint"), b.PublicKeys().Lines())
	name := func(level string, n, w int) string {
		s := fmt.Sprintf("%03d", n%1000)
		if n >= 1000 {
			s = fmt.Sprintf("x%03d/%s", n/1000, s)
		}
		if w < 256 {
			s += fmt.Sprintf(".p/%d", w)
		}
		return "tile/" + level + "/" + s
	}
	var leaves [][32]byte
	for n := 0; n*256 < size; n++ {
		w := min(256, size-n*256)
		bundle, row := read(name("entries", n, w)), read(name("0", n, w))
		for i := range w {
			l := int(binary.BigEndian.Uint16(bundle))
			h := sha(append([]byte{0}, bundle[2:2+l]...))
			if string(row[i*32:i*32+32]) != string(h[:]) {
				b.t.Fatalf("audit: entry %d is not in its tile", n*256+i)
			}
			leaves = append(leaves, h)
			bundle = bundle[2+l:]
		}
		if len(bundle) > 0 || len(row) != w*32 {
			b.t.Fatalf("audit: tile %d has more than it should", n)
		}
	}
	for level, width := 1, 256; width <= size; level, width = level+1, width*256 {
		count := size / width
		for n := 0; n*256 < count; n++ {
			w := min(256, count-n*256)
			row := read(name(fmt.Sprint(level), n, w))
			for i := range w {
				at := (n*256 + i) * width
				if want := mth(leaves[at : at+width]); string(row[i*32:i*32+32]) != string(want[:]) {
					b.t.Fatalf("audit: level %d, hash %d", level, n*256+i)
				}
			}
		}
	}
	if mth(leaves) != root {
		b.t.Fatal("audit: the leaves do not make the root")
	}
}

// TestReadersBeside: roots and proofs of any size are to be had while leaves
// are appended as fast as can be.
func TestReadersBeside(t *testing.T) {
	b := newBench(t)
	ctx, stop := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for n := range 3 {
		readers.Go(func() {
			for i := uint64(n); ctx.Err() == nil; i += 7 {
				size := b.Size()
				if size == 0 {
					continue
				}
				if _, err := b.RootAt(size - i%min(size, 9)); err != nil {
					t.Error(err)
				}
				if _, err := b.Proof(size - 1); err != nil {
					t.Error(err)
				}
				if _, _, err := b.Consistency(size); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 150 {
		if _, err := b.Append(ctx, segments(3)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	readers.Wait()
}
