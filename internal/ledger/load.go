package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

// walk reads a file of the sealed log. leaf is called for each leaf of each
// good frame from index next on, done after each such frame. Stretches that are
// no frame are skipped by looking for the next good one, so that a damaged
// sector costs one frame and not the rest of the file; but somebody who writes
// heads all over it does not make us open them for hours. It returns where the last good frame
// ends.
func walk(b []byte, key seal.Key, span, next uint64, s *frameScratch, leaf func(i uint64, l Leaf) error, done func(off int, raw []byte, f frame) error) (int, error) {
	off, good := 0, 0
	if bytes.HasPrefix(b, appendFileHead(nil, span)) {
		off, good = fileHead, fileHead
	}
	vain := 4*len(b) + maxFrame // bytes that may be opened for nothing: damage has no heads, and few that are whole
	for off < len(b) && vain > 0 {
		f, err := parseHead(b[off:])
		if err != nil || f.first/spanLeaves != span {
			off++
			continue
		}
		if f.end() <= next { // wanted from later on: its head is believed as far as to go past it
			off, good = off+f.length, off+f.length
			continue
		}
		if _, err = openFrame(b[off:], key, s, func(i uint64, l Leaf) error {
			if i < next {
				return nil
			}
			return leaf(i, l)
		}); err != nil {
			if !errors.Is(err, errFrame) {
				return good, err
			}
			off++
			vain -= f.length
			continue
		}
		next = f.end()
		if done != nil {
			if err := done(off, b[off:off+f.length], f); err != nil {
				return good, err
			}
		}
		off += f.length
		good = off
	}
	return good, nil
}

func (f *folder) readSpan(span uint64) ([]byte, error) {
	return durable.ReadFile(f.FS, f.at(spanPath(span)), maxSpanFile)
}

// errTiles says that tiles do not lead to the root that the log has.
var errTiles = errors.New("tiles contradict the sealed log")

// A replay is what the newest file of the log makes.
type replay struct {
	edge   edge
	head   Checkpoint
	tiles  []tile // full ones completed since the start of the file's span
	index  []mark
	logEnd int64
	lost   []uint64 // first indexes of stretches whose sealed metadata is damaged
	cut    bool     // bytes after the last good frame
}

// replay reads one file of the log and makes the edge and the tiles that
// follow from it. ok is false when it has no good frame, or is not there. What the file needs
// from before it, the upper edge and leaves of its span that the file before has,
// comes from partial tiles and that file; deep from full tiles one level
// below; public from entry bundles.
func (f *folder) replay(span uint64, deep, public bool) (r replay, ok bool, err error) {
	b, err := f.readSpan(span)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	base := span * spanLeaves
	if r.edge, err = f.edgeAt(base, deep); err != nil {
		return r, false, err
	}
	add := func(entry []byte) error {
		return r.edge.add(entry, leafHash(entry), func(t tile) error {
			t.data = bytes.Clone(t.data)
			r.tiles = append(r.tiles, t)
			return nil
		})
	}
	var s frameScratch
	var entry []byte
	leaf := func(i uint64, l Leaf) error {
		if i > r.edge.size {
			r.lost = append(r.lost, r.edge.size)
			if err := f.entries(r.edge.size, i, add); err != nil {
				return err
			}
		}
		entry = l.AppendPublic(entry[:0])
		return add(entry)
	}
	spill := func() error { // the last leaves of the file before may lie in this span
		if span == 0 || public {
			return nil
		}
		prev, err := f.readSpan(span - 1)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			_, err = walk(prev, spanKey(f.key, f.keys.Origin, span-1), span-1, base, &s, leaf, nil)
		}
		return err
	}
	if err := spill(); err != nil {
		return r, false, err
	}
	end, err := walk(b, spanKey(f.key, f.keys.Origin, span), span, r.edge.size, &s, leaf, func(off int, _ []byte, fr frame) error {
		r.index = append(r.index, mark{fr.first, int64(off)})
		c := Checkpoint{Origin: f.keys.Origin, Size: fr.end(), Root: fr.root}
		r.head = c.signed(fr.sigs, f.keys)
		return nil
	})
	if err != nil || len(r.index) == 0 {
		return r, false, err
	}
	r.logEnd, r.cut = int64(end), end < len(b)
	if r.edge.root() != r.head.Root {
		return r, true, errTiles
	}
	return r, true, nil
}

