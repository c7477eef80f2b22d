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
	epoch   uint64 // identity of the store
	horizon uint64 // every write up to this revision was given
	// Of a reader that has listed: what was written up to this revision it may have seen, though
	// watchers did not. Until all that is in a register, it is given all of that.
	listed uint64 // 0 before its first read
	// Its places in the registers that it read, the last one first: a reader behind a balancer
	// comes to many nodes in turn. Those without a register are free.
	places [maxPlaces]position
}

// maxPlaces is how many registers a cursor has places in.
const maxPlaces = 8

// A position is a place in a register.
type position struct {
	register uint64
	seq      uint64 // the changes up to this place in the order were given
	turned   uint64 // what turned up to this place was given; 0: all is to be given
}

// in returns the position of c in a register; ok is false when it has none.
func (c *Cursor) in(register uint64) (p position, ok bool) {
	for _, p := range c.places {
		if p.register == register {
			return p, true
		}
	}
	return position{register: register}, false
}

// put makes p the first of the places of c.
func (c *Cursor) put(p position) {
	next := p
	for i := range c.places {
		next, c.places[i] = c.places[i], next
		if next.register == p.register || next.register == 0 {
			return
		}
	}
}

// list has c be of a reader that lists now, from p on.
func (c *Cursor) list(epoch, horizon uint64, p position) {
	if c.epoch != epoch {
		*c = Cursor{epoch: epoch}
	}
	c.horizon, c.listed = horizon, 0
	for i := range c.places {
		c.places[i].turned = 0
	}
	c.put(p)
}

// IsZero reports whether c is of a reader that was given nothing.
func (c Cursor) IsZero() bool { return c == Cursor{} }

const (
	cursorFormat = 1
	headSize     = 1 + 3*8
	placeSize    = 3 * 8
)

// String returns the text of c; "" for the zero Cursor. It is not sealed: only what a client of
// ours keeps itself may be trusted with it.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	b := []byte{cursorFormat}
	add := func(list ...uint64) {
		for _, v := range list {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	add(c.epoch, c.horizon, c.listed)
	for _, p := range c.places {
		if p.register != 0 {
			add(p.register, p.seq, p.turned)
		}
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
	places := (len(b) - headSize) / placeSize
	if err != nil || len(b) < headSize || (len(b)-headSize)%placeSize != 0 || places > maxPlaces || b[0] != cursorFormat {
		return Cursor{}, ErrCursor
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	c := Cursor{epoch: at(0), horizon: at(1), listed: at(2)}
	for i := range places {
		c.places[i] = position{register: at(3 + 3*i), seq: at(4 + 3*i), turned: at(5 + 3*i)}
		if c.places[i].register == 0 {
			return Cursor{}, ErrCursor
		}
	}
	return c, nil
}

// Horizon returns a revision up to which c was given every write.
func (c Cursor) Horizon() uint64 { return c.horizon }

// Epoch names the identity of the store that c is of, see presence.Service.
func (c Cursor) Epoch() uint64 { return c.epoch }
