// Package picture keeps small pictures that were decoded, for as long as there
// is room, so that a person who moves over the same hour again does not wait.
//
//	playback -> worker (decodes) -> [picture] -> web
//
// They lie in a file, sealed under a key that is nowhere but in the memory of
// this process: when it ends nobody can read them any more, not even we.
package picture

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// A Key says which picture.
type Key struct {
	Segment media.SegmentID
	At      media.Ticks // since the epoch
	Width   int         // pixels that were asked for
}

// slot is the room of one picture: one of 320 by 180 takes 6 to 14 kB.
const slot = 24 << 10

// MaxSize is the size of the largest picture that is kept, in bytes.
const MaxSize = slot - seal.Overhead

// A Cache is a file with room for so many pictures; the one that was asked for
// least recently makes room. Safe for many callers.
type Cache struct {
	key   seal.Key
	slots int

	mu    sync.Mutex
	file  durable.File
	byKey map[Key]*list.Element // guarded by mu
	used  list.List             // of *kept, the last used in front; guarded by mu
}

type kept struct {
	key  Key
	slot int
	size int // sealed
}

// Open makes an empty cache of so many pictures in place of what a process
// before has left. The file grows as it fills.
func Open(disk durable.FS, name string, slots int) (*Cache, error) {
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("pictures: %w", err)
	}
	return &Cache{key: seal.NewKey(), slots: slots, file: f, byKey: map[Key]*list.Element{}}, nil
}

// Close forgets everything. A nil Cache keeps nothing.
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key.Zero()
	clear(c.byKey)
	c.used.Init()
	c.slots = 0
	return errors.Join(c.file.Truncate(0), c.file.Close())
}

// Get returns a picture, or nil.
func (c *Cache) Get(k Key) []byte {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[k]
	if e == nil {
		return nil
	}
	x := e.Value.(*kept)
	b := make([]byte, x.size)
	if _, err := c.file.ReadAt(b, int64(x.slot)*slot); err == nil {
		if b, err = c.key.Open(b[:0], b, k.bytes()); err == nil {
			c.used.MoveToFront(e)
			return b
		}
	}
	c.used.MoveToBack(e) // what the disk does not give back is decoded anew
	delete(c.byKey, k)
	x.key = Key{}
	return nil
}

// Put keeps a picture, if it is not too large. That the disk is full or broken
// is no error here: the picture is decoded again.
func (c *Cache) Put(k Key, jpeg []byte) {
	if c == nil || len(jpeg) == 0 || len(jpeg) > MaxSize {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[k] != nil || c.slots == 0 {
		return
	}
	var e *list.Element
	if n := c.used.Len(); n < c.slots {
		e = c.used.PushFront(&kept{slot: n})
	} else {
		e = c.used.Back()
		if old := e.Value.(*kept); c.byKey[old.key] == e {
			delete(c.byKey, old.key)
		}
	}
	x := e.Value.(*kept)
	sealed := c.key.Seal(make([]byte, 0, len(jpeg)+seal.Overhead), jpeg, k.bytes())
	if _, err := c.file.WriteAt(sealed, int64(x.slot)*slot); err != nil {
		x.key = Key{}
		c.used.MoveToBack(e)
		return
	}
	x.key, x.size = k, len(sealed)
	c.byKey[k] = e
	c.used.MoveToFront(e)
}

// bytes binds a sealed picture to what it is of.
func (k Key) bytes() []byte {
	b := append([]byte("vigil/picture"), k.Segment[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(k.At))
	return binary.BigEndian.AppendUint32(b, uint32(k.Width))
}
