package app

import (
	"testing"

	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// TestWhyLost wants a reason that the page has words for, whatever is known,
// and no alarm while a camera only waits for its next key picture.
func TestWhyLost(t *testing.T) {
	for _, n := range []wire.Note{{}, {Code: "stream-stopped", Args: map[string]string{"seconds": "11"}}, {Code: "waiting-for-key-frame"}} {
		args := whyLost(n)
		if !text.Has("camera." + args["why"]) {
			t.Errorf("%v: no text for %q", n, args["why"])
		}
		for k, v := range n.Args {
			if args[k] != v {
				t.Errorf("%v: %s is %q", n, k, args[k])
			}
		}
	}
	if !(patience("stream-stopped") < patience("") && patience("") < patience("waiting-for-key-frame")) {
		t.Error("a known reason must be told first, and a late key picture last")
	}
}
