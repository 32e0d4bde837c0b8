package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"sync"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

// A Folder is where the ledger or a copy of it lies.
type Folder struct {
	FS   durable.FS
	Dir  string // made when missing
	Name string // for findings: "system", or the volume's id
}

// A folder is the ledger in one Folder: the sealed log, which is what counts,
// and the tiles and the checkpoint, which are made from it. One caller at a
// time, but for view.
type folder struct {
	Folder
	key  seal.Key // purpose key; each file of the log has its own below it
	keys PublicKeys

	edge  edge            // what the log says
	head  Checkpoint      // at edge.size
	tiled uint64          // size up to which tiles and checkpoint are written
	owed  bool            // writing or syncing tiles failed: retile
	log   durable.File    // the file of the log that is appended to; nil: open it first
	fresh map[string]bool // full tiles that were not synced
	named map[string]bool // folders with names that were not synced
	known map[string]bool // folders that are there; nil: not loaded

	lost   []uint64 // first leaves of stretches whose sealed metadata load did not find
	torn   bool     // there are bytes behind the last good frame
	made   string   // the file of the log that was begun last
	broken error    // why open failed

	copy      bool // it can catch up again
	unsure    bool // its checkpoint is there, and not to be believed or read
	shorter   bool // load may leave off leaves that nobody signed for on the disk
	shortened bool // it goes on before leaves that it had and lost

	signed  uint64     // leaves that the checkpoint on the disk committed to when it was loaded
	claimed Checkpoint // the one that the folder had, until it is kept or found to be true

	mu    sync.Mutex
	seen  view       // guarded by mu
	shown Checkpoint // guarded by mu; the newest whose tiles are written
}

// A view is what readers may look at while the writer goes on.
type view struct {
	head   Checkpoint
	span   uint64 // file of the log that was written last
	logEnd int64  // its good bytes
	index  []mark // its frames
}

// A mark says where a frame starts.
type mark struct {
	first uint64
	off   int64
}

func (f *folder) view() view {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

func (f *folder) at(name string) string { return path.Join(f.Dir, name) }

// commit makes one frame part of the log. It is durable when sync is set.
//
//  1. Before the first frame of a new file: the full tiles made from earlier files, and their names, are synced. So a
//     crash costs only tiles that recovery makes again from the newest file, in a time that does not grow with the ledger.
//  2. The frame is written behind the last good one. A crash here leaves a torn frame: load does not count it and the
//     next commit cuts it off.
//  3. The log is synced: the leaves and their signed checkpoint are in the ledger. A crash later leaves tiles behind the
//     log: load writes them.
//
// After an error nothing has changed for us; the next commit writes over what there may be.
func (f *folder) commit(raw []byte, first uint64, head Checkpoint, next edge, sync bool) (err error) {
	span, end, index := f.seen.span, f.seen.logEnd, f.seen.index
	defer func() {
		if err != nil && f.log != nil { // its state is unknown: open it anew
			f.log.Close()
			f.log = nil
		}
	}()
	out := raw
	if to := first / spanLeaves; to != span || end == 0 {
		if f.log != nil {
			if err := f.log.Sync(); err != nil {
				return err
			}
		}
		if err := f.syncTiles(); err != nil {
			return err
		}
		if err := f.openLog(to, true); err != nil {
			return err
		}
		span, end, index = to, fileHead, nil
		out = append(appendFileHead(make([]byte, 0, fileHead+len(raw)), to), raw...)
	} else if f.log == nil {
		if err := f.openLog(span, false); err != nil {
			return err
		}
		if err := f.log.Truncate(end); err != nil {
			return err
		}
	}
	if _, err := f.log.WriteAt(out, end+int64(len(raw)-len(out))); err != nil {
		return err
	}
	if sync {
		if err := f.log.Sync(); err != nil {
			return err
		}
	}
	f.edge, f.head = next, head
	f.publish(view{head, span, end + int64(len(raw)), append(index, mark{first, end})})
	return nil
}

// told returns the newest checkpoint whose tiles can be read.
func (f *folder) told() Checkpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shown
}

