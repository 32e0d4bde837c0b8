package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"vigil/internal/actor"
	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// Recover makes what lies open on the volumes part of the record, and waits
// for it. Run does the same by itself whenever a volume comes, beside
// recording; Recover needs Run to be running.
func (s *Store) Recover(ctx context.Context) error {
	var errs []error
	for _, v := range s.cfg.Volumes {
		items, err := s.recoverVolume(ctx, v)
		if err != nil {
			errs = append(errs, err)
		}
		for _, it := range items {
			select {
			case <-it.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return errors.Join(errs...)
}

// A past is what the ledger says about the files in open/ of a volume. It is
// small even if the whole ledger had to be read for it.
type past struct {
	leaves map[media.SegmentID]known              // those in the ledger
	pulses map[media.SegmentID]ledger.OpenSegment // the last of each
	tombs  map[media.SegmentID]int64              // removed; their start
	newest []ledger.OpenSegment                   // of the last pulse
	at     uint64                                 // that pulse
	beat   int64                                  // its time: a pulse of many is several leaves
	first  map[media.SegmentID]int64              // of newest: how far each was at its first pulse

	from  uint64 // the leaf that reading began with
	since int64  // when that leaf was young at the latest, ns since the epoch: what is open began later
	older *past  // from leaf 0 on; nil until somebody wants to know
}

type known struct {
	leaf uint64
	meta ledger.SegmentMeta
}

// recoverVolume looks after what an end in disorder left: files in open/, and
// removals cut short. What it finds goes the way of all segments, through commit. It
// costs as much as there is in open/, and of the ledger what is newer than the
// volume's mark.
func (s *Store) recoverVolume(ctx context.Context, v *volume.Volume) (items []*sealed, err error) {
	s.recovery.Lock()
	defer s.recovery.Unlock()
	s.mu.Lock()
	h := s.shelves[v]
	owed := h.failed
	h.failed = nil
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			h.failed, h.fresh = append(h.failed, owed...), true // once more when the visitor looks again
			return
		}
		for _, leaf := range owed {
			h.paid(leaf)
		}
	}()

	from, err := v.Settled()
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	if from > s.cfg.Ledger.Size() {
		from = 0 // another ledger, or an older one: the whole of it counts
	}
	root, err := v.Root()
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	if err := s.takeKeys(v, root); err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	list, err := root.ReadDir(volume.OpenDir)
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	seen := map[media.SegmentID]bool{}
	for _, e := range list {
		if id, ok := segmentID(e.Name()); ok {
			seen[id] = true
		}
	}
	p, err := s.readPast(ctx, from, seen, func(gone map[media.SegmentID]int64) error { return s.resumeRemovals(root, gone) })
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}

	var errs []error
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return items, err
		}
		id, ok := segmentID(e.Name())
		if !ok || !e.Type().IsRegular() {
			errs = append(errs, s.quarantine(v, path.Join(volume.OpenDir, e.Name()), "no segment, or not its name", true))
			continue
		}
		if s.alive(id) {
			continue
		}
		it, err := s.recoverFile(ctx, v, root, id, p, seen)
		if err != nil {
			errs = append(errs, fmt.Errorf("recover segment %s: %w", id, err))
			continue
		}
		if it != nil {
			it.since = from
			if s.cfg.ArmedBy != nil {
				it.by.ArmedBy = s.cfg.ArmedBy(it.info.Stream)
			}
			items = append(items, it)
			s.hand(it)
		}
	}
	s.missing(p, seen)
	return items, errors.Join(errs...)
}

// hand gives a segment to the beat.
func (s *Store) hand(it *sealed) {
	s.mu.Lock()
	s.waiting = append(s.waiting, it)
	s.recovering[it.info.Segment] = true
	s.mu.Unlock()
	s.wake()
}

// alive tells whether a segment is being written or on its way already.
func (s *Store) alive(id media.SegmentID) bool {
	s.mu.Lock()
	w, busy := s.open[id], s.recovering[id]
	s.mu.Unlock()
	if busy {
		return true
	}
	if w == nil {
		return false
	}
	_, _, _, err := w.file.Progress()
	return err == nil
}

func segmentID(name string) (id media.SegmentID, ok bool) {
	text, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return id, false
	}
	return id, id.UnmarshalText([]byte(text)) == nil && !id.IsZero()
}

