package web

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
)

// From the empty recorder to a session, as the page does it.
//
//vigil:clause 5.4.1.1
func TestSetUp(t *testing.T) {
	b := newBench(t)
	p := b.person()
	if got := p.want(200, "GET", "/setup", nil); got["state"] != "needed" || got["timeZone"] != "Asia/Taipei" || got["codeExpires"] != nil {
		t.Errorf("%v", got)
	}
	// Nothing else works, whoever comes first.
	p.refused(401, "signed-out", "GET", "/cameras", nil)
	p.refused(401, "signed-out", "GET", "/status", nil)
	p.refused(401, "signed-out", "POST", "/setup/code", nil)
	p.refused(401, "sign-in-failed", "POST", "/session", object{"name": "admin", "password": "admin"})
	code, _, err := b.auth.NewCode(actor.Actor{Kind: actor.Console, Name: "uid 0"})
	must(t, err)
	if got := p.want(200, "GET", "/setup", nil); got["codeExpires"] == nil {
		t.Errorf("%v", got)
	}
	p.refused(403, "setup-code-wrong", "POST", "/setup", object{"code": "0000-0000-0000", "name": "amy", "password": password})
	v := p.refused(422, "invalid", "POST", "/setup", object{"code": code, "name": "amy", "password": "amy1"}, "Accept-Language", "zh-TW")
	if m := v["mistakes"].([]any); v["title"] != "有些欄位需要修正" || m[0].(object)["field"] != "/password" || !strings.Contains(m[0].(object)["text"].(string), "12") {
		t.Errorf("%v", v)
	}
	p.refused(422, "invalid", "POST", "/setup", object{"code": code, "name": "amy", "password": password, "timeZone": "Mars"})
	resp, _ := p.do("POST", "/setup", object{"code": code, "name": "amy", "password": password, "language": "zh-TW", "timeZone": "Asia/Taipei"})
	if resp.StatusCode != 201 {
		t.Fatal(resp.StatusCode)
	}
	set := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-vigil=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q lacks %s", set, want)
		}
	}
	if strings.Contains(set, "Domain") {
		t.Errorf("cookie %q", set)
	}
	if got := p.want(200, "GET", "/session", nil); got["account"] != "amy" || got["role"] != "administrator" || len(got["rights"].([]any)) != 9 {
		t.Errorf("%v", got)
	}
	if b.set.Get().Language != "zh-TW" {
		t.Error("the language was not kept")
	}
	p.refused(409, "setup-done", "POST", "/setup", object{"code": code, "name": "eve", "password": password})
	if got := p.want(200, "GET", "/setup", nil); got["state"] != "done" || got["timeZone"] != "UTC" {
		t.Errorf("%v", got)
	}
	p.want(200, "GET", "/password-rules", nil)
	p.want(200, "GET", "/accounts", nil)
}

//vigil:clause 5.2.5.1
func TestSignInAndOut(t *testing.T) {
	b := newBench(t)
	b.admin()
	p := b.person()
	a := p.refused(401, "sign-in-failed", "POST", "/session", object{"name": "amy", "password": "Wrong-Password-1"})
	c := p.refused(401, "sign-in-failed", "POST", "/session", object{"name": "nobody", "password": "Wrong-Password-1"})
	if fmt.Sprint(a) != fmt.Sprint(c) {
		t.Errorf("an account gets\n%v\nand a name without one\n%v", a, c)
	}
	first := p.want(200, "POST", "/session", object{"name": "amy", "password": password})
	if l := first["lastSignIn"].(object); l["failures"] != 1.0 || l["source"] != "127.0.0.1" {
		t.Errorf("%v", first)
	}
	cookies := func() string { return p.http.Jar.Cookies(p.request("GET", "/", nil).URL)[0].Value }
	old := cookies()
	p.want(200, "POST", "/session", object{"name": "amy", "password": password})
	if cookies() == old {
		t.Error("the same session after another sign-in")
	}
	thief := b.person()
	thief.refused(401, "signed-out", "GET", "/session", nil, "Cookie", cookie+"="+old)
	kept := cookies()
	thief.want(200, "GET", "/session", nil, "Cookie", cookie+"="+kept)
	p.want(204, "DELETE", "/session", nil)
	thief.refused(401, "signed-out", "GET", "/session", nil, "Cookie", cookie+"="+kept)
	p.refused(401, "signed-out", "GET", "/cameras", nil)
	for _, k := range []string{"", "x", strings.Repeat("A", 43), old + old} {
		thief.refused(401, "signed-out", "GET", "/session", nil, "Cookie", cookie+"="+k)
	}
	if n := len(b.recorded(audit.SignIn)); n != 1+2+2 {
		t.Errorf("%d sign-ins recorded", n)
	}
	if n := len(b.recorded(audit.SignOut)); n != 2 {
		t.Errorf("%d sign-outs recorded", n)
	}
}

