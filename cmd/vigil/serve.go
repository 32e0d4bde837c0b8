package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"vigil/internal/app"
	"vigil/internal/text"
)

// newLog is for developers, on standard error; VIGIL_LOG=debug says more.
func newLog(level slog.Level) *slog.Logger {
	if os.Getenv("VIGIL_LOG") == "debug" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

type initCmd struct{}

func (initCmd) Run(ctx context.Context, c *cli) error {
	if err := requireApproved(); err != nil {
		return err
	}
	a, err := app.Open(ctx, c.Config, app.Offline, newLog(slog.LevelWarn))
	if err != nil {
		return err
	}
	if c.JSON {
		err = c.printJSON(map[string]string{"state": c.State, "footage": a.VideoFolder()})
	} else {
		fmt.Fprintln(c.Out, c.say("cli.made", "state", c.State, "footage", a.VideoFolder()))
	}
	return errors.Join(err, a.Close())
}

type serveCmd struct{}

// collectAt bounds the garbage of a recorder, in per cent of what it holds. It
// holds little but pictures, in few and large pieces: looking through them costs
// next to nothing, and a heap twice as large would cost a small machine its cache.
const collectAt = 40

// again is how long to wait before another start on a system disk in trouble.
const again = 2 * time.Second

// Run serves until it is told to end. Nobody may be there to start it once
// more, so it waits for a system disk that is full or fails.
func (s serveCmd) Run(ctx context.Context, c *cli) error {
	if err := requireApproved(); err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	for told := ""; ; {
		err := s.serve(ctx, c)
		if errors.Is(err, app.ErrAgain) && ctx.Err() == nil {
			continue
		}
		if !app.DiskTrouble(err) || ctx.Err() != nil {
			return err
		}
		if now := text.Explain(c.language(), err); now != told {
			told = now
			fmt.Fprintf(os.Stderr, "vigil: %s\n%s\n", told, c.say("cli.waiting"))
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return err
		}
	}
}

func (serveCmd) serve(ctx context.Context, c *cli) error {
	a, err := app.Open(ctx, c.Config, app.Serve, newLog(slog.LevelInfo))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	if err := a.Ready(ctx); err != nil {
		stop()
		return errors.Join(<-done, ignoreCancel(err))
	}
	if err := c.greet(a); err != nil {
		stop()
		return errors.Join(err, <-done)
	}
	c.Out = &output{w: io.Discard} // that nobody reads the greeting stops no recorder, and is no error of its
	return <-done
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// greet prints where the page is and, while there is no administrator, the
// code that opens it: as the last line, where somebody in a hurry looks.
func (c *cli) greet(a *app.App) error {
	for _, address := range a.Addresses() {
		fmt.Fprintln(c.Out, address)
	}
	fmt.Fprintln(c.Out, c.say("cli.fingerprint", "sha256", fmt.Sprintf("%x", a.Fingerprint())))
	if !a.SetUpNeeded() {
		fmt.Fprintln(c.Out, c.say("cli.ready"))
		return nil
	}
	code, expires, err := a.NewCode()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, c.say("cli.code-until", "time", expires.Local().Format("15:04"), "code", code))
	return nil
}

type codeCmd struct{}

func (codeCmd) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	if cl.offline { // a code is good for the recorder that made it, while it runs
		return text.Fail(nil, "cli.not-running", "folder", c.State)
	}
	var code struct {
		Code    string `json:"code"`
		Expires int64  `json:"expires"`
	}
	if err := cl.call(ctx, "POST", "/setup/code", nil, nil, &code); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(code)
	}
	fmt.Fprintln(c.Out, c.say("cli.code-until", "time", time.UnixMilli(code.Expires).Format("15:04"), "code", code.Code))
	return nil
}
