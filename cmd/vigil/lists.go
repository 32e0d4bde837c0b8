package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"vigil/internal/conformity"
	"vigil/internal/text"
)

type auditCmd struct {
	From   time.Time `help:"Not before, RFC 3339." format:"2006-01-02T15:04:05Z07:00"`
	To     time.Time `help:"Before, RFC 3339." format:"2006-01-02T15:04:05Z07:00"`
	Actor  string    `help:"Name of who did it, or of the account that armed it."`
	Action string    `help:"What was done: an action such as segment.close, or its first word."`
	Camera string    `help:"Name or id of the camera."`
	Result string    `help:"ok, failed (it did not work) or denied (it was not allowed)." enum:"ok,failed,denied," default:""`
	Limit  int       `help:"Most records." default:"100"`
}

type auditRecord struct {
	Seq   int64  `json:"seq"`
	Time  string `json:"time"`
	Actor struct {
		Kind    string `json:"kind"`
		Name    string `json:"name"`
		ArmedBy string `json:"armedBy,omitempty"`
		Source  string `json:"source,omitempty"`
	} `json:"actor"`
	Action string            `json:"action"`
	Object string            `json:"object,omitempty"`
	Camera string            `json:"camera,omitempty"`
	Result string            `json:"result"`
	Reason string            `json:"reason,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}

// Validate is asked before Run: what is wrong here is the command line.
func (a auditCmd) Validate() error {
	if a.Limit < 1 {
		return text.Fail(nil, "cli.limit")
	}
	return nil
}

func (a auditCmd) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	q := url.Values{}
	set := func(k, v string) {
		if v != "" {
			q.Set(k, v)
		}
	}
	set("actor", a.Actor)
	set("action", a.Action)
	set("result", a.Result)
	if !a.From.IsZero() {
		q.Set("from", strconv.FormatInt(a.From.UnixMilli(), 10))
	}
	if !a.To.IsZero() {
		q.Set("to", strconv.FormatInt(a.To.UnixMilli(), 10))
	}
	if a.Camera != "" {
		cam, err := cl.camera(ctx, a.Camera)
		if err != nil {
			return err
		}
		q.Set("camera", cam.ID)
	}
	out := json.NewEncoder(c.Out)
	w := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	for left := a.Limit; left > 0 && c.Out.err == nil; {
		q.Set("limit", strconv.Itoa(min(left, 1000)))
		var page struct {
			Records []auditRecord
			Next    *int64
		}
		if err := cl.call(ctx, "GET", "/audit", q, nil, &page); err != nil {
			return err
		}
		for _, r := range page.Records {
			if c.JSON {
				if err := out.Encode(r); err != nil { // one record a line
					return err
				}
				continue
			}
			who := r.Actor.Kind + " " + r.Actor.Name
			if r.Actor.ArmedBy != "" {
				who += " (armed by " + r.Actor.ArmedBy + ")"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Seq, r.Time, who, r.Action, r.Object, r.Result, r.Reason)
		}
		left -= len(page.Records)
		if page.Next == nil || len(page.Records) == 0 {
			break
		}
		q.Set("before", strconv.FormatInt(*page.Next, 10))
	}
	return nil
}

type alertCmd struct {
	All         bool   `help:"With those that are over."`
	Acknowledge string `help:"Say that you have seen the alert with this id."`
}

func (a alertCmd) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	if a.Acknowledge != "" {
		return cl.call(ctx, "POST", "/alerts/"+url.PathEscape(a.Acknowledge)+"/acknowledge", nil, nil, nil)
	}
	var list struct {
		Alerts []struct {
			ID       string `json:"id"`
			Kind     string `json:"kind"`
			Severity string `json:"severity"`
			Object   string `json:"object"`
			Title    string `json:"title"`
			Detail   string `json:"detail"`
			Since    int64  `json:"since"`
			Cleared  int64  `json:"cleared,omitempty"`
		} `json:"alerts"`
	}
	q := url.Values{}
	if a.All {
		q.Set("all", "true")
	}
	if err := cl.call(ctx, "GET", "/alerts", q, nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(list.Alerts)
	}
	for _, x := range list.Alerts {
		state := c.say("cli.since", "since", stamp(x.Since))
		if x.Cleared != 0 {
			state = c.say("cli.since-over", "since", stamp(x.Since), "cleared", stamp(x.Cleared))
		}
		fmt.Fprintf(c.Out, "%s  %s  %s\n  %s\n  %s\n", x.ID, x.Severity, x.Title, x.Detail, state)
	}
	return nil
}

type clausesCmd struct{}

func (clausesCmd) Run(c *cli) error {
	table, err := conformity.Table()
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(table)
	}
	w := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	for _, r := range table {
		title := r.English
		if c.language() == text.Chinese {
			title = r.Chinese
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.ID, r.State, title, r.Missing)
	}
	return nil
}
