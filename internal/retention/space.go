package retention

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"vigil/internal/catalogue"
	"vigil/internal/media"
	"vigil/internal/store/volume"
)

// share returns the larger of bytes and percent of total. Of bytes no more
// counts than most percent, the largest that percent may be: on a small volume nothing
// could be kept else.
func share(bytes int64, percent, most int, total int64) int64 {
	return max(min(bytes, total/100*int64(most)), total/100*int64(percent))
}

// The largest shares, as settings have them.
const (
	mostReserve = 50
	mostLow     = 90
)

// Room returns what of a volume is kept free, and how many bytes footage may take
// there altogether: the used bytes that it has, and what is free but for the
// reserve. In bytes.
func (p Policy) Room(total, free, used int64) (reserve, room int64) {
	reserve = share(p.Reserve, p.ReservePercent, mostReserve, total)
	room = max(free-reserve+used, 0)
	if p.Quota > 0 {
		room = min(room, p.Quota)
	}
	return reserve, room
}

// space looks at every volume that is there: tells when it is low, and makes
// room before it is full.
func (k *Keeper) space(ctx context.Context) error {
	p := k.cfg.Policy()
	for _, v := range k.cfg.Shelf.Volumes() {
		st := v.Status()
		if st.Disk.Total == 0 || st.State != volume.Online && st.Cause != media.DiskFull {
			continue // not there, or in trouble: nothing is removed for its sake
		}
		k.observe(v.Dir(), st.Disk.Free, st.Disk.Total, p)
		if err := k.makeRoom(ctx, v, p); err != nil {
			return err
		}
	}
	return nil
}

// observe raises one alert when free space falls below the set value, and is
// then quiet until it has been a tenth above it again. It does so in every
// mode: also where the oldest footage makes room.
//
//vigil:clause 5.2.8.1
func (k *Keeper) observe(dir string, free, total int64, p Policy) {
	threshold := share(p.Low, p.LowPercent, mostLow, total)
	switch {
	case free < threshold:
		k.cfg.Alerts.Raise(SpaceLow, dir, map[string]string{
			"free": strconv.FormatInt(free, 10), "threshold": strconv.FormatInt(threshold, 10),
		})
	case free >= threshold+threshold/10:
		k.cfg.Alerts.Clear(SpaceLow, dir)
	}
}

// A stuck counts removals that freed nothing: snapshots keep the bytes, or
// somebody else fills the disk. Going on would empty the archive in vain.
type stuck struct {
	vain  int
	until time.Time
}

const (
	maxVain = 3         // parts removed in vain, then it pauses
	pause   = time.Hour //
)

// want returns how many bytes must go from a volume.
func (k *Keeper) want(st volume.Status, p Policy, used int64) int64 {
	reserve := share(p.Reserve, p.ReservePercent, mostReserve, st.Disk.Total)
	need := reserve - st.Disk.Free
	if p.Quota > 0 {
		need = max(need, used-p.Quota)
	}
	if need > 0 {
		need += reserve / 50 // a little more, so that it does not begin again at once
	}
	return need
}

// makeRoom removes the oldest footage until the volume has its reserve again.
func (k *Keeper) makeRoom(ctx context.Context, v *volume.Volume, p Policy) error {
	s := k.stuck[v.Dir()]
	if s == nil {
		s = new(stuck)
		k.stuck[v.Dir()] = s
	}
	totals, err := k.cfg.Index.Totals()
	if err != nil {
		return err
	}
	var used int64
	for _, t := range totals {
		used += t.Bytes
	}
	need := k.want(v.Status(), p, used)
	if last := k.seen[v.Dir()]; last.IsZero() || time.Since(last) >= k.cfg.Aged {
		k.seen[v.Dir()] = time.Now()
		if err := k.foresee(v, p, totals, used); err != nil {
			return err
		}
	}
	if need <= 0 || time.Now().Before(s.until) {
		return nil
	}
	if err := k.level(ctx); err != nil {
		return err
	}
	keep, err := k.keeps()
	if err != nil {
		return err
	}
	for need > 0 {
		list, err := k.cfg.Index.Oldest(maxPart, keep.held)
		if err != nil {
			return err
		}
		list = enough(list, need)
		if len(list) == 0 {
			return nil // held, all of it: foresee has told
		}
		before := v.Status().Disk.Free
		k.tellShort(list, p)
		bytes, err := k.remove(ctx, list, "space")
		if err != nil || bytes == 0 {
			return err
		}
		need -= bytes
		used -= bytes
		if err := k.proved(ctx, v, s, before, bytes, p, used); err != nil {
			return err
		}
		if err := k.level(ctx); err != nil {
			return err
		}
	}
	return nil
}