//vigil:clause 5.4.1.1
func TestLockoutOverHTTP(t *testing.T) {
	b := newBench(t)
	b.admin()
	p := b.person()
	var last object
	for range 8 {
		b.srv.rates = newRates()
		resp, _ := p.do("POST", "/session", object{"name": "nobody", "password": "Wrong-Password-1"})
		if resp.StatusCode == 429 {
			if resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			last = p.refused(429, "too-many-attempts", "POST", "/session", object{"name": "nobody", "password": "Wrong-Password-1"})
			break
		}
	}
	if last == nil || last["retryAfter"].(float64) < 1 {
		t.Errorf("not slowed: %v", last)
	}
}

//vigil:clause 5.4.2.1
func TestPasswords(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	other := b.signIn("amy")
	p.refused(403, "old-password-wrong", "POST", "/session/password", object{"old": "x", "new": second})
	p.refused(422, "invalid", "POST", "/session/password", object{"old": password, "new": "amy"})
	p.want(200, "POST", "/session/password", object{"old": password, "new": second})
	p.want(200, "GET", "/session", nil)
	other.refused(401, "signed-out", "GET", "/session", nil)
	p.refused(409, "own-account", "POST", "/accounts/AMY/password", object{"new": password})
	p.refused(404, "not-found", "POST", "/accounts/eve/password", object{"new": password})
}

// A session whose password was reset can do nothing but change it.
func TestMustChange(t *testing.T) {
	b := newBench(t)
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "kim", "role": "administrator"})
	amy := b.signIn("amy")
	amy.want(204, "POST", "/accounts/kim/password", object{"new": second})
	kim := b.person()
	if got := kim.want(200, "POST", "/session", object{"name": "kim", "password": second}); got["passwordMustChange"] != true {
		t.Errorf("%v", got)
	}
	kim.refused(403, "password-must-change", "GET", "/cameras", nil)
	time.Sleep(time.Millisecond) // the new session is not older than the password
	kim.want(200, "POST", "/session/password", object{"old": second, "new": "Sesame-Street-00"})
	kim.want(200, "GET", "/cameras", nil)
}

// Other websites change nothing.
//
//vigil:clause 5.2.5.1
func TestCrossOrigin(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		p.refused(403, "cross-origin", "DELETE", "/session", nil, h...)
		p.refused(403, "cross-origin", "POST", "/session", object{"name": "amy", "password": password}, h...)
	}
	p.refused(415, "not-json", "POST", "/session", "name=amy", "Content-Type", "application/x-www-form-urlencoded")
	p.refused(415, "not-json", "POST", "/session", `{"name":"amy"}`, "Content-Type", "text/plain")
	p.want(200, "GET", "/session", nil, "Sec-Fetch-Site", "same-origin")
	p.want(204, "DELETE", "/session", nil, "Sec-Fetch-Site", "same-origin", "Origin", b.url)
}

//vigil:clause 5.2.6.1
func TestBodies(t *testing.T) {
	b := newBench(t)
	p := b.person()
	for body, code := range map[string]string{
		``: "bad-request", `{`: "bad-request", `{}{}`: "bad-request", `[]`: "invalid", `{"name":1}`: "invalid", `{"name":"a","password":"b","role":"administrator"}`: "invalid",
		`{"name":"` + strings.Repeat("\\u0000", 5) + `","password":"b"}`: "sign-in-failed", strings.Repeat("[", 60000): "bad-request", "\xff\xfe{": "bad-request",
	} {
		b.srv.rates = newRates()
		resp, got := p.do("POST", "/session", body)
		if !strings.Contains(string(got), `"code":"`+code+`"`) {
			t.Errorf("%.40q: %d %s, want %s", body, resp.StatusCode, got, code)
		}
	}
}

