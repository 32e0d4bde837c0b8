// Package auth says who somebody is: accounts, passwords, sessions, and the
// one-time code of the first start.
//
//	web (every way in) -> [auth] -> access: may they?
//
// It keeps two sealed documents, accounts and sessions, and records every try.
package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/text"
)

// A Recorder is the audit log. What it cannot record does not happen; what is
// recorded and then fails gets a second record that says so.
type Recorder interface {
	Record(audit.Record) (seq uint64, err error)
}

// Why somebody is not let in.
var (
	ErrSignIn      = errors.New("name or password is wrong") // and never which
	ErrSignedOut   = errors.New("no such session")
	ErrBusy        = errors.New("too many sign-ins at once")
	ErrOldPassword = errors.New("the old password is wrong")
	ErrSetUpDone   = errors.New("the first administrator is there already")
	ErrCodeWrong   = errors.New("the one-time code is wrong")
	ErrCodeExpired = errors.New("the one-time code has expired")
	ErrNoAccount   = errors.New("no such account")
	ErrOwnAccount  = errors.New("one's own password is changed with the old one")
)

// SlowDown refuses a try without looking at it.
type SlowDown struct{ Retry time.Duration }

// Error is for logs.
func (e *SlowDown) Error() string { return fmt.Sprintf("too many tries: wait %v", e.Retry) }

// Options are what Open needs.
type Options struct {
	FS       durable.FS
	Dir      string   // an existing folder
	Accounts seal.Key // purpose "accounts"
	Sessions seal.Key // purpose "sessions"
	Audit    Recorder
	// Rounds of PBKDF2 for the first start; 0 measures the machine. Less than
	// the floor is only for tests of other packages.
	Rounds int
	// Now is the clock, which can be set; nil is the machine's.
	Now func() time.Time
	// Uptime counts on when the clock is set; nil is the machine's.
	Uptime func() time.Duration
}

// A Place holds the accounts and who is signed in. Safe for many callers.
type Place struct {
	now      func() time.Time // the clock
	steady   func() time.Time // the clock as it was at the start, and the time since then
	audit    Recorder
	hasher   hasher
	throttle throttle
	dummy    string // what a password is compared with where there is no account

	saving   sync.Mutex // held over the disk, before mu
	accounts document.File
	sessions document.File

	mu      sync.Mutex // never held over the disk or a hash
	doc     accountsDoc
	signed  map[[32]byte]*Session
	code    setupCode
	claimed bool // a claim is under way or done
}

// accountsDoc is the sealed document of accounts.
type accountsDoc struct {
	Rounds   int       `json:"rounds"`
	Accounts []account `json:"accounts"`
}

type account struct {
	Name       string               `json:"name"`
	Role       access.Role          `json:"role"`
	Cameras    []media.CameraID     `json:"cameras,omitempty"` // none: all
	Language   text.Lang            `json:"language,omitempty"`
	Password   string               `json:"password"`
	History    []string             `json:"history,omitempty"` // newest first
	MustChange bool                 `json:"mustChange,omitempty"`
	Created    time.Time            `json:"created"`
	Changed    time.Time            `json:"changed"` // the password
	Last       *LastSignIn          `json:"last,omitempty"`
	Failures   int                  `json:"failures,omitempty"` // since Last
	Sources    map[string]time.Time `json:"sources,omitempty"`  // that have signed in, and when last
}

// A LastSignIn tells a person of the sign-in before theirs.
type LastSignIn struct {
	At       time.Time `json:"at"`
	Source   string    `json:"source"`
	Failures int       `json:"failures"` // since then
}

const maxSources = 16

