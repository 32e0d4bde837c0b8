package ledger

import (
	"crypto/sha256"
	"fmt"

	"vigil/internal/media"
)

// TombstoneMeta is what a tombstone tells: which segment went, by whom, why.
// It is appended before the first file is removed.
type TombstoneMeta struct {
	Segment    media.SegmentID
	Stream     media.StreamID
	Camera     media.CameraID
	Start, End int64  // of the segment, ns since the epoch
	Bytes      int64  // of the segment's file
	Sealed     Digest // of the segment; public, so that outsiders can pair them
	At         int64  // when, ns since the epoch
	Why        media.Cause
	By         string // actor.Actor.String()
	Reason     string // what a person gave as the reason, may be empty
}

// Version 1: version, segment, stream, camera, start, end, bytes, at, why
// (length 1), by, reason (length 2).
const tombstoneVersion = 1

// Leaf returns the leaf for a tombstone.
func (m TombstoneMeta) Leaf() Leaf {
	return Leaf{Kind: Tombstone, Digests: []Digest{m.Sealed}, Meta: m.AppendMeta(nil)}
}

// AppendMeta appends the metadata.
func (m TombstoneMeta) AppendMeta(b []byte) []byte {
	b = append(append(append(append(b, tombstoneVersion), m.Segment[:]...), m.Stream[:]...), m.Camera[:]...)
	b = put64(put64(put64(put64(b, m.Start), m.End), m.Bytes), m.At)
	return putText(putText(putCause(b, m.Why), m.By, maxText), m.Reason, maxText)
}

// ParseTombstone reads a tombstone leaf.
func ParseTombstone(l Leaf) (m TombstoneMeta, err error) {
	p, err := open(l, Tombstone, tombstoneVersion, 1)
	if err != nil {
		return m, err
	}
	m.Sealed = l.Digests[0]
	m.Segment, m.Stream, m.Camera = p.id(), p.id(), p.id()
	m.Start, m.End, m.Bytes, m.At = p.i64(), p.i64(), p.size(), p.i64()
	m.Why, m.By, m.Reason = p.cause(), p.text(maxText), p.text(maxText)
	return m, p.done(Tombstone)
}

// PulseMeta says how far the open segments are durable, so that cutting off
// their ends is seen. Its one public digest is SHA-256 of its metadata's open
// segments; an outsider needs no more, we read the metadata.
type PulseMeta struct {
	At   int64 // ns since the epoch
	Open []OpenSegment
}

// An OpenSegment is the durable part of a segment that is being written.
type OpenSegment struct {
	Segment media.SegmentID
	Stream  media.StreamID
	Records uint32 // sealed records that are durable
	Bytes   int64  // of the file up to the end of the last of them
	Until   int64  // wall time they reach, ns since the epoch
	Sealed  Digest // SHA-256 of those bytes
}

// openSize is the length of an OpenSegment: 16 + 16 + 4 + 8 + 8 + 32.
const openSize = 84

// MaxOpen is how many open segments fit a pulse.
const MaxOpen = (MaxMeta - 16) / openSize

const pulseVersion = 1

// Leaf returns the leaf for a pulse. More than MaxOpen segments need several
// pulses.
func (m PulseMeta) Leaf() (Leaf, error) {
	if len(m.Open) > MaxOpen {
		return Leaf{}, fmt.Errorf("pulse of %d open segments: at most %d", len(m.Open), MaxOpen)
	}
	b := m.AppendMeta(make([]byte, 0, 16+len(m.Open)*openSize))
	return Leaf{Kind: Pulse, Digests: []Digest{sha256.Sum256(b[11:])}, Meta: b}, nil
}

// AppendMeta appends the metadata: version, at, number of segments (2 bytes),
// segments.
func (m PulseMeta) AppendMeta(b []byte) []byte {
	b = put64(append(b, pulseVersion), m.At)
	b = append(b, byte(len(m.Open)>>8), byte(len(m.Open)))
	for _, o := range m.Open {
		b = put32(append(append(b, o.Segment[:]...), o.Stream[:]...), o.Records)
		b = append(put64(put64(b, o.Bytes), o.Until), o.Sealed[:]...)
	}
	return b
}

// ParsePulse reads a pulse leaf.
func ParsePulse(l Leaf) (m PulseMeta, err error) {
	p, err := open(l, Pulse, pulseVersion, 1)
	if err != nil {
		return m, err
	}
	m.At = p.i64()
	n := int(p.u8())<<8 | int(p.u8())
	if n*openSize != len(p.b) {
		return m, fmt.Errorf("pulse: %w", ErrMeta)
	}
	if n > 0 {
		m.Open = make([]OpenSegment, n)
	}
	for i := range m.Open {
		m.Open[i] = OpenSegment{Segment: p.id(), Stream: p.id(), Records: p.u32(), Bytes: p.size(), Until: p.i64(), Sealed: p.digest()}
	}
	if err := p.done(Pulse); err != nil {
		return m, err
	}
	if sha256.Sum256(l.Meta[11:]) != l.Digests[0] {
		return m, fmt.Errorf("pulse: digest: %w", ErrMeta)
	}
	return m, nil
}

