package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/durable"
	"vigil/internal/keys"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
)

// A rig is a store with real keys, a real ledger and a volume, all on one disk
// in memory, so that a crash takes all of it at once. It runs in a synctest
// bubble.
type rig struct {
	t     testing.TB
	disk  *durable.Mem // nil on a real disk
	fs    durable.FS   // sys/ and mnt/ are in it
	pace  time.Duration
	beat  time.Duration // zero: as usual
	pulse time.Duration
	dead  time.Duration
	floor int64
	early bool // the volume is attached before the store is opened

	memory int64
	ring   *keys.Ring
	book   *ledger.Ledger
	vol    *volume.Volume
	store  *Store
	log    *trail
	board  *board
	group  bool
	torn   bool   // the disk kept by chance what was not synced: a file may lack its header
	end    func() // stops the store and waits

	streams []*stream
	sealed  map[media.SegmentID]ledger.Digest // acknowledged by a leaf
	safe    map[media.SegmentID]int           // fragments acknowledged as durable
	made    map[[32]byte]media.SegmentID      // every fragment ever made
	frags   map[media.SegmentID][][32]byte
	removed map[media.SegmentID]bool
}

// A stream records.
type stream struct {
	id     media.StreamID
	cam    media.CameraID
	tracks *media.Tracks
	w      *Writer
	n      int
}

func newRig(t *testing.T, group bool) *rig {
	disk := durable.NewMem()
	r := rigOn(t, disk)
	r.disk, r.group = disk, group
	r.pose()
	return r
}

