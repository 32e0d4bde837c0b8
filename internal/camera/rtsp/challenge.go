package rtsp

import "strings"

// A challenge is one way in that a camera offers (RFC 9110 section 11.6.1).
type challenge struct {
	scheme string            // lower case: "digest", "basic", ...
	params map[string]string // names in lower case, values without quotes, escapes left as they are
}

func (c challenge) stale() bool { return strings.EqualFold(c.params["stale"], "true") }

// maxChallenges bounds what is read of a camera's offers.
const maxChallenges = 8

// challenges reads every WWW-Authenticate header of a reply; one header may
// hold several challenges, in any order.
func challenges(m *message) (all []challenge) {
	for _, f := range m.fields {
		if f.name == "www-authenticate" {
			all = appendChallenges(all, f.value)
		}
	}
	return all
}

func appendChallenges(all []challenge, s string) []challenge {
	var now *challenge
	for {
		s = strings.TrimLeft(s, " \t,;")
		if s == "" || len(all) > maxChallenges {
			return all
		}
		end := strings.IndexAny(s, " \t,;=\"")
		if end < 0 {
			end = len(s)
		}
		if end == 0 { // a stray = or quote
			s = s[1:]
			continue
		}
		word, rest := s[:end], strings.TrimLeft(s[end:], " \t")
		if now != nil && strings.EqualFold(word, "auth-int") { // qop=auth,auth-int without quotes
			s = rest
			continue
		}
		if !strings.HasPrefix(rest, "=") { // no parameter: a scheme
			all = append(all, challenge{strings.ToLower(word), map[string]string{}})
			now = &all[len(all)-1]
			s = rest
			continue
		}
		var value string
		value, s = takeValue(strings.TrimLeft(rest[1:], " \t"))
		if now != nil && len(now.params) < 16 {
			name := strings.ToLower(word)
			if _, twice := now.params[name]; !twice {
				now.params[name] = value
			}
		}
	}
}

// takeValue reads a token or a quoted string; a missing end quote ends the text.
func takeValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, ",; \t"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[1:i], s[i+1:]
		}
	}
	return s[1:], ""
}
