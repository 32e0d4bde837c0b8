// Command simcam is simulated cameras as a process: for the demonstration, for
// load, and for tests that kill things. It serves loopback only.
//
//	simcam                                     the demonstration camera: /clock /sub /aac /g711 /h265 /mjpeg
//	simcam -n 64 -source clock                 /cam0 ... /cam63
//	simcam -stream front=clock+aac -stream gate=film.mp4+source -user admin -pass x -tls -certout ca.pem
//
// It prints one URL per line, then "ready". With -control it answers HTTP
// (see simcam.Camera.Control), with -stdin it takes commands line by line,
// answers each with "ok" or "error: ...", and ends with its input.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"vigil/internal/simcam"
	"vigil/internal/simcam/footage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "simcam:", err)
		}
		os.Exit(1)
	}
}

// run is main without the process. It returns when ctx, -duration or, with
// -stdin, the input ends.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	cfg := simcam.Config{Footage: footage.All}
	var n int
	var source, sound, control, certOut, pathPrefix string
	var duration time.Duration
	var useStdin bool
	fs := flag.NewFlagSet("simcam", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() {
		films, sounds := simcam.Films()
		fmt.Fprintf(errOut, "simcam [flags]\n\nfilms: %v\nsounds: %v\nlies: %v\n\ncommands (-stdin, -control):\n%s\n\nflags:\n", films, sounds, simcam.Lies(), simcam.Commands)
		fs.PrintDefaults()
	}
	fs.StringVar(&cfg.Addr, "addr", "127.0.0.1:8554", "loopback address and port of RTSP")
	fs.IntVar(&n, "n", 0, "number of equal paths /cam0 ...")
	fs.StringVar(&pathPrefix, "prefix", "cam", "how the paths of -n begin")
	fs.StringVar(&source, "source", "clock", "film of the paths of -n")
	fs.StringVar(&sound, "sound", "", "sound of the paths of -n")
	fs.Func("stream", "one more path: PATH=FILM or PATH=FILM+SOUND", func(s string) error {
		path, what, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want PATH=FILM")
		}
		film, sound, _ := strings.Cut(what, "+")
		cfg.Streams = append(cfg.Streams, simcam.Stream{Path: path, Source: film, Sound: sound})
		return nil
	})
	fs.StringVar(&cfg.User, "user", "", "demand this user name")
	fs.StringVar(&cfg.Password, "pass", "", "and this password")
	fs.StringVar((*string)(&cfg.Auth), "auth", "md5", "md5, sha256, both or basic")
	fs.BoolVar(&cfg.TLS, "tls", false, "RTSPS")
	fs.BoolVar(&cfg.SRTP, "srtp", false, "RTSPS with SRTP")
	fs.StringVar(&certOut, "certout", "", "write the certificate (PEM) here")
	fs.BoolVar(&cfg.NoUDP, "noudp", false, "TCP only")
	fs.BoolVar(&cfg.NoMarks, "nomarks", false, "do not number the pictures in an SEI")
	fs.DurationVar(&cfg.ClockOffset, "clock", 0, "how far the camera's clock is ahead")
	fs.IntVar(&cfg.MaxSessions, "limit", 0, "most sessions, 0 for no limit")
	fs.DurationVar(&cfg.Keep, "keep", 10*time.Minute, "how long to remember what was sent")
	fs.StringVar(&control, "control", "", "loopback address and port of the HTTP control")
	fs.BoolVar(&useStdin, "stdin", false, "take commands from the standard input, end with it")
	fs.DurationVar(&duration, "duration", 0, "end after this time")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected %q", fs.Args())
	}
	for i := range n {
		s := simcam.Stream{Path: fmt.Sprint(pathPrefix, i), Source: source, Sound: sound}
		// Neighbours must not send their key pictures at the same instant. Films
		// with a clock stay right to within a picture, others go anywhere.
		s.Shift = time.Duration(i%8) * 5 * time.Millisecond
		if !strings.HasPrefix(source, "clock") {
			s.Shift = time.Duration(i) * 1370 * time.Millisecond
		}
		cfg.Streams = append(cfg.Streams, s)
	}
	if len(cfg.Streams) == 0 {
		cfg.Streams = simcam.Demo()
	}
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	cam, err := simcam.Start(cfg)
	if err != nil {
		return err
	}
	defer cam.Close()
	if certOut != "" {
		if err := os.WriteFile(certOut, cam.CertificatePEM(), 0o644); err != nil {
			return err
		}
	}
	if control != "" {
		end, err := serveControl(control, cam)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, p := range cam.Paths() {
		fmt.Fprintln(out, cam.URL(p))
	}
	fmt.Fprintln(out, "ready")
	done := make(chan error, 1)
	if useStdin {
		go func() { done <- obey(in, out, cam) }() // ends with the process at the latest
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		return err
	}
}

func serveControl(addr string, cam *simcam.Camera) (end func(), err error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("control address %q: want a loopback address and a port", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: cam.Control(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }() // ends with Close
	return func() { s.Close() }, nil
}

// obey carries out the lines of in.
func obey(in io.Reader, out io.Writer, cam *simcam.Camera) error {
	sc := bufio.NewScanner(in)
	for sc.Scan() {
		if line := strings.TrimSpace(sc.Text()); line == "" {
			continue
		} else if err := cam.Command(line); err != nil {
			fmt.Fprintln(out, "error:", err)
		} else {
			fmt.Fprintln(out, "ok")
		}
	}
	return sc.Err()
}
