package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"

	"vigil/internal/text"
)

type checkCmd struct{}

func (checkCmd) Run(ctx context.Context, c *cli) error { return c.check(ctx, false) }

type verifyCmd struct{}

func (verifyCmd) Run(ctx context.Context, c *cli) error { return c.check(ctx, true) }

type finding struct {
	Trouble string `json:"trouble"`
	Segment string `json:"segment,omitempty"`
	Camera  string `json:"camera,omitempty"`
	From    *int64 `json:"from,omitempty"`
	To      *int64 `json:"to,omitempty"`
	Place   string `json:"place,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

type report struct {
	Segments uint64         `json:"segments"`
	Bytes    int64          `json:"bytes"`
	Read     int64          `json:"read"`
	Leaves   uint64         `json:"leaves"`
	Counts   map[string]int `json:"counts"`
	Wrong    int            `json:"wrong"`
	Findings []finding      `json:"findings"`
}

// check runs the recorder's own check; deep reads everything again.
func (c *cli) check(ctx context.Context, deep bool) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	q := url.Values{}
	if deep {
		q.Set("deep", "true")
	}
	resp, err := cl.send(ctx, "POST", "/check", q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var line struct {
			Step        string
			Done, Total uint64
			Report      *report
			Error       string
		}
		if err := lines.Decode(&line); err != nil {
			return text.Fail(err, "cli.check-broke")
		}
		switch {
		case line.Error != "":
			return errors.New(line.Error)
		case line.Report == nil:
			if !c.JSON {
				fmt.Fprintf(os.Stderr, "\r%-10s %d of %d ", line.Step, line.Done, line.Total)
			}
			continue
		}
		if !c.JSON {
			fmt.Fprint(os.Stderr, "\r")
		}
		return c.tellReport(line.Report)
	}
}

func (c *cli) tellReport(r *report) error {
	if c.JSON {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(c.Out, c.say("cli.checked", "segments", fmt.Sprint(r.Segments), "bytes", fmt.Sprint(r.Bytes), "leaves", fmt.Sprint(r.Leaves)))
		if r.Read > 0 {
			fmt.Fprintln(c.Out, c.say("cli.read-again", "bytes", fmt.Sprint(r.Read)))
		}
		for _, f := range r.Findings {
			fmt.Fprint(c.Out, f.Trouble)
			if f.Segment != "" {
				fmt.Fprint(c.Out, " segment ", f.Segment)
			}
			if f.From != nil && f.To != nil {
				fmt.Fprintf(c.Out, " (%s to %s)", stamp(*f.From), stamp(*f.To))
			}
			fmt.Fprintln(c.Out, " "+f.Place, f.Detail)
		}
		if r.Wrong == 0 {
			fmt.Fprintln(c.Out, c.say("cli.clean"))
		}
	}
	if r.Wrong > 0 {
		return exitCode(3)
	}
	return nil
}