// Open reads accounts and sessions; a first start has none.
func Open(o Options) (*Place, error) {
	p := &Place{
		now: o.Now, audit: o.Audit, hasher: newHasher(),
		accounts: document.File{FS: o.FS, Name: path.Join(o.Dir, "accounts.doc"), Key: o.Accounts, Kind: "accounts", Version: 1},
		sessions: document.File{FS: o.FS, Name: path.Join(o.Dir, "sessions.doc"), Key: o.Sessions, Kind: "sessions", Version: 1},
		signed:   map[[32]byte]*Session{},
	}
	if p.now == nil {
		p.now = time.Now
	}
	begin := p.now()
	p.steady = func() time.Time { return begin.Add(o.Uptime()) }
	if o.Uptime == nil {
		p.steady = func() time.Time { return begin.Add(time.Since(begin)) }
	}
	p.throttle.m = map[string]*counter{}
	switch _, err := p.accounts.Load(&p.doc); {
	case errors.Is(err, fs.ErrNotExist):
		if p.doc.Rounds = o.Rounds; o.Rounds == 0 {
			p.doc.Rounds = calibrate()
		}
		// Kept at once: who finds no accounts later finds a damaged state, not a first start.
		if err := p.accounts.Save(p.doc); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	if err := p.checkDoc(); err != nil {
		return nil, fmt.Errorf("load accounts: %w", err)
	}
	p.dummy = hash("", p.doc.Rounds)
	p.claimed = len(p.doc.Accounts) > 0
	return p, p.loadSessions()
}

func (p *Place) checkDoc() error {
	if p.doc.Rounds < 1 || p.doc.Rounds > maxRounds {
		return fmt.Errorf("%w: %d rounds", document.ErrDamaged, p.doc.Rounds)
	}
	for _, a := range p.doc.Accounts {
		if _, _, _, err := parseHash(a.Password); err != nil || !a.Role.Valid() {
			return fmt.Errorf("%w: account %q: role %q, %w", document.ErrDamaged, a.Name, a.Role, err)
		}
	}
	return nil
}

// find needs mu. The result is part of the document.
func (p *Place) find(name string) *account {
	i := slices.IndexFunc(p.doc.Accounts, func(a account) bool { return fold(a.Name) == fold(name) })
	if i < 0 {
		return nil
	}
	return &p.doc.Accounts[i]
}

func (a *account) subject(who actor.Actor) access.Subject {
	return access.Subject{Actor: who, Role: a.Role, Cameras: a.Cameras, MustChange: a.MustChange}
}

// change writes the document with a change, and takes it over when it is
// durable. fn gets a copy and may refuse.
func (p *Place) change(fn func(d *accountsDoc) error) error {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.mu.Lock()
	d := p.doc
	d.Accounts = slices.Clone(d.Accounts)
	p.mu.Unlock()
	if err := fn(&d); err != nil {
		return err
	}
	if err := p.accounts.Save(d); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doc = d
	return nil
}

// changeAccount is change for one account.
func (p *Place) changeAccount(name string, fn func(a *account) error) error {
	return p.change(func(d *accountsDoc) error {
		for i := range d.Accounts {
			if fold(d.Accounts[i].Name) == fold(name) {
				return fn(&d.Accounts[i])
			}
		}
		return ErrNoAccount
	})
}

// SetLanguage remembers the language of who is signed in.
func (p *Place) SetLanguage(s *Session, l text.Lang) error {
	if p.Language(s) == l {
		return nil
	}
	return p.changeAccount(s.account, func(a *account) error {
		a.Language = l
		return nil
	})
}

// Language returns the language of who is signed in; "": none was chosen.
func (p *Place) Language(s *Session) text.Lang {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.find(s.account); a != nil {
		return a.Language
	}
	return ""
}

// An Account is what may be told of one.
type Account struct {
	Name       string
	Role       access.Role
	Created    time.Time
	Last       time.Time // sign-in; zero: never
	MustChange bool
	Sessions   int
}

// Accounts lists them, sorted by name.
func (p *Place) Accounts() (list []Account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.doc.Accounts {
		x := Account{Name: a.Name, Role: a.Role, Created: a.Created, MustChange: a.MustChange}
		if a.Last != nil {
			x.Last = a.Last.At
		}
		for _, s := range p.signed {
			if fold(s.account) == fold(a.Name) && s.alive(p.steady()) {
				x.Sessions++
			}
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b Account) int { return strings.Compare(fold(a.Name), fold(b.Name)) })
	return list
}

// Rules tells what a password must be.
func (p *Place) Rules() Rules { return rules }

// ChangePassword is for who is signed in: the old password is asked for, under
// the same counting as a sign-in. All sessions of the account end and a new one begins.
// The error is ErrOldPassword, *SlowDown, ErrBusy or text.Mistakes.
//
//vigil:clause 5.4.2.1
func (p *Place) ChangePassword(ctx context.Context, s *Session, old, fresh string) (token string, next *Session, err error) {
	who := s.Actor()
	fresh = normalise(fresh)
	a, rounds, err := p.confirm(ctx, s, old, passwordChange)
	if err != nil {
		return "", nil, err
	}
	name, kept, history := a.Name, a.Password, a.History

	kepts := append([]string{kept}, history...)
	hashed, err := p.fresh(ctx, "/new", name, fresh, kepts, rounds)
	if err != nil {
		return "", nil, err
	}
	if err := p.record(who, passwordChange, name, ""); err != nil {
		return "", nil, err
	}
	err = p.changeAccount(name, func(a *account) error {
		if a.Password != kept {
			return ErrOldPassword // somebody was quicker
		}
		a.History = first(kepts, rules.History)
		a.Password, a.Changed, a.MustChange = hashed, p.now(), false
		return nil
	})
	if err != nil {
		_ = p.record(who, passwordChange, name, storage)
		return "", nil, fmt.Errorf("change the password of %s: %w", name, err)
	}
	p.endAll(name, "password")
	return p.enter(name, s.source, hashed)
}

// confirm compares a password with that of who is signed in, and returns the
// account and the rounds as they were then. What is wrong is recorded for the action.
func (p *Place) confirm(ctx context.Context, s *Session, password string, action audit.Action) (a account, rounds int, err error) {
	p.mu.Lock()
	is := p.find(s.account)
	if is == nil {
		p.mu.Unlock()
		return a, 0, ErrSignedOut
	}
	a, rounds = *is, p.doc.Rounds
	p.mu.Unlock()
	key := "change:" + fold(a.Name)
	if wait, _ := p.throttle.try(p.now(), map[string]int{key: accountTries}); wait > 0 {
		return a, 0, &SlowDown{wait}
	}
	var right bool
	if err := p.hasher.run(ctx, func() { right = matches(a.Password, Passphrase(password)) }); err != nil {
		p.throttle.forgive(key)
		return a, 0, err
	}
	if !right {
		if err := p.record(s.Actor(), action, a.Name, "old-password"); err != nil {
			return a, 0, err
		}
		return a, 0, ErrOldPassword
	}
	p.throttle.forgetAll(key)
	return a, rounds, nil
}

// Confirm asks who is signed in for the password once more, before the action,
// under the same counting as a change of it. The error is ErrOldPassword, *SlowDown or ErrBusy.
//
//vigil:clause 5.4.1.1
func (p *Place) Confirm(ctx context.Context, s *Session, password string, action audit.Action) error {
	_, _, err := p.confirm(ctx, s, password, action)
	return err
}

// Work runs what takes a whole core, such as stretching a passphrase, in the one
// place there is for it. The error is ErrBusy, or that of ctx.
func (p *Place) Work(ctx context.Context, work func()) error { return p.hasher.run(ctx, work) }

// ResetPassword sets somebody's password, who must change it. All sessions of
// the account end, and so do its waits.
//
//vigil:clause 5.4.2.1
func (p *Place) ResetPassword(ctx context.Context, by actor.Actor, name, fresh string) error {
	if by.Kind == actor.Person && fold(by.Name) == fold(name) {
		return ErrOwnAccount
	}
	fresh = normalise(fresh)
	p.mu.Lock()
	a := p.find(name)
	if a == nil {
		p.mu.Unlock()
		return ErrNoAccount
	}
	name = a.Name
	kepts, rounds := append([]string{a.Password}, a.History...), p.doc.Rounds
	p.mu.Unlock()
	hashed, err := p.fresh(ctx, "/new", name, fresh, kepts, rounds)
	if err != nil {
		return err
	}
	if err := p.record(by, passwordReset, name, ""); err != nil {
		return err
	}
	err = p.changeAccount(name, func(a *account) error {
		a.History = first(kepts, rules.History)
		a.Password, a.Changed, a.MustChange, a.Sources = hashed, p.now(), true, nil
		return nil
	})
	if err != nil {
		_ = p.record(by, passwordReset, name, storage)
		return fmt.Errorf("reset the password of %s: %w", name, err)
	}
	p.throttle.forgetAll(accountKey(name), "change:"+fold(name))
	p.endAll(name, "password-reset")
	return nil
}

// fresh checks a new password against the rules and the old ones, and returns
// the form to keep.
func (p *Place) fresh(ctx context.Context, field, name, password string, kepts []string, rounds int) (hashed string, err error) {
	var m text.Mistakes
	check(&m, field, name, password)
	if len(m) > 0 {
		return "", m
	}
	err = p.hasher.run(ctx, func() {
		for _, k := range first(kepts, rules.History) {
			if matches(k, password) {
				m.Add(field, "password-used-before", "history", fmt.Sprint(rules.History))
				return
			}
		}
		hashed = hash(password, rounds)
	})
	if err == nil {
		err = m.Err()
	}
	return hashed, err
}

func first(list []string, n int) []string { return slices.Clone(list[:min(n, len(list))]) }

// record writes an audit record: ok, or the reason why not.
func (p *Place) record(who actor.Actor, action audit.Action, object, reason string) error {
	r := audit.Record{At: p.now(), Actor: who, Action: action, Object: object, Result: audit.Denied, Reason: reason}
	switch reason {
	case "":
		r.Result = audit.OK
	case storage:
		r.Result = audit.Failed
	}
	if _, err := p.audit.Record(r); err != nil {
		return fmt.Errorf("%s: it cannot be recorded: %w", action, err)
	}
	return nil
}

// storage is the reason of what was allowed and could not be kept.
const storage = "storage"

// The actions of this package in the audit log, besides those of audit.
const (
	setupCodeMade  audit.Action = "setup.code"
	setupClaim     audit.Action = "setup.claim"
	passwordChange audit.Action = "password.change"
	passwordReset  audit.Action = "password.reset"
	sessionEnd     audit.Action = "session.end"
	sessionsLost   audit.Action = "session.lost"
)
