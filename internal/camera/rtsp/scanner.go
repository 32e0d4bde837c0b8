package rtsp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
)

// readSize holds the largest interleaved frame, so that each can be looked at in
// place together with what follows it.
const readSize = 96 << 10

// maxSkip is how much garbage in one go is taken for an accident.
const maxSkip = 1 << 20

// What a channel of an interleaved connection carries (RFC 2326 section 10.12).
type channelUse uint8

const (
	foreign channelUse = iota
	rtpChannel
	rtcpChannel
)

// A scanner finds frames and messages in what a camera sends over one
// connection, whatever lies between them (INTEROP row 9): garbage, frames of
// another session, replies amid data. It reads in place and allocates for
// messages only. An error of the reader that is a time-out loses nothing: call
// next again.
type scanner struct {
	br       *bufio.Reader
	channels [256]channelUse
	sources  [256]uint32 // of the last frame, by channel
	skipped  uint64      // bytes of garbage, in all
	foreign  uint64      // frames of unknown channels
	heard    bool        // something was understood
	banner   []byte      // the first garbage, when nothing was understood before it

	pending int // bytes to drop before the next look: the frame handed out last
	run     int // bytes of garbage since something was understood
	open    *message
	got     int // bytes of open's body that came
}

// An item is a frame or a message.
type item struct {
	use     channelUse // foreign: it is a message
	channel byte
	frame   []byte   // valid until the next call; may be written to
	msg     *message //
}

func newScanner(r io.Reader) *scanner {
	return &scanner{br: bufio.NewReaderSize(r, readSize)}
}

// next returns the next frame of a known channel, or the next message.
//
//vigil:clause 5.3.2.1 5.3.3.1
func (s *scanner) next() (item, error) {
	if s.pending > 0 {
		s.br.Discard(s.pending) // was peeked at: cannot fail
		s.pending = 0
	}
	for {
		if s.open != nil {
			return s.rest()
		}
		b, err := s.br.Peek(4)
		if err != nil {
			if len(b) > 0 && !s.heard {
				s.remember(b)
			}
			return item{}, err
		}
		switch {
		case b[0] == '$':
			it, took, err := s.dollar(b[1], int(binary.BigEndian.Uint16(b[2:])))
			if err != nil || it.frame != nil {
				return it, err
			}
			if took {
				continue
			}
		case b[0] == '\r' || b[0] == '\n':
			s.br.Discard(1) // padding between messages is common and no garbage
			continue
		case message4(b):
			took, err := s.head()
			if err != nil {
				return item{}, err
			}
			if took {
				continue
			}
		case !s.heard:
			if err := stranger(b, s.br); err != nil {
				return item{}, err
			}
		}
		if err := s.skip(); err != nil {
			return item{}, err
		}
	}
}

// dollar looks at what may be a frame.
func (s *scanner) dollar(channel byte, n int) (it item, took bool, err error) {
	use := s.channels[channel]
	if use == foreign || n < 8 || use == rtpChannel && n < rtpHeader {
		err = s.pass(channel, n, &took)
		return item{}, took, err
	}
	b, err := s.br.Peek(4 + 2)
	if err != nil {
		return item{}, false, err
	}
	if b[4]>>6 != 2 || use == rtcpChannel && (b[5] < 192 || b[5] > 223) {
		return item{}, false, nil // garbage, or a frame cut short before this one
	}
	at := 4 + 8 // of the source
	if use == rtcpChannel {
		at = 4 + 4
	}
	if b, err = s.br.Peek(at + 4); err != nil {
		return item{}, false, err
	}
	source, want := binary.BigEndian.Uint32(b[at:]), 4+n
	if s.run > 0 && s.sources[channel] != source {
		want += 4 // amid garbage this may be chance, which would swallow frames: what follows must be known
	}
	b, err = s.br.Peek(want)
	if err != nil && (!errors.Is(err, io.EOF) || len(b) < 4+n) {
		return item{}, false, err
	}
	if len(b) == 4+n+4 && want > 4+n && !s.follows(b[4+n:], channel) {
		return item{}, false, nil
	}
	b = b[4 : 4+n]
	s.sources[channel] = source
	s.understood()
	s.pending = 4 + n
	return item{use: use, channel: channel, frame: b}, true, nil
}

