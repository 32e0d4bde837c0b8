package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// A DayKey is the key of a camera and a day, ready to make segment keys. Safe
// for many callers.
type DayKey struct {
	id  KeyID
	key seal.Key
}

// segmentAAD binds a wrapped segment key to the key that wraps it. Segment,
// record and place are bound by the associated data of each record.
func segmentAAD(id KeyID) []byte { return append([]byte("vigil/1/segment"), id[:]...) }

// New returns a fresh segment key and its wrapped form, 60 bytes.
func (k DayKey) New() (segment seal.Key, wrapped []byte) {
	segment = seal.NewKey()
	return segment, k.key.Wrap(nil, segment, segmentAAD(k.id))
}

// ForSegment returns the key of a camera for a UTC day, and makes it first
// where there is none: random, wrapped under the epoch key, and durable before it
// is returned. What was asked for last is at hand for each camera, so that all but the first
// call of a day touch no disk, not even a hanging one.
func (r *Ring) ForSegment(camera media.CameraID, day int32) (KeyID, DayKey, error) {
	r.mu.RLock()
	at, ok := r.today[camera]
	r.mu.RUnlock()
	if ok && at.day == day {
		return at.id, at.key, nil
	}
	if err := r.Prepare(day, camera); err != nil {
		return KeyID{}, DayKey{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.days[day] {
		if k.camera == camera && !k.destroyed {
			key, err := r.unwrapDay(k)
			if err != nil {
				return KeyID{}, DayKey{}, fmt.Errorf("key for a segment: %w", err)
			}
			r.today[camera] = ready{day, k.id, DayKey{k.id, key}}
			return k.id, DayKey{k.id, key}, nil
		}
	}
	return KeyID{}, DayKey{}, fmt.Errorf("key for a segment: camera %v, day %d: %w", camera, day, ErrNoKey)
}

// Prepare makes the missing keys of cameras for a day in one write, so that
// midnight costs one and not one for each camera.
func (r *Ring) Prepare(day int32, cameras ...media.CameraID) error {
	if day < 0 || day > maxDay {
		return fmt.Errorf("make keys: day %d is out of range", day)
	}
	r.making.Lock()
	defer r.making.Unlock()
	list, e := r.current(day), r.inUse()
	have := len(list)
	for _, c := range cameras {
		if slices.ContainsFunc(list, func(k *dayKey) bool { return k.camera == c && !k.destroyed }) {
			continue
		}
		k := &dayKey{camera: c, day: day}
		rand.Read(k.id[:])
		e.key.Wrap(k.wrapped[:0], seal.NewKey(), dayAAD(e.id, k))
		list = append(list, k)
	}
	if len(list) == have {
		return nil
	}
	if len(list) > maxPerDay {
		return fmt.Errorf("make keys: more than %d for day %d", maxPerDay, day)
	}
	if err := r.writeDay(day, e.id, list); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	return nil
}

// writeDay makes the file of a day durable and then tells everyone. The caller
// holds making.
func (r *Ring) writeDay(day int32, epoch [16]byte, list []*dayKey) error {
	t := dayTable{r.rootID, epoch, day, list}
	if err := durable.WriteFile(r.fs, path.Join(r.dir, daysDir, dayName(day)), t.append(nil)); err != nil {
		return err
	}
	r.publish(day, list)
	return nil
}

func (r *Ring) publish(day int32, list []*dayKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.days[day] = list
	for _, k := range list {
		r.byID[k.id] = k
		if at, ok := r.today[k.camera]; ok && k.destroyed && at.id == k.id {
			delete(r.today, k.camera)
		}
	}
	r.gen++
	r.changed[day] = r.gen
}

func dayName(day int32) string { return strconv.Itoa(int(day)) + ".keys" }

// unwrapDay needs mu.
func (r *Ring) unwrapDay(k *dayKey) (seal.Key, error) {
	if k.destroyed {
		return seal.Key{}, ErrDestroyed
	}
	for _, e := range slices.Backward(r.epochs) { // two only in the middle of a change
		if key, err := e.key.Unwrap(k.wrapped[:], dayAAD(e.id, k)); err == nil {
			return key, nil
		}
	}
	return seal.Key{}, fmt.Errorf("key %v of day %d: %w", k.id, k.day, seal.ErrOpen)
}

// OpenSegment returns the key of a segment. The error wraps ErrNoKey for an
// unknown id, ErrDestroyed, or seal.ErrOpen for an altered one.
func (r *Ring) OpenSegment(id KeyID, wrapped []byte) (seal.Key, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k := r.byID[id]
	if k == nil {
		return seal.Key{}, fmt.Errorf("open a segment key under %v: %w", id, ErrNoKey)
	}
	key, err := r.unwrapDay(k)
	if err != nil {
		return seal.Key{}, fmt.Errorf("open a segment key under %v: %w", id, err)
	}
	s, err := key.Unwrap(wrapped, segmentAAD(id))
	if err != nil {
		return seal.Key{}, fmt.Errorf("open a segment key under %v: %w", id, err)
	}
	return s, nil
}

// readDays reads the table of every day. One that cannot be used costs the
// footage of its day until Restore brings a volume's copy, and must not cost the
// recording of today: it is put aside and told.
func (r *Ring) readDays() error {
	dir := path.Join(r.dir, daysDir)
	list, err := r.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		r.damaged = append(r.damaged, Loss{daysDir, fmt.Errorf("%w: the folder is missing", ErrDamaged)})
		return durable.MkdirAll(r.fs, dir)
	}
	if err != nil {
		return err
	}
	for _, entry := range list {
		if !strings.HasSuffix(entry.Name(), ".keys") {
			continue // left by a crash in WriteFile, or put aside
		}
		name := path.Join(dir, entry.Name())
		b, err := durable.ReadFile(r.fs, name, MaxCopy)
		var t dayTable
		if err == nil {
			t, err = r.checkDay(entry.Name(), b)
		}
		if errors.Is(err, durable.ErrNewer) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err != nil {
			r.damaged = append(r.damaged, Loss{path.Join(daysDir, entry.Name()), err})
			continue
		}
		r.publish(t.day, t.keys)
	}
	for _, d := range r.damaged { // after all were looked at: nothing is changed that a newer Vigil wrote
		name := path.Join(r.dir, d.File)
		if _, err := durable.Aside(r.fs, name); err != nil {
			return err // it would be written over
		}
	}
	return nil
}

// A Loss is a table of a day, or all of them, that could not be used.
type Loss struct {
	File string // in the folder of keys
	Err  error
}

// Damaged returns what was wrong with the tables of single days when the ring was
// opened, for an alert.
func (r *Ring) Damaged() []Loss { return r.damaged }

func (r *Ring) checkDay(name string, b []byte) (dayTable, error) {
	t, err := parseDay(b)
	if err != nil {
		return t, err
	}
	if err := r.sameRoot(t.root[:]); err != nil {
		return t, err
	}
	if dayName(t.day) != name {
		return t, fmt.Errorf("%w: it holds day %d", ErrDamaged, t.day)
	}
	if !slices.ContainsFunc(r.epochs, func(e epoch) bool { return e.id == t.epoch }) {
		return t, fmt.Errorf("%w: wrapped under epoch %x, which is gone", ErrDestroyed, t.epoch)
	}
	return t, nil
}

// A Copy is the file of a day's keys, wrapped, as it lies in every volume's
// folder of keys.
type Copy struct {
	Name string
	Data []byte
}

// Newer tells that a newer Vigil wrote a copy: it has keys that are not here, and
// is not written over.
func (c Copy) Newer() bool {
	_, err := body(c.Data, 'D')
	return errors.Is(err, durable.ErrNewer)
}

// Copies returns the files that changed after a generation, and the
// generation they are of: 0 asks for all. The volumes hold them so that a lost
// folder of keys can be made again with what Open needs: root and epoch key.
func (r *Ring) Copies(after uint64) (list []Copy, gen uint64) {
	r.making.Lock() // tables and epoch belong together
	defer r.making.Unlock()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.epochs) > 1 {
		return nil, after // a change of epoch failed half way: what there is now will not last
	}
	for _, day := range slices.Sorted(maps.Keys(r.days)) {
		if r.changed[day] > after {
			t := dayTable{r.rootID, r.epochs[len(r.epochs)-1].id, day, r.days[day]}
			list = append(list, Copy{dayName(day), t.append(nil)})
		}
	}
	return list, r.gen
}

