package worker

import (
	"bufio"
	"bytes"
	"context"
	"net/netip"
	"os"
	"time"

	"vigil/internal/worker/wire"
)

const resolvConf = "/etc/resolv.conf"

// watchNames tells the workers when the name servers have changed: a jailed
// process may read the file that was there when it started and not the one that
// took its place. It returns when ctx ends.
func (p *Pool) watchNames(ctx context.Context) {
	tick := time.NewTicker(p.o.time.resolver)
	defer tick.Stop()
	old, _ := os.ReadFile(resolvConf)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text, err := os.ReadFile(resolvConf)
		if err != nil || bytes.Equal(text, old) || len(text) > 64<<10 {
			continue
		}
		old = text
		m := &wire.Names{Servers: nameServers(text)}
		p.mu.Lock()
		for pr := range p.running {
			go func() { _ = pr.send(0, m) }() // a process that does not read is found by its pings
		}
		p.mu.Unlock()
	}
}

// nameServers reads the nameserver lines of resolv.conf(5); like the resolver
// it takes the first three.
func nameServers(text []byte) (servers []netip.AddrPort) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() && len(servers) < 3 {
		f := bytes.Fields(lines.Bytes())
		if len(f) < 2 || string(f[0]) != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(string(f[1])); err == nil {
			servers = append(servers, netip.AddrPortFrom(a, 53))
		}
	}
	return servers
}