// readPast reads the ledger from a volume's mark on, for some segments. What
// was removed is handed over in parts, for its files to be removed once more.
func (s *Store) readPast(ctx context.Context, from uint64, wanted map[media.SegmentID]bool, removed func(map[media.SegmentID]int64) error) (*past, error) {
	p := &past{leaves: map[media.SegmentID]known{}, pulses: map[media.SegmentID]ledger.OpenSegment{}, tombs: map[media.SegmentID]int64{}, from: from}
	var before map[media.SegmentID]int64
	gone := map[media.SegmentID]int64{}
	hand := func(most int) error {
		if len(gone) <= most {
			return nil
		}
		defer clear(gone)
		return removed(gone)
	}
	err := s.cfg.Ledger.Follow(from, func(i uint64, l ledger.Leaf) error {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if l.Lost {
			return nil // its metadata is damaged in every folder; the ledger tells
		}
		switch l.Kind {
		case ledger.Segment:
			m, err := ledger.ParseSegment(l)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", i, err)
			}
			if wanted[m.Segment] {
				p.leaves[m.Segment] = known{i, m}
			}
		case ledger.Tombstone:
			m, err := ledger.ParseTombstone(l)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", i, err)
			}
			if wanted[m.Segment] {
				p.tombs[m.Segment] = m.Start
			}
			gone[m.Segment] = m.Start
			return hand(maxRemove)
		case ledger.Pulse:
			m, err := ledger.ParsePulse(l)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", i, err)
			}
			if m.At != p.beat {
				p.newest, p.at, p.beat = nil, i, m.At
				before, p.first = p.first, map[media.SegmentID]int64{}
			}
			p.newest = append(p.newest, m.Open...)
			for _, o := range m.Open {
				p.first[o.Segment] = o.Until
				if at, ok := before[o.Segment]; ok {
					p.first[o.Segment] = at
				}
				if wanted[o.Segment] {
					p.pulses[o.Segment] = o
				}
			}
		}
		return nil
	})
	if err == nil {
		err = hand(0)
	}
	return p, err
}

// lookBack is how many leaves before a volume's mark are asked for the time.
const lookBack = 256

