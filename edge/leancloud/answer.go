package leancloud

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"rollcall/ask"
)

const contentJSON = "application/json; charset=UTF-8"

// An answer is a response, independent of the transport.
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
	headerClose = []string{"close"}
	// headerExposed is sent to browsers' SDKs, which write text/plain. Parse's SDK throws on an
	// answer that exposes no header (seen in 7.0).
	headerExposed = []string{"Retry-After, Rollcall-Stale"}
)

// A field is one line of the head of an answer.
type field struct {
	name   string
	values []string // one; nil: number is the value
	number int
}

// mostFields is how many fields a head may have.
const mostFields = 9

// head appends to fields what stands in the head of a, in the order of the names, for net/http and
// for the lane. origin is that of a page in a browser, if there is one. Every answer lets
// pages of any origin read it: the key protects it, not the origin.
func (a *answer) head(fields []field, origin string) []field {
	if origin == "" {
		fields = append(fields, field{name: "Access-Control-Allow-Origin", values: headerStar})
	} else {
		fields = append(fields, field{name: "Access-Control-Allow-Origin", values: []string{origin}})
	}
	if a.allow != "" {
		fields = append(fields, field{name: "Allow", values: []string{a.allow}})
	}
	if a.hangUp {
		fields = append(fields, field{name: "Connection", values: headerClose})
	}
	fields = append(fields, field{name: "Content-Length", number: len(a.body)})
	switch {
	case a.plain:
		fields = append(fields, field{name: "Content-Type", values: headerPlain})
	case len(a.body) > 0:
		fields = append(fields, field{name: "Content-Type", values: headerJSON})
	}
	if a.wait > 0 {
		fields = append(fields, field{name: "Retry-After", number: a.wait})
	}
	if a.age > 0 {
		fields = append(fields, field{name: "Rollcall-Stale", values: []string{ask.AgeText(a.age)}})
	}
	if origin != "" {
		fields = append(fields, field{name: "Vary", values: headerVary})
	}
	return fields
}

// write sends a by net/http.
func (a *answer) write(w http.ResponseWriter, origin string) {
	h := w.Header()
	var room [mostFields]field
	for _, f := range a.head(room[:0], origin) {
		if f.values == nil {
			f.values = []string{strconv.Itoa(f.number)}
		}
		h[f.name] = f.values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client may have disconnected
}

// append appends a to b as the lane sends it, and as net/http writes what [answer.write] sets: the
// fields, then the date.
func (a *answer) append(b, origin, date []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	if a.status == http.StatusOK {
		b = append(b, "200 OK\r\n"...)
	} else {
		b = strconv.AppendInt(b, int64(a.status), 10)
		b = append(append(append(b, ' '), http.StatusText(a.status)...), "\r\n"...)
	}
	var room [mostFields]field
	for _, f := range a.head(room[:0], text(origin)) {
		b = append(append(b, f.name...), ": "...)
		if f.values == nil {
			b = strconv.AppendInt(b, int64(f.number), 10)
		} else {
			b = append(b, f.values[0]...)
		}
		b = append(b, "\r\n"...)
	}
	b = append(append(b, "Date: "...), date...)
	return append(append(b, "\r\n\r\n"...), a.body...)
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
