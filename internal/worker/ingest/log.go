package ingest

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"vigil/internal/worker/wire"
)

// logRate bounds what a worker says: a camera that makes a line per packet
// shall not fill the log of the core.
const (
	logRate  = 10 // lines a second
	logBurst = 100
)

// A handler sends log lines to the core, bounded in every way.
type handler struct {
	p      *process
	prefix string
	attrs  []wire.Attr
	limit  *limit // shared with the handlers made from it; nil: not yet
}

type limit struct {
	mu     sync.Mutex
	tokens float64
	at     time.Time
	silent int
}

var lines = &limit{tokens: logBurst}

// allow tells whether a line may go, and how many before it did not.
func (l *limit) allow(now time.Time) (silent int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() {
		l.tokens = min(logBurst, l.tokens+logRate*now.Sub(l.at).Seconds())
	}
	l.at = now
	if l.tokens < 1 {
		l.silent++
		return 0, false
	}
	l.tokens--
	silent, l.silent = l.silent, 0
	return silent, true
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	silent, ok := h.limiter().allow(time.Now())
	if !ok {
		return nil
	}
	m := &wire.Log{Level: int(max(-8, min(r.Level, 16))), Message: wire.Clean(r.Message, 200), Attrs: slices.Clone(h.attrs)}
	if m.Message == "" {
		m.Message = "nothing said"
	}
	r.Attrs(func(a slog.Attr) bool {
		m.Attrs = h.flatten(m.Attrs, h.prefix, a)
		return true
	})
	if silent > 0 {
		m.Attrs = append(m.Attrs[:min(len(m.Attrs), maxAttrs-1)], wire.Attr{Key: "lines left out", Value: strconv.Itoa(silent)})
	}
	frame, err := wire.Append(nil, 0, m)
	if err == nil {
		h.p.out.put(item{frame: frame})
	}
	return err
}

func (h *handler) limiter() *limit {
	if h.limit == nil {
		return lines
	}
	return h.limit
}

const maxAttrs = 16

func (h *handler) flatten(to []wire.Attr, prefix string, a slog.Attr) []wire.Attr {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, g := range v.Group() {
			to = h.flatten(to, prefix+a.Key+".", g)
		}
		return to
	}
	key := wire.Clean(prefix+a.Key, 64)
	if key == "" || len(to) >= maxAttrs {
		return to
	}
	return append(to, wire.Attr{Key: key, Value: wire.Clean(v.String(), 512)})
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		c.attrs = h.flatten(c.attrs, h.prefix, a)
	}
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.prefix += name + "."
	return &c
}