// pass drops a frame of a channel that is not ours, or an empty one, when
// something known follows it; else the '$' was chance.
func (s *scanner) pass(channel byte, n int, took *bool) error {
	b, err := s.br.Peek(4 + n + 4)
	if err != nil && err != io.EOF {
		return err
	}
	if len(b) == 4+n || len(b) == 4+n+4 && s.follows(b[4+n:], channel) {
		s.br.Discard(4 + n)
		s.foreign++
		s.run += 4 + n // unknown frames alone are no stream either
		*took = true
		if s.run > maxSkip {
			return fail(Garbage, nil, "bytes", strconv.Itoa(s.run))
		}
	}
	return nil
}

// follows tells whether b starts something known: a frame of ours, of the same
// channel as before or of a low one, or a message.
func (s *scanner) follows(b []byte, channel byte) bool {
	if b[0] == '$' {
		return s.channels[b[1]] != foreign || b[1] == channel || b[1] < 16
	}
	return b[0] == '\r' && b[1] == '\n' || message4(b)
}

// methods are the first letters of what a camera may send as a message.
var methods = []string{"RTSP", "OPTI", "ANNO", "GET_", "SET_", "REDI", "TEAR", "PLAY"}

func message4(b []byte) bool {
	for _, m := range methods {
		if string(b[:4]) == m {
			return true
		}
	}
	return false
}

// head reads the head of a message; the body follows in rest.
func (s *scanner) head() (took bool, err error) {
	for have := 0; ; {
		b, err := s.br.Peek(max(s.br.Buffered(), have+1, 5))
		if err != nil {
			return false, err
		}
		have = len(b)
		if b[0] == 'R' && b[1] == 'T' && b[4] != '/' {
			return false, nil
		}
		end := headEnd(b)
		if end < 0 {
			if nl := bytes.IndexByte(b, '\n'); nl < 0 && len(b) > maxURL+64 || nl >= 0 && !bytes.Contains(b[:nl], []byte("RTSP/")) {
				return false, nil // no line of a message is so long, or without this
			}
			if len(b) >= maxHead {
				return false, fail(BadReply, nil, "what", "headers too long")
			}
			continue
		}
		m, ok := parseHead(b[:end])
		if !ok {
			return false, nil
		}
		size, ok := m.bodySize()
		if !ok {
			return false, fail(BadReply, nil, "what", "content-length "+m.get("content-length"))
		}
		s.br.Discard(end)
		s.understood()
		m.body = make([]byte, size)
		s.open, s.got = &m, 0
		return true, nil
	}
}

// rest reads the body of the open message. One that begins like a packet of ours
// was announced and does not come, and waiting for it would swallow the stream.
func (s *scanner) rest() (item, error) {
	if s.got == 0 && len(s.open.body) >= rtpHeader {
		b, err := s.br.Peek(5)
		if err != nil {
			return item{}, err
		}
		if b[0] == '$' && s.channels[b[1]] != foreign && b[4]>>6 == 2 {
			s.open.body = nil
		}
	}
	for s.got < len(s.open.body) {
		n, err := s.br.Read(s.open.body[s.got:])
		s.got += n
		if err != nil {
			return item{}, err
		}
	}
	m := s.open
	s.open = nil
	return item{msg: m}, nil
}

func (s *scanner) understood() { s.heard, s.run = true, 0 }

// skip drops one byte and all that cannot be the start of anything.
func (s *scanner) skip() error {
	b, _ := s.br.Peek(s.br.Buffered())
	n := 1
	for n < len(b) && b[n] != '$' && (b[n] < 'A' || b[n] > 'T') {
		n++
	}
	if !s.heard {
		s.remember(b[:n])
	}
	s.br.Discard(n)
	s.skipped += uint64(n)
	if s.run += n; s.run > maxSkip {
		return fail(Garbage, nil, "bytes", strconv.Itoa(s.run))
	}
	return nil
}

func (s *scanner) remember(b []byte) {
	s.banner = append(s.banner, b[:min(len(b), 64-min(len(s.banner), 64))]...)
}

// stranger knows what else listens on the ports of cameras.
func stranger(b []byte, br *bufio.Reader) error {
	line := func() string {
		b, _ := br.Peek(min(br.Buffered(), maxArg))
		first, _, _ := strings.Cut(string(b), "\n")
		return strings.TrimSpace(first)
	}
	switch {
	case string(b) == "HTTP":
		return fail(SpeaksHTTP, nil, "status", line())
	case string(b) == "SSH-":
		return fail(SpeaksSSH, nil, "banner", line())
	case b[0] == 0x15 && b[1] == 3: // an alert of TLS
		return fail(SpeaksTLS, nil)
	}
	return nil
}
