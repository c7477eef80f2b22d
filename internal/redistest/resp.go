package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// An Error is what a server answered with "-".
type Error string

func (e Error) Error() string { return string(e) }

// A Conn speaks RESP2 to one server, one command at a time. Tests use it to look at a server past
// the client under test.
type Conn struct {
	c net.Conn
	r *bufio.Reader
}

// Dial connects to addr.
func Dial(addr string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, fmt.Errorf("dial redis: %w", err)
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *Conn { return &Conn{c: c, r: bufio.NewReader(c)} }

// Close closes the connection.
func (c *Conn) Close() { _ = c.c.Close() }

// Do sends one command and returns its answer: a string, an int64, a []any or nil; an [Error] for
// an error answer.
func (c *Conn) Do(args ...string) (any, error) {
	list, err := c.Pipe(args)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Pipe sends commands at once, so that the server carries them out with nothing in between, and
// returns their answers.
func (c *Conn) Pipe(cmds ...[]string) ([]any, error) {
	var b []byte
	for _, args := range cmds {
		b = fmt.Appendf(b, "*%d\r\n", len(args))
		for _, a := range args {
			b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	_ = c.c.SetDeadline(time.Now().Add(Patience))
	if _, err := c.c.Write(b); err != nil {
		return nil, fmt.Errorf("send %s: %w", cmds[0][0], err)
	}
	list := make([]any, len(cmds))
	for i, args := range cmds {
		v, err := c.read()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", args[0], err)
		}
		list[i] = v
	}
	return list, nil
}

func (c *Conn) read() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, errors.New("short line")
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, Error(rest)
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return nil, err
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case '*':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return nil, err
		}
		list := make([]any, n)
		for i := range list {
			v, err := c.read()
			var e Error
			if err != nil && !errors.As(err, &e) {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	}
	return nil, fmt.Errorf("answer of unknown kind %q", kind)
}
