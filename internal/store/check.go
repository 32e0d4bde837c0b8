package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// A Trouble is a way in which files and ledger disagree.
type Trouble string

// The troubles that Check finds.
const (
	NoFile      Trouble = "missing"     // a leaf without a file: invariant 1
	WrongSize   Trouble = "wrong-size"  // altered or cut: invariant 1
	WrongDigest Trouble = "altered"     // not the bytes of the leaf: invariant 1
	Unknown     Trouble = "unknown"     // a file without a leaf: invariant 2
	Misplaced   Trouble = "misplaced"   // a segment in the wrong folder
	Removed     Trouble = "removed"     // a file of a removed segment: the removal goes on at the next start
	Pending     Trouble = "pending"     // in open/, without a leaf: recovery has not been there
	Quarantined Trouble = "quarantined" // a file in quarantine/
	Unreadable  Trouble = "unreadable"  // the disk does not give it
	NoLeaf      Trouble = "lost-leaf"   // a leaf whose metadata is damaged in every folder of the ledger
)

// A Finding is one trouble.
type Finding struct {
	Trouble Trouble
	Segment media.SegmentID // zero where it is none
	Camera  media.CameraID
	Start   int64 // of the segment, ns since the epoch
	End     int64
	Volume  string // folder of the volume
	File    string // name on it
	Err     error
}

// Error makes a Finding an error.
func (f Finding) Error() string {
	s := string(f.Trouble)
	if !f.Segment.IsZero() {
		s += " segment " + f.Segment.String()
	}
	if f.File != "" {
		s += " " + path.Join(f.Volume, f.File)
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// A Report is what Check found.
type Report struct {
	Segments uint64             // leaves without a tombstone
	Bytes    int64              // that they promise
	Read     int64              // bytes that were digested
	Counts   map[Trouble]uint64 //
	Findings []Finding          // the first MaxFindings
}

// MaxFindings bounds the list of a Report; the counts go on.
const MaxFindings = 10000

// OK tells that both invariants hold. What lies in quarantine is reported and
// breaks neither; what is pending is young.
func (r *Report) OK() bool {
	for t, n := range r.Counts {
		if n > 0 && t != Quarantined && t != Pending {
			return false
		}
	}
	return true
}

func (r *Report) add(f Finding) {
	r.Counts[f.Trouble]++
	if len(r.Findings) < MaxFindings {
		r.Findings = append(r.Findings, f)
	}
}

// A Depth is how much of a file Check looks at.
type Depth int

// The depths.
const (
	Names Depth = iota // names, places and sizes
	Bytes              // and the digest of all bytes
)

// maxPart bounds the segments held in memory at a time.
const maxPart = 400_000

// A checker is one run of Check.
type checker struct {
	s     *Store
	ctx   context.Context
	depth Depth
	size  uint64 // leaves when it began
	days  map[int32]*tally
	r     Report
	tell  func()
}

// Check compares the files with the ledger, in both directions. It takes the
// days in parts, so that the archive may be larger than memory. It reads beside a running
// store; what comes and goes meanwhile is no finding. progress may be nil and is told
// files done, of so many.
func (s *Store) Check(ctx context.Context, depth Depth, progress func(done, total uint64)) (Report, error) {
	c := &checker{s: s, ctx: ctx, depth: depth, size: s.cfg.Ledger.Size(), days: map[int32]*tally{}, r: Report{Counts: map[Trouble]uint64{}}}
	if err := c.run(progress); err != nil {
		return c.r, fmt.Errorf("check: %w", err)
	}
	return c.r, nil
}

func (c *checker) run(progress func(done, total uint64)) error {
	for _, v := range c.s.cfg.Volumes {
		if _, err := v.Root(); err != nil {
			return err
		}
	}
	if err := c.census(); err != nil {
		return err
	}
	if err := c.folders(); err != nil {
		return err
	}
	var total, done uint64
	for _, d := range c.days {
		total += d.segments - min(d.segments, d.removed)
	}
	c.tell = func() {
		if done++; progress != nil {
			progress(done, max(done, total))
		}
	}
	for part := range parts(c.days) {
		if err := c.part(part); err != nil {
			return err
		}
	}
	for _, v := range c.s.cfg.Volumes {
		if err := c.outside(v); err != nil {
			return err
		}
	}
	return nil
}

// A tally is what the ledger says about the segments of one UTC day.
type tally struct {
	segments, removed uint64
	first, last       uint64 // leaves about them
}

// census counts the segments of each day, so that the parts fit memory.
func (c *checker) census() error {
	at := func(start int64, i uint64) *tally {
		d := c.days[dayOf(start)]
		if d == nil {
			d = &tally{first: i}
			c.days[dayOf(start)] = d
		}
		d.last = i
		return d
	}
	return c.s.cfg.Ledger.Follow(0, func(i uint64, l ledger.Leaf) error {
		if i%4096 == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		switch {
		case l.Kind != ledger.Segment && l.Kind != ledger.Tombstone && l.Kind != 0:
		case l.Lost:
			c.r.add(Finding{Trouble: NoLeaf, Err: fmt.Errorf("leaf %d", i)})
		case l.Kind == ledger.Segment:
			m, err := ledger.ParseSegment(l)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", i, err)
			}
			at(m.Start, i).segments++
		default:
			m, err := ledger.ParseTombstone(l)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", i, err)
			}
			at(m.Start, i).removed++
		}
		return nil
	})
}

