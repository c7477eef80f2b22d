package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"rollcall/internal/strictjson"
)

// ReadBody reads the body of r, at most max bytes of it.
func (c *Caller) ReadBody(w http.ResponseWriter, r *http.Request, max int) ([]byte, error) {
	if err := uncompressed(r); err != nil {
		return nil, err
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		m, _, err := mime.ParseMediaType(t)
		if err != nil || !plain[m] {
			return nil, Errorf("unsupported_media", "the body must be application/json")
		}
	}
	return c.ReadAny(w, r, max)
}

// ReadAny is [Caller.ReadBody] for a body of any type.
func (c *Caller) ReadAny(w http.ResponseWriter, r *http.Request, max int) ([]byte, error) {
	if err := uncompressed(r); err != nil {
		return nil, err
	}
	var room Room
	if !c.Secret() && c.gate.deps.Bodies != nil {
		c.body = c.gate.deps.Bodies.Hold("", c.Address)
		room = c.body.Grow
	}
	// Who asks too often is refused before the body is read.
	if err := c.takeBytes(int(min(r.ContentLength, int64(max)))); err != nil {
		closeBehind(w, r)
		return nil, err
	}
	body, err := ReadBody(w, r, max, c.gate.deps.BodyTimeout, nil, room)
	switch {
	case errors.Is(err, ErrNoRoom):
		closeBehind(w, r)
		return nil, Errorf("full", "the server holds as many bodies as it may").WithRetry(time.Second)
	case errors.Is(err, ErrTooLarge):
		closeBehind(w, r)
		return nil, Errorf("too_large", "the body is larger than %d bytes", max).WithLimit(max)
	case errors.Is(err, ErrTooSlow):
		return nil, Errorf("timeout", "the body did not arrive in time")
	case err != nil:
		return nil, Errorf("bad_json", "the body broke off")
	}
	return body, c.takeBytes(len(body))
}

func uncompressed(r *http.Request) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return Errorf("unsupported_media", "the body is compressed; send it plain")
	}
	return nil
}

// maxSkipped is how many bytes of a body that means nothing are read.
const maxSkipped = 4 << 10

// skipBody reads the body of a call that takes none: a stream lives long, and its client's leaving
// is noticed only behind the body.
func skipBody(r *http.Request) error {
	if r.ContentLength == 0 || r.Body == nil {
		return nil
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxSkipped+1)); err != nil || n > maxSkipped {
		return Errorf("invalid", "this call takes no body")
	}
	return nil
}

// closeBehind ends the connection behind the answer: the rest of the body is not worth reading.
// Over HTTP/2 only the call ends; the header would end every other call of the connection.
func closeBehind(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
	}
}

// plain are the types under which JSON comes: its own, what a browser sends when it wants no
// pre-flight, and what curl sends by default.
var plain = map[string]bool{"application/json": true, "text/plain": true, "application/x-www-form-urlencoded": true}

// MaxDepth is how deep a body may nest.
const MaxDepth = 16

// Decode reads a JSON body strictly: one value, no key twice in any letter case, valid UTF-8, not
// too deep. Fields it does not know are let be.
func Decode(body []byte, v any) error {
	if err := strictjson.Check(body, MaxDepth); err != nil {
		return Errorf("bad_json", "the body is not usable JSON: %v", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) && t.Field != "" {
			return Errorf("bad_json", "the field %.64q has the wrong type", t.Field)
		}
		return Errorf("bad_json", "the body has the wrong shape")
	}
	return nil
}
