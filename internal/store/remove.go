package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"time"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/volume"
)

// A Ref names a segment of the ledger with what its tombstone repeats.
type Ref struct {
	Segment    media.SegmentID
	Stream     media.StreamID
	Camera     media.CameraID
	Start, End int64 // ns since the epoch
	Bytes      int64
	Sealed     ledger.Digest
}

// RefOf is the Ref of a segment's leaf.
func RefOf(m ledger.SegmentMeta) Ref {
	return Ref{Segment: m.Segment, Stream: m.Stream, Camera: m.Camera, Start: m.Start, End: m.End, Bytes: m.Bytes, Sealed: m.Sealed}
}

// maxRemove bounds the tombstones of one append.
const maxRemove = 512

// Remove takes segments out of the record: for good, and with a trace. It may
// wait for a disk. All volumes must be there, or nothing is removed; while ctx lasts it
// goes on in parts. Each part:
//
//  1. The tombstones are in the ledger, under a checkpoint.
//     A crash before leaves everything as it was.
//  2. The removal is in the audit log's queue, with who and why.
//  3. The files go, and their names durably.
//     A crash before leaves files of removed segments: recovery goes on with 3, since the
//     volumes' marks stay before the tombstones until their files are gone.
//
//vigil:clause 5.2.7.2
func (s *Store) Remove(ctx context.Context, by actor.Actor, segs []Ref, why media.Cause, reason string) error {
	for part := range slices.Chunk(segs, maxRemove) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("remove segments: %w", err)
		}
		if err := s.remove(ctx, by, part, why, reason); err != nil {
			return fmt.Errorf("remove %d segments: %w", len(part), err)
		}
	}
	return nil
}

func (s *Store) remove(ctx context.Context, by actor.Actor, segs []Ref, why media.Cause, reason string) (err error) {
	roots := map[*volume.Volume]durable.FS{}
	for _, v := range s.cfg.Volumes {
		if roots[v], err = v.Root(); err != nil {
			return err
		}
	}
	for _, r := range segs {
		if s.busy(r.Segment) {
			return fmt.Errorf("segment %s: %w", r.Segment, ErrBusy)
		}
	}
	owed := s.cfg.Ledger.Size()
	s.mu.Lock()
	for v := range roots {
		s.shelves[v].owe(owed)
	}
	s.mu.Unlock()

	// 1. Tombstones.
	leaves := make([]ledger.Leaf, len(segs))
	for i, r := range segs {
		leaves[i] = ledger.TombstoneMeta{
			Segment: r.Segment, Stream: r.Stream, Camera: r.Camera, Start: r.Start, End: r.End, Bytes: r.Bytes, Sealed: r.Sealed,
			At: time.Now().UnixNano(), Why: why, By: by.String(), Reason: reason,
		}.Leaf()
	}
	if _, err := s.cfg.Ledger.Append(ctx, leaves); err != nil {
		s.pay(slices.Collect(maps.Keys(roots)), owed)
		for _, r := range segs {
			_ = s.note(removal(by, r, why, reason, err))
		}
		return err
	}

	// 2. Audit.
	for _, r := range segs {
		_ = s.note(removal(by, r, why, reason, nil))
	}

	// 3. Files.
	gone := map[media.SegmentID]int64{}
	for _, r := range segs {
		gone[r.Segment] = r.Start
	}
	var errs []error
	for v, root := range roots {
		if err := s.resumeRemovals(root, gone); err != nil {
			errs = append(errs, fmt.Errorf("volume %s: %w", v.Dir(), err))
			s.mu.Lock() // stays owed: the next recovery pays
			h := s.shelves[v]
			h.failed, h.fresh = append(h.failed, owed), true
			s.mu.Unlock()
			continue
		}
		s.pay([]*volume.Volume{v}, owed)
	}
	return errors.Join(errs...)
}

func (s *Store) pay(volumes []*volume.Volume, owed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range volumes {
		s.shelves[v].paid(owed)
	}
}

// busy tells whether a segment is not settled yet.
func (s *Store) busy(id media.SegmentID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id] != nil || s.recovering[id]
}

func removal(by actor.Actor, r Ref, why media.Cause, reason string, err error) Entry {
	e := Entry{
		At: time.Now(), Actor: by, Action: "segment.remove", Object: r.Segment.String(), Camera: r.Camera, OK: err == nil, Reason: string(why),
		Detail: map[string]string{
			"stream": r.Stream.String(), "from": stamp(r.Start), "to": stamp(r.End), "bytes": strconv.FormatInt(r.Bytes, 10),
		},
	}
	if reason != "" {
		e.Detail["reason"] = reason
	}
	if err != nil {
		e.Detail["error"] = err.Error()
	}
	return e
}

// resumeRemovals takes away the files of removed segments, given with their
// start, and the folders that become empty.
func (s *Store) resumeRemovals(root durable.FS, gone map[media.SegmentID]int64) error {
	dirs := map[string]bool{}
	for id, start := range gone {
		name := SegmentName(id, start)
		switch err := root.Remove(name); {
		case err == nil:
			dirs[path.Dir(name)] = true
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := root.SyncDir(dir); err != nil {
			return err
		}
		// An hour and a day without footage leave no folder. Full ones refuse.
		if root.Remove(dir) == nil {
			_ = root.Remove(path.Dir(dir))
		}
	}
	return nil
}

// unlink takes away the file of a removed segment that never left open/.
func (s *Store) unlink(root durable.FS, id media.SegmentID, start int64) error {
	if err := root.Remove(openName(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.SyncDir(volume.OpenDir); err != nil {
		return err
	}
	return s.resumeRemovals(root, map[media.SegmentID]int64{id: start})
}
