package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

// A file of the log. Numbers are big endian.
//
//	0   "VIGILAUD"
//	8   version 2 bytes, 1; zero 6 bytes
//	16  sequence number of its first record
//	24  head of the chain before that record, 32 bytes
//	56  zero 8 bytes
//	64  frames
//
// A frame is what one Flush wrote:
//
//	0   its length, all of it, 4 bytes
//	4   number of records, 4 bytes
//	8   sequence number of the first, 8 bytes
//	16  head of the chain after the last, 32 bytes
//	48  sealed: nonce 12, records, tag 16; associated data is the 48 bytes before
//
// A record inside is its length, 4 bytes, and its JSON. The chain: head after
// a record = SHA-256(head before || JSON); before record 1 it is zero.
const (
	magic     = "VIGILAUD"
	version   = 1
	fileHead  = 64
	frameHead = 48
	maxFrame  = 64 << 20
	maxFile   = 128 << 20 // to read; files are begun anew long before
)

// A Head is the head of the chain of records.
type Head = [sha256.Size]byte

func (h chain) next(json []byte) chain {
	d := sha256.New()
	d.Write(h[:])
	d.Write(json)
	return chain(d.Sum(nil))
}

type chain Head

var errFrame = errors.New("not a frame of the audit log")

func fileName(first uint64) string { return fmt.Sprintf("%016x.vaud", first) }

// fileFirst reads a name.
func fileFirst(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, ".vaud")
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 63)
	return n, err == nil && fileName(n) == name
}

func appendFileHead(b []byte, first uint64, before chain) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, make([]byte, 6)...)
	b = binary.BigEndian.AppendUint64(b, first)
	b = append(b, before[:]...)
	return append(b, make([]byte, 8)...)
}

// parseFileHead returns the head of the chain before a file's first record.
func parseFileHead(b []byte, first uint64) (before chain, err error) {
	if len(b) >= 10 && string(b[:8]) == magic && binary.BigEndian.Uint16(b[8:]) > version { // nothing proves that it is not
		return before, fmt.Errorf("%w: version %d, this program knows %d", durable.ErrNewer, binary.BigEndian.Uint16(b[8:]), version)
	}
	if len(b) < fileHead {
		return before, errFrame
	}
	copy(before[:], b[24:])
	if !bytes.Equal(appendFileHead(nil, first, before), b[:fileHead]) {
		return before, errFrame
	}
	return before, nil
}

func fileKey(key seal.Key, first uint64) seal.Key {
	return key.Derive("audit log", binary.BigEndian.AppendUint64(nil, first))
}

// appendFrame seals records, which are lengths and JSON, and appends their
// frame.
func appendFrame(dst []byte, key seal.Key, first uint64, count int, after chain, records []byte) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(frameHead+seal.Overhead+len(records)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(count))
	dst = binary.BigEndian.AppendUint64(dst, first)
	dst = append(dst, after[:]...)
	return key.Seal(dst, records, bytes.Clone(dst[at:]))
}

// A frame that was opened.
type frame struct {
	length int
	first  uint64
	count  int
	after  chain
	json   [][]byte
}

// openFrame opens the frame at the start of b.
func openFrame(b []byte, key seal.Key) (f frame, err error) {
	if len(b) < frameHead+seal.Overhead {
		return f, errFrame
	}
	length, count := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	f.first = binary.BigEndian.Uint64(b[8:])
	copy(f.after[:], b[16:])
	if length > uint32(min(len(b), maxFrame)) || length < frameHead+seal.Overhead || count == 0 || count > length/4 {
		return f, errFrame
	}
	f.length, f.count = int(length), int(count)
	plain, err := key.Open(nil, b[frameHead:length], b[:frameHead])
	if err != nil {
		return f, errFrame
	}
	for len(plain) > 0 {
		if len(plain) < 4 {
			return f, errFrame
		}
		n := binary.BigEndian.Uint32(plain)
		if plain = plain[4:]; n > uint32(len(plain)) {
			return f, errFrame
		}
		f.json, plain = append(f.json, plain[:n]), plain[n:]
	}
	if len(f.json) != f.count {
		return f, errFrame
	}
	return f, nil
}

// walk calls fn for each frame of a file in order. Bytes that are none are
// skipped by looking for the next frame, so that damage costs one frame and not
// the rest. It returns where the last good frame ends.
func walk(b []byte, key seal.Key, first uint64, fn func(frame) error) (end int, err error) {
	k := fileKey(key, first)
	end = min(fileHead, len(b))
	for off := end; off < len(b); {
		f, err := openFrame(b[off:], k)
		if err != nil {
			off++
			continue
		}
		if err := fn(f); err != nil {
			return end, err
		}
		off += f.length
		end = off
	}
	return end, nil
}

// files lists the log's files by their first records.
func files(fsys durable.FS, dir string) (list []uint64, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // sorted by name, which is by number
		if n, ok := fileFirst(e.Name()); ok && !e.IsDir() {
			list = append(list, n)
		}
	}
	return list, nil
}

func readFile(fsys durable.FS, dir string, first uint64) ([]byte, error) {
	b, err := durable.ReadFile(fsys, path.Join(dir, fileName(first)), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // pruned meanwhile
	}
	return b, err
}
