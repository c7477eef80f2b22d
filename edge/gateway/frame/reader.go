package frame

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// An Op is a frame's opcode.
type Op byte

// The opcodes that an owner sees; continuations are put together before.
const (
	Text   Op = 0x1
	Binary Op = 0x2
	Close  Op = 0x8
	Ping   Op = 0x9
	Pong   Op = 0xA

	continuation Op = 0x0
)

// The close codes of RFC 6455 that a server sends.
const (
	CloseNormal   = 1000
	CloseAway     = 1001
	CloseProtocol = 1002
	CloseType     = 1003
	CloseNone     = 1005 // never on the wire: the close frame had no code
	ClosePayload  = 1007
	ClosePolicy   = 1008
	CloseTooBig   = 1009
	CloseInternal = 1011
	CloseRestart  = 1012
)

// maxControl is the longest payload of a control frame.
const maxControl = 125

// maxFragments bounds the frames of one message: frames may be empty, so bytes alone do not.
const maxFragments = 1024

// An Error is a broken rule and the close code to answer it with.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("websocket: %s (close code %d)", e.Text, e.Code) }

func broken(text string) error { return &Error{CloseProtocol, text} }

// A Reader puts frames and messages together from bytes as they come. The zero Reader with a Limit
// is ready.
type Reader struct {
	// Limit is the most bytes of a message, and of what is kept of an unfinished frame.
	Limit int

	part      []byte // the beginning of a frame whose end has not come
	message   []byte // the fragments so far
	fragments int
	op        Op // of the unfinished message; continuation when there is none
}

// Feed takes the next bytes and calls each with every message and every control frame that they
// complete, in order. The payload is valid during the call only, and data is written to. It returns
// the first error of each or the rule that was broken; the connection is of no use after an error.
func (r *Reader) Feed(data []byte, each func(op Op, payload []byte) error) error {
	held := len(r.part) > 0
	if held {
		r.part = append(r.part, data...)
		data = r.part
	}
	for len(data) > 0 {
		h, ok, err := parseHeader(data)
		if err != nil {
			return err
		}
		if ok {
			if err := r.judge(h); err != nil {
				return err
			}
		}
		if !ok || len(data)-h.size < h.length {
			r.keep(data, held)
			return nil
		}
		payload := data[h.size : h.size+h.length]
		unmask(payload, h.mask)
		data = data[h.size+h.length:]
		if err := r.frame(h, payload, each); err != nil {
			return err
		}
	}
	r.part = nil
	return nil
}

// Holding returns how many bytes are kept for what is unfinished.
func (r *Reader) Holding() int { return cap(r.part) + cap(r.message) }

// keep remembers the beginning of a frame.
func (r *Reader) keep(data []byte, held bool) {
	if held && cap(r.part) <= 2*len(data)+512 {
		n := copy(r.part, data) // data is the tail of r.part
		r.part = r.part[:n]
		return
	}
	r.part = append([]byte(nil), data...)
}

// judge refuses a frame by its header alone, before its payload is kept.
func (r *Reader) judge(h header) error {
	switch h.op {
	case Close, Ping, Pong:
		if !h.final {
			return broken("a control frame in fragments")
		}
		if h.length > maxControl {
			return broken("a control frame of more than 125 bytes")
		}
		return nil
	case Text, Binary:
		if r.op != continuation {
			return broken("a new message inside another")
		}
	case continuation:
		if r.op == continuation {
			return broken("a continuation of nothing")
		}
	default:
		return broken("an unknown opcode")
	}
	if h.length > r.Limit-len(r.message) {
		return &Error{CloseTooBig, fmt.Sprintf("a message of more than %d bytes", r.Limit)}
	}
	return nil
}

// frame takes one whole frame.
func (r *Reader) frame(h header, payload []byte, each func(Op, []byte) error) error {
	switch h.op {
	case Close, Ping, Pong:
		return each(h.op, payload)
	case continuation:
		if r.fragments++; r.fragments > maxFragments {
			return &Error{ClosePolicy, "a message in too many fragments"}
		}
		r.message = append(r.message, payload...)
		if !h.final {
			return nil
		}
		op, message := r.op, r.message
		r.op, r.message, r.fragments = continuation, nil, 0
		return deliver(op, message, each)
	}
	if !h.final {
		r.op, r.message, r.fragments = h.op, append([]byte(nil), payload...), 1
		return nil
	}
	return deliver(h.op, payload, each)
}

func deliver(op Op, message []byte, each func(Op, []byte) error) error {
	if op == Text && !utf8.Valid(message) {
		return &Error{ClosePayload, "text that is not UTF-8"}
	}
	return each(op, message)
}

type header struct {
	op     Op
	final  bool
	mask   [4]byte
	size   int // of the header itself
	length int
}

// parseHeader reads a header; ok is false when more bytes are needed. What the first two bytes
// already break is refused at once.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	if b[0]&0x70 != 0 {
		return h, false, broken("a reserved bit is set")
	}
	if b[1]&0x80 == 0 {
		return h, false, broken("a frame without a mask")
	}
	h.op, h.final = Op(b[0]&0x0F), b[0]&0x80 != 0
	var length uint64
	switch l := b[1] & 0x7F; l {
	default:
		h.size, length = 2, uint64(l)
	case 126:
		if len(b) < 4 {
			return h, false, nil
		}
		h.size, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
		if length < 126 {
			return h, false, broken("a length in more bytes than it needs")
		}
	case 127:
		if len(b) < 10 {
			return h, false, nil
		}
		h.size, length = 10, binary.BigEndian.Uint64(b[2:])
		if length <= 0xFFFF || length > 1<<63-1 {
			return h, false, broken("a length in more bytes than it needs")
		}
	}
	h.length = int(min(length, 1<<31-1)) // beyond any limit
	if len(b) < h.size+4 {
		return h, false, nil
	}
	copy(h.mask[:], b[h.size:])
	h.size += 4
	return h, true, nil
}

func unmask(b []byte, mask [4]byte) {
	m := uint64(binary.LittleEndian.Uint32(mask[:]))
	m |= m << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^m)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= mask[i&3]
	}
}

// ParseClose reads the payload of a close frame. Without a code it is [CloseNone].
func ParseClose(payload []byte) (code int, reason string, err error) {
	if len(payload) == 0 {
		return CloseNone, "", nil
	}
	if len(payload) == 1 {
		return 0, "", broken("a close code of one byte")
	}
	code = int(binary.BigEndian.Uint16(payload))
	switch {
	case code >= 3000 && code < 5000:
	case code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006:
	default:
		return 0, "", broken("a close code that may not be sent")
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", &Error{ClosePayload, "a close reason that is not UTF-8"}
	}
	return code, string(payload[2:]), nil
}