// Restore takes the keys of a volume's copy that are not here: of this root
// and of an epoch that is not gone; it returns how many. It never changes a key that is here and
// brings no destroyed one back.
func (r *Ring) Restore(c Copy) (taken int, err error) {
	r.making.Lock()
	defer r.making.Unlock()
	if len(c.Data) > MaxCopy {
		return 0, fmt.Errorf("restore keys from %s: %w: %d bytes", c.Name, ErrDamaged, len(c.Data))
	}
	r.mu.RLock()
	t, err := r.checkDay(c.Name, c.Data)
	list := slices.Clone(r.days[t.day])
	e := r.epochs[len(r.epochs)-1]
	have := len(list)
	if err == nil && t.epoch != e.id {
		err = fmt.Errorf("%w: wrapped under epoch %x, which goes", ErrDestroyed, t.epoch)
	}
	for _, k := range t.keys {
		if err != nil || r.byID[k.id] != nil {
			continue
		}
		if !k.destroyed {
			if _, err = r.unwrapDay(k); err != nil {
				continue
			}
		}
		list = append(list, k)
	}
	r.mu.RUnlock()
	if err == nil && len(list) > have {
		err = r.writeDay(t.day, e.id, list)
	}
	if err != nil {
		return 0, fmt.Errorf("restore keys from %s: %w", c.Name, err)
	}
	return len(list) - have, nil
}
