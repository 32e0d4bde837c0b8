// Package audit is the log of security events: who did what to what, when,
// and how it ended.
//
//	everything -> (audit) -> files of sealed, chained records
//	              store's beat: Flush, then the head as a leaf of the ledger
//
// Records are numbered without holes and chained by hash; the ledger anchors
// the chain's head, so a log that was altered, cut or deleted contradicts it. There
// is no way to change or remove a record; the oldest files go when the log has
// its full size, which is recorded first.
//
// Record never touches the disk unless its queue is full, so that no slow
// disk slows a camera. It knows nothing of what the actions mean.
package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/seal"
)

// Options of a log. The zero value has good ones.
type Options struct {
	Now     func() time.Time // time.Now
	Clock   func() string    // state of the clock, for records; "unknown"
	Trouble func(error)      // told once when writing starts to fail, and with nil when it goes again; not called under a lock
	File    int64            // bytes, a file is begun anew beyond; 4 MiB
	Total   int64            // bytes, the oldest files go beyond: the declared capacity; 16 GiB
	Queue   int              // records in memory at most; 65536
	Bytes   int              // of records in memory at most; 32 MiB
}

// Errors of a log.
var (
	ErrFull   = errors.New("audit log: no room in memory, and the disk does not take more")
	ErrClosed = errors.New("audit log is closed")
)

// A Log is safe for many callers.
type Log struct {
	fs   durable.FS
	dir  string
	key  seal.Key
	opts Options

	io    sync.Mutex   // held while writing; guards what follows
	file  durable.File // nil: open it first
	first uint64       // of the newest file; 0: there is none
	good  int64        // its good bytes
	list  []uint64     // all files
	sizes map[uint64]int64
	head  chain // after written

	loaded uint64 // the last record that Open found
	end    chain  // after it

	mu      sync.Mutex
	seq     uint64   // guarded by mu: the last number given
	written uint64   // guarded by mu: the last record that is durable
	durable chain    // guarded by mu: its head
	queue   []queued // guarded by mu: records after written
	bytes   int      // guarded by mu: of the queue
	since   uint64   // guarded by mu: first record that no anchor has
	lost    uint64   // guarded by mu: records there was no room for
	ends    map[uint64]span
	failing bool  // guarded by mu
	closed  bool  // guarded by mu
	next    *turn // guarded by mu: the writing that Sync waits for; nil: none was asked for
	fresh   bool  // guarded by mu: nothing was anchored since Open
}

type queued struct {
	r    Record
	json []byte
}

// A span says what times a closed file has, to skip it when reading.
type span struct{ from, to int64 }

// Open opens the log in dir, or begins one. A torn end, which a power cut
// leaves, is cut off by the next Flush. A newer Vigil's is refused with durable.ErrNewer. Its cost is that of the newest file.
func Open(fsys durable.FS, dir string, key seal.Key, opts Options) (*Log, error) {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&opts.File, 4<<20)
	def(&opts.Total, 16<<30)
	if opts.Queue <= 0 {
		opts.Queue = 64 << 10
	}
	if opts.Bytes <= 0 {
		opts.Bytes = 32 << 20
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Clock == nil {
		opts.Clock = func() string { return "unknown" }
	}
	if opts.Trouble == nil {
		opts.Trouble = func(error) {}
	}
	l := &Log{fs: fsys, dir: dir, key: key, opts: opts, sizes: map[uint64]int64{}, ends: map[uint64]span{}, fresh: true}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return l, nil
}

// Resume compares the log, as Open found it, with the newest batch that the
// ledger has. Where it is shorter, or ends with another head, its end was cut off, lost or put back to
// an older state: ok is false, and the numbers go on behind the batch, so that nothing
// new passes for what is gone.
//
//vigil:clause 5.2.7.1
func (l *Log) Resume(newest Batch) (gone Finding, ok bool) {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded > newest.Last || l.loaded == newest.Last && l.end == chain(newest.Head) {
		return gone, true
	}
	gone = Finding{Truncated, min(l.loaded+1, newest.Last), newest.Last, "the ledger has more"}
	if l.written > l.loaded {
		return gone, false // too late for the numbers
	}
	l.seq, l.written = newest.Last, newest.Last
	l.head, l.durable, l.since, l.fresh = newest.Head, newest.Head, newest.Last+1, false
	l.good = l.opts.File // what comes next begins a file
	queue := l.queue
	l.queue, l.bytes = nil, 0
	for _, q := range queue {
		l.put(q.r)
	}
	return gone, false
}

