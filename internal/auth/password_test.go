package auth

import (
	"strings"
	"testing"
	"time"

	"vigil/internal/seal"
	"vigil/internal/text"
)

//vigil:clause 5.4.2.1
func TestRules(t *testing.T) {
	for _, c := range []struct{ password, want string }{
		{"Correct-Horse-9", ""},
		{"Kj2#qLw9zX!r", ""},
		{"藍色的錄影機在第三個房間Q7", ""},
		{strings.Repeat("long Passphrase ", 4) + "1", ""},
		{"ｃｏｒｒｅｃｔ-Horse-9", ""}, // full width is the same as half
		{"1234", "password-short password-simple password-common"},
		{"Ab1!Ab1!xyz", "password-short"},
		{"correcthorsebattery", "password-simple"},
		{"correct-horse-battery", "password-simple"},
		{"My-Amanda-House-1", "password-has-name"},
		{"my-aMaNdA-house-1", "password-has-name"},
		{"Password1234!", "password-common"},
		{"P@ssw0rd-2026!", "password-common"},
		{"!!!Welcome2025", "password-common"},
		{"Hikvision-2024", "password-common"},
		{"Aaaaaaaaaaa1!", "password-common"},
		{"Abcdefghijk1234!", "password-common"},
		{"Ab1!" + "\x00" + "horsebattery", "password-characters"},
		{"Ab1!horsebattery\n", "password-characters"},
		{"Ab1!horse\xffbattery", "password-characters"},
		{strings.Repeat("Correct-Horse-9", 100), "password-long"},
		{"", "password-short password-simple password-common"},
	} {
		var m text.Mistakes
		check(&m, "/password", "amanda", normalise(c.password))
		var got []string
		for _, x := range m {
			got = append(got, x.Code)
			if !text.Has("mistake." + x.Code) {
				t.Errorf("no text for %s", x.Code)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%.40q: %s, want %s", c.password, s, c.want)
		}
	}
	if rules.MinLength < 8 || rules.MaxLength < 64*4 || rules.History < 3 {
		t.Error("below the floor")
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"amy": true, "王小明": true, "amy.lee-2@site_1": true, "a": true, "é": true, "นภา": true,
		"": false, " amy": false, "amy lee": false, "-amy": false, "amy.": false, "amy\n": false, "amy\x00": false, "a\u202eb": false, "ａｍｙ": false,
		"amy/..": false, "<b>": false, "\xff": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
	} {
		var m text.Mistakes
		if checkName(&m, "/name", name); (len(m) == 0) != ok {
			t.Errorf("%q: %v", name, m)
		}
	}
}

//vigil:clause 5.2.4.1
func TestHash(t *testing.T) {
	kept := hash("Correct-Horse-9", 1000)
	if !strings.HasPrefix(kept, "$pbkdf2-sha256$i=1000$") || strings.Contains(kept, "Horse") || kept == hash("Correct-Horse-9", 1000) {
		t.Errorf("kept as %s", kept)
	}
	if !matches(kept, "Correct-Horse-9") || matches(kept, "Correct-Horse-8") || matches(kept, "") {
		t.Error("comparison")
	}
	// Made by Python's hashlib.pbkdf2_hmac("sha256", b"Correct-Horse-9", bytes(range(16)), 4096).
	if !matches("$pbkdf2-sha256$i=4096$AAECAwQFBgcICQoLDA0ODw$W9Z8Opk8JlQ004ck6AB9bKEI282ktau8I1JgOJj3XWM", "Correct-Horse-9") {
		t.Error("another implementation's hash")
	}
	for _, bad := range []string{"", "plain", "$pbkdf2-sha256$i=1$AAECAwQFBgcICQoLDA0ODw$", "$pbkdf2-sha512" + kept[14:], kept + "$", kept[:len(kept)-1],
		strings.Replace(kept, "i=1000", "i=99999999999", 1), strings.Replace(kept, "i=1000", "i=-5", 1), strings.Replace(kept, "$i=1000", "$i=1000,x=1", 1)} {
		if _, _, _, err := parseHash(bad); err == nil || matches(bad, "Correct-Horse-9") {
			t.Errorf("%q parses", bad)
		}
	}
}

func TestCalibrate(t *testing.T) {
	n := calibrate()
	if n < minRounds || n > maxRounds {
		t.Errorf("%d rounds", n)
	}
	start := time.Now()
	seal.Stretch("x", make([]byte, saltSize), n)
	t.Logf("%d rounds take %v", n, time.Since(start))
}

func TestSourceKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "socket": "socket",
	} {
		if got := sourceKey(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(hash("x", 1000))
	f.Add("$pbkdf2-sha256$i=1000$$")
	f.Fuzz(func(t *testing.T, s string) {
		rounds, salt, want, err := parseHash(s)
		if err == nil && (rounds < 1000 || len(salt) < saltSize || len(want) != hashSize) {
			t.Errorf("%d, %x, %x", rounds, salt, want)
		}
	})
}
