package rtsp

import (
	"strings"
	"testing"
)

func challengesOf(values ...string) []challenge {
	m := &message{}
	for _, v := range values {
		m.fields = append(m.fields, field{"www-authenticate", v})
	}
	return challenges(m)
}

func TestChallenges(t *testing.T) {
	all := challenges(reply(t, replies(t)["401-digest-then-basic-hikvision"]))
	if len(all) != 2 || all[0].scheme != "digest" || all[0].params["realm"] != "IP Camera(C1214)" || all[0].params["nonce"] != "0191a41d87c28cd52b3e9c8adc99291c" || all[0].stale() || all[1].scheme != "basic" {
		t.Errorf("%+v", all)
	}
	all = challengesOf(`Basic realm="a, b", Digest realm="c \"d\"",nonce=x ,algorithm=SHA-256, stale=TRUE,qop="auth,auth-int"`)
	if len(all) != 2 || all[0].params["realm"] != "a, b" || all[1].params["realm"] != `c \"d\"` || all[1].params["nonce"] != "x" || !all[1].stale() || all[1].params["qop"] != "auth,auth-int" {
		t.Errorf("%+v", all)
	}
	for _, text := range []string{
		"Digest realm=\"r\"; nonce=\"n\"; stale=FALSE; algorithm=MD5", // semicolons
		"digest algorithm=MD5,realm=r,nonce=n,qop=auth,auth-int,opaque=\"\"",
		"Digest  realm = \"r\" ,nonce= \"n\",\t algorithm = \"MD5\"",
		"Digest,realm=\"r\",nonce=\"n\",algorithm=MD5",
		"Digest algorithm=MD5, realm=\"r\",                          nonce=\"n\",", // folded, as parseHead leaves it
	} {
		if all := challengesOf(text); len(all) != 1 || all[0].scheme != "digest" || all[0].params["realm"] != "r" || all[0].params["nonce"] != "n" || all[0].params["algorithm"] != "MD5" {
			t.Errorf("%q: %+v", text, all)
		}
	}
	for _, odd := range []string{``, `,`, `=`, `"`, `Digest`, `Digest realm`, `Digest realm=`, `Digest realm="open`, `Digest =x`, strings.Repeat("A ", 1000)} {
		challengesOf(odd)
	}
}

// TestChoose is INTEROP row 10.
//
//vigil:clause 5.3.1.1
func TestChoose(t *testing.T) {
	const (
		md5   = `Digest realm="r", nonce="n"`
		sha   = `Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"`
		sha5  = `Digest realm="r", nonce="n", algorithm=SHA-512-256`
		basic = `Basic realm="r"`
	)
	ca := Options{User: "u", Link: LinkCA, LegacyMD5: true}
	plain := Options{User: "u", Link: LinkPlain, LegacyMD5: true}
	plainBasic, strict, insecure := plain, plain, Options{User: "u", Link: LinkInsecure, LegacyMD5: true}
	plainBasic.Basic = true
	strict.LegacyMD5 = false
	strictBasic := strict
	strictBasic.Basic = true
	for _, c := range []struct {
		why    string
		o      Options
		offers []string
		want   string // algorithm, "basic", or an error's code
	}{
		{"digest first", plain, []string{basic, md5}, ""},
		{"either order", plain, []string{md5, basic}, ""},
		{"the strongest", plain, []string{md5, sha, basic}, "SHA-256"},
		{"stronger still", plain, []string{sha, sha5}, "SHA-512-256"},
		{"SHA-256 alone", strict, []string{sha}, "SHA-256"},
		{"SHA-256 by another name", strict, []string{`Digest realm="r", nonce="n", algorithm=sha256`}, "sha256"},
		{"MD5 off", strict, []string{md5}, AuthLegacy},
		{"MD5 off, basic there", strictBasic, []string{md5, basic}, AuthLegacy},
		{"basic over plain", plain, []string{basic}, AuthUnsafe},
		{"basic by choice", plainBasic, []string{basic}, "basic"},
		{"basic over TLS", ca, []string{basic}, "basic"},
		{"basic over TLS to anybody", insecure, []string{basic}, AuthUnsafe},
		{"digest over TLS too", ca, []string{basic, md5}, ""},
		{"unknown", plain, []string{`Negotiate`, `Digest realm="r", nonce="n", algorithm=MD4`}, AuthUnknown},
		{"auth-int alone", plain, []string{`Digest realm="r", nonce="n", qop="auth-int"`}, ""},
		{"nobody", Options{Link: LinkPlain}, []string{md5}, AuthNeeded},
		{"nothing offered", plain, nil, AuthUnknown},
	} {
		cred, err := choose(challengesOf(c.offers...), &c.o)
		var got string
		switch {
		case err != nil:
			got = err.Code
		case cred.basic:
			got = "basic"
		default:
			got = cred.algorithm
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

// TestDigest compares with RFC 2617 section 3.5 and what ffmpeg answered to
// GStreamer; the algorithms of RFC 7616 are compared with its formula.
func TestDigest(t *testing.T) {
	c := &credential{user: "admin", password: "pass", hash: legacyMD5, realm: "GStreamer RTSP Server", nonce: "bc33e25e10cf9ef7"}
	if h := c.header("DESCRIBE", "rtsp://127.0.0.1:8554/cam"); !strings.Contains(h, `response="c471feaa17be22308a5800356809f5fc"`) {
		t.Error(h)
	}
	c = &credential{user: "Mufasa", password: "Circle of Life", hash: digests[1].hash, algorithm: "SHA-256", realm: "http-auth@example.org", nonce: "n", qop: "auth", opaque: "o", hasOpaque: true}
	h := c.header("GET", "/dir")
	p := challengesOf(h)[0].params
	sum := digests[1].hash
	want := sum(sum("Mufasa:http-auth@example.org:Circle of Life") + ":n:00000001:" + p["cnonce"] + ":auth:" + sum("GET:/dir"))
	if p["response"] != want || p["algorithm"] != "SHA-256" || p["opaque"] != "o" || p["nc"] != "00000001" {
		t.Error(h)
	}
	if p := challengesOf(c.header("GET", "/dir"))[0].params; p["nc"] != "00000002" {
		t.Error("the nonce count does not rise: a replay")
	}
	chosen, err := choose([]challenge{{scheme: "digest", params: map[string]string{"realm": "r", "nonce": "n", "algorithm": "SHA-256", "qop": "auth-int"}}}, &Options{User: "u", Password: NewPassword("p")})
	if err != nil {
		t.Fatal(err)
	}
	p = challengesOf(chosen.header("PLAY", "rtsp://c/s"))[0].params
	want = sum(sum("u:r:p") + ":n:00000001:" + p["cnonce"] + ":auth-int:" + sum("PLAY:rtsp://c/s:"+sum("")))
	if p["qop"] != "auth-int" || p["response"] != want {
		t.Errorf("auth-int: %v", p)
	}
	c = &credential{user: `a"b`, password: "p", hash: legacyMD5, realm: `r\"r`, nonce: "n", session: true, algorithm: "MD5-sess"}
	p = challengesOf(c.header("X", "u"))[0].params
	h1 := legacyMD5(legacyMD5(`a"b:r"r:p`) + ":n:" + p["cnonce"])
	if p["response"] != legacyMD5(h1+":n:"+legacyMD5("X:u")) || p["username"] != `a\"b` {
		t.Errorf("%+v", p)
	}
}
