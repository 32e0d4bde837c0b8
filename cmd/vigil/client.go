package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vigil/internal/app"
	"vigil/internal/text"
)

// A client calls the recorder's own interface over the control socket. When no
// recorder runs, this process opens the state, locked, and answers there itself.
type client struct {
	http    *http.Client
	lang    text.Lang
	offline bool // no recorder runs
	close   func() error
}

func (c *cli) client(ctx context.Context) (*client, error) {
	socket := c.Socket()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	cl := &client{http: &http.Client{Transport: t}, lang: c.language(), close: func() error { t.CloseIdleConnections(); return nil }}
	conn, err := net.Dial("unix", socket)
	if err == nil {
		conn.Close()
		return cl, nil
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, text.Fail(nil, "start.other-user", "folder", c.State)
	}
	if _, err := os.Stat(filepath.Join(c.State, "keys")); err != nil { // and none is made by the way
		return nil, text.Fail(nil, "cli.no-state", "folder", c.State)
	}
	if err := requireApproved(); err != nil {
		return nil, err
	}
	a, err := app.Open(ctx, c.Config, app.Offline, newLog(slog.LevelWarn))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	if err := a.Ready(ctx); err != nil {
		stop()
		return nil, errors.Join(err, <-done)
	}
	cl.offline = true
	cl.close = func() error {
		t.CloseIdleConnections()
		stop()
		return <-done
	}
	return cl, nil
}

// language is the --lang of the user, else what the environment asks for.
func (c *cli) language() text.Lang {
	if c.Lang != "" {
		return text.Lang(c.Lang)
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(v, "zh") {
				return text.Chinese
			}
			break
		}
	}
	return text.English
}

// A problem is an answer of the recorder that says no (RFC 9457).
type problem struct {
	Title    string
	Detail   string
	Code     string
	Mistakes []struct{ Field, Text string }
}

func (p *problem) Error() string {
	s := p.Title
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	for _, m := range p.Mistakes {
		s += "\n  " + m.Field + ": " + m.Text
	}
	return s
}

// send asks and returns an answer that is not an error; the caller closes it.
func (c *client) send(ctx context.Context, method, path string, query url.Values, body any, header ...string) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	u := "http://vigil/api/v1" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Language", string(c.lang))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	p := &problem{Title: resp.Status}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(p) // the status has to do when it is no problem document
	return nil, p
}

// call asks and reads a JSON answer into out, which may be nil.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
