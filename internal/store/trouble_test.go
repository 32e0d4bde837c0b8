package store

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// edit changes a file behind the store's back, durably.
func (r *rig) edit(name string, change func(f durable.File, size int64)) {
	r.t.Helper()
	f, err := r.disk.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		r.t.Fatal(err)
	}
	change(f, info.Size())
	f.Sync()
}

func cutTo(part float64) func(durable.File, int64) {
	return func(f durable.File, size int64) { f.Truncate(int64(float64(size) * part)) }
}

func flip(f durable.File, size int64) {
	var b [1]byte
	f.ReadAt(b[:], size/2)
	b[0] ^= 1
	f.WriteAt(b[:], size/2)
}

// settledSegment records one segment and returns its place.
func (r *rig) settledSegment() (media.SegmentID, string) {
	r.t.Helper()
	st := r.streams[0]
	r.one(st)
	start := time.Now().UnixNano()
	id := st.w.ID()
	r.cut(st)
	time.Sleep(4 * time.Second)
	name := "mnt/" + SegmentName(id, start)
	if _, err := r.disk.Stat(name); err != nil {
		r.t.Fatal(err)
	}
	return id, name
}

// TestOrder compares the order of durable operations, from the closing of a
// segment to its place and from its removal to its end, with a golden file.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.beat = 730 * time.Millisecond // never at the same moment as the volume's
		r.boot()
		r.settledSegment()
		time.Sleep(2100 * time.Millisecond) // the day's folders and keys are there
		var b strings.Builder
		note := func(title string, upTo durable.Kind) {
			b.WriteString(title + "\n")
			id := regexp.MustCompile(`[0-9a-v]{26}`)
			last := ""
			ops := r.disk.Ops()
			for i, op := range ops {
				line := id.ReplaceAllString(op.String(), "ID")
				switch {
				case strings.HasPrefix(op.Name, "sys/ledger/"):
					line = "(ledger)"
				case strings.HasPrefix(op.Name, "sys/audit/"):
					line = "(audit)"
				}
				if line != last {
					b.WriteString("\t" + line + "\n")
				}
				if last = line; op.Kind == upTo && strings.HasPrefix(op.Name, "mnt/") {
					for _, op := range ops[i+1:] { // what is independent of the segment is left out
						if op.Kind == durable.OpSyncfs || strings.HasPrefix(op.Name, "mnt/segments") {
							b.WriteString("\t" + id.ReplaceAllString(op.String(), "ID") + "\n")
						}
					}
					return
				}
			}
		}
		st := r.streams[0]
		r.one(st)
		time.Sleep(1500 * time.Millisecond)
		r.disk.ForgetOps()
		r.cut(st)
		time.Sleep(2500 * time.Millisecond)
		note("close", durable.OpRename)
		r.disk.ForgetOps()
		r.removeOldest()
		note("remove", durable.OpRemove)
		r.end()

		const name = "testdata/order.txt"
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("order of operations:\n%s\nwant (UPDATE=1 writes it):\n%s", b.String(), want)
		}
	})
}

// TestCutShort takes away from an open segment what its last pulse promised,
// and finds it told with the seconds; a crash alone is not told.
//
//vigil:clause 5.2.8.2
func TestCutShort(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *rig, file string)
		alert  bool
		part   bool // some of it is there, so the seconds can be told
		rest   bool
	}{
		{"a crash", nil, false, false, false},
		{"cut to a quarter", func(r *rig, file string) { r.edit(file, cutTo(0.25)) }, true, true, true},
		{"a byte flipped in the middle", func(r *rig, file string) { r.edit(file, flip) }, true, true, true},
		{"the header", func(r *rig, file string) { r.edit(file, func(f durable.File, _ int64) { f.WriteAt([]byte("x"), 20) }) }, true, false, false},
		{"emptied", func(r *rig, file string) { r.edit(file, cutTo(0)) }, true, false, false},
		{"deleted", func(r *rig, file string) { r.disk.Remove(file); r.disk.SyncDir("mnt/open") }, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, true)
				r.boot()
				r.put(54)
				id := r.streams[0].w.ID()
				r.crash()
				crashed := time.Now()
				r.disk.Restart()
				if c.change != nil {
					c.change(r, "mnt/"+openName(id))
				}
				r.boot()
				r.await()
				args, told := r.board.args(FileTampered + " " + id.String())
				if told != c.alert || told && args["stream"] == "" {
					t.Errorf("alert %v with %v, want %v", told, args, c.alert)
				}
				if told {
					to, err := time.Parse(time.RFC3339, args["to"])
					if ago := crashed.Sub(to); err != nil || ago > 8*time.Second {
						t.Errorf("the last pulse is %v before the crash, %v", ago, err)
					}
					from, err := time.Parse(time.RFC3339, args["from"])
					if want := strconv.Itoa(int(math.Ceil(to.Sub(from).Seconds()))); c.part && (err != nil || args["seconds"] != want || want == "0") {
						t.Errorf("seconds: %v, want %s", args, want)
					}
				}
				if _, ok := r.board.args(FileTampered + " " + r.otherOpen(id)); ok {
					t.Error("the other stream is suspected")
				}
				_, err := r.disk.Stat("mnt/quarantine/" + id.String() + ".rest")
				if c.rest != (err == nil) {
					t.Errorf("what lies behind the damage: %v", err)
				}
				r.invariants(c.alert)
				r.end()
			})
		})
	}
}

