package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"vigil/internal/text"
)

type passwordCmd struct {
	Account string `arg:"" help:"Name of the account."`
}

// Run is the way back in for who forgot a password or is locked out: at the
// machine, in the log, and with a password that must be changed at the next
// sign-in.
//
//vigil:clause 5.4.1.1
func (p passwordCmd) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	fresh, err := secret(ctx, c.say("cli.new-password", "name", p.Account))
	if err != nil {
		return err
	}
	err = cl.call(ctx, "POST", "/accounts/"+url.PathEscape(p.Account)+"/password", nil, map[string]string{"new": fresh}, nil)
	var no *problem
	if errors.As(err, &no) && no.Code == "not-found" {
		return text.Fail(nil, "cli.no-account", "name", p.Account)
	}
	return err
}

// secret reads a line from the standard input; at a terminal it asks, and
// shows nothing of what is typed.
func secret(ctx context.Context, prompt string) (string, error) {
	fd := int(os.Stdin.Fd())
	if was, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		quiet := *was
		quiet.Lflag &^= unix.ECHO
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		defer func() {
			_ = unix.IoctlSetTermios(fd, unix.TCSETS, was) // it was set a moment ago
			fmt.Fprintln(os.Stderr)
		}()
		fmt.Fprint(os.Stderr, prompt, " ")
	}
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 1<<16)).ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case <-ctx.Done(): // Ctrl-C: the process ends, and its reading with it
		return "", ctx.Err()
	case a := <-read:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("read password: %w", a.err)
		}
		return strings.TrimRight(a.line, "\r\n"), nil
	}
}
