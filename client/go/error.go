package rollcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// An Error says why a call, a watch or a presence failed. Code is one of the server's, see
// docs/api.md, which never change their meaning, or one of [CodeUnreachable] and [CodeForeign].
type Error struct {
	Status     int           // of HTTP; 0 when there is none
	Code       string        // for programs
	Text       string        // for people
	Limit      int           // the limit that the call passed, if any
	RetryAfter time.Duration // when the server asks for it
	Cause      error         // of CodeUnreachable; [errors.Is] finds context.Canceled and the like
}

// The codes of the client itself.
const (
	// CodeUnreachable: no answer came: no connection, no TLS, or none before the deadline.
	CodeUnreachable = "unreachable"
	// CodeForeign: the answer is not rollcall's: a proxy's page, a redirect, or half an answer.
	CodeForeign = "not_rollcall"
)

func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Text, e.Code) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Temporary reports whether a retry may help. Only an answer of rollcall itself is final.
func (e *Error) Temporary() bool {
	return e.Code == CodeUnreachable || e.Code == CodeForeign || e.Status >= 500 ||
		e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

// unreachable returns the error for what brought no answer.
func unreachable(doing string, cause error) *Error {
	var e *Error
	if errors.As(cause, &e) {
		return e
	}
	return &Error{Code: CodeUnreachable, Text: fmt.Sprintf("%s: %v", doing, cause), Cause: cause}
}

// foreign returns the error for an answer that is not rollcall's.
func foreign(res *http.Response) *Error {
	what := res.Status
	if to := res.Header.Get("Location"); to != "" {
		what += " to " + to
	}
	return &Error{
		Status: res.StatusCode, Code: CodeForeign,
		Text: fmt.Sprintf("the answer is %s and not from rollcall; check the URL and the proxies before the server", what),
	}
}

// codeOf are the codes for refusals of LeanCloud's calls, which have numbers of their own.
var codeOf = map[int]string{
	400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large", 429: "rate_limited", 500: "internal",
	503: "unavailable",
}

// refusal returns the error for an answer that is not 200. dialect says that the call is one of
// LeanCloud's.
func refusal(res *http.Response, dialect bool) *Error {
	var said struct {
		Code  json.RawMessage `json:"code"`
		Text  *string         `json:"error"`
		Limit int             `json:"limit"`
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil || json.Unmarshal(b, &said) != nil || said.Text == nil {
		return foreign(res)
	}
	e := &Error{Status: res.StatusCode, Text: *said.Text, Limit: said.Limit}
	var number int
	switch {
	case json.Unmarshal(said.Code, &e.Code) == nil && isCode(e.Code):
	case dialect && json.Unmarshal(said.Code, &number) == nil && codeOf[res.StatusCode] != "":
		e.Code = codeOf[res.StatusCode]
	default:
		return foreign(res)
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// isCode reports whether s is written as the codes of rollcall are.
func isCode(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c != '_' || i == 0) {
			return false
		}
	}
	return s != ""
}
