package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"vigil/internal/alert"
	"vigil/internal/audit"
	"vigil/internal/catalogue"
	"vigil/internal/ledger"
	"vigil/internal/store"
	"vigil/internal/store/volume"
	"vigil/internal/text"
	"vigil/internal/web"
)

// checker asserts the three invariants.
type checker struct{ *App }

// Check is invariants 1 and 2 by the store, 3 by the catalogue; deep also
// digests all footage, all tiles of the ledger and the chain of the audit log. What it
// finds altered or missing is an alert.
//
//vigil:clause 5.2.8.2
func (c checker) Check(ctx context.Context, deep bool, progress func(step string, done, total uint64)) (web.CheckReport, error) {
	report := web.CheckReport{Counts: map[string]int{}}
	add := func(wrong bool, f web.CheckFinding) {
		report.Counts[f.Trouble]++
		if wrong {
			report.Wrong++
		}
		if len(report.Findings) < store.MaxFindings {
			report.Findings = append(report.Findings, f)
		}
	}
	depth := store.Names
	if deep {
		depth = store.Bytes
	}
	if err := c.recovered(ctx); err != nil { // Check tells of a volume that is away, and of what is pending
		c.log.Warn("recovery before the check", "err", err)
	}
	rep, err := c.store.Check(ctx, depth, func(done, total uint64) { progress("files", done, total) })
	var away *volume.Error
	if errors.As(err, &away) {
		return report, text.Fail(err, "check.volume-away", "folder", away.Dir)
	}
	if err != nil {
		return report, fmt.Errorf("check files: %w", err)
	}
	report.Segments, report.Bytes, report.Read, report.Leaves = rep.Segments, rep.Bytes, rep.Read, c.ledger.Size()
	for _, f := range rep.Findings {
		add(f.Trouble != store.Quarantined && f.Trouble != store.Pending, c.tell(f))
	}
	if deep {
		if err := c.ledger.Verify(ctx, func(done, total uint64) { progress("ledger", done, total) }); err != nil {
			if ctx.Err() != nil {
				return report, err
			}
			add(true, web.CheckFinding{Trouble: "ledger", Detail: err.Error()})
		}
		_, findings, err := c.places.log.Verify(ctx, c.anchors())
		if err != nil {
			return report, fmt.Errorf("check audit log: %w", err)
		}
		for _, f := range findings {
			add(true, web.CheckFinding{Trouble: "audit-" + string(f.Trouble), Detail: f.Error()})
			c.alerts.Raise(auditAlert(f))
		}
	}
	if err := c.catalogue.CatchUp(ctx, c.ledger); err != nil {
		return report, fmt.Errorf("check catalogue: %w", err)
	}
	tmp, err := os.MkdirTemp(c.dir, "check-*") // encrypted like the catalogue itself
	if err != nil {
		return report, err
	}
	defer os.RemoveAll(tmp)
	progress("catalogue", 0, 1)
	if err := c.catalogue.Check(ctx, c.ledger, tmp); err != nil {
		var diff catalogue.Difference
		if !errors.As(err, &diff) {
			return report, fmt.Errorf("check catalogue: %w", err)
		}
		add(true, web.CheckFinding{Trouble: "catalogue", Place: diff.Table, Detail: diff.Error()})
	}
	return report, nil
}

// recovered waits until what a crash left is part of the record, so that what
// is missing there is told by the check of a recorder that was just started. In trouble it does
// not wait for long.
func (c checker) recovered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.store.Recover(ctx)
}

// tell puts a finding of the store into words, and on the board when a person
// must know.
func (c checker) tell(f store.Finding) web.CheckFinding {
	const most = 4096 // bytes: a path
	w := web.CheckFinding{Trouble: string(f.Trouble), Place: audit.Clean(f.Volume+"/"+f.File, most)}
	if f.Err != nil {
		w.Detail = audit.Clean(f.Err.Error(), most)
	}
	if f.Trouble == store.Unknown || f.Trouble == store.Misplaced {
		c.alerts.Raise(alert.Condition{Kind: alert.FileUnknown, Object: f.Volume, Args: map[string]string{"file": f.File, "reason": string(f.Trouble)}})
	}
	if f.Segment.IsZero() {
		return w
	}
	w.Segment, w.Camera = f.Segment.String(), f.Camera.String()
	args := map[string]string{"reason": string(f.Trouble), "camera": c.cameraName(f.Camera)}
	if f.Start != 0 {
		from, to := f.Start/1e6, f.End/1e6
		w.From, w.To = &from, &to
		span(args, f.Start, f.End)
	}
	kind, ok := map[store.Trouble]alert.Kind{
		store.NoFile: alert.FileMissing, store.WrongSize: alert.FileTampered, store.WrongDigest: alert.FileTampered, store.Unreadable: alert.FileDamaged,
	}[f.Trouble]
	if ok {
		c.alerts.Raise(alert.Condition{Kind: kind, Object: w.Segment, Camera: f.Camera, Args: args})
	}
	return w
}

// anchors are the heads of the audit log that the ledger has.
func (c checker) anchors() iter.Seq2[audit.Batch, error] {
	return func(yield func(audit.Batch, error) bool) {
		stopped := errors.New("enough")
		err := c.ledger.Follow(0, func(_ uint64, leaf ledger.Leaf) error {
			if leaf.Kind != ledger.AuditBatch || leaf.Lost { // of what is lost the ledger tells
				return nil
			}
			m, err := ledger.ParseAudit(leaf)
			if err != nil {
				return err
			}
			if !yield(audit.Batch{First: m.First, Last: m.Last, Head: m.Head}, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(audit.Batch{}, err)
		}
	}
}