// enough cuts a list where its bytes are need.
func enough(list []catalogue.Segment, need int64) []catalogue.Segment {
	for i, g := range list {
		if need -= g.Bytes; need <= 0 {
			return list[:i+1]
		}
	}
	return list
}

// proved waits until the volume was measured again, and gives up for an hour
// when three removals in a row have freed next to nothing.
func (k *Keeper) proved(ctx context.Context, v *volume.Volume, s *stuck, before, bytes int64, p Policy, used int64) error {
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	for freed := int64(0); freed < bytes/4; freed = v.Status().Disk.Free - before {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			s.vain++
			if s.vain < maxVain {
				return nil
			}
			s.vain, s.until = 0, time.Now().Add(pause)
			err := fmt.Errorf("removing footage frees no space: are there snapshots, or does something else fill the disk?")
			k.cfg.Alerts.Raise(DiskTrouble, v.Dir(), map[string]string{"state": "online", "cause": string(media.DiskFull), "error": err.Error()})
			return err
		}
	}
	s.vain = 0
	return nil
}

// tellShort raises an alert for each camera whose footage must go before its
// time.
func (k *Keeper) tellShort(list []catalogue.Segment, p Policy) {
	for _, g := range list {
		wanted := p.Days(g.Camera)
		if p.LowDays > 0 {
			wanted = p.LowDays
		}
		days := int(k.cfg.Now().Sub(time.Unix(0, g.End)) / (24 * time.Hour))
		if wanted <= 0 {
			continue
		}
		object := g.Camera.String()
		if days >= wanted {
			if k.short[g.Camera] {
				delete(k.short, g.Camera)
				k.cfg.Alerts.Clear(RetentionShort, object)
			}
			continue
		}
		if !k.short[g.Camera] {
			k.short[g.Camera] = true
			k.cfg.Alerts.Raise(RetentionShort, object, map[string]string{"camera": object, "days": strconv.Itoa(days), "wanted": strconv.Itoa(wanted)})
		}
	}
}

// foresee tells, a day before it happens, that only held footage will be left
// to make room with.
//
//vigil:clause 5.2.8.1
func (k *Keeper) foresee(v *volume.Volume, p Policy, totals []catalogue.Total, used int64) error {
	keep, err := k.keeps()
	if err != nil {
		return err
	}
	var held, rate int64
	for _, t := range totals {
		if t.Recorded > 0 {
			rate += int64(float64(t.Bytes) / float64(t.Recorded) * float64(24*time.Hour))
		}
		for _, h := range keep.list {
			if h.Camera != t.Camera {
				continue
			}
			if err := k.cfg.Index.Segments(t.Stream, h.From, h.To, func(g catalogue.Segment) bool {
				held += g.Bytes
				return true
			}); err != nil {
				return err
			}
		}
	}
	st := v.Status()
	left := int64(math.MaxInt64)
	if held > 0 {
		_, room := p.Room(st.Disk.Total, st.Disk.Free, used)
		left = max(room, used) - held
	}
	dir := v.Dir()
	switch {
	case held > 0 && left < rate:
		k.cfg.Alerts.Raise(SpaceHeld, dir, map[string]string{"free": strconv.FormatInt(st.Disk.Free, 10)})
	case left >= rate+rate/10:
		k.cfg.Alerts.Clear(SpaceHeld, dir)
	}
	return nil
}
