// Package trace carries the trace of a request, as W3C Trace Context writes it in the header
// traceparent, to the log, to exemplars of metrics and to the calls that follow from the request.
//
// A header that is not valid, or comes twice, is no trace. tracestate is not passed on. A request
// without a trace costs one look into its header.
package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
)

// Header is the name of the header, as net/http writes it.
const Header = "Traceparent"

// A Context is the trace that a request belongs to and the span that made it. The zero Context is
// none.
type Context struct {
	id    [16]byte
	span  [8]byte
	flags byte
}

const (
	sampled = 1
	known   = 3 // flags that are passed on: sampled, and that the id is random
	size    = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
)

// Parse returns the context that value is. ok is false when it is not valid.
func Parse(value string) (c Context, ok bool) {
	if len(value) < size || value[2] != '-' || value[35] != '-' || value[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	if !digits(version[:], value[:2]) || !digits(c.id[:], value[3:35]) || !digits(c.span[:], value[36:52]) || !digits(flags[:], value[53:size]) {
		return Context{}, false
	}
	switch {
	case version[0] == 0xff, c.id == [16]byte{}, c.span == [8]byte{}:
		return Context{}, false
	// A later version may have more.
	case len(value) > size && (version[0] == 0 || value[size] != '-'):
		return Context{}, false
	}
	c.flags = flags[0] & known
	return c, true
}

// digits reads hexadecimal digits in lower case into b.
func digits(b []byte, text string) bool {
	for i := range len(text) {
		if d := text[i]; (d < '0' || d > '9') && (d < 'a' || d > 'f') {
			return false
		}
	}
	_, err := hex.Decode(b, []byte(text))
	return err == nil
}

// Of returns the context of r.
func Of(r *http.Request) Context {
	values := r.Header[Header]
	if len(values) != 1 {
		return Context{}
	}
	c, _ := Parse(values[0])
	return c
}

// IsZero reports whether c is none.
func (c Context) IsZero() bool { return c == Context{} }

// ID returns the id of the trace.
func (c Context) ID() string { return hex.EncodeToString(c.id[:]) }

// Span returns the id of the span that made the request.
func (c Context) Span() string { return hex.EncodeToString(c.span[:]) }

// Sampled reports whether the caller records the trace.
func (c Context) Sampled() bool { return c.flags&sampled != 0 }

// String returns c as the header has it; "" for none.
func (c Context) String() string {
	if c.IsZero() {
		return ""
	}
	return "00-" + c.ID() + "-" + c.Span() + "-" + hex.EncodeToString([]byte{c.flags})
}

// Child returns c with a span of its own, for a call that follows from it.
func (c Context) Child() Context {
	for {
		_, _ = rand.Read(c.span[:]) // never fails
		if c.span != [8]byte{} {
			return c
		}
	}
}

type key struct{}

// With returns ctx with c.
func With(ctx context.Context, c Context) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns what ctx has.
func From(ctx context.Context) Context {
	c, _ := ctx.Value(key{}).(Context)
	return c
}

// Attr returns the id of the trace in ctx for a line of the log; an attribute that is left out when
// there is none.
func Attr(ctx context.Context) slog.Attr {
	c := From(ctx)
	if c.IsZero() {
		return slog.Attr{}
	}
	return slog.String("trace", c.ID())
}
