package record

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// A call is what is kept of one until it is written.
type call struct {
	source      *webhook.Source
	method      string
	rest        string
	query       url.Values
	header      http.Header
	body        []byte
	now         presence.Millis
	contentType string
}

// size returns about how much memory c takes.
func size(c *webhook.Call) int {
	n := len(c.Target) + len(c.Body)
	for name, values := range c.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}

// clone returns what outlives the call.
func clone(c *webhook.Call) *call {
	return &call{
		source: c.Source, method: c.Method, rest: c.Rest, query: c.Query, header: c.Header.Clone(), body: slices.Clone(c.Body), now: c.Now,
		contentType: c.Header.Get("Content-Type"),
	}
}

// leftOut are headers that are about the connection, or that the file has of its own.
var leftOut = []string{"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", webhook.RecordedHeader}

// File returns c as the text of a request, struck.
func File(c *webhook.Call) []byte { return clone(c).file() }

func (c *call) file() []byte {
	k := newStriker(c.source)
	target := webhook.Prefix + "app/" + string(c.source.ID)
	if c.rest != "" {
		for p := range strings.SplitSeq(c.rest, "/") {
			target += "/" + readable(url.PathEscape(k.part(p)))
		}
	}
	if query := k.form(c.query); query != "" {
		target += "?" + query
	}
	body := k.body(c.body, c.contentType)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\n", c.method, target)
	fmt.Fprintf(&b, "%s: %s\n", webhook.RecordedHeader, c.now.Time().UTC().Format(time.RFC3339Nano))
	for _, name := range sorted(c.header) {
		if slices.Contains(leftOut, name) {
			continue
		}
		for _, v := range c.header[name] {
			fmt.Fprintf(&b, "%s: %s\n", k.text(name), k.value(name, v))
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\n\n", len(body))
	b.Write(body)
	return b.Bytes()
}

func sorted(h http.Header) []string {
	var names []string
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
