// Package keys is the hierarchy of keys of one machine.
//
//	root -> purpose keys: settings, accounts, ledger ...
//	    \-> epoch key -> key of a camera and a day -> key of a segment
//
// The root and the epoch key are on the system side only. The keys of cameras
// and days are kept there too, wrapped under the epoch key, and copied to every volume
// in that form; segment keys are wrapped in the segments. So a disk alone opens nothing,
// and destroying one small thing, the epoch key, destroys what was wrapped under it.
// The formats are in docs/format/keys.md.
package keys

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// What a caller may decide upon.
var (
	ErrNoKey     = errors.New("no such key")
	ErrDestroyed = errors.New("the key was destroyed, and with it the footage")
	ErrNoRoot    = errors.New("no root key")
	ErrExists    = errors.New("keys are there already")
	ErrRoot      = errors.New("made under another root key")
	ErrDamaged   = errors.New("damaged")
	ErrOpenMode  = errors.New("readable by others")
)

// A KeyID names the key of a camera and a day. It is random and no secret.
type KeyID [16]byte

// String returns 32 hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A Mode says what binds the root key to the machine, for the page that tells
// how clause 5.1.1.2 is met.
type Mode string

// KeyFile means that the root is a file on the system disk, apart from the
// media: who takes both disks has both. Clause 5.1.1.2 is then not met.
const KeyFile Mode = "key-file"

// A root is what keeps the root key: a file, or later a TPM.
type root interface {
	key() (seal.Key, error)
	mode() Mode
}

// A Ring holds the keys of one machine. It is a place: safe for many callers.
type Ring struct {
	fs      durable.FS
	dir     string
	root    seal.Key
	rootID  [16]byte
	kind    Mode
	signer  *Signer
	damaged []Loss // written by Open only

	making sync.Mutex // held over the disk, by who makes or destroys keys

	mu      sync.RWMutex // never held over the disk
	epochs  []epoch      // guarded by mu; the last is the one in use; more than one only while a change of epoch is under way
	byID    map[KeyID]*dayKey
	days    map[int32][]*dayKey // in the order of the files
	today   map[media.CameraID]ready
	changed map[int32]uint64 // generation of each day's file
	gen     uint64
}

type epoch struct {
	id   [16]byte
	made int64 // unix seconds
	key  seal.Key
}

// A dayKey is what is kept of the key of a camera and a day. It never changes once
// published: a change is a new one.
type dayKey struct {
	id        KeyID
	camera    media.CameraID
	day       int32
	destroyed bool
	wrapped   [wrappedSize]byte
}

type ready struct {
	day int32
	id  KeyID
	key DayKey
}

// Create makes a new hierarchy in an existing folder. The root key file comes
// last: without it nothing counts, so that a crash in between lets Create run again.
// It refuses to make a new root beside keys that an old one made.
func Create(fsys durable.FS, dir string) (*Ring, error) {
	if _, err := fsys.Stat(path.Join(dir, rootFile)); err == nil {
		return nil, fmt.Errorf("create keys in %s: %w", dir, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create keys in %s: %w", dir, err)
	}
	if list, err := fsys.ReadDir(path.Join(dir, daysDir)); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("create keys in %s: %w, but keys made under it: put %s back or remove the folder, and with it the footage", dir, ErrNoRoot, rootFile)
	}
	if err := durable.MkdirAll(fsys, path.Join(dir, daysDir)); err != nil {
		return nil, fmt.Errorf("create keys: %w", err)
	}
	r := newRing(fsys, dir)
	r.kind = KeyFile
	r.setRoot(seal.NewKey())
	r.epochs = []epoch{newEpoch()}
	r.signer = newSigner()
	for _, f := range []struct {
		name string
		data []byte
	}{
		{epochFile, r.appendEpochs(nil, r.epochs)},
		{signerFile, r.appendSigner(nil)},
		{rootFile, appendRoot(nil, r.root)},
	} {
		if err := durable.WriteFile(fsys, path.Join(dir, f.name), f.data); err != nil {
			return nil, fmt.Errorf("create keys: %w", err)
		}
	}
	return r, nil
}

