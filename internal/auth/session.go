package auth

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
)

// How long a session lasts.
const (
	Idle     = 15 * time.Minute // without a request, and without video running
	Absolute = 12 * time.Hour
	keepSeen = time.Minute // how far behind the kept time of the last use may be

	maxSessions   = 1000
	maxPerAccount = 50
)

// A Session is somebody signed in. The token is theirs; kept is only its
// SHA-256. Safe for many callers.
type Session struct {
	ID      string // public, for the log
	account string
	source  string
	created time.Time
	last    *LastSignIn // written before the session is handed out
	hash    [32]byte
	now     func() time.Time

	seen  atomic.Int64 // unix ns of the last use
	kept  atomic.Int64 // seen, as it is on the disk
	ended chan struct{}
	once  sync.Once
}

// Account is the name.
func (s *Session) Account() string { return s.account }

// Expires is the absolute end.
func (s *Session) Expires() time.Time { return s.created.Add(Absolute) }

// Last tells of the sign-in before; nil when there was none, or after a
// restart.
func (s *Session) Last() *LastSignIn { return s.last }

// Actor is who the session acts as.
func (s *Session) Actor() actor.Actor {
	return actor.Actor{Kind: actor.Person, Name: s.account, Source: s.source, Session: s.ID}
}

// Done is closed when the session ends by sign-out, a new password or the
// account's end. Who streams also asks Alive now and then, for the time.
func (s *Session) Done() <-chan struct{} { return s.ended }

// Alive tells whether the session lasts.
func (s *Session) Alive() bool { return s.alive(s.now()) }

func (s *Session) alive(now time.Time) bool {
	select {
	case <-s.ended:
		return false
	default:
		return now.Before(s.Expires()) && now.Sub(time.Unix(0, s.seen.Load())) < Idle
	}
}

// Use says that the person is there: a request, or video running.
func (s *Session) Use() {
	if now := s.now(); s.alive(now) {
		s.seen.Store(now.UnixNano())
	}
}

func (s *Session) end() { s.once.Do(func() { close(s.ended) }) }

type sessionsDoc struct {
	Sessions []sessionRow `json:"sessions"`
}

