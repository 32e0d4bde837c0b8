package media

import (
	"math/bits"
	"sync"
)

// A Pool keeps memory for use again, in classes of size: with one class, each
// buffer would in time become as large as the largest picture. Safe for many
// callers; the zero value is of no use without Make.
type Pool[T any] struct {
	Make func(size int) *T // returns one with exactly that room, in bytes
	kept [classes]sync.Pool
}

// The classes are a quarter of an octave apart, so that at most a fifth of a
// buffer is idle. What is smaller counts as the smallest; one of a huge picture is
// not kept.
const (
	minClass = 14 // log2 of the smallest
	maxClass = 22 // log2 of the largest
	classes  = (maxClass-minClass)*4 + 1
)

// class returns the class for n bytes and the size of its buffers, or -1 and n.
func class(n int) (int, int) {
	switch {
	case n <= 1<<minClass:
		return 0, 1 << minClass
	case n > 1<<maxClass:
		return -1, n
	}
	n--
	shift := bits.Len(uint(n)) - 3
	quarter := n>>shift + 1 // 5 to 8
	return (shift+2-minClass)*4 + quarter - 4, quarter << shift
}

// Get returns one with room for at least n bytes; what it holds is left over.
func (p *Pool[T]) Get(n int) *T {
	c, size := class(n)
	if c >= 0 {
		if x, ok := p.kept[c].Get().(*T); ok {
			return x
		}
	}
	return p.Make(size)
}

// Put keeps one whose room is size bytes. One that has grown to another size
// than Make gave is left to the collector.
func (p *Pool[T]) Put(x *T, size int) {
	if c, whole := class(size); c >= 0 && whole == size {
		p.kept[c].Put(x)
	}
}
