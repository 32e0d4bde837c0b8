// Package ledger is the append-only Merkle log of the record: what was
// recorded, how far, what went and by whom, under signed checkpoints.
//
//	store, audit, keys -> (ledger) -> catalogue, evidence, witnesses
//
// In each of its folders lie tiles, entry bundles and a checkpoint as
// c2sp.org/tlog-tiles wants them, readable by outside tools, and beside them a
// sealed log with the metadata that the public leaves commit to. The sealed log
// is what counts: one write and one sync make leaves durable, and all else is
// made from it again after a crash. docs/format/ledger.md has the offsets.
//
// It knows what the metadata says only to read and write it; it decides
// nothing about segments. Of golang.org/x/mod it uses tlog for hashes, proofs
// and authenticated reading of tiles, and note to verify signatures; tlog's
// own text form of a tree and its tile paths (height in the path, "data" for
// entries) are those of the Go checksum database and do not fit.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vigil/internal/seal"
)

// A Ledger is safe for many callers.
type Ledger struct {
	// Tell, if it is set before the first Append and Run, is told of what is found
	// while the ledger works, and that a folder is Restored. It must not wait.
	Tell func(Finding)

	signer Signer
	keys   PublicKeys
	key    seal.Key

	writing sync.Mutex // held by Append and Close; guards home but for its view
	home    *folder
	closed  bool

	mu       sync.Mutex
	copies   map[string]*copier           // guarded by mu
	leaving  map[string][]<-chan struct{} // guarded by mu; done of removed copies that are still in use
	findings []Finding                    // guarded by mu
	changed  chan struct{}                // guarded by mu; closed by the next Append
}

// Errors of a ledger.
var (
	ErrTooMany = errors.New("too much for one append")
	ErrRange   = errors.New("no such leaf")
	ErrClosed  = errors.New("ledger is closed")
)

// A Trouble is what is wrong with a folder of the ledger.
type Trouble string

// The troubles. All but Behind and Restored are for a person.
const (
	Short        Trouble = "short"         // shorter than a checkpoint that we signed: cut off, or put back to an older state
	Forked       Trouble = "forked"        // holds another history; left alone
	Damaged      Trouble = "damaged"       // something cannot be read; repaired as far as said in Err
	BadSignature Trouble = "bad-signature" // its checkpoint is not ours
	Unreadable   Trouble = "unreadable"    // cannot be opened at all
	Unwritable   Trouble = "unwritable"    // tiles cannot be written; the sealed log could
	Behind       Trouble = "behind"        // a copy that has to catch up: no alarm
	Restored     Trouble = "restored"      // it was Unwritable, and is no more
)

// A Finding is a trouble with its place.
type Finding struct {
	Folder     string // name of the folder
	Trouble    Trouble
	Have, Want uint64 // leaves
	Err        error
}

// Error makes a Finding an error.
func (f Finding) Error() string {
	s := fmt.Sprintf("ledger in %s is %s: %d of %d leaves", f.Folder, f.Trouble, f.Have, f.Want)
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f Finding) Unwrap() error { return f.Err }

