package playback

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience: how long the making of a file waits for who reads it meanwhile.
func TestPatience(t *testing.T) {
	for _, x := range []struct {
		name  string
		apart time.Duration // chunks made and read before, 100 of them
		rest  time.Duration // of the reader, then
		wait  time.Duration // of the making for it
		near  bool
	}{
		{"fast, and a rest", time.Millisecond, 900 * time.Millisecond, 900 * time.Millisecond, true},
		{"fast, and away", time.Millisecond, time.Hour, pause, false},
		{"as fast as must be, and a rest", patience, opening, opening, true},
		{"as fast as must be, and away", patience, time.Hour, opening + patience, false},
		{"a slow disk, and a breath", time.Second, patience - 1, patience - 1, true},
		{"a slow disk, and a rest", time.Second, 2 * patience, patience, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, d := newWindow(), new(Download)
				w.open(d)
				buf := make([]byte, chunk)
				read := func(at int) bool {
					n, err := w.read(context.Background(), d, int64(at)*chunk, buf)
					return n == chunk && err == nil
				}
				for i := range 100 {
					w.add(buf)
					if !read(i) {
						t.Fatalf("chunk %d cannot be read", i)
					}
					if i > 0 {
						w.drop() // the one before
					}
					time.Sleep(x.apart)
				}
				w.add(buf)
				w.drop()
				w.add(buf)
				began := time.Now()
				rested := make(chan struct{})
				go func() {
					defer close(rested)
					time.Sleep(x.rest)
					if got := read(100); got != x.near {
						t.Errorf("after its rest it keeps up: %v", got)
					}
				}()
				w.drop()
				if took := time.Since(began); took != x.wait {
					t.Errorf("waited %v, not %v", took, x.wait)
				}
				<-rested
			})
		})
	}
}