// tell says that tiles and checkpoint are written up to the edge.
func (f *folder) tell() {
	f.tiled, f.owed = f.edge.size, false
	f.mu.Lock()
	f.shown = f.head
	f.mu.Unlock()
}

func (f *folder) publish(v view) {
	f.mu.Lock()
	f.seen = v
	f.mu.Unlock()
}

// openLog opens a file of the log, or makes a new one with a durable name.
func (f *folder) openLog(span uint64, fresh bool) (err error) {
	if f.log != nil {
		f.log.Close()
		f.log = nil
	}
	flag := os.O_RDWR | os.O_CREATE
	if fresh {
		flag |= os.O_TRUNC
		if err := f.clear(f.at(spanPath(span))); err != nil {
			return err
		}
		if dir := f.at(spanDir(span)); !f.known[dir] {
			if err := durable.MkdirAll(f.FS, dir); err != nil {
				return err
			}
			f.known[dir] = true
		}
	}
	if f.log, err = f.FS.OpenFile(f.at(spanPath(span)), flag, 0o600); err != nil {
		return err
	}
	if fresh {
		return f.FS.SyncDir(f.at(spanDir(span)))
	}
	return nil
}

// clear makes room for a new file of the log. What is there is a file that we
// began and could not write, or one in which no frame was found: that is kept.
func (f *folder) clear(name string) error {
	if name == f.made {
		return nil
	}
	info, err := f.FS.Stat(name)
	if err == nil && (info.IsDir() || info.Size() > fileHead) {
		_, err = aside(f.FS, name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.made = name
	return nil
}

// writeTiles writes full tiles, takes the partial ones away that they replace,
// writes the partial tiles of the edge and then the checkpoint. Nothing is
// synced: all of it can be made again from the log.
func (f *folder) writeTiles(full []tile) (err error) {
	defer func() { f.owed = err != nil }()
	for _, t := range full {
		if err := f.writeTile(t); err != nil {
			return err
		}
		f.removePartials(t.level, t.n, 0)
	}
	for _, t := range f.edge.partials() {
		shift := tileHeight * max(t.level, 0)
		if t.level > 0 && !f.owed && f.tiled>>shift == f.edge.size>>shift {
			continue
		}
		if err := f.writeTile(t); err != nil {
			return err
		}
	}
	if err := f.writeCheckpoint(); err != nil {
		return err
	}
	f.tell()
	return nil
}

func (f *folder) writeTile(t tile) error {
	name := f.at(t.path())
	dir := path.Dir(name)
	if err := f.folder(dir); err != nil {
		return err
	}
	if t.width == tileWidth {
		f.fresh[name], f.named[dir] = true, true
	}
	return f.write(name, t.data)
}

func (f *folder) write(name string, data []byte) error {
	w, err := f.FS.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close())
}

// folder makes a folder whose name becomes durable by syncTiles.
func (f *folder) folder(dir string) error {
	if f.known[dir] {
		return nil
	}
	err := f.FS.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.folder(path.Dir(dir)); err != nil {
			return err
		}
		err = f.FS.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f.known[dir], f.named[path.Dir(dir)] = true, true
	return nil
}

// syncTiles makes the full tiles durable that were written since the last
// call.
func (f *folder) syncTiles() error {
	if f.owed {
		return fmt.Errorf("ledger in %s: tiles are owed", f.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(f.fresh)) {
		t, err := f.FS.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(t.Sync(), t.Close()); err != nil {
			f.owed = true // what was lost by the failure is written anew
			return err
		}
		delete(f.fresh, name)
	}
	for _, dir := range slices.Sorted(maps.Keys(f.named)) {
		if err := f.FS.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(f.named, dir)
	}
	return nil
}

// removePartials takes away the partial tiles wider than keep, and their
// folder when none is kept. Failing leaves garbage that harms nobody.
func (f *folder) removePartials(level int, n uint64, keep int) {
	dir := f.at(tileBase(level, n) + ".p")
	list, err := f.FS.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range list {
		if width(e.Name()) > keep {
			_ = f.FS.Remove(path.Join(dir, e.Name()))
		}
	}
	if keep == 0 {
		_ = f.FS.Remove(dir)
		delete(f.known, dir)
		delete(f.named, dir)
	}
}

// width reads the name of a partial tile; anything else counts as too wide.
func width(name string) int {
	n := 0
	for _, c := range name {
		if c < '0' || c > '9' || n > tileWidth {
			return tileWidth
		}
		n = n*10 + int(c-'0')
	}
	return n
}

const checkpointName = "checkpoint"

func (f *folder) writeCheckpoint() error {
	if f.head.Note == nil {
		return nil
	}
	name := f.at(checkpointName)
	if err := f.write(name+".tmp", f.head.Note); err != nil {
		return err
	}
	return f.FS.Rename(name+".tmp", name)
}

// readTries is how often a read is tried that decides whether leaves are given up.
const readTries = 3

// readCheckpoint returns the checkpoint that lies in the folder: zero when
// there is none, or none that survived a power cut.
func (f *folder) readCheckpoint() (Checkpoint, error) {
	var b []byte
	var err error
	for range readTries {
		if b, err = durable.ReadFile(f.FS, f.at(checkpointName), maxNote); err == nil || errors.Is(err, fs.ErrNotExist) || damaged(err) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.Trim(b, "\x00")) == 0 {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return f.keys.Open(b)
}

// readTile returns at least want hashes, or entries, of a tile: from the
// partial tile of that width, from the full one, or from a wider partial one.
func (f *folder) readTile(level int, n uint64, want int) (b []byte, err error) {
	for range 4 { // between looking and reading the writer may have put a wider one in its place
		if b, err = f.tryTile(level, n, want); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return b, err
}

func (f *folder) tryTile(level int, n uint64, want int) ([]byte, error) {
	limit := int64(tileSize)
	if level == entries {
		limit = tileWidth * (2 + leafOverhead + MaxDigests*32)
	}
	b, err := durable.ReadFile(f.FS, f.at(tilePath(level, n, want)), limit)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || want == tileWidth {
		return b, err
	}
	if b, err := durable.ReadFile(f.FS, f.at(tileBase(level, n)), limit); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	list, rerr := f.FS.ReadDir(f.at(tileBase(level, n) + ".p"))
	if rerr != nil {
		return nil, err
	}
	for _, e := range list {
		if w := width(e.Name()); w > want && w < tileWidth {
			return durable.ReadFile(f.FS, f.at(tilePath(level, n, w)), limit)
		}
	}
	return nil, err
}

// lastSpan finds the newest file of the log.
func (f *folder) lastSpan() (span uint64, ok bool, err error) {
	dirs, err := f.FS.ReadDir(f.at("sealed"))
	if err != nil {
		return 0, false, err
	}
	for _, d := range slices.Backward(dirs) {
		var high uint64
		if n, err := fmt.Sscanf(d.Name(), "%06x", &high); n != 1 || err != nil || !d.IsDir() {
			continue
		}
		files, err := f.FS.ReadDir(f.at("sealed/" + d.Name()))
		if err != nil {
			return 0, false, err
		}
		for _, file := range slices.Backward(files) {
			var low uint64
			_, _ = fmt.Sscanf(file.Name(), "%02x.vlog", &low)
			if span := high<<8 | low; "sealed/"+d.Name()+"/"+file.Name() == spanPath(span) { // and not what is kept beside it
				return span, true, nil
			}
		}
	}
	return 0, false, nil
}

func (f *folder) close() error {
	if f.log == nil {
		return nil
	}
	err := f.log.Close()
	f.log = nil
	return err
}
