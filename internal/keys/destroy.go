package keys

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"vigil/internal/durable"
)

// Destroy makes the footage under some keys unreadable for good, wherever its
// copies lie: all keys that stay are wrapped anew under a new epoch key, and the old
// one goes. Each step may be repeated, none may be moved.
//
//  1. The new epoch key is durable beside the old one. A crash here destroys nothing: Open does 3 and 4.
//  2. The tables of the days concerned say "destroyed". A crash among them leaves some of the keys: Open
//     does 3 and 4, and the caller, who had no answer, asks again.
//  3. Every table is wrapped anew under the new epoch. A crash leaves tables under both: Open does 3 and 4.
//  4. The file of epochs has the new one only.
//
// On return no copy of the keys opens, here or on a volume that was away: what
// they are wrapped under is gone. Blocks of the system disk may hold the old file of
// epochs until they are written over; a root in a TPM makes them void.
//
//vigil:clause 5.2.4.1
func (r *Ring) Destroy(ids ...KeyID) error {
	r.making.Lock()
	defer r.making.Unlock()
	r.mu.RLock()
	days := map[int32][]*dayKey{}
	for _, id := range ids {
		k := r.byID[id]
		if k == nil {
			r.mu.RUnlock()
			return fmt.Errorf("destroy key %v: %w", id, ErrNoKey)
		}
		if !k.destroyed && days[k.day] == nil {
			days[k.day] = slices.Clone(r.days[k.day])
		}
	}
	pending := len(r.epochs) > 1
	r.mu.RUnlock()
	if pending { // an earlier Destroy failed half way
		if err := r.finishEpoch(); err != nil {
			return fmt.Errorf("destroy keys: finish the change before: %w", err)
		}
	}
	if len(days) == 0 {
		return nil
	}
	list := []epoch{r.inUse(), newEpoch()}
	if err := r.writeEpochs(list); err != nil { // step 1
		return fmt.Errorf("destroy keys: %w", err)
	}
	r.setEpochs(list)
	for _, day := range slices.Sorted(maps.Keys(days)) { // step 2
		table := r.current(day)
		for i, k := range table {
			if slices.Contains(ids, k.id) {
				table[i] = &dayKey{id: k.id, camera: k.camera, day: k.day, destroyed: true}
			}
		}
		if err := r.rewrap(day, table, list[1]); err != nil {
			return fmt.Errorf("destroy keys: %w", err)
		}
	}
	if err := r.finishEpoch(); err != nil { // steps 3 and 4
		return fmt.Errorf("destroy keys: %w", err)
	}
	return nil
}

// finishEpoch is steps 3 and 4 of Destroy. The caller holds making, or is
// Open.
func (r *Ring) finishEpoch() error {
	e := r.inUse()
	r.mu.RLock()
	days := slices.Sorted(maps.Keys(r.days))
	r.mu.RUnlock()
	for _, day := range days {
		if err := r.rewrap(day, r.current(day), e); err != nil {
			return err
		}
	}
	if err := r.writeEpochs([]epoch{e}); err != nil {
		return err
	}
	r.setEpochs([]epoch{e})
	return nil
}

func (r *Ring) inUse() epoch {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.epochs[len(r.epochs)-1]
}

func (r *Ring) current(day int32) []*dayKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.days[day])
}

func (r *Ring) rewrap(day int32, list []*dayKey, e epoch) error {
	for i, k := range list {
		if k.destroyed {
			continue
		}
		r.mu.RLock()
		key, err := r.unwrapDay(k)
		r.mu.RUnlock()
		if err != nil {
			return err
		}
		n := &dayKey{id: k.id, camera: k.camera, day: k.day}
		e.key.Wrap(n.wrapped[:0], key, dayAAD(e.id, n))
		list[i] = n
	}
	return r.writeDay(day, e.id, list)
}

func (r *Ring) writeEpochs(list []epoch) error {
	return durable.WriteFile(r.fs, path.Join(r.dir, epochFile), r.appendEpochs(nil, list))
}

func (r *Ring) setEpochs(list []epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs = list
}
