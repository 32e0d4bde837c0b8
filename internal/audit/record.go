package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"vigil/internal/actor"
	"vigil/internal/media"
)

// An Action is what was done or tried. The texts are part of the format and
// of the API.
type Action string

// The actions that several parts write; a part may have more of its own.
const (
	SegmentOpen    Action = "segment.open"
	SegmentClose   Action = "segment.close"
	SegmentFail    Action = "segment.fail"
	SegmentRecover Action = "segment.recover"
	SegmentAdopt   Action = "segment.adopt"
	SegmentRemove  Action = "segment.remove"
	SegmentRepair  Action = "segment.repair"
	SegmentHold    Action = "segment.hold"
	SignIn         Action = "signin"
	SignOut        Action = "signout"
	Lockout        Action = "signin.lockout"
	ViewLive       Action = "view.live"
	ViewPlay       Action = "view.play"
	Export         Action = "export"
	SettingsChange Action = "settings.change"
	CameraAdd      Action = "camera.add"
	CameraRemove   Action = "camera.remove"
	CameraChange   Action = "camera.change"
	AccountAdd     Action = "account.add"
	AccountRemove  Action = "account.remove"
	AccountChange  Action = "account.change"
	VolumeState    Action = "volume.state"
	ClockStep      Action = "clock.step"
	KeyUse         Action = "key.use"
	LogRead        Action = "audit.read"
	LogVerify      Action = "audit.verify"
	LogPrune       Action = "audit.prune"
	LogLost        Action = "audit.lost"
	AlertRaise     Action = "alert.raise"
	AlertClear     Action = "alert.clear"
	AlertAck       Action = "alert.acknowledge"
	Start          Action = "start"
	Stop           Action = "stop"
)

// A Result is how it ended.
type Result string

// The results.
const (
	OK     Result = "ok"
	Failed Result = "failed" // it was allowed and did not work
	Denied Result = "denied" // it was not allowed
)

// A Record is one security event. What goes in is cleaned: see Log.Record.
type Record struct {
	At     time.Time         // UTC, to the ns; set by Log.Record when zero
	Seq    uint64            // from 1, without holes; set by Log.Record
	Clock  string            // "synchronised", "free", ...; set by Log.Record when empty
	Actor  actor.Actor       // never empty
	Action Action            //
	Object string            // what it was done to: an id, a name
	Camera media.CameraID    // zero: of no camera
	Result Result            // OK when empty
	Reason string            // code of the reason, for Failed and Denied
	Detail map[string]string // sizes, times, digests; never secrets
}

// Bounds of a record's texts, in bytes.
const (
	maxName   = 128
	maxText   = 256
	maxDetail = 24 // entries
	maxValue  = 512
	maxRecord = 32 << 10 // encoded
)

// timeForm is RFC 3339 with all nine digits, so that it sorts.
const timeForm = "2006-01-02T15:04:05.000000000Z"

