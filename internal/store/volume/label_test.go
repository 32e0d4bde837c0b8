package volume

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

func testKey(b byte) seal.Key {
	k, err := seal.KeyFrom(bytes.Repeat([]byte{b}, seal.Size))
	if err != nil {
		panic(err)
	}
	return k
}

func testLabel() Label {
	l := Label{Made: 1767225600e9, Disk: "6f1c"}
	for i := range l.Volume {
		l.Volume[i], l.Set[i] = byte(i), byte(0xf0+i)
	}
	return l
}

// newerLabel is a label as a later Vigil may write it.
func newerLabel(l Label, key seal.Key) []byte {
	b := l.Append(nil, key)[:labelHead:labelHead]
	b[8] = 2
	return key.Seal(b, make([]byte, 700), b)
}

func TestLabel(t *testing.T) {
	l, key := testLabel(), testKey(1)
	b := l.Append(nil, key)
	const head = "vigilvol\x01\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff"
	if string(b[:labelHead]) != head || len(b) != labelHead+seal.Overhead+9+4 {
		t.Errorf("label is %q", b)
	}
	if got, err := ParseLabel(b, key); err != nil || got != l {
		t.Errorf("read back %+v, %v", got, err)
	}
	if _, err := ParseLabel(b, testKey(2)); !errors.Is(err, errSealed) {
		t.Errorf("another machine's key: %v", err)
	}
	altered := bytes.Clone(b)
	altered[8] = 2
	if _, err := ParseLabel(altered, key); !errors.Is(err, errSealed) || errors.Is(err, durable.ErrNewer) {
		t.Errorf("the byte of the version altered: %v", err)
	}
	for _, newer := range [][]byte{newerLabel(l, key), append([]byte("vigilvol\x07"), make([]byte, 500)...), []byte("vigilvol\x02")} {
		if _, err := ParseLabel(newer, key); !errors.Is(err, durable.ErrNewer) {
			t.Errorf("of a newer Vigil: %v", err)
		}
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if got, err := ParseLabel(bad, key); err == nil {
			t.Errorf("byte %d changed: %+v", i, got)
		}
		if _, err := ParseLabel(b[:i], key); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
}

func FuzzLabel(f *testing.F) {
	key := testKey(1)
	f.Add(testLabel().Append(nil, key))
	f.Add([]byte(labelMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLabel(b, key)
		if err != nil {
			return
		}
		again, err := ParseLabel(l.Append(nil, key), key)
		if err != nil || again != l {
			t.Errorf("parse, append, parse: %+v, %v, want %+v", again, err, l)
		}
	})
}

func TestSettled(t *testing.T) {
	key := testKey(1)
	b := appendSettled(nil, ID{1}, 1<<40, key)
	if n, err := parseSettled(b, ID{1}, key); n != 1<<40 || err != nil {
		t.Errorf("read back %d, %v", n, err)
	}
	if n, err := parseSettled(b, ID{2}, key); err == nil {
		t.Errorf("another volume's mark says %d", n)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if n, err := parseSettled(bad, ID{1}, key); err == nil {
			t.Errorf("byte %d changed: %d", i, n)
		}
	}
}

// TestSettledInPlace puts what is no mark where the mark is: it counts as 0, and the next mark
// takes its place.
func TestSettledInPlace(t *testing.T) {
	for name, spoil := range map[string]func(mark string) error{
		"a folder":             func(mark string) error { return os.MkdirAll(mark+"/x", 0o700) },
		"a pipe":               func(mark string) error { return unix.Mkfifo(mark, 0o600) },
		"a link out":           func(mark string) error { return os.Symlink("/etc/hostname", mark) },
		"a link to nothing":    func(mark string) error { return os.Symlink("nothing", mark) },
		"a link to itself":     func(mark string) error { return os.Symlink("SETTLED", mark) },
		"somebody else's file": func(mark string) error { return os.WriteFile(mark, nil, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v := New(Config{FS: durable.OS{}, Dir: dir, Key: testKey(1), Set: SetID{1}, New: true, Floor: 1, Beat: 10 * time.Millisecond})
			if err := v.Attach(); err != nil {
				t.Fatal(err)
			}
			mark := filepath.Join(dir, settledName)
			if err := spoil(mark); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if n, err := v.Settled(); n != 0 || err != nil {
					t.Errorf("settled: %d, %v", n, err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- v.Run(ctx) }()
			done := make(chan error)
			v.Settle(7, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n, err := v.Settled(); n != 7 || err != nil {
				t.Errorf("settled anew: %d, %v", n, err)
			}
			stop()
			<-ended
		})
	}
}

func FuzzSettled(f *testing.F) {
	key := testKey(1)
	f.Add(appendSettled(nil, ID{1}, 7, key))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseSettled(b, ID{1}, key); err == nil {
			if again, err := parseSettled(appendSettled(nil, ID{1}, n, key), ID{1}, key); err != nil || again != n {
				t.Errorf("parse, append, parse: %d, %v, want %d", again, err, n)
			}
		}
	})
}
