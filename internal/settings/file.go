package settings

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"vigil/internal/actor"
	"vigil/internal/document"
	"vigil/internal/layout"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// A sealed settings file (docs/format/settings-file.md), numbers big endian:
//
//	 0   8  magic "VIGILSET"
//	 8   1  version, 1
//	 9   1  derivation: 1, PBKDF2-HMAC-SHA-256
//	10   4  its rounds, from seal.MinRounds to maxRounds
//	14  16  its salt
//	30   n  JSON, sealed: 12 nonce, ciphertext, 16 tag; the associated data is the
//	        30 bytes before it
//	30+n 32 SHA-256 of all before it: tells damage from another passphrase
const (
	fileMagic   = "VIGILSET"
	fileVersion = 1
	fileDerive  = 1
	fileHead    = 30
	minFile     = fileHead + seal.Overhead + sha256.Size

	// MaxFile bounds a file in bytes.
	MaxFile = 2 << 20
	// FileRounds is what a new file is stretched with: more than a password, which
	// only this machine can be asked for.
	FileRounds = 2_000_000
	maxRounds  = 10_000_000
)

// Why a file is not opened.
var (
	ErrNotFile    = errors.New("not a file of settings")
	ErrDamaged    = errors.New("the file is damaged")
	ErrPassphrase = errors.New("the passphrase is wrong") // or somebody altered the file who wrote a new check sum
	ErrTooLarge   = errors.New("the settings are too large for a file")
)

// A File is what a sealed settings file holds: the recorder's own settings,
// the cameras that are not removed, with their passwords, and people's layouts.
type File struct {
	Made    time.Time
	Doc     Doc
	Layouts map[string][]layout.Layout // by account
}

// content is the JSON in the file.
type content struct {
	Made     time.Time                  `json:"made"`
	Settings stored                     `json:"settings"`
	Layouts  map[string][]layout.Layout `json:"layouts,omitempty"`
}

// NewFile takes what is to be carried away.
func NewFile(d *Doc, layouts map[string][]layout.Layout, at time.Time) *File {
	f := &File{Made: at.UTC().Truncate(time.Second), Doc: *d.clone(), Layouts: layouts}
	f.Doc.Cameras = []Camera{}
	for _, c := range d.clone().Cameras {
		if !c.Gone() && !c.Demo { // a demonstration camera is the recorder's own
			f.Doc.Cameras = append(f.Doc.Cameras, c)
		}
	}
	return f
}

// Seal returns the file for a passphrase. It takes a whole core for the rounds.
func (f *File) Seal(passphrase string, rounds int) ([]byte, error) {
	plain, err := json.Marshal(content{f.Made, f.Doc.stored(), f.Layouts})
	if err != nil {
		return nil, fmt.Errorf("seal settings: %w", err)
	}
	defer clear(plain)
	if len(plain)+minFile > MaxFile {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(plain))
	}
	h := fileHeader{rounds: rounds}
	rand.Read(h.salt[:])
	b := h.append(nil)
	key, err := h.key(passphrase)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	b = key.Seal(b, plain, bytes.Clone(b))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

type fileHeader struct {
	rounds int
	salt   [seal.SaltSize]byte
}

func (h fileHeader) append(b []byte) []byte {
	b = append(append(b, fileMagic...), fileVersion, fileDerive)
	b = binary.BigEndian.AppendUint32(b, uint32(h.rounds))
	return append(b, h.salt[:]...)
}

func (h fileHeader) key(passphrase string) (seal.Key, error) {
	b := seal.Stretch(passphrase, h.salt[:], h.rounds)
	defer clear(b)
	return seal.KeyFrom(b)
}

