package web

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds for all callers and for one. A source is an IPv4 address or the /64 of
// an IPv6 address.
const (
	maxBody       = 64 << 10
	maxConns      = 1024
	connsPerHost  = 128
	maxSources    = 10_000
	requestRate   = 40 // a second and source
	requestBurst  = 200
	signInRate    = 1
	signInBurst   = 10
	maxStreams    = 128 // long answers with video at a time
	streamsPerWho = 40  // of one session: a wall of 36 and some
	maxEvents     = 256
	eventsPerWho  = 10
	maxProbes     = 4
)

// rates slow a source down. Safe for many callers.
type rates struct{ s *rateState }

type rateState struct {
	mu sync.Mutex
	m  map[string]*pace // guarded by mu
}

type pace struct {
	all, signIn *rate.Limiter
	last        time.Time
}

func newRates() rates { return rates{&rateState{m: map[string]*pace{}}} }

// allow takes one request of a source; else it says how long to wait.
func (r rates) allow(source string, signIn bool) (wait time.Duration, ok bool) {
	now := time.Now()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	p := r.s.m[source]
	if p == nil {
		if len(r.s.m) >= maxSources {
			r.s.sweep(now)
		}
		p = &pace{all: rate.NewLimiter(requestRate, requestBurst), signIn: rate.NewLimiter(signInRate, signInBurst)}
		r.s.m[source] = p
	}
	p.last = now
	l := p.all
	if signIn {
		l = p.signIn
	}
	if l.AllowN(now, 1) {
		return 0, true
	}
	return time.Duration(float64(time.Second) / float64(l.Limit())), false
}

// sweep forgets who has been quiet long enough to have a full allowance, else
// anybody. The caller holds mu.
func (s *rateState) sweep(now time.Time) {
	for k, p := range s.m {
		if now.Sub(p.last) > signInBurst/signInRate*time.Second {
			delete(s.m, k)
		}
	}
	for k := range s.m {
		if len(s.m) < maxSources {
			return
		}
		delete(s.m, k)
	}
}

// slots bound the answers without end. Safe for many callers.
type slots struct{ s *slotState }

type slotState struct {
	mu    sync.Mutex
	total map[string]int
	mine  map[string]int
}

func newSlots() slots { return slots{&slotState{total: map[string]int{}, mine: map[string]int{}}} }

// both gets a place for a session. One person, however often signed in, leaves
// as many as a session of somebody else's may want.
func (s slots) both(kind, session, person string, most, perSession int) (release func(), ok bool) {
	one, ok := s.take(kind, session, most, perSession)
	if !ok {
		return nil, false
	}
	mine, ok := s.take(kind+" of a person", person, most, most-perSession)
	if !ok {
		one()
		return nil, false
	}
	return func() { one(); mine() }, true
}

// take gets a place of a kind for somebody; the function gives it back.
func (s slots) take(kind, who string, most, perWho int) (release func(), ok bool) {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	key := kind + " " + who
	if s.s.total[kind] >= most || s.s.mine[key] >= perWho {
		return nil, false
	}
	s.s.total[kind]++
	s.s.mine[key]++
	var once sync.Once
	return func() {
		once.Do(func() {
			s.s.mu.Lock()
			defer s.s.mu.Unlock()
			s.s.total[kind]--
			if s.s.mine[key]--; s.s.mine[key] == 0 {
				delete(s.s.mine, key)
			}
		})
	}, true
}

// sourceOf is the host that a request or connection comes from.
func sourceOf(remote string) (address, key string) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote, remote
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return a.String(), p.String()
	}
	return a.String(), a.String()
}

// limited bounds the connections: of all, and of one source. One too many is
// closed at once.
type limited struct {
	net.Listener
	mu    sync.Mutex
	all   int            // guarded by mu
	hosts map[string]int // guarded by mu
}

func limitConns(l net.Listener) net.Listener { return &limited{Listener: l, hosts: map[string]int{}} }

// Accept returns the next connection within the bounds.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		_, host := sourceOf(c.RemoteAddr().String())
		l.mu.Lock()
		ok := l.all < maxConns && l.hosts[host] < connsPerHost
		if ok {
			l.all++
			l.hosts[host]++
		}
		l.mu.Unlock()
		if ok {
			return &limitedConn{Conn: c, l: l, host: host}, nil
		}
		c.Close()
	}
}

type limitedConn struct {
	net.Conn
	l    *limited
	host string
	once sync.Once
}

// Close gives the place back.
func (c *limitedConn) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		defer c.l.mu.Unlock()
		c.l.all--
		if c.l.hosts[c.host]--; c.l.hosts[c.host] == 0 {
			delete(c.l.hosts, c.host)
		}
	})
	return c.Conn.Close()
}

// quietTime is how long an answer that goes on may have nothing to say.
const quietTime = 10 * time.Minute

// sendPiece sends a piece of an answer that goes on; the caller may take so long
// to receive it. Then there is time until the next one: a deadline that strikes ends a
// stream of HTTP/2, whether anything is being written or not.
func sendPiece(w http.ResponseWriter, rc *http.ResponseController, b []byte, patience time.Duration) error {
	rc.SetWriteDeadline(time.Now().Add(patience))
	_, err := w.Write(b)
	if err == nil {
		err = rc.Flush()
	}
	rc.SetWriteDeadline(time.Now().Add(quietTime))
	return err
}
