package web

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// spelled refuses what encoding/json lets pass in a body: a field that stands
// twice, of which only the last would count, and one in other capitals than the
// document's. Somebody who reads the request on its way must see what we see.
//
//vigil:clause 5.2.6.1
func spelled(b []byte, into any) error {
	known := map[string]bool{}
	fields(reflect.TypeOf(into), known)
	var wrong error
	seen := map[string]bool{}
	walk(b, func(at, name string, _ int64) bool {
		switch {
		case name == "":
			return true
		case !known[name]:
			wrong = mistake(at, "unknown-field")
		case seen[at]:
			wrong = mistake(at, "field-twice")
		}
		seen[at] = true
		return wrong == nil
	})
	return wrong
}

// fields adds the names of all fields of a type, and of the types in it.
func fields(t reflect.Type, names map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		fields(t.Elem(), names)
	case reflect.Struct:
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				names[name] = true
			}
			fields(f.Type, names)
		}
	}
}

// fieldAt is the JSON pointer (RFC 6901) of the value that ends, or whose
// bracket stands, before an offset: where encoding/json says that a type is wrong.
func fieldAt(b []byte, offset int64) (pointer string) {
	walk(b, func(at, name string, end int64) bool {
		if name != "" || end < offset {
			return true
		}
		pointer = at
		return false
	})
	return pointer
}

// fieldOf is the JSON pointer of the first field of a name.
func fieldOf(b []byte, name string) (pointer string) {
	walk(b, func(at, field string, _ int64) bool {
		if field != name {
			return true
		}
		pointer = at
		return false
	})
	return pointer
}

// walk calls see for each field (with its name) and each value (without), in
// the order of the text, until it returns false. end is the offset behind it, or
// behind its bracket. The text has been decoded before: it is
// JSON, and no deeper than our types.
func walk(b []byte, see func(pointer, field string, end int64) bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	var value func(at string) bool
	value = func(at string) bool {
		t, err := d.Token()
		open, bracket := t.(json.Delim)
		if err != nil || !see(at, "", d.InputOffset()) {
			return false
		}
		for i := 0; bracket && d.More(); i++ {
			next := at + "/" + strconv.Itoa(i)
			if open == '{' {
				t, err := d.Token()
				name, ok := t.(string)
				next = at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
				if err != nil || !ok || !see(next, name, d.InputOffset()) {
					return false
				}
			}
			if !value(next) {
				return false
			}
		}
		if bracket {
			_, err = d.Token()
		}
		return err == nil
	}
	value("")
}