// edgeAt returns the edge at a size that is a multiple of spanLeaves: from
// partial tiles, or, deep, from the full tiles one level below.
func (f *folder) edgeAt(size uint64, deep bool) (e edge, err error) {
	e.size = size
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		row := make([]byte, 0, tileSize)
		n, w := size>>(tileHeight*(level+1)), int(size>>(tileHeight*level))%tileWidth
		if w > 0 && !deep {
			if b, err := f.readTile(level, n, w); err == nil && len(b) >= w*32 {
				row = append(row, b[:w*32]...)
				w = 0
			}
		}
		for i := range w {
			b, err := f.readTile(level-1, n*tileWidth+uint64(i), tileWidth)
			if err != nil || len(b) != tileSize {
				return e, fmt.Errorf("%w: level %d: %w", errTiles, level-1, errors.Join(err))
			}
			h := tileHash(b)
			row = append(row, h[:]...)
		}
		e.level = append(e.level, row)
	}
	return e, nil
}

// entries calls fn for the public leaves of a range as the bundles have them;
// errTiles is for bundles that are gone or damaged.
func (f *folder) entries(from, to uint64, fn func(entry []byte) error) error {
	for from < to {
		n := from / tileWidth
		want := int(min(to-n*tileWidth, tileWidth))
		b, err := f.readTile(entries, n, want)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", errTiles, err)
		}
		if err != nil {
			return err
		}
		list, err := splitBundle(b)
		if err == nil && len(list) < want {
			err = fmt.Errorf("entry bundle of %d entries", len(list))
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errTiles, tileBase(entries, n), err)
		}
		for _, e := range list[from-n*tileWidth : want] {
			if err := fn(e); err != nil {
				return err
			}
			from++
		}
	}
	return nil
}

// load opens a folder: it finds the end of the log and makes the tiles and
// the checkpoint agree with it. Its cost is that of the newest file, whatever
// the size of the ledger.
func (f *folder) load() (findings []Finding, err error) {
	f.fresh, f.named, f.known = map[string]bool{}, map[string]bool{}, map[string]bool{}
	f.lost, f.made, f.shortened, f.claimed = nil, "", false, Checkpoint{}
	f.unsure, f.signed = false, 0
	for _, dir := range []string{"", "sealed", "tile"} {
		if err := durable.MkdirAll(f.FS, f.at(dir)); err != nil {
			return nil, err
		}
	}
	claimed, cerr := f.readCheckpoint()
	f.signed = claimed.Size
	span, any, err := f.lastSpan()
	if err != nil {
		return findings, err
	}
	if cerr != nil {
		f.unsure = true
		x := Finding{Folder: f.Name, Trouble: BadSignature, Err: cerr}
		if !errors.Is(cerr, ErrSignature) && !errors.Is(cerr, ErrCheckpoint) && !damaged(cerr) {
			x.Trouble, x.Err = Damaged, fmt.Errorf("its checkpoint cannot be read: %w", cerr)
		}
		findings = append(findings, x)
	}
	var r replay
	for ok := false; any && !ok; {
		for _, how := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
			if r, ok, err = f.replay(span, how[0], how[1]); !errors.Is(err, errTiles) {
				break
			}
		}
		if errors.Is(err, errTiles) {
			var whole bool
			last := span
			r, span, whole, err = f.rebuild(last)
			x := Finding{Folder: f.Name, Trouble: Damaged, Have: r.edge.size, Want: r.edge.size, Err: errTiles}
			if err == nil && !whole {
				y, serr := f.shorten(span, last, r.edge.size, claimed.Size)
				if err = serr; err == nil && f.copy {
					x = y
				} else if err == nil {
					findings = append(findings, y)
				}
			}
			ok = true
			findings = append(findings, x)
		}
		if err != nil {
			return findings, err
		}
		if !ok { // made and not written: a crash; or gone: the checkpoint tells
			if any = span > 0; any {
				span--
			}
		}
	}
	if cerr != nil { // a new one takes its place; one that cannot be read now may be at the next start
		to, err := aside(f.FS, f.at(checkpointName))
		if err == nil {
			err = fmt.Errorf("it is kept as %s", to)
		}
		findings[0].Err = fmt.Errorf("%w; %w", findings[0].Err, err)
	}
	f.lost = r.lost
	for _, first := range r.lost {
		findings = append(findings, Finding{Folder: f.Name, Trouble: f.hole(first), Have: first, Want: r.edge.size, Err: errLost})
	}
	logged := r.edge.size
	if claimed.Size > logged {
		x := f.claim(&r, claimed)
		if findings = append(findings, x); x.Trouble == Damaged {
			f.lost = append(f.lost, x.Have)
		} else {
			f.shortened = true
		}
	}
	f.torn = r.cut
	if claimed.Size > logged { // torn by damage: a crash leaves no checkpoint ahead
		if err := f.keepTail(span); err != nil {
			findings = append(findings, Finding{Folder: f.Name, Trouble: Unwritable, Have: logged, Want: claimed.Size, Err: err})
		}
	}
	f.edge, f.head = r.edge, r.head
	f.publish(view{f.head, span, r.logEnd, r.index})
	f.claimed = claimed
	if err := f.settle(r.tiles); err != nil {
		f.owed = true
		findings = append(findings, Finding{Folder: f.Name, Trouble: Unwritable, Have: r.edge.size, Want: r.edge.size, Err: err})
	}
	findings = append(findings, f.denied(f.Dir, claimed)...) // behind settle: it looks at the tiles
	if claimed.Size > 0 && claimed.Size <= r.edge.size {
		if root, err := f.rootAt(claimed.Size, f.head); err == nil && root != claimed.Root {
			findings = append(findings, Finding{Folder: f.Name, Trouble: Forked, Have: r.edge.size, Want: claimed.Size, Err: errors.New("its checkpoint is of another ledger")})
		}
	}
	return findings, nil
}

