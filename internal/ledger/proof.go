package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

func uint64From(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// A tileReader serves tiles to tlog, which authenticates them: each from the first of
// some folders that has it.
type tileReader []*folder

func (tileReader) Height() int { return tileHeight }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		var errs []error
		for _, f := range r {
			b, err := f.readTile(t.L, uint64(t.N), t.W)
			if err == nil && len(b) < t.W*32 {
				err = fmt.Errorf("%s: %d bytes", tilePath(t.L, uint64(t.N), t.W), len(b))
			}
			if err == nil {
				out[i] = b[:t.W*32]
				break
			}
			errs = append(errs, err)
		}
		if out[i] == nil {
			return nil, errors.Join(errs...)
		}
	}
	return out, nil
}

func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// rootAt returns the root that the folder's tree, of which head is the newest
// checkpoint, had at an earlier size.
func (f *folder) rootAt(size uint64, head Checkpoint) (Digest, error) {
	if size > head.Size {
		return Digest{}, ErrRange
	}
	if size == 0 {
		return (&edge{}).root(), nil
	}
	if size == head.Size {
		return head.Root, nil
	}
	h, err := tlog.TreeHash(int64(size), f.hashes(head))
	return Digest(h), err
}

func (f *folder) hashes(head Checkpoint) tlog.HashReader { return hashes(head, f) }

func hashes(head Checkpoint, from ...*folder) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: int64(head.Size), Hash: tlog.Hash(head.Root)}, tileReader(from))
}

// prove gives fn home's tiles, and where these are lost or damaged the copies' too.
func (l *Ledger) prove(head Checkpoint, fn func(tlog.HashReader) error) error {
	err := fn(l.home.hashes(head))
	if err == nil {
		return nil
	}
	errs := []error{err}
	copies := l.readable()
	for i := range copies {
		from := slices.Concat(copies[i:], copies[:i], []*folder{l.home})
		if err = fn(hashes(head, from...)); err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// provable returns the newest checkpoint whose tiles can be read. Those of an
// Append are there when it has ended, for which this waits if so many leaves are wanted.
func (l *Ledger) provable(size uint64) Checkpoint {
	head := l.home.told()
	if size > head.Size && size <= l.Size() {
		l.writing.Lock()
		head = l.home.told()
		l.writing.Unlock()
	}
	return head
}

// A Proof shows that a leaf is in the ledger: c2sp.org/tlog-proof.
type Proof struct {
	Index      uint64
	Hashes     []Digest   // RFC 6962 section 2.1.1, from the leaf's sibling up
	Checkpoint Checkpoint //
	Extra      []byte     // not authenticated: salt and metadata, say
}

// ErrProof is returned for a proof that does not prove.
var ErrProof = errors.New("not a proof of this leaf")

// Proof returns the proof of a leaf under the newest checkpoint.
func (l *Ledger) Proof(i uint64) (Proof, error) {
	head := l.provable(i + 1)
	if i >= head.Size {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", i, ErrRange)
	}
	var hashes tlog.RecordProof
	if err := l.prove(head, func(r tlog.HashReader) (err error) {
		hashes, err = tlog.ProveRecord(int64(head.Size), int64(i), r)
		return err
	}); err != nil {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", i, err)
	}
	p := Proof{Index: i, Checkpoint: head}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, Digest(h))
	}
	return p, nil
}

// Consistency returns the proof that the ledger of an earlier size is the
// beginning of the newest one (RFC 6962 section 2.1.2), for which the second
// result is the checkpoint.
func (l *Ledger) Consistency(old uint64) ([]Digest, Checkpoint, error) {
	head := l.provable(old)
	if old == 0 || old > head.Size {
		return nil, head, fmt.Errorf("prove consistency with %d leaves: %w", old, ErrRange)
	}
	var hashes tlog.TreeProof
	if err := l.prove(head, func(r tlog.HashReader) (err error) {
		hashes, err = tlog.ProveTree(int64(head.Size), int64(old), r)
		return err
	}); err != nil {
		return nil, head, fmt.Errorf("prove consistency with %d leaves: %w", old, err)
	}
	out := make([]Digest, len(hashes))
	for i, h := range hashes {
		out[i] = Digest(h)
	}
	return out, head, nil
}

// Check verifies that a public leaf is in the checkpoint's tree. The
// checkpoint itself is verified by PublicKeys.Open, of which Checkpoint is the
// result.
func (p Proof) Check(public []byte) error {
	path := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		path[i] = tlog.Hash(h)
	}
	if p.Index >= p.Checkpoint.Size {
		return ErrProof
	}
	if err := tlog.CheckRecord(path, int64(p.Checkpoint.Size), tlog.Hash(p.Checkpoint.Root), int64(p.Index), tlog.RecordHash(public)); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	return nil
}

const proofHead = "c2sp.org/tlog-proof@v1\n"

// maxProof bounds the text of a proof: 63 hashes, a note, and what Extra may
// have.
const maxProof = 128 << 10

// AppendText appends the text form.
func (p Proof) AppendText(b []byte) []byte {
	b = append(b, proofHead...)
	if p.Extra != nil {
		b = append(base64.StdEncoding.AppendEncode(append(b, "extra "...), p.Extra), '\n')
	}
	b = append(strconv.AppendUint(append(b, "index "...), p.Index, 10), '\n')
	for _, h := range p.Hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), p.Checkpoint.Note...)
}

// ParseProof reads the text form and verifies the checkpoint in it.
func ParseProof(text []byte, keys PublicKeys) (p Proof, err error) {
	if len(text) > maxProof || !bytes.HasPrefix(text, []byte(proofHead)) {
		return p, ErrProof
	}
	body, signed, ok := strings.Cut(string(text[len(proofHead):]), "\n\n")
	if !ok {
		return p, ErrProof
	}
	lines := strings.Split(body, "\n")
	if extra, ok := strings.CutPrefix(lines[0], "extra "); ok {
		if p.Extra, err = base64.StdEncoding.Strict().DecodeString(extra); err != nil {
			return p, fmt.Errorf("%w: extra", ErrProof)
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || len(lines) > 64 {
		return p, ErrProof
	}
	index, ok := strings.CutPrefix(lines[0], "index ")
	if p.Index, err = strconv.ParseUint(index, 10, 63); !ok || err != nil {
		return p, fmt.Errorf("%w: index", ErrProof)
	}
	for _, line := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != len(Digest{}) {
			return p, fmt.Errorf("%w: hash", ErrProof)
		}
		p.Hashes = append(p.Hashes, Digest(h))
	}
	if p.Checkpoint, err = keys.Open([]byte(signed)); err != nil {
		return p, err
	}
	if got := p.AppendText(nil); !bytes.Equal(got, text) {
		return p, fmt.Errorf("%w: not in the one spelling", ErrProof)
	}
	return p, nil
}

// RootAt returns the root that the ledger had at an earlier size, read from
// tiles that are checked against the newest checkpoint, those of a copy where home has lost some.
func (l *Ledger) RootAt(size uint64) (Digest, error) {
	if head := l.Checkpoint(); size == head.Size {
		return head.Root, nil
	}
	head := l.provable(size)
	root, err := l.home.rootAt(size, head)
	if err != nil && size < head.Size {
		err = l.prove(head, func(r tlog.HashReader) error {
			h, err := tlog.TreeHash(int64(size), r)
			root = Digest(h)
			return err
		})
	}
	if err != nil {
		return root, fmt.Errorf("root of %d leaves: %w", size, err)
	}
	return root, nil
}