// parseFile takes a file apart without a passphrase: what a stranger may have
// made costs a check sum. The error is ErrNotFile, ErrDamaged or document.ErrNewer.
func parseFile(b []byte) (h fileHeader, sealed []byte, err error) {
	if len(b) < len(fileMagic) || string(b[:len(fileMagic)]) != fileMagic {
		return h, nil, ErrNotFile
	}
	if len(b) < minFile || len(b) > MaxFile {
		return h, nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	end := len(b) - sha256.Size
	if sum := sha256.Sum256(b[:end]); !bytes.Equal(sum[:], b[end:]) {
		return h, nil, fmt.Errorf("%w: check sum", ErrDamaged)
	}
	if b[8] > fileVersion || b[8] == fileVersion && b[9] > fileDerive {
		return h, nil, fmt.Errorf("%w: version %d.%d of a settings file, this program knows %d.%d", document.ErrNewer, b[8], b[9], fileVersion, fileDerive)
	}
	rounds := binary.BigEndian.Uint32(b[10:])
	if b[8] != fileVersion || b[9] != fileDerive || rounds < seal.MinRounds || rounds > maxRounds {
		return h, nil, fmt.Errorf("%w: version %d.%d, %d rounds", ErrDamaged, b[8], b[9], rounds)
	}
	h.rounds = int(rounds)
	copy(h.salt[:], b[14:])
	return h, b[fileHead:end], nil
}

// CheckFile tells what is wrong with a file before a passphrase is tried: the
// errors of OpenFile but ErrPassphrase.
func CheckFile(b []byte) error {
	_, _, err := parseFile(b)
	return err
}

// OpenFile opens what Seal made. It takes a whole core for the rounds of the
// file. The error is ErrNotFile, ErrDamaged, document.ErrNewer or ErrPassphrase.
func OpenFile(b []byte, passphrase string) (*File, error) {
	h, sealed, err := parseFile(b)
	if err != nil {
		return nil, err
	}
	key, err := h.key(passphrase)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	plain, err := key.Open(nil, sealed, b[:fileHead])
	if err != nil {
		return nil, ErrPassphrase
	}
	defer clear(plain)
	return parseContent(plain)
}

// parseContent reads the JSON of a file that opened. It comes from who has the
// passphrase, which is not to say from a Vigil.
func parseContent(plain []byte) (*File, error) {
	var c content
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		if strings.Contains(err.Error(), "unknown field") { // the package has no type for it
			return nil, fmt.Errorf("%w: %w", document.ErrNewer, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one value", ErrDamaged)
	}
	f := &File{Made: c.Made, Doc: c.Settings.Doc, Layouts: c.Layouts}
	if len(f.Doc.Cameras) > MaxCameras {
		return nil, fmt.Errorf("%w: %d cameras", ErrDamaged, len(f.Doc.Cameras))
	}
	for i := range f.Doc.Cameras {
		x := &f.Doc.Cameras[i]
		if x.ID.IsZero() || x.Gone() || x.Demo || len(x.Streams) == 0 || len(x.Streams) > 2 {
			return nil, fmt.Errorf("%w: camera %d", ErrDamaged, i)
		}
		x.Password = wire.NewSecret(c.Settings.Passwords[x.ID])
	}
	return f, nil
}

// into puts what the file holds in the place of what is here. A camera of the file is
// the one with its id, else the one at its address; cameras that the file does not know
// stay as they are. Who brings recording back has armed it.
func (f *File) into(d *Doc, by actor.Actor, at time.Time) {
	d.Language, d.TimeZone, d.Storage = f.Doc.Language, f.Doc.TimeZone, f.Doc.Storage
	cameras := (&Doc{Cameras: f.Doc.Cameras}).clone().Cameras
	for _, c := range cameras {
		is := d.Camera(c.ID)
		if is == nil {
			if is = d.at(c.Main().URL); is != nil {
				c.takePlace(is)
			}
		}
		switch {
		case is != nil && !is.Gone() && is.Recording.On == c.Recording.On:
			c.Recording = is.Recording
		default:
			c.Recording = Recording{On: c.Recording.On, By: by.Name, Since: at}
		}
		if is == nil {
			d.Cameras = append(d.Cameras, c)
			continue
		}
		c.Added = is.Added
		*is = c
	}
}

// at finds the camera at an address; nil when there is none.
func (d *Doc) at(address string) *Camera {
	for i := range d.Cameras {
		if c := &d.Cameras[i]; !c.Gone() && c.Main().URL == address {
			return c
		}
	}
	return nil
}

// takePlace gives the camera the ids of another, whose footage it goes on.
func (c *Camera) takePlace(of *Camera) {
	c.ID = of.ID
	for i := range c.Streams {
		c.Streams[i].ID = media.StreamID(media.NewID[struct{}]())
		for _, o := range of.Streams {
			if o.Kind == c.Streams[i].Kind {
				c.Streams[i].ID = o.ID
			}
		}
	}
}

// Plan tells what Import would change now: without a version. No edits: nothing.
// The error is text.Mistakes.
func (s *Store) Plan(by actor.Actor, f *File) (c Change, version int64, err error) {
	old := s.Get()
	d := old.clone()
	f.into(d, by, s.now().UTC().Round(0))
	if err := d.check(old); err != nil {
		return c, 0, d.named(err)
	}
	e := entry{At: f.Made, By: by, Cause: Cause{File: f.Made}, Edits: edits(old, d)}
	return e.change(0), old.Version, nil
}

// Import makes what the file holds the settings, as one change. A version other
// than Plan's is refused with ErrVersion. The error is that or one of Change; when nothing
// changes the change is the zero Change.
func (s *Store) Import(by actor.Actor, f *File, version int64) (c Change, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.Get().Version != version {
		return c, ErrVersion
	}
	old, now, err := s.change(by, Cause{File: f.Made}, func(d *Doc) error {
		f.into(d, by, s.now().UTC().Round(0))
		return nil
	})
	if err != nil || old == now {
		return c, err
	}
	list, _ := s.Changes(0, 1)
	return list[0], nil
}

// ErrVersion says that the settings are not the ones that were looked at.
var ErrVersion = errors.New("the settings were changed meanwhile")

// named puts the names of cameras beside mistakes that nobody has just typed:
// "/cameras/3" says nothing to a person.
func (d *Doc) named(err error) error {
	var m text.Mistakes
	if !errors.As(err, &m) {
		return err
	}
	for i := range m {
		step := strings.Split(m[i].Field, "/")
		if len(step) < 3 || step[1] != "cameras" {
			continue
		}
		if n, err := strconv.Atoi(step[2]); err == nil && n < len(d.Cameras) {
			args := map[string]string{"camera": d.Cameras[n].Name}
			for k, v := range m[i].Args {
				args[k] = v
			}
			m[i].Args = args
		}
	}
	return m
}