func (r *rig) otherOpen(id media.SegmentID) string {
	for o := range r.frags {
		if o != id {
			return o.String()
		}
	}
	return ""
}

// TestCheck spoils a settled record in every way and finds each found.
//
//vigil:clause 5.2.8.2
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(r *rig, file string)
		depth Depth
		want  Trouble
	}{
		{"nothing", func(*rig, string) {}, Bytes, ""},
		{"deleted", func(r *rig, file string) { r.disk.Remove(file) }, Names, NoFile},
		{"cut", func(r *rig, file string) { r.edit(file, cutTo(0.9)) }, Names, WrongSize},
		{"flipped", func(r *rig, file string) { r.edit(file, flip) }, Bytes, WrongDigest},
		{"flipped, not read", func(r *rig, file string) { r.edit(file, flip) }, Names, ""},
		{"in another hour", func(r *rig, file string) {
			r.disk.Mkdir("mnt/segments/10957/07", 0o700)
			r.disk.Rename(file, "mnt/segments/10957/07/"+path.Base(file))
		}, Names, Misplaced},
		{"an unknown segment", func(r *rig, file string) {
			durable.WriteFile(r.disk, path.Dir(file)+"/"+media.SegmentID{9}.String()+suffix, []byte("x"))
		}, Names, Unknown},
		{"an unknown file", func(r *rig, file string) { durable.WriteFile(r.disk, path.Dir(file)+"/x", nil) }, Names, Unknown},
		{"a file for an hour", func(r *rig, file string) { durable.WriteFile(r.disk, "mnt/segments/10957/x", nil) }, Names, Unknown},
		{"an unknown day", func(r *rig, file string) {
			durable.MkdirAll(r.disk, "mnt/segments/1/02")
			durable.WriteFile(r.disk, "mnt/segments/1/02/x", nil)
		}, Names, Unknown},
		{"no day", func(r *rig, file string) { r.disk.Mkdir("mnt/segments/x", 0o700) }, Names, Unknown},
		{"in open/", func(r *rig, file string) { durable.WriteFile(r.disk, "mnt/open/x", nil) }, Names, Unknown},
		{"a removed segment put back", func(r *rig, file string) {
			r.disk.Rename(file, "mnt/kept")
			r.removeOldest()
			durable.MkdirAll(r.disk, path.Dir(file))
			r.disk.Rename("mnt/kept", file)
		}, Names, Removed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, true)
				r.boot()
				_, file := r.settledSegment()
				c.spoil(r, file)
				rep, err := r.store.Check(t.Context(), c.depth, nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.want == "" && !rep.OK() || c.want != "" && (rep.OK() || rep.Counts[c.want] != 1) {
					t.Errorf("found %v, want one %s", rep.Findings, c.want)
				}
				if c.want == Unknown && strings.Contains(c.name, "segment") {
					i := slices.IndexFunc(rep.Findings, func(f Finding) bool { return f.Trouble == Unknown })
					if err := r.store.Quarantine(rep.Findings[i]); err != nil {
						t.Error(err)
					}
					if rep, _ := r.store.Check(t.Context(), Names, nil); !rep.OK() || rep.Counts[Quarantined] != 1 {
						t.Errorf("after the quarantine: %v", rep.Findings)
					}
				}
				r.end()
			})
		})
	}
}

