package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"vigil/internal/audit"
	"vigil/internal/text"
)

// Checker compares what the recorder keeps with its ledger.
type Checker interface {
	// Check compares ledger, files and catalogue; deep reads all footage again
	// and the whole audit log. progress is told now and then, from one goroutine. The error is
	// about checking at all; what is wrong is in the report.
	Check(ctx context.Context, deep bool, progress func(step string, done, total uint64)) (CheckReport, error)
}

// A CheckReport is what a check found.
type CheckReport struct {
	Segments uint64         `json:"segments"` // that should be there
	Bytes    int64          `json:"bytes"`    // of them
	Read     int64          `json:"read"`     // bytes that were digested
	Leaves   uint64         `json:"leaves"`   // of the ledger
	Counts   map[string]int `json:"counts"`   // how many of each trouble
	Wrong    int            `json:"wrong"`    // how many in all that something must be done about
	Findings []CheckFinding `json:"findings"` // the first of them
}

// OK tells that nothing is wrong. What lies in quarantine or waits to be
// committed is told and is nothing wrong.
func (r *CheckReport) OK() bool { return r.Wrong == 0 }

// A CheckFinding is one trouble.
type CheckFinding struct {
	Trouble string `json:"trouble"`
	Segment string `json:"segment,omitempty"`
	Camera  string `json:"camera,omitempty"`
	From    *int64 `json:"from,omitempty"` // ms since the epoch
	To      *int64 `json:"to,omitempty"`
	Place   string `json:"place,omitempty"` // a file, a folder, a table
	Detail  string `json:"detail,omitempty"`
}

// progressEvery is how often a check says how far it is.
const progressEvery = 500 * time.Millisecond

// runCheck streams progress and then the report, a JSON object a line.
//
//vigil:clause 5.2.8.2
func (c *call) runCheck() error {
	deep, err := c.flag("deep")
	if err != nil {
		return err
	}
	release, ok := c.slots.take("check", "", 1, 1)
	if !ok {
		return say(http.StatusServiceUnavailable, "busy")
	}
	defer release()
	rc := http.NewResponseController(c.w)
	rc.SetReadDeadline(time.Time{})
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	say := func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return sendPiece(c.w, rc, append(b, '\n'), writeTime)
	}
	ctx, cancel := context.WithCancel(c.r.Context()) // the caller left: no use in going on
	defer cancel()
	go func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	var told time.Time
	report, err := c.Checker.Check(ctx, deep, func(step string, done, total uint64) {
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			if say(map[string]any{"step": step, "done": done, "total": total}) != nil {
				cancel()
			}
		}
	})
	result := audit.OK
	if err != nil || !report.OK() {
		result = audit.Failed
	}
	rerr := c.record("check", "", result, "", nil)
	if err = errors.Join(err, rerr); err != nil {
		return say(map[string]any{"error": text.Explain(c.lang, err)})
	}
	if report.Findings == nil {
		report.Findings = []CheckFinding{}
	}
	return say(map[string]any{"report": report})
}
