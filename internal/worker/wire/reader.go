package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"vigil/internal/media"
)

// secretive is a message with a body that only this package may marshal.
type secretive interface {
	body() any
	adopt(any)
}

// Append writes a control frame. It fails when the message does not keep the
// bounds: text from a camera goes through Clean first.
func Append(dst []byte, stream uint32, m Message) ([]byte, error) {
	if err := m.Check(); err != nil {
		return dst, err
	}
	body, err := marshal(m)
	if err != nil {
		return dst, fmt.Errorf("%v: %w", m.Kind(), err)
	}
	at := len(dst)
	dst = Header{m.Kind(), stream, uint32(len(body))}.Append(dst)
	if _, err := ParseHeader(dst[at:]); err != nil {
		return dst[:at], err
	}
	return append(dst, body...), nil
}

func marshal(m Message) ([]byte, error) {
	if s, ok := m.(secretive); ok {
		return json.Marshal(s.body())
	}
	return json.Marshal(m)
}

// A Reader reads frames. Errors that are ErrFrame are the other side's fault;
// others are the connection's. It is for one goroutine.
type Reader struct {
	r          *bufio.Reader
	fromWorker bool
	head       Header // of the frame whose body is next
	small      [HeaderSize]byte
	buf        []byte // a control body or a batch's table
}

// NewReader reads what a worker sends (in the core), or what the core sends.
func NewReader(r io.Reader, fromWorker bool) *Reader {
	// The buffer takes header and table of a batch in one read; of the
	// payload only what came along with them is copied out of it.
	return &Reader{r: bufio.NewReaderSize(r, 4096), fromWorker: fromWorker}
}

// Next reads a header. Message or Batch must follow it. io.EOF is a
// connection that ended between two frames.
func (r *Reader) Next() (Header, error) {
	if _, err := io.ReadFull(r.r, r.small[:]); err != nil {
		return Header{}, err
	}
	h, err := ParseHeader(r.small[:])
	if err != nil {
		return h, err
	}
	if h.Type.FromWorker() != r.fromWorker {
		return h, fmt.Errorf("%w: %v from the wrong side", ErrFrame, h.Type)
	}
	r.head = h
	return h, nil
}

// room returns n bytes that are good until the next call.
func (r *Reader) room(n int) []byte {
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	return r.buf[:n]
}

// Message reads the body that Next announced into m, which must be an empty
// message of that type. Only the bytes that Append writes are accepted: no
// unknown, missing, repeated or differently spelt field, no white space.
func (r *Reader) Message(m Message) error {
	if m.Kind() != r.head.Type {
		return fmt.Errorf("%w: %v instead of %v", ErrFrame, r.head.Type, m.Kind())
	}
	body := r.room(int(r.head.Size))
	if _, err := io.ReadFull(r.r, body); err != nil {
		return cut(err)
	}
	return parse(body, m)
}

func parse(body []byte, m Message) error {
	var into any = m
	s, hidden := m.(secretive)
	if hidden {
		into = new(specBody)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %v that is no JSON of ours", ErrFrame, m.Kind()) // the error of json may quote a password
	}
	if hidden {
		s.adopt(into)
	}
	if err := m.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if again, err := marshal(m); err != nil || !bytes.Equal(again, body) {
		return fmt.Errorf("%w: %v that is not spelt as we do", ErrFrame, m.Kind())
	}
	return nil
}

// Batch reads the batch that Next announced: the payload goes from the socket
// to where the fragment will be. The batch has no Tracks yet and is not
// checked against them; the caller does both, and owns it.
func (r *Reader) Batch() (*media.Batch, error) {
	if r.head.Type != TypeBatch {
		return nil, fmt.Errorf("%w: %v instead of batch", ErrFrame, r.head.Type)
	}
	if r.head.Size < BatchHeadSize {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrFrame, r.head.Size)
	}
	if _, err := io.ReadFull(r.r, r.small[:BatchHeadSize]); err != nil {
		return nil, cut(err)
	}
	h, err := parseBatchHead(r.small[:], r.head.Size)
	if err != nil {
		return nil, err
	}
	table := r.room(h.Units * RowSize)
	if _, err := io.ReadFull(r.r, table); err != nil {
		return nil, cut(err)
	}
	b := media.NewBatch(h.Payload)
	if _, err := io.ReadFull(r.r, b.Payload()); err != nil {
		b.Release()
		return nil, cut(err)
	}
	b.New, b.Lost = h.New, h.Lost
	rest := b.Payload()
	for ; len(table) > 0; table = table[RowSize:] {
		var u media.Unit
		if u, rest, err = parseRow(table, rest); err != nil {
			b.Release()
			return nil, err
		}
		b.Units = append(b.Units, u)
	}
	if len(rest) > 0 {
		b.Release()
		return nil, fmt.Errorf("%w: %d bytes of payload belong to no unit", ErrFrame, len(rest))
	}
	return b, nil
}

// cut makes an end inside a frame no orderly end.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
