package leancloud

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"rollcall/internal/api"
)

type content uint8

const (
	contentOther content = iota // taken for JSON, whatever it is called
	contentText                 // JSON that may hold credentials
	contentForm
)

// contentOf reads the content type. A charset other than UTF-8 is a fault: guessing would make
// other ids of what was sent.
func contentOf(values []string) (content, *fault) {
	if len(values) == 0 {
		return contentOther, nil
	}
	switch values[0] {
	case "application/json", "application/json;charset=UTF-8", "application/json; charset=utf-8", "application/json;charset=utf-8":
		return contentOther, nil
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil && media == "" {
		return contentOther, nil
	}
	kind := contentOther
	switch media {
	case "text/plain":
		kind = contentText
	case "application/x-www-form-urlencoded":
		kind = contentForm
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return kind, unsupported("charset", strings.ToUpper(charset))
	}
	return kind, nil
}

func unsupported(what, value string) *fault {
	return &fault{
		status: http.StatusUnsupportedMediaType, code: codeBad, hangUp: true,
		text: fmt.Sprintf(`unsupported %s "%.64s"`, what, value),
	}
}

// read returns the body of r, decompressed to at most unpacked bytes, and without byte order mark.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, c *call, s *scratch, unpacked int) ([]byte, *fault) {
	encoding := "identity"
	if v := r.Header["Content-Encoding"]; len(v) > 0 {
		encoding = strings.ToLower(strings.TrimSpace(strings.Join(v, ",")))
	}
	switch encoding {
	case "identity", "", "gzip", "deflate":
	default:
		return nil, unsupported("content encoding", encoding)
	}
	var room api.Room
	if h.Bodies != nil && !c.secret() {
		c.memory = *h.Bodies.Hold("", c.address)
		room = c.memory.Grow
	}
	var err error
	s.body, err = api.ReadBody(w, r, h.cfg.MaxBody, h.BodyTimeout, s.body, room)
	switch {
	case errors.Is(err, api.ErrNoRoom):
		return nil, errNoRoom
	case errors.Is(err, api.ErrTooLarge):
		return nil, errTooLarge
	case errors.Is(err, api.ErrTooSlow):
		return nil, errTooSlow
	case err != nil:
		return nil, errBroken
	}
	body := s.body
	if len(body) > 0 && (encoding == "gzip" || encoding == "deflate") {
		s.plain, err = unpack(encoding, body, unpacked, s.plain, room)
		switch {
		case errors.Is(err, api.ErrNoRoom):
			return nil, errNoRoom
		case errors.Is(err, api.ErrTooLarge):
			return nil, errTooLarge
		case err != nil:
			return nil, bad("The body is not valid " + encoding + ".")
		}
		body = s.plain
	}
	return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), nil
}

func unpack(encoding string, packed []byte, limit int, buf []byte, room api.Room) ([]byte, error) {
	src, err := unpacker(encoding, packed)
	if err != nil {
		return buf, err
	}
	return api.ReadLimited(src, limit, buf, room)
}

// unpacker returns a reader of what packed holds. "deflate" is zlib's format by the book, and bare
// deflate from those who have not read it.
func unpacker(encoding string, packed []byte) (io.Reader, error) {
	if encoding == "gzip" {
		return gzip.NewReader(bytes.NewReader(packed))
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if errors.Is(err, zlib.ErrHeader) {
		return flate.NewReader(bytes.NewReader(packed)), nil
	}
	return z, err
}
