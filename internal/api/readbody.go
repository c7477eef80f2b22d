package api

import (
	"errors"
	"io"
	"math/bits"
	"net/http"
	"os"
	"sync"
	"time"
)

// Errors of [ReadBody]; what else it returns means that the connection broke or that its framing is
// wrong.
var (
	ErrTooLarge = errors.New("the body is larger than allowed")
	ErrTooSlow  = errors.New("the body came too slowly")
	ErrNoRoom   = errors.New("the server holds as many bodies as it may")
)

// A Room is asked for each n bytes that a body needs beyond [FreeBody], and refuses them with
// false. Nil has room for all.
type Room func(n int) bool

// FreeBody is how many bytes of a body need no room.
const FreeBody = 4 << 10

// ReadBody appends the body of r to buf[:0]: at most limit bytes, within timeout (0: no deadline).
// A body whose length says that it is too large is refused before a byte of it is read. Memory is
// taken for what came, not for what is announced: at most twice that, and [FreeBody].
func ReadBody(w http.ResponseWriter, r *http.Request, limit int, timeout time.Duration, buf []byte, room Room) ([]byte, error) {
	buf = buf[:0]
	switch {
	case r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody:
		return buf, nil
	case r.ContentLength > int64(limit):
		return buf, ErrTooLarge
	}
	if timeout > 0 {
		// A writer that cannot set deadlines has no socket that could be slow.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	}
	buf, err := readBody(r, limit, buf, room)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrTooSlow
	}
	return buf, err
}

func readBody(r *http.Request, limit int, buf []byte, room Room) ([]byte, error) {
	size := int(r.ContentLength)
	if size < 0 {
		return ReadLimited(r.Body, limit, buf, room)
	}
	for len(buf) < size {
		var ok bool
		if buf, ok = grow(buf, size, room); !ok {
			return buf, ErrNoRoom
		}
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), size)])
		buf = buf[:len(buf)+n]
		if err == io.EOF && len(buf) < size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return buf, err
		}
	}
	return buf, nil
}

// ReadLimited appends all of src to buf[:0], or returns [ErrTooLarge] when it holds more than limit
// bytes.
func ReadLimited(src io.Reader, limit int, buf []byte, room Room) ([]byte, error) {
	buf = buf[:0]
	for {
		var ok bool
		if buf, ok = grow(buf, limit+1, room); !ok {
			return buf, ErrNoRoom
		}
		n, err := src.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf[:limit], ErrTooLarge
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// grow makes room in a full buf, for at most size bytes in all.
func grow(buf []byte, size int, room Room) ([]byte, bool) {
	if len(buf) < cap(buf) {
		return buf, true
	}
	next := min(max(2*cap(buf), FreeBody), size)
	if more := next - max(cap(buf), FreeBody); room != nil && more > 0 && !room(more) {
		return buf, false
	}
	grown := append(spare(next), buf...)
	Recycle(buf)
	return grown, true
}

// spares are the buffers that bodies have left behind, by the power of two of their size. Without
// them callers that send large bodies have the garbage collector at work most of the time, and
// everybody waits for it. The collector itself empties them.
var spares [bits.UintSize]sync.Pool

// spare returns an empty buffer for size bytes.
func spare(size int) []byte {
	if b, ok := spares[bits.Len(uint(size))].Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:0:size] // no more than the body was charged for
	}
	return make([]byte, 0, size)
}

// Recycle gives the memory of a body to those that come; nothing may use it afterwards.
func Recycle(buf []byte) {
	if cap(buf) > FreeBody {
		spares[bits.Len(uint(cap(buf)))].Put(&buf)
	}
}
