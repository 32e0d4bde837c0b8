// Package seal is the only user of crypto/cipher: one algorithm, AES-256-GCM
// with a random 96-bit nonce (NIST SP 800-38D), one derivation, HKDF with
// SHA-256 (RFC 5869), and for what people remember PBKDF2 (NIST SP 800-132). It knows
// bytes and keys, not what they are for.
//
//	segments, settings, accounts ... -> [seal] -> bytes on a disk
//
// A key must not seal more than 2^32 messages (SP 800-38D 8.3, random
// nonces): a segment has a key of its own and about 120 records, the purpose keys
// seal a few million small files in the life of a machine.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Size is the length of a key in bytes.
const Size = 32

// Overhead is what sealing adds: 12 bytes of nonce in front, 16 of tag behind.
const Overhead = 28

// ErrOpen says that sealed bytes, their associated data or the key are not the
// ones of the time of sealing. It does not say which: nobody can know.
var ErrOpen = errors.New("sealed data does not open: altered, or another key")

// errSecret answers every attempt to marshal a key.
var errSecret = errors.New("a key is not for writing down")

// A Key is 256 secret bits with their cipher made ready, so that sealing
// allocates nothing. Copies share the secret. It neither prints nor marshals; Expose is
// the one way out. The zero Key is no key: using it panics.
// Safe for many callers, except Zero.
type Key struct{ s *secret }

type secret struct {
	bytes [Size]byte
	aead  cipher.AEAD
}

// NewKey returns a random key.
func NewKey() Key {
	s := new(secret)
	rand.Read(s.bytes[:]) // never fails: crypto/rand ends the process first
	return s.ready()
}

// KeyFrom returns the key with these 32 bytes, which the caller may then
// clear.
func KeyFrom(b []byte) (Key, error) {
	if len(b) != Size {
		return Key{}, fmt.Errorf("a key of %d bytes: want %d", len(b), Size)
	}
	s := new(secret)
	copy(s.bytes[:], b)
	return s.ready(), nil
}

func (s *secret) ready() Key {
	block, err := aes.NewCipher(s.bytes[:])
	if err == nil {
		s.aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil {
		panic("seal: AES-256-GCM is not there: " + err.Error()) // 32 bytes always make a cipher
	}
	return Key{s}
}

// Seal appends nonce, ciphertext and tag to dst: len(plain)+Overhead bytes. To
// seal in place, let dst be plain[:0] with room for the overhead; any other
// overlap panics. aad is authenticated and not written.
func (k Key) Seal(dst, plain, aad []byte) []byte { return k.s.aead.Seal(dst, nil, plain, aad) }

// Open appends the plaintext of what Seal made to dst. To open in place, let
// dst be sealed[:0]. The error is ErrOpen, and then nothing of the plaintext is
// in dst.
func (k Key) Open(dst, sealed, aad []byte) ([]byte, error) {
	out, err := k.s.aead.Open(dst, nil, sealed, aad)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// Wrap appends another key, sealed under this one: Size+Overhead bytes.
func (k Key) Wrap(dst []byte, inner Key, aad []byte) []byte {
	return k.Seal(dst, inner.s.bytes[:], aad)
}

// Unwrap is the inverse of Wrap.
func (k Key) Unwrap(wrapped, aad []byte) (Key, error) {
	var room [Size + Overhead]byte
	b, err := k.Open(room[:0], wrapped, aad)
	if err != nil {
		return Key{}, err
	}
	defer clear(room[:])
	return KeyFrom(b)
}

// Derive returns the key for a purpose: HKDF-SHA-256 without salt, the info
// being "vigil/1/" and the purpose, then for each context a zero byte, its length (4
// bytes, big endian) and itself, so that no two lists of arguments meet. A
// purpose is a constant of the program and has no zero byte.
func (k Key) Derive(purpose string, context ...[]byte) Key {
	info := []byte("vigil/1/" + purpose)
	for _, c := range context {
		info = append(info, 0)
		info = binary.BigEndian.AppendUint32(info, uint32(len(c)))
		info = append(info, c...)
	}
	b := derive(k.s.bytes[:], nil, string(info), Size)
	defer clear(b)
	d, err := KeyFrom(b)
	if err != nil {
		panic("seal: " + err.Error()) // Size is asked for and Size comes
	}
	return d
}

func derive(key, salt []byte, info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, key, salt, info, n)
	if err != nil {
		panic("seal: HKDF-SHA-256 is not there: " + err.Error()) // only for more than 255 blocks
	}
	return b
}

// MinRounds is the least of PBKDF2-HMAC-SHA-256 that new passwords and
// passphrases are stretched with, and SaltSize how many random bytes go with each.
const (
	MinRounds = 600_000
	SaltSize  = 16
)

// Stretch makes 32 bytes of what a person remembers: PBKDF2-HMAC-SHA-256 (NIST SP
// 800-132). It takes a whole core for as long as the rounds say. Argon2 and its like are
// better against graphics cards and not approved algorithms.
func Stretch(password string, salt []byte, rounds int) []byte {
	b, err := pbkdf2.Key(sha256.New, password, salt, rounds, Size)
	if err != nil {
		panic("seal: PBKDF2-HMAC-SHA-256 is not there: " + err.Error()) // the callers keep the bounds
	}
	return b
}

// Expose returns a copy of the secret bytes, for the few places that must hand
// them to something else: the root key file and the database's page cipher. The
// caller clears it.
func (k Key) Expose() []byte { return append([]byte(nil), k.s.bytes[:]...) }

// Equal tells whether two keys are the same, in constant time.
func (k Key) Equal(o Key) bool {
	return k.s != nil && o.s != nil && subtle.ConstantTimeCompare(k.s.bytes[:], o.s.bytes[:]) == 1
}

// IsZero tells whether this is no key: never made, or forgotten.
func (k Key) IsZero() bool { return k.s == nil || k.s.aead == nil }

// Zero forgets the secret for this key and all its copies; using one after
// that panics. No other call may run at the same time. What the cipher expanded is
// left to the garbage collector.
func (k Key) Zero() {
	if k.s != nil {
		clear(k.s.bytes[:])
		k.s.aead = nil
	}
}

// Format prints no secret, whatever the verb.
func (k Key) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "secret:key") }

// String prints no secret.
func (k Key) String() string { return "secret:key" }

// MarshalText refuses.
func (k Key) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalBinary refuses.
func (k Key) MarshalBinary() ([]byte, error) { return nil, errSecret }

// MarshalJSON refuses.
func (k Key) MarshalJSON() ([]byte, error) { return nil, errSecret }

// GobEncode refuses.
func (k Key) GobEncode() ([]byte, error) { return nil, errSecret }
