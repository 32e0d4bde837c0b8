package ledger

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func sha(b []byte) [32]byte { return sha256.Sum256(b) }

// mth is MTH of RFC 6962 section 2.1, as it stands there.
func mth(d [][32]byte) [32]byte {
	switch len(d) {
	case 0:
		return sha(nil)
	case 1:
		return d[0]
	}
	k := 1
	for 2*k < len(d) {
		k *= 2
	}
	l, r := mth(d[:k]), mth(d[k:])
	return sha(append(append([]byte{1}, l[:]...), r[:]...))
}

// auditCheckpoint reads a checkpoint by the words of c2sp.org/signed-note and
// demands both signatures. The Ed25519 one is also read by x/mod's verifier, which
// knows nothing of ECDSA.
func auditCheckpoint(t testing.TB, signed []byte, vkeys []string) (root [32]byte, size int) {
	t.Helper()
	text, sigs, ok := strings.Cut(string(signed), "\n\n")
	text += "\n"
	if !ok {
		t.Fatal("audit: no signatures")
	}
	good := map[byte]bool{}
	for _, vkey := range vkeys {
		p := strings.SplitN(vkey, "+", 3)
		key, err := base64.StdEncoding.DecodeString(p[2])
		if err != nil {
			t.Fatal(err)
		}
		id, err := strconv.ParseUint(p[1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSuffix(sigs, "\n"), "\n") {
			f := strings.Split(line, " ")
			raw, err := base64.StdEncoding.DecodeString(f[2])
			if err != nil || f[0] != "—" || f[1] != p[0] {
				t.Fatalf("audit: line %q: %v", line, err)
			}
			if uint64(raw[0])<<24|uint64(raw[1])<<16|uint64(raw[2])<<8|uint64(raw[3]) != id {
				continue
			}
			switch sum := sha([]byte(text)); key[0] {
			case 1:
				good[1] = ed25519.Verify(key[1:], []byte(text), raw[4:])
				want := sha([]byte(p[0] + "\n\x01" + string(key[1:])))
				good[1] = good[1] && string(want[:4]) == string(raw[:4])
			case 2:
				pub, err := x509.ParsePKIXPublicKey(key[1:])
				if err != nil {
					t.Fatal(err)
				}
				good[2] = ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), sum[:], raw[4:])
				want := sha(key[1:])
				good[2] = good[2] && string(want[:4]) == string(raw[:4])
			}
		}
		if key[0] == 1 {
			v, err := note.NewVerifier(vkey)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
				t.Fatalf("audit: x/mod: %v", err)
			}
		}
	}
	if !good[1] || !good[2] {
		t.Fatalf("audit: signatures: %v", good)
	}
	lines := strings.Split(text, "\n")
	size, err := strconv.Atoi(lines[1])
	if err != nil {
		t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(b), size
}
