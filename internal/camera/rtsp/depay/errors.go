package depay

// An Error is a fault of a camera's packets. The codes are few, so that one of
// each can be logged per connection.
type Error struct {
	Code   string // "short-packet", "fragment-without-start", "unsupported-packet", "unit-too-big", ...
	Detail string // for developers; may be empty
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return "depacketize: " + e.Code
	}
	return "depacketize: " + e.Code + ": " + e.Detail
}
