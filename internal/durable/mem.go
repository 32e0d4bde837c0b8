package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Mem is a disk in memory, as pessimistic as POSIX allows: after a Crash a
// file has the bytes of its last Sync under the name of the last SyncDir, and
// nothing else. Each operation can be made to fail (see [Rule]). Safe for many
// callers.
type Mem struct {
	mu      sync.Mutex
	root    *node    // guarded by mu, as all that follows
	moves   []move   // renames that no SyncDir made durable yet
	life    int      // files opened in an earlier life are dead
	dead    bool     // between a crash and Restart
	rules   []*Rule  //
	ops     []Op     // what was done, for golden files
	size    int64    // capacity in bytes, 0 without bound
	hung    chan any // closed to let hung operations go on
	nodeSeq uint64
	disk    Disk            // what Disk says, but for space
	locks   map[*node]*hold // by the file
}

var _ FS = (*Mem)(nil)

// A node is a file or a folder, alive and as it would be after a crash.
type node struct {
	id    uint64
	dir   bool
	perm  fs.FileMode
	mtime time.Time

	live, safe map[string]*node // a folder's

	data, durable []byte  // a file's
	dirty         []piece // parts of data that the next Sync makes durable
}

type piece struct{ from, to int64 }

// A move is a rename: both its halves become durable together.
type move struct {
	n        *node
	from, to *node // folders
	old, new string
}

// ErrCrashed is what a crashed disk says until Restart.
var ErrCrashed = errors.New("the disk is gone: machine crashed")

// NewMem returns an empty disk.
func NewMem() *Mem {
	m := &Mem{hung: make(chan any), disk: Disk{Device: 1, ID: "mem", Kind: "mem", MountPoint: true}, locks: map[*node]*hold{}}
	m.root = m.node(true, 0o700)
	return m
}

func (m *Mem) node(dir bool, perm fs.FileMode) *node {
	m.nodeSeq++
	n := &node{id: m.nodeSeq, dir: dir, perm: perm, mtime: time.Now()}
	if dir {
		n.live, n.safe = map[string]*node{}, map[string]*node{}
	}
	return n
}

// Limit sets the capacity in bytes; 0 lifts it. Writes beyond it fail with
// ENOSPC.
func (m *Mem) Limit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = bytes
}

// Pose sets what Disk says, but for the space. A new disk is a mount point of
// kind "mem" with that ID and device number 1.
func (m *Mem) Pose(d Disk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = d
}

// Crash is a power cut: everything fails until Restart.
func (m *Mem) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

// Restart ends a crash, or cuts the power shortly: what was not synced is
// gone, files that were open are dead, rules are forgotten.
func (m *Mem) Restart() { m.RestartKeeping(nil) }

// RestartKeeping is Restart on a disk that, as real ones do, kept some of what
// was not synced: each name and each written piece by chance; pieces that are
// lost inside a longer file read as zeros.
func (m *Mem) RestartKeeping(chance *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if chance != nil {
		// A prefix, as a journal would; the halves of a rename stay together.
		kept := chance.IntN(len(m.moves) + 1)
		for _, v := range m.moves[:kept] {
			m.settle(v)
		}
		for _, v := range m.moves[kept:] {
			if v.to.live[v.new] = v.to.safe[v.new]; v.to.live[v.new] == nil { // what it replaced is there still
				delete(v.to.live, v.new)
			}
			if v.from.safe[v.old] == v.n {
				v.from.live[v.old] = v.n
			}
		}
	}
	m.moves = nil
	forget(m.root, chance, map[*node]bool{})
	m.life++
	m.dead = false
	clear(m.locks)
	m.rules = nil
	close(m.hung)
	m.hung = make(chan any)
}

func forget(n *node, chance *rand.Rand, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	if !n.dir {
		if chance != nil {
			n.dirty = slices.DeleteFunc(n.dirty, func(piece) bool { return chance.IntN(2) == 0 })
			n.sync()
		}
		n.data, n.dirty = slices.Clone(n.durable), nil
		return
	}
	if chance != nil {
		for _, name := range slices.Sorted(maps.Keys(n.live)) {
			if n.safe[name] == nil && chance.IntN(2) == 0 {
				n.safe[name] = n.live[name]
			}
		}
		for _, name := range slices.Sorted(maps.Keys(n.safe)) {
			if n.live[name] == nil && chance.IntN(2) == 0 {
				delete(n.safe, name)
			}
		}
	}
	n.live = maps.Clone(n.safe)
	for _, name := range slices.Sorted(maps.Keys(n.live)) {
		forget(n.live[name], chance, seen)
	}
}

