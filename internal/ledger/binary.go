package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"vigil/internal/media"
)

// Metadata is binary, big endian, of fixed width but for texts, which have
// their length in front, so that there is one encoding of each value and
// Append and Parse are inverses. The first byte is the version.

// ErrMeta is returned for metadata that cannot be read: damaged, or of a newer
// version.
var ErrMeta = errors.New("metadata cannot be read")

// Bounds of texts inside metadata.
const (
	maxCause = 32
	maxText  = 1024
)

func put64[T ~int64 | ~uint64](b []byte, v T) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(v))
}
func put32[T ~int32 | ~uint32](b []byte, v T) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

// putText cuts a text at most bytes rather than refuse the record that it is
// part of.
func putText[T ~string](b []byte, s T, most int) []byte {
	if len(s) > most {
		s = s[:most]
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func putCause(b []byte, c media.Cause) []byte {
	if len(c) > maxCause {
		c = c[:maxCause]
	}
	return append(append(b, byte(len(c))), c...)
}

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// A parser reads metadata; the first mistake stays.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) take(n int) []byte {
	if p.bad || n > len(p.b) {
		p.bad = true
		return nil
	}
	v := p.b[:n]
	p.b = p.b[n:]
	return v
}

func (p *parser) u8() byte {
	if v := p.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (p *parser) u32() uint32 {
	if v := p.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (p *parser) i64() int64 {
	if v := p.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

// size is an i64 that is never negative.
func (p *parser) size() int64 {
	v := p.i64()
	p.bad = p.bad || v < 0
	return v
}

func (p *parser) bool() bool {
	v := p.u8()
	p.bad = p.bad || v > 1
	return v == 1
}

func (p *parser) id() (id [16]byte) {
	copy(id[:], p.take(16))
	return id
}

func (p *parser) digest() (d Digest) {
	copy(d[:], p.take(len(d)))
	return d
}

func (p *parser) text(most int) string {
	v := p.take(2)
	if v == nil {
		return ""
	}
	n := int(binary.BigEndian.Uint16(v))
	p.bad = p.bad || n > most
	return string(p.take(n))
}

// causes saves an allocation for each cause that is known.
var causes = func() map[string]media.Cause {
	m := map[string]media.Cause{}
	for _, c := range []media.Cause{"", media.CutLength, media.CutCodec, media.CutClock, media.CameraClock, media.CameraStart,
		media.CameraLost, media.Network, media.WorkerLost, media.Overload, media.DiskFailed, media.DiskFull, media.Stopped,
		media.Shutdown, media.Crash, media.Retention, media.Deleted, media.Failed} {
		m[string(c)] = c
	}
	return m
}()

func (p *parser) cause() media.Cause {
	n := int(p.u8())
	p.bad = p.bad || n > maxCause
	v := p.take(n)
	if c, ok := causes[string(v)]; ok {
		return c
	}
	return media.Cause(v)
}

// done returns the error of the whole: a mistake, or bytes left over.
func (p *parser) done(k Kind) error {
	if p.bad || len(p.b) > 0 {
		return fmt.Errorf("%v: %w", k, ErrMeta)
	}
	return nil
}

// open starts to read a leaf's metadata, which must be of this kind, version
// and at least this many digests.
func open(l Leaf, k Kind, version byte, digests int) (*parser, error) {
	if l.Kind != k {
		return nil, fmt.Errorf("a %v leaf where a %v leaf was expected: %w", l.Kind, k, ErrMeta)
	}
	if l.Lost || len(l.Digests) < digests {
		return nil, fmt.Errorf("%v: %w", k, ErrMeta)
	}
	p := &parser{b: l.Meta}
	if v := p.u8(); p.bad || v != version {
		return nil, fmt.Errorf("%v, version %d: %w", k, v, ErrMeta)
	}
	return p, nil
}
