package rtsp

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

const (
	tickEvery   = time.Second
	reportEvery = 5 * time.Second // RFC 3550 section 6.2: the least for so few packets
)

// stream takes what comes until something ends it. It wakes at least once a
// second, so that keep-alives, reports and the handler's clock need no goroutine.
func (s *session) stream(ctx context.Context) error {
	now := time.Now()
	nextTick, nextReport := now.Add(min(tickEvery, s.keep.every)), now.Add(time.Second)
	s.keep.start(now)
	pace(s.c.nc, s.o.Pace)
	for {
		s.c.nc.SetReadDeadline(nextTick) // the read says so
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.readUntil(ctx, nextTick); err != nil {
			return err
		}
		now = time.Now()
		nextTick = now.Add(min(tickEvery, s.keep.every))
		if err := s.keepAlive(now); err != nil {
			return s.c.lost(ctx, "keep-alive", err)
		}
		if !now.Before(nextReport) {
			nextReport = now.Add(reportEvery)
			if err := s.report(); err != nil {
				return s.c.lost(ctx, "report", err)
			}
		}
		if err := s.tick(); err != nil {
			return err
		}
	}
}

// readUntil takes frames and messages until the time is over.
func (s *session) readUntil(ctx context.Context, until time.Time) error {
	for {
		it, err := s.c.sc.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ctx.Err()
		case err != nil:
			return s.c.lost(ctx, "stream", err)
		case it.msg == nil:
			s.take(it)
		case it.msg.method == "":
			if err := s.replied(it.msg); err != nil {
				return err
			}
		case it.msg.method == "TEARDOWN", it.msg.method == "REDIRECT":
			_ = s.c.answer(it.msg) // over anyway
			return fail(Ended, nil)
		default:
			if err := s.c.answer(it.msg); err != nil {
				return s.c.lost(ctx, "stream", err)
			}
		}
		if s.c.sc.br.Buffered() < 4 && !time.Now().Before(until) {
			return nil
		}
	}
}

// tick tells the handler how things are.
func (s *session) tick() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mono := s.o.Clock.Mono()
	if s.tracks[0].ended(mono) {
		return fail(Ended, nil)
	}
	s.stats.Skipped = s.c.sc.skipped
	stats := s.stats
	stats.Foreign += s.c.sc.foreign
	return s.h.Tick(&stats)
}

// report sends receiver reports: some cameras end a session without.
func (s *session) report() error {
	if s.udp {
		s.punch()
		return nil
	}
	var b [80]byte
	mono := s.o.Clock.Mono()
	for _, t := range s.tracks {
		s.mu.Lock()
		r := t.report(b[4:4], mono)
		s.mu.Unlock()
		if r == nil {
			continue
		}
		s.c.buf = append(s.c.buf[:0], '$', byte(t.channels[1]), byte(len(r)>>8), byte(len(r)))
		s.c.buf = append(s.c.buf, r...)
		if err := s.c.write(s.c.buf); err != nil {
			return err
		}
	}
	return nil
}

// A keeper keeps the session from running out (INTEROP row 8): at half of the
// time-out, without waiting for answers that some cameras never give.
type keeper struct {
	every  time.Duration
	method int // place in keepAlives
	next   time.Time
	cseq   int // of the one under way
	again  bool
}

// keepAlives are the ways to say that we are still there. The first is what
// RFC 2326 means for it; some cameras count only another one.
var keepAlives = []string{"GET_PARAMETER", "OPTIONS", "SET_PARAMETER"}

func newKeeper(timeout time.Duration, m *Memory, public string) keeper {
	k := keeper{every: min(max(timeout/2, 500*time.Millisecond), 30*time.Second), method: m.keepAlive}
	if m.quiet == 0 && public != "" && !lists(public, keepAlives[k.method]) {
		k.method = max(slices.IndexFunc(keepAlives, func(m string) bool { return lists(public, m) }), 0)
	}
	return k
}

func (k *keeper) start(now time.Time) { k.next = now.Add(k.every) }

func (s *session) keepAlive(now time.Time) error {
	if now.Before(s.keep.next) {
		return nil
	}
	s.keep.next = now.Add(s.keep.every)
	s.keep.again = true
	return s.sayAlive()
}

func (s *session) sayAlive() (err error) {
	s.keep.cseq, err = s.c.send(keepAlives[s.keep.method], s.playURL)
	return err
}

// replied handles the answer to a keep-alive.
func (s *session) replied(m *message) error {
	if m.status < 200 || !s.c.settles(m, s.keep.cseq) {
		return nil // to one that was long given up
	}
	if m.status != 401 && s.c.cred != nil {
		s.c.cred.accepted = true
	}
	switch m.status {
	case 401, 404, 405, 501, 551: // this method is not known here, or not for us: the stream plays all the same
		if m.status == 401 && s.keep.again && s.c.login(m, 1) == nil { // the nonce has run out: once more with the new one
			s.keep.again = false
			return s.sayAlive()
		}
		s.keep.method = (s.keep.method + 1) % len(keepAlives)
		s.mem.keepAlive, s.mem.quiet = s.keep.method, 1
		if s.keep.again {
			s.keep.again = false
			return s.sayAlive()
		}
	case 454:
		return fail(Gone, nil, "step", "keep-alive")
	}
	return nil
}

// learn draws its conclusion from the end of a session: one that the camera
// ended about when its time-out was over was not kept alive, so the next tries
// another method. One that lived through several time-outs was.
func (s *session) learn(ctx context.Context) {
	age := time.Since(s.played)
	if ctx.Err() == nil && age > s.timeout/2 && age < 3*s.timeout {
		s.mem.keepAlive, s.mem.quiet = (s.keep.method+1)%len(keepAlives), s.mem.quiet+1
	} else if age >= 3*s.timeout {
		s.mem.keepAlive, s.mem.quiet = s.keep.method, 1
	}
}
