package ledger

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// A Checkpoint is a signed head of the ledger (c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64 // leaves
	Root   Digest // RFC 6962
	Note   []byte // the signed text, as in the file "checkpoint"; nil before the first Append
}

// A Signer signs checkpoints. Both halves are asked for a signature each time;
// the ECDSA one may live in a TPM.
type Signer struct {
	ECDSA   crypto.Signer // P-256
	Ed25519 crypto.Signer
}

// PublicKeys are what checkpoints are verified with. They must reach the
// verifier by another way than the ledger.
type PublicKeys struct {
	Origin  string
	ECDSA   *ecdsa.PublicKey
	Ed25519 ed25519.PublicKey // may be nil: then its signature is not looked at
}

// Errors of checkpoints.
var (
	ErrCheckpoint = errors.New("not a checkpoint")
	ErrSignature  = errors.New("checkpoint is not signed by the ledger's ECDSA key")
)

// Signature types of c2sp.org/signed-note. 0x02 is ECDSA with SHA-256 in ASN.1
// DER, whose key ID is the head of SHA-256(SubjectPublicKeyInfo) alone, unlike
// all others.
const (
	algEd25519 = 0x01
	algECDSA   = 0x02
)

const (
	maxECDSA   = 72 // DER: two integers of up to 33 bytes
	maxOrigin  = 128
	maxNote    = 16 << 10 // witnesses add signatures
	maxNoteTag = 16
)

// public returns the verifier's half.
func (s Signer) public(origin string) (PublicKeys, error) {
	k := PublicKeys{Origin: origin}
	if origin == "" || len(origin) > maxOrigin || !utf8.ValidString(origin) || strings.ContainsFunc(origin, func(r rune) bool {
		return unicode.IsSpace(r) || r < ' ' || r == '+' || r == 0x7f
	}) {
		return k, fmt.Errorf("ledger: origin %.40q cannot name a key", origin)
	}
	if s.ECDSA == nil || s.Ed25519 == nil {
		return k, errors.New("ledger: a checkpoint needs two keys")
	}
	var ok bool
	if k.ECDSA, ok = s.ECDSA.Public().(*ecdsa.PublicKey); !ok || k.ECDSA.Curve != elliptic.P256() {
		return k, errors.New("ledger: the first key is not ECDSA on P-256")
	}
	if k.Ed25519, ok = s.Ed25519.Public().(ed25519.PublicKey); !ok {
		return k, errors.New("ledger: the second key is not Ed25519")
	}
	return k, nil
}

// signatures are the two halves as the sealed log keeps them.
type signatures struct {
	ecdsa   []byte // DER, at most maxECDSA bytes
	ed25519 []byte
}

func (s Signer) sign(text []byte) (g signatures, err error) {
	sum := sha256.Sum256(text)
	if g.ecdsa, err = s.ECDSA.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
		return g, fmt.Errorf("sign checkpoint: ECDSA: %w", err)
	}
	if g.ed25519, err = s.Ed25519.Sign(rand.Reader, text, crypto.Hash(0)); err != nil {
		return g, fmt.Errorf("sign checkpoint: Ed25519: %w", err)
	}
	if len(g.ecdsa) > maxECDSA || len(g.ed25519) != ed25519.SignatureSize {
		return g, fmt.Errorf("sign checkpoint: signatures of %d and %d bytes", len(g.ecdsa), len(g.ed25519))
	}
	return g, nil
}

// text is what is signed: origin, size and root, a line each.
func (c Checkpoint) text() []byte {
	b := append([]byte(c.Origin), '\n')
	b = append(strconv.AppendUint(b, c.Size, 10), '\n')
	return append(base64.StdEncoding.AppendEncode(b, c.Root[:]), '\n')
}

