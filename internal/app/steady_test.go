package app

import (
	"testing"
	"time"

	"vigil/internal/live"
	"vigil/internal/worker/wire"
)

// TestSteadiness plays ten minutes of a camera of 25 pictures a second, a
// letter a second over and over: p pictures come, o they do not, l half of them are lost, r they come again after less than a second,
// m the recorder misses them.
func TestSteadiness(t *testing.T) {
	for _, c := range []struct {
		why, minute string
		times       int // over ten minutes, that a person is told
		at          int // s, of the first time at the latest
	}{
		{"steady", "p", 0, 0},
		{"never there", "o", 0, 0},
		{"starts anew every 9 s", "pppppppppooo", 1, 40},
		{"a stall every quarter of a minute", "ppppoooooooooooo", 1, 60},
		{"a picture lost now and then", "ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppl", 0, 0},
		{"a connection for half a minute", "rppppppppppppppppppppppppppppp", 1, 100},
		{"every sixth second is bad", "pppppl", 1, 20},
		{"begins anew all the time", "ppmmm", 1, 20},
	} {
		var s steadiness
		var st live.State
		missed := uint64(0)
		told, first, was := 0, 0, false
		for i := range 600 {
			switch c.minute[i%len(c.minute)] {
			case 'm':
				st.State, st.Pictures, missed = wire.Live, st.Pictures+25, missed+25
			case 'r':
				st.State, st.Since = wire.Live, time.Unix(int64(i), 0)
			case 'p':
				st.State, st.Pictures = wire.Live, st.Pictures+25
			case 'l':
				st.State, st.Pictures, st.Lost = wire.Live, st.Pictures+13, st.Lost+12
			case 'o':
				st.State = wire.Waiting
			}
			is := s.look(st, missed) != nil
			if is && !was {
				if told++; told == 1 {
					first = i
				}
			}
			was = is
		}
		if told != c.times || first > c.at {
			t.Errorf("%s: told %d times, first after %d s", c.why, told, first)
		}
		for range steadySpan + 1 { // all is well again
			st.State, st.Pictures = wire.Live, st.Pictures+25
			was = s.look(st, missed) != nil
		}
		if was {
			t.Errorf("%s: told for ever", c.why)
		}
	}
	var s steadiness // restarted once by an operator
	for i := range 300 {
		st := live.State{Status: wire.Status{State: wire.Live}, Pictures: uint64(25 * i)}
		if i > 30 && i < 75 || i == 80 {
			st.State = wire.Waiting
		}
		if s.look(st, 0) != nil {
			t.Fatalf("a restart is told after %d s", i)
		}
	}
}
