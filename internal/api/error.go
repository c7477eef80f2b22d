package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// An Error is a refusal as the caller sees it. Its code never changes its meaning; the text is for
// people.
type Error struct {
	Status int           `json:"-"`
	Code   string        `json:"code"`
	Text   string        `json:"error"`
	Limit  int           `json:"limit,omitempty"` // of a limit that was passed
	Retry  time.Duration `json:"-"`               // when trying again may help; 0: not
}

func (e *Error) Error() string { return e.Text }

// Codes are all the codes there are, with the status each comes with and what it means. docs/api.md
// lists the same.
var Codes = []struct {
	Code    string
	Status  int
	Meaning string
}{
	{"bad_request", 400, "the request is not HTTP that can be read in one way only"},
	{"bad_json", 400, "the body is not JSON of the shape the call takes, or is ambiguous"},
	{"invalid", 400, "a value breaks a rule; the text names it"},
	{"unauthorized", 401, "no key, signature, ticket or user token that is right was presented"},
	{"token_expired", 401, "the user token has expired, or is from before a kick of its peer; get another"},
	{"signature_expired", 401, "the signature's time is more than 300 s away from the server's; of a present on a socket: it is too old, or from before a kick"},
	{"signature_replayed", 401, "the signature was used before"},
	{"forbidden", 403, "the key is right but may not do this"},
	{"not_found", 404, "there is no such call"},
	{"method_not_allowed", 405, "the call exists with another method; see Allow"},
	{"not_acceptable", 406, "the call answers text/event-stream only"},
	{"timeout", 408, "the body did not arrive in time"},
	{"conflict", 409, "another device is present with this tag (sockets only)"},
	{"kicked", 409, "the peer was kicked while it logged in (sockets only)"},
	{"switched_off", 409, "what is asked for is not kept; the text names the setting"},
	{"too_large", 413, "the body is larger than the limit"},
	{"too_many_peers", 413, "more peers than one call or one watcher may name"},
	{"too_many_events", 413, "more events than one call may carry"},
	{"unsupported_media", 415, "the body is encoded or typed in a way the call does not take"},
	{"head_too_large", 431, "the head of the request is larger than the limit"},
	{"rate_limited", 429, "this key and address ask too often; see Retry-After"},
	{"too_many_watchers", 503, "the server holds as many watchers as it may; see Retry-After"},
	{"too_many_watched", 503, "the server watches as many peers as it may; see Retry-After"},
	{"unavailable", 503, "the store did not answer, or the server still starts; sending again is safe"},
	{"full", 503, "a queue, a disk or a limit is full; nothing was counted"},
	{"shutting_down", 503, "the server is going; connect again"},
	{"internal", 500, "our fault; the log knows more"},
}

var statusOf = func() map[string]int {
	m := map[string]int{}
	for _, c := range Codes {
		m[c.Code] = c.Status
	}
	return m
}()

// Errorf returns the error called code, which must be one of [Codes].
func Errorf(code, format string, args ...any) *Error {
	status, ok := statusOf[code]
	if !ok {
		panic("api: no such code: " + code)
	}
	return &Error{Status: status, Code: code, Text: fmt.Sprintf(format, args...)}
}

// WithLimit returns e with the limit that was exceeded.
func (e *Error) WithLimit(n int) *Error {
	e.Limit = n
	return e
}

// WithRetry returns e with the time after which a retry may succeed.
func (e *Error) WithRetry(d time.Duration) *Error {
	e.Retry = d
	return e
}

// WriteError answers w with err. What is not an [Error] is our fault, and its text stays here.
func WriteError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = Errorf("internal", "internal error")
	}
	if e.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.Retry+time.Second-1)/time.Second)))
	}
	WriteJSON(w, e.Status, e)
}

// WriteJSON answers w with v.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"code":"internal","error":"internal error"}`)
	}
	WriteBytes(w, status, append(b, '\n'))
}

// WriteBytes answers w with a JSON document.
func WriteBytes(w http.ResponseWriter, status int, doc []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(doc))}
	w.WriteHeader(status)
	_, _ = w.Write(doc) // the client may have disconnected
}

var (
	jsonType = []string{"application/json; charset=utf-8"}
	noStore  = []string{"no-store"}
)
