package auth

import (
	_ "embed"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"vigil/internal/text"
)

// Rules say what a password must be. They are the same on every way in: the
// page, the API, set-up, the console. The values are floors of this program; nothing
// lowers them.
type Rules struct {
	MinLength int // characters
	MaxLength int // bytes of UTF-8, after normalisation
	Classes   int // of four: small letters, capitals, digits, all else
	History   int // old passwords that are refused
}

// rules are the ones for every account: all are administrators' so far.
var rules = Rules{MinLength: 12, MaxLength: 1024, Classes: 3, History: 5}

// common has passwords that people choose, commonest first, one a line; see
// common.LICENSE.
//
//go:embed common.txt
var common string

// local are words that people near a recorder take.
const local = "\nvigil\nvigilnvr\nrecorder\nvideorecorder\nsecurity\nsurveillance\nadministrator\ncamera\ncameras\ncamerasystem\nhikvision\ndahua\nvivotek\naxis\n" +
	"taiwan\ntaipei\nkaohsiung\ntaichung\npassword\npassphrase\nwelcome\nletmein\nchangeme\nmima\nmimamima\nguanliyuan\nqwertyuiopasdfghjklzxcvbnm\n"

// normalise makes the same characters the same bytes, however a keyboard
// composes them (NFKC, as NIST SP 800-63B asks).
func normalise(password string) string { return norm.NFKC.String(password) }

// NewPassphrase checks what somebody chose to seal something with against the
// rules for passwords, and returns it as Passphrase does.
// The error is text.Mistakes for the field.
//
//vigil:clause 5.4.2.1
func NewPassphrase(field, account, passphrase string) (string, error) {
	var m text.Mistakes
	passphrase = normalise(passphrase)
	check(&m, field, account, passphrase)
	return passphrase, m.Err()
}

// Passphrase returns one that was chosen before in the same form; what is too long
// for any is cut.
func Passphrase(passphrase string) string {
	return normalise(passphrase[:min(len(passphrase), 4*rules.MaxLength)])
}

// check adds what is wrong with a password, already normalised, for an account
// of that name.
//
//vigil:clause 5.4.2.1
func check(m *text.Mistakes, field, name, password string) {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		m.Add(field, "password-characters")
		return
	case n < rules.MinLength:
		m.Add(field, "password-short", "min", strconv.Itoa(rules.MinLength))
	case len(password) > rules.MaxLength:
		m.Add(field, "password-long", "max", strconv.Itoa(rules.MaxLength))
	}
	if classes(password) < rules.Classes {
		m.Add(field, "password-simple", "classes", strconv.Itoa(rules.Classes))
	}
	low := strings.ToLower(password)
	if utf8.RuneCountInString(name) >= 3 && strings.Contains(low, strings.ToLower(name)) {
		m.Add(field, "password-has-name")
	}
	if guessable(low) {
		m.Add(field, "password-common")
	}
}

func classes(s string) (n int) {
	var small, capital, digit, other bool
	for _, r := range s {
		switch {
		case unicode.IsLower(r):
			small = true
		case unicode.IsUpper(r):
			capital = true
		case unicode.IsDigit(r):
			digit = true
		default:
			other = true
		}
	}
	for _, has := range []bool{small, capital, digit, other} {
		if has {
			n++
		}
	}
	return n
}

// leet are the signs that people write for letters.
var leet = strings.NewReplacer("0", "o", "1", "i", "!", "i", "3", "e", "4", "a", "@", "a", "5", "s", "$", "s", "7", "t", "8", "b", "9", "g")

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, s)
}

// guessable tells whether a password in small letters is one that guessing
// programs try early: a common one, a common word with digits and signs around it or for its
// letters ("P@ssw0rd-2026"), a run ("abcdefg1234567"), or few different characters.
func guessable(low string) bool {
	trimmed := strings.TrimFunc(low, func(r rune) bool { return !unicode.IsLetter(r) })
	for _, w := range []string{low, letters(low), letters(leet.Replace(low)), letters(leet.Replace(trimmed))} {
		if known(w) {
			return true
		}
	}
	different := map[rune]bool{}
	steps, total := 0, 0
	var last rune
	for _, r := range low {
		different[r] = true
		if d := r - last; total > 0 && d >= -1 && d <= 1 {
			steps++
		}
		last = r
		total++
	}
	return len(different) < 5 || 4*steps >= 3*(total-1)
}

func known(w string) bool {
	if len(w) < 4 || strings.Contains(w, "\n") {
		return false
	}
	return strings.Contains(local, "\n"+w+"\n") || strings.HasPrefix(common, w+"\n") || strings.Contains(common, "\n"+w+"\n")
}

// maxName bounds an account's name in bytes.
const maxName = 64

// checkName adds what is wrong with an account's name: letters and digits of
// any script, and ". _ - @" between them.
func checkName(m *text.Mistakes, field, name string) {
	ok := name != "" && len(name) <= maxName && utf8.ValidString(name) && norm.NFKC.IsNormalString(name)
	for i, r := range name {
		inner := i > 0 && i < len(name)-1
		ok = ok && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) && i > 0 || inner && strings.ContainsRune("._-@", r))
	}
	if !ok {
		m.Add(field, "name-characters", "max", strconv.Itoa(maxName))
	}
}

// fold is what names are compared by.
func fold(name string) string { return strings.ToLower(norm.NFKC.String(name)) }