// Open opens the ledger in home, or makes it, and compares it with the copies.
// The largest history that continues home's wins: home catches up from it,
// which is reported as Short. A copy with another history is reported as Forked
// and left alone. Frames of the sealed log that home lost are taken from whoever has them, and
// those that a copy lost from home. A home that cannot be opened at all is kept as <folder>.damaged-1
// and made again from a copy, as is such a copy. If nobody has a copy, all that the
// checkpoint on the disk commits to is there, and few leaves are lost, home goes on before the first of them, which is
// reported as Short, and the log behind it is kept beside it. What Open finds is in Findings;
// an error means that there is no ledger to write to.
//
// A copy whose disk does not answer within copyOpen is reported as Unreadable and opened when it does.
//
// The FS of a copy is closed when the copy is removed or the ledger closed, if
// it is a durable.Root.
//
// Rolling back all folders together is not seen here but by who keeps
// checkpoints elsewhere.
//
//vigil:clause 5.2.8.2
func Open(home Folder, copies []Folder, s Signer, key seal.Key, origin string) (*Ledger, error) {
	keys, err := s.public(origin)
	if err != nil {
		return nil, err
	}
	l := &Ledger{signer: s, keys: keys, key: key, copies: map[string]*copier{}, leaving: map[string][]<-chan struct{}{}, changed: make(chan struct{})}
	l.home = l.folder(home)
	claimed, _ := l.home.readCheckpoint() // before loading may put it aside
	found, homeErr := l.home.load()
	l.findings = found
	opened, theirs, held := l.openCopies(copies)
	wanted := homeErr != nil || slices.ContainsFunc(found, func(x Finding) bool { return x.Trouble == Short && x.Have < x.Want })
	for try := 1; wanted && try < sourceTries && slices.ContainsFunc(opened, (*folder).fails); try++ {
		time.Sleep(sourcePause)
		for i, f := range opened {
			if f.fails() && free(held[i]) {
				theirs[i] = f.open()
			}
		}
	}
	kept := ""
	unsure := l.home.unsure // what it committed to is not known
	holds := func(f *folder) bool { return f.has() && l.home.holds(f, claimed) }
	if damaged(homeErr) && !unsure && !slices.ContainsFunc(opened, holds) {
		l.home = l.folder(home)
		l.home.shorter = true
		if found, err = l.home.load(); err == nil {
			l.findings, homeErr = found, nil
		}
	}
	from := slices.Clone(opened)
	if homeErr != nil {
		whole := func(f *folder) bool { return holds(f) && (damaged(homeErr) || len(f.lost) == 0) }
		from = slices.DeleteFunc(from, func(f *folder) bool { return !whole(f) })
		if kept, err = l.setAside(home, from); err != nil {
			return nil, fmt.Errorf("open ledger: %w", errors.Join(Finding{Folder: home.Name, Trouble: Unreadable, Err: homeErr}, err))
		}
	}
	other := func(f *folder) bool { // it has another history than the checkpoint at home commits to
		if claimed.Size == 0 || !f.has() || claimed.Size > f.edge.size {
			return false
		}
		root, err := f.rootAt(claimed.Size, f.head)
		return err == nil && root != claimed.Root
	}
	for pauses := sourceTries - 1; ; { // for all copies together
		best := l.longest(slices.DeleteFunc(slices.Clone(from), other))
		if best == nil {
			best = l.longest(from)
		}
		if best == nil {
			break
		}
		x := Finding{Folder: home.Name, Trouble: Short, Have: l.home.edge.size, Want: best.edge.size}
		if homeErr != nil {
			x.Trouble, x.Err = Damaged, fmt.Errorf("%w; it is made again from a copy, and kept as %s", homeErr, kept)
		}
		err := l.home.keepTail(l.home.view().span)
		for err == nil {
			if err = l.home.catchUp(best, best.view()); err == nil || !errors.Is(err, errSource) || pauses == 0 {
				break
			}
			time.Sleep(sourcePause)
			pauses--
			err = nil
		}
		if err != nil && (homeErr != nil || !errors.Is(err, errSource)) { // half made: the next start goes on with it
			return nil, fmt.Errorf("open ledger: %w", errors.Join(x, err))
		}
		x.Err = errors.Join(x.Err, err)
		l.findings = append(l.findings, x)
		if err == nil {
			break
		}
		from = slices.DeleteFunc(from, func(f *folder) bool { return f == best })
	}
	if err := l.goOn(home); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	for _, old := range l.asides(home) { // the start that set it aside may have broken off, and its copy be away
		l.findings = append(l.findings, l.home.denied(old.Dir, claimed)...)
	}
	if homeErr != nil {
		l.home.lost = []uint64{0} // the one set aside may have what the copy lost
	}
	if l.findings, err = l.restore(l.home, l.findings, opened); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	for i, f := range opened {
		c := newCopier(f)
		l.follows(c, held[i])
		l.adopt(c, theirs[i])
	}
	return l, nil
}

// A copy that home needs at Open and that cannot be read is tried
// again: going on without its leaves makes another history. A disk that comes back does so within
// seconds; one that does not must not keep the recorder from recording.
const sourceTries = 6

var sourcePause = 2 * time.Second // changed by tests only

// copyOpen is how long Open waits for the disks of copies.
const copyOpen = 10 * time.Second

// openCopies opens the copies beside each other. One whose disk does not answer in time counts as
// one that cannot be loaded; held is closed when its disk lets go, and before that nobody else may use
// its folder.
func (l *Ledger) openCopies(copies []Folder) (opened []*folder, theirs [][]Finding, held []<-chan struct{}) {
	late, cancel := context.WithTimeout(context.Background(), copyOpen)
	defer cancel()
	theirs = make([][]Finding, len(copies))
	found := make([][]Finding, len(copies))
	for i, c := range copies {
		f, done := l.copyAt(c), make(chan struct{})
		go func() {
			defer close(done)
			found[i] = f.open()
		}()
		opened, held = append(opened, f), append(held, done)
	}
	for i, c := range copies {
		select {
		case <-held[i]:
		case <-late.Done():
		}
		if free(held[i]) {
			theirs[i] = found[i]
			continue
		}
		opened[i] = l.copyAt(c)
		opened[i].broken = errHeld
		theirs[i] = []Finding{{Folder: c.Name, Trouble: Unreadable, Err: errHeld}}
	}
	return opened, theirs, held
}

