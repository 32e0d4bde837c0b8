package simcam

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"vigil/internal/media"
)

var (
	films = map[string]string{
		"clock":            "clock-h264.mp4",       // H.264 640x480, 25 fps, GOP 2 s
		"clock-small":      "clock-h264-small.mp4", // H.264 320x240, 12.5 fps, GOP 2 s
		"clock-h265":       "clock-h265.mp4",       // H.265 640x480, 12.5 fps, GOP 15 s
		"clock-h265-small": "clock-h265-small.mp4", // H.265 320x240, 12.5 fps, GOP 2 s
		"clock-mjpeg":      "clock.mjpeg",          // 320x240, 5 fps
		"pyramid":          "pyramid-h264.mp4",     // H.264 800x640, 30 fps, B-frames, no clock
	}
	sounds = map[string]string{"aac": "sound.aac", "alaw": "sound.alaw", "ulaw": "sound.alaw", "opus": "sound.ogg"}
)

// mjpegRate is the rate of the built-in MJPEG film, which has no container to
// say it.
const mjpegRate = 5

// Films returns the names of the built-in films and sounds.
func Films() (video, sound []string) {
	return slices.Sorted(maps.Keys(films)), slices.Sorted(maps.Keys(sounds))
}

// A film is one track of pictures or of sound, cut into RTP payloads.
type film struct {
	codec  media.Codec
	clock  int // of the RTP stamps and of all times here, Hz
	units  []unit
	length int64 // of one loop
	face   bool  // shows the clock

	sets     [][]byte                        // H.264: SPS, PPS; H.265: VPS, SPS, PPS
	aac      *mpeg4audio.AudioSpecificConfig //
	channels int                             // sound
}

// A unit is one picture or one frame of sound.
type unit struct {
	at      int64 // decode time, from the start of the loop
	cto     int64 // from decode time to RTP stamp
	key     bool
	bytes   int
	packets []packet
}

// A packet is the payload of one RTP packet.
type packet struct {
	kind    packetKind
	payload []byte
}

type packetKind byte

const (
	plain packetKind = iota
	set              // a parameter set
	mark             // the place for the mark; payload is its head
)

// builtIn reads a file of the footage that the camera was given.
func builtIn(from fs.FS, file string) ([]byte, error) {
	if from == nil {
		return nil, fmt.Errorf("%w: the camera was given no footage", fs.ErrNotExist)
	}
	return fs.ReadFile(from, file)
}

// loadFilm reads a film by name. rate is for files that do not say.
func loadFilm(from fs.FS, name string, rate float64) (*film, error) {
	file, known := films[name]
	var b []byte
	var err error
	if known {
		b, err = builtIn(from, file)
		rate = mjpegRate
	} else {
		file = name
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("film %q: %w", name, err)
	}
	var f *film
	switch filepath.Ext(file) {
	case ".mp4", ".mov":
		f, err = readMP4(b, true)
	case ".h264", ".264":
		f, err = readAnnexB(b, media.H264, rate)
	case ".h265", ".265", ".hevc":
		f, err = readAnnexB(b, media.H265, rate)
	case ".mjpeg", ".mjpg":
		f, err = readMJPEG(b, rate)
	default:
		err = fmt.Errorf("neither a built-in film nor a known kind of file")
	}
	if err != nil {
		return nil, fmt.Errorf("film %q: %w", name, err)
	}
	f.face = known && name != "pyramid"
	return f, nil
}

// loadSound reads a sound by name; source is the film it accompanies.
func loadSound(from fs.FS, name, source string) (*film, error) {
	file, known := sounds[name]
	if name == "source" {
		file, known = films[source]
		name = source
	}
	var b []byte
	var err error
	if known {
		b, err = builtIn(from, file)
	} else {
		file = name
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("sound %q: %w", name, err)
	}
	var f *film
	switch ext := filepath.Ext(file); {
	case known && name == "ulaw":
		f, err = readG711(toMuLaw(b), media.PCMU)
	case ext == ".alaw":
		f, err = readG711(b, media.PCMA)
	case ext == ".ulaw" || ext == ".mulaw":
		f, err = readG711(b, media.PCMU)
	case ext == ".aac" || ext == ".adts":
		f, err = readADTS(b)
	case ext == ".ogg" || ext == ".opus":
		f, err = readOgg(b)
	case ext == ".mp4" || ext == ".m4a" || ext == ".mov":
		f, err = readMP4(b, false)
	default:
		err = fmt.Errorf("neither a built-in sound nor a known kind of file")
	}
	if err != nil {
		return nil, fmt.Errorf("sound %q: %w", name, err)
	}
	return f, nil
}

// check refuses what cannot be looped.
func (f *film) check() (*film, error) {
	switch {
	case len(f.units) == 0 || f.length <= f.units[len(f.units)-1].at:
		return nil, fmt.Errorf("nothing to play")
	case !f.units[0].key:
		return nil, fmt.Errorf("does not begin with a key picture")
	case f.codec == media.H264 && len(f.sets) != 2, f.codec == media.H265 && len(f.sets) != 3:
		return nil, fmt.Errorf("no parameter sets")
	}
	return f, nil
}

// payloadType is static where RFC 3551 has one.
func (f *film) payloadType() uint8 {
	switch f.codec {
	case media.MJPEG:
		return 26
	case media.PCMA:
		return 8
	case media.PCMU:
		return 0
	case media.AAC, media.Opus:
		return 97
	}
	return 96
}

// format describes the film to the SDP.
func (f *film) format(s Sets) format.Format {
	pt := f.payloadType()
	told := f.sets
	if s == SetsBand {
		told = make([][]byte, len(f.sets))
	}
	switch f.codec {
	case media.H264:
		return &format.H264{PayloadTyp: pt, SPS: told[0], PPS: told[1], PacketizationMode: 1}
	case media.H265:
		return &format.H265{PayloadTyp: pt, VPS: told[0], SPS: told[1], PPS: told[2]}
	case media.MJPEG:
		return &format.MJPEG{}
	case media.AAC: // RFC 3640 3.3.6, mode AAC-hbr
		return &format.MPEG4Audio{PayloadTyp: pt, ProfileLevelID: 1, Config: f.aac, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	case media.Opus:
		return &format.Opus{PayloadTyp: pt, ChannelCount: f.channels}
	}
	return &format.G711{PayloadTyp: pt, MULaw: f.codec == media.PCMU, SampleRate: 8000, ChannelCount: 1}
}

// readMJPEG takes JPEG after JPEG, as ffmpeg's mjpeg muxer writes them.
func readMJPEG(b []byte, rate float64) (*film, error) {
	f := &film{codec: media.MJPEG, clock: videoClock}
	step := int64(videoClock / rate)
	for len(b) > 0 {
		end := bytes.Index(b, []byte{0xff, 0xd9})
		if end < 0 {
			return nil, fmt.Errorf("picture %d has no end", len(f.units))
		}
		u, err := cutJPEG(b[:end+2])
		if err != nil {
			return nil, fmt.Errorf("picture %d: %w", len(f.units), err)
		}
		u.at = int64(len(f.units)) * step
		f.units = append(f.units, u)
		b = b[end+2:]
	}
	f.length = int64(len(f.units)) * step
	return f.check()
}
