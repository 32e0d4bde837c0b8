package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A conn is one connection to a camera, with the requests that go over it. It
// belongs to one goroutine.
type conn struct {
	o      *Options
	to     URL
	nc     net.Conn
	sc     *scanner
	cert   *Certificate
	cseq   int
	unsaid int // requests without a reply
	cred   *credential
	id     string // of the session; "" before SETUP, and where a camera gives none
	begun  bool   // a SETUP was accepted: there is something to lose and to end
	buf    []byte // of the request being written
	unhook func() bool
	frame  func(item) // takes what comes between the replies

	redialled bool
	patience  time.Duration // with a write
	replyIn   time.Duration // with a reply
}

// connect opens a connection that the end of ctx interrupts.
func connect(ctx context.Context, o *Options, to URL) (*conn, error) {
	nc, cert, err := dial(ctx, o, to)
	if err != nil {
		return nil, err
	}
	c := &conn{o: o, to: to, nc: nc, sc: newScanner(nc), cert: cert, frame: func(item) {}, patience: writeTimeout, replyIn: replyTimeout}
	c.unhook = context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) }) // closed: even better
	return c, nil
}

func (c *conn) close() {
	c.unhook()
	if tc, ok := c.nc.(*tls.Conn); ok {
		tc.NetConn().SetDeadline(time.Now().Add(goodbyeTimeout)) // on the way out
	}
	c.nc.Close()
}

// write sends bytes; a camera that does not read must not hold us up.
func (c *conn) write(b []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(c.patience)) // the write says so
	_, err := c.nc.Write(b)
	return err
}

// send writes a request and returns its number.
func (c *conn) send(method, url string, extra ...field) (int, error) {
	c.cseq++
	fields := make([]field, 0, 8)
	fields = append(fields, field{"CSeq", strconv.Itoa(c.cseq)}, field{"User-Agent", "Vigil"})
	if c.id != "" {
		fields = append(fields, field{"Session", c.id})
	}
	if c.cred != nil {
		fields = append(fields, field{"Authorization", c.cred.header(method, url)})
	}
	c.buf = appendRequest(c.buf[:0], method, url, append(fields, extra...))
	err := c.write(c.buf)
	c.unsaid++
	clear(c.buf) // the password, where Basic was allowed
	return c.cseq, err
}

// request sends a request and waits for its reply, logging in as often as the
// camera has reason to ask. Frames that come meanwhile go to c.frame.
func (c *conn) request(ctx context.Context, method, url string, extra ...field) (*message, error) {
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := c.send(method, url, extra...)
		if err != nil {
			err = c.lost(ctx, method, err)
		}
		var m *message
		if err == nil {
			m, err = c.reply(ctx, method, n)
		}
		var e *Error
		if errors.As(err, &e) && e.Code == Lost && try > 0 && !c.begun && !c.redialled { // closed after its 401
			if err := c.redial(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if m.status != 401 {
			if c.cred != nil {
				c.cred.accepted = true
			}
			return m, nil
		}
		if err := c.login(m, try); err != nil {
			return nil, err
		}
		if strings.EqualFold(m.get("connection"), "close") && !c.begun && !c.redialled {
			if err := c.redial(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// login reads the challenges of a 401. A nonce that has run out is no refusal.
func (c *conn) login(m *message, try int) error {
	all := challenges(m)
	next, refusal := choose(all, c.o)
	if refusal != nil {
		if c.cred != nil { // some say no a second time without a challenge
			return fail(AuthFailed, nil, "user", c.o.User)
		}
		return refusal
	}
	if old := c.cred; old != nil {
		stale := !next.basic && next.nonce != old.nonce && (old.accepted || anyStale(all))
		if !stale || try > 2 {
			return fail(AuthFailed, nil, "user", c.o.User)
		}
	}
	c.cred = next
	return nil
}

func anyStale(all []challenge) bool {
	for _, c := range all {
		if c.stale() {
			return true
		}
	}
	return false
}

// redial is for cameras that close after a 401.
func (c *conn) redial(ctx context.Context) error {
	cred, frame := c.cred, c.frame
	c.close()
	n, err := connect(ctx, c.o, c.to)
	if err != nil {
		return err
	}
	*c = *n
	c.cred, c.frame, c.redialled = cred, frame, true
	return nil
}

// reply waits for the reply to request n.
func (c *conn) reply(ctx context.Context, step string, n int) (*message, error) {
	c.nc.SetReadDeadline(time.Now().Add(c.replyIn)) // the read says so
	for {
		if err := ctx.Err(); err != nil { // or the deadline just set hides the end of ctx
			return nil, err
		}
		it, err := c.sc.next()
		switch {
		case err != nil:
			return nil, c.lost(ctx, step, err)
		case it.msg == nil:
			c.frame(it)
		case it.msg.method != "":
			if err := c.answer(it.msg); err != nil {
				return nil, c.lost(ctx, step, err)
			}
		default:
			if it.msg.status >= 200 && c.settles(it.msg, n) {
				return it.msg, nil
			}
		}
	}
}

// settles tells whether a final reply is that to request n, the newest. With a
// number that we have not used, or that was another's while only this one is open, the camera cannot
// count: Foscam C1 says 0 (luisiam/homebridge-foscamcamera#6).
func (c *conn) settles(m *message, n int) bool {
	alone := c.unsaid <= 1
	c.unsaid = max(c.unsaid-1, 0)
	got := m.cseq()
	return alone || got <= 0 || got >= n
}

// answer lets a camera have its way with a request of its own.
func (c *conn) answer(m *message) error {
	b := append(c.buf[:0], "RTSP/1.0 200 OK\r\nCSeq: "...)
	b = strconv.AppendInt(b, int64(max(m.cseq(), 0)), 10)
	if c.id != "" {
		b = append(append(b, "\r\nSession: "...), c.id...)
	}
	c.buf = append(b, "\r\n\r\n"...)
	return c.write(c.buf)
}

// lost names the end of a connection.
func (c *conn) lost(ctx context.Context, step string, err error) error {
	var ours *Error
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.As(err, &ours) {
		if ours.Args["step"] == "" && ours.Code == BadReply {
			ours.Args["step"] = step
		}
		return ours
	}
	if !c.sc.heard && len(c.sc.banner) > 0 {
		return fail(NotRTSP, err, "banner", string(c.sc.banner))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fail(NoAnswer, err, "step", step)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // says nothing more
	}
	return fail(Lost, err, "step", step)
}

// refusal names a status that is not success.
func refusal(step string, m *message) error {
	switch m.status {
	case 404:
		return fail(NotFound, nil, "step", step)
	case 403, 453, 500, 503: // cameras say each of these when too many are connected (INTEROP row 18)
		return fail(SessionLimit, nil, "step", step, "status", strconv.Itoa(m.status))
	case 454:
		return fail(Gone, nil, "step", step)
	case 461:
		return fail(NoTransport, nil, "step", step)
	}
	return fail(Status, nil, "step", step, "status", strconv.Itoa(m.status), "reason", m.reason)
}