// Clean makes text safe for any list, terminal or file that shows it: valid
// UTF-8 without control characters, line breaks, or marks that turn the direction
// of writing, which appear escaped; at most most bytes.
//
//vigil:clause 5.2.7.1
func Clean(s string, most int) string {
	var b strings.Builder
	for _, r := range s { // an invalid byte comes as U+FFFD
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		if b.Len() > most {
			break
		}
	}
	s = b.String()
	if len(s) > most {
		cut := most - len("…")
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

// cleaned returns the record as it will be kept. A record without an actor is
// a fault of ours, and no reason to lose the event: it is kept under a name that
// says so. What Vigil does to video files by itself names who armed it.
//
//vigil:clause 5.2.7.2
func (r Record) cleaned() Record {
	r.At = r.At.Round(0).UTC()
	a := &r.Actor
	a.Name, a.ArmedBy = Clean(a.Name, maxName), Clean(a.ArmedBy, maxName)
	a.Source, a.Session = Clean(a.Source, maxName), Clean(a.Session, maxName)
	switch a.Kind {
	case actor.Person, actor.Console, actor.System, actor.Nobody:
	default:
		a.Kind = actor.Nobody
	}
	if strings.TrimSpace(a.Name) == "" {
		a.Name = "unknown"
	}
	if a.Kind == actor.System && a.ArmedBy == "" && strings.HasPrefix(string(r.Action), "segment.") {
		a.ArmedBy = "unknown"
	}
	r.Action = Action(Clean(string(r.Action), maxName))
	if r.Action == "" {
		r.Action = "unknown"
	}
	r.Clock = Clean(r.Clock, maxName)
	r.Object, r.Reason = Clean(r.Object, maxText), Clean(r.Reason, maxText)
	if r.Result != Failed && r.Result != Denied {
		r.Result = OK
	}
	if len(r.Detail) == 0 {
		r.Detail = nil
		return r
	}
	d := make(map[string]string, min(len(r.Detail), maxDetail))
	for _, k := range slices.Sorted(maps.Keys(r.Detail)) {
		if len(d) == maxDetail {
			break
		}
		d[Clean(k, maxName)] = Clean(r.Detail[k], maxValue)
	}
	r.Detail = d
	return r
}

// line is a Record as it is kept: one line of JSON, keys in this order.
type line struct {
	Seq     uint64            `json:"seq"`
	At      string            `json:"at"`
	Clock   string            `json:"clock,omitempty"`
	Kind    actor.Kind        `json:"kind"`
	Name    string            `json:"name"`
	ArmedBy string            `json:"armedBy,omitempty"`
	Source  string            `json:"source,omitempty"`
	Session string            `json:"session,omitempty"`
	Action  Action            `json:"action"`
	Object  string            `json:"object,omitempty"`
	Camera  string            `json:"camera,omitempty"`
	Result  Result            `json:"result"`
	Reason  string            `json:"reason,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
}

// ErrRecord is returned for bytes that are not a record.
var ErrRecord = errors.New("not an audit record")

// AppendJSON appends the record as one line of JSON, without the line break:
// the form it is kept and exported in. Append and Parse are inverses.
func (r Record) AppendJSON(b []byte) []byte {
	l := line{r.Seq, r.At.UTC().Format(timeForm), r.Clock, r.Actor.Kind, r.Actor.Name, r.Actor.ArmedBy, r.Actor.Source, r.Actor.Session,
		r.Action, r.Object, "", r.Result, r.Reason, r.Detail}
	if !r.Camera.IsZero() {
		l.Camera = r.Camera.String()
	}
	out, err := json.Marshal(l)
	if err != nil {
		panic("audit: texts do not marshal: " + err.Error()) // texts always do
	}
	return append(b, out...)
}

// ParseRecord reads what AppendJSON wrote and nothing else.
func ParseRecord(b []byte) (r Record, err error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil || len(b) > maxRecord {
		return r, ErrRecord
	}
	if _, err := d.Token(); err != io.EOF {
		return r, ErrRecord
	}
	r = Record{Seq: l.Seq, Clock: l.Clock, Actor: actor.Actor{Kind: l.Kind, Name: l.Name, ArmedBy: l.ArmedBy, Source: l.Source, Session: l.Session},
		Action: l.Action, Object: l.Object, Result: l.Result, Reason: l.Reason, Detail: l.Detail}
	if r.At, err = time.Parse(timeForm, l.At); err != nil {
		return r, fmt.Errorf("%w: time", ErrRecord)
	}
	if l.Camera != "" {
		if err = r.Camera.UnmarshalText([]byte(l.Camera)); err != nil {
			return r, fmt.Errorf("%w: camera", ErrRecord)
		}
	}
	if !bytes.Equal(r.AppendJSON(nil), b) {
		return r, fmt.Errorf("%w: not in the one spelling", ErrRecord)
	}
	return r, nil
}
