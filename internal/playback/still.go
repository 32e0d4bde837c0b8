package playback

import (
	"context"
	"errors"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// A Still is the picture of an instant: the last one not after it that can be
// decoded by itself.
type Still struct {
	Stream  media.StreamID
	Segment media.SegmentID
	At      media.Ticks // decode time of the fragment that it begins
	Track   media.Track // the video

	plan *Plan
}

// Still finds the picture of an instant from the indexes alone. The error wraps
// ErrNoFootage when there was nothing then.
func (p *Player) Still(ctx context.Context, stream media.StreamID, at media.Ticks) (*Still, error) {
	plan, err := p.Watch(ctx, stream, at, at+1, 1)
	if err != nil {
		return nil, err
	}
	return &Still{Stream: stream, Segment: plan.spans[0].id, At: plan.Start, Track: plan.Tracks[0], plan: plan}, nil
}

// Unit reads the picture: an access unit as it was recorded, verified.
func (s *Still) Unit(ctx context.Context) (unit []byte, err error) {
	done := errors.New("done")
	err = s.plan.Play(ctx, func(p Piece) error {
		var f fmp4.Fragment
		if err := f.Parse(p.Fragment); err != nil {
			return &segment.Damage{Segment: s.Segment, Record: segment.InIndex, Err: err}
		}
		for _, part := range f.Parts {
			if x := part.Samples[0]; part.Track == s.Track.Number && x.Sync {
				unit = append([]byte(nil), p.Fragment[x.Offset:x.Offset+x.Size]...)
			}
		}
		return done
	})
	if unit == nil && (err == nil || errors.Is(err, done)) {
		return nil, ErrNoFootage // what was there cannot be read; it was reported
	}
	if errors.Is(err, done) {
		err = nil
	}
	return unit, err
}
