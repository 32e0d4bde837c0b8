package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// choose picks the tracks and tells back-channels from them.
func (r *reader) choose() (Description, error) {
	d := Description{Control: r.control}
	video := slices.IndexFunc(r.medias, func(o offer) bool { return o.usable() && o.picture() && o.Codec != 0 })
	if video < 0 { // what the packets must tell comes last
		video = slices.IndexFunc(r.medias, func(o offer) bool { return o.usable() && o.picture() })
	}
	if video < 0 {
		return Description{}, r.refusal()
	}
	d.Tracks = append(d.Tracks, r.medias[video].Media)
	sendOnly := r.medias[video].Direction == SendOnly // the camera speaks of itself: WebRTC offers, and others
	for i, o := range r.medias {
		track := strconv.Itoa(i + 1)
		switch {
		case i == video:
		case o.reason != nil:
			r.leaveOut(o, track, "not-recorded")
		case o.Direction == Inactive:
			r.leaveOut(o, track, "inactive")
		case o.picture():
			r.leaveOut(o, track, "further-video")
		case o.Direction == SendOnly && !sendOnly:
			d.BackChannels = append(d.BackChannels, o.Media)
		case len(d.Tracks) == 2:
			r.leaveOut(o, track, "further-sound")
		default:
			d.Tracks = append(d.Tracks, o.Media)
		}
	}
	d.Notes = r.rec.notes
	return d, nil
}

func (r *reader) leaveOut(o offer, track, reason string) {
	name := o.Name
	if o.reason != nil && name == "" {
		name = o.reason.Args["codec"]
	}
	r.rec.note("media-left-out", "track", track, "kind", o.kind, "codec", name, "reason", reason)
}

// picture tells whether the offer is video that we take; 0 is a video whose
// codec the packets will tell.
func (o offer) picture() bool { return o.reason == nil && (o.Codec == 0 || o.Codec.Video()) }

func (o offer) usable() bool { return o.reason == nil && o.Direction != Inactive }

// refusal says why there is no video: by the first section that says video,
// else by what there is instead.
func (r *reader) refusal() *Error {
	if len(r.medias) == 0 {
		return refuse(NoMedia)
	}
	var kinds []string
	for i, o := range r.medias {
		switch {
		case o.picture():
			return refuse(InactiveVideo, "track", strconv.Itoa(i+1), "kind", o.kind)
		case o.kind == "video" && o.reason != nil:
			return o.reason
		}
		if !slices.Contains(kinds, o.kind) {
			kinds = append(kinds, o.kind)
		}
	}
	return refuse(NoVideo, "kinds", strings.Join(kinds, ","))
}