// folders adds the days that only the volumes know.
func (c *checker) folders() error {
	for _, v := range c.s.cfg.Volumes {
		root, err := v.Root()
		if err != nil {
			return err
		}
		list, err := root.ReadDir(volume.SegmentDir)
		if err != nil {
			return err
		}
		for _, e := range list {
			if n, err := strconv.ParseInt(e.Name(), 10, 32); err == nil && c.days[int32(n)] == nil {
				c.days[int32(n)] = &tally{first: 1} // an empty range
			}
		}
	}
	return nil
}

// parts groups days, in order, so that a part has at most maxPart segments or
// one day.
func parts(days map[int32]*tally) func(yield func([]int32) bool) {
	var order []int32
	for d := range days {
		order = append(order, d)
	}
	slices.Sort(order)
	return func(yield func([]int32) bool) {
		for len(order) > 0 {
			n, sum := 0, uint64(0)
			for n < len(order) && (n == 0 || sum+days[order[n]].segments <= maxPart) {
				sum += days[order[n]].segments
				n++
			}
			if !yield(order[:n]) {
				return
			}
			order = order[n:]
		}
	}
}

// A promise is a segment that the ledger says is there.
type promise struct {
	camera     media.CameraID
	start, end int64
	bytes      int64
	sealed     ledger.Digest
	kept       bool
	gone       bool // there is a tombstone
}

var (
	errEnough = errors.New("enough")
	errNoFile = errors.New("it is no file")
)