// sync makes the dirty parts durable, and the size.
func (n *node) sync() {
	if int64(len(n.durable)) > int64(len(n.data)) {
		n.durable = n.durable[:len(n.data)]
	}
	for _, p := range n.dirty {
		p.to = min(p.to, int64(len(n.data)))
		if p.from >= p.to {
			continue
		}
		if grow := p.to - int64(len(n.durable)); grow > 0 {
			n.durable = append(n.durable, make([]byte, grow)...)
		}
		copy(n.durable[p.from:p.to], n.data[p.from:p.to])
	}
	n.dirty = nil
}

// abandon is a failed sync: the dirty parts count as written and are not.
func (n *node) abandon() {
	if grow := len(n.data) - len(n.durable); grow > 0 {
		n.durable = append(n.durable, make([]byte, grow)...)
	}
	n.dirty = nil
}

func (m *Mem) settle(v move) {
	if v.from.safe[v.old] == v.n {
		delete(v.from.safe, v.old)
	}
	v.to.safe[v.new] = v.n
}

// find walks to name. Called with mu held.
func (m *Mem) find(name string) *node {
	n := m.root
	for _, part := range strings.Split(path.Clean("/"+name), "/") {
		if part == "" {
			continue
		}
		if n == nil || !n.dir {
			return nil
		}
		n = n.live[part]
	}
	return n
}

// place returns the folder and the last element of name.
func (m *Mem) place(op, name string) (*node, string, error) {
	clean := path.Clean("/" + name)
	dir := m.find(path.Dir(clean))
	if dir == nil || !dir.dir {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return dir, path.Base(clean), nil
}

func (m *Mem) used() (total int64) {
	seen := map[*node]bool{}
	var walk func(*node)
	walk = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		total += int64(len(n.data))
		for _, c := range n.live {
			walk(c)
		}
	}
	walk(m.root)
	return total
}

// OpenFile opens or makes a file; folders open for reading.
func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	var h *handle
	kind := OpOpen
	if flag&os.O_CREATE != 0 {
		kind = OpCreate
	}
	err := m.do(Op{Kind: kind, Name: name}, func() error {
		dir, base, err := m.place("open", name)
		if err != nil {
			return err
		}
		n := dir.live[base]
		if path.Clean("/"+name) == "/" {
			n = m.root
		}
		switch {
		case n == nil && flag&os.O_CREATE == 0:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case n != nil && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
		case n != nil && n.dir && flag&(os.O_WRONLY|os.O_RDWR) != 0:
			return &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
		case n == nil:
			n = m.node(false, perm)
			dir.live[base] = n
		case flag&os.O_TRUNC != 0:
			n.data, n.dirty = nil, nil
		}
		h = &handle{m: m, n: n, name: name, life: m.life, flag: flag}
		return nil
	})
	if h == nil && err == nil { // a lost create: a file that no folder knows
		h = &handle{m: m, n: m.node(false, perm), name: name, flag: flag, life: m.life}
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Rename moves a file or a folder.
func (m *Mem) Rename(oldName, newName string) error {
	return m.do(Op{Kind: OpRename, Name: oldName, To: newName}, func() error {
		from, old, err := m.place("rename", oldName)
		if err != nil {
			return err
		}
		to, new, err := m.place("rename", newName)
		if err != nil {
			return err
		}
		n := from.live[old]
		if n == nil {
			return &fs.PathError{Op: "rename", Path: oldName, Err: fs.ErrNotExist}
		}
		if from.live[old] == to.live[new] {
			return nil // as POSIX: two names of one file stay
		}
		delete(from.live, old)
		to.live[new] = n
		m.moves = append(m.moves, move{n, from, to, old, new})
		return nil
	})
}

// Remove takes a name away.
func (m *Mem) Remove(name string) error {
	return m.do(Op{Kind: OpRemove, Name: name}, func() error {
		dir, base, err := m.place("remove", name)
		if err != nil {
			return err
		}
		n := dir.live[base]
		switch {
		case n == nil:
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		case n.dir && len(n.live) > 0:
			return &fs.PathError{Op: "remove", Path: name, Err: unix.ENOTEMPTY}
		}
		delete(dir.live, base)
		return nil
	})
}

// Mkdir makes a folder.
func (m *Mem) Mkdir(name string, perm fs.FileMode) error {
	return m.do(Op{Kind: OpMkdir, Name: name}, func() error {
		dir, base, err := m.place("mkdir", name)
		if err != nil {
			return err
		}
		if dir.live[base] != nil || path.Clean("/"+name) == "/" {
			return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
		}
		dir.live[base] = m.node(true, perm)
		return nil
	})
}

// SyncDir makes the names in a folder durable, and the renames into and out
// of it on both sides, as journals do.
func (m *Mem) SyncDir(name string) error {
	return m.do(Op{Kind: OpSyncDir, Name: name}, func() error {
		n := m.find(name)
		if n == nil || !n.dir {
			return &fs.PathError{Op: "sync", Path: name, Err: fs.ErrNotExist}
		}
		m.syncDir(n)
		return nil
	})
}

func (m *Mem) syncDir(n *node) {
	m.moves = slices.DeleteFunc(m.moves, func(v move) bool {
		if v.from == n || v.to == n {
			m.settle(v)
			return true
		}
		return false
	})
	n.safe = maps.Clone(n.live)
}

// ReadDir lists a folder.
func (m *Mem) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = m.do(Op{Kind: OpReadDir, Name: name}, func() error {
		n := m.find(name)
		if n == nil || !n.dir {
			return &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
		}
		for _, base := range slices.Sorted(maps.Keys(n.live)) {
			list = append(list, fs.FileInfoToDirEntry(n.live[base].info(base)))
		}
		return nil
	})
	return list, err
}

