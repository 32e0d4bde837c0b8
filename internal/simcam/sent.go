package simcam

import "time"

// Sent is one picture that a camera sent.
type Sent struct {
	Number  uint64 `json:"n"`       // as in the mark
	At      int64  `json:"t"`       // when, ms since the Unix epoch, as in the mark
	Clock   int64  `json:"clock"`   // what its burnt-in clock shows, ms since the start of the minute; -1 without
	Stamp   uint32 `json:"stamp"`   // RTP
	Key     bool   `json:"key"`     //
	Bytes   int    `json:"bytes"`   // of its NAL units or JPEG
	Packets int    `json:"packets"` //
	Dropped int    `json:"dropped"` // packets of it that a fault kept back
	Readers int    `json:"readers"` // sessions playing the path; 0: nobody could have it
}

// Counters are the totals of a path since the camera was started.
type Counters struct {
	Path        string `json:"path"`
	Source      string `json:"source"`
	Pictures    uint64 `json:"pictures"`
	KeyPictures uint64 `json:"keyPictures"`
	Sounds      uint64 `json:"sounds"`
	Packets     uint64 `json:"packets"` // of pictures, whether or not somebody read
	Bytes       uint64 `json:"bytes"`   // of pictures
	Dropped     uint64 `json:"dropped"` // packets kept back by a fault
	Late        uint64 `json:"late"`    // packets a reader was too slow for: its loss, not the camera's
	Skipped     uint64 `json:"skipped"` // times the machine was too slow and the camera jumped to a key picture
	Plays       uint64 `json:"plays"`   // PLAY requests answered
	Readers     int    `json:"readers"` // now
}

// sentLog remembers for a time.
type sentLog struct {
	keep time.Duration
	list []Sent
}

func (l *sentLog) add(s Sent) {
	if len(l.list) == cap(l.list) { // make room before growing
		old := 0
		for old < len(l.list) && l.list[old].At < s.At-l.keep.Milliseconds() {
			old++
		}
		l.list = append(l.list[:0], l.list[old:]...)
	}
	l.list = append(l.list, s)
}

// Sent returns the pictures from a number on that were sent within
// Config.Keep, in order.
func (f *Feed) Sent(from uint64) []Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.sent.list
	oldest := time.Now().Add(-f.sent.keep).UnixMilli()
	for len(l) > 0 && (l[0].Number < from || l[0].At < oldest) {
		l = l[1:]
	}
	return append([]Sent(nil), l...)
}

// Counters returns the totals.
func (f *Feed) Counters() Counters {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.count
	c.Late, c.Readers = f.late.Load(), len(f.readers)
	return c
}
