package volume

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

// settledName is the file that says how much of the ledger is done with on
// this volume (docs/format/label.md), numbers big endian:
//
//	0   8   magic "vigilset"
//	8   1   version, 1
//	9   16  volume id
//	25  n   sealed under the key for labels, bytes 0 to 25 being associated data:
//	        8  leaves: no file of this volume waits for anything in a leaf before
const settledName = "SETTLED"

const (
	settledMagic = "vigilset"
	settledHead  = 25
	settledSize  = settledHead + seal.Overhead + 8
)

func appendSettled(dst []byte, id ID, leaves uint64, key seal.Key) []byte {
	start := len(dst)
	dst = append(dst, settledMagic...)
	dst = append(dst, 1)
	dst = append(dst, id[:]...)
	return key.Seal(dst, binary.BigEndian.AppendUint64(nil, leaves), append([]byte(nil), dst[start:]...))
}

var errNoMark = errors.New("not a mark of this volume")

func parseSettled(b []byte, id ID, key seal.Key) (leaves uint64, err error) {
	if len(b) != settledSize || string(b[:8]) != settledMagic || b[8] != 1 || ID(b[9:25]) != id {
		return 0, errNoMark
	}
	body, err := key.Open(nil, b[settledHead:], b[:settledHead])
	if err != nil {
		return 0, errNoMark
	}
	return binary.BigEndian.Uint64(body), nil
}

// Settled returns how many leaves of the ledger this volume is done with. It
// is only ever too low: 0 when nobody knows, whyever, and then the ledger is read from its start.
func (v *Volume) Settled() (uint64, error) {
	root, err := v.Root()
	if err != nil {
		return 0, err
	}
	b, err := durable.ReadFile(root, settledName, settledSize)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if errors.Is(err, unix.EISDIR) { // Settle replaces anything else
		v.aside(root, settledName, err)
	}
	var n uint64
	if err == nil {
		n, err = parseSettled(b, v.ID(), v.cfg.Key)
	}
	if err != nil {
		v.log.Warn("the mark of what is settled is of no use, the whole ledger is read", "err", err)
		return 0, nil
	}
	return n, nil
}

// Settle remembers how many leaves this volume is done with. It does not wait.
func (v *Volume) Settle(leaves uint64, done func(error)) {
	v.WriteFile(settledName, appendSettled(nil, v.ID(), leaves, v.cfg.Key), done)
}
