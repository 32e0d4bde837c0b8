package rig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"vigil/internal/simcam"
)

// A Session is one run of the recorder, from the start of the process to its
// end.
type Session struct{ Started, Ended time.Time }

// A Loss is what became of the pictures that a camera sent in a session.
type Loss struct {
	Camera *Camera
	Sent   int           // to the recorder, from the first key picture on
	Have   int           // of these, in the record
	Start  time.Duration // from the start of the process to the first picture in the record; 0: none
	Wait   time.Duration // of this, from when the recorder read the camera: for a key picture
	Head   int           // pictures missing before the first that is in the record
	Holes  int           // pictures missing in the middle
	Tail   time.Duration // from the last picture in the record to the last that was sent
}

func (l Loss) String() string {
	return fmt.Sprintf("%s: %d of %d pictures; first after %v, %d missing before it, %d in the middle, %v at the end",
		l.Camera.Name, l.Have, l.Sent, l.Start.Round(time.Millisecond), l.Head, l.Holes, l.Tail.Round(time.Millisecond))
}

// Loss compares what a camera sent in a session with what the record has.
// Before its first key picture there is nothing that could be recorded: that is the
// time a start takes, not a loss.
func (c *Camera) Loss(s Session, have map[uint64]int) Loss {
	l := Loss{Camera: c}
	var sent []simcam.Sent
	var read int64 // when the recorder began to read
	for _, p := range c.Feed.Sent(0) {
		if p.At < s.Started.UnixMilli() || p.At > s.Ended.UnixMilli() || p.Readers == 0 {
			continue
		}
		if read == 0 {
			read = p.At
		}
		if p.Key || len(sent) > 0 {
			sent = append(sent, p)
		}
	}
	l.Sent = len(sent)
	if l.Sent == 0 {
		return l
	}
	first, last := -1, -1
	for i, p := range sent {
		if have[p.Number] > 0 {
			if first < 0 {
				first = i
			}
			last = i
			l.Have++
		}
	}
	end := sent[len(sent)-1].At
	if first < 0 {
		l.Tail = time.Duration(end-sent[0].At) * time.Millisecond
		return l
	}
	l.Start = time.Duration(sent[first].At-s.Started.UnixMilli()) * time.Millisecond
	l.Wait = time.Duration(sent[first].At-read) * time.Millisecond
	l.Head = first
	l.Holes = last - first + 1 - l.Have
	l.Tail = time.Duration(end-sent[last].At) * time.Millisecond
	return l
}

// A Spread is a list of measured times.
type Spread []time.Duration

// At returns the time that a share of the list does not exceed: At(0.5) is
// the median, At(1) the maximum.
func (s Spread) At(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	l := slices.Sorted(slices.Values(s))
	return l[min(int(share*float64(len(l))), len(l)-1)]
}

func (s Spread) String() string {
	ms := func(share float64) int64 { return s.At(share).Milliseconds() }
	return fmt.Sprintf("n=%d min %d, p25 %d, median %d, p75 %d, p90 %d, p99 %d, max %d ms", len(s), ms(0), ms(0.25), ms(0.5), ms(0.75), ms(0.9), ms(0.99), ms(1))
}

// Histogram draws the list in steps.
func (s Spread) Histogram(step time.Duration) string {
	count := map[int64]int{}
	for _, d := range s {
		count[int64(d/step)]++
	}
	var b strings.Builder
	for i := range int64(s.At(1)/step) + 1 {
		fmt.Fprintf(&b, "%5d ms %s\n", (time.Duration(i) * step).Milliseconds(), strings.Repeat("#", count[i]*60/max(len(s), 1)+min(count[i], 1)))
	}
	return b.String()
}

// missing returns what is in one set and not in another, in order.
func missing[K cmp.Ordered, V, W any](want map[K]V, have map[K]W) (l []K) {
	for k := range want {
		if _, ok := have[k]; !ok {
			l = append(l, k)
		}
	}
	slices.Sort(l)
	return l
}
