package leancloud

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"rollcall/internal/httpx"
)

const contentJSON = "application/json; charset=UTF-8"

// An answer is what is told, free of the way it goes.
type answer struct {
	status int
	body   []byte
	plain  bool          // the content type without charset, as the engine's ping has it
	allow  string        // the methods, of a 405
	wait   int           // Retry-After in seconds, of a 503
	age    time.Duration // of an answer from what was known before the store went out of reach
	hangUp bool          // what is left of the request is not worth reading
}

var (
	headerJSON  = []string{contentJSON}
	headerPlain = []string{"application/json"}
	headerStar  = []string{"*"}
	headerVary  = []string{"Origin"}
	// headerExposed is sent to browsers' SDKs, which write text/plain. Parse's SDK throws on an answer that exposes no header (seen in 7.0).
	headerExposed = []string{"Retry-After, Rollcall-Stale"}
)

// write sends a. Every answer tells browsers that any page may read it: what protects is the key, not the origin.
func (a *answer) write(w http.ResponseWriter, origin []string) {
	h := w.Header()
	h["Access-Control-Allow-Origin"] = headerStar
	if len(origin) > 0 && origin[0] != "" {
		h["Access-Control-Allow-Origin"] = origin[:1]
		h["Vary"] = headerVary
	}
	switch {
	case a.plain:
		h["Content-Type"] = headerPlain
	case len(a.body) > 0:
		h["Content-Type"] = headerJSON
	}
	h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	if a.allow != "" {
		h["Allow"] = []string{a.allow}
	}
	if a.age > 0 {
		h["Rollcall-Stale"] = []string{httpx.Age(a.age)}
	}
	if a.wait > 0 {
		h["Retry-After"] = []string{strconv.Itoa(a.wait)}
	}
	if a.hangUp {
		h["Connection"] = []string{"close"}
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that went away is told nothing
}

// Codes of the dialect.
const (
	codeBad         = 1   // a parameter is wrong, or the thing does not exist
	codeMalformed   = 107 // not JSON
	codeNoUser      = 211
	codeKey         = 401
	codeTooMuch     = 413
	codeTooMany     = 429
	codeUnavailable = 511 // temporarily
)

// A fault is a refusal.
type fault struct {
	status, code int
	text         string
	wait         int
	hangUp       bool
}

var (
	errUnauthorized = &fault{status: http.StatusUnauthorized, code: codeKey, text: "Unauthorized."}
	errMalformed    = &fault{status: http.StatusBadRequest, code: codeMalformed, text: "Malformed json object. A json dictionary is expected."}
	errTooLarge     = &fault{status: http.StatusRequestEntityTooLarge, code: codeBad, text: "request entity too large", hangUp: true}
	errTooSlow      = &fault{status: http.StatusRequestTimeout, code: codeBad, text: "The body did not arrive in time.", hangUp: true}
	errBroken       = &fault{status: http.StatusBadRequest, code: codeBad, text: "The body could not be read.", hangUp: true}
	errNoRoom       = &fault{status: http.StatusServiceUnavailable, code: codeUnavailable, text: "The server holds as many bodies as it may; sending again is safe.", wait: 1, hangUp: true}
	errUnavailable  = &fault{status: http.StatusServiceUnavailable, code: codeUnavailable, text: "Temporarily unavailable; sending again is safe.", wait: 1}
)

func bad(text string) *fault { return &fault{status: http.StatusBadRequest, code: codeBad, text: text} }

func notFound(text string) *fault {
	return &fault{status: http.StatusNotFound, code: codeBad, text: text}
}

func (f *fault) answer() answer {
	body, err := json.Marshal(struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
	}{f.code, f.text})
	if err != nil {
		panic(err) // an int and a string
	}
	return answer{status: f.status, body: body, wait: f.wait, hangUp: f.hangUp}
}
