package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"vigil/internal/seal"
)

// The sealed log lies in files of spanLeaves leaves each, by the index of the
// first leaf of a frame; a frame is never split, so its last leaves may
// reach into the next span. One frame is one Append.
//
//	0   "VIGLEDG", version 1
//	8   number of the span
//	16  frames
//
// A frame:
//
//	0    its length, all of it
//	4    number of leaves
//	8    index of the first leaf
//	16   root of the tree after its last leaf
//	48   length of the ECDSA signature, 1 byte, and the signature, padded with zeros to 72
//	121  Ed25519 signature
//	185  sealed: nonce 12, leaves, tag 16
//
// The associated data is the frame's head. A sealed leaf is kind 1, number of
// digests 1, length of the metadata 2, salt 16, digests, metadata.
const (
	spanLeaves  = 4096 // a multiple of tileWidth
	fileHead    = 16
	frameHead   = 185
	frameLeaf   = 20
	maxFrame    = frameHead + seal.Overhead + MaxBatch*(frameLeaf+MaxDigests*sha256.Size) + MaxBytes
	maxSpanFile = fileHead + spanLeaves*(frameHead+seal.Overhead) + maxFrame + spanLeaves*(frameLeaf+MaxDigests*sha256.Size+MaxMeta)
)

var fileMagic = [8]byte{'V', 'I', 'G', 'L', 'E', 'D', 'G', 1}

// errFrame is for bytes that are no frame: torn, damaged, or of another place.
var errFrame = errors.New("not a frame of the ledger")

// spanPath is the name of a file of the sealed log.
func spanPath(span uint64) string { return fmt.Sprintf("sealed/%06x/%02x.vlog", span>>8, span&0xff) }

// spanDir is the folder of a file of the sealed log.
func spanDir(span uint64) string { return fmt.Sprintf("sealed/%06x", span>>8) }

func appendFileHead(b []byte, span uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, fileMagic[:]...), span)
}

// spanKey is the key of one file of the sealed log.
func spanKey(key seal.Key, origin string, span uint64) seal.Key {
	return key.Derive("ledger log", []byte(origin), binary.BigEndian.AppendUint64(nil, span))
}

// A frame's head.
type frame struct {
	length int
	count  int
	first  uint64
	root   Digest
	sigs   signatures
}

func (f frame) end() uint64 { return f.first + uint64(f.count) }

// appendFrame seals leaves and appends their frame.
func appendFrame(dst []byte, key seal.Key, f frame, leaves []Leaf) []byte {
	size := 0
	for _, l := range leaves {
		size += frameLeaf + len(l.Digests)*sha256.Size + len(l.Meta)
	}
	plain := make([]byte, 0, size+seal.Overhead)
	for _, l := range leaves {
		plain = append(plain, byte(l.Kind), byte(len(l.Digests)), byte(len(l.Meta)>>8), byte(len(l.Meta)))
		plain = append(plain, l.Salt[:]...)
		for i := range l.Digests {
			plain = append(plain, l.Digests[i][:]...)
		}
		plain = append(plain, l.Meta...)
	}
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(frameHead+seal.Overhead+size))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(leaves)))
	dst = binary.BigEndian.AppendUint64(dst, f.first)
	dst = append(dst, f.root[:]...)
	dst = append(dst, byte(len(f.sigs.ecdsa)))
	dst = append(dst, f.sigs.ecdsa...)
	dst = append(dst, make([]byte, maxECDSA-len(f.sigs.ecdsa))...)
	dst = append(dst, f.sigs.ed25519...)
	head := bytes.Clone(dst[at:])
	return key.Seal(dst, plain, head)
}

// parseHead reads the head of the frame at the start of b, without trust.
func parseHead(b []byte) (f frame, err error) {
	if len(b) < frameHead+seal.Overhead {
		return f, errFrame
	}
	length, count := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	f.first = binary.BigEndian.Uint64(b[8:])
	if length > uint32(min(maxFrame, len(b))) || count == 0 || count > MaxBatch || f.first > 1<<62 ||
		length < frameHead+seal.Overhead+count*frameLeaf || b[48] > maxECDSA {
		return f, errFrame
	}
	f.length, f.count = int(length), int(count)
	copy(f.root[:], b[16:])
	f.sigs.ecdsa = b[49 : 49+b[48]]
	f.sigs.ed25519 = b[121 : 121+ed25519.SignatureSize]
	return f, nil
}

// openFrame opens the frame at the start of b in place and calls fn for each
// leaf, which is valid during the call. Commitments are computed.
func openFrame(b []byte, key seal.Key, scratch *frameScratch, fn func(i uint64, l Leaf) error) (frame, error) {
	f, err := parseHead(b)
	if err != nil {
		return f, err
	}
	plain, err := key.Open(scratch.plain[:0], b[frameHead:f.length], b[:frameHead])
	if err != nil {
		return f, errFrame
	}
	scratch.plain = plain
	for i := range f.count {
		if len(plain) < frameLeaf {
			return f, errFrame
		}
		l := Leaf{Kind: Kind(plain[0]), Digests: scratch.digests[:0]}
		digests, meta := int(plain[1]), int(plain[2])<<8|int(plain[3])
		copy(l.Salt[:], plain[4:])
		if plain = plain[frameLeaf:]; !l.Kind.Valid() || digests > MaxDigests || meta > MaxMeta || len(plain) < digests*sha256.Size+meta {
			return f, errFrame
		}
		for range digests {
			l.Digests = append(l.Digests, Digest(plain))
			plain = plain[sha256.Size:]
		}
		l.Meta, plain = plain[:meta:meta], plain[meta:]
		l.Commitment = Commit(l.Salt, l.Meta)
		if err := fn(f.first+uint64(i), l); err != nil {
			return f, err
		}
	}
	if len(plain) > 0 {
		return f, errFrame
	}
	return f, nil
}

// frameScratch keeps openFrame from allocating.
type frameScratch struct {
	plain   []byte
	digests [MaxDigests]Digest
}
