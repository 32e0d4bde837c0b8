package seal

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The AES-256 cases with a 96-bit nonce of McGrew and Viega, "The
// Galois/Counter Mode of Operation (GCM)", appendix B, 13 to 16.
var gcmCases = []struct{ name, key, nonce, plain, aad, cipher, tag string }{
	{"13", strings.Repeat("00", 32), strings.Repeat("00", 12), "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
	{"14", strings.Repeat("00", 32), strings.Repeat("00", 12), strings.Repeat("00", 16), "", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
	{"15", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255", "",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
		"b094dac5d93471bdec1a502270e3cc6c"},
	{"16", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
		"76fc6ece0f4e1768cddf8853bb2d551b"},
}

func TestOpenPublished(t *testing.T) {
	for _, c := range gcmCases {
		t.Run(c.name, func(t *testing.T) {
			k, err := KeyFrom(unhex(t, c.key))
			if err != nil {
				t.Fatal(err)
			}
			sealed := unhex(t, c.nonce+c.cipher+c.tag)
			got, err := k.Open([]byte("before"), sealed, unhex(t, c.aad))
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), unhex(t, c.plain)...); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
			for i := range sealed {
				bad := bytes.Clone(sealed)
				bad[i] ^= 1
				if _, err := k.Open(nil, bad, unhex(t, c.aad)); !errors.Is(err, ErrOpen) {
					t.Fatalf("byte %d changed: %v", i, err)
				}
			}
			if _, err := k.Open(nil, sealed, []byte("other")); !errors.Is(err, ErrOpen) {
				t.Errorf("other associated data: %v", err)
			}
			if _, err := NewKey().Open(nil, sealed, unhex(t, c.aad)); !errors.Is(err, ErrOpen) {
				t.Errorf("other key: %v", err)
			}
			for n := range Overhead {
				if _, err := k.Open(nil, sealed[:min(n, len(sealed))], unhex(t, c.aad)); !errors.Is(err, ErrOpen) {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

// RFC 5869, appendix A.1 to A.3.
func TestDerivePublished(t *testing.T) {
	run := func(n int, from byte) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = from + byte(i)
		}
		return string(b)
	}
	for _, c := range []struct {
		name, key, salt, info string
		n                     int
		want                  string
	}{
		{"A.1", strings.Repeat("\x0b", 22), run(13, 0), run(10, 0xf0), 42,
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
		{"A.2", run(80, 0), run(80, 0x60), run(80, 0xb0), 82,
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
		{"A.3", strings.Repeat("\x0b", 22), "", "", 42,
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
	} {
		if got := derive([]byte(c.key), []byte(c.salt), c.info, c.n); hex.EncodeToString(got) != c.want {
			t.Errorf("%s: got %x, want %s", c.name, got, c.want)
		}
	}
}

func TestDerive(t *testing.T) {
	k, _ := KeyFrom([]byte(strings.Repeat("\x0b", 32)))
	want := derive([]byte(strings.Repeat("\x0b", 32)), nil, "vigil/1/settings", 32)
	if got := k.Derive("settings").Expose(); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	seen := map[string]string{}
	for name, d := range map[string]Key{
		"settings": k.Derive("settings"), "accounts": k.Derive("accounts"), "settings+": k.Derive("settings", nil),
		"settings+a": k.Derive("settings", []byte("a")), "settings+a+b": k.Derive("settings", []byte("a"), []byte("b")),
		"settings+ab": k.Derive("settings", []byte("ab")), "settings+a+": k.Derive("settings", []byte("a"), nil), "root": k,
	} {
		if other, ok := seen[string(d.Expose())]; ok {
			t.Errorf("%s and %s are the same key", name, other)
		}
		seen[string(d.Expose())] = name
	}
	if !k.Derive("settings").Equal(k.Derive("settings")) {
		t.Error("the same purpose gives two keys")
	}
}

func TestSealOpen(t *testing.T) {
	k := NewKey()
	for _, n := range []int{0, 1, 15, 16, 17, 4096, 1 << 20} {
		plain := bytes.Repeat([]byte{7}, n)
		sealed := k.Seal([]byte("head"), plain, []byte("aad"))
		if len(sealed) != 4+n+Overhead || string(sealed[:4]) != "head" {
			t.Fatalf("%d bytes became %d", n, len(sealed))
		}
		if bytes.Equal(sealed, k.Seal([]byte("head"), plain, []byte("aad"))) {
			t.Fatal("two sealings are equal: the nonce is not random")
		}
		got, err := k.Open(sealed[4:4], sealed[4:], []byte("aad")) // in place
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	room := append(make([]byte, 0, 100), "in place"...)
	sealed := k.Seal(room[:0], room, nil)
	if got, err := k.Open(nil, sealed, nil); err != nil || string(got) != "in place" {
		t.Fatalf("sealed in place: %q, %v", got, err)
	}
}

func TestWrap(t *testing.T) {
	k, inner := NewKey(), NewKey()
	w := k.Wrap(nil, inner, []byte("id"))
	if len(w) != 60 {
		t.Fatalf("a wrapped key of %d bytes", len(w))
	}
	if got, err := k.Unwrap(w, []byte("id")); err != nil || !got.Equal(inner) {
		t.Fatalf("unwrap: %v", err)
	}
	if _, err := k.Unwrap(w, []byte("di")); !errors.Is(err, ErrOpen) {
		t.Errorf("wrong id: %v", err)
	}
	if _, err := k.Unwrap(k.Seal(nil, []byte("short"), nil), nil); err == nil {
		t.Error("5 bytes became a key")
	}
}

func TestSealAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("a race build's sync.Pool throws things away on purpose: counted by make test")
	}
	k := NewKey()
	plain, aad := make([]byte, 64<<10), make([]byte, 32)
	dst := make([]byte, 0, len(plain)+Overhead)
	if n := testing.AllocsPerRun(100, func() { k.Seal(dst, plain, aad) }); n != 0 {
		t.Errorf("Seal allocates %v times", n)
	}
	sealed := k.Seal(nil, plain, aad)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := k.Open(dst, sealed, aad); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Open allocates %v times", n)
	}
}

// A key stays out of texts, logs and documents, alone and inside other things.
//
//vigil:clause 5.2.4.1
func TestKeyDoesNotPrint(t *testing.T) {
	raw := strings.Repeat("K", 32)
	k, _ := KeyFrom([]byte(raw))
	holder := struct {
		Key Key
		P   *Key
	}{k, &k}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "holder", holder)
	out := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%p", "%c"} {
		out += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k) + fmt.Sprintf(verb, holder)
	}
	for _, leak := range []string{raw, raw[:8], hex.EncodeToString([]byte(raw))[:16], "75 75 75", "4b, 0x4b", "S0tLS0tL"} {
		if strings.Contains(out, leak) {
			t.Errorf("the key shows as %q", leak)
		}
	}
	if _, err := json.Marshal(holder); err == nil {
		t.Error("a key marshals to JSON")
	}
	if err := gob.NewEncoder(&log).Encode(k); err == nil {
		t.Error("a key marshals to gob")
	}
}

func TestZero(t *testing.T) {
	k := NewKey()
	other := k
	k.Zero()
	if !other.IsZero() || other.s.bytes != [Size]byte{} || !(Key{}).IsZero() || NewKey().IsZero() {
		t.Error("Zero left something")
	}
	defer func() {
		if recover() == nil {
			t.Error("a forgotten key still seals")
		}
	}()
	other.Seal(nil, nil, nil)
}

func FuzzOpen(f *testing.F) {
	k, _ := KeyFrom(make([]byte, 32))
	f.Add(k.Seal(nil, []byte("plain"), []byte("aad")), []byte("aad"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, sealed, aad []byte) {
		plain, err := k.Open(nil, sealed, aad)
		if err != nil {
			return
		}
		again, err := k.Open(nil, k.Seal(nil, plain, aad), aad)
		if err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("seal, then open: %x, %v", again, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := NewKey()
	plain := make([]byte, 256<<10)
	dst := make([]byte, 0, len(plain)+Overhead)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		k.Seal(dst, plain, nil)
	}
}
