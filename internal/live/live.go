// Package live knows the streams there are: which are wanted, who watches
// them, and how each is.
//
//	settings --> (live) --> worker, recorder   which streams, from whom
//	worker   --> (live) --> web                how they are; their pictures
//
// A stream is wanted while it is recorded or watched: a second stream that
// nobody looks at costs the camera and the network nothing.
package live

import (
	"errors"
	"sync"
	"time"

	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/stream"
	"vigil/internal/worker/wire"
)

// linger is how long a stream that nobody watches any more stays connected: a
// reload of the page does not ring the camera up again.
const linger = 15 * time.Second

// viewer bounds the queue of one viewer: a slow one loses GOPs after 4 MiB.
const viewer = 4 << 20

// ErrUnknown says that no camera has this stream now.
var ErrUnknown = errors.New("no such stream")

// Streams is a place: safe for many callers.
type Streams struct {
	mu      sync.Mutex
	doc     *settings.Doc                // guarded by mu
	entries map[media.StreamID]*entry    // guarded by mu
	left    map[media.StreamID]*entry    // of removed cameras: who brings one back finds what the workers still hold; guarded by mu
	jails   map[int][]wire.Guard         // by worker; guarded by mu
	wanted  chan struct{}                // capacity 1
	subs    map[chan media.CameraID]bool // guarded by mu
}

type entry struct {
	stream   *stream.Stream
	status   wire.Status
	since    time.Time // pictures come, or do not
	watchers int
	left     time.Time // when the last watcher went
	bytes    [rateSpan + 1]uint64
	samples  int
}

// rateSpan is the seconds over which the bit rate is taken.
const rateSpan = 10

// New returns a place without streams.
func New() *Streams {
	return &Streams{
		doc: &settings.Doc{}, entries: map[media.StreamID]*entry{}, left: map[media.StreamID]*entry{}, jails: map[int][]wire.Guard{},
		wanted: make(chan struct{}, 1), subs: map[chan media.CameraID]bool{},
	}
}

// Follow takes new settings.
func (s *Streams) Follow(doc *settings.Doc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doc = doc
	there := map[media.StreamID]bool{}
	for i := range doc.Cameras {
		c := &doc.Cameras[i]
		for _, st := range c.Streams {
			if c.Gone() {
				continue
			}
			there[st.ID] = true
			if s.entries[st.ID] != nil {
				continue
			}
			e := s.left[st.ID]
			if e == nil {
				e = &entry{stream: stream.New(st.ID, c.ID)}
			}
			e.since = time.Now()
			delete(s.left, st.ID)
			s.entries[st.ID] = e
		}
	}
	for id, e := range s.entries {
		if !there[id] {
			e.stream.Down(media.Stopped)
			s.left[id] = e
			delete(s.entries, id)
		}
	}
	s.want()
}

// want tells that Wanted and Recorded may have changed; the caller holds mu.
func (s *Streams) want() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// Wanted is told when Specs or Recorded may have changed.
func (s *Streams) Wanted() <-chan struct{} { return s.wanted }

// Specs returns what the workers shall keep alive.
func (s *Streams) Specs() []wire.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	var specs []wire.Spec
	for i := range s.doc.Cameras {
		c := &s.doc.Cameras[i]
		for j := range c.Streams {
			st := &c.Streams[j]
			if e := s.entries[st.ID]; e != nil && (recorded(c, st) || e.watchers > 0 || time.Since(e.left) < linger) {
				specs = append(specs, c.Spec(st))
			}
		}
	}
	return specs
}

func recorded(c *settings.Camera, st *settings.Stream) bool {
	return !c.Gone() && c.Recording.On && st.Recorded
}

// A Job is a stream to record, and the account that switched that on.
type Job struct {
	Stream  *stream.Stream
	ArmedBy string
}

