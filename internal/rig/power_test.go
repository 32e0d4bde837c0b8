package rig

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// powerLoss is what a power cut may cost a camera.
const powerLoss = 2 * time.Second

// TestPowerCut cuts the power of real file systems in the middle of
// recording.
func TestPowerCut(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			powerCuts(t, kind, true, 1)
		})
	}
	t.Run("ext4, state elsewhere", func(t *testing.T) {
		t.Parallel()
		powerCuts(t, "ext4", false, 1)
	})
}

// TestSoakPowerCut is TestPowerCut for the proof.
func TestSoakPowerCut(t *testing.T) {
	needSoak(t)
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) { powerCuts(t, kind, true, 10) })
		t.Run(kind+", state elsewhere", func(t *testing.T) { powerCuts(t, kind, false, 10) })
	}
}

// powerCuts records on a disk and cuts it off again and again. Everything
// stops at the same moment, as it does when the power goes; state that is on
// another disk keeps what it has.
func powerCuts(t *testing.T, kind string, together bool, cuts int) {
	d := NewDisk(t, kind, 400)
	o := Options{Video: filepath.Join(d.Mount, "video")}
	if together {
		o.State = filepath.Join(d.Mount, "state")
	}
	k := &killer{Rig: New(t, o), t: t, begin: time.Now(), seen: map[string]map[uint64]bool{}, limit: powerLoss}
	k.Start()
	k.Simulate(four()...)
	for _, c := range k.Cameras {
		k.seen[c.ID] = map[uint64]bool{}
	}
	for range cuts {
		k.back()
		time.Sleep(5*time.Second + rand.N(2*time.Second))
		s := Session{k.Started, k.Freeze()}
		d.Cut()
		k.Kill()
		k.past = append(k.past, s)
		d.Detach(false)
		d.Attach()
		k.noReaders()
		k.Start()
	}
	k.finish(cuts)
}
