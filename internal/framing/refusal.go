package framing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Write implements net.Conn. Errors that net/http answers by itself, without a call of the handler,
// get the shape of every other refusal: a browser hides an answer without allow-origin, and SDKs
// read JSON only.
func (c *Conn) Write(p []byte) (int, error) {
	if c.state.Load() == hijacked {
		return c.Conn.Write(p)
	}
	if text, ok := c.rewrite(p); ok {
		if _, err := c.Conn.Write(text); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// maxRefusal is above the longest answer that net/http makes by itself.
const maxRefusal = 512

var (
	// ownHead stands behind the status line of what net/http writes past its handlers, and in this
	// order nowhere else.
	ownHead = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
	// unexpected begins the answer to an Expect that is not 100-continue. No handler of ours gives
	// it.
	unexpected = []byte("HTTP/1.1 417 Expectation Failed")
)

// A Code returns what stands as "code" in a refusal with an HTTP status of a request whose target
// begins with target: at most 16 bytes of it, none when that could not be read. Without one it is
// 1, LeanCloud's number for it.
type Code func(target string, status int) any

// rewrite returns the refusal p of net/http's own as JSON; ok is false when p is something else.
func (c *Conn) rewrite(p []byte) (text []byte, ok bool) {
	if len(p) > maxRefusal || !bytes.HasPrefix(p, []byte("HTTP/1.1 ")) {
		return nil, false
	}
	line, rest, _ := bytes.Cut(p, []byte("\r\n"))
	switch {
	case bytes.HasPrefix(p[len(line):], ownHead):
	case bytes.Equal(line, unexpected):
		rest = nil
	default:
		return nil, false
	}
	status := strings.TrimPrefix(string(line), "HTTP/1.1 ")
	_, reason, _ := strings.Cut(status, " ")
	if _, body, _ := bytes.Cut(rest, []byte("\r\n\r\n")); len(body) > 0 {
		reason = strings.TrimPrefix(string(body), status[:len("400 ")])
	}
	var code any = 1
	if c.code != nil {
		number, _ := strconv.Atoi(status[:len("400")])
		code = c.code(c.f.target.String(), number)
	}
	body, err := json.Marshal(struct {
		Code  any    `json:"code"`
		Error string `json:"error"`
	}{code, reason})
	if err != nil {
		return nil, false
	}
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: %d\r\n"+
		"Content-Type: application/json; charset=UTF-8\r\n\r\n%s", status, len(body), body), true
}
