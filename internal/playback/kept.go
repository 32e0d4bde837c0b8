package playback

import (
	"slices"
	"time"

	"vigil/internal/actor"
	"vigil/internal/document"
	"vigil/internal/media"
)

// An order is what is kept of a job over a restart. Its file is made again
// from the record up to where it ended, and is the same byte for byte while the record is: a download goes on.
// Where it is not the same it has failed, and says why: no other bytes are given out under its name.
type order struct {
	ID      JobID          `json:"id"`
	Camera  media.CameraID `json:"camera"`
	Stream  media.StreamID `json:"stream"`
	From    media.Ticks    `json:"from"`
	To      media.Ticks    `json:"to"`
	Sound   bool           `json:"sound"`
	Part    int            `json:"part"`
	By      actor.Actor    `json:"by"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires,omitzero"`
	Done    bool           `json:"done"`
	Fetched bool           `json:"fetched,omitempty"`
	Next    JobID          `json:"next,omitzero"`
	Edge    *edge          `json:"edge,omitempty"`   // once done: where it ended then
	SHA256  []byte         `json:"sha256,omitempty"` // and what it was
}

// Keep makes the list outlive a restart: it takes up the orders of a sealed
// document, those that were not done first, and writes it at each change from now on. Call it
// before Run. After an error, mostly a *document.Anew, the list begins empty; a failing write is told to failed.
func (j *Jobs) Keep(file document.File, failed func(error)) error {
	file.Kind, file.Version = "exports", 2 // 1 had no edge and no digest
	var list []order
	err := file.LoadOrBegin(&list)
	if err != nil {
		list = nil
	}
	list = slices.DeleteFunc(list, func(o order) bool {
		return o.Part < 1 || o.To <= o.From || !o.Expires.IsZero() && j.now().After(o.Expires)
	})
	slices.SortStableFunc(list, func(a, b order) int {
		switch {
		case a.Done == b.Done:
			return 0
		case b.Done:
			return -1
		}
		return 1
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file, j.failed = &file, failed
	for _, o := range list[:min(len(list), maxJobs)] {
		j.list = append(j.list, &job{again: o.Done, fetched: o.Fetched, next: o.Next, edge: o.Edge, sum: o.SHA256, Job: Job{
			ID: o.ID, Camera: o.Camera, Stream: o.Stream, From: o.From, To: o.To, Sound: o.Sound, Part: o.Part, By: o.By,
			State: Waiting, Created: o.Created, Expires: o.Expires,
		}})
	}
	return err
}

// save writes the orders. A restart makes again what was done or not yet, and tries what was given out
// once and could not be made again, for a disk may be back; what else failed or was cancelled is over.
func (j *Jobs) save() {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	list := []order{}
	for _, x := range j.list {
		if x.removed || x.State == Failed && x.sum == nil || x.State == Cancelled && !x.stopped {
			continue
		}
		done, next := x.State == Done || x.again || x.State == Failed, x.Next
		if x.State != Done && next == (JobID{}) {
			next = x.next
		}
		expires := x.Expires
		if !done { // stopped by the end of Run
			expires = time.Time{}
		}
		list = append(list, order{x.ID, x.Camera, x.Stream, x.From, x.To, x.Sound, x.Part, x.By, x.Created, expires, done, x.fetched, next, x.edge, x.sum})
	}
	file, failed := j.file, j.failed
	j.mu.Unlock()
	if file == nil {
		return
	}
	if err := file.Save(list); err != nil {
		failed(err)
	}
}
