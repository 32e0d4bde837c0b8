package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/seal"
	"vigil/internal/text"
)

const (
	good  = "Correct-Horse-9"
	other = "Battery!Staple_7"
	desk  = "192.0.2.10"
	far   = "203.0.113.9"
)

// A log is the audit log, in memory.
type log struct {
	mu   sync.Mutex
	recs []audit.Record
	err  error
	hook func(audit.Record) // called once
}

func (l *log) Record(r audit.Record) (uint64, error) {
	if hook := l.hook; hook != nil {
		l.hook = nil
		hook(r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.recs = append(l.recs, r)
	}
	return uint64(len(l.recs)), l.err
}

// take returns what was recorded, as "action result reason by object".
func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, r := range l.recs {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Action, r.Result, r.Reason)))
	}
	l.recs = nil
	return strings.Join(list, "; ")
}

type bench struct {
	t    *testing.T
	mem  *durable.Mem
	log  *log
	keys [2]seal.Key
	p    *Place
	now  time.Time // the clock stands still until sleep
	up   time.Duration
}

func (b *bench) sleep(d time.Duration) { b.now, b.up = b.now.Add(d), b.up+d }

func newBench(t *testing.T) *bench {
	b := &bench{t: t, mem: durable.NewMem(), log: &log{}, keys: [2]seal.Key{seal.NewKey(), seal.NewKey()}, now: time.Now()}
	if err := durable.MkdirAll(b.mem, "state"); err != nil {
		t.Fatal(err)
	}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	begin := b.up
	p, err := Open(Options{FS: b.mem, Dir: "state", Accounts: b.keys[0], Sessions: b.keys[1], Audit: b.log, Rounds: 1000, Now: func() time.Time { return b.now }, Uptime: func() time.Duration { return b.up - begin }})
	if err != nil {
		b.t.Fatal(err)
	}
	b.p = p
}

func (b *bench) claim() (string, *Session) {
	b.t.Helper()
	code, _, err := b.p.NewCode(actor.Actor{Kind: actor.Console, Name: "uid 0"})
	if err != nil {
		b.t.Fatal(err)
	}
	token, s, err := b.p.Claim(context.Background(), desk, code, "amy", good)
	if err != nil {
		b.t.Fatal(err)
	}
	b.log.take()
	return token, s
}

func (b *bench) signIn(source, name, password string) error {
	_, _, err := b.p.SignIn(context.Background(), source, name, password)
	return err
}

//vigil:clause 5.4.1.1
func TestClaim(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	console := actor.Actor{Kind: actor.Console, Name: "uid 0"}
	if _, _, err := b.p.Claim(ctx, desk, "", "amy", good); !errors.Is(err, ErrCodeWrong) {
		t.Errorf("before there is a code: %v", err)
	}
	old, _, _ := b.p.NewCode(console)
	code, expires, err := b.p.NewCode(console)
	if err != nil || expires.Sub(b.now) != CodeLife || len(code) != 14 || code == old {
		t.Fatalf("code %q until %v: %v", code, expires, err)
	}
	if _, _, err := b.p.Claim(ctx, desk, old, "amy", good); !errors.Is(err, ErrCodeWrong) {
		t.Errorf("the code before: %v", err)
	}
	var m text.Mistakes
	if _, _, err := b.p.Claim(ctx, desk, code, "a b", "short"); !errors.As(err, &m) || len(m) < 3 {
		t.Errorf("bad name and password: %v", err)
	}
	b.sleep(CodeLife)
	if _, _, err := b.p.Claim(ctx, desk, code, "amy", good); !errors.Is(err, ErrCodeExpired) {
		t.Errorf("too late: %v", err)
	}
	code, _, _ = b.p.NewCode(console)
	token, s, err := b.p.Claim(ctx, desk, strings.ToLower(strings.ReplaceAll(code, "-", " ")), "amy", good)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.p.Session(token); err != nil || got != s {
		t.Errorf("signed in: %v", err)
	}
	if subject, err := b.p.Subject(s); err != nil || subject.Role != access.Administrator || subject.MustChange {
		t.Errorf("subject %+v, %v", subject, err)
	}
	for range 2 {
		if _, _, err := b.p.Claim(ctx, desk, code, "eve", good); !errors.Is(err, ErrSetUpDone) {
			t.Errorf("a second administrator: %v", err)
		}
		if _, _, err := b.p.NewCode(console); !errors.Is(err, ErrSetUpDone) {
			t.Errorf("a second code: %v", err)
		}
		b.open()
	}
	want := "setup.claim denied code; setup.code ok; setup.code ok; setup.claim denied code; setup.claim denied code; setup.code ok; setup.claim ok; signin ok"
	if got := b.log.take(); got != want {
		t.Errorf("recorded:\n got %s\nwant %s", got, want)
	}
}

