package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/media"
)

// A change is what one audit record tells: one camera's, or the recorder's.
type change struct {
	action audit.Action
	camera media.CameraID
	object string
	detail map[string]string // JSON pointer: "old -> new"
}

// The actions of this package in the audit log, besides those of audit.
const (
	recordingOn  audit.Action = "recording.on"
	recordingOff audit.Action = "recording.off"
	cameraForget audit.Action = "camera.forget" // its last footage is gone
)

// Bounds of a record, within those of audit.
const (
	maxDetail = 24
	maxValue  = 200
)

func (c change) record(by actor.Actor, at time.Time, result audit.Result, reason string) audit.Record {
	return audit.Record{At: at, Actor: by, Action: c.action, Object: c.object, Camera: c.camera, Result: result, Reason: reason, Detail: c.detail}
}

// diff lists what differs, secrets masked. Switching recording is a record of
// its own: it arms.
func diff(old, now *Doc) (list []change) {
	was, is := *old, *now
	was.Cameras, is.Cameras, was.Version, is.Version = nil, nil, 0, 0
	if d := compare(was, is); len(d) > 0 {
		list = append(list, change{action: audit.SettingsChange, object: "settings", detail: d})
	}
	for i := range now.Cameras {
		c := &now.Cameras[i]
		before := old.Camera(c.ID)
		switch {
		case before == nil:
			list = append(list, change{audit.CameraAdd, c.ID, c.Name, compare(nil, *c)})
			if c.Recording.On {
				list = append(list, change{recordingOn, c.ID, c.Name, nil})
			}
			continue
		case c.Gone() && !before.Gone():
			list = append(list, change{audit.CameraRemove, c.ID, c.Name, nil})
			continue
		}
		was, is := *before, *c
		was.Recording, is.Recording = Recording{}, Recording{}
		d := compare(was, is)
		if was.Password != is.Password {
			d["/password"] = "changed"
		}
		if len(d) > 0 {
			list = append(list, change{audit.CameraChange, c.ID, c.Name, d})
		}
		if c.Recording != before.Recording {
			action := recordingOff
			if c.Recording.On {
				action = recordingOn
			}
			list = append(list, change{action, c.ID, c.Name, nil})
		}
	}
	for _, c := range old.Cameras {
		if now.Camera(c.ID) == nil {
			list = append(list, change{cameraForget, c.ID, c.Name, nil})
		}
	}
	return list
}

// compare returns the fields of two values that differ.
func compare(old, now any) map[string]string {
	was, is := flat(old), flat(now)
	d := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(is)) {
		if was[k] != is[k] {
			d[k] = was[k] + " -> " + is[k]
		}
	}
	for _, k := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[k]; !ok {
			d[k] = was[k] + " -> "
		}
	}
	if len(d) > maxDetail {
		for _, k := range slices.Sorted(maps.Keys(d))[maxDetail:] {
			delete(d, k)
		}
	}
	return d
}

// flat turns a value into its leaves by JSON pointer. Passwords do not
// marshal, so they cannot be among them.
func flat(v any) map[string]string {
	out := map[string]string{}
	b, err := json.Marshal(v)
	if err != nil {
		panic("settings: " + err.Error()) // plain structs
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		panic("settings: " + err.Error())
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			for k, x := range v {
				walk(at+"/"+k, x)
			}
		case []any:
			for i, x := range v {
				walk(at+"/"+strconv.Itoa(i), x)
			}
		default:
			s := fmt.Sprint(v)
			if strings.HasSuffix(at, "/url") {
				s, _, _ = strings.Cut(s, "?") // some cameras take a token there
			}
			for len(s) > maxValue || !utf8.ValidString(s) {
				s = s[:min(len(s)-1, maxValue)]
			}
			out[at] = s
		}
	}
	walk("", tree)
	return out
}
