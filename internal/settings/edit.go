package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// An Act is what happened to a camera, or to one field.
type Act string

// The acts.
const (
	Changed   Act = ""          // one field
	Added     Act = "added"     // a camera that was not there
	Removed   Act = "removed"   // its footage stays
	Restored  Act = "restored"  // a removed camera that is there again
	Forgotten Act = "forgotten" // a removed camera whose last footage is gone
)

// An edit is one difference between two versions of the settings, with what
// is needed to take it back. It is kept sealed and does not print: From and To may have
// passwords.
type edit struct {
	Camera media.CameraID `json:"camera,omitzero"` // zero: the recorder's own
	Name   string         `json:"name,omitempty"`  // of the camera
	Act    Act            `json:"act,omitempty"`
	// Field is a JSON pointer within the camera, or within the document, for Changed.
	Field string `json:"field,omitempty"`
	// From and To are the values, of the field or of the whole camera; nil: none.
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
	// Reach is to whom the passwords in From and To went.
	Reach *[2]Reach `json:"reach,omitempty"`
	// Lost: From and To are not kept any more, or not whole.
	Lost bool `json:"lost,omitempty"`
}

// Format prints no value, whatever the verb.
func (e edit) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "edit of "+e.Name+e.Field) }

// Fields that are not like others.
const (
	passwordField  = "/password"
	recordingField = "/recording"
	setUpField     = "/settingUp"
)

// edits lists what differs, the recorder's own first, then camera by camera.
func edits(old, now *Doc) (list []edit) {
	compare("", old.tree(), now.tree(), func(field string, from, to any) {
		list = append(list, edit{Field: field, From: raw(from), To: raw(to)})
	})
	for i := range now.Cameras {
		c := &now.Cameras[i]
		was := old.Camera(c.ID)
		whole := func(a Act, from, to any) {
			list = append(list, edit{Camera: c.ID, Name: c.Name, Act: a, From: raw(from), To: raw(to)})
		}
		switch {
		case was == nil:
			whole(Added, nil, c.tree())
		case c.Gone() && !was.Gone():
			whole(Removed, was.tree(), nil)
		case !c.Gone() && was.Gone():
			whole(Restored, nil, c.tree())
		default:
			compare("", was.tree(), c.tree(), func(field string, from, to any) {
				e := edit{Camera: c.ID, Name: c.Name, Field: field, From: raw(from), To: raw(to)}
				if field == passwordField {
					e.Reach = &[2]Reach{was.Reach(), c.Reach()}
				}
				list = append(list, e)
			})
		}
	}
	for _, c := range old.Cameras {
		if now.Camera(c.ID) == nil {
			list = append(list, edit{Camera: c.ID, Name: c.Name, Act: Forgotten})
		}
	}
	return list
}

// tree is the document as JSON has it, without its number and its cameras.
func (d *Doc) tree() map[string]any {
	t := treeOf(d)
	delete(t, "version")
	delete(t, "cameras")
	return t
}

// fromTree takes over all but number and cameras.
func (d *Doc) fromTree(t map[string]any) error {
	n := Doc{Version: d.Version, Cameras: d.Cameras}
	if err := fromTree(t, &n); err != nil {
		return err
	}
	*d = n
	return nil
}

// tree is the camera as JSON has it, and its password.
func (c *Camera) tree() map[string]any {
	t := treeOf(c)
	if !c.Password.IsZero() {
		t[passwordField[1:]] = c.Password.Reveal()
	}
	return t
}

func cameraOf(t map[string]any) (c Camera, err error) {
	t = maps.Clone(t)
	password, _ := t[passwordField[1:]].(string)
	delete(t, passwordField[1:])
	if err := fromTree(t, &c); err != nil {
		return c, err
	}
	c.Password = wire.NewSecret(password)
	if c.ID.IsZero() || len(c.Streams) == 0 {
		return c, errors.New("a camera without id or streams")
	}
	return c, nil
}

func treeOf(v any) (t map[string]any) {
	if err := unmarshal(raw(v), &t); err != nil {
		panic("settings: " + err.Error()) // it was marshalled a moment ago
	}
	return t
}

