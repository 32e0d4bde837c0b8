package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/picture"
	"vigil/internal/playback"
	"vigil/internal/web"
	"vigil/internal/worker"
)

// keptPictures is how many small pictures are kept: 96 MB at most.
const keptPictures = 4096

// pictures finds single pictures, has them decoded, and keeps the small ones.
type pictures struct {
	footage *footage
	decoder *worker.Pictures
	cache   *picture.Cache // nil: it could not be made
}

func (a *App) openPictures() *pictures {
	cache, err := picture.Open(durable.OS{}, a.name("pictures"), keptPictures)
	if err != nil {
		a.log.Warn("pictures are not kept", "err", err)
		cache = nil
	}
	return &pictures{a.footage, worker.NewPictures(worker.Options{Log: a.log}), cache}
}

func (p *pictures) Close() error {
	p.decoder.Close()
	return p.cache.Close()
}

func (p *pictures) Find(ctx context.Context, id media.StreamID, at time.Time) (*web.Picture, error) {
	s, err := p.still(ctx, id, at)
	if err != nil || s == nil {
		return nil, err
	}
	return &web.Picture{ID: fmt.Sprintf("%v-%d", s.Segment, s.At), At: s.At.Time(), JPEG: func(ctx context.Context, width int) ([]byte, error) {
		key := picture.Key{Segment: s.Segment, At: s.At, Width: width}
		if b := p.cache.Get(key); b != nil {
			return b, nil
		}
		unit, err := s.Unit(ctx)
		if errors.Is(err, playback.ErrNoFootage) { // an alert tells of the file
			return nil, fmt.Errorf("%w: %w", web.ErrUndecodable, err)
		}
		if err != nil {
			return nil, err
		}
		b, err := p.JPEG(ctx, id, s.Track, unit, width)
		if err == nil {
			p.cache.Put(key, b)
		}
		return b, err
	}}, nil
}

// lately is how far before the end of the last footage its last picture may
// lie: arrival and decode times differ.
const lately = 10 * time.Second

func (p *pictures) still(ctx context.Context, id media.StreamID, at time.Time) (s *playback.Still, err error) {
	if !at.IsZero() {
		s, err = p.footage.player.Still(ctx, id, media.TicksOf(at))
	} else if end := p.footage.newest(id); !end.IsZero() {
		for back := time.Millisecond; back <= lately && s == nil; back *= 10 {
			s, err = p.footage.player.Still(ctx, id, media.TicksOf(end.Add(-back)))
		}
	}
	if errors.Is(err, playback.ErrNoFootage) {
		return nil, nil
	}
	return s, err
}

func (p *pictures) Recode(tracks []media.Track) (web.Recoding, []media.Track, error) {
	now, changes := worker.Recoded(tracks)
	if !changes {
		return nil, nil, nil
	}
	r, err := p.decoder.Recode(tracks)
	switch {
	case errors.Is(err, worker.ErrNoDecoder):
		err = fmt.Errorf("%w: %w", web.ErrNoDecoder, err)
	case errors.Is(err, worker.ErrTooManyRecodes):
		err = fmt.Errorf("%w: %w", web.ErrTooMany, err)
	}
	if err != nil {
		return nil, nil, err
	}
	return r, now, nil
}

func (p *pictures) JPEG(ctx context.Context, id media.StreamID, track media.Track, unit []byte, width int) ([]byte, error) {
	b, err := p.decoder.JPEG(ctx, worker.Still{Of: id, Track: track, Unit: unit, Width: width})
	switch {
	case errors.Is(err, worker.ErrNoDecoder):
		err = fmt.Errorf("%w: %w", web.ErrNoDecoder, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w: %w", web.ErrLate, err)
	case errors.Is(err, worker.ErrUndecodable):
		err = fmt.Errorf("%w: %w", web.ErrUndecodable, err)
	}
	return b, err
}
