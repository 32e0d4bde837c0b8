package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// demoRestart is how long to wait before a demonstration camera that fell is
// started again.
const demoRestart = 2 * time.Second

// RunDemo keeps the process of the demonstration camera alive until ctx ends;
// then it is gone. l is the socket that it answers on, which stays the
// caller's. An error is one that another try would not mend.
func RunDemo(ctx context.Context, o Options, l *os.File) error {
	o.fill("demo-camera")
	s := newSpawner()
	defer close(s.done)
	for {
		proc, err := s.demo(&o, l)
		if err != nil {
			return fmt.Errorf("start demo camera: %w", err)
		}
		end := make(chan string, 1)
		go func() {
			st, err := proc.Wait()
			end <- fmt.Sprint(st, err)
		}()
		select {
		case <-ctx.Done():
			_ = proc.Kill()
			<-end
			return nil
		case how := <-end:
			o.Log.Error("demo camera fell", "how", how)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(demoRestart):
		}
	}
}

func (s *spawner) demo(o *Options, l *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	proc, err := s.fork(o, append([]string{"vigil"}, o.Args...), environment(o.Env), null, null, w, l)
	if err != nil {
		r.Close()
		return nil, err
	}
	listen(r, o.Log.With("demo camera", proc.Pid), slog.LevelWarn)
	return proc, nil
}