// promises reads what the ledger promises for a part.
func (c *checker) promises(part []int32) (map[media.SegmentID]*promise, error) {
	want := map[int32]bool{}
	first, last := ^uint64(0), uint64(0)
	for _, d := range part {
		want[d] = true
		if c.days[d].first <= c.days[d].last {
			first, last = min(first, c.days[d].first), max(last, c.days[d].last)
		}
	}
	list := map[media.SegmentID]*promise{}
	if first > last {
		return list, nil
	}
	err := c.s.cfg.Ledger.Follow(first, func(i uint64, l ledger.Leaf) error {
		if i > last {
			return errEnough
		}
		switch {
		case l.Lost:
		case l.Kind == ledger.Segment:
			m, err := ledger.ParseSegment(l)
			if err == nil && want[dayOf(m.Start)] {
				list[m.Segment] = &promise{camera: m.Camera, start: m.Start, end: m.End, bytes: m.Bytes, sealed: m.Sealed}
			}
		case l.Kind == ledger.Tombstone:
			if m, err := ledger.ParseTombstone(l); err == nil && list[m.Segment] != nil {
				list[m.Segment].gone = true
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}

func (c *checker) part(part []int32) error {
	list, err := c.promises(part)
	if err != nil {
		return err
	}
	for _, v := range c.s.cfg.Volumes {
		root, err := v.Root()
		if err != nil {
			return err
		}
		for _, d := range part {
			if err := c.day(v, root, d, list); err != nil {
				return err
			}
		}
	}
	for id, p := range list {
		if p.gone {
			continue
		}
		c.r.Segments++
		c.r.Bytes += p.bytes
		if p.kept {
			continue
		}
		c.absent(id, p)
		c.tell()
	}
	return nil
}

// absent looks for a segment that was in no folder of its day: in open/, where
// it waits to be moved, or again where it was moved meanwhile.
func (c *checker) absent(id media.SegmentID, p *promise) {
	f, err := c.s.Open(id, p.start)
	fail := Finding{Trouble: NoFile, Segment: id, Camera: p.camera, Start: p.start, End: p.end, Err: err}
	if err != nil {
		if !errors.Is(err, ErrGone) {
			fail.Trouble = Unreadable
		} else if c.newer(ledger.Tombstone, id) {
			return
		}
		c.r.add(fail)
		return
	}
	defer f.Close()
	c.file(f, p, fail)
}

// newer tells whether a segment came or went while Check was at work.
func (c *checker) newer(kind ledger.Kind, id media.SegmentID) (found bool) {
	_ = c.s.cfg.Ledger.Follow(c.size, func(_ uint64, l ledger.Leaf) error {
		if l.Kind != kind || l.Lost {
			return nil
		}
		if kind == ledger.Segment {
			m, err := ledger.ParseSegment(l)
			found = found || err == nil && m.Segment == id
		} else {
			m, err := ledger.ParseTombstone(l)
			found = found || err == nil && m.Segment == id
		}
		return nil
	})
	return found
}

// file holds one file against its leaf.
//
//vigil:clause 5.2.8.2
func (c *checker) file(f *File, p *promise, fail Finding) {
	switch {
	case f.Size() != p.bytes:
		fail.Trouble, fail.Err = WrongSize, fmt.Errorf("%d bytes, the ledger says %d", f.Size(), p.bytes)
	case c.depth == Bytes:
		err := segment.Verify(io.NewSectionReader(f, 0, f.Size()), p.sealed)
		c.r.Read += f.Size()
		if err == nil {
			return
		}
		if fail.Trouble, fail.Err = Unreadable, err; errors.Is(err, segment.ErrDamaged) {
			fail.Trouble = WrongDigest
		}
	default:
		return
	}
	c.r.add(fail)
}

func (c *checker) day(v *volume.Volume, root durable.FS, day int32, list map[media.SegmentID]*promise) error {
	dir := path.Join(volume.SegmentDir, strconv.Itoa(int(day)))
	hours, err := root.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, h := range hours {
		at := path.Join(dir, h.Name())
		if !h.IsDir() {
			c.r.add(Finding{Trouble: Unknown, Volume: v.Dir(), File: at})
			continue
		}
		files, err := root.ReadDir(at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range files {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			c.entry(v, root, path.Join(at, e.Name()), e.Type().IsRegular(), list)
			c.tell()
		}
	}
	return nil
}

func (c *checker) entry(v *volume.Volume, root durable.FS, name string, regular bool, list map[media.SegmentID]*promise) {
	id, ok := segmentID(path.Base(name))
	p := list[id]
	fail := Finding{Segment: id, Volume: v.Dir(), File: name}
	if p != nil {
		fail.Camera, fail.Start, fail.End = p.camera, p.start, p.end
	}
	switch {
	case !ok || p == nil:
		if ok && (c.s.busy(id) || c.newer(ledger.Segment, id)) {
			return
		}
		fail.Trouble = Unknown
	case SegmentName(id, p.start) != name:
		fail.Trouble = Misplaced
	case p.gone:
		fail.Trouble = Removed
	case !regular: // a link or a pipe is not what was written here, whatever it leads to
		p.kept = true
		fail.Trouble, fail.Err = WrongDigest, errNoFile
	default:
		f, err := openFile(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			return // removed meanwhile, or else found absent
		}
		p.kept = true
		if err != nil {
			fail.Trouble, fail.Err = Unreadable, err
			break
		}
		defer f.Close()
		c.file(f, p, fail)
		return
	}
	c.r.add(fail)
}

// outside looks at open/, quarantine/ and what is no day.
func (c *checker) outside(v *volume.Volume) error {
	root, err := v.Root()
	if err != nil {
		return err
	}
	settled, err := v.Settled()
	if err != nil {
		return err
	}
	waiting, err := root.ReadDir(volume.OpenDir)
	if err != nil {
		return err
	}
	wanted := map[media.SegmentID]bool{}
	for _, e := range waiting {
		if id, ok := segmentID(e.Name()); ok {
			wanted[id] = true
		}
	}
	if settled > c.size {
		settled = 0
	}
	// All about open/ is newer than the mark.
	p, err := c.s.readPast(c.ctx, settled, wanted, func(map[media.SegmentID]int64) error { return nil })
	if err != nil {
		return err
	}
	for _, dir := range []string{volume.OpenDir, volume.Quarantine, volume.SegmentDir} {
		list, err := root.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range list {
			f := Finding{Volume: v.Dir(), File: path.Join(dir, e.Name())}
			id, ok := segmentID(e.Name())
			_, known := p.leaves[id]
			switch _, err := strconv.ParseInt(e.Name(), 10, 32); {
			case dir == volume.Quarantine:
				f.Trouble = Quarantined
			case dir == volume.SegmentDir && err == nil && e.IsDir(), dir == volume.OpenDir && ok && (known || c.s.alive(id)):
				continue
			case dir == volume.OpenDir && ok:
				f.Trouble, f.Segment = Pending, id
			default:
				f.Trouble = Unknown
			}
			c.r.add(f)
		}
	}
	return nil
}

// Quarantine puts an unknown or misplaced file that Check found aside. It is
// never deleted.
func (s *Store) Quarantine(f Finding) error {
	for _, v := range s.cfg.Volumes {
		if v.Dir() == f.Volume && (f.Trouble == Unknown || f.Trouble == Misplaced) {
			return s.quarantine(v, f.File, string(f.Trouble), true)
		}
	}
	return fmt.Errorf("quarantine %s: not a finding of kind %s", f.File, Unknown)
}
