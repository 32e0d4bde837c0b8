package playback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"vigil/internal/fmp4"
	"vigil/internal/media"
)

// An Export is the MP4 file of a plan: what is needed to make the same bytes
// again, any part of them, from the record. So no readable footage lies anywhere, and a download can be
// resumed. It holds the tables of the file, not its footage. Its methods are for many callers; what of it is already
// known can be read while the rest is being made.
//
// The file is ftyp, one mdat, moov (docs/adr/0050-exported-file.md). The mdat has the units of all
// planned fragments; what must not or cannot be shown are zeros there that no table mentions.
type Export struct {
	// Once it is made:
	Size  int64 // of the file
	Gaps  []Gap // what the file has no footage of
	Jumps []fmp4.Jump

	plan *Plan
	head []byte
	made *window

	mu    sync.Mutex
	skips []skip // guarded by mu
	moov  []byte // guarded by mu
}

// A skip is a run of fragments of one span that the file does not have.
type skip struct{ span, first, last int }

// Payload returns how many bytes of units a file of this plan will have.
func (p *Plan) Payload() int64 { return p.payload }

// chunk is how much goes to the disk at once, and chunks how many there are: so
// reading, opening and writing overlap, and who reads what is being made may be a little behind.
const (
	chunk  = 1 << 20
	chunks = 8
)

// Export writes the file of a plan to w, in one pass and in bounded memory:
// some 9 MB, and the tables. progress is told how many of the Payload bytes are done, from this goroutine.
// What is damaged is reported, left out, and in Gaps. w can be a hash, or the file itself.
func (p *Plan) Export(ctx context.Context, w io.Writer, progress func(done int64)) (*Export, error) {
	x := p.file()
	if err := x.make(ctx, w, progress); err != nil {
		return nil, err
	}
	return x, nil
}

// file returns the export of a plan, of which nothing but the head is made.
func (p *Plan) file() *Export {
	return &Export{plan: p, head: fmp4.MovieHead(p.payload), made: newWindow()}
}

// make makes the file, once.
func (x *Export) make(ctx context.Context, w io.Writer, progress func(done int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := x.plan
	out := newPipe(w, x.made, cancel)
	out.write(x.head)
	m := &exporting{Export: x, movie: fmp4.NewMovie(p.From, p.To), cursor: p.cursor(true), end: p.Start, gaps: slices.Clone(p.Gaps)}
	defer m.cursor.close()
	err := m.run(ctx, out, progress)
	var moov []byte
	if err == nil {
		moov, x.Jumps, err = m.movie.Tables()
		x.mu.Lock()
		x.moov = moov // before any of it is shown: it may be larger than the window
		x.mu.Unlock()
		out.write(moov)
	}
	if werr := out.finish(); werr != nil { // the reason for ctx's end, if it has
		err = werr
	}
	if err != nil {
		err = fmt.Errorf("export %v: %w", p.Stream, err)
	} else {
		x.Size = int64(len(x.head)) + p.payload + int64(len(moov))
		slices.SortFunc(m.gaps, func(a, b Gap) int { return int(a.From - b.From) })
		x.Gaps = m.gaps
	}
	x.made.end(x.Size, err)
	return err
}

// exporting is an export being made.
type exporting struct {
	*Export
	movie  *fmp4.Movie
	cursor *cursor
	frag   fmp4.Fragment
	at     int64 // in the file
	end    media.Ticks
	gaps   []Gap
	gap    *Gap // that damage is making
}

func (m *exporting) run(ctx context.Context, out *pipe, progress func(int64)) error {
	m.at = int64(len(m.head))
	for s := range m.plan.spans {
		x := &m.plan.spans[s]
		if err := m.cursor.span(ctx, s); err != nil {
			if err := m.miss(ctx, s, x.first, x.last, err); err != nil {
				return err
			}
			out.zeros(x.payload)
			m.step(x.payload, progress)
			continue
		}
		for i := x.first; i < x.last; i++ {
			e := &m.cursor.src.Index()[i]
			n := int64(m.plan.units(e))
			if n == 0 { // sound, and none is wanted
				continue
			}
			if m.gap != nil && !e.RandomAccess { // cannot be decoded without what is missing
				m.skip(s, i, i+1)
				out.zeros(n)
			} else if b, err := m.cursor.fragment(ctx, i); err != nil {
				if err := m.miss(ctx, s, i, i+1, err); err != nil {
					return err
				}
				out.zeros(n)
			} else if units, err := m.plan.parse(&m.frag, b, x, i, e); err != nil {
				if err := m.miss(ctx, s, i, i+1, err); err != nil {
					return err
				}
				out.zeros(n)
			} else {
				m.close(e.DTS)
				if err := m.movie.Add(m.cursor.src.Tracks(), &m.frag, m.at); err != nil {
					return err
				}
				blank(b, &m.frag, m.plan.To)
				out.write(units)
				m.end = e.DTS + e.Duration
			}
			m.step(n, progress)
		}
	}
	m.close(m.plan.End)
	return nil
}

func (m *exporting) step(n int64, progress func(int64)) {
	m.at += n
	if progress != nil {
		progress(m.at - int64(len(m.head)))
	}
}

// miss reports what cannot be read and goes on without it.
func (m *exporting) miss(ctx context.Context, s, first, last int, err error) error {
	x := &m.plan.spans[s]
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.plan.player.report(m.plan.Stream, x.id, err)
	m.skip(s, first, last)
	if m.gap == nil {
		m.gap = &Gap{From: max(m.end, m.plan.From), Cause: causeOf(err)}
	}
	return nil
}

func (m *exporting) skip(s, first, last int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.skips); n > 0 && m.skips[n-1].span == s && m.skips[n-1].last == first {
		m.skips[n-1].last = last
		return
	}
	m.skips = append(m.skips, skip{s, first, last})
}

