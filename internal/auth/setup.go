package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/text"
)

// CodeLife is how long a one-time code lasts.
const CodeLife = time.Hour

// alphabet has no letter that is taken for another: 32 signs, 5 bits each
// (Crockford's base 32).
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const codeLength = 12 // 60 bits

type setupCode struct {
	digest  [32]byte
	expires time.Time // zero: none
}

// SetUpNeeded tells whether there is no account yet.
func (p *Place) SetUpNeeded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.doc.Accounts) == 0
}

// NewCode makes the one-time code that opens set-up and voids the one before.
// Who can read the console is with the machine: that is the proof of presence. With
// it end the waits that wrong codes have brought, so that nobody on the network can
// keep the owner out.
//
//vigil:clause 5.4.1.1
func (p *Place) NewCode(by actor.Actor) (code string, expires time.Time, err error) {
	if !p.SetUpNeeded() {
		return "", time.Time{}, ErrSetUpDone
	}
	if err := p.record(by, setupCodeMade, "", ""); err != nil {
		return "", time.Time{}, err
	}
	var raw [codeLength]byte
	rand.Read(raw[:])
	for i, b := range raw {
		raw[i] = alphabet[b&31]
	}
	code = string(raw[:])
	expires = p.now().Add(CodeLife)
	p.mu.Lock()
	p.code = setupCode{sha256.Sum256([]byte(code)), expires}
	p.mu.Unlock()
	p.throttle.forgetCodes()
	return code[:4] + "-" + code[4:8] + "-" + code[8:], expires, nil
}

// CodeExpires tells until when the code on the console holds; false when it
// holds no longer.
func (p *Place) CodeExpires() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code.expires, p.now().Before(p.code.expires)
}

// canonical reads a code as people type it.
func canonical(code string) string {
	return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
}

// Claim makes the first administrator, who shows the code from the console,
// and signs in. A refused name or password leaves the code as it is; success uses it
// up. The error is ErrSetUpDone, ErrCodeWrong, ErrCodeExpired, *SlowDown, ErrBusy or text.Mistakes.
//
//vigil:clause 5.4.1.1
func (p *Place) Claim(ctx context.Context, source, code, name, password string) (token string, s *Session, err error) {
	nobody := actor.Actor{Kind: actor.Nobody, Name: "set-up", Source: source}
	if !p.SetUpNeeded() {
		return "", nil, ErrSetUpDone
	}
	// Counted for all sources together too: a code belongs to nobody.
	keys := map[string]int{"code": 4 * codeTries, "code:" + sourceKey(source): codeTries}
	if wait, _ := p.throttle.try(p.now(), keys); wait > 0 {
		if err := p.record(nobody, setupClaim, "", "waiting"); err != nil {
			return "", nil, err
		}
		return "", nil, &SlowDown{wait}
	}
	digest := sha256.Sum256([]byte(canonical(code)))
	p.mu.Lock()
	right := subtle.ConstantTimeCompare(digest[:], p.code.digest[:]) == 1 && !p.code.expires.IsZero()
	fresh := p.now().Before(p.code.expires)
	p.mu.Unlock()
	if !right || !fresh {
		if err := p.record(nobody, setupClaim, "", "code"); err != nil {
			return "", nil, err
		}
		if right {
			return "", nil, ErrCodeExpired
		}
		return "", nil, ErrCodeWrong
	}
	p.throttle.forgive("code", "code:"+sourceKey(source))

	var m text.Mistakes
	checkName(&m, "/name", name)
	password = normalise(password)
	check(&m, "/password", name, password)
	if len(m) > 0 {
		return "", nil, m
	}
	if !p.take() {
		return "", nil, ErrSetUpDone
	}
	defer func() {
		if err != nil && p.SetUpNeeded() {
			p.giveBack()
		}
	}()
	p.mu.Lock()
	rounds := p.doc.Rounds
	p.mu.Unlock()
	var hashed string
	if err := p.hasher.run(ctx, func() { hashed = hash(password, rounds) }); err != nil {
		return "", nil, err
	}
	if err := p.record(nobody, setupClaim, name, ""); err != nil {
		return "", nil, err
	}
	now := p.now()
	err = p.change(func(d *accountsDoc) error {
		if len(d.Accounts) > 0 {
			return ErrSetUpDone
		}
		d.Accounts = []account{{
			Name: name, Role: access.Administrator, Password: hashed, Created: now, Changed: now,
			Last: &LastSignIn{At: now, Source: source}, Sources: remember(nil, sourceKey(source), now),
		}}
		return nil
	})
	if err != nil {
		_ = p.record(nobody, setupClaim, name, storage)
		return "", nil, fmt.Errorf("set up: %w", err)
	}
	p.mu.Lock()
	p.code = setupCode{}
	p.mu.Unlock()
	return p.enter(name, source, hashed)
}

// take lets one claim go on at a time.
func (p *Place) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claimed {
		return false
	}
	p.claimed = true
	return true
}

func (p *Place) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claimed = false
}
