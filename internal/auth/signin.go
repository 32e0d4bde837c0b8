package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/audit"
)

// SignIn returns the token of a new session. The error is ErrSignIn, *SlowDown
// or ErrBusy, or the audit log's. It takes as long, and says the same, for a name that does not
// exist, and every try leaves a record.
//
// A try waits for its turn before its password is looked at; what a caller
// gives up on still counts.
//
//vigil:clause 5.4.1.1 5.2.7.1
func (p *Place) SignIn(ctx context.Context, source, name, password string) (token string, s *Session, err error) {
	nobody := actor.Actor{Kind: actor.Nobody, Name: "sign-in", Source: source}
	p.mu.Lock()
	object, kept, rounds, exists := unknown(name), p.dummy, p.doc.Rounds, false
	key := accountKey(name)
	if a := p.find(name); a != nil {
		object, kept, exists = a.Name, a.Password, true
		if _, ok := a.Sources[sourceKey(source)]; ok {
			key += "@" + sourceKey(source)
		}
	}
	p.mu.Unlock()

	from := "s:" + sourceKey(source)
	wait, locked := p.throttle.try(p.now(), map[string]int{key: accountTries, from: sourceTries})
	if wait > 0 {
		if err := p.record(nobody, audit.SignIn, object, "waiting"); err != nil {
			return "", nil, err
		}
		return "", nil, &SlowDown{wait}
	}
	var right bool
	var rehashed string
	err = p.hasher.run(ctx, func() {
		password := normalise(password[:min(len(password), 4*rules.MaxLength)])
		right = matches(kept, password) && exists
		if n, _, _, err := parseHash(kept); right && err == nil && n < rounds {
			rehashed = hash(password, rounds)
		}
	})
	switch {
	case errors.Is(err, ErrBusy):
		p.throttle.forgive(key, from) // the password was not looked at
		return "", nil, err
	case err != nil:
		return "", nil, err
	case !right:
		if err := p.record(nobody, audit.SignIn, object, "password"); err != nil {
			return "", nil, err
		}
		if locked {
			if err := p.record(nobody, audit.Lockout, object, "too-many-attempts"); err != nil {
				return "", nil, err
			}
		}
		if exists { // for the notice at the next sign-in; not worth a write of its own
			p.mu.Lock()
			if a := p.find(object); a != nil {
				a.Failures++
			}
			p.mu.Unlock()
		}
		return "", nil, ErrSignIn
	}
	p.throttle.succeeded(key, from)

	var last *LastSignIn
	err = p.changeAccount(object, func(a *account) error {
		if a.Password != kept {
			return ErrSignIn // changed meanwhile
		}
		if a.Last != nil {
			last = &LastSignIn{a.Last.At, a.Last.Source, a.Failures}
		}
		a.Last, a.Failures = &LastSignIn{At: p.now(), Source: source}, 0
		a.Sources = remember(a.Sources, sourceKey(source), p.now())
		if rehashed != "" {
			a.Password = rehashed
		}
		return nil
	})
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	if rehashed != "" {
		kept = rehashed
	}
	token, s, err = p.enter(object, source, kept)
	if err != nil {
		return "", nil, err
	}
	s.last = last
	return token, s, nil
}

// remember keeps the newest sources.
func remember(m map[string]time.Time, source string, at time.Time) map[string]time.Time {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]time.Time{}
	}
	m[source] = at
	for len(m) > maxSources {
		oldest := source
		for s, t := range m {
			if t.Before(m[oldest]) {
				oldest = s
			}
		}
		delete(m, oldest)
	}
	return m
}

// unknown is what the log says of a name without account: people type
// passwords into the field for names.
func unknown(name string) string {
	if !utf8.ValidString(name) || name == "" {
		return "unknown"
	}
	r := []rune(name)
	return "unknown:" + strings.ToValidUTF8(string(r[:min(2, len(r)/2)]), "") + "***"
}

// Subject returns what access wants to know of a session, as the account is
// now. ErrSignedOut when it has ended.
func (p *Place) Subject(s *Session) (access.Subject, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.find(s.account)
	if a == nil || !s.alive(p.steady()) {
		return access.Subject{}, ErrSignedOut
	}
	return a.subject(s.Actor()), nil
}
