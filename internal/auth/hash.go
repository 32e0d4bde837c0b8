package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"vigil/internal/seal"
)

// A password is kept as
//
//	$pbkdf2-sha256$i=<rounds>$<salt>$<hash>
//
// by seal.Stretch, 16 bytes of salt and 32 of hash in base64 without padding.
const (
	scheme    = "pbkdf2-sha256"
	saltSize  = seal.SaltSize
	hashSize  = seal.Size
	minRounds = seal.MinRounds
	maxRounds = 20_000_000 // a damaged number must not stop sign-in for minutes
)

// hashTime is how long one hash should take: a person does not notice, who
// guesses does.
const hashTime = 150 * time.Millisecond

var b64 = base64.RawStdEncoding.Strict()

// hash returns the form to keep, with a fresh salt.
func hash(password string, rounds int) string {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return fmt.Sprintf("$%s$i=%d$%s$%s", scheme, rounds, b64.EncodeToString(salt), b64.EncodeToString(seal.Stretch(password, salt, rounds)))
}

// parseHash takes a kept form apart.
func parseHash(s string) (rounds int, salt, want []byte, err error) {
	part := strings.Split(s, "$")
	if len(part) != 5 || part[0] != "" || part[1] != scheme || !strings.HasPrefix(part[2], "i=") {
		return 0, nil, nil, fmt.Errorf("kept password: not of the form of %s", scheme)
	}
	if rounds, err = strconv.Atoi(part[2][2:]); err == nil && (rounds < 1000 || rounds > maxRounds) {
		err = fmt.Errorf("%d rounds", rounds)
	}
	if err == nil {
		salt, err = b64.DecodeString(part[3])
	}
	if err == nil {
		want, err = b64.DecodeString(part[4])
	}
	if err == nil && (len(salt) < saltSize || len(salt) > 64 || len(want) != hashSize) {
		err = fmt.Errorf("%d bytes of salt, %d of hash", len(salt), len(want))
	}
	if err != nil {
		return 0, nil, nil, fmt.Errorf("kept password: %w", err)
	}
	return rounds, salt, want, nil
}

// matches compares in constant time. A form that does not parse matches
// nothing.
func matches(kept, password string) bool {
	rounds, salt, want, err := parseHash(kept)
	return err == nil && subtle.ConstantTimeCompare(seal.Stretch(password, salt, rounds), want) == 1
}

// calibrate returns the rounds that take hashTime on this machine, never below
// the floor. The quickest of three tries counts: other work must not make it look slow.
//
//vigil:clause 5.2.4.1
func calibrate() int {
	const try = 60_000
	best := time.Duration(1 << 62)
	for range 3 {
		start := time.Now()
		seal.Stretch("calibrate", make([]byte, saltSize), try)
		best = min(best, time.Since(start))
	}
	n := int(float64(try) * float64(hashTime) / float64(max(best, time.Microsecond)))
	return min(max(n/10_000*10_000, minRounds), maxRounds)
}

// Hashing takes a whole core, so there is one place for it and a short queue:
// a flood of sign-ins costs sign-ins, not recording.
const maxWaiting = 16

type hasher struct {
	queue chan struct{} // who waits or works
	place chan struct{} // who works
}

func newHasher() hasher {
	return hasher{make(chan struct{}, maxWaiting), make(chan struct{}, 1)}
}

// run does the work when the place is free. ErrBusy: too many wait.
func (h hasher) run(ctx context.Context, work func()) error {
	select {
	case h.queue <- struct{}{}:
	default:
		return ErrBusy
	}
	defer func() { <-h.queue }()
	select {
	case h.place <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.place }()
	work()
	return nil
}