// open is load for a copy, which may fail.
func (f *folder) open() []Finding {
	found, err := f.load()
	if err != nil {
		f.known = nil // not loaded
		f.broken = err
		found = append(found, Finding{Folder: f.Name, Trouble: Unreadable, Err: err})
	}
	return found
}

// hole is the trouble of a stretch of the log that is missing. A copy syncs what it catches up with
// before the checkpoint: what it lacks behind that is what a power cut leaves.
func (f *folder) hole(first uint64) Trouble {
	if f.copy && first >= f.signed {
		return Behind
	}
	return Damaged
}

var errLost = errors.New("sealed metadata is damaged; the public leaves stand")

// claim answers a signed checkpoint that is larger than the log. If the public
// leaves are there and lead to its root, the ledger goes on behind them and only
// metadata is lost; else it goes on at the log's end and has been cut or put
// back.
func (f *folder) claim(r *replay, c Checkpoint) Finding {
	var e edge
	var err error
	for range readTries {
		e = r.edge.clone()
		if err = f.entries(e.size, c.Size, func(entry []byte) error {
			return e.add(entry, leafHash(entry), func(tile) error { return nil })
		}); err == nil || damaged(err) {
			break
		}
	}
	if err == nil && e.root() != c.Root {
		err = errTiles
	}
	if err != nil {
		return Finding{Folder: f.Name, Trouble: Short, Have: r.edge.size, Want: c.Size, Err: err}
	}
	found := Finding{Folder: f.Name, Trouble: Damaged, Have: r.edge.size, Want: c.Size, Err: errLost}
	r.edge, r.head = e, c
	return found
}

