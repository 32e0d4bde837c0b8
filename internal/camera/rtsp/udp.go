package rtsp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// A socketPair is the two UDP ports of one track: RTP on an even one, RTCP on
// the next (RFC 3550 section 11).
type socketPair struct {
	rtp, rtcp *net.UDPConn
	camera    netip.Addr
	toRTP     netip.AddrPort // invalid: the camera did not say
	toRTCP    netip.AddrPort
}

// listenPair binds next to the address that the camera was reached from, so
// that nobody on another network can put packets in.
func listenPair(local, remote netip.Addr) (*socketPair, error) {
	var last error
	for range 64 {
		first, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		if err != nil {
			return nil, err
		}
		port := first.LocalAddr().(*net.UDPAddr).Port
		other := port ^ 1
		second, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, uint16(other))))
		if err != nil {
			first.Close()
			last = err
			continue
		}
		if port&1 == 1 {
			first, second = second, first
		}
		first.SetReadBuffer(2 << 20) //nolint:errcheck // the system's limit will do
		return &socketPair{rtp: first, rtcp: second, camera: remote.Unmap()}, nil
	}
	return nil, last
}

func (p *socketPair) port() int { return p.rtp.LocalAddr().(*net.UDPAddr).Port }

func (p *socketPair) close() {
	p.rtp.Close()
	p.rtcp.Close()
}

// answered sets where the camera sends from.
func (p *socketPair) answered(ports [2]int) {
	if ports[0] != 0 {
		p.toRTP = netip.AddrPortFrom(p.camera, uint16(ports[0]))
		p.toRTCP = netip.AddrPortFrom(p.camera, uint16(ports[1]))
	}
}

// punch opens the way back through address translators and firewalls.
func (p *socketPair) punch(report []byte) {
	if !p.toRTP.IsValid() {
		return
	}
	p.rtp.WriteToUDPAddrPort([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, p.toRTP) //nolint:errcheck // a courtesy
	p.rtcp.WriteToUDPAddrPort(report, p.toRTCP)                                      //nolint:errcheck // as above
}

// receive reads one socket until it is closed. Packets of others are counted
// and dropped. wait tells whether packets are held back and must be looked
// after soon.
func receive(c *net.UDPConn, camera netip.Addr, take func(b []byte), stranger func(), wait func() bool) {
	buf := make([]byte, 65536)
	waiting, faults := false, 0
	for faults < 100 {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		expired := false
		switch {
		case err == nil && from.Addr().Unmap() != camera:
			stranger()
		case err == nil:
			faults = 0
			take(buf[:n])
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded): // only to look after what is held back
			expired = true
		default: // an ICMP error about what we sent: no reason to stop, but none to spin either
			faults++
		}
		if w := wait(); w != waiting || expired { // a deadline that has passed fails every read from then on
			waiting = w
			var until time.Time
			if w {
				until = time.Now().Add(reorderAge * time.Nanosecond)
			}
			c.SetReadDeadline(until) //nolint:errcheck // cannot fail on an open socket
		}
	}
}
