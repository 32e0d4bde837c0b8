package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tileWidth is the number of hashes in a full tile (c2sp.org/tlog-tiles).
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileSize   = tileWidth * sha256.Size
)

// entries is the "level" of entry bundles.
const entries = -1

// tilePath returns the name of a tile below the ledger's folder: width
// tileWidth is the full tile.
func tilePath(level int, n uint64, width int) string {
	p := tileBase(level, n)
	if width != tileWidth {
		p = fmt.Sprintf("%s.p/%d", p, width)
	}
	return p
}

// tileBase is the name of a full tile: three digits an element, all but the
// last with an x.
func tileBase(level int, n uint64) string {
	p := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		p = fmt.Sprintf("x%03d/%s", n%1000, p)
	}
	if level == entries {
		return "tile/entries/" + p
	}
	return fmt.Sprintf("tile/%d/%s", level, p)
}

// appendEntry appends an entry to a bundle: two bytes of length, then itself.
func appendEntry(b, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(entry))), entry...)
}

// splitBundle returns the entries of a bundle.
func splitBundle(b []byte) (list [][]byte, err error) {
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, errors.New("entry bundle is cut off")
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n > len(b) {
			return nil, errors.New("entry bundle is cut off")
		}
		list, b = append(list, b[:n]), b[n:]
	}
	return list, nil
}

// An edge is the right edge of the tree: the partial tile of each level. It is
// all that appending needs.
type edge struct {
	size   uint64   // leaves
	bundle []byte   // entries of the partial level 0 tile
	level  [][]byte // hashes of the partial tile of each level
}

// A tile is a finished or a partial one, to be written or compared.
type tile struct {
	level int // or entries
	n     uint64
	width int
	data  []byte
}

func (t tile) path() string { return tilePath(t.level, t.n, t.width) }

func (e *edge) clone() edge {
	c := edge{size: e.size, bundle: bytes.Clone(e.bundle), level: make([][]byte, len(e.level))}
	for i, h := range e.level {
		c.level[i] = append(make([]byte, 0, tileSize), h...)
	}
	return c
}

// add appends a public leaf; full is called for each tile that it completes,
// with data that is valid during the call.
func (e *edge) add(entry []byte, hash Digest, full func(tile) error) error {
	e.bundle = appendEntry(e.bundle, entry)
	e.size++
	return e.push(0, hash, full)
}

func (e *edge) push(level int, hash Digest, full func(tile) error) error {
	if level == len(e.level) {
		e.level = append(e.level, make([]byte, 0, tileSize))
	}
	e.level[level] = append(e.level[level], hash[:]...)
	if len(e.level[level]) < tileSize {
		return nil
	}
	n := e.size>>(tileHeight*(level+1)) - 1
	if level == 0 {
		if err := full(tile{entries, n, tileWidth, e.bundle}); err != nil {
			return err
		}
		e.bundle = e.bundle[:0]
	}
	if err := full(tile{level, n, tileWidth, e.level[level]}); err != nil {
		return err
	}
	up := tileHash(e.level[level])
	e.level[level] = e.level[level][:0]
	return e.push(level+1, up, full)
}

// partials returns the partial tiles that a checkpoint at this size needs.
// Their data is the edge's own.
func (e *edge) partials() (list []tile) {
	for level, h := range e.level {
		if len(h) == 0 {
			continue
		}
		n, w := e.size>>(tileHeight*(level+1)), len(h)/sha256.Size
		if level == 0 {
			list = append(list, tile{entries, n, w, e.bundle})
		}
		list = append(list, tile{level, n, w, h})
	}
	return list
}

// root returns the tree's root: RFC 6962 section 2.1 splits at the largest
// power of two, so the full subtrees are joined from the right.
func (e *edge) root() Digest {
	var acc tlog.Hash
	have := false
	for _, h := range e.level {
		for _, peak := range slices.Backward(peaks(h)) {
			if have {
				acc = tlog.NodeHash(peak, acc)
			} else {
				acc, have = peak, true
			}
		}
	}
	if !have {
		return sha256.Sum256(nil)
	}
	return Digest(acc)
}

// peaks returns the roots of the largest full subtrees over a row of hashes,
// from the left.
func peaks(h []byte) (list []tlog.Hash) {
	for len(h) > 0 {
		w := 1
		for 2*w*sha256.Size <= len(h) {
			w *= 2
		}
		list = append(list, tlog.Hash(rowHash(h[:w*sha256.Size])))
		h = h[w*sha256.Size:]
	}
	return list
}

func tileHash(data []byte) Digest { return rowHash(data) }

// rowHash returns the root over a power of two of hashes.
func rowHash(h []byte) Digest {
	var row [tileWidth]tlog.Hash
	n := len(h) / sha256.Size
	for i := range n {
		copy(row[i][:], h[i*sha256.Size:])
	}
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return Digest(row[0])
}

// leafHash is SHA-256(0x00 || entry).
func leafHash(entry []byte) Digest { return Digest(tlog.RecordHash(entry)) }
