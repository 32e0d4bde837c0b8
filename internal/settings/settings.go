// Package settings is what operators change: cameras, storage, language, time
// zone. It is one typed document, sealed on the disk, and each change of it is in the
// audit log with its old and new values.
//
//	web -> [settings] -> worker, recorder, retention follow it
//
// What must be known before the state folder opens is in conf.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// A Doc is all the settings. It is never changed once published.
type Doc struct {
	// Version counts the changes.
	Version int64 `json:"version"`
	// Language of what is sent out, and of the page before a person chooses.
	Language text.Lang `json:"language"`
	// TimeZone is an IANA name, for display only: the record is in UTC.
	TimeZone string  `json:"timeZone"`
	Storage  Storage `json:"storage"`
	// SettingUp: the first administrator is still being asked the questions of set-up.
	SettingUp bool `json:"settingUp,omitempty"`
	// Cameras, in the order they were added; removed ones while they have
	// footage.
	Cameras []Camera `json:"cameras"`
}

// Storage says how much is kept.
type Storage struct {
	// RetentionDays is how long footage is kept, where a camera has no number of
	// its own. 0: as long as there is space.
	RetentionDays int `json:"retentionDays"`
	// QuotaBytes is how much of a volume footage may use. 0: all but the reserve.
	QuotaBytes int64 `json:"quotaBytes"`
	// ReserveBytes and ReservePercent are kept free on each volume; the larger counts, but
	// bytes never for more than half of a volume.
	ReserveBytes   int64 `json:"reserveBytes"`
	ReservePercent int   `json:"reservePercent"`
	// LowSpaceBytes and LowSpacePercent are the free space of a volume below which there is
	// an alert; the larger counts. It lies above the reserve, so that it can be reached.
	LowSpaceBytes   int64 `json:"lowSpaceBytes"`
	LowSpacePercent int   `json:"lowSpacePercent"`
	// LowSpaceDays: an alert when footage makes room before it is so many days old. 0: before the retention
	// of its camera.
	LowSpaceDays int `json:"lowSpaceDays"`
}

// A Camera is one, with what is needed to reach it.
type Camera struct {
	ID      media.CameraID `json:"id"`
	Name    string         `json:"name"`
	Streams []Stream       `json:"streams"` // main first
	// Link is how the connection is secured; Pin and CA belong to it.
	Link wire.Link `json:"link"`
	// Pin is the SHA-256 of the camera's certificate.
	Pin []byte `json:"pin,omitempty"`
	// CA is PEM.
	CA        string         `json:"ca,omitempty"`
	Transport wire.Transport `json:"transport"`
	User      string         `json:"user,omitempty"`
	// Password is kept apart in the sealed file and goes to the worker only.
	Password wire.Secret `json:"-"`
	// Audio: take sound too. Off unless somebody wants it.
	Audio bool `json:"audio"`
	// LegacyMD5: a digest by MD5 will do.
	LegacyMD5 bool `json:"legacyMD5"`
	// BasicAuth: the password may be sent as it is, without TLS too.
	BasicAuth bool      `json:"basicAuth"`
	Recording Recording `json:"recording"`
	// Demo: it is the demonstration camera, which this recorder serves itself on the
	// address of the streams.
	Demo bool `json:"demo,omitempty"`
	// RetentionDays; nil: that of Storage, 0: as long as there is space.
	RetentionDays *int      `json:"retentionDays,omitempty"`
	Added         time.Time `json:"added"`
	// Removed: its footage is still there, its credentials are gone but for what an undo
	// needs, and that for KeepSecrets. Zero: not.
	Removed time.Time `json:"removed,omitzero"`
}

// A Stream is one address of a camera.
type Stream struct {
	ID   media.StreamID `json:"id"`
	Kind Kind           `json:"kind"`
	// URL is rtsp:// or rtsps://, without user and password.
	URL string `json:"url"`
	// Recorded, when the camera's recording is on.
	Recorded bool `json:"recorded"`
}

// A Kind is what a stream is for.
type Kind string

// The kinds.
const (
	Main   Kind = "main"   // the best picture
	Second Kind = "second" // a smaller one
)

