// Package catalogue says what footage there is, by time: segments, gaps with
// their causes, what was removed, what is held.
//
//	ledger -> (catalogue) -> playback, retention, web
//
// It is an index that follows the ledger and holds nothing else: deleted,
// damaged or of another machine, it is put aside and made again. It is never on the
// write path. The database is SQLite in WAL mode under AES-256-XTS, one writer and
// a few readers; where the ledger was read to is in the same transaction as the
// rows. XTS hides and does not authenticate: the ledger does.
package catalogue

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/seal"
)

// A Catalogue is safe for many callers; Follow and Check have one caller at a
// time.
type Catalogue struct {
	path string
	key  string // hex, 64 bytes
	opts Options

	writing sync.Mutex // held by Follow for a batch
	w       *conn      // guarded by writing

	mu      sync.RWMutex // held for reading by every query, for writing while the database is replaced
	readers chan *conn
	closed  bool // guarded by mu

	indexing func() // called before the index of ids is made; for tests

	newest newest                // while this is far behind
	sick   atomic.Pointer[error] // damage that a reader met: the next CatchUp makes the catalogue anew
}

// Options of a catalogue. The zero value has good ones.
type Options struct {
	Readers int         // connections for reading; 4
	Aside   func(error) // told when a database was put aside, and why; may be nil
	Batch   int         // leaves in a transaction at most; 20000
	Bulk    uint64      // leaves behind from which the index of ids is made afterwards; 200000
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("catalogue is closed")

// errReplace says that the database is to be put aside.
var errReplace = errors.New("catalogue is damaged, of another version or sealed with another key")

// Open opens the catalogue at path, or begins one. A file that is none, is
// damaged, or has another key or version is renamed to path.aside, the one before
// it removed, and a new one begun: Follow fills it.
func Open(path string, key seal.Key, opts Options) (*Catalogue, error) {
	registerPages()
	if opts.Readers <= 0 {
		opts.Readers = 4
	}
	if opts.Batch <= 0 {
		opts.Batch = 20000
	}
	if opts.Bulk == 0 {
		opts.Bulk = 200000
	}
	a, b := key.Derive("catalogue", []byte{1}).Expose(), key.Derive("catalogue", []byte{2}).Expose()
	defer clear(a)
	defer clear(b)
	c := &Catalogue{path: path, key: hex.EncodeToString(append(a, b...)), opts: opts}
	if err := c.start(); err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	return c, nil
}

// start opens all connections, on a new database if need be.
func (c *Catalogue) start() error {
	err := c.blocked()
	if err == nil {
		err = c.connect()
	}
	if err == nil {
		return nil
	}
	c.disconnect()
	if !replaceable(err) {
		return err
	}
	if err := c.aside(); err != nil {
		return err
	}
	if c.opts.Aside != nil {
		c.opts.Aside(err)
	}
	if err := c.connect(); err != nil {
		c.disconnect()
		return err
	}
	return nil
}

// replaceable tells errors of the content from those of the disk.
func replaceable(err error) bool {
	return errors.Is(err, errReplace) || errors.Is(err, sqlite3.NOTADB) || errors.Is(err, sqlite3.CORRUPT) ||
		errors.Is(err, sqlite3.IOERR_SHORT_READ) || errors.Is(err, sqlite3.IOERR_DATA) || errors.Is(err, sqlite3.IOERR_CORRUPTFS) ||
		errors.Is(err, sqlite3.SCHEMA) || errors.Is(err, sqlite3.MISMATCH)
}

func (c *Catalogue) connect() (err error) {
	if c.w, err = c.open(false); err != nil {
		return err
	}
	if err := c.w.prepareSchema(); err != nil {
		return err
	}
	c.readers = make(chan *conn, c.opts.Readers)
	for range c.opts.Readers {
		r, err := c.open(true)
		if err != nil {
			return err
		}
		c.readers <- r
	}
	return nil
}

func (c *Catalogue) disconnect() {
	for len(c.readers) > 0 {
		(<-c.readers).close()
	}
	c.readers = nil
	if c.w != nil {
		c.w.close()
		c.w = nil
	}
}

// aside keeps the last database that was given up.
func (c *Catalogue) aside() error {
	if err := away(c.path); err != nil {
		return err
	}
	for _, end := range ends {
		err := os.Remove(c.path + end)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = away(c.path + end) // a folder with something in it
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ends are those of the names of SQLite's other files.
var ends = []string{"-wal", "-shm", "-journal"}

// away renames a file to <name>.aside, or to another name where that cannot be: a folder
// is there, or here.
func away(name string) error {
	err := os.Rename(name, name+".aside")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(name, fmt.Sprintf("%s.aside.%d", name, time.Now().UnixNano()))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put catalogue aside: %w", err)
	}
	return nil
}

// blocked tells that there is something in the place of a file which is none, or
// which we may not use: SQLite says of all that it cannot open it, as of a disk that fails.
func (c *Catalogue) blocked() error {
	for _, end := range append([]string{""}, ends...) {
		name := c.path + end
		info, err := os.Stat(name)
		if err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%w: %s is not a file", errReplace, name)
		}
		if err == nil {
			var f *os.File
			if f, err = os.OpenFile(name, os.O_RDWR, 0); err == nil {
				err = f.Close()
			}
		}
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ELOOP) {
			return fmt.Errorf("%w: %w", errReplace, err)
		}
	}
	return nil
}