// rigOn is a rig on any disk.
func rigOn(t testing.TB, fs durable.FS) *rig {
	r := &rig{
		t: t, fs: fs, pace: 250 * time.Millisecond, board: newBoard(),
		sealed: map[media.SegmentID]ledger.Digest{}, safe: map[media.SegmentID]int{},
		made: map[[32]byte]media.SegmentID{}, frags: map[media.SegmentID][][32]byte{}, removed: map[media.SegmentID]bool{},
	}
	for i := range 2 {
		r.streams = append(r.streams, &stream{id: media.StreamID{byte(i + 1)}, cam: media.CameraID{byte(i + 1)}, tracks: testTracks()})
	}
	for _, dir := range []string{"sys/keys", "sys/ledger", "mnt"} {
		if err := durable.MkdirAll(r.fs, dir); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) pose() {
	r.disk.Pose(durable.Disk{Device: 1, ID: "mem", Kind: "mem", MountPoint: r.group})
}

func testTracks() *media.Tracks {
	return &media.Tracks{Init: []byte("init"), List: []media.Track{{Number: 1, Codec: media.H264, Codecs: "avc1.42c01e", Width: 320, Height: 240, Config: []byte{1}}}}
}

// boot starts everything, as after a power-on.
func (r *rig) boot() {
	r.t.Helper()
	ok, err := keys.Exists(r.fs, "sys/keys")
	if err != nil {
		r.t.Fatal(err)
	}
	if ok {
		r.ring, err = keys.Open(r.fs, "sys/keys")
	} else {
		r.ring, err = keys.Create(r.fs, "sys/keys")
	}
	if err != nil {
		r.t.Fatal(err)
	}
	signer := ledger.Signer{ECDSA: r.ring.Signer().ECDSA(), Ed25519: r.ring.Signer().Ed25519()}
	r.book, err = ledger.Open(ledger.Folder{FS: r.fs, Dir: "sys/ledger", Name: "system"}, nil, signer, r.ring.Purpose("ledger"), "test")
	if err != nil {
		r.t.Fatal(err)
	}
	r.vol = volume.New(volume.Config{FS: r.fs, Dir: "mnt", Key: r.ring.Purpose("volumes"), Set: volume.SetID{1}, New: true, Dead: r.dead, Floor: r.floor})
	log, err := audit.Open(r.fs, "sys/audit", r.ring.Purpose("audit"), audit.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.log = &trail{log}
	if r.early {
		r.vol.Attach() // what it says is the store's business
	}
	r.store = Open(Config{Volumes: []*volume.Volume{r.vol}, Keys: r.ring, Ledger: r.book, Audit: r.log, Alerts: r.board, Beat: r.beat, Pulse: r.pulse, Memory: r.memory, MemoryPerStream: r.memory / 8})
	if err := r.vol.Attach(); err != nil && !r.early {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s := r.store
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	r.end = func() {
		cancel()
		<-done
		r.log.Close()
		r.book.Close()
	}
	if r.disk != nil {
		synctest.Wait()
	}
}

// put records n fragments on each stream, one each 250 ms.
func (r *rig) put(n int) {
	for range n {
		for _, st := range r.streams {
			r.one(st)
		}
		time.Sleep(r.pace)
		r.witness()
	}
}

// one records one fragment, in a new segment if need be.
func (r *rig) one(st *stream) {
	b := batch(st)
	defer b.Release()
	if st.w == nil {
		w, err := r.store.Create(actor.Of("recorder", "amy"), segment.Info{Stream: st.id, Camera: st.cam}, st.tracks, nil)
		if err != nil {
			return
		}
		st.w = w
	}
	if err := st.w.Append(b); err != nil {
		r.cut(st)
		return
	}
	sum := sha256.Sum256(b.Fragment)
	r.made[sum] = st.w.ID()
	r.frags[st.w.ID()] = append(r.frags[st.w.ID()], sum)
}

func (r *rig) cut(st *stream) {
	if st.w != nil {
		st.w.Close(media.CutLength)
		st.w = nil
	}
}

func (r *rig) cutAll() {
	for _, st := range r.streams {
		r.cut(st)
	}
}

// batch is a quarter of a second of a stream, unlike every other.
func batch(st *stream) *media.Batch {
	st.n++
	b := media.NewBatch(300)
	b.Tracks = st.tracks
	binary.BigEndian.PutUint64(b.Payload(), uint64(st.n))
	copy(b.Payload()[8:], st.id[:])
	now := time.Now()
	b.Units = append(b.Units, media.Unit{Track: 1, RandomAccess: true, DTS: media.TicksOf(now), Arrived: now.UnixNano(), Data: b.Payload()})
	b.Fragment = b.Front(20)
	copy(b.Fragment, "boxes of a fragment ")
	return b
}

// witness writes down what was acknowledged by now.
func (r *rig) witness() {
	r.book.Follow(0, func(_ uint64, l ledger.Leaf) error {
		if l.Lost {
			return nil
		}
		if l.Kind == ledger.Segment {
			m, err := ledger.ParseSegment(l)
			if err != nil {
				r.t.Error(err)
				return err
			}
			r.sealed[m.Segment] = m.Sealed
		}
		if l.Kind == ledger.Tombstone {
			m, _ := ledger.ParseTombstone(l)
			r.removed[m.Segment] = true
		}
		return nil
	})
	for _, st := range r.streams {
		if st.w == nil {
			continue
		}
		_, _, safe, err := st.w.file.Progress()
		if err != nil {
			continue
		}
		st.w.mu.Lock()
		n := 0
		for _, e := range st.w.seg.Entries(0) {
			if e.Offset+int64(e.Length) <= safe {
				n++
			}
		}
		st.w.mu.Unlock()
		r.safe[st.w.ID()] = max(r.safe[st.w.ID()], n)
	}
}

// crash cuts the power; restart switches it on again.
func (r *rig) crash() {
	r.disk.Crash()
	for _, st := range r.streams {
		st.w = nil
	}
	r.end()
}

func (r *rig) restart() {
	r.t.Helper()
	r.disk.Restart()
	r.boot()
	r.await()
}

// await lets recovery and commits come to rest.
func (r *rig) await() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.store.Recover(ctx); err != nil {
		r.t.Errorf("recover: %v", err)
	}
	time.Sleep(3 * time.Second)
}

// invariants checks everything that the page of the design promises: what was
// acknowledged is there, byte for byte; what is there was made by us; files and ledger
// agree. After lying disks, what is not there must have been reported.
func (r *rig) invariants(lies bool) {
	r.t.Helper()
	rep, err := r.store.Check(context.Background(), Bytes, nil)
	if err != nil {
		r.t.Fatalf("check: %v", err)
	}
	if (!rep.OK() || rep.Counts[Pending] > 0 || rep.Counts[Quarantined] > 0 && !r.torn) && !lies {
		r.t.Errorf("check finds %v", rep.Findings)
	}
	told := map[media.SegmentID]bool{}
	for _, f := range rep.Findings {
		told[f.Segment] = true
	}
	for id := range r.sealed {
		if r.board.about(id.String()) {
			told[id] = true
		}
	}
	for id := range r.safe {
		if r.board.about(id.String()) {
			told[id] = true
		}
	}

	have := map[media.SegmentID][][32]byte{}
	digests := map[media.SegmentID]ledger.Digest{}
	tombs := map[media.SegmentID]bool{}
	err = r.book.Follow(0, func(_ uint64, l ledger.Leaf) error {
		if l.Lost && lies {
			return nil
		}
		switch l.Kind {
		case ledger.Tombstone:
			m, err := ledger.ParseTombstone(l)
			tombs[m.Segment] = true
			return err
		case ledger.Segment:
			m, err := ledger.ParseSegment(l)
			if err != nil {
				return err
			}
			if _, twice := digests[m.Segment]; twice {
				r.t.Errorf("segment %s has two leaves", m.Segment)
			}
			digests[m.Segment] = m.Sealed
			if !told[m.Segment] {
				have[m.Segment] = r.fragments(m)
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for id, d := range r.sealed {
		if digests[id] != d && !lies {
			r.t.Errorf("segment %s was in the ledger and is not, or is another", id)
		}
	}
	for id := range r.removed {
		if !tombs[id] && !lies {
			r.t.Errorf("segment %s was removed and has no tombstone", id)
		}
	}
	for id, n := range r.safe {
		if tombs[id] || told[id] {
			continue
		}
		if len(have[id]) < n && !lies {
			r.t.Errorf("segment %s has %d fragments, %d were durable", id, len(have[id]), n)
		}
	}
	for id, list := range have {
		if tombs[id] || told[id] {
			continue
		}
		want := r.frags[id]
		if len(list) > len(want) || !slices.Equal(list, want[:min(len(list), len(want))]) {
			r.t.Errorf("segment %s: %d fragments are not the first of the %d that were made", id, len(list), len(want))
		}
		if !lies && !r.log.has("segment.recover", id) && !(r.log.has("segment.open", id) && r.log.has("segment.close", id)) {
			r.t.Errorf("segment %s lacks a record of its opening or closing", id)
		}
	}
	if list, _ := r.fs.ReadDir("mnt/open"); len(list) > 0 && !lies {
		id, _ := segmentID(list[0].Name())
		r.t.Errorf("%d files left in open/: %v, in the ledger %v, removed %v", len(list), list, !(digests[id] == ledger.Digest{}), tombs[id])
	}
}

// fragments reads a segment back.
func (r *rig) fragments(m ledger.SegmentMeta) (list [][32]byte) {
	f, err := r.store.Open(m.Segment, m.Start)
	if err != nil {
		return nil // Check tells, or it was removed
	}
	defer f.Close()
	s, err := segment.Open(f, f.Size(), r.store.Unwrap)
	if err != nil {
		r.t.Errorf("segment %s: %v", m.Segment, err)
		return nil
	}
	for i := range s.Index() {
		b, err := s.Fragment(nil, i)
		if err != nil {
			r.t.Errorf("segment %s: %v", m.Segment, err)
			return list
		}
		list = append(list, sha256.Sum256(b))
	}
	return list
}

// A trail is the audit log as the store wants it.
type trail struct{ *audit.Log }

func (l *trail) Record(e Entry) error {
	r := audit.Record{At: e.At, Actor: e.Actor, Action: audit.Action(e.Action), Object: e.Object, Camera: e.Camera, Reason: e.Reason, Detail: e.Detail}
	if !e.OK {
		r.Result = audit.Failed
	}
	_, err := l.Log.Record(r)
	return err
}

func (l *trail) Flush() (ledger.Leaf, func(), bool, error) {
	b, ok, err := l.Log.Flush()
	if !ok {
		return ledger.Leaf{}, nil, false, err
	}
	return ledger.AuditMeta{First: b.First, Last: b.Last, Head: b.Head}.Leaf(), func() { l.Anchored(b) }, true, err
}

func (l *trail) has(action string, id media.SegmentID) bool {
	return l.find(action, id.String()) != nil
}

func (l *trail) find(action, object string) *audit.Record {
	page, _, err := l.Read(context.Background(), audit.Filter{Action: audit.Action(action), Object: object})
	if err != nil || len(page) == 0 {
		return nil
	}
	return &page[0]
}

// A board remembers what was ever raised.
type board struct {
	mu     sync.Mutex
	raised map[string]map[string]string // by kind and object
	now    []string
}

func newBoard() *board { return &board{raised: map[string]map[string]string{}} }

func (b *board) Raise(kind, object string, args map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := kind + " " + object
	b.raised[key] = args
	if !slices.Contains(b.now, key) {
		b.now = append(b.now, key)
	}
}

func (b *board) Clear(kind, object string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = slices.DeleteFunc(b.now, func(k string) bool { return k == kind+" "+object })
}

// args returns what an alert said, if it was ever raised.
func (b *board) args(key string) (map[string]string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	args, ok := b.raised[key]
	return args, ok
}

// stands tells whether an alert was raised and not cleared.
func (b *board) stands(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.now, key)
}

func (b *board) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.raised)
}

func (b *board) about(object string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.raised {
		if bytes.HasSuffix([]byte(k), []byte(object)) {
			return true
		}
	}
	return false
}