func TestClaimIsSlowed(t *testing.T) {
	b := newBench(t)
	code, _, _ := b.p.NewCode(actor.Actor{Kind: actor.Console})
	var slow *SlowDown
	tries := 0
	for i := range 200 { // from ever new sources
		_, _, err := b.p.Claim(context.Background(), fmt.Sprintf("198.51.100.%d", i), "0000-0000-0000", "amy", good)
		if errors.Is(err, ErrCodeWrong) {
			tries++
		}
	}
	if tries > 4*codeTries {
		t.Errorf("%d tries at once", tries)
	}
	if _, _, err := b.p.Claim(context.Background(), desk, code, "amy", good); !errors.As(err, &slow) {
		t.Fatalf("%v", err)
	}
	b.sleep(slow.Retry)
	if _, _, err := b.p.Claim(context.Background(), desk, code, "amy", "short"); errors.As(err, &slow) || err == nil {
		t.Errorf("the owner, after %v: %v", slow.Retry, err)
	}
	// Nor must the owner wait for strangers who go on: the console has another code.
	for i := range 200 {
		b.p.Claim(context.Background(), fmt.Sprintf("198.51.100.%d", i), "0000-0000-0000", "amy", good)
	}
	code, _, _ = b.p.NewCode(actor.Actor{Kind: actor.Console})
	if _, _, err := b.p.Claim(context.Background(), desk, code, "amy", good); err != nil {
		t.Errorf("the owner, with a new code: %v", err)
	}
}

// Two claims with the right code at once make one administrator.
func TestClaimOnce(t *testing.T) {
	b := newBench(t)
	code, _, _ := b.p.NewCode(actor.Actor{Kind: actor.Console})
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, _, errs[i] = b.p.Claim(context.Background(), desk, code, fmt.Sprintf("amy%d", i), good)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	if won != 1 || len(b.p.Accounts()) != 1 {
		t.Errorf("%d won, %d accounts: %v", won, len(b.p.Accounts()), errs)
	}
}

func TestSignIn(t *testing.T) {
	b := newBench(t)
	b.claim()
	for _, c := range []struct {
		name, password string
		want           error
	}{
		{"amy", good, nil}, {"AMY", good, nil}, {"amy", other, ErrSignIn}, {"amy", "", ErrSignIn}, {"eve", good, ErrSignIn},
		{"", "", ErrSignIn}, {"amy", strings.Repeat("x", 1<<20), ErrSignIn}, {"amy\nsignin", good, ErrSignIn}, {"\xff\xfe", "\xff", ErrSignIn},
	} {
		err := b.signIn(desk, c.name, c.password)
		if !errors.Is(err, c.want) {
			t.Errorf("%.20q: %v, want %v", c.name, err, c.want)
		}
		if c.want != nil && err.Error() != ErrSignIn.Error() {
			t.Errorf("%.20q: the error tells %q", c.name, err)
		}
	}
	for _, r := range b.log.recs {
		if strings.Contains(r.Object, "\n") || !utf8.ValidString(r.Object) || strings.Contains(r.Object, "signin") || r.Actor.Source != desk || r.Actor.Name == "" || r.At.IsZero() {
			t.Errorf("record %+v", r)
		}
	}
	if got := strings.Count(b.log.take(), "signin "); got != 9 {
		t.Errorf("%d records of 9 tries", got)
	}
	token, s, err := b.p.SignIn(context.Background(), far, "amy", good)
	if err != nil || s.Last() == nil || s.Last().Source != desk || s.Last().Failures != 2+1 {
		t.Errorf("last sign-in: %+v, %v", s.Last(), err)
	}
	if len(token) != 43 {
		t.Errorf("a token of %d characters", len(token))
	}
	b.log.err = errors.New("disk full")
	if err := b.signIn(desk, "amy", good); err == nil || errors.Is(err, ErrSignIn) {
		t.Errorf("signed in without a record: %v", err)
	}
}

