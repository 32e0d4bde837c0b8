package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"vigil/internal/media"
)

// A Filter chooses records. Zero fields choose all.
type Filter struct {
	Name   string         // actor's name, or who armed it
	Action Action         // "segment.open"; "segment" is all of "segment.open", "segment.close" ...
	Object string         //
	Camera media.CameraID //
	Result Result         //
	From   time.Time      // inclusive
	To     time.Time      // exclusive
	Before uint64         // only records with a smaller number: the next of the page before
	Limit  int            // records in a page, at most MaxPage; 0: 100
}

// MaxPage is the largest page, and maxScan how many bytes of files one Read
// goes through before it returns what it has.
const (
	MaxPage = 1000
	maxScan = 256 << 20
)

func (f Filter) takes(r Record) bool {
	switch {
	case f.Before > 0 && r.Seq >= f.Before,
		f.Name != "" && r.Actor.Name != f.Name && r.Actor.ArmedBy != f.Name,
		f.Action != "" && r.Action != f.Action && !strings.HasPrefix(string(r.Action), strings.TrimSuffix(string(f.Action), ".")+"."),
		f.Object != "" && r.Object != f.Object,
		!f.Camera.IsZero() && r.Camera != f.Camera,
		f.Result != "" && r.Result != f.Result,
		!f.From.IsZero() && r.At.Before(f.From),
		!f.To.IsZero() && !r.At.Before(f.To):
		return false
	}
	return true
}

// Read returns a page of records, newest first, those included that are not
// yet on disk. next is the Before of the following page, 0 when there is none;
// a page may be short, or empty, and have a next. Memory is that of one file and
// of the page. Damaged stretches are left out: Verify tells of them.
//
//vigil:clause 5.2.7.2
func (l *Log) Read(ctx context.Context, f Filter) (page []Record, next uint64, err error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, MaxPage)
	l.mu.Lock()
	for _, q := range slices.Backward(l.queue) {
		if len(page) < f.Limit && f.takes(q.r) {
			page = append(page, q.r)
		}
	}
	list, written := l.list, l.written
	l.mu.Unlock()
	if len(page) == f.Limit {
		return page, page[len(page)-1].Seq, nil
	}
	scanned := 0
	for i, first := range slices.Backward(list) {
		if f.Before > 0 && first >= f.Before || first > written || l.outside(first, f) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		b, err := readFile(l.fs, l.dir, first)
		if err != nil {
			return nil, 0, fmt.Errorf("read audit log: %w", err)
		}
		var found []Record
		times := span{math.MaxInt64, math.MinInt64}
		_, _ = walk(b, l.key, first, func(fr frame) error {
			for _, json := range fr.json {
				r, err := ParseRecord(json)
				if err != nil || r.Seq > written {
					continue
				}
				at := r.At.UnixNano()
				times = span{min(times.from, at), max(times.to, at)}
				if f.takes(r) {
					found = append(found, r)
				}
			}
			return nil
		})
		if i < len(list)-1 {
			l.mu.Lock()
			l.ends[first] = times
			l.mu.Unlock()
		}
		for _, r := range slices.Backward(found) {
			page = append(page, r)
			if len(page) == f.Limit {
				return page, r.Seq, nil
			}
		}
		if scanned += len(b); scanned > maxScan && i > 0 {
			return page, first, nil
		}
	}
	return page, 0, nil
}

// outside tells whether a file that was read before has nothing of the
// filter's time.
func (l *Log) outside(first uint64, f Filter) bool {
	l.mu.Lock()
	s, ok := l.ends[first]
	l.mu.Unlock()
	return ok && (!f.From.IsZero() && s.to < f.From.UnixNano() || !f.To.IsZero() && s.from >= f.To.UnixNano())
}
