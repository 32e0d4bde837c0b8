package media

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
)

// An ID is 128 random bits with a type: a CameraID is no StreamID. Its text
// form is 26 characters of lower-case base32hex, safe in paths and URLs, and
// sorts as its bytes do. The zero ID means none.
type ID[T any] [16]byte

// The things that have an ID.
type (
	CameraID  = ID[cameraTag]  // a camera, for as long as its footage is kept
	StreamID  = ID[streamTag]  // one stream (main or second) of one camera
	SegmentID = ID[segmentTag] // one segment file

	cameraTag  struct{}
	streamTag  struct{}
	segmentTag struct{}
)

var idText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// ErrID is returned for text that is not an ID.
var ErrID = errors.New("not an id: want 26 characters of 0-9a-v")

// NewID returns a random ID.
func NewID[T any]() (id ID[T]) {
	rand.Read(id[:]) // never fails: crypto/rand ends the process first
	return id
}

// ParseID reads the text form of an ID and accepts no other spelling of it.
func ParseID[T any](s string) (id ID[T], err error) {
	if len(s) != 26 {
		return id, ErrID
	}
	b, err := idText.DecodeString(s)
	if err != nil {
		return id, ErrID
	}
	copy(id[:], b)
	if id.String() != s { // the last character carries two unused bits
		return ID[T]{}, ErrID
	}
	return id, nil
}

// String returns the text form.
func (id ID[T]) String() string { return idText.EncodeToString(id[:]) }

// IsZero tells whether this is the ID of nothing.
func (id ID[T]) IsZero() bool { return id == ID[T]{} }

// MarshalText is String, for JSON.
func (id ID[T]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID; empty text is the zero ID.
func (id *ID[T]) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*id = ID[T]{}
		return nil
	}
	*id, err = ParseID[T](string(b))
	return err
}
