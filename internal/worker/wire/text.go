package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes anything, a camera's words above all, into text that keeps the
// bounds: at most n bytes of printable UTF-8. What does not print becomes the
// replacement character, so that nothing can forge a line of a log or turn the
// direction of writing on a page.
func Clean(s string, n int) string {
	if len(s) <= n && printable(s) {
		return s
	}
	s = s[:min(len(s), 4*n)] // an endless string costs no more than a long one
	var b strings.Builder
	for _, r := range s {
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		if b.Len()+utf8.RuneLen(r) > n {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Clean makes the arguments of a note keep the bounds; the code stays.
func (n Note) Clean() Note {
	if len(n.Args) == 0 {
		return n
	}
	args := make(map[string]string, min(len(n.Args), 12))
	for k, v := range n.Args {
		if code(k) && len(args) < 12 {
			args[k] = Clean(v, 512)
		}
	}
	return Note{n.Code, args}
}

// printable tells whether every rune prints.
func printable(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false // not UTF-8
			}
		}
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func text(s string, most int) bool { return len(s) <= most && printable(s) }

// code tells whether s is a word of ours: 1 to 64 of a-z, A-Z, 0-9, hyphen.
func code(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 64
}