// What a name that does not exist gets is what an account gets, try by try,
// and an account is not locked for the place its owner sits at.
//
//vigil:clause 5.4.1.1
func TestLockout(t *testing.T) {
	b := newBench(t)
	b.claim()
	var answers [2][]string
	for i, name := range []string{"amy", "nobody"} {
		for n := range 12 {
			err := b.signIn(fmt.Sprintf("198.51.100.%d", n), name, "Wrong-Password-1")
			answers[i] = append(answers[i], err.Error())
		}
	}
	if a, b := strings.Join(answers[0], "\n"), strings.Join(answers[1], "\n"); a != b || !strings.Contains(a, "wait") {
		t.Errorf("an account:\n%s\nno account:\n%s", a, b)
	}
	var slow *SlowDown
	if err := b.signIn(far, "amy", good); !errors.As(err, &slow) {
		t.Errorf("the right password from a strange place while locked: %v", err)
	}
	if err := b.signIn(desk, "amy", good); err != nil {
		t.Errorf("the owner at the usual place: %v", err)
	}
	if got := b.log.take(); strings.Count(got, "signin.lockout") != 2 || strings.Count(got, "waiting") != 15 {
		t.Errorf("recorded: %s", got)
	}
	// The wait doubles up to its bound, and ends.
	var waits []time.Duration
	for range 8 {
		for n := 0; n < 20 && b.signIn(far, "amy", "Wrong-Password-1") == ErrSignIn; n++ {
		}
		if err := b.signIn(far, "amy", good); !errors.As(err, &slow) {
			t.Fatalf("not locked: %v", err)
		}
		waits = append(waits, slow.Retry)
		b.sleep(slow.Retry)
	}
	if waits[0] < firstWait || waits[1] <= waits[0] || waits[7] != longestWait {
		t.Errorf("waits %v", waits)
	}
	b.sleep(longestWait)
	if err := b.signIn(far, "amy", good); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// One source that tries many names is stopped for all of them.
func TestSourceIsSlowed(t *testing.T) {
	b := newBench(t)
	b.claim()
	tried := 0
	for i := range 300 {
		if err := b.signIn(fmt.Sprintf("2001:db8::%x", i), fmt.Sprintf("name%d", i), "x"); errors.Is(err, ErrSignIn) {
			tried++
		}
	}
	if tried != sourceTries {
		t.Errorf("%d tries from one network", tried)
	}
	if err := b.signIn("2001:db8:0:1::1", "amy", good); err != nil {
		t.Errorf("the next network: %v", err)
	}
}

func TestThrottleStaysSmall(t *testing.T) {
	th := throttle{m: map[string]*counter{}}
	now := time.Now()
	for range 4 {
		th.try(now, map[string]int{"a:amy": 5})
	}
	for i := range maxCounters + 500 {
		th.try(now, map[string]int{fmt.Sprint("a:", i): 5})
	}
	if len(th.m) > maxCounters || th.fails("a:amy") != 4 {
		t.Errorf("%d counters, amy %d", len(th.m), th.fails("a:amy"))
	}
	for _, r := range []string{"x", "\ufdfa", "\xff"} { // the second is 18 characters in the one form of Unicode
		if n := len(accountKey(strings.Repeat(r, 1<<16))); n > 300 {
			t.Errorf("a name of %q is counted under %d bytes", r, n)
		}
	}
	if accountKey("AMY") != accountKey("amy") {
		t.Error("capitals have a count of their own")
	}
}

// Many guesses at the same time are no more guesses.
func TestParallelGuesses(t *testing.T) {
	b := newBench(t)
	b.claim()
	var wg sync.WaitGroup
	var mu sync.Mutex
	looked := 0
	for range 50 {
		wg.Go(func() {
			if err := b.signIn(far, "amy", "Wrong-Password-1"); errors.Is(err, ErrSignIn) {
				mu.Lock()
				looked++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if looked > accountTries {
		t.Errorf("%d passwords were looked at", looked)
	}
}

func TestHasherIsBounded(t *testing.T) {
	h := newHasher()
	release := make(chan bool)
	started := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { h.run(context.Background(), func() { started <- true; <-release }) })
	<-started
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, maxWaiting)
	for range maxWaiting - 1 {
		wg.Go(func() { errs <- h.run(ctx, func() {}) })
	}
	for len(h.queue) < maxWaiting {
		runtime.Gosched()
	}
	if err := h.run(context.Background(), func() {}); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	for range maxWaiting - 1 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
	}
	close(release)
	wg.Wait()
}

//vigil:clause 5.2.5.1
func TestSessionEnds(t *testing.T) {
	b := newBench(t)
	token, s := b.claim()
	b.sleep(Idle - time.Second)
	if _, err := b.p.Session(token); err != nil {
		t.Fatalf("just before: %v", err)
	}
	b.sleep(time.Second) // looking is no use
	if _, err := b.p.Session(token); !errors.Is(err, ErrSignedOut) {
		t.Errorf("idle: %v", err)
	}
	if b.p.Used(s); s.Alive() {
		t.Error("use wakes the dead")
	}
	_, s, _ = b.p.SignIn(context.Background(), desk, "amy", good)
	start := b.now
	for s.Alive() {
		b.p.Used(s)
		b.sleep(time.Minute)
	}
	if got := b.now.Sub(start); got != Absolute {
		t.Errorf("in use it lasts %v", got)
	}
	token, s, _ = b.p.SignIn(context.Background(), desk, "amy", good)
	if err := b.p.SignOut(s); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if _, err := b.p.Session(token); !errors.Is(err, ErrSignedOut) {
		t.Errorf("after sign-out: %v", err)
	}
	if _, err := b.p.Subject(s); !errors.Is(err, ErrSignedOut) {
		t.Errorf("subject after sign-out: %v", err)
	}
	for _, bad := range []string{"", "x", token[:42], token + "A", strings.Repeat("A", 43)} {
		if _, err := b.p.Session(bad); !errors.Is(err, ErrSignedOut) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}

// TestSessionAndClock: a step of the clock neither ends a session nor lengthens
// it; after a restart there is nothing but the clock, and one that was used in its future has ended.
//
//vigil:clause 5.2.5.1
func TestSessionAndClock(t *testing.T) {
	for _, step := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		b := newBench(t)
		_, s := b.claim()
		b.now = b.now.Add(step)
		b.sleep(Idle - time.Second)
		if !s.Alive() {
			t.Errorf("%v: signed out by the clock", step)
		}
		b.p.Used(s)
		b.sleep(Idle)
		if s.Alive() {
			t.Errorf("%v: idle for %v and still signed in", step, Idle)
		}
		token, _, _ := b.p.SignIn(context.Background(), desk, "amy", good)
		b.now = b.now.Add(-2 * step)
		b.open()
		if _, err := b.p.Session(token); !errors.Is(err, ErrSignedOut) {
			t.Errorf("%v: signed in after a restart on another day: %v", step, err)
		}
	}
}

func TestSessionsSurviveRestart(t *testing.T) {
	b := newBench(t)
	token, s := b.claim()
	gone, s2, _ := b.p.SignIn(context.Background(), desk, "amy", good)
	for range 20 {
		b.sleep(time.Minute)
		b.p.Used(s)
	}
	if err := b.p.SignOut(s2); err != nil {
		t.Fatal(err)
	}
	b.mem.Crash()
	b.mem.Restart()
	b.open()
	got, err := b.p.Session(token)
	if err != nil || got.ID != s.ID || got.Account() != "amy" || !got.Expires().Equal(s.Expires()) {
		t.Fatalf("after a restart: %v", err)
	}
	if _, err := b.p.Session(gone); !errors.Is(err, ErrSignedOut) {
		t.Errorf("signed out before the restart: %v", err)
	}
	file, _ := durable.ReadFile(b.mem, "state/sessions.doc", 1<<20)
	if bytes.Contains(file, []byte(token)) || bytes.Contains(file, []byte("amy")) {
		t.Error("sessions are in the clear")
	}
	// A damaged file signs out, and that is all.
	durable.WriteFile(b.mem, "state/sessions.doc", []byte("damaged"))
	b.open()
	if _, err := b.p.Session(token); !errors.Is(err, ErrSignedOut) {
		t.Errorf("damaged: %v", err)
	}
	if err := b.signIn(desk, "amy", good); err != nil {
		t.Error(err)
	}
}

// The sessions of before a new password stay ended, even where their file was
// not written anew, or was put back.
func TestOldSessionsFile(t *testing.T) {
	b := newBench(t)
	token, s := b.claim()
	old, _ := durable.ReadFile(b.mem, "state/sessions.doc", 1<<20)
	b.sleep(time.Second)
	if _, _, err := b.p.ChangePassword(context.Background(), s, good, other); err != nil {
		t.Fatal(err)
	}
	durable.WriteFile(b.mem, "state/sessions.doc", old)
	b.open()
	if _, err := b.p.Session(token); !errors.Is(err, ErrSignedOut) {
		t.Errorf("%v", err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	b := newBench(t)
	first, _ := b.claim()
	var last string
	for range maxPerAccount {
		b.sleep(time.Millisecond)
		token, _, err := b.p.begin("amy", desk)
		if err != nil {
			t.Fatal(err)
		}
		last = token
	}
	if _, err := b.p.Session(first); !errors.Is(err, ErrSignedOut) {
		t.Errorf("the oldest: %v", err)
	}
	if _, err := b.p.Session(last); err != nil || b.p.Count() != maxPerAccount {
		t.Errorf("the newest: %v, %d", err, b.p.Count())
	}
}

//vigil:clause 5.4.2.1
func TestChangePassword(t *testing.T) {
	b := newBench(t)
	token, s := b.claim()
	elsewhere, s2, _ := b.p.SignIn(context.Background(), far, "amy", good)
	ctx := context.Background()
	if _, _, err := b.p.ChangePassword(ctx, s, other, other); !errors.Is(err, ErrOldPassword) {
		t.Errorf("wrong old one: %v", err)
	}
	var m text.Mistakes
	if _, _, err := b.p.ChangePassword(ctx, s, good, good); !errors.As(err, &m) || m[0].Code != "password-used-before" {
		t.Errorf("the same again: %v", err)
	}
	if _, _, err := b.p.ChangePassword(ctx, s, good, "Amy-is-my-name-1"); !errors.As(err, &m) || m[0].Code != "password-has-name" || m[0].Field != "/new" {
		t.Errorf("with the name: %v", err)
	}
	b.sleep(time.Second)
	fresh, s3, err := b.p.ChangePassword(ctx, s, good, other)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	<-s2.Done()
	for _, old := range []string{token, elsewhere} {
		if _, err := b.p.Session(old); !errors.Is(err, ErrSignedOut) {
			t.Errorf("an old session: %v", err)
		}
	}
	if _, err := b.p.Session(fresh); err != nil {
		t.Errorf("the new session: %v", err)
	}
	if err := b.signIn(desk, "amy", good); !errors.Is(err, ErrSignIn) {
		t.Errorf("the old password: %v", err)
	}
	if err := b.signIn(desk, "amy", other); err != nil {
		t.Errorf("the new password: %v", err)
	}
	// History: the last five are refused, the sixth is free.
	at := other
	for i := range rules.History {
		next := fmt.Sprintf("Sesame-Street-%d%d", i, i)
		b.sleep(time.Second)
		if _, s3, err = b.p.ChangePassword(ctx, s3, at, next); err != nil {
			t.Fatal(err)
		}
		at = next
	}
	if _, _, err := b.p.ChangePassword(ctx, s3, at, "Sesame-Street-00"); !errors.As(err, &m) {
		t.Errorf("four changes ago: %v", err)
	}
	if _, _, err := b.p.ChangePassword(ctx, s3, at, good); err != nil {
		t.Errorf("long ago: %v", err)
	}
	if _, _, err := b.p.ChangePassword(ctx, s3, at, other); !errors.Is(err, ErrOldPassword) {
		t.Errorf("from a dead session with an old password: %v", err)
	}
	b.open()
	if err := b.signIn(desk, "amy", good); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// A sign-in that is under way while the password is reset or changed ends with
// the others.
//
//vigil:clause 5.2.5.1 5.4.2.1
func TestSignInDuringAReset(t *testing.T) {
	ctx := context.Background()
	console := actor.Actor{Kind: actor.Console, Name: "uid 0"}
	for name, enter := range map[string]func(b *bench, s *Session) (string, *Session, error){
		"sign-in": func(b *bench, _ *Session) (string, *Session, error) { return b.p.SignIn(ctx, far, "amy", good) },
		"change": func(b *bench, s *Session) (string, *Session, error) {
			return b.p.ChangePassword(ctx, s, good, "Sesame-Street-00")
		},
	} {
		b := newBench(t)
		_, s := b.claim()
		reset := func(audit.Record) {
			if err := b.p.ResetPassword(ctx, console, "amy", other); err != nil {
				t.Error(err)
			}
		}
		b.log.hook = reset
		if name == "change" { // at the record of the new session, not of the change
			b.log.hook = func(audit.Record) { b.log.hook = func(audit.Record) { b.log.hook = reset } }
		}
		if token, s, err := enter(b, s); err == nil && s.Alive() {
			t.Errorf("%s: a session of the password of before is left: %q", name, token)
		}
		if n := b.p.Count(); n != 0 {
			t.Errorf("%s: %d sessions are left", name, n)
		}
		if got := b.log.take(); !strings.Contains(got, "password.reset ok") || !strings.HasSuffix(got, "session.end denied password") {
			t.Errorf("%s: recorded %s", name, got)
		}
	}
}

func TestChangePasswordIsSlowed(t *testing.T) {
	b := newBench(t)
	_, s := b.claim()
	var slow *SlowDown
	for range 10 {
		b.p.ChangePassword(context.Background(), s, "Wrong-Password-1", other)
	}
	if _, _, err := b.p.ChangePassword(context.Background(), s, good, other); !errors.As(err, &slow) {
		t.Errorf("%v", err)
	}
}

//vigil:clause 5.4.2.1
func TestResetPassword(t *testing.T) {
	b := newBench(t)
	token, s := b.claim()
	console := actor.Actor{Kind: actor.Console, Name: "uid 0"}
	ctx := context.Background()
	for range 10 {
		b.signIn(far, "amy", "Wrong-Password-1")
	}
	var m text.Mistakes
	if err := b.p.ResetPassword(ctx, console, "amy", "1234"); !errors.As(err, &m) {
		t.Errorf("the same rules: %v", err)
	}
	if err := b.p.ResetPassword(ctx, console, "eve", other); !errors.Is(err, ErrNoAccount) {
		t.Errorf("nobody: %v", err)
	}
	if err := b.p.ResetPassword(ctx, s.Actor(), "Amy", other); !errors.Is(err, ErrOwnAccount) {
		t.Errorf("one's own: %v", err)
	}
	b.sleep(time.Second)
	if err := b.p.ResetPassword(ctx, console, "amy", other); err != nil {
		t.Fatal(err)
	}
	if _, err := b.p.Session(token); !errors.Is(err, ErrSignedOut) {
		t.Errorf("the old session: %v", err)
	}
	_, s, err := b.p.SignIn(ctx, far, "amy", other) // no wait any more
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := b.p.Subject(s)
	if !subject.MustChange || access.Allow(subject, access.Right{Action: access.See}) == nil {
		t.Errorf("subject %+v", subject)
	}
	b.sleep(time.Second)
	_, s, err = b.p.ChangePassword(ctx, s, other, "Sesame-Street-00")
	if err != nil {
		t.Fatal(err)
	}
	if subject, _ := b.p.Subject(s); subject.MustChange {
		t.Error("it was changed")
	}
	if list := b.p.Accounts(); len(list) != 1 || list[0].Sessions != 1 || list[0].Last.IsZero() {
		t.Errorf("accounts %+v", list)
	}
}

// Whatever step of writing fails, the old password or the new one works, and
// never neither.
func TestChangeFails(t *testing.T) {
	for _, fault := range []durable.Fault{durable.Refused, durable.AppliedThenError, durable.CrashBefore, durable.CrashAfter} {
		for step := 0; ; step++ {
			b := newBench(t)
			_, s := b.claim()
			b.mem.Inject(durable.Rule{Skip: step, Fault: fault, Err: unix.EIO})
			_, _, err := b.p.ChangePassword(context.Background(), s, good, other)
			reached := b.mem.Hits() > 0
			b.mem.Restart()
			b.open()
			errNew, errOld := b.signIn(desk, "amy", other), b.signIn(desk, "amy", good)
			if err == nil && errNew != nil || errNew != nil && errOld != nil || errNew == nil && errOld == nil {
				t.Fatalf("fault %d, step %d: %v; new: %v, old: %v", fault, step, err, errNew, errOld)
			}
			if !reached {
				break
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	b := newBench(t)
	b.claim()
	o := Options{FS: b.mem, Dir: "state", Accounts: seal.NewKey(), Sessions: b.keys[1], Audit: b.log}
	if _, err := Open(o); !errors.Is(err, document.ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	bad := b.p.accounts
	bad.Save(accountsDoc{Rounds: 1000, Accounts: []account{{Name: "amy", Role: access.Administrator, Password: "plain"}}})
	o.Accounts = b.keys[0]
	if _, err := Open(o); !errors.Is(err, document.ErrDamaged) {
		t.Errorf("a password in the clear: %v", err)
	}
	bad.Version = 2
	bad.Save(accountsDoc{})
	if _, err := Open(o); !errors.Is(err, document.ErrNewer) {
		t.Errorf("a newer state: %v", err)
	}
	o.Dir = "nowhere"
	if _, err := Open(o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