// Stat tells about a name.
func (m *Mem) Stat(name string) (info fs.FileInfo, err error) {
	err = m.do(Op{Kind: OpStat, Name: name}, func() error {
		n := m.find(name)
		if n == nil {
			return &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
		}
		info = n.info(path.Base(name))
		return nil
	})
	return info, err
}

// Disk tells the capacity set by Limit, or a terabyte.
func (m *Mem) Disk(name string) (d Disk, err error) {
	err = m.do(Op{Kind: OpDisk, Name: name}, func() error {
		if m.find(name) == nil {
			return &fs.PathError{Op: "statfs", Path: name, Err: fs.ErrNotExist}
		}
		d = m.disk
		d.Total = m.size
		if d.Total == 0 {
			d.Total = 1 << 40
		}
		d.Free = max(0, d.Total-m.used())
		return nil
	})
	return d, err
}

// Sub returns a view of a folder. Names in the log of operations are whole.
func (m *Mem) Sub(dir string) (Root, error) {
	if info, err := m.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	return view{m, dir}, nil
}

type view struct {
	m   *Mem
	dir string
}

func (v view) at(name string) string { return path.Join(v.dir, path.Clean("/"+name)) }

func (v view) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return v.m.OpenFile(v.at(name), flag, perm)
}
func (v view) Rename(o, n string) error                   { return v.m.Rename(v.at(o), v.at(n)) }
func (v view) Remove(name string) error                   { return v.m.Remove(v.at(name)) }
func (v view) Mkdir(name string, p fs.FileMode) error     { return v.m.Mkdir(v.at(name), p) }
func (v view) ReadDir(name string) ([]fs.DirEntry, error) { return v.m.ReadDir(v.at(name)) }
func (v view) Stat(name string) (fs.FileInfo, error)      { return v.m.Stat(v.at(name)) }
func (v view) SyncDir(name string) error                  { return v.m.SyncDir(v.at(name)) }
func (v view) Disk(name string) (Disk, error)             { return v.m.Disk(v.at(name)) }
func (v view) Sub(dir string) (Root, error)               { return v.m.Sub(v.at(dir)) }
func (v view) Close() error                               { return nil }

