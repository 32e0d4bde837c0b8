package recorder

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"vigil/internal/actor"
	"vigil/internal/media"
	"vigil/internal/store"
	"vigil/internal/store/segment"
)

// A list is a store that writes down what it is asked.
type list struct {
	said   []string
	refuse error // of create
	full   error // of Append
	n      int
}

func (l *list) create(_ actor.Actor, _ segment.Info, _ *media.Tracks, before *segment.Gap) (sealed, error) {
	if l.refuse != nil {
		return nil, l.refuse
	}
	s := "create"
	if before != nil {
		s += fmt.Sprintf(" after %s, %d lost", before.Cause, before.Lost)
	}
	l.said = append(l.said, s)
	return l, nil
}

func (l *list) Append(b *media.Batch) error {
	if l.full != nil {
		return l.full
	}
	l.n++
	return nil
}

func (l *list) Close(end media.Cause) {
	l.said = append(l.said, fmt.Sprintf("%d batches, close: %s", l.n, end))
	l.n = 0
}

// TestCuts says where segments begin and end. Each step is one batch of one
// picture, a second apart.
func TestCuts(t *testing.T) {
	one, two := &media.Tracks{}, &media.Tracks{}
	type step struct {
		n    int // times; 0 is once
		key  bool
		new  media.Cause
		tr   *media.Tracks
		lost uint32
		down media.Cause
		do   func(*list)
	}
	tests := []struct {
		name   string
		steps  []step
		want   []string
		missed uint64
	}{
		{"starts at the first random access unit", []step{{new: media.CameraStart}, {key: true}, {}}, []string{"create", "2 batches, close: shutdown"}, 0},
		{"a minute, then at a random access unit", []step{{key: true}, {n: 70}, {key: true}}, []string{"create", "71 batches, close: length", "create", "1 batches, close: shutdown"}, 0},
		{"not before the minute", []step{{key: true}, {n: 30}, {key: true}}, []string{"create", "32 batches, close: shutdown"}, 0},
		{"no random access unit for half an hour", []step{{key: true}, {n: 1805}}, []string{"create", "1800 batches, close: length", "create", "6 batches, close: shutdown"}, 0},
		{"codec change", []step{{key: true}, {}, {key: true, tr: two}}, []string{"create", "2 batches, close: codec", "create after codec, 0 lost", "1 batches, close: shutdown"}, 0},
		{"clock step", []step{{key: true}, {key: true, new: media.CutClock}}, []string{"create", "1 batches, close: clock", "create after clock, 0 lost", "1 batches, close: shutdown"}, 0},
		{"camera goes and comes back", []step{{key: true}, {down: media.CameraLost}, {new: media.CameraStart}, {key: true}}, []string{"create", "1 batches, close: camera-offline", "create after camera-offline, 1 lost", "1 batches, close: shutdown"}, 0},
		{"too late", []step{{key: true}, {key: true, lost: 7}}, []string{"create", "1 batches, close: overload", "create after overload, 7 lost", "1 batches, close: shutdown"}, 0},
		{"disk behind: whole GOPs go", []step{{key: true}, {do: func(l *list) { l.full = store.ErrFull }}, {do: func(l *list) { l.full = nil }}, {}, {key: true}},
			[]string{"create", "1 batches, close: disk", "create after disk, 3 lost", "1 batches, close: shutdown"}, 0},
		{"disk full, then not", []step{{key: true, do: func(l *list) { l.refuse = store.ErrNoSpace }}, {n: 2, key: true}, {key: true, do: func(l *list) { l.refuse = nil }}},
			[]string{"create after disk-full, 3 lost", "1 batches, close: shutdown"}, 0},
		{"anew all the time", []step{{n: 14, key: true, new: media.CameraClock}}, []string{
			"create after camera-clock, 0 lost", "1 batches, close: camera-clock", "create after camera-clock, 0 lost", "1 batches, close: camera-clock",
			"create after camera-clock, 0 lost", "1 batches, close: camera-clock", "create after unsteady, 2 lost", "1 batches, close: camera-clock",
			"create after unsteady, 4 lost", "1 batches, close: camera-clock"}, 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, now := &list{}, time.Unix(0, 0)
			c := &cutter{shelf: l, log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }, begun: rate.NewLimiter(rate.Every(anew), 3)}
			for _, s := range tt.steps {
				if s.do != nil {
					s.do(l)
				}
				if s.down != "" {
					c.down(s.down)
					continue
				}
				for range max(s.n, 1) {
					b := media.NewBatch(1)
					if b.Tracks = s.tr; s.tr == nil {
						b.Tracks = one
					}
					b.New = s.new
					b.Units = append(b.Units, media.Unit{Track: 1, RandomAccess: s.key, Arrived: now.UnixNano() + 1, Data: b.Payload()})
					c.put(b, s.lost)
					b.Release()
					now = now.Add(time.Second)
				}
			}
			c.cut(media.Shutdown)
			if !slices.Equal(l.said, tt.want) {
				t.Errorf("got  %q\nwant %q", l.said, tt.want)
			}
			if got := c.missed.Load(); got != tt.missed {
				t.Errorf("%d missed, want %d", got, tt.missed)
			}
		})
	}
}
