package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"

	"vigil/internal/media"
)

// SampleHead appends what stands before a sample's bytes in its canonical
// form (docs/adr/0003-canonical-sample.md):
//
//	 0   8  decode time, ticks since the epoch
//	 8   4  composition offset, signed
//	12   1  flags: 1 = sync sample
//	13   4  size
//
// A leaf is SHA-256(0 | samples of one track of one fragment).
func SampleHead(dst []byte, dts media.Ticks, cto int32, sync bool, size int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(dts))
	dst = binary.BigEndian.AppendUint32(dst, uint32(cto))
	dst = append(dst, bit(sync))
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// A tree is the right edge of a Merkle tree (RFC 6962, 2.1): the roots of its
// complete subtrees, largest first, one for each bit of its size. Adding a leaf and
// telling the root allocate nothing.
type tree struct {
	size uint32
	edge [32][32]byte
}

// add takes the next leaf hash.
func (t *tree) add(h hash.Hash, leaf *[32]byte, scratch *[65]byte) {
	n := bits.OnesCount32(t.size)
	t.edge[n] = *leaf
	for s := t.size; s&1 == 1; s >>= 1 {
		n--
		node(h, &t.edge[n], &t.edge[n], &t.edge[n+1], scratch)
	}
	t.size++
}

// root tells the root of the tree so far; of the empty tree it is
// SHA-256 of nothing.
func (t *tree) root(h hash.Hash, scratch *[65]byte) (r [32]byte) {
	n := bits.OnesCount32(t.size)
	if n == 0 {
		return sha256.Sum256(nil)
	}
	r = t.edge[n-1]
	for n--; n > 0; n-- {
		node(h, &r, &t.edge[n-1], &r, scratch)
	}
	return r
}

func node(h hash.Hash, dst, left, right *[32]byte, scratch *[65]byte) {
	scratch[0] = 1
	copy(scratch[1:], left[:])
	copy(scratch[33:], right[:])
	h.Reset()
	h.Write(scratch[:])
	h.Sum(dst[:0])
}
