package picture

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"vigil/internal/durable"
	"vigil/internal/media"
)

func open(t *testing.T, slots int) (*Cache, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pictures")
	c, err := Open(durable.OS{}, name, slots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, name
}

func of(n int) Key {
	return Key{Segment: media.SegmentID{byte(n >> 8), byte(n)}, At: media.Ticks(n), Width: 320}
}

// picture is bytes that tell which they are.
func picture(n int) []byte {
	return bytes.Repeat([]byte{0xff, 0xd8, byte(n >> 8), byte(n)}, 1000+n%500)
}

func TestCache(t *testing.T) {
	c, name := open(t, 10)
	for n := range 25 {
		c.Put(of(n), picture(n))
		if b := c.Get(of(0)); !bytes.Equal(b, picture(0)) { // used again and again: it stays
			t.Fatalf("after %d: %d bytes", n, len(b))
		}
	}
	for n := range 25 {
		want := n == 0 || n > 15
		if b := c.Get(of(n)); (b != nil) != want || b != nil && !bytes.Equal(b, picture(n)) {
			t.Errorf("picture %d: %d bytes, kept: %v", n, len(b), want)
		}
	}
	other := of(20)
	other.Width = 640
	if c.Get(other) != nil {
		t.Error("a picture of another size")
	}
	c.Put(of(99), make([]byte, MaxSize+1))
	if c.Get(of(99)) != nil {
		t.Error("too large, and kept")
	}
	c.Put(of(98), bytes.Repeat([]byte{7}, MaxSize))
	if c.Get(of(98)) == nil {
		t.Error("just fits, and is not kept")
	}

	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(file) > 10*slot {
		t.Errorf("%d bytes for 10 pictures", len(file))
	}
	if bytes.Contains(file, picture(20)[:8]) {
		t.Error("a picture can be read on the disk")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if c.Put(of(1), picture(1)); c.Get(of(1)) != nil || c.Get(of(20)) != nil {
		t.Error("a picture after the end")
	}
	if st, err := os.Stat(name); err != nil || st.Size() != 0 {
		t.Errorf("left behind: %v, %v", st, err)
	}
}

// TestCacheAltered: what somebody changed or exchanged on the disk is not shown.
func TestCacheAltered(t *testing.T) {
	c, name := open(t, 4)
	c.Put(of(1), picture(0))
	c.Put(of(2), picture(0))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, len(picture(0))+28)
	f.ReadAt(b, 0)
	f.WriteAt(b, slot) // the first in place of the second
	if c.Get(of(2)) != nil {
		t.Error("exchanged, and shown")
	}
	f.WriteAt([]byte{1, 2, 3}, 100)
	if c.Get(of(1)) != nil {
		t.Error("altered, and shown")
	}
	for n := range 8 { // their places are used again
		c.Put(of(n), picture(n))
		if !bytes.Equal(c.Get(of(n)), picture(n)) {
			t.Errorf("picture %d is not kept", n)
		}
	}
}

// full is a disk on which nothing can be written.
type full struct{ durable.FS }

func (d full) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	return fullFile{f}, err
}

type fullFile struct{ durable.File }

func (fullFile) WriteAt([]byte, int64) (int, error) { return 0, errors.New("no space") }

func TestCacheFull(t *testing.T) {
	c, err := Open(full{durable.OS{}}, filepath.Join(t.TempDir(), "pictures"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range 5 {
		if c.Put(of(n), picture(n)); c.Get(of(n)) != nil {
			t.Error("a picture that was not written")
		}
	}
}

func TestCacheMany(t *testing.T) {
	c, _ := open(t, 16)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				n := rand.N(40)
				if b := c.Get(of(n)); b != nil && !bytes.Equal(b, picture(n)) {
					t.Errorf("picture %d is another", n)
				}
				c.Put(of(n), picture(n))
			}
		})
	}
	all.Wait()
}
