package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"vigil/internal/actor"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// A stage is how far a finished segment is on its way into the record.
type stage int

const (
	closing  stage = iota // its bytes are on their way
	hardened              // bytes, index and trailer are durable in open/
	inLedger              // its leaf is in the ledger, under a checkpoint
	recorded              // its closing is in the audit log's queue
	told                  // its closing is durable in the audit log
	settled               // its file is in segments/, durable
	empty                 // nothing was recorded: the file goes
	gone                  // the volume failed before the bytes were durable
)

// A sealed is a finished segment that is not settled. It belongs to the beat
// once it is in its list.
type sealed struct {
	by        actor.Actor
	info      segment.Info
	vol       *volume.Volume
	meta      ledger.SegmentMeta
	w         *Writer // who wrote it; nil: recovered
	since     uint64  // leaves in the ledger before any about it
	stage     stage
	recovered string        // not empty: found by recovery, in which condition
	leaf      uint64        // its number, from inLedger on
	done      chan struct{} // not nil: closed when settled or gone

	noted  bool  // owned by the beat; its closing was recorded, for an empty one
	moving bool  // owned by the beat
	moved  bool  // guarded by Store.mu
	err    error // guarded by Store.mu; of the move
}

// A beat is what is on its way into the record.
type beat struct {
	items   []*sealed
	pulsed  time.Time // when the running digests were last taken
	pulsing bool      // they wait for a sync
	anchor  *anchor   // head of the audit log that is not in the ledger yet
	marked  time.Time
}

// tick is one beat.
func (s *Store) tick(ctx context.Context, last bool) {
	s.tell()
	s.mu.Lock()
	for _, w := range s.open {
		if w.item != nil && !w.taken {
			w.taken = true
			s.beat.items = append(s.beat.items, w.item)
		}
	}
	s.beat.items = append(s.beat.items, s.waiting...)
	s.waiting = nil
	s.mu.Unlock()

	s.commit(ctx, s.pulse())
	s.mark(last)
}

// commit makes finished segments part of the record, together with pulses of
// the unfinished ones: one batch for the ledger and one for the audit log. It is
// called once a second and goes on where it stopped, with segments just closed
// and with those that recovery found: each step may be repeated, none may be moved.
//
//  1. Bytes, index and trailer are durable in open/ on the first healthy volume; the others owe them.
//     A crash before leaves a file in open/ that ends anywhere: recovery keeps its valid records and ends it.
//  2. The leaf is in the ledger, under a signed checkpoint.
//     A crash before leaves a whole file in open/ without a leaf: recovery goes on with 2.
//  3. The audit record of its closing is durable.
//     A crash before leaves a file in open/ with a leaf: recovery goes on with 3, and says that it did.
//  4. The file moves from open/ to segments/, durable with the volume's next sync.
//     A crash before leaves the same; a closing that was recorded is recorded once more.
//
// The move comes last and not with step 1, so that what is not settled lies in
// open/ and is found without a walk of the archive, and so that a file in segments/
// without a leaf is never ours (docs/adr/0010-move-comes-last.md).
//
// Success and failure are both written to the audit log.
//
//vigil:clause 5.2.7.2
func (s *Store) commit(ctx context.Context, leaves []ledger.Leaf) {
	b := &s.beat
	defer s.settle()

	// 1. Bytes.
	for _, it := range b.items {
		if it.stage != closing {
			continue
		}
		size, _, safe, err := it.w.file.Progress()
		switch {
		case err != nil:
			it.stage = gone
			_ = s.note(failed(it.by, it.info, Cause(err), err))
		case safe == size:
			it.stage = hardened
		}
	}

	// 2. Ledger.
	var batch []*sealed
	for _, it := range b.items {
		if it.stage != hardened || len(batch) == maxCommit {
			continue
		}
		leaf, err := it.meta.Leaf()
		if err != nil { // cannot be: what it is made of was checked
			it.stage = gone
			_ = s.note(failed(it.by, it.info, media.DiskFailed, err))
			continue
		}
		batch, leaves = append(batch, it), append(leaves, leaf)
	}
	own := len(leaves) - len(batch)
	if b.anchor != nil {
		leaves = append(leaves, b.anchor.leaf)
	}
	if len(leaves) > 0 {
		first, err := s.cfg.Ledger.Append(ctx, leaves)
		if err != nil {
			s.trouble("ledger", fmt.Errorf("append %d leaves: %w", len(leaves), err))
			return
		}
		s.cfg.Alerts.Clear(CommitFailed, "ledger")
		if b.anchor != nil {
			b.anchor.done()
			b.anchor = nil
		}
		s.mu.Lock()
		for i, it := range batch {
			it.stage, it.leaf = inLedger, first+uint64(own+i)
			if it.w != nil {
				it.w.leaf = true
			}
		}
		s.mu.Unlock()
	}

	// 3. Audit.
	for _, it := range b.items {
		if it.stage == inLedger && s.note(closed(it)) == nil {
			it.stage = recorded
		}
		if it.stage == empty && !it.noted {
			it.noted = s.note(closed(it)) == nil
		}
	}
	if err := s.flush(); err != nil {
		s.trouble("audit", err)
		return
	}
	s.cfg.Alerts.Clear(CommitFailed, "audit")

	// 4. Move.
	for _, it := range b.items {
		if it.stage == recorded {
			it.stage = told
		}
		if it.moving || it.stage != told && it.stage != empty {
			continue
		}
		it.moving = true
		done := func(err error) { // called by the volume, locked
			s.mu.Lock()
			it.moved, it.err = true, err
			s.mu.Unlock()
			if err == nil {
				s.wake() // else the next beat tries again, and not this one
			}
		}
		if it.stage == empty {
			it.vol.Discard(openName(it.info.Segment), done)
		} else {
			it.vol.Move(openName(it.info.Segment), SegmentName(it.info.Segment, it.meta.Start), done)
		}
	}
}