// TestStrangers finds what does not belong into open/ put aside and told.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false)
		r.boot()
		r.put(8)
		id := r.streams[0].w.ID()
		r.crash()
		r.disk.Restart()
		stranger := media.SegmentID{9}
		for name, data := range map[string]string{"letter.txt": "dear", stranger.String() + suffix: "not a segment", media.SegmentID{8}.String() + suffix: "\x00\x00"} {
			durable.WriteFile(r.disk, "mnt/open/"+name, []byte(data))
		}
		r.disk.Rename("mnt/"+openName(id), "mnt/"+openName(media.SegmentID{7})) // under another's name
		r.disk.SyncDir("mnt/open")
		r.boot()
		r.await()
		list, _ := r.disk.ReadDir("mnt/quarantine")
		if len(list) != 3 {
			t.Errorf("in quarantine: %v", list)
		}
		if list, _ := r.disk.ReadDir("mnt/open"); len(list) != 0 {
			t.Errorf("left in open/: %v", list)
		}
		if !r.board.about("mnt") {
			t.Error("no alert")
		}
		r.crash()
		r.disk.Restart()
		if list, _ := r.disk.ReadDir("mnt/quarantine"); len(list) != 3 {
			t.Errorf("in quarantine after a power cut: %v", list)
		}
		if list, _ := r.disk.ReadDir("mnt/open"); len(list) != 0 {
			t.Errorf("back in open/ after a power cut: %v", list)
		}
	})
}

// TestRemoval is cut short after the tombstone: the next start takes the file
// away, and nobody calls it tampering. A file put back into open/ goes too.
//
//vigil:clause 5.2.7.2
func TestRemoval(t *testing.T) {
	for _, back := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, true)
			r.boot()
			id, file := r.settledSegment()
			r.settledSegment()
			r.disk.Inject(durable.Rule{Kind: durable.OpRemove, Fault: durable.CrashBefore})
			r.removeOldest()
			r.crash()
			r.disk.Restart()
			r.board = newBoard()
			if _, err := r.disk.Stat(file); err != nil {
				t.Fatalf("the file went before the crash: %v", err)
			}
			if back {
				r.disk.Rename(file, "mnt/"+openName(id))
				r.disk.SyncDir("mnt/open")
			}
			r.boot()
			r.await()
			r.invariants(false)
			if r.board.count() != 0 {
				t.Errorf("%d alerts", r.board.count())
			}
			if _, err := r.store.Open(id, time.Now().UnixNano()); !errors.Is(err, ErrGone) {
				t.Errorf("open a removed segment: %v", err)
			}
			r.end()
		})
	}
}

// TestMarkWaitsForRemoval keeps a removed segment's file from going for as long
// as two marks take: the mark stays before the tombstone, so that the next start takes the
// file away, and nobody finds it then.
func TestMarkWaitsForRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		_, file := r.settledSegment()
		r.disk.Inject(durable.Rule{Kind: durable.OpRemove, Name: path.Base(file), Times: -1, Err: unix.EIO})
		r.removeOldest()
		r.put(4)
		r.cutAll()
		time.Sleep(3 * markEvery)
		r.crash()
		r.disk.Heal()
		r.disk.Restart()
		if _, err := r.disk.Stat(file); err != nil {
			t.Fatalf("the file went before the restart: %v", err)
		}
		r.boot()
		r.await()
		if _, err := r.disk.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file of a removed segment stays: %v", err)
		}
		r.invariants(false)
		r.end()
	})
}

// TestRemoveRecorded looks for the audit record of a removal, and finds what
// is still being written refused.
//
//vigil:clause 5.2.7.2
func TestRemoveRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		id, _ := r.settledSegment()
		r.put(1)
		open := r.streams[0].w.ID()
		if err := r.store.Remove(t.Context(), actor.Of("retention", "amy"), []Ref{{Segment: open}}, media.Retention, ""); !errors.Is(err, ErrBusy) {
			t.Errorf("remove what is being written: %v", err)
		}
		r.removeOldest()
		time.Sleep(2 * time.Second)
		e := r.log.find("segment.remove", id.String())
		if e == nil || e.Actor.Name != "retention" || e.Reason != string(media.Retention) || e.Detail["bytes"] == "" || e.Camera.IsZero() {
			t.Errorf("record of the removal: %+v", e)
		}
		r.cutAll()
		r.end()
	})
}