// What a program in front of the recorder might read otherwise is refused: a
// field twice, or in other capitals. A mistake names its field, in a list too.
//
//vigil:clause 5.2.6.1
func TestBodiesAreReadOneWay(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door").ID.String()
	for _, c := range []struct{ method, path, body, field, code string }{
		{"POST", "/session", `{"name":"eve","name":"amy","password":"x"}`, "/name", "field-twice"},
		{"POST", "/session", `{"name":"amy","Password":"x"}`, "/Password", "unknown-field"},
		{"POST", "/session", `{"name":"amy","password":"x","PASSWORD":"y"}`, "/PASSWORD", "unknown-field"},
		{"PUT", "/cameras/" + cam + "/recording", `{"on":true,"on":false}`, "/on", "field-twice"},
		{"POST", "/cameras", `{"name":"A","streams":[{"kind":"main","url":"rtsp://h/"},{"kind":"second","url":"rtsp://h/2","url":"rtsp://h/3"}]}`, "/streams/1/url", "field-twice"},
		{"POST", "/cameras", `{"name":"A","streams":[{"kind":"main","url":"rtsp://h/"},{"kind":"second","url":7}]}`, "/streams/1/url", "wrong-type"},
		{"POST", "/cameras", `{"name":"A","streams":[{"kind":"main"},7]}`, "/streams/1", "wrong-type"},
		{"POST", "/cameras", `{"name":"A","streams":[[]]}`, "/streams/0", "wrong-type"},
		{"POST", "/cameras", `{"name":"A","pin":{"a":1},"streams":[]}`, "/pin", "wrong-type"},
		{"POST", "/cameras", `{"name":"A","streams":[{"kind":"main","uri":"rtsp://h/"}]}`, "/streams/0/uri", "unknown-field"},
		{"POST", "/cameras", `{"a~/b":1}`, "/a~0~1b", "unknown-field"},
		{"POST", "/cameras", `[]`, "", "wrong-type"},
		{"POST", "/cameras/" + cam + "/exports", `{"from":1.5,"to":2}`, "/from", "wrong-type"},
		{"POST", "/cameras/" + cam + "/exports", `{"from":-62135596800000,"to":2}`, "/from", "instant"},
		{"POST", "/cameras/" + cam + "/exports", `{"from":1,"to":253402300799000}`, "/to", "instant"},
		{"PUT", "/settings", `{"version":0,"storage":{"retentionDays":1,"RetentionDays":2}}`, "/storage/RetentionDays", "unknown-field"},
	} {
		b.srv.rates = newRates()
		v := p.refused(422, "invalid", c.method, c.path, c.body)
		if m := v["mistakes"].([]any)[0].(object); m["field"] != c.field || m["code"] != c.code {
			t.Errorf("%s: %v, want %s at %q", c.body, m, c.code, c.field)
		}
	}
	b.srv.rates = newRates()
	p.want(200, "POST", "/session", "\t{ \"name\" : \"amy\",\n \"password\": \""+password+"\" } \n")
}

// zeros is an upload that does not end.
type zeros struct{ n int64 }

func (z *zeros) Read(b []byte) (int, error) {
	z.n += int64(len(b))
	clear(b)
	return len(b), nil
}

// Ten gigabytes to any address are refused before they come.
//
//vigil:clause 5.2.5.1
func TestUploadsAreRefusedEarly(t *testing.T) {
	b := newBench(t)
	p := b.person()
	for _, h1 := range []bool{false, true} {
		if h1 {
			p.http.Transport.(*http.Transport).ForceAttemptHTTP2 = false
			p.http.Transport.(*http.Transport).Protocols = new(http.Protocols)
			p.http.Transport.(*http.Transport).Protocols.SetHTTP1(true)
		}
		for _, path := range []string{base + "/session", base + "/cameras", base + "/setup", base + "/exports", base + "/nothing", "/", "/upload"} {
			for _, known := range []bool{true, false} {
				b.srv.rates = newRates()
				z := &zeros{}
				req := p.request("POST", path, z)
				if known {
					req.ContentLength = 10 << 30
				}
				resp, err := p.http.Do(req)
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if z.n > 16<<20 { // what fits into buffers on the way
					t.Errorf("%s took %d bytes", path, z.n)
				}
				if err == nil && known && resp.StatusCode != 413 {
					t.Errorf("%s: %d", path, resp.StatusCode)
				}
				if err == nil && !known && resp.StatusCode < 400 {
					t.Errorf("%s without a length: %d", path, resp.StatusCode)
				}
			}
		}
	}
}

