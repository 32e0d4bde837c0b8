package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"vigil/internal/actor"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// An Entry is one security event for the audit log (clause 5.2.7.2: complete
// time stamp, who, result).
type Entry struct {
	At     time.Time
	Actor  actor.Actor
	Action string // segment.open, segment.close, ...
	Object string // a segment, a volume, a file
	Camera media.CameraID
	OK     bool
	Reason string // why not, or why
	Detail map[string]string
}

// An Auditor is the part of audit.Log that the store needs. Record does not
// wait for the disk. Flush makes what was recorded durable and returns the leaf
// that anchors all that is not anchored yet, if there is anything, and what to call once
// that leaf is in the ledger; a later leaf replaces it.
type Auditor interface {
	Record(Entry) error
	Flush() (leaf ledger.Leaf, anchored func(), ok bool, err error)
}

type anchor struct {
	leaf ledger.Leaf
	done func()
}

func opened(w *Writer) Entry {
	return Entry{
		At: time.Now(), Actor: w.by, Action: "segment.open", Object: w.info.Segment.String(), Camera: w.info.Camera, OK: true,
		Detail: map[string]string{"stream": w.info.Stream.String(), "volume": w.vol.ID().String()},
	}
}

func closed(it *sealed) Entry {
	e := Entry{
		At: time.Now(), Actor: it.by, Action: "segment.close", Object: it.info.Segment.String(), Camera: it.info.Camera, OK: true,
		Detail: map[string]string{"stream": it.info.Stream.String(), "volume": it.vol.ID().String()},
	}
	if it.recovered != "" {
		e.Action, e.Reason = "segment.recover", it.recovered
	}
	if it.stage == empty {
		e.Reason = "empty"
		return e
	}
	m := it.meta
	e.Detail["bytes"] = strconv.FormatInt(m.Bytes, 10)
	e.Detail["from"] = stamp(m.Start)
	e.Detail["to"] = stamp(m.End)
	e.Detail["digest"] = hex.EncodeToString(m.Sealed[:])
	e.Detail["end"] = string(m.EndCause)
	e.Detail["leaf"] = strconv.FormatUint(it.leaf, 10)
	return e
}

func failed(by actor.Actor, info segment.Info, cause media.Cause, err error) Entry {
	return Entry{
		At: time.Now(), Actor: by, Action: "segment.fail", Object: info.Segment.String(), Camera: info.Camera,
		Reason: string(cause),
		Detail: map[string]string{"stream": info.Stream.String(), "error": err.Error()},
	}
}

// stamp is a complete time in UTC.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// note hands an entry to the audit log.
func (s *Store) note(e Entry) error {
	err := s.cfg.Audit.Record(e)
	if err != nil {
		s.trouble("audit", err)
	}
	return err
}

// flush makes the audit log's queue durable.
func (s *Store) flush() error {
	leaf, done, ok, err := s.cfg.Audit.Flush()
	if ok {
		s.beat.anchor = &anchor{leaf, done}
	}
	return err
}

func (s *Store) trouble(what string, err error) {
	s.complain.Do(func() { s.log.Error("commit", "step", what, "err", err) })
	s.cfg.Alerts.Raise(CommitFailed, what, map[string]string{"error": err.Error()})
}

// tell makes alerts and audit records of what volumes said.
func (s *Store) tell() {
	s.mu.Lock()
	changes := s.changes
	s.changes = nil
	s.mu.Unlock()
	for _, c := range changes {
		now := troubleOf(c.to.State)
		for _, kind := range []string{DiskTrouble, VolumeTaken, VolumeNewer} { // what was wrong before is over
			if kind != now {
				s.cfg.Alerts.Clear(kind, c.v.Dir())
			}
		}
		if now != "" {
			s.cfg.Alerts.Raise(now, c.v.Dir(), map[string]string{
				"state": string(c.to.State), "cause": string(c.to.Cause), "error": fmt.Sprint(c.to.Err),
			})
		}
		e := Entry{
			At: c.to.Since, Actor: actor.Of("store", ""), Action: "volume.state", Object: c.v.Dir(),
			OK: c.to.State == volume.Online, Reason: string(c.to.Cause),
			Detail: map[string]string{"state": string(c.to.State), "was": string(c.from.State), "volume": c.v.ID().String()},
		}
		if c.to.Err != nil {
			e.Detail["error"] = c.to.Err.Error()
		}
		_ = s.note(e)
	}
}

// troubleOf is the kind of alert for a volume in a state: each has its own
// remedy.
func troubleOf(state volume.State) string {
	switch state {
	case volume.Online:
		return ""
	case volume.Taken:
		return VolumeTaken
	case volume.Newer:
		return VolumeNewer
	}
	return DiskTrouble
}
