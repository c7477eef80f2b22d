package sse

import (
	"mime"
	"strings"
)

// accepts reports whether a client with these Accept headers takes an event stream. None at all
// takes everything.
func accepts(headers []string) bool {
	if len(headers) == 0 {
		return true
	}
	for _, h := range headers {
		for part := range strings.SplitSeq(h, ",") {
			m, params, err := mime.ParseMediaType(part)
			if err != nil || params["q"] == "0" {
				continue
			}
			if m == "*/*" || m == "text/*" || m == "text/event-stream" {
				return true
			}
		}
	}
	return false
}