// HoldMeta says that footage is kept from retention, or no longer.
type HoldMeta struct {
	Hold     [16]byte // its id: a later leaf with the same id replaces it
	At       int64    // ns since the epoch
	Camera   media.CameraID
	From, To int64 // ns since the epoch
	Released bool
	By       string
	Reason   string
}

const holdVersion = 1

// Leaf returns the leaf for a hold.
func (m HoldMeta) Leaf() Leaf { return Leaf{Kind: Hold, Meta: m.AppendMeta(nil)} }

// AppendMeta appends the metadata: version, hold, at, camera, from, to,
// released (1 byte), by, reason (length 2).
func (m HoldMeta) AppendMeta(b []byte) []byte {
	b = put64(append(append(b, holdVersion), m.Hold[:]...), m.At)
	b = put64(put64(append(b, m.Camera[:]...), m.From), m.To)
	return putText(putText(putBool(b, m.Released), m.By, maxText), m.Reason, maxText)
}

// ParseHold reads a hold leaf.
func ParseHold(l Leaf) (m HoldMeta, err error) {
	p, err := open(l, Hold, holdVersion, 0)
	if err != nil {
		return m, err
	}
	m.Hold, m.At, m.Camera = p.id(), p.i64(), p.id()
	m.From, m.To, m.Released = p.i64(), p.i64(), p.bool()
	m.By, m.Reason = p.text(maxText), p.text(maxText)
	return m, p.done(Hold)
}

// AuditMeta anchors the security event log: whoever changes, cuts or deletes
// records up to Last contradicts the ledger.
type AuditMeta struct {
	First, Last uint64 // sequence numbers of the records since the last anchor
	Head        Digest // the chain's head after Last; public
}

const auditVersion = 1

// Leaf returns the leaf for a batch of audit records.
func (m AuditMeta) Leaf() Leaf {
	return Leaf{Kind: AuditBatch, Digests: []Digest{m.Head}, Meta: m.AppendMeta(nil)}
}

// AppendMeta appends the metadata: version, first, last.
func (m AuditMeta) AppendMeta(b []byte) []byte {
	return put64(put64(append(b, auditVersion), m.First), m.Last)
}

// ParseAudit reads an audit leaf.
func ParseAudit(l Leaf) (m AuditMeta, err error) {
	p, err := open(l, AuditBatch, auditVersion, 1)
	if err != nil {
		return m, err
	}
	m = AuditMeta{First: uint64(p.size()), Last: uint64(p.size()), Head: l.Digests[0]}
	return m, p.done(AuditBatch)
}

// KeyEventMeta says what happened to a key, never what it is.
type KeyEventMeta struct {
	At     int64  // ns since the epoch
	Event  string // "created", "destroyed", "epoch", "rewrapped", "recovered"
	Key    [16]byte
	Camera media.CameraID // zero for keys of no camera
	Day    int32          // UTC day number, for a camera's key
	By     string
}

const keyEventVersion = 1

// Leaf returns the leaf for a key event.
func (m KeyEventMeta) Leaf() Leaf { return Leaf{Kind: KeyEvent, Meta: m.AppendMeta(nil)} }

// AppendMeta appends the metadata: version, at, key, camera, day (4 bytes),
// event, by (length 2).
func (m KeyEventMeta) AppendMeta(b []byte) []byte {
	b = append(append(put64(append(b, keyEventVersion), m.At), m.Key[:]...), m.Camera[:]...)
	return putText(putText(put32(b, m.Day), m.Event, maxText), m.By, maxText)
}

// ParseKeyEvent reads a key event leaf.
func ParseKeyEvent(l Leaf) (m KeyEventMeta, err error) {
	p, err := open(l, KeyEvent, keyEventVersion, 0)
	if err != nil {
		return m, err
	}
	m = KeyEventMeta{At: p.i64(), Key: p.id(), Camera: p.id(), Day: int32(p.u32()), Event: p.text(maxText), By: p.text(maxText)}
	return m, p.done(KeyEvent)
}

// StartMeta says which program started, and how the last run ended.
type StartMeta struct {
	At      int64  // ns since the epoch
	Version string // of Vigil, "1.2.3 (abcdef)"
	Program Digest // SHA-256 of the executable; public
	Clean   bool   // the last run ended in order
	Clock   string // "synchronised", "free", as the clock says
}

const startVersion = 1

// Leaf returns the leaf for a start.
func (m StartMeta) Leaf() Leaf {
	return Leaf{Kind: SoftwareStart, Digests: []Digest{m.Program}, Meta: m.AppendMeta(nil)}
}

// AppendMeta appends the metadata: version, at, clean, version text, clock.
func (m StartMeta) AppendMeta(b []byte) []byte {
	b = putBool(put64(append(b, startVersion), m.At), m.Clean)
	return putText(putText(b, m.Version, maxText), m.Clock, maxText)
}

// ParseStart reads a start leaf.
func ParseStart(l Leaf) (m StartMeta, err error) {
	p, err := open(l, SoftwareStart, startVersion, 1)
	if err != nil {
		return m, err
	}
	m = StartMeta{Program: l.Digests[0], At: p.i64(), Clean: p.bool(), Version: p.text(maxText), Clock: p.text(maxText)}
	return m, p.done(SoftwareStart)
}
