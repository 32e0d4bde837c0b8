package worker

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"time"

	"vigil/internal/worker/wire"
)

// What a process may say on its standard error until it is no more listened
// to: enough for one panic.
const (
	maxLines = 300
	maxLine  = 400
	maxWords = 1 << 20 // bytes; then the pipe is closed, and who goes on writing dies of it
)

// words take a process's standard error to the log, and find the stream whose
// goroutine panicked.
type words struct {
	done   chan struct{}
	reader chan struct{} // closed when the process's reader has ended
	number uint32        // before done is closed: of the reading goroutine
}

// The runtime writes the goroutine that ended the process first, with its
// labels: goroutine 22 [running labels:{"stream": "7"}]:
var labelled = regexp.MustCompile(`^goroutine \d+ .*\[running.*labels:\{.*"?stream"?: "?(\d{1,10})"?[,}]`)

func listen(f *os.File, log *slog.Logger, level slog.Level) *words {
	w := &words{done: make(chan struct{}), reader: make(chan struct{})}
	go func() {
		defer close(w.done)
		defer f.Close()
		r := bufio.NewReaderSize(f, 4096)
		first, total := true, 0
		for n := 0; total < maxWords; n++ {
			line, _, err := r.ReadLine() // in pieces of 4096 bytes
			if err != nil {
				return
			}
			if total += len(line) + 1; n >= maxLines {
				continue // read on, so that it does not block
			}
			text := string(line)
			if m := labelled.FindStringSubmatch(text); m != nil && first {
				first = false
				if v, err := strconv.ParseUint(m[1], 10, 32); err == nil {
					w.number = uint32(v)
				}
			}
			if text != "" {
				log.Log(context.Background(), level, "worker writes", "line", wire.Clean(text, maxLine))
			}
		}
	}()
	return w
}

// wait returns the number of the stream that the process named when it
// panicked, or 0. It waits for the end of the words, at most d.
func (w *words) wait(d time.Duration) uint32 {
	select {
	case <-w.done:
		return w.number
	case <-time.After(d):
		return 0
	}
}