// began returns a time at which a leaf was not in the ledger yet, or 0.
func (s *Store) began(leaf uint64) (at int64, err error) {
	err = s.cfg.Ledger.Follow(leaf-min(leaf, lookBack), func(i uint64, l ledger.Leaf) error {
		if i >= leaf {
			return errEnough
		}
		if l.Lost {
			return nil
		}
		switch l.Kind {
		case ledger.Segment:
			if m, err := ledger.ParseSegment(l); err == nil {
				at = max(at, m.End)
			}
		case ledger.Pulse:
			if m, err := ledger.ParsePulse(l); err == nil {
				at = max(at, m.At)
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return at, err
}

// old tells whether a file in open/ may be one that the ledger knew before the
// volume's mark: a segment that was settled, or removed, and that somebody put
// back. What a crash leaves open began after the mark; so the whole ledger is
// read only where something is wrong, be it the clock.
func (s *Store) old(ctx context.Context, p *past, start int64, seen map[media.SegmentID]bool) (*past, error) {
	if p.from == 0 {
		return p, nil
	}
	var err error
	if p.since == 0 {
		if p.since, err = s.began(p.from); err != nil {
			return nil, err
		}
	}
	if p.since != 0 && start >= p.since && start <= time.Now().Add(time.Hour).UnixNano() {
		return p, nil
	}
	if p.older == nil {
		p.older, err = s.readPast(ctx, 0, seen, func(map[media.SegmentID]int64) error { return nil })
	}
	return p.older, err
}

// settleKnown goes on with a file in open/ whose leaf is in the ledger. A bad
// one never takes the place of another.
func (s *Store) settleKnown(v *volume.Volume, root durable.FS, f *File, it *sealed, k known) (*sealed, error) {
	it.stage, it.leaf, it.meta, it.recovered = inLedger, k.leaf, k.meta, "in the ledger, not moved"
	it.info = segment.Info{Segment: k.meta.Segment, Stream: k.meta.Stream, Camera: k.meta.Camera}
	bad := segment.Verify(io.NewSectionReader(f, 0, f.Size()), k.meta.Sealed)
	if bad == nil {
		return it, nil
	}
	if _, err := root.Stat(SegmentName(k.meta.Segment, k.meta.Start)); err == nil {
		return nil, s.quarantine(v, openName(k.meta.Segment), "a second file of a segment, and not its bytes", true)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.damaged(FileDamaged, k.meta, "altered", bad.Error())
	return it, nil
}

// recoverFile looks at one file in open/, of which seen are all. It returns what the beat is to
// commit, or nil where nothing is.
func (s *Store) recoverFile(ctx context.Context, v *volume.Volume, root durable.FS, id media.SegmentID, p *past, seen map[media.SegmentID]bool) (*sealed, error) {
	name := openName(id)
	if start, removed := p.tombs[id]; removed {
		return nil, s.unlink(root, id, start)
	}
	f, err := openFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // settled since the folder was listed
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()

	it := &sealed{by: actor.Of("store", ""), info: segment.Info{Segment: id}, vol: v, stage: hardened, done: make(chan struct{})}
	if k, ok := p.leaves[id]; ok {
		return s.settleKnown(v, root, f, it, k)
	}
	pulse, pulsed := p.pulses[id]
	blank, err := isBlank(f)
	if err != nil {
		return nil, err
	}
	if blank && !pulsed { // created, and cut off before the first sync
		it.stage, it.recovered = empty, "empty"
		return it, nil
	}

	var keyID [16]byte
	r, err := segment.Recover(f, f.Size(), s.unwrap(&keyID))
	if err == nil && r.Summary.Segment != id {
		err = fmt.Errorf("it says it is segment %s", r.Summary.Segment)
	}
	if err != nil {
		var perr *fs.PathError
		if errors.As(err, &perr) {
			return nil, err // the disk, not the file
		}
		if pulsed {
			s.tampered(pulse, segment.Info{Segment: id, Stream: pulse.Stream}, p.first[id], "altered", err.Error())
		}
		return nil, s.quarantine(v, name, err.Error(), !pulsed && errors.Is(err, segment.ErrFormat))
	}
	it.info = r.Summary.Info
	if pulsed {
		if err := s.compare(root, f, r, pulse, p.first[id]); err != nil {
			return nil, err
		}
	}
	if !pulsed && (r.Summary.Records > 0 || r.Valid < f.Size()) {
		older, err := s.old(ctx, p, r.Summary.Start, seen)
		if err != nil {
			return nil, err
		}
		if start, removed := older.tombs[id]; removed {
			return nil, s.unlink(root, id, start)
		}
		if k, ok := older.leaves[id]; ok {
			return s.settleKnown(v, root, f, it, k)
		}
	}
	if r.Summary.Records == 0 {
		it.stage, it.recovered = empty, "empty"
		return it, nil
	}
	it.meta = meta(r.Summary, keyID)
	it.recovered = "whole"
	if !r.Complete {
		it.meta.Recovered = true
		it.recovered = fmt.Sprintf("cut at %d of %d bytes", r.Valid, f.Size())
		if r.Why == nil {
			it.recovered = "without an end"
		}
		if err := v.Append(name, r.Valid, r.Tail); err != nil { // step 1 of commit
			return nil, err
		}
	}
	return it, nil
}

// isBlank tells whether a file holds nothing but zeros, as some file systems
// leave what was never synced.
func isBlank(f *File) (bool, error) {
	b := make([]byte, 64<<10)
	for at := int64(0); at < f.Size(); at += int64(len(b)) {
		n, err := f.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if bytes.Count(b[:n], []byte{0}) != n {
			return false, nil
		}
	}
	return true, nil
}

// compare holds what was recovered against the last pulse: what a pulse says
// was durable and is not there was taken away, by a person or by a disk that
// lied; first is how far it was at its first pulse. What is behind the valid part is kept in quarantine.
//
//vigil:clause 5.2.8.2
func (s *Store) compare(root durable.FS, f *File, r *segment.Recovered, pulse ledger.OpenSegment, first int64) error {
	var reason string
	end := r.Summary.End
	if r.Summary.Records >= int(pulse.Records) {
		then, err := r.At(f, int(pulse.Records))
		if err != nil {
			return err
		}
		if then.Sealed == pulse.Sealed {
			return nil
		}
		reason = "other-bytes"
		end = pulse.Until
	} else {
		reason = "cut-short"
	}
	if r.Summary.Records == 0 {
		end = first
	}
	s.tampered(pulse, r.Summary.Info, end, reason, fmt.Sprintf("%d of %d fragments of its last pulse", r.Summary.Records, pulse.Records))
	if r.Valid >= f.Size() || r.Complete {
		return nil
	}
	rest := make([]byte, f.Size()-r.Valid)
	if _, err := f.ReadAt(rest, r.Valid); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return durable.WriteFile(root, path.Join(volume.Quarantine, r.Summary.Segment.String()+".rest"), rest)
}

// tampered raises the alert for a file that is shorter than its last pulse,
// or gone: until is the time up to which it is there, or from which it was there once; 0: nobody knows.
func (s *Store) tampered(p ledger.OpenSegment, info segment.Info, until int64, reason, detail string) {
	args := map[string]string{"stream": p.Stream.String(), "to": stamp(p.Until), "reason": reason, "error": detail}
	if !info.Camera.IsZero() {
		args["camera"] = info.Camera.String()
	}
	if until != 0 {
		args["from"] = stamp(min(until, p.Until))
		args["seconds"] = strconv.FormatInt((max(0, p.Until-until)+int64(time.Second)-1)/int64(time.Second), 10)
	}
	s.cfg.Alerts.Raise(FileTampered, p.Segment.String(), args)
	_ = s.note(Entry{At: time.Now(), Actor: actor.Of("store", ""), Action: "segment.tampered", Object: p.Segment.String(), Camera: info.Camera, Reason: reason, Detail: args})
}

// damaged raises the alert for a file of the ledger.
func (s *Store) damaged(kind string, m ledger.SegmentMeta, reason, detail string) {
	args := map[string]string{
		"stream": m.Stream.String(), "camera": m.Camera.String(), "from": stamp(m.Start), "to": stamp(m.End), "reason": reason, "error": detail,
		"seconds": strconv.FormatInt((m.End-m.Start+int64(time.Second)-1)/int64(time.Second), 10),
	}
	s.cfg.Alerts.Raise(kind, m.Segment.String(), args)
	_ = s.note(Entry{At: time.Now(), Actor: actor.Of("store", ""), Action: "segment.damaged", Object: m.Segment.String(), Camera: m.Camera, Reason: reason, Detail: args})
}

// missing raises an alert for each segment that was open in the last pulse and
// has neither a file nor a leaf. It needs all volumes: the file may be on one
// that is away.
//
//vigil:clause 5.2.8.2
func (s *Store) missing(p *past, seen map[media.SegmentID]bool) {
	for _, o := range p.newest {
		if seen[o.Segment] || s.alive(o.Segment) {
			continue
		}
		found := false
		for _, v := range s.cfg.Volumes {
			root, err := v.Root()
			if err != nil {
				found = true
				break
			}
			if _, err := root.Stat(openName(o.Segment)); !errors.Is(err, fs.ErrNotExist) {
				found = true
			}
		}
		if found || s.inLedger(o.Segment, p.at) {
			continue
		}
		s.tampered(o, segment.Info{Segment: o.Segment, Stream: o.Stream}, p.first[o.Segment], "missing", "the file is gone from open/")
	}
}

// inLedger tells whether a segment got its leaf since.
func (s *Store) inLedger(id media.SegmentID, from uint64) (found bool) {
	_ = s.cfg.Ledger.Follow(from, func(_ uint64, l ledger.Leaf) error {
		if l.Kind == ledger.Segment && !l.Lost {
			if m, err := ledger.ParseSegment(l); err == nil && m.Segment == id {
				found = true
			}
		}
		return nil
	})
	return found
}

// quarantine puts a file aside that nobody knows. It is never deleted.
func (s *Store) quarantine(v *volume.Volume, name, reason string, alert bool) error {
	root, err := v.Root()
	if err != nil {
		return err
	}
	to := path.Join(volume.Quarantine, fmt.Sprintf("%s.%d", path.Base(name), time.Now().UnixNano()))
	if err := root.Rename(name, to); err != nil {
		return fmt.Errorf("quarantine %s: %w", name, err)
	}
	for _, dir := range []string{volume.Quarantine, path.Dir(name)} {
		if err := root.SyncDir(dir); err != nil {
			return fmt.Errorf("quarantine %s: %w", name, err)
		}
	}
	args := map[string]string{"file": name, "now": to, "reason": reason}
	if alert {
		s.cfg.Alerts.Raise(FileUnknown, v.Dir(), args)
	}
	return s.note(Entry{At: time.Now(), Actor: actor.Of("store", ""), Action: "file.quarantine", Object: name, Reason: reason, Detail: args})
}