// Lock makes the file LOCK and holds it: any two views are as two processes.
func (v view) Lock() (io.Closer, error) {
	f, err := v.OpenFile(LockName, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = v.OpenFile(LockName, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if errors.Is(err, unix.EISDIR) {
		err = &fs.PathError{Op: "open", Path: v.at(LockName), Err: ErrSpecial}
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", v.dir, err)
	}
	f.Close()
	h := &hold{m: v.m}
	err = v.m.do(Op{Kind: OpLock, Name: v.at(LockName)}, func() error {
		if h.n = v.m.find(v.at(LockName)); v.m.locks[h.n] != nil {
			return ErrLocked
		}
		v.m.locks[h.n] = h
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", v.dir, err)
	}
	return h, nil
}

// A hold is a lock on a file of one life of the disk.
type hold struct {
	m *Mem
	n *node
}

func (h *hold) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.m.locks[h.n] == h {
		delete(h.m.locks, h.n)
	}
	return nil
}

type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (n *node) info(name string) fs.FileInfo {
	i := info{name: name, size: int64(len(n.data)), mode: n.perm, mtime: n.mtime}
	if n.dir {
		i.mode |= fs.ModeDir
	}
	return i
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

var errClosed = fmt.Errorf("mem: %w", fs.ErrClosed)

// A handle is an open file of one life of the disk.
type handle struct {
	m    *Mem
	n    *node
	name string
	flag int
	life int
	at   int64 // guarded by m.mu
	shut bool  // guarded by m.mu
}

func (h *handle) Name() string { return h.name }

func (h *handle) do(kind Kind, off, size int64, apply func() error) error {
	return h.m.do(Op{Kind: kind, Name: h.name, Off: off, Len: size}, func() error {
		if h.shut || h.life != h.m.life {
			return &fs.PathError{Op: string(kind), Path: h.name, Err: errClosed}
		}
		return apply()
	})
}

func (h *handle) Read(b []byte) (n int, err error) {
	err = h.do(OpRead, -1, int64(len(b)), func() error {
		if h.at >= int64(len(h.n.data)) {
			return io.EOF
		}
		n = copy(b, h.n.data[h.at:])
		h.at += int64(n)
		return nil
	})
	return n, err
}

func (h *handle) ReadAt(b []byte, off int64) (n int, err error) {
	err = h.do(OpRead, off, int64(len(b)), func() error {
		if off < 0 || off > int64(len(h.n.data)) {
			return io.EOF
		}
		if n = copy(b, h.n.data[off:]); n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (h *handle) Write(b []byte) (int, error) {
	h.m.mu.Lock()
	off := h.at
	if h.flag&os.O_APPEND != 0 {
		off = int64(len(h.n.data))
	}
	h.at = off + int64(len(b))
	h.m.mu.Unlock()
	return h.WriteAt(b, off)
}

func (h *handle) WriteAt(b []byte, off int64) (n int, err error) {
	err = h.do(OpWrite, off, int64(len(b)), func() error {
		if h.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
			return &fs.PathError{Op: "write", Path: h.name, Err: unix.EBADF}
		}
		to := off + int64(len(b))
		if grow := to - int64(len(h.n.data)); grow > 0 {
			if h.m.size > 0 && h.m.used()+grow > h.m.size {
				return &fs.PathError{Op: "write", Path: h.name, Err: unix.ENOSPC}
			}
			h.n.data = append(h.n.data, make([]byte, grow)...)
		}
		n = copy(h.n.data[off:], b)
		h.n.dirty = append(h.n.dirty, piece{off, to})
		h.n.mtime = time.Now()
		return nil
	})
	if err == nil {
		n = len(b) // also when the write was lost
	}
	return n, err
}

func (h *handle) Truncate(size int64) error {
	return h.do(OpTruncate, size, 0, func() error {
		if grow := size - int64(len(h.n.data)); grow > 0 {
			h.n.data = append(h.n.data, make([]byte, grow)...)
			h.n.dirty = append(h.n.dirty, piece{size - grow, size})
		}
		h.n.data = h.n.data[:size]
		return nil
	})
}

func (h *handle) Stat() (i fs.FileInfo, err error) {
	err = h.do(OpStat, 0, 0, func() error {
		i = h.n.info(path.Base(h.name))
		return nil
	})
	return i, err
}

func (h *handle) Sync() error {
	err := h.do(OpSync, 0, 0, func() error {
		h.n.sync()
		return nil
	})
	if err != nil && !errors.Is(err, ErrCrashed) {
		h.m.mu.Lock()
		h.n.abandon()
		h.m.mu.Unlock()
	}
	return err
}

func (h *handle) Forget() {}

func (h *handle) Syncfs() error {
	all := func(file func(*node)) {
		for _, v := range h.m.moves {
			h.m.settle(v)
		}
		h.m.moves = nil
		seen := map[*node]bool{}
		var walk func(*node)
		walk = func(n *node) {
			if seen[n] {
				return
			}
			seen[n] = true
			if !n.dir {
				file(n)
				return
			}
			n.safe = maps.Clone(n.live)
			for _, c := range n.live {
				walk(c)
			}
		}
		walk(h.m.root)
	}
	err := h.do(OpSyncfs, 0, 0, func() error {
		all((*node).sync)
		return nil
	})
	if err != nil && !errors.Is(err, ErrCrashed) {
		h.m.mu.Lock()
		all((*node).abandon)
		h.m.mu.Unlock()
	}
	return err
}

func (h *handle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.shut {
		return errClosed
	}
	h.shut = true
	return nil
}