// Recording is whether a camera's pictures are kept.
type Recording struct {
	On bool `json:"on"`
	// By is who last switched it; with On it is the name beside every file written
	// (clause 5.2.7.2).
	By    string    `json:"by"`
	Since time.Time `json:"since,omitzero"`
}

// Retention returns how many days of a camera are kept; 0: as long as there
// is space.
func (d *Doc) Retention(c *Camera) int {
	if c.RetentionDays != nil {
		return *c.RetentionDays
	}
	return d.Storage.RetentionDays
}

// Camera finds one; nil when there is none. The result is part of the
// document.
func (d *Doc) Camera(id media.CameraID) *Camera {
	for i := range d.Cameras {
		if d.Cameras[i].ID == id {
			return &d.Cameras[i]
		}
	}
	return nil
}

// Stream finds a stream and its camera; nil when there is none.
func (d *Doc) Stream(id media.StreamID) (*Camera, *Stream) {
	for i := range d.Cameras {
		for j := range d.Cameras[i].Streams {
			if s := &d.Cameras[i].Streams[j]; s.ID == id {
				return &d.Cameras[i], s
			}
		}
	}
	return nil, nil
}

// Demo finds the demonstration camera; nil when there is none.
func (d *Doc) Demo() *Camera {
	for i := range d.Cameras {
		if c := &d.Cameras[i]; c.Demo && !c.Gone() {
			return c
		}
	}
	return nil
}

// Gone tells whether the camera was removed.
func (c *Camera) Gone() bool { return !c.Removed.IsZero() }

// Main returns the main stream.
func (c *Camera) Main() *Stream { return &c.Streams[0] }

// Spec is what a worker must know of a stream of the camera.
func (c *Camera) Spec(s *Stream) wire.Spec {
	return wire.Spec{
		Camera: c.ID, Stream: s.ID, URL: s.URL, User: c.User, Password: c.Password, Transport: c.Transport,
		Link: c.Link, Pin: c.Pin, CA: []byte(c.CA), Audio: c.Audio, LegacyMD5: c.LegacyMD5, Basic: c.BasicAuth,
	}
}

// Remove takes what identifies and opens the device away and leaves the name
// of the footage.
func (c *Camera) Remove(by string, at time.Time) {
	c.Removed = at
	c.User, c.Password, c.Pin, c.CA = "", wire.Secret{}, nil, ""
	c.Link, c.Transport, c.LegacyMD5, c.BasicAuth = wire.LinkPlain, wire.Auto, false, false
	for i := range c.Streams {
		c.Streams[i].URL = ""
	}
	c.Recording = Recording{By: by, Since: at}
}

// A Recorder is the audit log. What it cannot record is not changed; what is
// recorded and then fails gets a second record that says so.
type Recorder interface {
	Record(audit.Record) (seq uint64, err error)
}

// stored is the document on the disk, with the passwords that nothing else
// marshals.
type stored struct {
	Doc
	Passwords map[media.CameraID]string `json:"passwords,omitempty"`
}

// A Store holds the document. Safe for many callers; reading never waits.
type Store struct {
	file  document.File
	past  document.File // of the changes
	audit Recorder
	now   func() time.Time
	anew  *document.Anew // why the changes began anew

	changing sync.Mutex // held over the disk
	doc      atomic.Pointer[Doc]
	mu       sync.Mutex
	changed  chan struct{} // guarded by mu
	changes  history       // guarded by mu; what it points to is never changed
}

// Options are what Open needs.
type Options struct {
	FS       durable.FS
	Name     string   // of the file; beside it lies Name + ".changes"
	Key      seal.Key // purpose "settings"
	Audit    Recorder
	TimeZone string // for a first start
	Language text.Lang
	Now      func() time.Time // the clock; nil is the machine's
}