// maxCommit bounds the segments of one beat: a leaf has about 300 bytes.
const maxCommit = 1024

// settle takes from the list what is done with.
func (s *Store) settle() {
	var lost []*sealed
	defer func() {
		for _, it := range lost {
			s.damaged(FileTampered, it.meta, "missing", "the file is gone from open/")
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beat.items = slices.DeleteFunc(s.beat.items, func(it *sealed) bool {
		if it.moved && it.err != nil {
			s.log.Error("move of a segment", "segment", it.info.Segment, "err", it.err)
			switch away := new(volume.Error); {
			case errors.As(it.err, &away):
				it.stage = gone // recovery finds it when the volume comes back
			case errors.Is(it.err, fs.ErrNotExist):
				it.stage = gone
				lost = append(lost, it)
			default:
				it.moving, it.moved, it.err = false, false, nil // again in the next beat
			}
		} else if it.moved {
			it.stage = settled
		}
		if it.stage != settled && it.stage != gone {
			return false
		}
		if it.w != nil {
			delete(s.open, it.info.Segment)
		} else {
			delete(s.recovering, it.info.Segment)
		}
		if it.stage == gone { // the recovery may have passed by already
			s.shelves[it.vol].fresh = true
			s.look()
		}
		if it.done != nil {
			close(it.done)
		}
		return true
	})
}

// pulse returns leaves that commit to what is durable of the open segments, so
// that cutting off the last minute cannot pass for a crash. It takes two beats: the
// running digests are taken in one and told once the bytes under them are durable.
func (s *Store) pulse() []ledger.Leaf {
	b := &s.beat
	s.mu.Lock()
	list := make([]*Writer, 0, len(s.open))
	for _, w := range s.open {
		if w.item == nil || w.item.stage < inLedger {
			list = append(list, w)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *Writer) int { return slices.Compare(a.info.Segment[:], b.info.Segment[:]) })

	if !b.pulsing {
		if time.Since(b.pulsed) < s.cfg.Pulse {
			return nil
		}
		b.pulsed, b.pulsing = time.Now(), true
		for _, w := range list {
			w.pulse = segment.Running{}
			w.mu.Lock()
			if w.seg != nil && w.count > 0 {
				w.pulse = w.seg.Running()
			}
			w.mu.Unlock()
		}
		return nil
	}
	var open []ledger.OpenSegment
	for _, w := range list {
		r := w.pulse
		if r.Records == 0 {
			continue
		}
		if _, _, safe, err := w.file.Progress(); err != nil || safe < r.Bytes {
			if err == nil && time.Since(b.pulsed) < s.cfg.Pulse/2 {
				return nil // one sync more
			}
			continue
		}
		open = append(open, ledger.OpenSegment{
			Segment: r.Segment, Stream: r.Stream, Records: uint32(r.Records), Bytes: r.Bytes, Until: r.End, Sealed: r.Sealed,
		})
	}
	b.pulsing = false
	var leaves []ledger.Leaf
	at := time.Now().UnixNano()
	for part := range slices.Chunk(open, ledger.MaxOpen) {
		leaf, err := ledger.PulseMeta{At: at, Open: part}.Leaf()
		if err != nil {
			s.log.Error("pulse", "err", err)
			continue
		}
		leaves = append(leaves, leaf)
	}
	return leaves
}

// markEvery spaces the marks: what a start reads of the ledger, and one small
// file each.
const markEvery = time.Minute

// mark tells the volumes up to which leaf they are done, at times.
func (s *Store) mark(last bool) {
	if time.Since(s.beat.marked) < markEvery && !last {
		return
	}
	s.beat.marked = time.Now()
	size := s.cfg.Ledger.Size() // before looking: what is appended meanwhile is not covered
	for _, v := range s.cfg.Volumes {
		if v.Status().State != volume.Online {
			continue
		}
		s.mu.Lock()
		h := s.shelves[v]
		upTo := min(size, h.owed())
		for _, w := range s.open {
			if w.vol == v {
				upTo = min(upTo, w.since)
			}
		}
		for _, it := range s.beat.items {
			if it.vol == v {
				upTo = min(upTo, it.since)
			}
		}
		skip := h.settling || upTo <= h.settled
		if !skip {
			h.settling = true
		}
		s.mu.Unlock()
		if skip {
			continue
		}
		v.Settle(upTo, func(err error) { // called by the volume, locked
			s.mu.Lock()
			h.settling = false
			if err == nil {
				h.settled = upTo
			}
			s.mu.Unlock()
		})
	}
}
