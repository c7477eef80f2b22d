package httpx

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"time"
)

// Errors of [ReadBody]; what else it returns means that the connection broke or that its framing is wrong.
var (
	ErrTooLarge = errors.New("the body is larger than allowed")
	ErrTooSlow  = errors.New("the body came too slowly")
)

// ReadBody appends the body of r to buf[:0]: at most limit bytes, within timeout (0: no deadline). A body whose length says
// that it is too large is refused before a byte of it is read.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int, timeout time.Duration, buf []byte) ([]byte, error) {
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
	buf, err := readBody(r, limit, buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrTooSlow
	}
	return buf, err
}

func readBody(r *http.Request, limit int, buf []byte) ([]byte, error) {
	if n := int(r.ContentLength); n > 0 {
		buf = slices.Grow(buf, n)[:n]
		got, err := io.ReadFull(r.Body, buf)
		return buf[:got], err
	}
	return ReadLimited(r.Body, limit, buf)
}

// ReadLimited appends all of src to buf[:0], or returns [ErrTooLarge] when it holds more than limit bytes.
func ReadLimited(src io.Reader, limit int, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		buf = slices.Grow(buf, 512)
		room := buf[len(buf):min(cap(buf), limit+1)]
		n, err := src.Read(room)
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
