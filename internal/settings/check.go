package settings

import (
	"crypto/sha256"
	"encoding/pem"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a recorder's machine need not have the files
	"unicode"
	"unicode/utf8"

	"vigil/internal/media"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// Bounds of the settings.
const (
	MaxCameras = 128  // not removed
	MaxRemoved = 1000 // with footage still there
	MaxName    = 64   // characters of a camera's name
	MaxDays    = 36500
	maxBytes   = 1 << 50
)

// Check returns every mistake (text.Mistakes), so that they are corrected in
// one go. No mistake repeats what was entered.
func (d *Doc) Check() error { return d.check(&Doc{}) }

// check is Check for a change of old: a camera that stays as it is was right
// when it was entered, and must not stand in the way of every change where a later
// Vigil asks for more.
func (d *Doc) check(old *Doc) error {
	var m text.Mistakes
	if !d.Language.Valid() {
		m.Add("/language", "one-of", "choices", "zh-TW, en")
	}
	if !KnownZone(d.TimeZone) {
		m.Add("/timeZone", "time-zone")
	}
	d.Storage.check(&m, "/storage")
	here, removed := 0, 0
	names, streams, ids := map[string]bool{}, map[media.StreamID]bool{}, map[media.CameraID]bool{}
	addresses := map[string]bool{}
	for i := range d.Cameras {
		c, at := &d.Cameras[i], "/cameras/"+strconv.Itoa(i)
		if ids[c.ID] || c.ID.IsZero() {
			m.Add(at+"/id", "wrong-type")
		}
		ids[c.ID] = true
		for j, s := range c.Streams {
			if streams[s.ID] || s.ID.IsZero() {
				m.Add(at+"/streams/"+strconv.Itoa(j)+"/id", "wrong-type")
			}
			streams[s.ID] = true
		}
		if c.Gone() {
			removed++
			continue
		}
		here++
		if was := old.Camera(c.ID); was == nil || !reflect.DeepEqual(was, c) {
			c.check(&m, at)
		}
		if low := strings.ToLower(c.Name); names[low] {
			m.Add(at+"/name", "name-used")
		} else {
			names[low] = true
		}
		for j, s := range c.Streams {
			if addresses[s.URL] && s.URL != "" {
				m.Add(at+"/streams/"+strconv.Itoa(j)+"/url", "address-used")
			}
			addresses[s.URL] = true
		}
	}
	if here > MaxCameras {
		m.Add("/cameras", "too-many-cameras", "max", strconv.Itoa(MaxCameras))
	}
	if removed > MaxRemoved {
		m.Add("/cameras", "too-many-removed", "max", strconv.Itoa(MaxRemoved))
	}
	return m.Err()
}

// KnownZone tells whether there is such an IANA time zone.
func KnownZone(name string) bool {
	if name == "" || name == "Local" || len(name) > 64 {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

func number(m *text.Mistakes, field string, n, least, most int64) {
	if n < least || n > most {
		m.Add(field, "out-of-range", "min", strconv.FormatInt(least, 10), "max", strconv.FormatInt(most, 10))
	}
}

// check refuses a threshold that the reserve makes unreachable: the alert
// would never come.
//
//vigil:clause 5.2.8.1
func (s *Storage) check(m *text.Mistakes, at string) {
	number(m, at+"/retentionDays", int64(s.RetentionDays), 0, MaxDays)
	number(m, at+"/quotaBytes", s.QuotaBytes, 0, maxBytes)
	number(m, at+"/reserveBytes", s.ReserveBytes, 0, maxBytes)
	number(m, at+"/reservePercent", int64(s.ReservePercent), 1, 50)
	number(m, at+"/lowSpaceBytes", s.LowSpaceBytes, 0, maxBytes)
	number(m, at+"/lowSpacePercent", int64(s.LowSpacePercent), 1, 90)
	number(m, at+"/lowSpaceDays", int64(s.LowSpaceDays), 0, MaxDays)
	if s.LowSpacePercent <= s.ReservePercent {
		m.Add(at+"/lowSpacePercent", "low-space-unreachable")
	}
	if s.LowSpaceBytes <= s.ReserveBytes && s.ReserveBytes > 0 {
		m.Add(at+"/lowSpaceBytes", "low-space-unreachable")
	}
}

// Check finds what is wrong with a camera on its own (text.Mistakes), stream
// "/streams/0/url" being "/url": for one that is only tried.
func (c *Camera) Check() error {
	var m text.Mistakes
	c.check(&m, "")
	for i := range m {
		m[i].Field = strings.TrimPrefix(m[i].Field, "/streams/0")
	}
	return m.Err()
}

// check finds what is wrong with a camera as such.
func (c *Camera) check(m *text.Mistakes, at string) {
	switch n := utf8.RuneCountInString(c.Name); {
	case n == 0 || strings.TrimSpace(c.Name) == "":
		m.Add(at+"/name", "required")
	case n > MaxName:
		m.Add(at+"/name", "too-long", "max", strconv.Itoa(MaxName))
	case !text.Printable(c.Name):
		m.Add(at+"/name", "not-printable")
	}
	if len(c.User) > wire.MaxUser {
		m.Add(at+"/user", "too-long", "max", strconv.Itoa(wire.MaxUser))
	} else if !text.Printable(c.User) {
		m.Add(at+"/user", "not-printable")
	}
	if p := c.Password.Reveal(); len(p) > wire.MaxPassword {
		m.Add(at+"/password", "too-long", "max", strconv.Itoa(wire.MaxPassword))
	} else if !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl) {
		m.Add(at+"/password", "not-printable")
	}
	switch c.Transport {
	case wire.Auto, wire.TCP, wire.UDP:
	default:
		m.Add(at+"/transport", "one-of", "choices", "auto, tcp, udp")
	}
	c.checkLink(m, at)
	c.checkStreams(m, at)
	if c.RetentionDays != nil {
		number(m, at+"/retentionDays", int64(*c.RetentionDays), 0, MaxDays)
	}
}

// checkLink asks that how the camera is trusted was chosen, and is complete.
//
//vigil:clause 5.3.1.1
func (c *Camera) checkLink(m *text.Mistakes, at string) {
	if !validLink(c.Link) {
		m.Add(at+"/link", "one-of", "choices", "rtsps-pin, rtsps-ca, rtsps-insecure, plain")
		return
	}
	switch {
	case c.Link == wire.LinkPin && len(c.Pin) != sha256.Size:
		m.Add(at+"/pin", "pin-needed")
	case c.Link != wire.LinkPin && len(c.Pin) > 0:
		m.Add(at+"/pin", "not-with-link")
	}
	switch {
	case c.Link == wire.LinkCA && c.CA == "":
		m.Add(at+"/ca", "ca-needed")
	case c.Link != wire.LinkCA && c.CA != "":
		m.Add(at+"/ca", "not-with-link")
	case len(c.CA) > wire.MaxCA:
		m.Add(at+"/ca", "too-long", "max", strconv.Itoa(wire.MaxCA))
	case c.CA != "":
		if b, _ := pem.Decode([]byte(c.CA)); b == nil || b.Type != "CERTIFICATE" {
			m.Add(at+"/ca", "ca-bad")
		}
	}
}

func validLink(l wire.Link) bool {
	return l == wire.LinkPin || l == wire.LinkCA || l == wire.LinkInsecure || l == wire.LinkPlain
}

func (c *Camera) checkStreams(m *text.Mistakes, at string) {
	if len(c.Streams) == 0 || len(c.Streams) > 2 || c.Streams[0].Kind != Main || len(c.Streams) == 2 && c.Streams[1].Kind != Second {
		m.Add(at+"/streams", "streams")
	}
	recorded := false
	for i, s := range c.Streams {
		if code := CheckURL(s.URL, c.Link); code != "" && (code != "url-link" || validLink(c.Link)) {
			m.Add(at+"/streams/"+strconv.Itoa(i)+"/url", code)
		}
		if s.Kind != Main && s.Kind != Second {
			m.Add(at+"/streams/"+strconv.Itoa(i)+"/kind", "one-of", "choices", "main, second")
		}
		recorded = recorded || s.Recorded
	}
	if len(c.Streams) == 2 && c.Streams[0].URL == c.Streams[1].URL {
		m.Add(at+"/streams/1/url", "streams-same")
	}
	if len(c.Streams) > 0 && !recorded {
		m.Add(at+"/streams/0/recorded", "none-recorded")
	}
}

// CheckURL returns the code of what is wrong with a camera's address; "" when
// nothing is.
func CheckURL(address string, link wire.Link) string {
	if address == "" {
		return "required"
	}
	if len(address) > wire.MaxURL || !text.Printable(address) || strings.ContainsFunc(address, unicode.IsSpace) {
		return "url-bad"
	}
	if strings.ContainsFunc(address, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "url-ascii" // RTSP has no way to say it
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		if strings.Contains(address, "@") { // most often a sign in a password
			return "url-credentials"
		}
		return "url-bad"
	case u.Scheme != "rtsp" && u.Scheme != "rtsps":
		return "url-scheme"
	case u.User != nil:
		return "url-credentials"
	case u.Hostname() == "" || u.Opaque != "" || strings.Contains(address, "#"):
		return "url-bad"
	case (link == wire.LinkPlain) != (u.Scheme == "rtsp"):
		return "url-link"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return "url-bad"
		}
	}
	return ""
}
