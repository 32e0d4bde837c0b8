package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

var update = flag.Bool("update", false, "write the golden files anew")

const dir = "state/keys"

func camera(b byte) media.CameraID { return media.CameraID{15: b} }

func create(t *testing.T) (*durable.Mem, *Ring) {
	t.Helper()
	m := durable.NewMem()
	r, err := Create(m, dir)
	if err != nil {
		t.Fatal(err)
	}
	return m, r
}

func reopen(t *testing.T, m *durable.Mem) *Ring {
	t.Helper()
	r, err := Open(m, dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// segment makes a segment key as the store does.
func segment(t *testing.T, r *Ring, c media.CameraID, day int32) (KeyID, []byte, seal.Key) {
	t.Helper()
	id, k, err := r.ForSegment(c, day)
	if err != nil {
		t.Fatal(err)
	}
	key, wrapped := k.New()
	return id, wrapped, key
}

// Whatever was handed out opens after a power cut: it was durable before it
// was returned.
func TestSegmentKeysSurvive(t *testing.T) {
	m, r := create(t)
	type made struct {
		id      KeyID
		wrapped []byte
		key     seal.Key
	}
	var all []made
	ids := map[KeyID]bool{}
	for day := int32(20000); day < 20003; day++ {
		for c := byte(1); c < 4; c++ {
			for range 2 {
				id, w, k := segment(t, r, camera(c), day)
				all = append(all, made{id, w, k})
				ids[id] = true
			}
		}
	}
	if len(ids) != 9 {
		t.Fatalf("%d keys for 3 cameras and 3 days", len(ids))
	}
	m.Crash()
	m.Restart()
	r = reopen(t, m)
	for _, s := range all {
		got, err := r.OpenSegment(s.id, s.wrapped)
		if err != nil || !got.Equal(s.key) {
			t.Fatalf("segment key: %v", err)
		}
		if _, err := r.OpenSegment(all[len(all)-1].id, s.wrapped); s.id != all[len(all)-1].id && !errors.Is(err, seal.ErrOpen) {
			t.Fatalf("opened under another key: %v", err)
		}
	}
	if _, err := r.OpenSegment(KeyID{1}, all[0].wrapped); !errors.Is(err, ErrNoKey) {
		t.Errorf("unknown key: %v", err)
	}
	if id, _, _ := segment(t, r, camera(1), 20002); !ids[id] {
		t.Error("a restart made another key for the day")
	}
}

// Nothing below the state folder or in the copies has a key in the clear, but
// the root.
//
//vigil:clause 5.1.1.2
func TestNothingInTheClear(t *testing.T) {
	m, r := create(t)
	_, _, key := segment(t, r, camera(1), 20000)
	_, d, _ := r.ForSegment(camera(1), 20000)
	secrets := [][]byte{key.Expose(), d.key.Expose(), r.epochs[0].key.Expose(), r.signer.ed25519.Seed()}
	raw, _ := r.signer.ecdsa.Bytes()
	secrets = append(secrets, raw)
	files := map[string][]byte{}
	for _, name := range []string{rootFile, epochFile, signerFile, daysDir + "/20000.keys"} {
		files[name], _ = durable.ReadFile(m, path.Join(dir, name), 1<<20)
		if info, err := m.Stat(path.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if !bytes.Contains(files[rootFile], r.root.Expose()) {
		t.Error("the root is not where it is looked for")
	}
	list, _ := r.Copies(0)
	if len(list) != 1 || !bytes.Equal(list[0].Data, files[daysDir+"/20000.keys"]) {
		t.Errorf("%d copies", len(list))
	}
	delete(files, rootFile)
	for name, b := range files {
		for i, s := range append(secrets, r.root.Expose()) {
			if bytes.Contains(b, s[:16]) {
				t.Errorf("%s holds secret %d in the clear", name, i)
			}
		}
	}
	if r.Mode() != KeyFile {
		t.Errorf("mode %q", r.Mode())
	}
}

func TestCopiesRestoreLostTables(t *testing.T) {
	m, r := create(t)
	id, w, key := segment(t, r, camera(1), 20000)
	_, gen := r.Copies(0)
	segment(t, r, camera(1), 20001)
	if list, _ := r.Copies(gen); len(list) != 1 || list[0].Name != "20001.keys" {
		t.Fatalf("copies after a new day: %d", len(list))
	}
	list, _ := r.Copies(0)
	for _, c := range list {
		if err := m.Remove(path.Join(dir, daysDir, c.Name)); err != nil {
			t.Fatal(err)
		}
	}
	r = reopen(t, m)
	if _, err := r.OpenSegment(id, w); !errors.Is(err, ErrNoKey) {
		t.Fatalf("lost: %v", err)
	}
	segment(t, r, camera(2), 20000) // life went on
	for _, c := range list {
		if n, err := r.Restore(c); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if n, err := r.Restore(c); err != nil || n != 0 {
			t.Fatal("again:", n, err)
		}
	}
	if got, err := reopen(t, m).OpenSegment(id, w); err != nil || !got.Equal(key) {
		t.Fatalf("restored: %v", err)
	}
	_, other := create(t)
	if _, err := other.Restore(list[0]); !errors.Is(err, ErrRoot) {
		t.Errorf("a copy of another machine: %v", err)
	}
	bad := Copy{list[0].Name, bytes.Clone(list[0].Data)}
	bad.Data[50] ^= 1
	if _, err := r.Restore(bad); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged copy: %v", err)
	}
}

func TestDestroy(t *testing.T) {
	m, r := create(t)
	id1, w1, _ := segment(t, r, camera(1), 20000)
	id2, w2, key2 := segment(t, r, camera(2), 20000)
	id3, w3, key3 := segment(t, r, camera(1), 20001)
	old, _ := r.Copies(0)
	oldEpochs, _ := durable.ReadFile(m, path.Join(dir, epochFile), maxSmall)
	if err := r.Destroy(id1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if len(r.epochs) != 1 {
			t.Errorf("%d epochs", len(r.epochs))
		}
		if _, err := r.OpenSegment(id1, w1); !errors.Is(err, ErrDestroyed) {
			t.Errorf("destroyed: %v", err)
		}
		for _, s := range []struct {
			id  KeyID
			w   []byte
			key seal.Key
		}{{id2, w2, key2}, {id3, w3, key3}} {
			if got, err := r.OpenSegment(s.id, s.w); err != nil || !got.Equal(s.key) {
				t.Errorf("what stays: %v", err)
			}
		}
		for _, c := range old { // a volume that was away comes back with the old tables
			if _, err := r.Restore(c); !errors.Is(err, ErrDestroyed) {
				t.Errorf("an old copy: %v", err)
			}
		}
		r = reopen(t, m)
	}
	if now, _ := durable.ReadFile(m, path.Join(dir, epochFile), maxSmall); len(now) != len(oldEpochs) || bytes.Contains(now, oldEpochs[40:100]) {
		t.Error("the old epoch key is still there")
	}
	if id, _, _ := segment(t, r, camera(1), 20000); id == id1 {
		t.Error("a destroyed key is used again")
	}
	if err := r.Destroy(KeyID{9}); !errors.Is(err, ErrNoKey) {
		t.Errorf("unknown: %v", err)
	}
}

// Each step of Destroy and of making a key fails in every way: what was
// promised stays, and asking again destroys.
func TestEveryStepFails(t *testing.T) {
	for _, fault := range []durable.Fault{durable.Refused, durable.AppliedThenError, durable.CrashBefore, durable.CrashAfter} {
		for step := 0; ; step++ {
			m, r := create(t)
			id1, w1, _ := segment(t, r, camera(1), 20000)
			id2, w2, key2 := segment(t, r, camera(2), 20000)
			id3, w3, key3 := segment(t, r, camera(1), 20001)
			m.Inject(durable.Rule{Skip: step, Fault: fault, Err: unix.EIO})
			err := r.Destroy(id1)
			_, _, err2 := r.ForSegment(camera(3), 20001)
			reached := m.Hits() > 0
			if m.Crashed() {
				m.Restart()
				r = reopen(t, m)
			} else {
				m.Heal()
			}
			name := fmt.Sprintf("fault %d at step %d (%v, %v)", fault, step, err, err2)
			for range 2 {
				if got, err := r.OpenSegment(id2, w2); err != nil || !got.Equal(key2) {
					t.Fatalf("%s: same day: %v", name, err)
				}
				if got, err := r.OpenSegment(id3, w3); err != nil || !got.Equal(key3) {
					t.Fatalf("%s: other day: %v", name, err)
				}
				id, w, k := segment(t, r, camera(3), 20001)
				if err := r.Destroy(id1); err != nil {
					t.Fatalf("%s: again: %v", name, err)
				}
				if _, err := r.OpenSegment(id1, w1); !errors.Is(err, ErrDestroyed) {
					t.Fatalf("%s: destroyed: %v", name, err)
				}
				r = reopen(t, m)
				if got, err := r.OpenSegment(id, w); err != nil || !got.Equal(k) {
					t.Fatalf("%s: made in between: %v", name, err)
				}
				if len(r.Damaged()) > 0 || len(r.epochs) != 1 {
					t.Fatalf("%s: %v, %d epochs", name, r.Damaged(), len(r.epochs))
				}
			}
			if !reached {
				break
			}
		}
	}
}

func TestCreateSurvivesCrash(t *testing.T) {
	for step := 0; ; step++ {
		m := durable.NewMem()
		m.Inject(durable.Rule{Skip: step, Fault: durable.CrashAfter})
		_, err := Create(m, dir)
		if err == nil {
			break
		}
		m.Restart()
		if _, err := Open(m, dir); err == nil {
			continue // the crash came after all was done
		} else if !errors.Is(err, ErrNoRoot) {
			t.Fatalf("step %d: %v", step, err)
		}
		if _, err := Create(m, dir); err != nil {
			t.Fatalf("step %d: create again: %v", step, err)
		}
		reopen(t, m)
	}
}

// newer is a file as a later Vigil may write it.
func newer(b []byte) []byte {
	return appendCheck(append(append([]byte(magic), 2), b[9:len(b)-checkSize]...), 0)
}

// TestNewerDay refuses the keys of a newer Vigil before it puts anything aside.
func TestNewerDay(t *testing.T) {
	m, r := create(t)
	segment(t, r, camera(1), 20000)
	segment(t, r, camera(1), 20001)
	name := path.Join(dir, daysDir, "20001.keys")
	good, err := durable.ReadFile(m, name, MaxCopy)
	if err != nil {
		t.Fatal(err)
	}
	durable.WriteFile(m, name, newer(good))
	durable.WriteFile(m, path.Join(dir, daysDir, "20000.keys"), []byte("nonsense"))
	m.ForgetOps()
	if _, err := Open(m, dir); !errors.Is(err, durable.ErrNewer) || !strings.Contains(err.Error(), name) {
		t.Errorf("open: %v", err)
	}
	if m.Log() != "" {
		t.Errorf("refused, but did\n%s", m.Log())
	}
	if !(Copy{"20001.keys", newer(good)}).Newer() || (Copy{"20001.keys", good}).Newer() {
		t.Error("newer copies are not told from others")
	}
}

func TestRefusals(t *testing.T) {
	m, r := create(t)
	segment(t, r, camera(1), 20000)
	if _, err := Create(m, dir); !errors.Is(err, ErrExists) {
		t.Errorf("create twice: %v", err)
	}
	good, _ := durable.ReadFile(m, path.Join(dir, rootFile), maxSmall)
	if err := m.Remove(path.Join(dir, rootFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(m, dir); !errors.Is(err, ErrNoRoot) {
		t.Errorf("no root: %v", err)
	}
	if ok, err := Exists(m, dir); ok || err != nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	if _, err := Create(m, dir); !errors.Is(err, ErrNoRoot) {
		t.Errorf("a new root beside old keys: %v", err)
	}
	durable.WriteFile(m, path.Join(dir, rootFile), appendRoot(nil, seal.NewKey()))
	if _, err := Open(m, dir); !errors.Is(err, ErrRoot) {
		t.Errorf("another root: %v", err)
	}
	f, _ := m.OpenFile(path.Join(dir, "loose"), os.O_CREATE|os.O_WRONLY, 0o640)
	f.Write(good)
	f.Close()
	if err := m.Rename(path.Join(dir, "loose"), path.Join(dir, rootFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(m, dir); !errors.Is(err, ErrOpenMode) {
		t.Errorf("readable by others: %v", err)
	}
	durable.WriteFile(m, path.Join(dir, rootFile), good)
	for _, name := range []string{rootFile, epochFile, signerFile} {
		b, _ := durable.ReadFile(m, path.Join(dir, name), maxSmall)
		for _, c := range []struct {
			what string
			data []byte
			want error
		}{
			{"empty", nil, ErrDamaged},
			{"cut", b[:len(b)-1], ErrDamaged},
			{"longer", append(bytes.Clone(b), 0), ErrDamaged},
			{"flipped", append(bytes.Clone(b[:60]), append([]byte{b[60] ^ 1}, b[61:]...)...), ErrDamaged},
			{"newer", newer(b), durable.ErrNewer},
			{"newer, and longer", newer(append(bytes.Clone(b), 0)), durable.ErrNewer},
			{"the byte of its version altered", append(append([]byte(magic), 2), b[9:]...), ErrDamaged},
			{"of no version", append(append([]byte(magic), 0), b[9:]...), ErrDamaged},
		} {
			durable.WriteFile(m, path.Join(dir, name), c.data)
			_, err := Open(m, dir)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %v", name, c.what, err)
			}
		}
		durable.WriteFile(m, path.Join(dir, name), b)
		if name != rootFile {
			m.Remove(path.Join(dir, name))
			if _, err := Open(m, dir); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s missing: %v", name, err)
			}
			durable.WriteFile(m, path.Join(dir, name), b)
		}
	}
	// A damaged table of one day is put aside; today goes on.
	durable.WriteFile(m, path.Join(dir, daysDir, "20000.keys"), []byte("VIGILKEY nonsense"))
	r = reopen(t, m)
	if len(r.Damaged()) != 1 || !errors.Is(r.Damaged()[0].Err, ErrDamaged) {
		t.Errorf("damaged: %v", r.Damaged())
	}
	segment(t, r, camera(1), 20000)
	if _, err := m.Stat(path.Join(dir, daysDir, "20000.keys.damaged")); err != nil {
		t.Error(err)
	}
	if r = reopen(t, m); len(r.Damaged()) != 0 {
		t.Errorf("still damaged: %v", r.Damaged())
	}
	for _, day := range []int32{-1, maxDay + 1} {
		if _, _, err := r.ForSegment(camera(1), day); err == nil {
			t.Errorf("day %d", day)
		}
	}
}

func TestSigner(t *testing.T) {
	m, r := create(t)
	again := reopen(t, m)
	msg := []byte("checkpoint")
	sum := sha256.Sum256(msg)
	sig, err := again.Signer().ECDSA().Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(r.Signer().ECDSA().Public().(*ecdsa.PublicKey), sum[:], sig) {
		t.Errorf("ECDSA: %v", err)
	}
	sig, err = again.Signer().Ed25519().Sign(rand.Reader, msg, crypto.Hash(0))
	if err != nil || !ed25519.Verify(r.Signer().Ed25519().Public().(ed25519.PublicKey), msg, sig) {
		t.Errorf("Ed25519: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v %x", r.Signer(), r.Signer(), r.Signer(), r.Signer()); strings.ReplaceAll(s, "secret:signer", "") != "   " {
		t.Errorf("a signer prints: %s", s)
	}
	if _, err := r.Signer().MarshalText(); err == nil {
		t.Error("a signer marshals")
	}
	if r.Purpose("settings").Equal(r.Purpose("accounts")) || !r.Purpose("settings").Equal(again.Purpose("settings")) {
		t.Error("purpose keys")
	}
}

// ForSegment is asked at every new segment of every camera: it must not touch
// the disk for what it has, not even while the disk hangs.
func TestForSegmentManyCallers(t *testing.T) {
	m, r := create(t)
	cameras := []media.CameraID{camera(1), camera(2), camera(3), camera(4)}
	if err := r.Prepare(20000, cameras...); err != nil {
		t.Fatal(err)
	}
	writes := len(m.Ops())
	var wg sync.WaitGroup
	ids := make([][4]KeyID, 8)
	for i := range ids {
		wg.Go(func() {
			for n := range 100 {
				id, k, err := r.ForSegment(cameras[n%4], 20000)
				if err != nil {
					t.Error(err)
					return
				}
				key, w := k.New()
				if got, err := r.OpenSegment(id, w); err != nil || !got.Equal(key) {
					t.Error(err)
				}
				ids[i][n%4] = id
			}
		})
	}
	wg.Wait()
	for _, got := range ids {
		if got != ids[0] {
			t.Fatal("two callers got two keys")
		}
	}
	if now := len(m.Ops()); now != writes {
		t.Errorf("%d operations on the disk for keys that were there", now-writes)
	}
	m.Inject(durable.Rule{Kind: durable.OpSync, Fault: durable.Hang})
	done := make(chan error)
	go func() { _, _, err := r.ForSegment(camera(9), 20000); done <- err }()
	for m.Hits() == 0 { // until it hangs
	}
	if _, _, err := r.ForSegment(camera(1), 20000); err != nil {
		t.Error(err)
	}
	m.Heal()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The golden files were written by the first version of the format and must
// open for ever.
func TestGolden(t *testing.T) {
	names := []string{rootFile, epochFile, signerFile, "20000.keys"}
	if *update {
		m, r := create(t)
		id, w, key := segment(t, r, camera(1), 20000)
		gone, _, _ := segment(t, r, camera(2), 20000)
		if err := r.Destroy(gone); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := durable.ReadFile(m, path.Join(dir, strings.Replace(name, "20000", "days/20000", 1)), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join("testdata", name), b, 0o644)
		}
		os.WriteFile("testdata/segment.txt", fmt.Appendf(nil, "%x %x %x %x\n", id[:], w, key.Expose(), gone[:]), 0o644)
	}
	m := durable.NewMem()
	if err := durable.MkdirAll(m, path.Join(dir, daysDir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		durable.WriteFile(m, path.Join(dir, strings.Replace(name, "20000", "days/20000", 1)), b)
		if name == "20000.keys" {
			table, err := parseDay(b)
			if err != nil || !bytes.Equal(table.append(nil), b) {
				t.Errorf("parse, then append: %v", err)
			}
		}
	}
	var id, wrapped, key, gone []byte
	b, err := os.ReadFile("testdata/segment.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(b), "%x %x %x %x", &id, &wrapped, &key, &gone); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, m)
	got, err := r.OpenSegment(KeyID(id), wrapped)
	if err != nil || !bytes.Equal(got.Expose(), key) {
		t.Errorf("segment key: %v", err)
	}
	if _, err := r.OpenSegment(KeyID(gone), wrapped); !errors.Is(err, ErrDestroyed) {
		t.Errorf("destroyed key: %v", err)
	}
}

func fuzzRing(f *testing.F) *Ring {
	m := durable.NewMem()
	if err := durable.MkdirAll(m, dir); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile("testdata/root.key")
	if err != nil {
		f.Fatal(err)
	}
	r := newRing(m, dir)
	k, err := parseRoot(b)
	if err != nil {
		f.Fatal(err)
	}
	r.setRoot(k)
	for _, name := range []string{rootFile, epochFile, signerFile, "20000.keys"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-checkSize]) // the target adds the check sum
	}
	return r
}

// withCheck lets the fuzzer past the check sum.
func withCheck(b []byte) []byte { return appendCheck(bytes.Clone(b), 0) }

func FuzzRoot(f *testing.F) {
	fuzzRing(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, withCheck(b)} {
			if k, err := parseRoot(b); err == nil && !bytes.Equal(appendRoot(nil, k), b) {
				t.Error("parse, then append, differs")
			}
		}
	})
}

func FuzzDay(f *testing.F) {
	fuzzRing(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, withCheck(b)} {
			if table, err := parseDay(b); err == nil && !bytes.Equal(table.append(nil), b) {
				t.Error("parse, then append, differs")
			}
		}
	})
}

func FuzzEpochsAndSigner(f *testing.F) {
	r := fuzzRing(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, withCheck(b)} {
			if list, err := r.parseEpochs(b); err == nil && (len(list) < 1 || len(list) > 2) {
				t.Errorf("%d epochs", len(list))
			}
			if s, err := r.parseSigner(b); err == nil && s == nil {
				t.Error("no signer and no error")
			}
		}
	})
}
