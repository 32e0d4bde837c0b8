package rtsp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// TestRTP compares with pion's parser.
func TestRTP(t *testing.T) {
	for _, c := range []rtp.Packet{
		{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: 65535, Timestamp: 1 << 31, SSRC: 7, Marker: true}, Payload: []byte("abc")},
		{Header: rtp.Header{Version: 2, CSRC: []uint32{1, 2, 3}, SSRC: 1}, Payload: []byte("x")},
		{Header: rtp.Header{Version: 2, Extension: true, ExtensionProfile: 0xABAC, Extensions: []rtp.Extension{}, SSRC: 1}, Payload: []byte("x")},
		{Header: rtp.Header{Version: 2, Padding: true, SSRC: 1, PaddingSize: 4}, Payload: []byte("padded"), PaddingSize: 4},
	} {
		b, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p, ok := parseRTP(b)
		if !ok || p.seq != c.SequenceNumber || p.time != c.Timestamp || p.ssrc != c.SSRC || p.marker != c.Marker || p.payloadType != c.PayloadType || !bytes.Equal(p.trim(b), c.Payload) {
			t.Errorf("%+v: %v %+v, %q", c.Header, ok, p, p.trim(b))
		}
	}
	for _, bad := range []string{"", "\x80", "\x40\x60345678901234", "\x8f\x60345678901234", "\x90\x6034567890123", "\x90\x603456789012\x00\x00\xff\xff"} {
		if p, ok := parseRTP([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, p)
		}
	}
	lying := rtpOf(96, true, 1, 2, 3, []byte{1, 2, 200})
	lying[0] |= 0x20
	if p, ok := parseRTP(lying); !ok || len(p.trim(lying)) != 3 {
		t.Error("padding that cannot be was believed")
	}
}