// rebuild makes everything from the sealed log, from the start: the last
// resort when tiles contradict it. For leaves whose metadata is lost the entry bundles stand in,
// if they lead to the root of the next frame. Where leaves are lost whose public part is lost too it
// fails, or, for a folder that may be shortened, ends: span is then the file that was reached.
func (f *folder) rebuild(last uint64) (r replay, span uint64, whole bool, err error) {
	var all edge
	var before *edge // what stands without the bundles, until a root proves them
	var held []tile  // made since then
	var lost []uint64
	var s frameScratch
	var entry []byte
	reached, at := r, uint64(0) // the newest file that has a frame
	for span = 0; span <= last && err == nil; span++ {
		r = replay{}
		put := func(t tile) error {
			switch {
			case before != nil:
				return collect(&held)(t)
			case span < last:
				return f.fix(t)
			}
			return collect(&r.tiles)(t)
		}
		add := func(entry []byte) error { return all.add(entry, leafHash(entry), put) }
		b, rerr := f.readSpan(span)
		if errors.Is(rerr, fs.ErrNotExist) {
			continue // its leaves are missed in the next
		}
		if err = rerr; err != nil {
			break
		}
		var end int
		end, err = walk(b, spanKey(f.key, f.keys.Origin, span), span, all.size, &s, func(i uint64, l Leaf) error {
			if i > all.size {
				e := all.clone()
				before, lost = &e, append(lost, all.size)
				if err := f.entries(all.size, i, add); err != nil {
					return fmt.Errorf("leaves %d to %d are lost: %w", e.size, i, err)
				}
			}
			entry = l.AppendPublic(entry[:0])
			return add(entry)
		}, func(off int, _ []byte, fr frame) error {
			if before != nil {
				if all.root() != fr.root {
					return fmt.Errorf("leaves from %d on are lost: %w", before.size, errTiles)
				}
				before = nil
				for _, t := range held {
					if err := put(t); err != nil {
						return err
					}
				}
				held = nil
			}
			r.index = append(r.index, mark{fr.first, int64(off)})
			r.head = Checkpoint{Origin: f.keys.Origin, Size: fr.end(), Root: fr.root}.signed(fr.sigs, f.keys)
			return nil
		})
		if r.logEnd, r.cut = int64(end), end < len(b); len(r.index) > 0 {
			reached, at = r, span
		}
	}
	short := (f.shorter || f.copy) && errors.Is(err, errTiles)
	if before != nil {
		all, lost = *before, lost[:len(lost)-1]
	}
	r, span = reached, at
	r.edge, r.lost = all, lost
	if err == nil || short {
		err = nil
		if none := all.size == 0; none && !(short && f.copy) || !none && all.root() != r.head.Root {
			err = errTiles
		}
	}
	if err != nil {
		return r, span, false, fmt.Errorf("make tiles from the sealed log: %w", err)
	}
	return r, span, !short, nil
}

// maxShorten bounds the leaves that are left off: some minutes of a large
// recorder, far more than a disk holds back. What a copy has not synced while it catches up
// is of one file of the log, and it catches up again.
const (
	maxShorten     = 1024
	maxShortenCopy = 2 * spanLeaves
)

