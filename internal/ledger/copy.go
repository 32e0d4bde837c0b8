package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

// A copier keeps one copy level with home.
type copier struct {
	f     *folder
	after []<-chan struct{} // done of those that had the folder before and may still write to it; owned by who took it
	stop  chan struct{}     // closed by leave
	done  chan struct{}     // closed when it was left and nobody uses it any more

	mu     sync.Mutex
	forked bool // guarded by mu; never written to
	failed bool // guarded by mu; load it anew before the next round
	busy   bool // guarded by mu; a goroutine of Run or Level has it
	left   bool // guarded by mu
}

// take gives the copy to one goroutine, until put.
func (c *copier) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || c.left || c.forked {
		return false
	}
	c.busy = true
	return true
}

func (c *copier) put() {
	_ = c.f.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if c.left {
		c.end()
	}
}

// leave ends the use of a copy, now or when its goroutine comes back from the
// disk, for which it does not wait.
func (c *copier) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return
	}
	c.left = true
	close(c.stop)
	if !c.busy {
		c.end()
	}
}

// end lets the folder go. Called with mu held.
func (c *copier) end() {
	if root, ok := c.f.FS.(io.Closer); ok {
		_ = root.Close()
	}
	close(c.done)
}

const (
	copyEvery = 5 * time.Second  // a copy is at most this far behind
	copyRetry = 30 * time.Second // after a failure
	copyGrace = 2 * time.Second  // for the last round when Run ends
)

// errSource says that what is caught up from cannot be read.
var errSource = errors.New("what it catches up from cannot be read")

// catchUp appends what src has more, in src's view v. On return without an
// error it is durable.
func (f *folder) catchUp(src *folder, v view) error {
	if f.owed {
		if err := f.retile(); err != nil {
			return err
		}
	}
	r := reader{home: src, v: v}
	var s frameScratch
	for span := r.start(f.edge.size); f.edge.size < v.head.Size && span <= v.span; span++ {
		b, err := r.bytes(src, span, f.edge.size)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", errSource, err)
		}
		next := f.edge.clone()
		var full []tile
		var entry []byte
		leaf := func(i uint64, l Leaf) error {
			entry = l.AppendPublic(entry[:0])
			if i > next.size { // metadata that is lost in src is lost here; the tree goes on
				if err := src.entries(next.size, i, func(e []byte) error { return next.add(e, leafHash(e), collect(&full)) }); err != nil {
					return fmt.Errorf("%w: %w", errSource, err)
				}
			}
			return next.add(entry, leafHash(entry), collect(&full))
		}
		if _, err := walk(b, spanKey(f.key, f.keys.Origin, span), span, f.edge.size, &s, leaf, func(_ int, raw []byte, fr frame) error {
			if fr.first < f.edge.size { // a frame that starts before what we have
				return fmt.Errorf("%w: %w: frame of leaf %d", errSource, errTiles, fr.first)
			}
			head := Checkpoint{Origin: f.keys.Origin, Size: fr.end(), Root: fr.root}
			if next.root() != head.Root {
				return fmt.Errorf("%w: %w", errSource, errTiles)
			}
			if err := f.commit(raw, fr.first, head.signed(fr.sigs, f.keys), next, false); err != nil {
				return err
			}
			next = f.edge.clone()
			err := f.writeFull(full)
			full = nil
			return err
		}); err != nil {
			return err
		}
	}
	if f.edge.size < v.head.Size {
		return fmt.Errorf("%w: leaves %d to %d: %w", errSource, f.edge.size, v.head.Size, errLost)
	}
	if f.log != nil {
		if err := f.log.Sync(); err != nil {
			return err
		}
	}
	return f.writeTiles(nil)
}

// writeFull writes full tiles alone; the caller ends with writeTiles.
func (f *folder) writeFull(full []tile) error {
	for _, t := range full {
		if err := f.writeTile(t); err != nil {
			f.owed = true
			return err
		}
		f.removePartials(t.level, t.n, 0)
	}
	return nil
}

func newCopier(f *folder) *copier {
	return &copier{f: f, stop: make(chan struct{}), done: make(chan struct{})}
}

