package audit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"vigil/internal/durable"
)

// TestDurably: what a person did is there after a power cut the moment Record
// has returned, for many at once too, and they share the writing.
//
//vigil:clause 5.2.7.1
func TestDurably(t *testing.T) {
	d := newDesk(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := (Durably{Log: d.Log}).Record(amy(SignIn, "amy")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := (Durably{Log: d.Log}).Note(amy(ViewPlay, "lost with the power")); err != nil {
		t.Fatal(err)
	}
	d.disk.Crash()
	d.disk.Restart()
	d.open()
	if got := d.all(Filter{Limit: 100}); len(got) != 50 || got[0].Action != SignIn {
		t.Errorf("%d records after the power cut, want 50 sign-ins", len(got))
	}
	if n, findings := d.verify(); n != 50 || len(findings) > 0 {
		t.Errorf("verified %d records: %v", n, findings)
	}
}

// TestDurablyWithoutDisk: a disk that refuses or hangs keeps nobody out, the
// record is kept for later, and a person is told.
func TestDurablyWithoutDisk(t *testing.T) {
	d := newDesk(t)
	d.opts.Trouble = nil
	told := make(chan error, 10)
	d.opts.Trouble = func(err error) { told <- err }
	d.open()
	d.disk.Inject(durable.Rule{Kind: durable.OpWrite, Times: -1, Fault: durable.Refused, Err: errors.New("no space")})
	if _, err := (Durably{Log: d.Log}).Record(amy(SignIn, "amy")); err != nil {
		t.Errorf("a disk that refuses: %v", err)
	}
	if err := <-told; err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("told %v", err)
	}
	d.disk.Heal()
	if _, err := (Durably{Log: d.Log}).Record(amy(SignIn, "amy")); err != nil {
		t.Error(err)
	}
	if err := <-told; err != nil {
		t.Errorf("told %v, want that it is over", err)
	}

	d.disk.Inject(durable.Rule{Kind: durable.OpWrite, Fault: durable.Hang})
	if _, err := (Durably{Log: d.Log, Patience: 10 * time.Millisecond}).Record(amy(SignIn, "amy")); err != nil {
		t.Errorf("a disk that hangs: %v", err)
	}
	if err := <-told; !errors.Is(err, errHanging) {
		t.Errorf("told %v", err)
	}
	d.disk.Heal()
	if err := d.Sync(context.Background(), d.seq); err != nil {
		t.Error(err)
	}
	if err := <-told; err != nil {
		t.Errorf("told %v, want that it is over", err)
	}
	if got := d.all(Filter{Limit: 10}); len(got) != 3 {
		t.Errorf("%d records, want 3", len(got))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(context.Background(), d.seq+1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
