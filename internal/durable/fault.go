package durable

import (
	"fmt"
	"path"
	"strings"
)

// A Kind is a kind of operation on a [Mem].
type Kind string

// The kinds. Reading kinds can be made to fail but are not in the log.
const (
	OpOpen     Kind = "open"
	OpCreate   Kind = "create"
	OpRead     Kind = "read"
	OpWrite    Kind = "write"
	OpTruncate Kind = "truncate"
	OpSync     Kind = "sync"
	OpSyncfs   Kind = "syncfs"
	OpSyncDir  Kind = "syncdir"
	OpRename   Kind = "rename"
	OpRemove   Kind = "remove"
	OpMkdir    Kind = "mkdir"
	OpReadDir  Kind = "readdir"
	OpStat     Kind = "stat"
	OpDisk     Kind = "disk"
	OpLock     Kind = "lock"
)

func (k Kind) changes() bool {
	switch k {
	case OpOpen, OpRead, OpReadDir, OpStat, OpDisk, OpLock:
		return false
	}
	return true
}

// An Op is one operation.
type Op struct {
	Kind Kind
	Name string // as the caller gave it, below the folder of its view
	To   string // of a rename
	Off  int64  // of a write; the size of a truncate
	Len  int64  // of a write
	Err  error  // what it returned
}

// String is the line of a golden file.
func (o Op) String() string {
	s := string(o.Kind) + " " + o.Name
	switch o.Kind {
	case OpRename:
		s += " -> " + o.To
	case OpWrite:
		s += fmt.Sprintf(" %d+%d", o.Off, o.Len)
	case OpTruncate:
		s += fmt.Sprintf(" %d", o.Off)
	case OpSyncfs:
		s = string(o.Kind)
	}
	if o.Err != nil {
		s += " (failed)"
	}
	return s
}

// A Fault is a way to fail.
type Fault int

// The faults.
const (
	// Refused: the rule's Err is returned and nothing is done. A refused Sync
	// also loses the dirty bytes for good, as Linux does.
	Refused Fault = iota
	// Lost: success is returned and nothing is done.
	Lost
	// AppliedThenError: it is done and the rule's Err is returned.
	AppliedThenError
	// CrashBefore: the power fails before it is done; until Restart everything
	// returns ErrCrashed.
	CrashBefore
	// CrashAfter: the same, after it is done.
	CrashAfter
	// Hang: the caller waits until Heal or Restart, then it is done.
	Hang
)

// A Rule makes operations fail that match it.
type Rule struct {
	Kind  Kind   // empty: any that changes something
	Name  string // path.Match pattern for the last element of the name, or a whole path; empty: any
	Skip  int    // matching operations that go well first
	Times int    // how many fail then; 0: one, -1: all until Heal
	Fault Fault
	Err   error // for Refused and AppliedThenError: unix.EIO, unix.ENOSPC

	seen, hit int // guarded by Mem.mu
}

func (r *Rule) takes(o Op) bool {
	if r.Kind == "" && !o.Kind.changes() || r.Kind != "" && r.Kind != o.Kind {
		return false
	}
	if r.Name != "" && r.Name != o.Name {
		if ok, _ := path.Match(r.Name, path.Base(o.Name)); !ok {
			return false
		}
	}
	r.seen++
	if r.seen <= r.Skip || r.Times >= 0 && r.hit >= max(1, r.Times) {
		return false
	}
	r.hit++
	return true
}

// Inject adds a rule. The first rule that matches an operation decides.
func (m *Mem) Inject(r Rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = append(m.rules, &r)
}

// Heal forgets the rules and lets hung operations go on.
func (m *Mem) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = nil
	close(m.hung)
	m.hung = make(chan any)
}

// Hits tells how many operations the rules have made to fail.
func (m *Mem) Hits() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rules {
		n += r.hit
	}
	return n
}

// Crashed tells whether the disk waits for Restart.
func (m *Mem) Crashed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// Ops returns the changing operations so far.
func (m *Mem) Ops() []Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Op(nil), m.ops...)
}

// ForgetOps empties the log of operations.
func (m *Mem) ForgetOps() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops = nil
}

// Log returns the changing operations so far, a line each.
func (m *Mem) Log() string {
	var b strings.Builder
	for _, o := range m.Ops() {
		b.WriteString(o.String() + "\n")
	}
	return b.String()
}

// do runs one operation under the rules and logs it.
func (m *Mem) do(o Op, apply func() error) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return fmt.Errorf("%s %s: %w", o.Kind, o.Name, ErrCrashed)
	}
	var rule *Rule
	for _, r := range m.rules {
		if r.takes(o) {
			rule = r
			break
		}
	}
	switch {
	case rule == nil:
		err = apply()
	case rule.Fault == Refused:
		err = fmt.Errorf("%s %s: %w", o.Kind, o.Name, rule.Err)
	case rule.Fault == Lost:
	case rule.Fault == AppliedThenError:
		if err = apply(); err == nil {
			err = fmt.Errorf("%s %s: %w", o.Kind, o.Name, rule.Err)
		}
	case rule.Fault == CrashBefore, rule.Fault == CrashAfter:
		if rule.Fault == CrashAfter {
			_ = apply()
		}
		m.dead = true
		err = fmt.Errorf("%s %s: %w", o.Kind, o.Name, ErrCrashed)
	case rule.Fault == Hang:
		hung, life := m.hung, m.life
		m.mu.Unlock()
		<-hung
		m.mu.Lock()
		if !m.dead && m.life == life {
			err = apply()
		} else {
			err = fmt.Errorf("%s %s: %w", o.Kind, o.Name, ErrCrashed)
		}
	}
	if o.Kind.changes() {
		o.Err = err
		m.ops = append(m.ops, o)
	}
	return err
}