// adopt compares a loaded copy, of which found is known, with home and keeps
// it level from now on.
func (l *Ledger) adopt(c *copier, found []Finding) []Finding {
	f := c.f
	home := l.home.view().head
	if f.known == nil && damaged(f.broken) {
		again, err := f.anew(f.broken)
		if err != nil {
			f.known = nil
		} else {
			found = again
		}
	}
	size := f.edge.size
	add := func(t Trouble, err error) {
		found = append(found, Finding{Folder: f.Name, Trouble: t, Have: size, Want: home.Size, Err: err})
	}
	switch {
	case f.known == nil: // could not be loaded
		c.failed = true
	case size > home.Size:
		root, err := f.rootAt(home.Size, f.head)
		if err == nil && root == l.Checkpoint().Root {
			err = errors.New("home is shorter than its copy, and went on meanwhile")
		} else {
			err = errors.Join(errFork, err)
		}
		c.forked = true
		add(Forked, err)
	default:
		err := l.begins(f)
		switch {
		case errors.Is(err, errFork):
			add(Forked, errFork)
			c.forked = true
		case err != nil: // nobody knows: asked again
			add(Damaged, err)
			c.failed = true
		default:
			if size < home.Size {
				add(Behind, nil)
			}
			if found, err = l.restore(f, found, []*folder{l.home}); err != nil {
				c.failed = true
				add(Unreadable, err)
			}
		}
	}
	l.judge(found)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copies[f.Name] = c
	for _, x := range found {
		l.found(x)
	}
	return found
}

var errFork = errors.New("it holds another history")

// begins tells whether home's history begins with a copy's, which is not longer: errFork if not, another error if
// nobody knows. Where tiles of home are lost its log says so, and the copy is not the one to suffer.
func (l *Ledger) begins(f *folder) error {
	root, err := l.RootAt(f.edge.size)
	if err != nil {
		if l.home.reach(&f.edge).head.Size == f.edge.size {
			return err
		}
		l.note(Finding{Folder: l.home.Name, Trouble: Damaged, Have: f.edge.size, Want: l.Size(), Err: err})
		return nil
	}
	if root != f.edge.root() {
		return errFork
	}
	return nil
}

// judge makes a copy that goes on before leaves that it lost short, if home does not have them.
func (l *Ledger) judge(found []Finding) {
	for i, x := range found {
		if x.Trouble == Behind && x.Want > l.Size() {
			found[i].Trouble = Short
		}
	}
}

// AddCopy opens a copy that came after Open, compares it and keeps it level
// from now on. A copy that is longer than home is Forked: open volumes first. Its FS is
// closed when the copy is removed, if it is a durable.Root.
//
// Two that write to one folder would take each other's files away, so it waits
// for who has the folder still, from before a RemoveCopy too. If their disk hangs, the copy
// is opened by Run when they are back.
func (l *Ledger) AddCopy(at Folder) []Finding {
	c := newCopier(l.copyAt(at))
	c.after = l.leave(at.Name)
	late, cancel := context.WithTimeout(context.Background(), copyGrace)
	defer cancel()
	if !c.alone(late) {
		c.failed = true
		x := Finding{Folder: at.Name, Trouble: Unwritable, Want: l.Size(), Err: errors.New("its disk holds up who wrote to it last")}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.copies[at.Name] = c
		l.found(x)
		return []Finding{x}
	}
	opened, theirs, held := l.openCopies([]Folder{at})
	c.f = opened[0]
	l.follows(c, held[0])
	return l.adopt(c, theirs[0])
}

// follows lets a copy wait for who still opens its folder, as whoever comes after the copy has to.
func (l *Ledger) follows(c *copier, held <-chan struct{}) {
	if free(held) {
		return
	}
	c.after = []<-chan struct{}{held}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving[c.f.Name] = append(l.leaving[c.f.Name], held)
}

// alone waits until nobody else uses the folder.
func (c *copier) alone(ctx context.Context) bool {
	for _, done := range c.after {
		if free(done) {
			continue
		}
		select {
		case <-done:
		case <-c.stop:
			return false
		case <-ctx.Done():
			return false
		}
	}
	c.after = nil
	return true
}

