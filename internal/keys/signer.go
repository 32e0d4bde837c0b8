package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"vigil/internal/seal"
)

// A Signer has the two keys that sign the ledger's checkpoints, made at the
// first start: ECDSA on P-256, which our verifiers demand, and Ed25519, which C2SP
// tools read. It neither prints nor marshals.
type Signer struct {
	ecdsa   *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}

// Signer returns the ledger's keys.
func (r *Ring) Signer() *Signer { return r.signer }

// ECDSA signs SHA-256 digests, in ASN.1 form; its public key is an
// *ecdsa.PublicKey.
func (s *Signer) ECDSA() crypto.Signer { return s.ecdsa }

// Ed25519 signs messages (crypto.Hash(0)); its public key is an
// ed25519.PublicKey.
func (s *Signer) Ed25519() crypto.Signer { return s.ed25519 }

// Format prints no secret, whatever the verb.
func (s *Signer) Format(w fmt.State, _ rune) { fmt.Fprint(w, "secret:signer") }

// MarshalText refuses.
func (s *Signer) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("a signer is not for writing down")
}

func newSigner() *Signer {
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("keys: ECDSA P-256 is not there: " + err.Error())
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("keys: Ed25519 is not there: " + err.Error())
	}
	return &Signer{e, d}
}

const signerSize = 32 + ed25519.SeedSize + seal.Overhead

func (r *Ring) signerAAD() []byte { return append([]byte("vigil/1/signers"), r.rootID[:]...) }

func (r *Ring) appendSigner(dst []byte) []byte {
	start := len(dst)
	dst = append(appendHead(dst, 'S'), r.rootID[:]...)
	raw, err := r.signer.ecdsa.Bytes()
	if err != nil {
		panic("keys: a P-256 key without bytes: " + err.Error())
	}
	raw = append(raw, r.signer.ed25519.Seed()...)
	defer clear(raw)
	return appendCheck(r.Purpose("ledger").Seal(dst, raw, r.signerAAD()), start)
}

func (r *Ring) parseSigner(b []byte) (*Signer, error) {
	b, err := body(b, 'S')
	if err != nil {
		return nil, err
	}
	if len(b) != 16+signerSize {
		return nil, fmt.Errorf("%w: %d bytes of signers", ErrDamaged, len(b))
	}
	if err := r.sameRoot(b); err != nil {
		return nil, err
	}
	raw, err := r.Purpose("ledger").Open(nil, b[16:], r.signerAAD())
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	e, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:32])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &Signer{e, ed25519.NewKeyFromSeed(raw[32:])}, nil
}
