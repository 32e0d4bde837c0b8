package volume

import (
	"encoding/binary"
	"errors"
	"fmt"

	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
)

// The ids of a label.
type (
	ID    = media.ID[volumeTag] // one volume, for as long as it has footage
	SetID = media.ID[setTag]    // the recorder that a volume belongs to

	volumeTag struct{}
	setTag    struct{}
)

// A Label says whose volume a folder is. Its form on the disk, in the file
// LABEL (docs/format/label.md), numbers big endian:
//
//	0   8   magic "vigilvol"
//	8   1   version, 1
//	9   16  volume id
//	25  16  set id
//	41  n   sealed under the key for labels, bytes 0 to 41 being associated data:
//	        8  made, ns since the epoch
//	        1  length of the following
//	        m  id of the file system it was made on; empty where it has none
type Label struct {
	Volume ID
	Set    SetID
	Made   int64  // ns since the epoch
	Disk   string // durable.Disk.ID; at most 255 bytes
}

const (
	labelMagic   = "vigilvol"
	labelVersion = 1
	labelHead    = 41
	labelMax     = labelHead + seal.Overhead + 8 + 1 + 255
	readMax      = 4 << 10 // a newer one may be longer
)

// Errors of labels.
var (
	errNoLabel = errors.New("not a label of this version")
	errSealed  = errors.New("made by another recorder, or altered")
)

// Append appends the label as it stands on the disk.
func (l Label) Append(dst []byte, key seal.Key) []byte {
	start := len(dst)
	dst = append(dst, labelMagic...)
	dst = append(dst, labelVersion)
	dst = append(dst, l.Volume[:]...)
	dst = append(dst, l.Set[:]...)
	disk := l.Disk[:min(len(l.Disk), 255)]
	body := binary.BigEndian.AppendUint64(nil, uint64(l.Made))
	body = append(body, byte(len(disk)))
	body = append(body, disk...)
	return key.Seal(dst, body, append([]byte(nil), dst[start:]...))
}

// parseHead reads what needs no key: whose label it claims to be.
func parseHead(b []byte) (l Label, err error) {
	if len(b) < labelHead || len(b) > labelMax || string(b[:8]) != labelMagic || b[8] != labelVersion {
		return l, errNoLabel
	}
	copy(l.Volume[:], b[9:25])
	copy(l.Set[:], b[25:41])
	return l, nil
}

// ParseLabel reads a label and checks that key made it.
func ParseLabel(b []byte, key seal.Key) (l Label, err error) {
	if len(b) > 8 && string(b[:8]) == labelMagic && b[8] > labelVersion {
		return l, newerOrAltered(b, key)
	}
	if l, err = parseHead(b); err != nil {
		return l, err
	}
	body, err := key.Open(nil, b[labelHead:], b[:labelHead])
	if err != nil {
		return l, fmt.Errorf("label of volume %s: %w", l.Volume, errSealed)
	}
	if len(body) < 9 || len(body) != 9+int(body[8]) {
		return l, errNoLabel
	}
	l.Made = int64(binary.BigEndian.Uint64(body))
	l.Disk = string(body[9:])
	return l, nil
}

// newerOrAltered judges a label of a later version: one whose seal fits this
// version is ours, and somebody altered the byte.
func newerOrAltered(b []byte, key seal.Key) error {
	if len(b) >= labelHead {
		was := append(append([]byte(labelMagic), labelVersion), b[9:labelHead]...)
		if _, err := key.Open(nil, b[labelHead:], was); err == nil {
			return errSealed
		}
	}
	return fmt.Errorf("%w: label of version %d, this program knows %d", durable.ErrNewer, b[8], labelVersion)
}