func (l *Log) load() (err error) {
	if err := durable.MkdirAll(l.fs, l.dir); err != nil {
		return err
	}
	if l.list, err = files(l.fs, l.dir); err != nil {
		return err
	}
	for _, first := range l.list {
		if info, err := l.fs.Stat(path.Join(l.dir, fileName(first))); err == nil {
			l.sizes[first] = info.Size()
		}
	}
	var aside []string
	for i := len(l.list) - 1; i >= 0; i-- {
		first := l.list[i]
		name := path.Join(l.dir, fileName(first))
		b, err := readFile(l.fs, l.dir, first)
		if err != nil {
			return err
		}
		before, err := parseFileHead(b, first)
		if errors.Is(err, durable.ErrNewer) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err != nil { // made and not written by a crash, or worse: kept aside, its records are missed by Verify
			aside = append(aside, name)
			continue
		}
		l.seq, l.head = first-1, before
		damaged := false
		n, err := walk(b, l.key, first, func(f frame) error {
			damaged = damaged || f.first != l.seq+1
			if f.first > l.seq {
				l.seq, l.head = f.first+uint64(f.count)-1, f.after
			}
			return nil
		})
		if err != nil {
			return err
		}
		l.list, l.first, l.good = l.list[:i+1], first, int64(n)
		if damaged { // leave it as it is
			l.good = l.opts.File
		}
		break
	}
	if l.first == 0 {
		l.list = nil
	}
	for _, name := range aside {
		if _, err := durable.Aside(l.fs, name); err != nil {
			return err
		}
	}
	l.written, l.durable, l.since = l.seq, l.head, l.seq+1
	l.loaded, l.end = l.seq, l.head
	return nil
}

// Record queues a record and returns its number. It is durable after the next
// Flush, at most a second later; callers that must not go on without it use Durably. Time, clock state and number are set here when they are missing, and
// texts are cleaned. When the queue is full Record writes; when that fails too it
// returns ErrFull, and how many records were lost becomes a record itself.
//
//vigil:clause 5.2.7.1 5.2.7.2
func (l *Log) Record(r Record) (seq uint64, err error) {
	if r.At.IsZero() {
		r.At = l.opts.Now()
	}
	if r.Clock == "" {
		r.Clock = l.opts.Clock()
	}
	r = r.cleaned()
	for try := 0; ; try++ {
		seq, err = l.enqueue(r)
		if !errors.Is(err, ErrFull) || try > 0 {
			break
		}
		if l.io.TryLock() { // somebody else who writes may hang: do not wait for him
			l.flush()
			l.io.Unlock()
		}
	}
	if errors.Is(err, ErrFull) {
		l.mu.Lock()
		l.lost++
		l.mu.Unlock()
		l.trouble(err)
	}
	return seq, err
}

func (l *Log) enqueue(r Record) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	if len(l.queue) >= l.opts.Queue || l.bytes >= l.opts.Bytes {
		return 0, ErrFull
	}
	if l.lost > 0 && r.Action != LogLost {
		gone := Record{At: r.At, Clock: r.Clock, Actor: actor.Of("audit", ""), Action: LogLost, Result: Failed, Reason: "queue-full",
			Detail: map[string]string{"records": strconv.FormatUint(l.lost, 10)}}
		l.lost = 0
		l.put(gone.cleaned())
	}
	return l.put(r), nil
}

// put numbers a record. Called with mu held.
func (l *Log) put(r Record) uint64 {
	l.seq++
	r.Seq = l.seq
	json := r.AppendJSON(nil)
	l.queue = append(l.queue, queued{r, json})
	l.bytes += len(json) + 4
	return r.Seq
}

// A Batch is what an audit leaf of the ledger anchors. It converts to
// ledger.AuditMeta.
type Batch struct {
	First, Last uint64
	Head        [32]byte
}

// Flush makes all queued records durable. The batch has all records since the
// last one that Anchored confirmed; ok tells whether there are any. After an error
// the records stay queued and the batch has what is durable.
func (l *Log) Flush() (b Batch, ok bool, err error) {
	l.io.Lock()
	defer l.io.Unlock()
	err = l.flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	b = Batch{First: l.since, Last: l.written, Head: l.durable}
	if l.fresh && l.written > 0 && b.First > b.Last { // what a crash left without an anchor
		b.First = b.Last
	}
	return b, b.First <= b.Last, err
}

