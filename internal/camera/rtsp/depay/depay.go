// Package depay turns the RTP packets of one track into access units in the
// form MP4 samples have.
//
//	RTSP session -> [depay] -> ingest
//
// H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640) and G.711 allocate
// nothing in the steady state: packets are appended to one buffer, which an
// access unit is a part of when it is handed out.
//
// A picture that misses a packet is dropped, and everything after it up to the
// next random access unit: the record loses whole GOPs and says how many
// pictures those were.
package depay

import (
	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// A Packet is the part of an RTP packet that matters here. Packets are pushed
// in order of their sequence numbers, without duplicates, and only those of
// the track's payload type (sdp.Media.PayloadType and OtherTypes).
type Packet struct {
	Payload []byte // without padding; only read, and only during Push
	Time    uint32 // RTP time stamp
	Marker  bool
	Lost    int   // packets known to be missing directly before this one
	Arrived int64 // ns since the epoch, our clock

	// Extension is the RTP header extension behind its 4-byte head, nil when
	// there is none. Only MJPEG looks at it: ONVIF sends the headers of pictures
	// there that RFC 2435 has no room for.
	Extension []byte
}

// A Unit is one access unit.
type Unit struct {
	Data         []byte // NAL units behind 4-byte lengths, a JPEG picture, a raw AAC or Opus frame, G.711 samples; valid until the next call
	PTS, DTS     int64  // in the clock of the track (sdp.Media.ClockRate), the 32 bits of RTP unwrapped, first unit near its RTP time stamp; DTS <= PTS
	Arrived      int64  // of its first packet
	RandomAccess bool
	Lost         uint32       // pictures (or sound packets) known to be lost since the unit before
	Track        *media.Track // not nil: from this unit on the track is so (first unit, and changes); Number is 0, for the caller to fill in a copy
	NoPicture    bool         // only from Flush: SEI that no picture followed (the end of a signed stream)
}

// A Depacketizer works on one track. It is not safe for concurrent use.
type Depacketizer interface {
	// Push takes a packet and returns the units it completes, often none. The
	// units and their data are valid until the next call of Push or Flush. An
	// error means that the packet, or what it completed, was unusable and is
	// counted as lost where it was a picture; the stream goes on. Log it once
	// per connection and code (errors.As *Error).
	Push(p Packet) ([]Unit, error)

	// Flush returns what is still held back: the last picture, when it is
	// complete. Call it when the connection ends.
	Flush() []Unit

	// Restart is for a new RTP timeline on the same track (SSRC change, or
	// sequence numbers that start anew): what is open is dropped and time
	// stamps are not compared with earlier ones.
	Restart()

	// Track returns what is known of the track: from the description at first,
	// then from the packets; nil when nothing is known yet. Never changed in
	// place. Number is 0.
	Track() *media.Track

	// ClockRate of PTS and DTS, Hz.
	ClockRate() int
}

// A Slicer is a depacketizer of a coding in which much that is sent is no
// picture: parameter sets, delimiters, messages. An encoder that hangs may go on with those.
type Slicer interface {
	// Slices counts the parts of pictures that came, whether or not they could be used.
	Slices() uint64
}

// New returns the depacketizer for a track of a description.
func New(m sdp.Media) (Depacketizer, error) {
	if m.Doubt {
		return &prober{media: m}, nil
	}
	switch m.Codec {
	case 0:
		return &prober{media: m}, nil
	case media.H264:
		return h264Depacketizer{newAssembler(&h264{}, m.ParameterSets)}, nil
	case media.H265:
		return h265Depacketizer{newAssembler(&h265{}, m.ParameterSets), m.Numbered}, nil
	case media.MJPEG:
		return newMJPEG(m), nil
	case media.AAC:
		if m.AAC.LATM {
			return newLATM(m)
		}
		return newAAC(m)
	case media.Opus, media.PCMA, media.PCMU:
		return newPlain(m), nil
	}
	return nil, &Error{Code: "unsupported-codec", Detail: m.Codec.String()}
}