// close ends the gap that damage made.
func (m *exporting) close(to media.Ticks) {
	if m.gap != nil && to > m.gap.From {
		m.gap.To = to
		m.gaps = append(m.gaps, *m.gap)
	}
	m.gap = nil
}

// blank clears the units that begin at or after the end asked for: who may
// have the range may not have more.
func blank(b []byte, f *fmp4.Fragment, to media.Ticks) {
	for _, p := range f.Parts {
		for _, s := range p.Samples {
			if s.DTS >= to {
				clear(b[s.Offset : s.Offset+s.Size])
			}
		}
	}
}

// Open returns the file for reading from any place: http.ServeContent takes
// it. It belongs to one goroutine. Reading ends with ErrChanged where the record no longer gives
// the bytes that the export was made of: a file is never silently another. While the file is being made, reading
// waits for what comes next, and ends with the error that ends the making.
func (x *Export) Open(ctx context.Context) *Download {
	d := &Download{ctx: ctx, x: x, cursor: x.plan.cursor(true)}
	x.made.open(d)
	return d
}

// A Download is an export being read.
type Download struct {
	ctx    context.Context
	x      *Export
	cursor *cursor
	frag   fmp4.Fragment
	off    int64
	part   []byte // of the file
	partAt int64
}

// Read reads on.
func (d *Download) Read(b []byte) (int, error) {
	if d.off < d.partAt || d.off >= d.partAt+int64(len(d.part)) {
		if n, err := d.x.made.read(d.ctx, d, d.off, b); n > 0 || err != nil {
			d.off += int64(n)
			return n, err
		}
		if err := d.load(); err != nil {
			return 0, err
		}
	}
	n := copy(b, d.part[d.off-d.partAt:])
	d.off += int64(n)
	return n, nil
}

// tables returns how many bytes of them are held.
func (x *Export) tables() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.moov)
}

// Seek says where to read on. The end is known once the file is made.
func (d *Download) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += d.off
	case io.SeekEnd:
		size, over := d.x.made.size()
		if !over {
			return d.off, ErrNotReady
		}
		offset += size
	}
	if offset < 0 {
		return d.off, errors.New("seek before the start of an export")
	}
	d.off = offset
	return offset, nil
}

// Close lets the segment go that was read last.
func (d *Download) Close() error {
	d.x.made.close(d)
	d.cursor.close()
	return nil
}

// load makes the part of the file that has the next byte.
func (d *Download) load() error {
	x := d.x
	at := d.off - int64(len(x.head))
	switch {
	case at < 0:
		d.part, d.partAt = x.head, 0
		return nil
	case at >= x.plan.payload:
		x.mu.Lock()
		defer x.mu.Unlock()
		d.part, d.partAt = x.moov, int64(len(x.head))+x.plan.payload
		return nil
	}
	s, _ := slices.BinarySearchFunc(x.plan.spans, at, func(s span, at int64) int {
		if s.at+s.payload <= at {
			return -1
		}
		return 1 // the first that ends behind it
	})
	sp := &x.plan.spans[s]
	if k, _ := x.skipped(s, sp.first); k == (skip{s, sp.first, sp.last}) { // its index may be unreadable too
		d.zeros(at, sp.at+sp.payload)
		return nil
	}
	if err := d.cursor.span(d.ctx, s); err != nil {
		return d.changed(err)
	}
	i, from := sp.first, sp.at
	e := &d.cursor.src.Index()[i]
	for from+int64(x.plan.units(e)) <= at && i < sp.last-1 {
		from += int64(x.plan.units(e))
		i++
		e = &d.cursor.src.Index()[i]
	}
	end := from + int64(x.plan.units(e))
	if at < from || at >= end {
		return d.changed(errors.New("the index has other sizes"))
	}
	if _, ok := x.skipped(s, i); ok {
		d.zeros(at, end)
		return nil
	}
	b, err := d.cursor.fragment(d.ctx, i)
	if err != nil {
		return d.changed(err)
	}
	units, err := x.plan.parse(&d.frag, b, sp, i, e)
	if err != nil {
		return d.changed(err)
	}
	blank(b, &d.frag, x.plan.To)
	d.part, d.partAt = units, int64(len(x.head))+from
	return nil
}

func (d *Download) changed(err error) error {
	d.part = nil
	if d.ctx.Err() != nil {
		return d.ctx.Err()
	}
	return fmt.Errorf("download of %v at %d: %w: %w", d.x.plan.Stream, d.off, ErrChanged, err)
}

var zeros [64 << 10]byte

// zeros makes the next part zeros, up to a place in the payload.
func (d *Download) zeros(at, end int64) {
	d.part, d.partAt = zeros[:min(int64(len(zeros)), end-at)], int64(len(d.x.head))+at
}

// skipped returns the skip that has a fragment, if there is one.
func (x *Export) skipped(s, i int) (skip, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, _ := slices.BinarySearchFunc(x.skips, skip{span: s, last: i}, func(k, want skip) int {
		if k.span != want.span {
			return k.span - want.span
		}
		if k.last <= want.last {
			return -1
		}
		return 1
	})
	if n < len(x.skips) && x.skips[n].span == s && x.skips[n].first <= i {
		return x.skips[n], true
	}
	return skip{}, false
}