// signed returns the checkpoint with its note.
func (c Checkpoint) signed(g signatures, k PublicKeys) Checkpoint {
	b := append(c.text(), '\n')
	line := func(id uint32, sig []byte) {
		b = append(append(append(b, "— "...), c.Origin...), ' ')
		b = base64.StdEncoding.AppendEncode(b, append(binary.BigEndian.AppendUint32(nil, id), sig...))
		b = append(b, '\n')
	}
	line(k.ecdsaID(), g.ecdsa)
	line(k.ed25519ID(), g.ed25519)
	c.Note = b
	return c
}

func (k PublicKeys) spki() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.ECDSA)
	if err != nil {
		panic("ledger: P-256 key does not marshal: " + err.Error()) // the curve was checked
	}
	return der
}

func (k PublicKeys) ecdsaID() uint32 {
	sum := sha256.Sum256(k.spki())
	return binary.BigEndian.Uint32(sum[:])
}

func (k PublicKeys) ed25519ID() uint32 {
	sum := sha256.Sum256(append([]byte(k.Origin+"\n"+string(rune(algEd25519))), k.Ed25519...))
	return binary.BigEndian.Uint32(sum[:])
}

// Lines returns the keys in the vkey form that C2SP tools take: name, key ID
// in hex, and base64 of the type byte and the key.
func (k PublicKeys) Lines() []string {
	vkey := func(id uint32, alg byte, key []byte) string {
		return fmt.Sprintf("%s+%08x+%s", k.Origin, id, base64.StdEncoding.EncodeToString(append([]byte{alg}, key...)))
	}
	lines := []string{vkey(k.ecdsaID(), algECDSA, k.spki())}
	if k.Ed25519 != nil {
		lines = append(lines, vkey(k.ed25519ID(), algEd25519, k.Ed25519))
	}
	return lines
}

// verifier is a note.Verifier of one of the keys.
type verifier struct {
	name   string
	id     uint32
	verify func(msg, sig []byte) bool
}

func (v verifier) Name() string                { return v.name }
func (v verifier) KeyHash() uint32             { return v.id }
func (v verifier) Verify(msg, sig []byte) bool { return v.verify(msg, sig) }

// Open verifies a checkpoint and reads it. The ECDSA signature is demanded; an
// Ed25519 one proves nothing by itself, but a wrong one spoils the whole.
func (k PublicKeys) Open(signed []byte) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, fmt.Errorf("%w: %d bytes", ErrCheckpoint, len(signed))
	}
	strong := verifier{k.Origin, k.ecdsaID(), func(msg, sig []byte) bool {
		sum := sha256.Sum256(msg)
		return ecdsa.VerifyASN1(k.ECDSA, sum[:], sig)
	}}
	known := []note.Verifier{strong}
	if k.Ed25519 != nil {
		known = append(known, verifier{k.Origin, k.ed25519ID(), func(msg, sig []byte) bool { return ed25519.Verify(k.Ed25519, msg, sig) }})
	}
	n, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	good := false
	for _, s := range n.Sigs {
		good = good || s.Name == strong.name && s.Hash == strong.id
	}
	if !good {
		return Checkpoint{}, ErrSignature
	}
	c, err := parseCheckpoint([]byte(n.Text))
	if err == nil && c.Origin != k.Origin {
		err = fmt.Errorf("%w: of %.40q, not of %.40q", ErrCheckpoint, c.Origin, k.Origin)
	}
	c.Note = bytes.Clone(signed)
	return c, err
}

// parseCheckpoint reads the text of a note. Extension lines are refused: we
// write none, and nobody could audit them.
func parseCheckpoint(text []byte) (c Checkpoint, err error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("%w: %d lines", ErrCheckpoint, len(lines)-1)
	}
	c.Origin = lines[0]
	if c.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return c, fmt.Errorf("%w: size %.30q", ErrCheckpoint, lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return c, fmt.Errorf("%w: root %.60q", ErrCheckpoint, lines[2])
	}
	copy(c.Root[:], root)
	if !bytes.Equal(c.text(), text) { // leading zeros, signs
		return c, fmt.Errorf("%w: not in the one spelling", ErrCheckpoint)
	}
	return c, nil
}
