package trial

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// A Request is a call as a product sends it.
type Request struct {
	Method string
	Target string // the path with its query
	Header http.Header
	Body   []byte
}

// base stands for the path of a source whose calls do not name theirs.
const base = webhook.Prefix + "app/source"

var (
	head = regexp.MustCompile(`^[A-Z]+ \S+ HTTP/[0-9]`)
	// Tools print "HTTP/2", which is no version in a request as text.
	short = regexp.MustCompile(`^([A-Z]+ \S+ HTTP/)[23](\.0)?(\r?\n)`)
)

// ErrFile: a file holds no call of a product.
var ErrFile = errors.New("this is no call")

// Parse reads a request from a file: its head, an empty line and its body, or the body alone. A
// line feed at the end is not part of the body, unless the head gives a length with it.
func Parse(file []byte) (*Request, error) {
	if !head.Match(file) {
		return &Request{Method: http.MethodPost, Target: base, Header: http.Header{}, Body: trim(file)}, nil
	}
	r := bufio.NewReader(bytes.NewReader(short.ReplaceAll(file, []byte("${1}1.1${3}"))))
	in, err := http.ReadRequest(r)
	if err != nil {
		return nil, fmt.Errorf("%w: its head: %w", ErrFile, err)
	}
	if in.Method != http.MethodPost && in.Method != http.MethodPut {
		return nil, fmt.Errorf("%w: a server takes POST and PUT, not %.20s", ErrFile, in.Method)
	}
	req := &Request{Method: in.Method, Target: in.URL.RequestURI(), Header: in.Header}
	if in.ContentLength > 0 || len(in.TransferEncoding) > 0 {
		if req.Body, err = io.ReadAll(in.Body); err != nil {
			return nil, fmt.Errorf("%w: its body is not as long as its Content-Length", ErrFile)
		}
		return req, nil
	}
	rest, err := io.ReadAll(r)
	req.Body = trim(rest)
	return req, err
}

func trim(body []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
}

// Recorded returns when r was received, if it is a call that a server recorded, with what proves it
// struck out.
func (r *Request) Recorded() (at presence.Millis, ok bool) {
	t, err := time.Parse(time.RFC3339, r.Header.Get(webhook.RecordedHeader))
	return presence.MillisOf(t), err == nil && t.UnixMilli() > 0
}

// Add puts what a body alone lacks into r: a path, whole or behind that of the source, a query, and
// headers written as "Name: value".
func (r *Request) Add(path, query string, headers []string) error {
	switch {
	case strings.HasPrefix(path, webhook.Prefix):
		r.Target = path
	case path != "":
		before, after, queried := strings.Cut(r.Target, "?")
		if r.Target = strings.TrimSuffix(before, "/") + "/" + strings.TrimPrefix(path, "/"); queried {
			r.Target += "?" + after
		}
	}
	if query = strings.TrimPrefix(query, "?"); query != "" {
		sign := "?"
		if strings.Contains(r.Target, "?") {
			sign = "&"
		}
		r.Target += sign + query
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return errors.New("a header is written as \"Name: value\"")
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return nil
}

// call returns r as the door gives it to the kind of s.
func (r *Request) call(s *webhook.Source) (*webhook.Call, error) {
	rest, query, err := r.parts()
	if err != nil {
		return nil, err
	}
	return &webhook.Call{Source: s, Method: r.Method, Rest: rest, Target: r.Target, Query: query, Header: r.Header, Body: r.Body}, nil
}

// parts returns what stands behind the app and the source in the path, or all of another path, and
// the query.
func (r *Request) parts() (rest string, query url.Values, err error) {
	u, err := url.ParseRequestURI(r.Target)
	if err != nil {
		return "", nil, fmt.Errorf("%w: its path cannot be read", ErrFile)
	}
	below, ok := strings.CutPrefix(u.Path, webhook.Prefix)
	if !ok {
		return strings.TrimPrefix(u.Path, "/"), u.Query(), nil
	}
	if parts := strings.SplitN(below, "/", 3); len(parts) == 3 {
		rest = parts[2]
	}
	return rest, u.Query(), nil
}

// notSent are headers that belong to the connection that a call came by.
var notSent = []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", webhook.RecordedHeader}

// To returns r as a call to the source at path, not signed. What was struck out of it is left out
// of the query and the headers.
func (r *Request) To(path string) (*webhook.Request, error) {
	rest, query, err := r.parts()
	if err != nil {
		return nil, err
	}
	header := r.Header.Clone()
	for _, name := range notSent {
		header.Del(name)
	}
	drop(header)
	drop(query)
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	return &webhook.Request{Method: r.Method, Path: path, Rest: rest, Query: query, Header: header, Body: r.Body}, nil
}

// drop removes what was struck out.
func drop(values map[string][]string) {
	for name, v := range values {
		if slices.Contains(v, webhook.Struck) {
			delete(values, name)
		}
	}
}