func TestRates(t *testing.T) {
	b := newBench(t)
	p := b.person()
	slowed := 0
	for range signInBurst + 5 {
		if resp, _ := p.do("POST", "/setup", object{}); resp.StatusCode == 429 {
			slowed++
		}
	}
	if slowed == 0 {
		t.Error("set-up is not slowed")
	}
	p.want(200, "GET", "/setup", nil) // other requests are not
	b.srv.rates = newRates()
	slowed = 0
	for range requestBurst + 100 {
		if _, ok := b.srv.rates.allow("h", false); !ok {
			slowed++
		}
	}
	if slowed < 50 {
		t.Errorf("%d requests slowed", slowed)
	}
	for i := range maxSources + 100 {
		b.srv.rates.allow(fmt.Sprint(i), false)
	}
	if n := len(b.srv.rates.s.m); n > maxSources {
		t.Errorf("%d sources are remembered", n)
	}
}

func TestSlots(t *testing.T) {
	s := newSlots()
	var release []func()
	for range 3 {
		r, ok := s.take("video", "amy", 5, 3)
		if !ok {
			t.Fatal("no place")
		}
		release = append(release, r)
	}
	if _, ok := s.take("video", "amy", 5, 3); ok {
		t.Error("too many of one")
	}
	for _, who := range []string{"bob", "eve"} {
		if _, ok := s.take("video", who, 5, 3); !ok {
			t.Error("others have none")
		}
	}
	if _, ok := s.take("video", "joe", 5, 3); ok {
		t.Error("too many of all")
	}
	release[0]()
	release[0]()
	if _, ok := s.take("video", "amy", 5, 3); !ok {
		t.Error("a place that was given back")
	}
	if _, ok := s.take("video", "amy", 5, 3); ok {
		t.Error("given back twice")
	}
	// However often somebody signs in, there is a session's worth for others.
	s = newSlots()
	release = nil
	for i := range 12 {
		if r, ok := s.both("video", fmt.Sprint("session ", i/2), "amy", 10, 2); ok {
			release = append(release, r)
		}
	}
	if len(release) != 8 {
		t.Errorf("one person has %d of 10 places", len(release))
	}
	for i := range 2 {
		if _, ok := s.both("video", "another", "bob", 10, 2); !ok {
			t.Errorf("the other has %d", i)
		}
	}
	for _, r := range release {
		r()
		r()
	}
	if _, ok := s.both("video", "session 9", "amy", 10, 2); !ok {
		t.Error("what was given back is not free")
	}
}

// The page is one document and its files, for anybody; no address outside.
func TestPage(t *testing.T) {
	b := newBench(t)
	b.srv.page.files["/"] = pageFile{kind: "text/html; charset=utf-8", raw: []byte("<!doctype html>"), tag: `"x"`}
	b.srv.page.files["/assets/a.js"] = pageFile{kind: "text/javascript; charset=utf-8", raw: []byte("1"), gz: squeeze([]byte("1")), tag: `"y"`}
	p := b.person()
	resp, err := p.http.Do(p.request("GET", "/", nil))
	must(t, err)
	got, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	csp := resp.Header.Get("Content-Security-Policy")
	if string(got) != "<!doctype html>" || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("%s, policy %s", got, csp)
	}
	resp, err = p.http.Do(p.request("GET", "/assets/a.js", nil)) // the transport asks for gzip
	must(t, err)
	got, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(got) != "1" || !resp.Uncompressed || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%q, %v", got, resp.Header)
	}
	resp, err = p.http.Do(p.request("GET", "/", nil, "If-None-Match", `"x"`))
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 304 {
		t.Errorf("%d", resp.StatusCode)
	}
	resp, err = p.http.Do(p.request("POST", "/", nil))
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// The language of an account goes with it to every browser.
func TestLanguageOfAnAccount(t *testing.T) {
	b := newBench(t)
	p := b.person()
	code, _, err := b.auth.NewCode(actor.Actor{Kind: actor.Console, Name: "uid 0"})
	must(t, err)
	if got := p.want(201, "POST", "/setup", object{"code": code, "name": "amy", "password": password, "language": "zh-TW"}); got["language"] != "zh-TW" {
		t.Errorf("%v", got)
	}
	if got := p.want(200, "PUT", "/session/language", object{"language": "en"}); got["language"] != "en" {
		t.Errorf("%v", got)
	}
	p.refused(422, "invalid", "PUT", "/session/language", object{"language": "fr"})
	b.openAuth() // a restart
	b.srv.Auth = b.auth
	other := b.person()
	if got := other.want(200, "POST", "/session", object{"name": "amy", "password": password}); got["language"] != "en" {
		t.Errorf("%v", got)
	}
}
