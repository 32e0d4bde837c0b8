package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vigil/internal/simcam"
)

// TestProcess drives the program as another process would.
func TestProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control := l.Addr().String()
	l.Close()
	cert := filepath.Join(t.TempDir(), "ca.pem")
	in, say := io.Pipe()
	hear, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(context.Background(), []string{
			"-addr", "127.0.0.1:0", "-n", "2", "-source", "clock-small", "-stream", "gate=clock-h265-small+aac", "-tls", "-certout", cert, "-control", control, "-stdin",
		}, in, out, io.Discard)
		out.Close()
	}()
	lines := bufio.NewScanner(hear)
	var paths []string
	for lines.Scan() && lines.Text() != "ready" {
		url := lines.Text()
		if !strings.HasPrefix(url, "rtsps://127.0.0.1:") {
			t.Errorf("URL %q", url)
		}
		paths = append(paths, url[strings.LastIndex(url, "/")+1:])
	}
	if want := []string{"gate", "cam0", "cam1"}; !slices.Equal(paths, want) {
		t.Fatalf("paths %v, want %v", paths, want)
	}
	b, err := os.ReadFile(cert)
	if block, _ := pem.Decode(b); err != nil || block == nil {
		t.Errorf("certificate: %v, %q", err, b)
	}

	for _, c := range [][2]string{{"stall cam0", "ok"}, {"nonsense", "error: command"}, {"go cam0", "ok"}} {
		fmt.Fprintln(say, c[0])
		if lines.Scan(); !strings.HasPrefix(lines.Text(), c[1]) {
			t.Errorf("%s: %q", c[0], lines.Text())
		}
	}

	get := func(url string, v any) {
		t.Helper()
		r, err := http.Get("http://" + control + url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	var counters []simcam.Counters
	for len(counters) != 3 || counters[1].Pictures < 5 {
		get("/counters", &counters)
	}
	var sent []simcam.Sent
	get("/sent?path=cam0&from=2", &sent)
	if len(sent) < 3 || sent[0].Number != 2 {
		t.Errorf("sent from 2: %+v", sent)
	}
	post := func(body string) (int, string) {
		r, err := http.Post("http://"+control+"/command", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	if code, body := post("drop cam1 3\n\ncalm\n"); code != 200 || body != "ok\n" {
		t.Errorf("two commands: %d %q", code, body)
	}
	if code, body := post("drop cam9 3"); code != 400 || !strings.Contains(body, "cam9") {
		t.Errorf("a wrong command: %d %q", code, body)
	}
	say.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-addr", "0.0.0.0:0"}, {"-control", "0.0.0.0:0", "-addr", "127.0.0.1:0"}, {"-stream", "x", "-addr", "127.0.0.1:0"},
		{"extra", "-addr", "127.0.0.1:0"}, {"-auth", "none", "-addr", "127.0.0.1:0"}, {"-h"},
	} {
		var said bytes.Buffer
		if err := run(t.Context(), args, strings.NewReader(""), io.Discard, &said); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