// shorten lets the log end before leaves that are lost for good, if these lie behind what the
// checkpoint on the disk commits to and are few. It keeps a copy of the file of the log that the
// next append cuts off, and gives those behind it other names. Of a copy it is no trouble, unless
// home lacks these leaves too (Ledger.judge).
func (f *folder) shorten(span, last, size, claimed uint64) (Finding, error) {
	b, err := f.readSpan(last)
	if err != nil {
		return Finding{}, err
	}
	end := size
	for _, x := range f.frames(last, b) {
		end = max(end, x.first+uint64(len(x.hashes)))
	}
	most, trouble := uint64(maxShorten), Short
	if f.copy {
		most, trouble = maxShortenCopy, Behind
	}
	if claimed > size || end-size > most {
		return Finding{}, fmt.Errorf("%d leaves from %d on: %w", max(end, claimed)-size, size, errTiles)
	}
	if b, err = f.readSpan(span); err != nil {
		return Finding{}, err
	}
	to, err := keep(f.FS, f.at(spanPath(span)), b)
	for ; err == nil && last > span; last-- {
		if _, err = aside(f.FS, f.at(spanPath(last))); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	f.shortened = true
	return Finding{Folder: f.Name, Trouble: trouble, Have: size, Want: end, Err: fmt.Errorf("%w; the log behind them is kept: %s", errTiles, to)}, err
}

// fix writes a tile unless it is there. After a failure it is written all the
// same: what reads well may be lost on the disk (durable).
func (f *folder) fix(t tile) error {
	if f.owed {
		return f.writeTile(t)
	}
	if b, err := f.readTile(t.level, t.n, t.width); err == nil && bytes.Equal(b, t.data) {
		if t.width < tileWidth {
			return nil
		}
		name := f.at(t.path()) // there, and perhaps not durable
		f.fresh[name], f.named[path.Dir(name)] = true, true
		return f.folder(path.Dir(name))
	}
	return f.writeTile(t)
}

// keepClaim keeps the checkpoint that the folder had, if it commits to what
// the folder has no more: the one that takes its place is silent about that, and an alarm may be
// lost with the power.
func (f *folder) keepClaim() error {
	if f.claimed.Size > 0 {
		if ok, err := f.agrees(f.claimed); err == nil && !ok {
			if _, err := keep(f.FS, f.at(checkpointName), f.claimed.Note); err != nil && !errors.Is(err, errAsides) {
				return err
			}
		}
	}
	f.claimed = Checkpoint{}
	return nil
}

// agrees tells whether a checkpoint is part of the folder's history.
func (f *folder) agrees(c Checkpoint) (bool, error) {
	if c.Size > f.edge.size {
		return false, nil
	}
	root, err := f.rootAt(c.Size, f.head)
	return root == c.Root, err
}

// denied tells of checkpoints in dir that were kept because the folder did not have what
// they commit to, as long as it does not have it and they lie there; but is one that was told of already.
// dir is the folder's own, or that of one that was set aside for it, whose checkpoint counts too and of
// which nothing is removed.
func (f *folder) denied(dir string, but Checkpoint) (list []Finding) {
	names, err := f.FS.ReadDir(dir)
	if err != nil {
		return nil
	}
	own := dir == f.Dir
	for _, e := range names {
		name := path.Join(dir, e.Name())
		if !strings.HasPrefix(e.Name(), checkpointName+".damaged-") && (own || e.Name() != checkpointName) || len(list) == asides {
			continue
		}
		b, err := durable.ReadFile(f.FS, name, maxNote)
		if err != nil {
			continue
		}
		c, err := f.keys.Open(b)
		if err != nil { // it was kept for not being ours
			continue
		}
		switch ok, err := f.agrees(c); {
		case ok && err == nil: // it came back
			if own {
				_ = f.FS.Remove(name)
			}
		case c.Size == but.Size && c.Root == but.Root:
		default: // or tiles cannot be read, and nobody knows
			list = append(list, Finding{Folder: f.Name, Trouble: Short, Have: f.edge.size, Want: c.Size, Err: errors.Join(fmt.Errorf("it had signed for leaves that it has no more: %s", name), err)})
		}
	}
	return list
}

// settle makes tiles and checkpoint agree with the edge after a start or a
// failure.
func (f *folder) settle(full []tile) error {
	for _, t := range full {
		if err := f.fix(t); err != nil {
			return err
		}
		f.removePartials(t.level, t.n, 0)
	}
	for _, t := range f.edge.partials() {
		f.removePartials(t.level, t.n, t.width)
		if err := f.fix(t); err != nil {
			return err
		}
		if f.shortened { // a full one of what is cut off would be taken for it
			if err := f.FS.Remove(f.at(tileBase(t.level, t.n))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := f.keepClaim(); err != nil {
		return err
	}
	if b, err := durable.ReadFile(f.FS, f.at(checkpointName), maxNote); err != nil || !bytes.Equal(b, f.head.Note) {
		if err := f.writeCheckpoint(); err != nil {
			return err
		}
	}
	f.tell()
	return nil
}

// retile pays tiles that are owed.
func (f *folder) retile() error {
	f.owed = true
	r, ok, err := f.replay(f.view().span, true, false)
	if err == nil && (!ok || r.edge.size > f.edge.size) {
		err = errTiles
	}
	if err != nil {
		return fmt.Errorf("ledger in %s: tiles: %w", f.Name, err)
	}
	return f.settle(r.tiles)
}