// replace begins a new database after cause.
func (c *Catalogue) replace(cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.disconnect()
	if err := c.aside(); err != nil {
		return err
	}
	if c.opts.Aside != nil {
		c.opts.Aside(cause)
	}
	if err := c.connect(); err != nil {
		c.disconnect()
		return err
	}
	return nil
}

// Close ends all use.
func (c *Catalogue) Close() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.disconnect()
	return nil
}

// read runs queries on a connection of its own, all of one state of the catalogue.
func (c *Catalogue) read(fn func(*conn) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed || c.readers == nil {
		return ErrClosed
	}
	r := <-c.readers
	defer func() { c.readers <- r }()
	err := r.exec(`BEGIN`)
	if err == nil {
		err = fn(r)
	}
	if !r.db.GetAutocommit() { // some errors end it
		if end := r.exec(`ROLLBACK`); err == nil {
			err = end
		}
	}
	if err != nil && replaceable(err) {
		c.sick.Store(&err)
	}
	return err
}

// A conn is a connection with its prepared statements.
type conn struct {
	db    *sqlite3.Conn
	stmts map[string]*sqlite3.Stmt
}

func (c *Catalogue) open(readOnly bool) (*conn, error) {
	db, err := sqlite3.OpenFlags("file:"+escape(c.path)+"?vfs="+pageLayer, sqlite3.OPEN_READWRITE|sqlite3.OPEN_CREATE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	if db.Exec("PRAGMA hexkey='"+c.key+"'") != nil { // its error may quote the key
		db.Close()
		return nil, errors.New("the database does not take a key")
	}
	pragmas := "PRAGMA busy_timeout=10000; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=FILE; PRAGMA wal_autocheckpoint=4000; PRAGMA cache_size=-32000"
	if readOnly {
		pragmas = "PRAGMA busy_timeout=10000; PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000"
	} else {
		pragmas = "PRAGMA page_size=8192; " + pragmas
	}
	if err := db.Exec(pragmas); err != nil {
		db.Close()
		return nil, err
	}
	return &conn{db: db, stmts: map[string]*sqlite3.Stmt{}}, nil
}

func escape(path string) string {
	var b []byte
	for i := range len(path) {
		switch ch := path[i]; ch {
		case '%', '?', '#':
			b = fmt.Appendf(b, "%%%02x", ch)
		default:
			b = append(b, ch)
		}
	}
	return string(b)
}

func (c *conn) close() {
	for _, s := range c.stmts {
		s.Close()
	}
	c.db.Close()
}

// stmt returns a statement, ready to run. It stays with the connection.
func (c *conn) stmt(sql string) (*sqlite3.Stmt, error) {
	s := c.stmts[sql]
	if s == nil {
		var err error
		if s, _, err = c.db.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT); err != nil {
			return nil, err
		}
		c.stmts[sql] = s
	}
	return s, s.Reset()
}

// bind sets parameters: int64, uint64, int, bool, []byte or string.
func bind(s *sqlite3.Stmt, args ...any) error {
	for i, a := range args {
		var err error
		switch a := a.(type) {
		case int64:
			err = s.BindInt64(i+1, a)
		case uint64:
			err = s.BindInt64(i+1, int64(a))
		case int:
			err = s.BindInt64(i+1, int64(a))
		case bool:
			err = s.BindBool(i+1, a)
		case []byte:
			err = s.BindBlob(i+1, a)
		case string:
			err = s.BindText(i+1, a)
		default:
			err = fmt.Errorf("parameter %d of type %T", i+1, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exec runs a statement that gives no rows.
func (c *conn) exec(sql string, args ...any) error {
	s, err := c.stmt(sql)
	if err == nil {
		err = bind(s, args...)
	}
	if err != nil {
		return err
	}
	s.Step()
	return s.Reset()
}

// query calls row for each row until it returns false.
func (c *conn) query(sql string, row func(*sqlite3.Stmt) bool, args ...any) error {
	s, err := c.stmt(sql)
	if err == nil {
		err = bind(s, args...)
	}
	if err != nil {
		return err
	}
	for s.Step() {
		if !row(s) {
			break
		}
	}
	return s.Reset()
}
