package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Call asks the recorder over its control socket and reads the JSON answer
// into out, which may be nil. The error of a refusal is a *Refused.
func (r *Rig) Call(method, path string, in, out any) error {
	resp, err := r.ask(method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// Refused is an answer that says no.
type Refused struct {
	Status int
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%d %s: %s %s", r.Status, r.Code, r.Title, r.Detail)
}

// ask returns an answer that is not an error; the caller closes it.
func (r *Rig) ask(method, path string, in any) (*http.Response, error) {
	socket := filepath.Join(r.State, "control.sock")
	client := http.Client{Timeout: 2 * Patience, Transport: &http.Transport{
		DisableKeepAlives: true, // the recorder may be another one the next time
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://vigil/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	no := &Refused{Status: resp.StatusCode}
	json.NewDecoder(resp.Body).Decode(no) // the status has to do when it is no problem document
	return nil, no
}

// must fails the test when a call fails.
func (r *Rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// A Report is what the recorder's own check says.
type Report struct {
	Segments uint64
	Bytes    int64
	Read     int64
	Leaves   uint64
	Counts   map[string]int
	Wrong    int
	Findings []struct {
		Trouble, Segment, Camera, Place, Detail string
	}
}

// Check runs `vigil check`, or `vigil verify` which reads all footage again.
func (r *Rig) Check(deep bool) Report {
	r.t.Helper()
	name := "check"
	if deep {
		name = "verify"
	}
	out, errOut, err := r.Run("--json", name)
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
		r.t.Fatalf("vigil %s: %v: %s", name, err, errOut)
	}
	var rep Report
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		r.t.Fatalf("vigil %s: %v: %s", name, err, out)
	}
	if (err != nil) != (rep.Wrong > 0) {
		r.t.Errorf("vigil %s: %d things wrong and %v", name, rep.Wrong, err)
	}
	return rep
}

// MustBeClean checks, and fails the test when anything is wrong or waits.
func (r *Rig) MustBeClean(deep bool) Report {
	r.t.Helper()
	rep := r.Check(deep)
	if rep.Wrong > 0 || len(rep.Findings) > 0 {
		r.t.Errorf("the check is not clean: %d wrong, %v: %+v", rep.Wrong, rep.Counts, rep.Findings)
	}
	return rep
}

// Recovered waits until nothing lies open on the disk that is not being
// written.
func (r *Rig) Recovered() {
	r.t.Helper()
	r.Until("what a kill left is recovered", Patience, func() bool {
		resp, err := r.ask("POST", "/check", nil)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		for d := json.NewDecoder(resp.Body); ; {
			var line struct {
				Report *Report
				Error  string
			}
			if err := d.Decode(&line); err != nil || line.Error != "" {
				return false
			}
			if line.Report != nil {
				return line.Report.Counts["pending"] == 0
			}
		}
	})
}

// An Alert is a condition that a person must know.
type Alert struct {
	ID, Kind, Severity, Object, Camera, Title, Detail string
	Args                                              map[string]string
	Since, Last, Cleared                              int64
	Count                                             int
}

// Alerts returns those that stand, or all.
func (r *Rig) Alerts(all bool) []Alert {
	r.t.Helper()
	var list struct{ Alerts []Alert }
	r.must(r.Call("GET", fmt.Sprintf("/alerts?all=%v", all), nil, &list))
	return list.Alerts
}

// Alert returns the newest alert of a kind that stands.
func (r *Rig) Alert(kind string) (Alert, bool) {
	for _, a := range r.Alerts(false) {
		if a.Kind == kind && a.Cleared == 0 {
			return a, true
		}
	}
	return Alert{}, false
}

// Stands tells whether an alert of a kind stands.
func (r *Rig) Stands(kind string) bool {
	_, ok := r.Alert(kind)
	return ok
}

// NoAlerts fails the test for each alert, standing or over, of the kinds.
func (r *Rig) NoAlerts(kinds ...string) {
	r.t.Helper()
	for _, a := range r.Alerts(true) {
		if slices.Contains(kinds, a.Kind) {
			r.t.Errorf("alert %s: %s: %s %v", a.Kind, a.Title, a.Detail, a.Args)
		}
	}
}

// A Record is one of the audit log.
type Record struct {
	Seq    int64
	At     int64
	Time   string
	Action string
	Object string
	Camera string
	Result string
	Reason string
	Actor  struct{ Kind, Name, ArmedBy string }
	Detail map[string]string
}

// Audit returns the records of an action, or of all those with this first
// word, newest first.
func (r *Rig) Audit(action string) (list []Record) {
	r.t.Helper()
	q := url.Values{"limit": {"1000"}}
	if action != "" {
		q.Set("action", action)
	}
	for {
		var page struct {
			Records []Record
			Next    *int64
		}
		r.must(r.Call("GET", "/audit?"+q.Encode(), nil, &page))
		list = append(list, page.Records...)
		if page.Next == nil || len(page.Records) == 0 {
			return list
		}
		q.Set("before", fmt.Sprint(*page.Next))
	}
}

// Settings changes the settings of the storage.
func (r *Rig) Settings(change func(storage map[string]any)) {
	r.t.Helper()
	var doc map[string]any
	r.must(r.Call("GET", "/settings", nil, &doc))
	change(doc["storage"].(map[string]any))
	r.must(r.Call("PUT", "/settings", doc, nil))
}

// Status is what the recorder says of itself.
type Status struct {
	Recording struct{ On, Now int }
	Volumes   []struct {
		ID, Name, State   string
		Total, Free, Used int64
		Why               *struct{ Code, Text string }
	}
	Cryptography struct {
		FIPS140 bool
		Module  string
	}
	DaysLeft *float64
}

// Status asks for it.
func (r *Rig) Status() (s Status) {
	r.t.Helper()
	r.must(r.Call("GET", "/status", nil, &s))
	return s
}

// describe is a list of alerts in a line, for messages.
func describe(list []Alert) string {
	var words []string
	for _, a := range list {
		w := a.Kind + " " + a.Detail
		if a.Cleared != 0 {
			w += " (over since " + time.UnixMilli(a.Cleared).Format(time.TimeOnly) + ")"
		}
		words = append(words, w)
	}
	return strings.Join(words, "; ")
}