// TestDiskTrouble makes the disk hang, fill up and vanish while two cameras
// record: nobody waits, the loss has its name, it is told, and recording goes on by
// itself.
//
//vigil:clause 5.2.7.2
func TestDiskTrouble(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(r *rig)
		undo   func(r *rig)
		cause  media.Cause
		states []string
	}{
		{"hangs", func(r *rig) { r.disk.Inject(durable.Rule{Kind: durable.OpSyncfs, Fault: durable.Hang}) }, nil, media.DiskFailed, []string{"suspect", "failed", "online"}},
		{"refuses", func(r *rig) {
			r.disk.Inject(durable.Rule{Kind: durable.OpWrite, Name: "*.vseg", Times: -1, Err: unix.EIO})
			r.disk.Inject(durable.Rule{Kind: durable.OpWrite, Name: "probe", Times: -1, Err: unix.EIO})
		}, nil, media.DiskFailed, []string{"suspect", "failed", "online"}},
		{"full", func(r *rig) {
			r.disk.Inject(durable.Rule{Kind: durable.OpWrite, Name: "*.vseg", Times: -1, Err: unix.ENOSPC})
		}, nil, media.DiskFull, []string{"suspect", "online"}},
		{"vanishes", func(r *rig) { r.disk.Rename("mnt", "away"); r.disk.Mkdir("mnt", 0o700) }, func(r *rig) { r.disk.Remove("mnt"); r.disk.Rename("away", "mnt") }, media.DiskFailed, []string{"missing", "online"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, true)
				r.memory = 4000
				r.boot()
				r.put(6)
				c.do(r)
				var last error
				start := time.Now()
				for range 100 {
					for _, st := range r.streams {
						b := batch(st)
						if st.w == nil {
							w, err := r.store.Create(actor.Of("recorder", "amy"), segment.Info{Stream: st.id, Camera: st.cam}, st.tracks, nil)
							if err != nil {
								last = err
								b.Release()
								continue
							}
							st.w = w
						}
						if err := st.w.Append(b); err != nil {
							last = err
							r.cut(st)
						}
						b.Release()
					}
					time.Sleep(250 * time.Millisecond)
				}
				if d := time.Since(start); d != 25*time.Second {
					t.Errorf("the cameras waited: 25 s took %v", d)
				}
				if last == nil || Cause(last) != c.cause {
					t.Errorf("gap %s because of %v, want %s", Cause(last), last, c.cause)
				}
				if c.cause == media.DiskFull && !errors.Is(last, ErrNoSpace) {
					t.Errorf("a full disk says %v", last)
				}
				if _, told := r.board.args(DiskTrouble + " mnt"); !told {
					t.Error("no alert")
				}
				if c.undo != nil {
					c.undo(r)
				}
				r.disk.Heal()
				time.Sleep(6 * time.Second)
				r.cutAll()
				r.frags, r.safe = map[media.SegmentID][][32]byte{}, map[media.SegmentID]int{} // the loop above made fragments beside the book
				time.Sleep(2 * time.Second)
				id, _ := r.settledSegment()
				if r.board.stands(DiskTrouble + " mnt") {
					t.Error("the alert stays")
				}
				r.witness()
				if _, ok := r.sealed[id]; !ok {
					t.Error("recording does not go on")
				}
				var states []string
				page, _, _ := r.log.Read(t.Context(), audit.Filter{Action: "volume.state"})
				for _, e := range slices.Backward(page) {
					states = append(states, e.Detail["state"])
				}
				if !slices.Equal(states[1:], c.states) {
					t.Errorf("audit log has the states %v, want %v", states[1:], c.states)
				}
				if held, _ := r.store.Held(); held != 0 {
					t.Errorf("%d bytes held for ever", held)
				}
				rep, err := r.store.Check(t.Context(), Bytes, nil)
				if err != nil || !rep.OK() || rep.Counts[Pending] > 0 {
					t.Errorf("check: %v, %v", rep.Findings, err)
				}
				r.end()
			})
		})
	}
}

// TestRecoveryBesideRecording hangs the recovery in a read: recording goes on.
func TestRecoveryBesideRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.put(6)
		r.crash()
		r.disk.Restart()
		r.disk.Inject(durable.Rule{Kind: durable.OpRead, Name: "*.vseg", Fault: durable.Hang})
		r.boot()
		r.settledSegment()
		r.disk.Heal()
		r.await()
		r.invariants(false)
		r.end()
	})
}

