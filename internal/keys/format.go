package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// Every file of the package:
//
//	 0   8  magic "VIGILKEY"
//	 8   1  version, 1
//	 9   1  kind: 'R' root, 'E' epochs, 'S' signers, 'D' keys of a day
//	10   2  zero
//	12   n  body
//	12+n 32 SHA-256 of all before: tells damage from a wrong key; authenticity
//	        comes from the sealing of each key
//
// Numbers are big endian. Bodies:
//
//	R   32 root key
//	E   16 root id, 1 count (1 or 2), then per epoch 16 id, 8 made (unix s), 60 wrapped key
//	S   16 root id, 92 sealed: 32 P-256 scalar, 32 Ed25519 seed
//	D   16 root id, 16 epoch id, 4 UTC day number, 4 count, then per key
//	    16 id, 16 camera, 1 state (0 in use, 1 destroyed), 60 wrapped key (zero when destroyed)
const (
	rootFile   = "root.key"
	epochFile  = "epochs.key"
	signerFile = "signers.key"
	daysDir    = "days"

	magic       = "VIGILKEY"
	version     = 1
	headSize    = 12
	checkSize   = sha256.Size
	wrappedSize = seal.Size + seal.Overhead
	epochSize   = 16 + 8 + wrappedSize
	recordSize  = 16 + 16 + 1 + wrappedSize
	dayHeadSize = 16 + 16 + 4 + 4

	maxSmall  = 4 << 10
	maxPerDay = 1 << 16 // keys of one day: 64 cameras, and room for every one destroyed a thousand times
	maxDay    = 200_000 // the year 2517
)

// MaxCopy is the most bytes that a Copy has.
const MaxCopy = headSize + dayHeadSize + maxPerDay*recordSize + checkSize

func appendHead(dst []byte, kind byte) []byte {
	dst = append(dst, magic...)
	return append(dst, version, kind, 0, 0)
}

// appendCheck ends the file that starts at start.
func appendCheck(dst []byte, start int) []byte {
	sum := sha256.Sum256(dst[start:])
	return append(dst, sum[:]...)
}

// body checks frame and returns what is between.
func body(b []byte, kind byte) ([]byte, error) {
	switch {
	case len(b) < headSize+checkSize:
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	case string(b[:8]) != magic:
		return nil, fmt.Errorf("%w: not a key file", ErrDamaged)
	case b[8] > version && !sumFits(append(append([]byte(magic), version), b[9:]...)):
		return nil, fmt.Errorf("%w: key file of version %d, this program knows %d", durable.ErrNewer, b[8], version)
	case b[9] != kind || b[10] != 0 || b[11] != 0:
		return nil, fmt.Errorf("%w: a key file of kind %q, want %q", ErrDamaged, b[9], kind)
	}
	if b[8] != version || !sumFits(b) { // of another version only if its byte alone was altered
		return nil, fmt.Errorf("%w: the check sum is wrong", ErrDamaged)
	}
	return b[headSize : len(b)-checkSize], nil
}

func sumFits(b []byte) bool {
	n := len(b) - checkSize
	sum := sha256.Sum256(b[:n])
	return bytes.Equal(sum[:], b[n:])
}

func (r *Ring) sameRoot(b []byte) error {
	if !bytes.Equal(b[:16], r.rootID[:]) {
		return fmt.Errorf("%w: %x, ours is %x", ErrRoot, b[:16], r.rootID)
	}
	return nil
}

func appendRoot(dst []byte, k seal.Key) []byte {
	start := len(dst)
	raw := k.Expose()
	defer clear(raw)
	return appendCheck(append(appendHead(dst, 'R'), raw...), start)
}