type sessionRow struct {
	Hash    string    `json:"hash"`
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Source  string    `json:"source"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
}

// loadSessions lets a restart sign nobody out. A damaged file signs everybody
// out, which harms nobody.
func (p *Place) loadSessions() error {
	var d sessionsDoc
	if _, err := p.sessions.Load(&d); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return p.record(actor.Of("auth", ""), sessionsLost, "sessions", storage)
	}
	for _, r := range d.Sessions {
		h, err := hex.DecodeString(r.Hash)
		a := p.find(r.Account)
		if err != nil || len(h) != 32 || a == nil || r.Created.Before(a.Changed) { // an old file outlives no password
			continue
		}
		s := &Session{ID: r.ID, account: r.Account, source: r.Source, created: r.Created, hash: [32]byte(h), now: p.steady, ended: make(chan struct{})}
		s.seen.Store(r.Seen.UnixNano())
		s.kept.Store(r.Seen.UnixNano())
		if now := p.steady(); s.alive(now) && !r.Created.After(now) && !r.Seen.After(now) {
			p.signed[s.hash] = s
		}
	}
	return nil
}

// begin makes a session with a new token: 256 random bits.
//
//vigil:clause 5.2.5.1
func (p *Place) begin(name, source string) (token string, s *Session, err error) {
	var raw [32]byte
	rand.Read(raw[:])
	token = base64.RawURLEncoding.EncodeToString(raw[:])
	var id [6]byte
	rand.Read(id[:])
	now := p.steady()
	s = &Session{ID: hex.EncodeToString(id[:]), account: name, source: source, created: now, hash: sha256.Sum256([]byte(token)), now: p.steady, ended: make(chan struct{})}
	s.seen.Store(now.UnixNano())
	if err := p.record(s.Actor(), audit.SignIn, name, ""); err != nil {
		return "", nil, err
	}
	p.mu.Lock()
	p.sweep(now, name)
	p.signed[s.hash] = s
	p.mu.Unlock()
	if err := p.saveSessions(); err != nil {
		p.drop(s)
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	return token, s, nil
}

// enter is begin for who has just shown a password. Where that was changed or
// reset meanwhile, the session came too late to be ended with the others, and ends here.
//
//vigil:clause 5.2.5.1 5.4.2.1
func (p *Place) enter(name, source, kept string) (token string, s *Session, err error) {
	if token, s, err = p.begin(name, source); err != nil {
		return "", nil, err
	}
	p.mu.Lock()
	a := p.find(name)
	same := a != nil && a.Password == kept
	p.mu.Unlock()
	if same {
		return token, s, nil
	}
	p.drop(s)
	if err := errors.Join(p.record(s.Actor(), sessionEnd, name, "password"), p.saveSessions()); err != nil {
		return "", nil, err
	}
	return "", nil, ErrSignIn
}

// sweep forgets what has ended and keeps the bounds: the longest unused goes.
// The caller holds mu.
func (p *Place) sweep(now time.Time, name string) {
	var same, all []*Session
	for h, s := range p.signed {
		if !s.alive(now) {
			s.end()
			delete(p.signed, h)
			continue
		}
		all = append(all, s)
		if fold(s.account) == fold(name) {
			same = append(same, s)
		}
	}
	oldest := func(list []*Session, most int) {
		slices.SortFunc(list, func(a, b *Session) int { return cmp.Compare(a.seen.Load(), b.seen.Load()) })
		for len(list) >= most {
			list[0].end()
			delete(p.signed, list[0].hash)
			list = list[1:]
		}
	}
	oldest(same, maxPerAccount)
	oldest(all, maxSessions)
}

// Session returns the session of a token, without counting as a use.
// ErrSignedOut for any token that is none, or no longer.
func (p *Place) Session(token string) (*Session, error) {
	if len(token) != 43 {
		return nil, ErrSignedOut
	}
	h := sha256.Sum256([]byte(token)) // a look-up by digest: its time says nothing about the tokens
	p.mu.Lock()
	s := p.signed[h]
	p.mu.Unlock()
	if s == nil || !s.Alive() {
		return nil, ErrSignedOut
	}
	return s, nil
}

// Used is Use, and keeps it on the disk now and then, so that a restart does
// not sign out who is there.
func (p *Place) Used(s *Session) {
	s.Use()
	if s.seen.Load()-s.kept.Load() < int64(keepSeen) || !p.saving.TryLock() {
		return
	}
	p.saving.Unlock()
	_ = p.saveSessions() // an error costs a sign-in after a restart, no more
}

// saveSessions writes who is signed in.
func (p *Place) saveSessions() error {
	p.saving.Lock()
	defer p.saving.Unlock()
	var d sessionsDoc
	p.mu.Lock()
	all := make([]*Session, 0, len(p.signed))
	for h, s := range p.signed {
		seen := s.seen.Load()
		d.Sessions = append(d.Sessions, sessionRow{hex.EncodeToString(h[:]), s.ID, s.account, s.source, s.created, time.Unix(0, seen)})
		s.kept.Store(seen)
		all = append(all, s)
	}
	p.mu.Unlock()
	slices.SortFunc(d.Sessions, func(a, b sessionRow) int { return cmp.Compare(a.Hash, b.Hash) })
	if err := p.sessions.Save(d); err != nil {
		for _, s := range all {
			s.kept.Store(0) // try again at the next use
		}
		return err
	}
	return nil
}

func (p *Place) drop(s *Session) {
	s.end()
	p.mu.Lock()
	delete(p.signed, s.hash)
	p.mu.Unlock()
}

// SignOut ends a session. It ends at once, even when the disk refuses.
func (p *Place) SignOut(s *Session) error {
	p.drop(s)
	return errors.Join(p.record(s.Actor(), audit.SignOut, s.account, ""), p.saveSessions())
}

// endAll ends every session of an account.
//
//vigil:clause 5.2.5.1
func (p *Place) endAll(name, why string) {
	p.mu.Lock()
	var ended []*Session
	for h, s := range p.signed {
		if fold(s.account) == fold(name) {
			s.end()
			delete(p.signed, h)
			ended = append(ended, s)
		}
	}
	p.mu.Unlock()
	for _, s := range ended {
		_ = p.record(s.Actor(), sessionEnd, name, why) // the change itself is recorded already
	}
	if len(ended) > 0 {
		_ = p.saveSessions() // if that fails, loadSessions sees that they are older than the password
	}
}

// Count tells how many people are signed in.
func (p *Place) Count() (n int) {
	now := p.steady()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.signed {
		if s.alive(now) {
			n++
		}
	}
	return n
}
