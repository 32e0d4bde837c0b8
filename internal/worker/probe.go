package worker

import (
	"context"
	"errors"
	"fmt"

	"vigil/internal/worker/wire"
)

// mostProbes is how many probes run at a time.
const mostProbes = 4

// Probe tries a stream once, in a process of its own: an unknown camera gets
// nowhere near those that record. At most four run at a time; others wait. What the
// camera or the network refuses is in the answer's Fault, not in the error.
func (p *Pool) Probe(ctx context.Context, spec wire.Spec) (wire.Probed, error) {
	if err := spec.Check(); err != nil {
		return wire.Probed{}, fmt.Errorf("probe: %w", err)
	}
	select {
	case p.probes <- struct{}{}:
		defer func() { <-p.probes }()
	case <-ctx.Done():
		return wire.Probed{}, fmt.Errorf("probe: %w", ctx.Err())
	}
	pr, err := p.start(ctx, 0)
	if err != nil {
		return wire.Probed{}, fmt.Errorf("probe: %w", err)
	}
	defer func() {
		pr.kill()
		pr.buried()
	}()
	if err := pr.send(1, &wire.Probe{Spec: spec}); err != nil {
		return wire.Probed{}, fmt.Errorf("probe: %w", err)
	}
	select {
	case found := <-pr.probed:
		return found, nil
	case err := <-pr.broken:
		select {
		case found := <-pr.probed: // it answered and then fell
			return found, nil
		default:
		}
		return wire.Probed{}, fmt.Errorf("probe: %w: %w", errProbe, err)
	case <-ctx.Done():
		return wire.Probed{}, fmt.Errorf("probe: %w", ctx.Err())
	}
}

var errProbe = errors.New("the worker fell")
