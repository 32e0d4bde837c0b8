// Package footage is what the simulated cameras play; README.md says where it
// comes from.
package footage

import "embed"

// All is every film and sound.
//
//go:embed *.mp4 *.mjpeg sound.*
var All embed.FS

// Demo is what the demonstration camera of a recorder plays, in large and in
// small: a recorder carries no more of it.
//
//go:embed clock-h264.mp4 clock-h264-small.mp4
var Demo embed.FS
