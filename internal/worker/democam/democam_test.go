package democam

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/camera"
	"vigil/internal/camera/rtsp"
	"vigil/internal/worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "demo-camera" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// TestDemo plays from the jail, comes back after a fall, and ends with its
// context.
func TestDemo(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var said strings.Builder
	ended := make(chan error, 1)
	go func() {
		ended <- worker.RunDemo(ctx, worker.Options{Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelError}))}, f)
	}()
	for _, path := range []string{"clock", "sub"} {
		u, err := rtsp.ParseURL(fmt.Sprintf("rtsp://%s/%s", l.Addr(), path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := camera.Probe(ctx, rtsp.Options{URL: u, Transport: rtsp.TCP, Link: rtsp.LinkPlain})
		if err != nil || len(got.Tracks) != 1 || got.FPS < 10 || got.BitRate == 0 || len(got.Picture) == 0 {
			t.Errorf("%s: %+v, %v", path, got.Tracks, err)
		}
		for _, pid := range children(t) { // it falls; the next path is played by another process
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	if !strings.Contains(said.String(), "demo camera fell") || strings.Contains(said.String(), "jail:") {
		t.Errorf("said %q", said.String())
	}
}

// children lists our demonstration cameras.
func children(t *testing.T) (pids []int) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		var pid, parent int
		var kind string
		_, after, _ := strings.Cut(string(b), ") ")
		if _, err := fmt.Sscan(string(b), &pid); err != nil {
			continue
		}
		if _, err := fmt.Sscan(after, &kind, &parent); err == nil && parent == os.Getpid() && kind != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}