// TestLive reads a segment while it is written, and on over its end.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		st := r.streams[0]
		if list := r.store.OpenLive(st.id); len(list) != 0 {
			t.Errorf("before anything is recorded: %v", list)
		}
		r.put(3)
		list := r.store.OpenLive(st.id)
		if len(list) != 1 || list[0].Info().Segment != st.w.ID() {
			t.Fatalf("live: %v", list)
		}
		l := list[0]
		read := func(want int) {
			t.Helper()
			entries := l.Entries()
			s, err := segment.OpenLive(l, entries, r.store.Unwrap)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != want {
				t.Errorf("%d fragments, want %d", len(entries), want)
			}
			for i := range entries {
				if _, err := s.Fragment(nil, i); err != nil {
					t.Error(err)
				}
			}
		}
		read(3)
		r.put(2)
		read(5)
		r.one(st)
		r.cut(st)
		r.one(st)
		synctest.Wait()
		if list := r.store.OpenLive(st.id); len(list) != 2 || list[0].Info() != l.Info() {
			t.Errorf("closed a moment ago and the next: %v", list)
		}
		time.Sleep(3 * time.Second)
		read(6)
		if list := r.store.OpenLive(st.id); len(list) != 1 || list[0].Info() == l.Info() {
			t.Errorf("after the beat: %v", list)
		}
		l.Close()
		r.cutAll()
		r.end()
	})
}

// TestAuditTrouble: no file moves to its place before its closing is on
// record, and it does as soon as that works again.
//
//vigil:clause 5.2.7.2
func TestAuditTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.put(2)
		r.disk.Inject(durable.Rule{Kind: durable.OpSync, Name: "*.vaud", Times: -1, Err: unix.EIO})
		r.cutAll()
		time.Sleep(5 * time.Second)
		if list, _ := r.disk.ReadDir("mnt/open"); len(list) != 2 {
			t.Errorf("moved without a record: %v", list)
		}
		if !r.board.stands(CommitFailed + " audit") {
			t.Error("the alert is not as it should be")
		}
		r.disk.Heal()
		time.Sleep(3 * time.Second)
		if r.board.stands(CommitFailed + " audit") {
			t.Error("the alert is not as it should be")
		}
		r.invariants(false)
		r.end()
	})
}

// TestMarkWaits holds the volume's mark back for what is not settled: a
// segment with a leaf that cannot be moved, and one whose pulses are older than
// the mark would be.
func TestMarkWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.disk.Inject(durable.Rule{Kind: durable.OpRename, Name: "*.vseg", Times: -1, Err: unix.EIO})
		r.put(4)
		r.cutAll()
		time.Sleep(3 * markEvery)
		r.witness()
		if len(r.sealed) != 2 {
			t.Fatalf("%d segments in the ledger", len(r.sealed))
		}
		r.crash()
		r.restart()
		r.invariants(false) // none has two leaves
		r.end()
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.pulse = 25 * time.Second // not when the mark is written
		r.boot()
		r.settledSegment()
		before, _ := r.vol.Settled()
		r.put(120)
		id := r.streams[0].w.ID()
		for at := before; at == before; at, _ = r.vol.Settled() {
			r.put(1)
		}
		r.crash() // after a mark, and before the next pulse
		r.disk.Restart()
		r.edit("mnt/"+openName(id), cutTo(0.1))
		r.boot()
		r.await()
		if _, told := r.board.args(FileTampered + " " + id.String()); !told {
			t.Error("a mark has hidden the pulses of an open segment")
		}
		r.end()
	})
}

// TestLostKeys loses the wrapped keys on the system disk, as a whole or for the
// day, while a segment lies open: they come back from the copy on the volume
// before anything is opened with them, and the copy is not written over.
//
//vigil:clause 5.2.4.1
func TestLostKeys(t *testing.T) {
	for _, lose := range []string{"sys/keys/days", "sys/keys/days/10957.keys", "garbage"} {
		t.Run(path.Base(lose), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, true)
				r.boot()
				r.settledSegment()
				r.put(12)
				time.Sleep(6 * time.Second)
				r.crash()
				r.disk.Restart()
				switch lose {
				case "garbage":
					r.edit("sys/keys/days/10957.keys", flip)
				default:
					r.disk.Remove("sys/keys/days/10957.keys")
					r.disk.Remove(lose)
				}
				r.boot()
				r.put(4) // which makes new keys
				r.await()
				r.cutAll()
				time.Sleep(4 * time.Second)
				if args, ok := r.board.args(KeysRestored + " 10957.keys"); !ok || args["keys"] != "2" {
					t.Errorf("alerts %v, want one that 2 keys came back", r.board.raised)
				}
				r.invariants(false)
				r.end()
				r.restart()
				r.invariants(false)
				r.end()
			})
		})
	}
}