// Open reads the hierarchy of a machine. The error wraps ErrNoRoot when there
// is none, and ErrRoot, ErrDamaged, ErrOpenMode or durable.ErrNewer when it must not be used.
func Open(fsys durable.FS, dir string) (*Ring, error) {
	return openWith(fsys, dir, rootInFile{fsys, path.Join(dir, rootFile)})
}

func openWith(fsys durable.FS, dir string, from root) (*Ring, error) {
	r := newRing(fsys, dir)
	k, err := from.key()
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	r.kind = from.mode()
	r.setRoot(k)
	b, err := r.read(epochFile, maxSmall)
	if err == nil {
		r.epochs, err = r.parseEpochs(b)
	}
	if err != nil {
		return nil, fmt.Errorf("open keys: %s: %w", path.Join(dir, epochFile), err)
	}
	b, err = r.read(signerFile, maxSmall)
	if err == nil {
		r.signer, err = r.parseSigner(b)
	}
	if err != nil {
		return nil, fmt.Errorf("open keys: %s: %w", path.Join(dir, signerFile), err)
	}
	if err := r.readDays(); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	if len(r.epochs) > 1 {
		if err := r.finishEpoch(); err != nil {
			return nil, fmt.Errorf("open keys: finish a change of epoch: %w", err)
		}
	}
	return r, nil
}

func newRing(fsys durable.FS, dir string) *Ring {
	return &Ring{
		fs: fsys, dir: dir,
		byID: map[KeyID]*dayKey{}, days: map[int32][]*dayKey{}, today: map[media.CameraID]ready{}, changed: map[int32]uint64{},
	}
}

func newEpoch() epoch {
	e := epoch{made: time.Now().Unix(), key: seal.NewKey()}
	rand.Read(e.id[:])
	return e
}

func (r *Ring) setRoot(k seal.Key) {
	r.root = k
	r.rootID = rootIDOf(k)
}

func rootIDOf(k seal.Key) (id [16]byte) {
	copy(id[:], k.Derive("keys/id").Expose()) // says nothing about the root: HKDF is one-way
	return id
}

// read returns a file of the folder; what is missing is damage.
func (r *Ring) read(name string, limit int64) ([]byte, error) {
	b, err := durable.ReadFile(r.fs, path.Join(r.dir, name), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the file is missing", ErrDamaged)
	}
	return b, err
}

// Mode tells what binds the root key to this machine.
//
//vigil:clause 5.1.1.2
func (r *Ring) Mode() Mode { return r.kind }

// Purpose returns the key for a purpose, always the same: "settings",
// "accounts", "sessions", "audit", "ledger", "catalogue", "alerts", "backup",
// "tls".
func (r *Ring) Purpose(name string) seal.Key { return r.root.Derive(name) }

// rootInFile is a root key in a file of its owner only.
type rootInFile struct {
	fs   durable.FS
	name string
}

func (f rootInFile) mode() Mode { return KeyFile }

func (f rootInFile) key() (seal.Key, error) {
	info, err := f.fs.Stat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Key{}, fmt.Errorf("%w: %s is missing", ErrNoRoot, f.name)
	}
	if err != nil {
		return seal.Key{}, err
	}
	if !info.Mode().IsRegular() { // its mode says nothing about a key
		return seal.Key{}, &fs.PathError{Op: "open", Path: f.name, Err: durable.ErrSpecial}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return seal.Key{}, fmt.Errorf("%s is %w (mode %04o): make it 0600 and take the key as known to all who could read it", f.name, ErrOpenMode, info.Mode().Perm())
	}
	b, err := durable.ReadFile(f.fs, f.name, maxSmall)
	if err != nil {
		return seal.Key{}, err
	}
	defer clear(b)
	k, err := parseRoot(b)
	if err != nil {
		return seal.Key{}, fmt.Errorf("%s: %w", f.name, err)
	}
	return k, nil
}

// Exists tells whether the folder has a root key, so that a start knows
// whether it is the first.
func Exists(fsys durable.FS, dir string) (bool, error) {
	_, err := fsys.Stat(path.Join(dir, rootFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
