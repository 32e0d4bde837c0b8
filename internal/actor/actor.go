// Package actor has the words for who did something, as the audit log wants
// them: never empty, never ambiguous.
package actor

import "strings"

// A Kind is a sort of actor.
type Kind string

// The kinds.
const (
	Person  Kind = "person"  // an account, signed in
	Console Kind = "console" // a process of the same user on this machine, through the control socket
	System  Kind = "system"  // Vigil itself
	Nobody  Kind = "nobody"  // not signed in: set-up, a failed sign-in
)

// An Actor is who did something. For work that Vigil does by itself, ArmedBy
// names the account that last switched that work on (clause 5.2.7.2).
type Actor struct {
	Kind    Kind   `json:"kind"`
	Name    string `json:"name"`              // account name, "uid 0", or the part of Vigil: "recorder"
	ArmedBy string `json:"armedBy,omitempty"` // for System
	Source  string `json:"source,omitempty"`  // address it came from
	Session string `json:"session,omitempty"` // public id of the session, never the secret
}

// Of returns the system principal for a part of Vigil.
func Of(part, armedBy string) Actor { return Actor{Kind: System, Name: part, ArmedBy: armedBy} }

// String is for logs and lists: "system recorder (armed by amy)".
func (a Actor) String() string {
	var b strings.Builder
	b.WriteString(string(a.Kind))
	b.WriteByte(' ')
	b.WriteString(a.Name)
	if a.ArmedBy != "" {
		b.WriteString(" (armed by " + a.ArmedBy + ")")
	}
	return b.String()
}