// RemoveCopy stops keeping a copy. It does not wait for its disk.
func (l *Ledger) RemoveCopy(name string) { l.leave(name) }

// leave gives a copy up and returns what is closed when nobody uses its folder
// any more.
func (l *Ledger) leave(name string) (list []<-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.copies[name]; c != nil {
		delete(l.copies, name)
		l.leaving[name] = append(l.leaving[name], c.done)
		c.leave()
	}
	l.leaving[name] = slices.DeleteFunc(l.leaving[name], free)
	return slices.Clone(l.leaving[name])
}

// readable returns the copies that may have what home lost.
func (l *Ledger) readable() (list []*folder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.copies {
		c.mu.Lock()
		if !c.forked && !c.failed {
			list = append(list, c.f)
		}
		c.mu.Unlock()
	}
	return list
}

// Run keeps the copies level until ctx ends, each on a goroutine of its own,
// so that a hung disk holds up nobody: not Append, not the other copies, and
// not Run's end.
func (l *Ledger) Run(ctx context.Context) error {
	var all sync.WaitGroup
	tick := time.NewTicker(copyEvery / 5)
	defer tick.Stop()
	for ctx.Err() == nil {
		l.mu.Lock()
		for _, c := range l.copies {
			if c.take() {
				all.Go(func() { l.keep(ctx, c) })
			}
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(copyGrace): // a hung disk keeps its goroutine; its copy catches up at the next start
	}
	return nil
}

// keep keeps one copy level.
func (l *Ledger) keep(ctx context.Context, c *copier) {
	defer c.put()
	if !c.alone(ctx) {
		return
	}
	for {
		changed := l.Changed()
		wait := copyEvery
		if err := l.round(c); errors.Is(err, errFork) {
			return
		} else if err != nil {
			wait, changed = copyRetry, nil
		}
		select {
		case <-ctx.Done():
			_ = l.round(c) // the last leaves; its failure is the next start's Behind
			return
		case <-c.stop:
			return
		case <-time.After(wait):
		}
		if changed != nil {
			select {
			case <-ctx.Done():
			case <-c.stop:
			case <-changed:
			}
		}
	}
}

// round brings one copy level once.
func (l *Ledger) round(c *copier) error {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	f := c.f
	var err error
	if failed {
		f.close()
		var found []Finding
		if found, err = f.load(); damaged(err) {
			found, err = f.anew(err)
		}
		switch {
		case err != nil:
			found = nil // told when it began
		case f.edge.size > l.Size():
			err = errFork
		default:
			err = l.begins(f)
		}
		if err == nil {
			found, err = l.restore(f, found, []*folder{l.home})
		}
		l.judge(found)
		for _, x := range found {
			l.note(x)
		}
	}
	if err == nil && f.edge.size < l.Size() {
		err = f.catchUp(l.home, l.home.view())
	}
	c.mu.Lock()
	c.failed = err != nil
	c.forked = errors.Is(err, errFork)
	c.mu.Unlock()
	switch {
	case err != nil && !failed:
		l.note(Finding{Folder: f.Name, Trouble: trouble(err), Have: f.edge.size, Want: l.Size(), Err: err})
	case err == nil && failed:
		l.tell(Finding{Folder: f.Name, Trouble: Restored})
	}
	return err
}

func trouble(err error) Trouble {
	if errors.Is(err, errFork) {
		return Forked
	}
	return Unwritable
}

// Level waits until nothing is left to copy, for a shutdown in order and for
// tests. It works on the caller's goroutine. A copy that a hung disk keeps from Run is left out.
func (l *Ledger) Level() error {
	l.mu.Lock()
	list := slices.Collect(maps.Values(l.copies))
	l.mu.Unlock()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	var errs []error
	for _, c := range list {
		if !c.take() {
			continue
		}
		if len(c.after) == 0 || c.alone(now) {
			errs = append(errs, l.round(c))
		}
		c.put()
	}
	return errors.Join(errs...)
}
