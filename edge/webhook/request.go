package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// RecordedHeader is in files of calls that a server recorded. It has the time of the receipt, and
// says that what proves the call was struck out.
const RecordedHeader = "X-Rollcall-Recorded"

// Struck stands in such files for what was struck out.
const Struck = "***"

// A Request is a call that is made as a product makes it.
type Request struct {
	Method string
	Path   string // of the source, [Prefix] + APP + "/" + SOURCE
	Rest   string // the path below it, without its first slash
	Query  url.Values
	Header http.Header
	Body   []byte
}

// Target returns the path with its query, as it is sent.
func (r *Request) Target() string {
	path := r.Path
	if r.Rest != "" {
		path += "/" + r.Rest
	}
	u := url.URL{Path: path, RawQuery: r.Query.Encode()}
	return u.RequestURI()
}

// Bearer shows secret as [Call.Bearer] wants it.
func (r *Request) Bearer(secret string) { r.Header.Set("Authorization", "Bearer "+secret) }

// PathSecret shows secret as [Call.PathSecret] wants it: in place of the first part of the path
// below the source.
func (r *Request) PathSecret(secret string) {
	_, behind, more := strings.Cut(r.Rest, "/")
	if r.Rest = secret; more {
		r.Rest += "/" + behind
	}
}

// Default sets a parameter of the query that is missing, unless value is empty.
func (r *Request) Default(name, value string) {
	if value != "" && !r.Query.Has(name) {
		r.Query.Set(name, value)
	}
}

// Edit changes members of the body, which is an object in JSON. The error matches [ErrShape].
func (r *Request) Edit(change func(members map[string]json.RawMessage)) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &members); err != nil {
		return fmt.Errorf("%w: %w", ErrShape, err)
	}
	if members == nil {
		return Shape("it is no object")
	}
	change(members)
	body, err := json.Marshal(members)
	if err == nil {
		r.Body = body
	}
	return err
}