// Anchored says that a batch is in the ledger.
func (l *Log) Anchored(b Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = max(l.since, b.Last+1)
	l.fresh = false
}

// flush writes what is queued. Called with io held.
//
//  1. The records are sealed as one frame; the queue keeps them.
//  2. The frame is written behind the last good one and synced. A crash here leaves a torn frame: Open does not count
//     it. After a failure the file is opened anew and cut at the last good frame, and the records wait for the next Flush.
//  3. The queue lets them go.
func (l *Log) flush() error {
	l.mu.Lock()
	n := len(l.queue)
	first := l.written + 1
	batch := l.queue[:n:n]
	l.mu.Unlock()
	if n == 0 {
		return nil
	}
	head, plain := l.head, []byte(nil)
	for _, q := range batch {
		head = head.next(q.json)
		plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(q.json))), q.json...)
	}
	err := l.write(first, n, head, plain)
	if err != nil {
		if l.file != nil {
			l.file.Close()
			l.file = nil
		}
		l.trouble(err)
		return fmt.Errorf("write audit log: %w", err)
	}
	l.head = head
	l.mu.Lock()
	l.written, l.durable = first+uint64(n)-1, head
	l.queue = append([]queued(nil), l.queue[n:]...)
	l.bytes = 0
	for _, q := range l.queue {
		l.bytes += len(q.json) + 4
	}
	l.mu.Unlock()
	l.trouble(nil)
	l.prune()
	return nil
}

func (l *Log) write(first uint64, count int, after chain, plain []byte) (err error) {
	name := path.Join(l.dir, fileName(l.first))
	var out []byte
	at, begin := l.good, l.first == 0 || l.good >= l.opts.File
	if begin {
		if l.file != nil {
			if err := l.file.Close(); err != nil {
				return err
			}
			l.file = nil
		}
		name = path.Join(l.dir, fileName(first))
		out, at = appendFileHead(nil, first, l.head), 0
		if l.file, err = l.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
	} else if l.file == nil {
		if l.file, err = l.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
		if err := l.file.Truncate(at); err != nil {
			return err
		}
	}
	in := l.first
	if begin {
		in = first
	}
	out = appendFrame(out, fileKey(l.key, in), first, count, after, plain)
	if _, err := l.file.WriteAt(out, at); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	if begin {
		l.first = first
		l.mu.Lock()
		l.list = append(slices.Clone(l.list), first)
		l.mu.Unlock()
	}
	l.good = at + int64(len(out))
	l.sizes[l.first] = l.good
	return nil
}

// trouble tells of a failure, or that it is over, once.
func (l *Log) trouble(err error) {
	l.mu.Lock()
	tell := l.failing != (err != nil)
	l.failing = err != nil
	l.mu.Unlock()
	if tell {
		l.opts.Trouble(err)
	}
}

// prune removes the oldest files when the log has its full size, after it has
// recorded that.
//
//vigil:clause 5.2.7.1
func (l *Log) prune() {
	total := int64(0)
	for _, n := range l.sizes {
		total += n
	}
	for total > l.opts.Total && len(l.list) > 1 {
		oldest, next := l.list[0], l.list[1]
		r := Record{At: l.opts.Now(), Clock: l.opts.Clock(), Actor: actor.Of("audit", ""), Action: LogPrune, Object: fileName(oldest),
			Detail: map[string]string{"through": strconv.FormatUint(next-1, 10)}}
		l.mu.Lock()
		l.put(r.cleaned())
		l.mu.Unlock()
		total -= l.sizes[oldest]
		delete(l.sizes, oldest)
		l.mu.Lock()
		l.list = slices.Clone(l.list[1:])
		delete(l.ends, oldest)
		l.mu.Unlock()
		if l.flush() != nil || l.fs.Remove(path.Join(l.dir, fileName(oldest))) != nil {
			return // it is tried again after the next start
		}
	}
}

// Usage returns the bytes on disk, the declared capacity, and how many records
// wait in memory.
func (l *Log) Usage() (used, capacity int64, waiting int) {
	l.io.Lock()
	defer l.io.Unlock()
	for _, n := range l.sizes {
		used += n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return used, l.opts.Total, len(l.queue)
}

// Close writes what is queued and ends the log.
func (l *Log) Close() error {
	l.io.Lock()
	defer l.io.Unlock()
	err := l.flush()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	return err
}
