package rtsp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct{ in, out, address string }{
		{"rtsp://h", "rtsp://h", "h:554"},
		{"RTSPS://Cam.lan/x?a=b&c", "rtsps://Cam.lan/x?a=b&c", "Cam.lan:322"},
		{"rtsp://[fe80::1]:8554/s", "rtsp://[fe80::1]:8554/s", "[fe80::1]:8554"},
		{"rtsp://10.0.0.1:554/Streaming/Channels/101/?p=%20", "rtsp://10.0.0.1:554/Streaming/Channels/101/?p=%20", "10.0.0.1:554"},
		{"rtsp://h?x=1", "rtsp://h?x=1", "h:554"},
	} {
		u, err := ParseURL(c.in)
		if err != nil || u.String() != c.out || u.address() != c.address {
			t.Errorf("%q: %q, %q, %v", c.in, u, u.address(), err)
		}
	}
	for _, bad := range []string{"", "rtsp://", "http://h/", "rtsp:h", "rtsp://u:secret@h/", "rtsp://h/#f", "rtsp://h/ x", "rtsp://h/\r\nX: y", "//h/x", "rtsp://h:port/", "rtsp://h/" + strings.Repeat("x", maxURL)} {
		if u, err := ParseURL(bad); err == nil {
			t.Errorf("%q is %v", bad, u)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v shows the password", err)
		}
	}
}

// TestJoins is INTEROP row 7: the first address is what most cameras mean, the
// others are for those that answer 404.
func TestJoins(t *testing.T) {
	for _, c := range []struct{ why, base, asked, control, first, other string }{
		{"live555", "rtsp://h/a/", "rtsp://h/a", "trackID=1", "rtsp://h/a/trackID=1", ""},
		{"no final slash", "rtsp://h/a/b", "rtsp://h/a/b", "track1", "rtsp://h/a/b/track1", "rtsp://h/a/track1"},
		{"slash in front", "rtsp://h/a", "rtsp://h/a", "/track1", "rtsp://h/a/track1", "rtsp://h/track1"},
		{"two slashes", "rtsp://h/a/", "rtsp://h/a", "/track1", "rtsp://h/a/track1", ""},
		{"query in the base", "rtsp://192.0.2.4/1?mode=Live&follow=0/", "rtsp://192.0.2.4/1", "track1", "rtsp://192.0.2.4/1?mode=Live&follow=0/track1", "rtsp://192.0.2.4/1/track1"},
		{"query without a base", "", "rtsp://h/cam?channel=1", "trackID=0", "rtsp://h/cam?channel=1/trackID=0", "rtsp://h/cam/trackID=0?channel=1"},
		{"doubled scheme", "rtsp://rtsp://turret2-cam.lan:554/stream1/", "rtsp://h/stream1", "track1", "rtsp://turret2-cam.lan:554/stream1/track1", "rtsp://h/stream1/track1"},
		{"no scheme", "192.168.1.10:554/stream", "rtsp://h/stream", "track1", "rtsp://h/stream/track1", "rtsp://192.168.1.10:554/stream/track1"},
		{"no scheme, no path (libstreaming)", "192.168.1.57:8086/", "rtsp://192.168.1.57:8086", "trackID=0", "rtsp://192.168.1.57:8086/trackID=0", ""},
		{"no host", "/stream0/", "rtsps://h:322/x?a=b", "track1", "rtsps://h:322/x?a=b/track1", "rtsps://h:322/stream0/track1"},
		{"another scheme", "http://h/stream/", "rtsp://h/x", "track1", "rtsp://h/x/track1", ""},
		{"IPv6 without brackets", "rtsp://::ffff:192.168.1.123/onvif/profile.1/", "rtsp://h/onvif/profile.1", "track1", "rtsp://::ffff:192.168.1.123/onvif/profile.1/track1", "rtsp://h/onvif/profile.1/track1"},
		{"two queries", "rtsp://10.105.240.22:9100/dss/param/cameraid=1000193%241%26substream=1?token=69154&trackID=0", "rtsp://h/x", "trackID=0", "rtsp://10.105.240.22:9100/dss/param/cameraid=1000193%241%26substream=1?token=69154&trackID=0/trackID=0", "rtsp://h/x/trackID=0"},
		{"password in the path", "", "rtsp://192.168.1.99:554/user=tmp&password=BagRep1!&channel=1&stream=0.sdp", "trackID=5", "rtsp://192.168.1.99:554/user=tmp&password=BagRep1!&channel=1&stream=0.sdp/trackID=5", ""},
		{"a query alone in the control", "", "rtsp://192.168.1.99:554/", "?ctype=video", "rtsp://192.168.1.99:554/?ctype=video", ""},
		{"absolute", "rtsp://h/x/", "rtsp://h/x", "rtsp://192.168.0.3/axis-media/media.amp/stream=0?fps=1", "rtsp://192.168.0.3/axis-media/media.amp/stream=0?fps=1", "rtsp://h/axis-media/media.amp/stream=0?fps=1"},
		{"absolute, doubled", "", "rtsp://h/x", "rtsp://rtsp://h/x/track1", "rtsp://h/x/track1", ""},
		{"star", "rtsp://h/x/", "rtsp://h/x", "*", "rtsp://h/x/", "rtsp://h/x"},
		{"none", "", "rtsp://h/x", "", "rtsp://h/x", ""},
		{"a query alone", "rtsp://h/x", "rtsp://h/x", "?ctype=video", "rtsp://h/x?ctype=video", ""},
		{"line ends", "rtsp://h/x\r\nEvil: 1", "rtsp://h/x", "a\r\nb", "rtsp://h/x", ""},
	} {
		got := joins(bases(c.base, c.asked), c.control)
		if got[0] != c.first {
			t.Errorf("%s: first %q", c.why, got[0])
		}
		if c.other != "" && !slices.Contains(got[1:], c.other) {
			t.Errorf("%s: no %q in %q", c.why, c.other, got)
		}
	}
}

func TestRedirected(t *testing.T) {
	u, _ := ParseURL("rtsps://cam/x")
	for location, ok := range map[string]bool{
		"rtsps://cam:8322/y": true, "rtsps://admin:12345@cam:8322/y": true, "rtsps://cam@evil/y": false, "rtsps://cam:1@evil/y": false, " rtsps://CAM/y ": true,
		"rtsp://cam/y": false, "rtsps://evil/y": false, "/y": true, "//evil/y": false, "": false,
	} {
		if to, got := u.redirected(location); got != ok {
			t.Errorf("%q: %v, %v", location, to, got)
		}
	}
}

func TestWithoutUser(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://admin:pa@ss@cam:554/x@y?z": "rtsp://cam:554/x@y?z", "rtsp://cam": "rtsp://cam", "rtsp://u@cam": "rtsp://cam", "cam/x@y": "cam/x@y", "": "",
	} {
		if got := withoutUser(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestPasswordIsSilent(t *testing.T) {
	p := NewPassword("geheim")
	o := Options{Password: p}
	if _, err := p.MarshalJSON(); err == nil {
		t.Error("it marshals")
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if s := fmt.Sprintf(format+format, p, &o); strings.Contains(s, "geheim") || strings.Contains(s, "67656865696d") {
			t.Errorf("%s: %s", format, s)
		}
	}
}
