package feed

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"rollcall/presence"
)

// A Cursor says what a reader of one app was given. The zero Cursor is of a reader that was given
// nothing.
type Cursor struct {
	epoch    uint64 // identity of the store
	register uint64 // that the number below is of
	seq      uint64 // the changes up to this place in the order were given
	turned   uint64 // what turned up to this place was given; 0: the reader is given all
	// Of a reader that has listed: what was written up to this revision it may have seen, though
	// watchers did not. Until all that is in the register, it is given all.
	listed  uint64 // 0 before its first read
	horizon uint64 // every write up to this revision was given
}

// IsZero reports whether c is of a reader that was given nothing.
func (c Cursor) IsZero() bool { return c == Cursor{} }

const cursorFormat = 1

// String returns the text of c; "" for the zero Cursor. It is not sealed: only what a client of
// ours keeps itself may be trusted with it.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	b := []byte{cursorFormat}
	for _, v := range [...]uint64{c.epoch, c.register, c.seq, c.turned, c.listed, c.horizon} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ErrCursor: text that is no cursor.
var ErrCursor = fmt.Errorf("%w: cursor is not one that this server gave out; start again without it", presence.ErrInvalid)

// ParseCursor reads the text of a cursor. It returns errors matching [ErrCursor].
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 1+6*8 || b[0] != cursorFormat {
		return Cursor{}, ErrCursor
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	return Cursor{epoch: at(0), register: at(1), seq: at(2), turned: at(3), listed: at(4), horizon: at(5)}, nil
}

// Horizon returns a revision up to which c was given every write.
func (c Cursor) Horizon() uint64 { return c.horizon }

// Epoch names the identity of the store that c is of, see presence.Service.
func (c Cursor) Epoch() uint64 { return c.epoch }
