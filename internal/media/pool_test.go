package media

import "testing"

// TestClass goes through all sizes: a class has room, wastes little, and each
// size of a class is in it.
func TestClass(t *testing.T) {
	last := 0
	for n := 1; n <= 1<<maxClass; n += 1 + n/1000 {
		c, size := class(n)
		if size < n || n > 1<<minClass && size-n > n/4 {
			t.Fatalf("%d bytes get %d", n, size)
		}
		if c < last || c > last+1 || c >= classes {
			t.Fatalf("%d bytes are class %d after %d", n, c, last)
		}
		last = c
		if again, same := class(size); again != c || same != size {
			t.Fatalf("%d bytes are class %d of %d, and these class %d of %d", n, c, size, again, same)
		}
	}
	if last != classes-1 {
		t.Errorf("the last class is %d of %d", last, classes)
	}
	if c, size := class(1<<maxClass + 1); c != -1 || size != 1<<maxClass+1 {
		t.Errorf("a huge one: class %d, %d bytes", c, size)
	}
}

func TestPool(t *testing.T) {
	p := Pool[[]byte]{Make: func(size int) *[]byte { b := make([]byte, 0, size); return &b }}
	for _, n := range []int{0, 100, 1 << 14, 20_000, 1 << 20, 5 << 20} {
		b := p.Get(n)
		if cap(*b) < n {
			t.Errorf("wanted %d bytes, got %d", n, cap(*b))
		}
		p.Put(b, cap(*b))
	}
	odd := make([]byte, 0, 20_001)
	p.Put(&odd, cap(odd))
	if b := p.Get(20_001); cap(*b) == 20_001 {
		t.Error("a buffer of no class was kept")
	}
}
