// Package text has all that Vigil's core says to people, in the languages of
// Vigil: one file each, complete in both. The parts of Vigil speak in codes with
// arguments; web, alerts and the command line say them through here. The page
// has its own texts.
package text

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Lang is a language that Vigil speaks.
type Lang string

// The languages. English is what is left when nothing else is asked for.
const (
	English Lang = "en"
	Chinese Lang = "zh-TW"
)

// Langs lists them.
var Langs = []Lang{Chinese, English}

// Valid tells whether Vigil speaks it.
func (l Lang) Valid() bool { return slices.Contains(Langs, l) }

//go:embed messages/en.json messages/zh-TW.json
var files embed.FS

var messages = map[Lang]map[string]string{English: load(English), Chinese: load(Chinese)}

func load(l Lang) (m map[string]string) {
	b, err := files.ReadFile("messages/" + string(l) + ".json")
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic("text: " + err.Error()) // embedded, and read by every test
	}
	return m
}

// Get returns the text with a key, {names} filled in from args. A key that is
// not there becomes the text "unknown" with the key as argument: what a part of Vigil
// reports is shown even if nobody wrote a sentence for it.
func Get(l Lang, key string, args map[string]string) string {
	m := messages[l]
	if m == nil {
		m = messages[English]
	}
	s, ok := m[key]
	if !ok {
		s, args = m["unknown"], map[string]string{"code": key}
	}
	if !strings.Contains(s, "{") {
		return s
	}
	return fill(s, args)
}

// fill replaces each {name} once, from left to right: an argument with braces
// in it stays as it is.
func fill(s string, args map[string]string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return b.String() + "{" + rest
		}
		if v, ok := args[name]; ok {
			b.WriteString(v)
		} else {
			b.WriteString("?")
		}
		s = after
	}
}

// Has tells whether there is a text with that key.
func Has(key string) bool { _, ok := messages[English][key]; return ok }

// Keys lists the keys, sorted.
func Keys() []string { return slices.Sorted(maps.Keys(messages[English])) }

// Choose reads an Accept-Language header (RFC 9110, 12.5.4): the language of
// ours that it wants most, English when it wants none.
func Choose(header string) Lang {
	best, weight := English, 0.0
	for i, part := range strings.Split(header, ",") {
		if i == 32 {
			break
		}
		tag, params, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64)
		}
		l := of(strings.ToLower(strings.TrimSpace(tag)))
		if l != "" && q > weight {
			best, weight = l, q
		}
	}
	return best
}

func of(tag string) Lang {
	switch {
	case tag == "zh" || strings.HasPrefix(tag, "zh-"):
		return Chinese
	case tag == "en" || strings.HasPrefix(tag, "en-"):
		return English
	}
	return ""
}

// A Note is a fact with arguments, to be said in any language.
type Note struct {
	Code string            `json:"code"`
	Args map[string]string `json:"args,omitempty"`
}

// A Mistake is something wrong with what a person entered.
type Mistake struct {
	Field string // JSON pointer (RFC 6901): "/streams/0/url"
	Note
}

// Mistakes are all of them, so that they are corrected in one go. As an error
// it is for logs; people read the texts.
type Mistakes []Mistake

// Add notes a mistake. Args are names and values, in turn.
func (m *Mistakes) Add(field, code string, args ...string) {
	n := Note{Code: code}
	for i := 0; i+1 < len(args); i += 2 {
		if n.Args == nil {
			n.Args = map[string]string{}
		}
		n.Args[args[i]] = args[i+1]
	}
	*m = append(*m, Mistake{field, n})
}

// Err is nil when there are none.
func (m Mistakes) Err() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

// Error lists fields and codes, and nothing that was entered.
func (m Mistakes) Error() string {
	parts := make([]string, len(m))
	for i, x := range m {
		parts[i] = fmt.Sprintf("%s: %s", x.Field, x.Code)
	}
	return strings.Join(parts, "; ")
}

// A Failure is an error that a person must do something about: its text says
// what it is about and what helps. Wrapped is the cause, for whom it helps.
type Failure struct {
	Note
	Cause error // may be nil
}

// Fail makes a Failure; args are names and values, in turn.
func Fail(cause error, code string, args ...string) error {
	var m Mistakes
	m.Add("", code, args...)
	return &Failure{m[0].Note, cause}
}

// Error is the text in English, with the cause.
func (f *Failure) Error() string { return Explain(English, f) }

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// Explain says an error in a language, as far as it is one of ours.
func Explain(l Lang, err error) string {
	var f *Failure
	if !errors.As(err, &f) {
		return err.Error()
	}
	s := Get(l, f.Code, f.Args)
	if f.Cause != nil {
		s += " (" + f.Cause.Error() + ")"
	}
	return s
}

// Printable tells whether text can be shown as it is: valid, and no character
// that breaks a line or turns the direction of writing.
func Printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