var errHeld = errors.New("its disk does not answer")

// free tells whether a channel is closed.
func free(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// setAside keeps a home that cannot be opened under another name and begins a
// new one, when there is a copy from which it is made again. Without one a person must
// decide: a new ledger would disown all footage, a shorter one some of it.
func (l *Ledger) setAside(home Folder, copies []*folder) (to string, err error) {
	if len(copies) == 0 {
		return "", errors.New("and no copy that has all of it is there")
	}
	if to, err = aside(home.FS, home.Dir); err != nil {
		return "", err
	}
	l.home = l.folder(home)
	_, err = l.home.load()
	return to, err
}

// goOn appends what homes that were set aside have behind the end of this one:
// a copy is a little behind, and the start that made home again may have broken off.
func (l *Ledger) goOn(home Folder) error {
	for _, old := range l.asides(home) {
		v := old.reach(&l.home.edge)
		if v.head.Size <= l.home.edge.size {
			continue
		}
		x := Finding{Folder: home.Name, Trouble: Damaged, Have: l.home.edge.size, Want: v.head.Size, Err: fmt.Errorf("the leaves behind the copy's come from %s", old.Dir)}
		if err := l.home.catchUp(old, v); err != nil {
			return errors.Join(x, err)
		}
		l.findings = append(l.findings, x)
	}
	return nil
}

// holds tells whether a copy, with what this folder's own log has behind the
// copy's end, makes all that a checkpoint commits to. Of a folder without one that
// cannot be known.
func (f *folder) holds(c *folder, claimed Checkpoint) bool {
	if claimed.Size > c.edge.size {
		return f.reach(&c.edge).head.Size >= claimed.Size
	}
	if claimed.Size == 0 {
		return true
	}
	root, err := c.rootAt(claimed.Size, c.head)
	return err == nil && root == claimed.Root
}

// reach is the part of this folder's log that continues another's history:
// frame by frame, each with the root that it was signed under.
func (f *folder) reach(from *edge) (v view) {
	v.head.Size = from.size
	last, any, err := f.lastSpan()
	if err != nil || !any { // it may be what is wrong with it
		return v
	}
	e := from.clone()
	var s frameScratch
	var entry []byte
	for span := max(e.size/spanLeaves, 1) - 1; span <= last; span++ { // a frame may begin in the file before
		b, err := f.readSpan(span)
		if err != nil {
			continue // its leaves are missed in the next
		}
		if _, err = walk(b, spanKey(f.key, f.keys.Origin, span), span, e.size, &s, func(i uint64, l Leaf) error {
			if i != e.size {
				return errTiles
			}
			entry = l.AppendPublic(entry[:0])
			return e.add(entry, leafHash(entry), func(tile) error { return nil })
		}, func(off int, raw []byte, fr frame) error {
			if fr.first < v.head.Size || e.root() != fr.root {
				return errTiles
			}
			v.head.Size, v.span, v.logEnd = e.size, span, int64(off+len(raw))
			return nil
		}); err != nil {
			break
		}
	}
	return v
}

// fails tells whether a folder could not be loaded, and may be later.
func (f *folder) fails() bool { return f.known == nil && !damaged(f.broken) }

// has tells whether a folder could be loaded and has leaves.
func (f *folder) has() bool { return f.known != nil && f.edge.size > 0 }

func (l *Ledger) folder(f Folder) *folder { return &folder{Folder: f, key: l.key, keys: l.keys} }

func (l *Ledger) copyAt(f Folder) *folder {
	c := l.folder(f)
	c.copy = true
	return c
}

// longest returns the copy with the longest history that continues home's, or
// nil when none is longer.
func (l *Ledger) longest(copies []*folder) (best *folder) {
	for _, f := range copies {
		if f.edge.size <= l.home.edge.size || best != nil && f.edge.size <= best.edge.size {
			continue
		}
		if root, err := f.rootAt(l.home.edge.size, f.head); err == nil && root == l.home.edge.root() {
			best = f
		}
	}
	return best
}

// Findings returns what was found wrong since Open, oldest first.
func (l *Ledger) Findings() []Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Finding(nil), l.findings...)
}

// maxFindings bounds the list; the last ones are kept.
const maxFindings = 256

