// Package document keeps one value as a sealed JSON file: settings, accounts,
// sessions. It knows nothing of what is inside.
//
// The file, numbers big endian:
//
//	 0  8  magic "VIGILDOC"
//	 8  1  version of this frame, 1
//	 9  2  version of the content
//	11  n  JSON, sealed: 12 nonce, ciphertext, 16 tag; the associated data is
//	       the 11 bytes before it and the kind of the document
package document

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

const (
	magic    = "VIGILDOC"
	frame    = 1
	headSize = 11

	// MaxSize bounds a file in bytes.
	MaxSize = 16 << 20
)

// What a caller may decide upon; a missing file is fs.ErrNotExist.
var (
	ErrNewer   = durable.ErrNewer
	ErrDamaged = errors.New("damaged, or sealed by another machine")
)

// A File is a place for one value. Kind is bound to the content: one kind's
// file does not open as another's. Not safe for many callers.
type File struct {
	FS      durable.FS
	Name    string
	Key     seal.Key
	Kind    string // "settings"
	Version uint16 // of the content, as this program writes it; older ones are read
}

func (f File) aad(head []byte) []byte { return append(bytes.Clone(head), f.Kind...) }

// Load reads the value and returns the version it was written with. Unknown
// fields are refused: they would be lost with the next Save.
func (f File) Load(into any) (version uint16, err error) {
	b, err := durable.ReadFile(f.FS, f.Name, MaxSize)
	if err != nil {
		return 0, fmt.Errorf("load %s: %w", f.Kind, err)
	}
	version, err = f.parse(b, into)
	if err != nil {
		return 0, fmt.Errorf("load %s from %s: %w", f.Kind, f.Name, err)
	}
	return version, nil
}

// An Anew says that a document was damaged: its file was put aside, and it begins anew.
type Anew struct {
	File string // what the damaged file is called now
	Err  error
}

func (a *Anew) Error() string { return fmt.Sprintf("%v; kept as %s", a.Err, a.File) }

// Unwrap returns what was wrong.
func (a *Anew) Unwrap() error { return a.Err }

// LoadOrBegin is Load for a document that the recorder can do without: one that is not there
// leaves the value as it is, and so should the caller after an *Anew.
func (f File) LoadOrBegin(into any) error {
	_, err := f.Load(into)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, ErrDamaged):
		to, moved := durable.Aside(f.FS, f.Name)
		if moved != nil {
			return moved
		}
		return &Anew{to, err}
	}
	return err
}

func (f File) parse(b []byte, into any) (uint16, error) {
	if len(b) < headSize+seal.Overhead || string(b[:8]) != magic {
		return 0, ErrDamaged
	}
	if b[8] != frame {
		was := append(append([]byte(magic), frame), b[9:headSize]...)
		if _, err := f.Key.Open(nil, b[headSize:], f.aad(was)); b[8] < frame || err == nil {
			return 0, fmt.Errorf("%w: frame %d", ErrDamaged, b[8])
		}
		return 0, fmt.Errorf("%w: frame %d, this program knows %d", ErrNewer, b[8], frame)
	}
	plain, err := f.Key.Open(nil, b[headSize:], f.aad(b[:headSize]))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer clear(plain)
	version := binary.BigEndian.Uint16(b[9:]) // authenticated by now
	if version > f.Version {
		return 0, fmt.Errorf("%w: version %d, this program knows %d: start the newer program, or restore a backup made by this one", ErrNewer, version, f.Version)
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%w: more than one value", ErrDamaged)
	}
	return version, nil
}

// Save makes the value durable: after a power cut there is the old one or the
// new one, whole.
func (f File) Save(v any) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save %s: %w", f.Kind, err)
	}
	defer clear(plain)
	b := f.append(nil, plain)
	if len(b) > MaxSize {
		return fmt.Errorf("save %s: %w: %d bytes", f.Kind, durable.ErrTooLarge, len(b))
	}
	if err := durable.WriteFile(f.FS, f.Name, b); err != nil {
		return fmt.Errorf("save %s: %w", f.Kind, err)
	}
	return nil
}

func (f File) append(dst, plain []byte) []byte {
	start := len(dst)
	dst = append(append(dst, magic...), frame)
	dst = binary.BigEndian.AppendUint16(dst, f.Version)
	return f.Key.Seal(dst, plain, f.aad(dst[start:]))
}
