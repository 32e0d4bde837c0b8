package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"vigil/internal/app"
)

// newLog is for developers, on standard error; VIGIL_LOG=debug says more.
func newLog() *slog.Logger {
	level := slog.LevelInfo
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
	a, err := app.Open(ctx, c.Config, app.Offline, newLog())
	if err != nil {
		return err
	}
	fmt.Printf("state   %s\nfootage %s\n", c.State, a.VideoFolder())
	return a.Close()
}

type serveCmd struct{}

func (serveCmd) Run(ctx context.Context, c *cli) error {
	if err := requireApproved(); err != nil {
		return err
	}
	a, err := app.Open(ctx, c.Config, app.Serve, newLog())
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
	if err := greet(a); err != nil {
		stop()
		return errors.Join(err, <-done)
	}
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
func greet(a *app.App) error {
	for _, address := range a.Addresses() {
		fmt.Println(address)
	}
	fmt.Printf("certificate SHA-256 %x\n", a.Fingerprint())
	if !a.SetUpNeeded() {
		fmt.Println("ready")
		return nil
	}
	code, expires, err := a.NewCode()
	if err != nil {
		return err
	}
	fmt.Printf("one-time code until %s: %s\n", expires.Local().Format("15:04"), code)
	return nil
}

type codeCmd struct{}

func (codeCmd) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	var code struct {
		Code    string `json:"code"`
		Expires int64  `json:"expires"`
	}
	if err := cl.call(ctx, "POST", "/setup/code", nil, nil, &code); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(code)
	}
	fmt.Println("one-time code:", code.Code)
	return nil
}
