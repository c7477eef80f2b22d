package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// conn is a connection with a reader for HTTP/1.1 answers and Redis replies. What a read returns is
// valid until the next one.
type conn struct {
	net.Conn
	buf  []byte
	r, w int    // buf[r:w] is read from the socket and not yet consumed
	body []byte // chunked answers are put together here
}

func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, buf: make([]byte, 16<<10)} }

// dialAll opens n connections and closes them when ctx ends, so that no call waits on a server
// after that. The deadline is for the lot: a hanging server fails the run instead of stopping it.
func dialAll(ctx context.Context, addr string, n int, patience time.Duration) ([]*conn, func(), error) {
	var conns []*conn
	closeAll := func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	deadline := time.Now().Add(patience)
	for range n {
		c, err := dial(ctx, addr)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		conns = append(conns, c)
		_ = c.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, closeAll)
	return conns, func() { stop(); closeAll() }, nil
}

// more reads at least one byte behind what is there.
func (c *conn) more() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		if c.r > 0 {
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		} else {
			c.buf = append(c.buf, make([]byte, len(c.buf))...)
		}
	}
	n, err := c.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take consumes n bytes, reading until they are there.
func (c *conn) take(n int) ([]byte, error) {
	for c.w-c.r < n {
		if err := c.more(); err != nil {
			return nil, err
		}
	}
	b := c.buf[c.r : c.r+n]
	c.r += n
	return b, nil
}

// takeThrough consumes up to and with mark.
func (c *conn) takeThrough(mark string) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.Index(c.buf[c.r+seen:c.w], []byte(mark)); i >= 0 {
			return c.take(seen + i + len(mark))
		}
		seen = max(0, c.w-c.r-len(mark)+1)
		if err := c.more(); err != nil {
			return nil, err
		}
	}
}

// readHTTP reads one answer and leaves the connection ready for the next. An answer after which the
// server hangs up is an error: kept connections are what the benchmark is about.
func (c *conn) readHTTP() (status int, body []byte, err error) {
	for {
		head, err := c.takeThrough("\r\n\r\n")
		if err != nil {
			return 0, nil, err
		}
		h, err := parseHead(head)
		switch {
		case err != nil:
			return 0, nil, err
		case h.status < 200:
			continue // 100 Continue and its like come before the answer
		case h.chunked:
			body, err = c.readChunks()
		case h.length >= 0:
			body, err = c.take(h.length)
		default:
			return 0, nil, fmt.Errorf("an answer without a length: %.200q", head)
		}
		if err == nil && h.closing {
			err = fmt.Errorf("the server closes the connection after an answer %d: %.200s", h.status, body)
		}
		return h.status, body, err
	}
}

// head is what the reader needs to know of an answer's head.
type head struct {
	status  int
	length  int // -1 when it is not said
	chunked bool
	closing bool
}

func parseHead(b []byte) (head, error) {
	h := head{length: -1}
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." {
		return h, fmt.Errorf("not an HTTP answer: %.100q", line)
	}
	var err error
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("not an HTTP answer: %.100q", line)
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		colon := bytes.IndexByte(line, ':')
		// The lengths rule out nearly all other headers before any letter is compared.
		switch colon {
		case len("Content-Length"):
			if bytes.EqualFold(line[:colon], []byte("Content-Length")) {
				h.length, err = strconv.Atoi(string(bytes.TrimSpace(line[colon+1:])))
				if err != nil || h.length < 0 {
					return h, fmt.Errorf("content length %.100q", line)
				}
			}
		case len("Transfer-Encoding"):
			if bytes.EqualFold(line[:colon], []byte("Transfer-Encoding")) {
				h.chunked = bytes.EqualFold(bytes.TrimSpace(line[colon+1:]), []byte("chunked"))
			}
		case len("Connection"):
			if bytes.EqualFold(line[:colon], []byte("Connection")) {
				h.closing = bytes.EqualFold(bytes.TrimSpace(line[colon+1:]), []byte("close"))
			}
		}
	}
	return h, nil
}

func (c *conn) readChunks() ([]byte, error) {
	c.body = c.body[:0]
	for {
		line, err := c.takeThrough("\r\n")
		if err != nil {
			return nil, err
		}
		size, _, _ := bytes.Cut(line[:len(line)-2], []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return nil, fmt.Errorf("chunk size %.100q", line)
		}
		if n == 0 {
			break
		}
		b, err := c.take(int(n) + 2)
		if err != nil {
			return nil, err
		}
		c.body = append(c.body, b[:n]...)
	}
	for { // trailers, and the empty line that ends them
		line, err := c.takeThrough("\r\n")
		if err != nil {
			return nil, err
		}
		if len(line) == 2 {
			return c.body, nil
		}
	}
}

// readRESP reads one reply of Redis, whole and as it came.
func (c *conn) readRESP() ([]byte, error) {
	for {
		n, err := replyLen(c.buf[c.r:c.w], 0)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return c.take(n)
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
}

// maxReply bounds what a length in a reply may say; Redis itself allows as much for one value.
const maxReply = 512 << 20

// replyLen is the length of the reply at the start of b, 0 while it is not complete.
func replyLen(b []byte, depth int) (int, error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, nil
	}
	if end == 0 || depth > 8 {
		return 0, fmt.Errorf("not a reply of Redis: %.100q", b)
	}
	n := end + 2
	switch b[0] {
	case '+', '-', ':':
		return n, nil
	case '$', '*':
	default:
		return 0, fmt.Errorf("not a reply of Redis: %.100q", b)
	}
	count, err := strconv.Atoi(string(b[1:end]))
	if err != nil || count < -1 || count > maxReply {
		return 0, fmt.Errorf("not a reply of Redis: %.100q", b)
	}
	if count < 0 { // null
		return n, nil
	}
	if b[0] == '$' {
		if n += count + 2; n > len(b) {
			return 0, nil
		}
		return n, nil
	}
	for range count {
		m, err := replyLen(b[n:], depth+1)
		if m == 0 || err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}