// TestNewerKeys leaves a copy of keys alone that a newer Vigil wrote: what it has
// may be the only one.
//
//vigil:clause 5.2.4.1
func TestNewerKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.boot()
		r.settledSegment()
		r.end()
		const name, newer = "mnt/keys/10957.keys", "VIGILKEY\x02D\x00\x00 of a form that is not known here, and sealed as nobody knows"
		if err := durable.WriteFile(r.disk, name, []byte(newer)); err != nil {
			t.Fatal(err)
		}
		r.boot()
		r.streams[0].w, r.streams[1].w = nil, nil
		r.settledSegment()
		time.Sleep(10 * time.Second)
		if got, err := durable.ReadFile(r.disk, name, 1<<20); err != nil || string(got) != newer {
			t.Errorf("written over: %q, %v", got, err)
		}
		r.end()
	})
}

// TestPutBack puts a segment back into open/ whose leaf the volume has long
// done with: it gets no second leaf, what was removed stays so, and a bad copy does not take the place
// of the good file.
//
//vigil:clause 5.2.8.2
func TestPutBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(r *rig, file, open string)
		kept  bool // the segment can be read afterwards
		wrong bool // the check finds something
		alert string
		aside int // files in quarantine
	}{
		{"moved", func(r *rig, file, open string) { r.disk.Rename(file, open) }, true, false, "", 0},
		{"moved and flipped", func(r *rig, file, open string) { r.disk.Rename(file, open); r.edit(open, flip) }, false, true, FileDamaged, 0},
		{"moved and cut", func(r *rig, file, open string) { r.disk.Rename(file, open); r.edit(open, cutTo(0.99)) }, false, true, FileDamaged, 0},
		{"copied", func(r *rig, file, open string) { r.copy(file, open) }, true, false, "", 0},
		{"copied and flipped", func(r *rig, file, open string) { r.copy(file, open); r.edit(open, flip) }, true, false, FileUnknown, 1},
		{"removed", func(r *rig, file, open string) {
			r.copy(file, "mnt/kept")
			r.boot()
			r.removeOldest()
			time.Sleep(2 * markEvery)
			r.end()
			r.disk.Rename("mnt/kept", open)
		}, false, false, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, true)
				r.boot()
				id, file := r.settledSegment()
				start := time.Now()
				for range 3 {
					r.put(4)
					r.cutAll()
					time.Sleep(markEvery)
				}
				if n, err := r.vol.Settled(); err != nil || n == 0 {
					t.Fatalf("the mark is %d, %v", n, err)
				}
				r.end()
				c.spoil(r, file, "mnt/"+openName(id))
				r.boot()
				r.await()
				if list, _ := r.disk.ReadDir("mnt/open"); len(list) != 0 {
					t.Errorf("left in open/: %v", list)
				}
				if list, _ := r.disk.ReadDir("mnt/quarantine"); len(list) != c.aside {
					t.Errorf("in quarantine: %v", list)
				}
				if c.alert != "" && !r.board.about(id.String()) && !r.board.about("mnt") || c.alert == "" && r.board.about(id.String()) {
					t.Errorf("alerts %v, want %q", r.board.raised, c.alert)
				}
				rep, err := r.store.Check(t.Context(), Bytes, nil)
				if err != nil || rep.OK() == c.wrong {
					t.Errorf("check: %v, %v", rep.Findings, err)
				}
				leaves := 0
				r.book.Follow(0, func(_ uint64, l ledger.Leaf) error {
					if m, err := ledger.ParseSegment(l); l.Kind == ledger.Segment && err == nil && m.Segment == id {
						leaves++
					}
					return nil
				})
				if leaves != 1 {
					t.Errorf("%d leaves of one segment", leaves)
				}
				f, err := r.store.Open(id, start.UnixNano())
				if err == nil {
					f.Close()
				}
				if (err == nil) != (c.kept || c.wrong) {
					t.Errorf("open: %v", err)
				}
				r.end()
			})
		})
	}
}

// copy copies a file durably.
func (r *rig) copy(from, to string) {
	r.t.Helper()
	b, err := durable.ReadFile(r.disk, from, 1<<20)
	if err == nil {
		err = durable.WriteFile(r.disk, to, b)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
