package audit

import (
	"context"
	"fmt"
	"iter"
	"strconv"
)

// A Trouble is what is wrong with the log.
type Trouble string

// The troubles.
const (
	Altered   Trouble = "altered"   // records are not those that were written
	Truncated Trouble = "truncated" // the end is gone
	Missing   Trouble = "missing"   // records in between, or the oldest, are gone and no pruning says so
)

// A Finding says which records are in trouble.
type Finding struct {
	Trouble     Trouble
	First, Last uint64
	Detail      string
}

// Error makes a Finding an error.
func (f Finding) Error() string {
	return fmt.Sprintf("audit log is %s: records %d to %d: %s", f.Trouble, f.First, f.Last, f.Detail)
}

const maxFindings = 100

// Verify reads the whole log on disk and compares it with the anchors, which
// the ledger has, in the order of their Last. It returns the number of records
// that are good and what is wrong. Memory is that of one file.
//
//vigil:clause 5.2.7.1
func (l *Log) Verify(ctx context.Context, anchors iter.Seq2[Batch, error]) (good uint64, findings []Finding, err error) {
	l.mu.Lock()
	written := l.written
	l.mu.Unlock()
	next, stop := iter.Pull2(anchors)
	defer stop()
	report := func(f Finding) {
		if len(findings) < maxFindings {
			findings = append(findings, f)
		}
	}
	var anchor Batch
	have := true
	advance := func() error {
		var aerr error
		anchor, aerr, have = next()
		return aerr
	}
	if err := advance(); err != nil {
		return 0, nil, err
	}
	list, err := files(l.fs, l.dir) // those on disk: one that was taken away is missed
	if err != nil {
		return 0, nil, fmt.Errorf("verify audit log: %w", err)
	}
	var head chain
	known := false                       // head is that after seq
	seq, through := uint64(0), uint64(0) // through: what pruning took away, by its own record
	check := func(name string, f frame) error {
		if f.first != seq+1 {
			report(Finding{Altered, min(seq+1, f.first), max(seq+1, f.first) - 1, name + ": damaged, or out of order"})
			known = false
		}
		seq = f.first - 1
		for _, json := range f.json {
			seq++
			r, err := ParseRecord(json)
			if err != nil || r.Seq != seq {
				report(Finding{Altered, seq, seq, name + ": record"})
				continue
			}
			good++
			head = head.next(json)
			if n, err := strconv.ParseUint(r.Detail["through"], 10, 63); r.Action == LogPrune && err == nil {
				through = max(through, n)
			}
		}
		if known && head != f.after {
			report(Finding{Altered, f.first, seq, name + ": chain"})
		}
		head, known = f.after, true
		for have && anchor.Last <= seq {
			if anchor.Last == seq && chain(anchor.Head) != head {
				report(Finding{Altered, anchor.First, anchor.Last, "the ledger has another head"})
			}
			if err := advance(); err != nil {
				return fmt.Errorf("verify audit log: anchors: %w", err)
			}
		}
		return nil
	}
	oldest := uint64(1)
	for i, first := range list {
		if err := ctx.Err(); err != nil {
			return good, findings, err
		}
		b, err := readFile(l.fs, l.dir, first)
		if err != nil {
			return good, findings, fmt.Errorf("verify audit log: %w", err)
		}
		if i == 0 {
			oldest, seq = first, first-1
		}
		before, err := parseFileHead(b, first)
		switch name := fileName(first); {
		case err != nil && first > written: // made and not written
			continue
		case err != nil:
			report(Finding{Altered, first, first, name + ": head of the file"})
			known = false
		case first > seq+1:
			report(Finding{Missing, seq + 1, first - 1, "before " + name})
			seq = first - 1
			head, known = before, true
		case known && before != head:
			report(Finding{Altered, first, first, name + ": its chain does not go on from the file before"})
			fallthrough
		default:
			head, known = before, true
		}
		if _, err := walk(b, l.key, first, func(f frame) error {
			if f.first > written {
				return nil
			}
			return check(fileName(first), f)
		}); err != nil {
			return good, findings, err
		}
	}
	if oldest > 1 && through < oldest-1 {
		report(Finding{Missing, 1, oldest - 1, "the oldest files are gone and no pruning was recorded"})
	}
	want := written
	for have {
		want = max(want, anchor.Last)
		if err := advance(); err != nil {
			return good, findings, fmt.Errorf("verify audit log: anchors: %w", err)
		}
	}
	if seq < want {
		report(Finding{Truncated, seq + 1, want, "the end is gone"})
	}
	return good, findings, nil
}