func fromTree(t map[string]any, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw(t)))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// raw is the one spelling of a value; nil is none.
func raw(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("settings: " + err.Error()) // plain structs, and what was JSON before
	}
	return b
}

func unmarshal(b json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(into)
}

func value(b json.RawMessage) (v any) {
	if b != nil {
		_ = unmarshal(b, &v) // nil then, which equals nothing that is there
	}
	return v
}

// compare tells of each field in which two trees differ, in order of their
// names. A switch of recording is one field: with it goes who switched it.
func compare(at string, from, to any, tell func(field string, from, to any)) {
	if bytes.Equal(raw(from), raw(to)) {
		return
	}
	a, isMap := from.(map[string]any)
	b, both := to.(map[string]any)
	if isMap && both && at != recordingField {
		names := map[string]bool{}
		for k := range a {
			names[k] = true
		}
		for k := range b {
			names[k] = true
		}
		for _, k := range slices.Sorted(maps.Keys(names)) {
			compare(at+"/"+k, a[k], b[k], tell)
		}
		return
	}
	x, isList := from.([]any)
	y, both := to.([]any)
	if isList && both {
		for i := range max(len(x), len(y)) {
			var p, q any
			if i < len(x) {
				p = x[i]
			}
			if i < len(y) {
				q = y[i]
			}
			compare(at+"/"+strconv.Itoa(i), p, q, tell)
		}
		return
	}
	tell(at, from, to)
}

// get returns the value of a field; nil when there is none.
func get(tree any, field string) any {
	for _, step := range strings.Split(field, "/")[1:] {
		switch t := tree.(type) {
		case map[string]any:
			tree = t[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(t) {
				return nil
			}
			tree = t[i]
		default:
			return nil
		}
	}
	return tree
}

// put returns the tree with another value of a field; nil takes it away. Of a
// list only the last element goes, and only one comes.
func put(tree any, path []string, v any) (any, error) {
	if len(path) == 0 {
		return v, nil
	}
	switch t := tree.(type) {
	case map[string]any:
		child, err := put(t[path[0]], path[1:], v)
		if err != nil {
			return nil, err
		}
		if child == nil {
			delete(t, path[0])
		} else {
			t[path[0]] = child
		}
		return t, nil
	case []any:
		i, err := strconv.Atoi(path[0])
		switch {
		case err != nil || i < 0 || i > len(t):
		case i == len(t) && v != nil && len(path) == 1:
			return append(t, v), nil
		case i == len(t)-1 && v == nil && len(path) == 1:
			return t[:i], nil
		case i < len(t) && (v != nil || len(path) > 1):
			t[i], err = put(t[i], path[1:], v)
			return t, err
		}
	}
	return nil, fmt.Errorf("no place for %s", path[0])
}

// A Reach is to whom a camera's password goes, and how openly.
type Reach struct {
	User  string    `json:"user"`
	Hosts []string  `json:"hosts"`
	Link  wire.Link `json:"link"`
	Basic bool      `json:"basic,omitempty"`
}

// Reach returns to whom the camera's password goes.
func (c *Camera) Reach() Reach {
	r := Reach{User: c.User, Link: c.Link, Basic: c.BasicAuth}
	for _, s := range c.Streams {
		host := ""
		if u, err := url.Parse(s.URL); err == nil {
			host = strings.ToLower(u.Hostname())
		}
		r.Hosts = append(r.Hosts, host)
	}
	return r
}

// Within tells whether a password that was for old now goes to nobody else and
// no more openly: then it may be used without being entered again.
//
//vigil:clause 5.2.4.1
func (r Reach) Within(old Reach) bool {
	if r.User != old.User || r.Link != old.Link && (r.Link == wire.LinkPlain || r.Link == wire.LinkInsecure) || r.Basic && !old.Basic {
		return false
	}
	for _, h := range r.Hosts {
		if !slices.Contains(old.Hosts, h) {
			return false
		}
	}
	return true
}