// Open reads the settings; a first start has the defaults. A file of a newer
// version is refused with document.ErrNewer.
func Open(o Options) (*Store, error) {
	s := &Store{
		file:  document.File{FS: o.FS, Name: o.Name, Key: o.Key, Kind: "settings", Version: 1},
		past:  document.File{FS: o.FS, Name: o.Name + ".changes", Key: o.Key, Kind: "changes", Version: 1},
		audit: o.Audit, now: o.Now, changed: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	in := stored{Doc: defaults(o)}
	switch _, err := s.file.Load(&in); {
	case errors.Is(err, fs.ErrNotExist):
		// Kept at once: who finds no settings later finds a damaged state, not a first start.
		if err := s.file.Save(in.stored()); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	d := in.Doc
	for i := range d.Cameras {
		if len(d.Cameras[i].Streams) == 0 { // everybody relies on it
			return nil, fmt.Errorf("load settings: %w: camera %v without streams", document.ErrDamaged, d.Cameras[i].ID)
		}
		d.Cameras[i].Password = wire.NewSecret(in.Passwords[d.Cameras[i].ID])
	}
	s.doc.Store(&d)
	return s, s.loadChanges(d.Version)
}

func defaults(o Options) Doc {
	d := Doc{
		Language: o.Language, TimeZone: o.TimeZone, Cameras: []Camera{},
		Storage: Storage{RetentionDays: 30, ReserveBytes: 2 << 30, ReservePercent: 5, LowSpaceBytes: 3 << 30, LowSpacePercent: 8},
	}
	if !d.Language.Valid() {
		d.Language = text.Chinese
	}
	if _, err := time.LoadLocation(d.TimeZone); err != nil || d.TimeZone == "" || d.TimeZone == "Local" {
		d.TimeZone = "UTC"
	}
	return d
}

// Get returns the settings as they are now. Nobody changes what it points to.
func (s *Store) Get() *Doc { return s.doc.Load() }

// Changed returns a channel that is closed at the next change. Ask for it
// before Get.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Change lets fn work on a copy and makes that the settings. The error is fn's,
// text.Mistakes, or of the log or the disk; then nothing has changed. A change to what is
// there already is none.
func (s *Store) Change(by actor.Actor, fn func(*Doc) error) (old, now *Doc, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.change(by, Cause{}, fn)
}

// change needs changing. What fn left is checked as a whole, and then
//
//  1. recorded. A crash here leaves records of what did not happen.
//  2. remembered with what takes it back. A crash here leaves an entry of a version that never was: Open drops it.
//  3. durable.
//  4. published.
//
//vigil:clause 5.2.7.1
func (s *Store) change(by actor.Actor, why Cause, fn func(*Doc) error) (old, now *Doc, err error) {
	old = s.Get()
	d := old.clone()
	if err := fn(d); err != nil {
		return old, old, err
	}
	if err := d.check(old); err != nil {
		if why != (Cause{}) {
			err = d.named(err)
		}
		return old, old, err
	}
	list := edits(old, d)
	if len(list) == 0 {
		return old, old, nil
	}
	d.Version = old.Version + 1
	at := s.now()
	recs := records(list, why)
	for _, c := range recs {
		if _, err := s.audit.Record(c.record(by, at, audit.OK, "")); err != nil {
			return old, old, fmt.Errorf("change settings: it cannot be recorded: %w", err)
		}
	}
	undo, err := s.remember(entry{Version: d.Version, At: at.UTC().Round(0), By: by, Cause: why, Edits: list})
	if err == nil {
		if err = s.file.Save(d.stored()); err != nil {
			undo()
		}
	}
	if err != nil {
		for _, c := range recs {
			_, _ = s.audit.Record(c.record(by, at, audit.Failed, "storage")) // the disk's error is what counts
		}
		return old, old, fmt.Errorf("change settings: %w", err)
	}
	s.doc.Store(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return old, d, nil
}

func (d *Doc) stored() stored {
	out := stored{Doc: *d, Passwords: map[media.CameraID]string{}}
	for _, c := range d.Cameras {
		if !c.Password.IsZero() {
			out.Passwords[c.ID] = c.Password.Reveal()
		}
	}
	return out
}

func (d *Doc) clone() *Doc {
	n := *d
	n.Cameras = make([]Camera, len(d.Cameras))
	for i, c := range d.Cameras {
		c.Streams = append([]Stream(nil), c.Streams...)
		c.Pin = append([]byte(nil), c.Pin...)
		if c.RetentionDays != nil {
			days := *c.RetentionDays
			c.RetentionDays = &days
		}
		n.Cameras[i] = c
	}
	return &n
}
