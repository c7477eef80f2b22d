package native

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"

	"rollcall/internal/httpx"
	"rollcall/internal/strictjson"
)

// ReadBody reads the body of r, at most max bytes of it.
func (c *Caller) ReadBody(w http.ResponseWriter, r *http.Request, max int) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, Refuse("unsupported_media", "the body is compressed; send it plain")
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		m, _, err := mime.ParseMediaType(t)
		if err != nil || !plain[m] {
			return nil, Refuse("unsupported_media", "the body must be application/json")
		}
	}
	body, err := httpx.ReadBody(w, r, max, c.gate.cfg.BodyTimeout, nil)
	switch {
	case errors.Is(err, httpx.ErrTooLarge):
		if r.ProtoMajor < 2 { // over HTTP/2 it would end every other call of the connection
			w.Header().Set("Connection", "close") // the rest of the body is not worth reading
		}
		return nil, Refuse("too_large", "the body is larger than %d bytes", max).WithLimit(max)
	case errors.Is(err, httpx.ErrTooSlow):
		return nil, Refuse("timeout", "the body did not arrive in time")
	case err != nil:
		return nil, Refuse("bad_json", "the body broke off")
	}
	return body, nil
}

// plain are the types under which JSON comes: its own, what a browser sends when it wants no pre-flight, and what curl
// says when it is told nothing.
var plain = map[string]bool{"application/json": true, "text/plain": true, "application/x-www-form-urlencoded": true}

// MaxDepth is how deep a body may nest.
const MaxDepth = 16

// Decode reads a JSON body strictly: one value, no key twice in any letter case, valid UTF-8, not too deep. Fields it does
// not know are let be.
func Decode(body []byte, v any) error {
	if err := strictjson.Check(body, MaxDepth); err != nil {
		return Refuse("bad_json", "the body is not usable JSON: %v", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) && t.Field != "" {
			return Refuse("bad_json", "the field %.64q has the wrong type", t.Field)
		}
		return Refuse("bad_json", "the body has the wrong shape")
	}
	return nil
}