// found notes a finding. Called with mu held.
func (l *Ledger) found(f Finding) {
	if len(l.findings) >= maxFindings {
		l.findings = append(l.findings[:0], l.findings[1:]...)
	}
	l.findings = append(l.findings, f)
}

// Size returns the number of leaves.
func (l *Ledger) Size() uint64 { return l.home.view().head.Size }

// Checkpoint returns the newest checkpoint.
func (l *Ledger) Checkpoint() Checkpoint {
	c := l.home.view().head
	if c.Note == nil {
		c.Origin, c.Root = l.keys.Origin, (&edge{}).root()
	}
	return c
}

// PublicKeys returns what the checkpoints are verified with.
func (l *Ledger) PublicKeys() PublicKeys { return l.keys }

// Changed returns a channel that is closed by the next Append.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Append adds leaves. When it returns without an error they are durable under
// a signed checkpoint. After an error they are no part of the ledger, unless the
// machine stops at that moment: then the next Open may find them. Call again with
// the same leaves.
//
//  1. The leaves get their salts, the tree its new edge, the checkpoint its signatures: nothing is written yet.
//  2. The frame goes to home's sealed log (folder.commit): from here on the leaves are in the ledger.
//  3. Tiles and checkpoint are written, unsynced. If that fails they are owed, and paid by the next Append.
//  4. Readers and copies are told.
func (l *Ledger) Append(ctx context.Context, leaves []Leaf) (first uint64, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.closed {
		return 0, ErrClosed
	}
	f := l.home
	first = f.edge.size
	if len(leaves) == 0 {
		return first, nil
	}
	if len(leaves) > MaxBatch {
		return 0, fmt.Errorf("append to ledger: %w: %d leaves", ErrTooMany, len(leaves))
	}
	total := 0
	for i := range leaves {
		if err := leaves[i].check(); err != nil {
			return 0, fmt.Errorf("append to ledger: %w", err)
		}
		if total += len(leaves[i].Meta); total > MaxBytes {
			return 0, fmt.Errorf("append to ledger: %w: more than %d bytes of metadata", ErrTooMany, MaxBytes)
		}
	}
	if f.owed {
		if err := f.retile(); err != nil {
			l.note(Finding{Folder: f.Name, Trouble: Unwritable, Have: f.tiled, Want: f.edge.size, Err: err})
		} else {
			l.tell(Finding{Folder: f.Name, Trouble: Restored})
		}
	}
	salted, next, full := f.prepare(leaves)
	head := Checkpoint{Origin: l.keys.Origin, Size: next.size, Root: next.root()}
	sigs, err := l.signer.sign(head.text())
	if err != nil {
		return 0, err
	}
	fr := frame{count: len(leaves), first: first, root: head.Root, sigs: sigs}
	raw := appendFrame(nil, spanKey(l.key, l.keys.Origin, first/spanLeaves), fr, salted)
	if err := f.commit(raw, first, head.signed(sigs, l.keys), next, true); err != nil {
		return 0, fmt.Errorf("append to ledger: %w", err)
	}
	if !f.owed {
		if err := f.writeTiles(full); err != nil {
			l.note(Finding{Folder: f.Name, Trouble: Unwritable, Have: f.tiled, Want: f.edge.size, Err: err})
		}
	}
	l.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	return first, nil
}

// prepare salts leaves and returns the edge and the full tiles that follow
// from them.
func (f *folder) prepare(leaves []Leaf) (salted []Leaf, next edge, full []tile) {
	next = f.edge.clone()
	salted = make([]Leaf, len(leaves))
	var entry []byte
	for i, leaf := range leaves {
		salted[i] = leaf.salted()
		entry = salted[i].AppendPublic(entry[:0])
		_ = next.add(entry, leafHash(entry), collect(&full)) // collect does not fail
	}
	return salted, next, full
}

// collect keeps copies of full tiles.
func collect(full *[]tile) func(tile) error {
	return func(t tile) error {
		t.data = append([]byte(nil), t.data...)
		*full = append(*full, t)
		return nil
	}
}

func (l *Ledger) note(f Finding) {
	l.mu.Lock()
	l.found(f)
	l.mu.Unlock()
	l.tell(f)
}

func (l *Ledger) tell(f Finding) {
	if l.Tell != nil {
		l.Tell(f)
	}
}

// Close ends the use of home and of the copies. Run, which serves these, is
// ended by its context before.
func (l *Ledger) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.mu.Lock()
	for _, c := range l.copies {
		c.leave()
	}
	l.mu.Unlock()
	return l.home.close()
}
