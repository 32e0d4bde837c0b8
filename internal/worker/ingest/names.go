package ingest

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// names are the servers to ask, once the core has told: what resolv.conf says
// inside the jail is what it said at the start.
type names struct {
	mu      sync.Mutex
	servers []netip.AddrPort
	next    int
}

func (n *names) set(servers []netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers, n.next = servers, 0
}

// dial replaces the server that the resolver has read by one that the core
// named, another one for each try.
func (n *names) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	if len(n.servers) > 0 {
		address = n.servers[n.next%len(n.servers)].String()
		n.next++
	}
	n.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}