// TestSequence is INTEROP row 16 and the ends of 16 bits.
func TestSequence(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"in order over the end", "65534 65535 0 1", "u0 u0 u0 u0"},
		{"loss", "10 13 14", "u0 u2 u0"},
		{"repeated and late", "10 11 11 10 12", "u0 u0 late late u0"},
		{"a far stray", "10 11 40000 12 13", "u0 u0 hold u0 u0"},
		{"two far strays that do not fit", "10 40000 50000 60000 11", "u0 hold hold hold u0"},
		{"anew", "10 11 40000 40001 40002 40003", "u0 u0 hold hold restart u0"},
		{"anew, a little back", "1000 1001 5 6 7 8", "u0 u0 hold hold restart u0"},
		{"both at once", "10 40000 11 40001 12 40002 13", "u0 hold u0 hold u0 hold u0"},
		{"a long gap that can be", "0 3000", "u0 u2999"},
		{"one that cannot", "0 3001 3002 3003", "u0 hold hold restart"},
		{"anew, a very little back", "50 51 45+ 46+ 47+ 48+", "u0 u0 hold hold restart u0"},
		{"newer and in order", "50+ 51+ 53+", "u0 u0 u1"},
		{"a stray one, newer", "50 51 45+ 52 53 46+ 54", "u0 u0 hold u0 u0 hold u0"},
	} {
		var q sequence
		var got []string
		for f := range strings.FieldsSeq(c.in) {
			var n int
			fmt.Sscan(f, &n)
			v, lost := q.add(uint16(n), strings.HasSuffix(f, "+"), false)
			got = append(got, []string{fmt.Sprintf("u%d", lost), "late", "hold", "restart"}[v])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

func TestSource(t *testing.T) {
	var s source
	ok, fresh := s.mine(5)
	if !ok || fresh {
		t.Fatal("the first is not ours")
	}
	for range newSource - 1 { // a stray session, interrupted by ours in time
		if ok, _ := s.mine(6); ok {
			t.Fatal("another is ours")
		}
	}
	s.mine(5)
	for i := range newSource {
		if ok, fresh = s.mine(6); ok != (i == newSource-1) {
			t.Fatalf("packet %d of a new source: %v", i, ok)
		}
	}
	if !fresh {
		t.Error("the new source is not fresh")
	}
	s = source{declared: 9, hasDeclared: true}
	if ok, _ := s.mine(8); !ok {
		t.Error("a camera that names another source is not heard at once")
	}
	if ok, fresh := s.mine(9); !ok || !fresh {
		t.Error("the declared source does not win")
	}
	if ok, _ := s.mine(8); ok {
		t.Error("the dead session goes on")
	}
}

func TestReorder(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"in order", "1 2 3", "1 2 3"},
		{"two changed places", "1 3 2 4", "1 2 3 4"},
		{"over the end", "65535 1 0 2", "65535 0 1 2"},
		{"many late", "1 5 4 3 2 6", "1 2 3 4 5 6"},
		{"a repetition of one held", "1 3 3 2", "1 2 3"},
		{"a repetition of an old one", "1 2 1 3", "1 2 1 3"},
		{"one that never comes", "1 3 4 5 @200 6", "1 3 4 5 6"},
		{"another counting", "1 3 40000 40001 40003 40002", "1 3 40000 40001 40002 40003"},
	} {
		var got []string
		r := &reorder{out: func(b []byte, _ int64) { got = append(got, fmt.Sprint(binary.BigEndian.Uint16(b))) }}
		now := int64(1e18)
		for f := range strings.FieldsSeq(c.in) {
			var n int64
			if fmt.Sscanf(f, "@%d", &n); n > 0 {
				now += n * 1e6
				r.age(now)
				continue
			}
			fmt.Sscan(f, &n)
			r.push(uint16(n), binary.BigEndian.AppendUint16(nil, uint16(n)), now)
		}
		if r.held != 0 {
			r.age(now + 1e9)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	n := 0
	r := &reorder{out: func([]byte, int64) { n++ }}
	r.push(0, nil, 0)
	for i := range reorderMost + 1 {
		r.push(uint16(2+i), nil, 0)
	}
	if n != reorderMost+2 || r.held != 0 {
		t.Errorf("%d out, %d held: a missing packet holds everything up", n, r.held)
	}
}

func TestSenderReport(t *testing.T) {
	b, err := os.ReadFile("testdata/streams/dahua-rtcp-sr.bin")
	if err != nil {
		t.Fatal(err)
	}
	r, ok, bye := parseRTCP(b, 0x66426ae1)
	if !ok || bye || r.NTP != 0xe436_2f99_cccc_cccc || r.RTP != 0x852ef807 {
		t.Errorf("%x %x, %v, %v", r.NTP, r.RTP, ok, bye)
	}
	if _, ok, _ := parseRTCP(b, 1); ok {
		t.Error("a report of somebody else")
	}
	goodbye, _ := (&rtcp.Goodbye{Sources: []uint32{1, 2}}).Marshal()
	if _, _, bye := parseRTCP(goodbye, 2); !bye {
		t.Error("no goodbye")
	}
	if _, _, bye := parseRTCP(goodbye, 3); bye {
		t.Error("the goodbye of somebody else")
	}
}

// TestReceiverReport is read with pion's parser.
func TestReceiverReport(t *testing.T) {
	var r receiver
	mono := int64(5e9)
	for seq := range uint16(10) {
		if seq != 3 && seq != 4 {
			r.add(65530+seq, uint32(seq)*3600, mono+int64(seq)*40e6, 90000)
		}
	}
	r.report, r.reportAt = 0x1122334455667788, mono
	packets, err := rtcp.Unmarshal(r.appendReport(nil, 7, 9, mono+2e9))
	if err != nil || len(packets) != 2 {
		t.Fatal(packets, err)
	}
	rr := packets[0].(*rtcp.ReceiverReport)
	got := rr.Reports[0]
	if rr.SSRC != 7 || got.SSRC != 9 || got.TotalLost != 2 || got.LastSequenceNumber != 65539 || got.FractionLost != 51 || got.LastSenderReport != 0x33445566 || got.Delay != 2*65536 || got.Jitter > 10 {
		t.Errorf("%+v", rr)
	}
	if sd := packets[1].(*rtcp.SourceDescription); sd.Chunks[0].Source != 7 || sd.Chunks[0].Items[0].Text != "vigil" {
		t.Errorf("%+v", sd)
	}
	var none receiver
	if packets, err := rtcp.Unmarshal(none.appendReport(nil, 7, 9, 0)); err != nil || len(packets) != 2 || len(packets[0].(*rtcp.ReceiverReport).Reports) != 0 {
		t.Error(packets, err)
	}
}

//vigil:clause 5.3.2.1 5.3.3.1
func FuzzPackets(f *testing.F) {
	b, _ := os.ReadFile("testdata/streams/dahua-rtcp-sr.bin")
	f.Add(b)
	f.Add(rtpOf(96, true, 1, 2, 3, []byte("abc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parseRTP(b); ok && (p.body > len(b) || len(p.trim(b)) > len(b) || len(p.extra(b)) > len(b)) {
			t.Fatalf("%+v of %d bytes", p, len(b))
		}
		parseRTCP(b, 3)
		var q sequence
		r := &reorder{out: func(b []byte, _ int64) { q.add(binary.BigEndian.Uint16(b), false, false) }}
		for i := 0; i+1 < len(b); i += 2 {
			r.push(binary.BigEndian.Uint16(b[i:]), b[i:i+2], int64(i)<<20)
			if r.held < 0 || r.held > reorderMost {
				t.Fatalf("%d held", r.held)
			}
		}
	})
}
