package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A Kind says what a leaf tells of. The numbers are part of the format.
type Kind uint8

// The kinds of leaves.
const (
	Segment       Kind = 1 // a sealed segment is part of the record
	Pulse         Kind = 2 // how far the open segments are synced
	Tombstone     Kind = 3 // a segment was removed, by whom and why
	Hold          Kind = 4 // footage is kept from retention, or no longer
	AuditBatch    Kind = 5 // the head of the security event log
	KeyEvent      Kind = 6 // a key was made, wrapped anew or destroyed
	SoftwareStart Kind = 7 // which program started
)

var kindNames = [...]string{"", "segment", "pulse", "tombstone", "hold", "audit batch", "key event", "software start"}

// Valid tells whether k is one of the kinds above.
func (k Kind) Valid() bool { return k >= Segment && k <= SoftwareStart }

// String returns the name of a kind.
func (k Kind) String() string {
	if k.Valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Digest is a SHA-256 digest.
type Digest = [sha256.Size]byte

// A Leaf is one entry of the ledger. What everybody may read are its kind, its
// digests and a commitment to the metadata; the metadata and its salt are
// sealed.
type Leaf struct {
	Kind    Kind
	Digests []Digest // public
	Meta    []byte   // sealed; the public leaf commits to it
	Salt    Salt     // set by Append
	// Lost tells, on reading, that the sealed metadata is damaged in every
	// folder. Kind and Digests still stand, Commitment is what was promised; if Kind is 0, these are lost as well.
	Lost       bool
	Commitment Digest // SHA-256(salt || metadata); set by Append and on reading
}

// A Salt keeps short metadata from being guessed by its commitment.
type Salt [16]byte

// Bounds of one leaf and of one Append.
const (
	MaxDigests = 8
	MaxMeta    = 16 << 10 // bytes of one leaf's metadata
	MaxBatch   = 4096     // leaves in one Append
	MaxBytes   = 4 << 20  // bytes of all metadata in one Append
)

// leafVersion is the first byte of a public leaf.
const leafVersion = 1

// A public leaf:
//
//	0       version, 1
//	1       kind
//	2       number of digests n, at most 8
//	3       n digests of 32 bytes
//	3+32n   SHA-256(salt of 16 bytes || metadata)
const leafOverhead = 3 + sha256.Size

// AppendPublic appends the public bytes of a leaf, which are what the tree
// hashes: SHA-256(0x00 || public leaf), RFC 6962 section 2.1.
func (l Leaf) AppendPublic(dst []byte) []byte {
	dst = append(dst, leafVersion, byte(l.Kind), byte(len(l.Digests)))
	for i := range l.Digests {
		dst = append(dst, l.Digests[i][:]...)
	}
	return append(dst, l.Commitment[:]...)
}

// ErrLeaf is returned for bytes that are not a leaf.
var ErrLeaf = errors.New("not a leaf of the ledger")

// ParsePublic is the inverse of AppendPublic. Salt and metadata stay empty.
func ParsePublic(b []byte) (Leaf, error) {
	if len(b) < leafOverhead || b[0] != leafVersion || !Kind(b[1]).Valid() || b[2] > MaxDigests ||
		len(b) != leafOverhead+int(b[2])*sha256.Size {
		return Leaf{}, ErrLeaf
	}
	l := Leaf{Kind: Kind(b[1]), Lost: true}
	if b[2] > 0 {
		l.Digests = make([]Digest, b[2])
	}
	for i := range l.Digests {
		copy(l.Digests[i][:], b[3+i*sha256.Size:])
	}
	copy(l.Commitment[:], b[len(b)-sha256.Size:])
	return l, nil
}

// Commit returns the commitment to metadata.
func Commit(salt Salt, meta []byte) Digest {
	var room [512]byte
	b := append(append(room[:0], salt[:]...), meta...)
	return sha256.Sum256(b)
}

// Shows tells whether salt and metadata are what the leaf committed to.
func (l Leaf) Shows(salt Salt, meta []byte) bool { return Commit(salt, meta) == l.Commitment }

// check tells whether a leaf may be appended.
func (l Leaf) check() error {
	switch {
	case !l.Kind.Valid():
		return fmt.Errorf("%v", l.Kind)
	case len(l.Digests) > MaxDigests:
		return fmt.Errorf("%v leaf with %d digests", l.Kind, len(l.Digests))
	case len(l.Meta) > MaxMeta:
		return fmt.Errorf("%v leaf with %d bytes of metadata", l.Kind, len(l.Meta))
	}
	return nil
}

// salted returns the leaf with a new salt and its commitment.
func (l Leaf) salted() Leaf {
	rand.Read(l.Salt[:]) // never fails: crypto/rand ends the process first
	l.Commitment = Commit(l.Salt, l.Meta)
	l.Lost = false
	return l
}