// Recorded returns the streams to record.
func (s *Streams) Recorded() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var jobs []Job
	for i := range s.doc.Cameras {
		c := &s.doc.Cameras[i]
		for j := range c.Streams {
			st := &c.Streams[j]
			if e := s.entries[st.ID]; e != nil && recorded(c, st) {
				jobs = append(jobs, Job{e.stream, c.Recording.By})
			}
		}
	}
	return jobs
}

// Stream returns a stream by its id; nil when there is none.
func (s *Streams) Stream(id media.StreamID) *stream.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil {
		return e.stream
	}
	return nil
}

// Watch joins a stream and makes it wanted until the returned function is
// called, which closes the reader too.
func (s *Streams) Watch(id media.StreamID) (*stream.Reader, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return nil, nil, ErrUnknown
	}
	if e.watchers++; e.watchers == 1 {
		s.want()
	}
	r := e.stream.Reader(viewer, true)
	var once sync.Once
	return r, func() {
		once.Do(func() {
			r.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			if e.watchers--; e.watchers == 0 {
				e.left = time.Now()
				time.AfterFunc(linger, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.want()
				})
			}
		})
	}, nil
}

// A State is how a stream is.
type State struct {
	wire.Status
	Since         time.Time // pictures come, or do not
	Off           bool      // not wanted
	Tracks        []media.Track
	BitsPerSecond int64
	Pictures      uint64 // since the start, as Lost
	Lost          uint64
	Last          int64 // arrival of the newest unit, ns since the epoch
}

// State returns how a stream is; of an unknown one, that it is off.
func (s *Streams) State(id media.StreamID) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return State{Off: true}
	}
	stats := e.stream.Stats()
	st := State{Status: e.status, Since: e.since, Pictures: stats.Pictures, Lost: stats.Lost, Last: stats.Last, BitsPerSecond: e.rate()}
	st.Off = e.status.State == "" || e.status.State == wire.Ended
	if stats.Tracks != nil {
		st.Tracks = stats.Tracks.List
	}
	return st
}

func (e *entry) rate() int64 {
	n := min(e.samples-1, rateSpan)
	if n < 1 {
		return 0
	}
	newest, oldest := (e.samples-1)%len(e.bytes), (e.samples-1-n)%len(e.bytes)
	return int64(e.bytes[newest]-e.bytes[oldest]) * 8 / int64(n)
}

// Tick takes a sample of every stream for its bit rate; once a second.
func (s *Streams) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		e.bytes[e.samples%len(e.bytes)] = e.stream.Stats().Bytes
		e.samples++
	}
}

// SetStatus is told by the workers how a stream is.
func (s *Streams) SetStatus(camera media.CameraID, id media.StreamID, st wire.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return
	}
	if (e.status.State == wire.Live) != (st.State == wire.Live) {
		e.since = time.Now()
	}
	if st.State == wire.Connecting && st.Why.Code == "" {
		st.Why = e.status.Why // why the last try failed, until this one is known
	}
	e.status = st
	s.tell(camera)
}

// SetJail is told which walls stand around a worker.
func (s *Streams) SetJail(worker int, report []wire.Guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jails[worker] = report
}

// Jail returns the walls around the workers: one that does not hold in any of
// them does not hold.
func (s *Streams) Jail() []wire.Guard {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []wire.Guard
	at := map[string]int{}
	for _, report := range s.jails {
		for _, g := range report {
			if i, ok := at[g.Name]; !ok {
				at[g.Name] = len(out)
				out = append(out, g)
			} else if !g.Holds {
				out[i] = g
			}
		}
	}
	return out
}

// Changed tells the subscribers that something about a camera changed.
func (s *Streams) Changed(camera media.CameraID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(camera)
}

func (s *Streams) tell(camera media.CameraID) {
	for c := range s.subs {
		select {
		case c <- camera:
		default: // it asks for the list when it comes to itself
		}
	}
}

// Subscribe returns a channel of cameras about which something changed, and a
// function to leave. A subscriber that is late misses some.
func (s *Streams) Subscribe() (<-chan media.CameraID, func()) {
	c := make(chan media.CameraID, 256)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, c)
	}
}
