package web

import (
	"fmt"

	"vigil/internal/fmp4"
	"vigil/internal/media"
)

// playable drops the sound that no browser plays in MP4 (G.711): with it the
// browser would refuse the pictures too. Pictures stay whatever they are.
func playable(tracks []media.Track) (out []media.Track) {
	for _, t := range tracks {
		if t.Codec.Video() || t.Codecs != "" {
			out = append(out, t)
		}
	}
	return out
}

// A cut is fragments on their way to a browser: as they are, or without the
// sound that it would choke on. Stored footage and exports keep all.
type cut struct {
	tracks []media.Track
	init   []byte
	muted  string // codec that was left out; empty: none, fragments pass as they are

	keep   *media.Tracks
	number [media.MaxTracks + 1]uint8 // new number by old one; 0: left out
	parsed fmp4.Fragment
}

func newCut(tracks []media.Track, init []byte) (*cut, error) {
	keep := playable(tracks)
	if len(keep) == len(tracks) {
		return &cut{tracks: tracks, init: init}, nil
	}
	c := &cut{tracks: keep}
	for i, t := range keep { // numbers rise from 1 without holes
		c.number[t.Number] = uint8(i + 1)
		keep[i].Number = uint8(i + 1)
	}
	for _, t := range tracks {
		if c.number[t.Number] == 0 {
			c.muted = t.Codec.String()
		}
	}
	var err error
	if c.init, err = fmp4.Init(keep); err != nil {
		return nil, fmt.Errorf("leave sound out: %w", err)
	}
	c.keep = &media.Tracks{List: keep, Init: c.init}
	return c, nil
}

// fragment sends one fragment.
func (c *cut) fragment(b []byte, send func([]byte) error) error {
	if c.muted == "" {
		return send(b)
	}
	if err := c.parsed.Parse(b); err != nil {
		return fmt.Errorf("leave sound out: %w", err)
	}
	size := 0
	for _, p := range c.parsed.Parts {
		if c.number[p.Track] == 0 {
			continue
		}
		for _, s := range p.Samples {
			size += s.Size
		}
	}
	if size == 0 {
		return nil // nothing but that sound
	}
	batch := media.NewBatch(size)
	defer batch.Release()
	batch.Tracks = c.keep
	payload := batch.Payload()
	camera := int64(0)
	for _, p := range c.parsed.Parts {
		number := c.number[p.Track]
		if number == 0 {
			continue
		}
		for _, s := range p.Samples {
			n := copy(payload, b[s.Offset:s.Offset+s.Size])
			if c.parsed.Told {
				camera = s.DTS.Time().UnixNano() + c.parsed.Ahead
			}
			batch.Units = append(batch.Units, media.Unit{Track: number, RandomAccess: s.Sync, DTS: s.DTS, CTO: s.CTO, Arrived: s.DTS.Time().UnixNano(), Camera: camera, Data: payload[:n:n]})
			payload = payload[n:]
		}
	}
	if err := fmp4.Frame(batch); err != nil {
		return fmt.Errorf("leave sound out: %w", err)
	}
	return send(batch.Fragment)
}