func parseRoot(b []byte) (seal.Key, error) {
	b, err := body(b, 'R')
	if err != nil {
		return seal.Key{}, err
	}
	k, err := seal.KeyFrom(b)
	if err != nil {
		return seal.Key{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return k, nil
}

func epochAAD(id [16]byte) []byte { return append([]byte("vigil/1/epoch"), id[:]...) }

func (r *Ring) appendEpochs(dst []byte, list []epoch) []byte {
	start := len(dst)
	dst = append(appendHead(dst, 'E'), r.rootID[:]...)
	dst = append(dst, byte(len(list)))
	under := r.root.Derive("keys/epoch")
	for _, e := range list {
		dst = append(dst, e.id[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.made))
		dst = under.Wrap(dst, e.key, epochAAD(e.id))
	}
	return appendCheck(dst, start)
}

func (r *Ring) parseEpochs(b []byte) ([]epoch, error) {
	b, err := body(b, 'E')
	if err != nil {
		return nil, err
	}
	if len(b) < 17 || b[16] < 1 || b[16] > 2 || len(b) != 17+int(b[16])*epochSize {
		return nil, fmt.Errorf("%w: %d bytes of epochs", ErrDamaged, len(b))
	}
	if err := r.sameRoot(b); err != nil {
		return nil, err
	}
	under := r.root.Derive("keys/epoch")
	var list []epoch
	for b := b[17:]; len(b) > 0; b = b[epochSize:] {
		e := epoch{id: [16]byte(b[:16]), made: int64(binary.BigEndian.Uint64(b[16:]))}
		if e.key, err = under.Unwrap(b[24:epochSize], epochAAD(e.id)); err != nil {
			return nil, fmt.Errorf("epoch key %x: %w", e.id, err)
		}
		list = append(list, e)
	}
	return list, nil
}

func dayAAD(epoch [16]byte, k *dayKey) []byte {
	b := append([]byte("vigil/1/day"), epoch[:]...)
	b = append(b, k.id[:]...)
	b = append(b, k.camera[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(k.day))
}

// A dayTable is the content of one day's file, as parsed.
type dayTable struct {
	root, epoch [16]byte
	day         int32
	keys        []*dayKey
}

func (t dayTable) append(dst []byte) []byte {
	start := len(dst)
	dst = append(appendHead(dst, 'D'), t.root[:]...)
	dst = append(dst, t.epoch[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.day))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.keys)))
	for _, k := range t.keys {
		dst = append(dst, k.id[:]...)
		dst = append(dst, k.camera[:]...)
		dst = append(dst, state(k.destroyed))
		dst = append(dst, k.wrapped[:]...)
	}
	return appendCheck(dst, start)
}

func state(destroyed bool) byte {
	if destroyed {
		return 1
	}
	return 0
}

func parseDay(b []byte) (t dayTable, err error) {
	b, err = body(b, 'D')
	if err != nil {
		return t, err
	}
	if len(b) < dayHeadSize {
		return t, fmt.Errorf("%w: %d bytes of keys of a day", ErrDamaged, len(b))
	}
	t = dayTable{root: [16]byte(b), epoch: [16]byte(b[16:]), day: int32(binary.BigEndian.Uint32(b[32:]))}
	n := binary.BigEndian.Uint32(b[36:])
	if t.day < 0 || t.day > maxDay || n > maxPerDay || len(b) != dayHeadSize+int(n)*recordSize {
		return t, fmt.Errorf("%w: day %d with %d keys in %d bytes", ErrDamaged, t.day, n, len(b))
	}
	for b = b[dayHeadSize:]; len(b) > 0; b = b[recordSize:] {
		k := &dayKey{id: KeyID(b), camera: media.CameraID(b[16:32]), day: t.day, destroyed: b[32] == 1, wrapped: [wrappedSize]byte(b[33:])}
		if b[32] > 1 || k.destroyed && k.wrapped != [wrappedSize]byte{} {
			return t, fmt.Errorf("%w: key %v in an unknown state", ErrDamaged, k.id)
		}
		t.keys = append(t.keys, k)
	}
	return t, nil
}
