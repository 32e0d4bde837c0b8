package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"

	"vigil/internal/access"
	"vigil/internal/auth"
	"vigil/internal/layout"
	"vigil/internal/mark"
	"vigil/internal/text"
)

// A problem is an answer that says no (RFC 9457). Its code is stable, its texts are
// those of problem.<code>. As an error it is what a handler returns.
type problem struct {
	status   int
	code     string
	args     map[string]string
	mistakes text.Mistakes
	retry    int // seconds
}

// Error is for logs.
func (p *problem) Error() string { return p.code }

// say makes a problem; args are names and values, in turn.
func say(status int, code string, args ...string) *problem {
	p := &problem{status: status, code: code}
	for i := 0; i+1 < len(args); i += 2 {
		if p.args == nil {
			p.args = map[string]string{}
		}
		p.args[args[i]] = args[i+1]
	}
	return p
}

func notFound() *problem { return say(http.StatusNotFound, "not-found") }

func invalid(m text.Mistakes) *problem {
	return &problem{status: http.StatusUnprocessableEntity, code: "invalid", mistakes: m}
}

func mistake(field, code string, args ...string) *problem {
	var m text.Mistakes
	m.Add(field, code, args...)
	return invalid(m)
}

func wait(code string, seconds float64) *problem {
	n := int(math.Ceil(max(seconds, 1)))
	p := say(http.StatusTooManyRequests, code, "seconds", strconv.Itoa(n))
	p.retry = n
	return p
}

// problemOf says what a handler's error means to the caller. What it does not know is
// internal: the caller gets a number, the log the error.
func (s *Server) problemOf(err error) *problem {
	var p *problem
	var m text.Mistakes
	var slow *auth.SlowDown
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &m):
		return invalid(m)
	case errors.As(err, &slow):
		return wait("too-many-attempts", slow.Retry.Seconds())
	case errors.As(err, &big):
		return say(http.StatusRequestEntityTooLarge, "too-large", "max", strconv.FormatInt(big.Limit, 10))
	case errors.Is(err, ErrLate):
		p := say(http.StatusServiceUnavailable, "busy")
		p.retry = 5
		return p
	case errors.Is(err, os.ErrDeadlineExceeded):
		return say(http.StatusRequestTimeout, "bad-request")
	case errors.Is(err, access.ErrNobody), errors.Is(err, auth.ErrSignedOut):
		return say(http.StatusUnauthorized, "signed-out")
	case errors.Is(err, access.ErrMustChange):
		return say(http.StatusForbidden, "password-must-change")
	case errors.Is(err, access.ErrDenied):
		return say(http.StatusForbidden, "forbidden")
	case errors.Is(err, auth.ErrSignIn):
		return say(http.StatusUnauthorized, "sign-in-failed")
	case errors.Is(err, auth.ErrBusy):
		p := say(http.StatusServiceUnavailable, "busy")
		p.retry = 5
		return p
	case errors.Is(err, auth.ErrOldPassword):
		return say(http.StatusForbidden, "old-password-wrong")
	case errors.Is(err, auth.ErrSetUpDone):
		return say(http.StatusConflict, "setup-done")
	case errors.Is(err, auth.ErrCodeWrong):
		return say(http.StatusForbidden, "setup-code-wrong")
	case errors.Is(err, auth.ErrCodeExpired):
		return say(http.StatusForbidden, "setup-code-expired")
	case errors.Is(err, auth.ErrOwnAccount):
		return say(http.StatusConflict, "own-account")
	case errors.Is(err, auth.ErrNoAccount), errors.Is(err, ErrGone):
		return notFound()
	case errors.Is(err, ErrNoFootage):
		return say(http.StatusUnprocessableEntity, "no-footage")
	case errors.Is(err, ErrNoDecoder):
		return say(http.StatusServiceUnavailable, "no-picture-decoder")
	case errors.Is(err, ErrUndecodable):
		return say(http.StatusUnprocessableEntity, "picture-undecodable")
	case errors.Is(err, layout.ErrChanged):
		return say(http.StatusConflict, "layouts-changed")
	case errors.Is(err, mark.ErrFull):
		return say(http.StatusConflict, "too-many-marks", "max", strconv.Itoa(mark.Max))
	case errors.Is(err, mark.ErrGone):
		return notFound()
	case errors.Is(err, ErrNotReady):
		return say(http.StatusConflict, "export-not-ready")
	case errors.Is(err, ErrChanged):
		return say(http.StatusConflict, "export-changed")
	case errors.Is(err, ErrTooMany):
		return say(http.StatusConflict, "too-many-exports")
	case errors.Is(err, ErrNoSpace):
		return say(http.StatusInsufficientStorage, "no-space")
	}
	var raw [4]byte
	rand.Read(raw[:])
	id := hex.EncodeToString(raw[:])
	level := slog.LevelError
	if errors.Is(err, context.Canceled) {
		level = slog.LevelDebug // the caller left
	}
	s.Log.Log(context.Background(), level, "request failed", "id", id, "err", err)
	return say(http.StatusInternalServerError, "internal", "id", id)
}

type problemBody struct {
	Type       string            `json:"type"`
	Title      string            `json:"title"`
	Status     int               `json:"status"`
	Detail     string            `json:"detail,omitempty"`
	Code       string            `json:"code"`
	Args       map[string]string `json:"args,omitempty"`
	Mistakes   []mistakeBody     `json:"mistakes,omitempty"`
	RetryAfter int               `json:"retryAfter,omitempty"`
}

type mistakeBody struct {
	Field string            `json:"field"`
	Code  string            `json:"code"`
	Args  map[string]string `json:"args,omitempty"`
	Text  string            `json:"text"`
}

// write sends the problem in a language.
func (p *problem) write(w http.ResponseWriter, lang text.Lang) {
	b := problemBody{Type: "urn:vigil:problem:" + p.code, Status: p.status, Code: p.code, Args: p.args, RetryAfter: p.retry,
		Title: text.Get(lang, "problem."+p.code, p.args)}
	if key := "problem." + p.code + ".detail"; text.Has(key) {
		b.Detail = text.Get(lang, key, p.args)
	}
	for _, m := range p.mistakes {
		b.Mistakes = append(b.Mistakes, mistakeBody{m.Field, m.Code, m.Args, text.Get(lang, "mistake."+m.Code, m.Args)})
	}
	h := w.Header()
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.status == http.StatusRequestEntityTooLarge || p.status == http.StatusRequestTimeout {
		h.Set("Connection", "close") // what is still coming is not worth reading
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Language", string(lang))
	h.Set("Cache-Control", "no-store")
	out, err := json.Marshal(b)
	if err != nil {
		panic(fmt.Sprintf("web: a problem does not marshal: %v", err)) // texts always do
	}
	w.WriteHeader(p.status)
	w.Write(out)
}

// under moves mistakes of a part of a document to the place where the caller
// entered it: those below prefix lose it, others stay.
func under(err error, prefix string) error {
	var m text.Mistakes
	if !errors.As(err, &m) {
		return err
	}
	out := make(text.Mistakes, len(m))
	for i, x := range m {
		x.Field = strings.TrimPrefix(x.Field, prefix)
		out[i] = x
	}
	return out
}
