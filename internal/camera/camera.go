// Package camera keeps the streams of cameras alive, one session each.
//
//	camera --> rtsp --> [camera] --> worker/ingest
//
// It connects and connects again, puts our time beside the camera's, and says
// how things are. It knows nothing of batches, processes or recordings.
package camera
