package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Scripted server answers each command by a function, as a Redis would that cannot be had: an old
// one, or a fork. The answers are in RESP2; see [Bulk] and [Array].
type Scripted struct {
	Addr string

	answer func(args []string) string
	l      net.Listener
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
}

// RunScripted starts a server that ends with the test. answer gets a command with its name in upper
// case, from many goroutines, and returns the whole answer; "" stands for an unknown command, in
// the words of Redis.
func RunScripted(t testing.TB, answer func(args []string) string) *Scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Scripted{Addr: l.Addr().String(), answer: answer, l: l, conns: map[net.Conn]struct{}{}}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *Scripted) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(c) })
	}
}

func (s *Scripted) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		args[0] = strings.ToUpper(args[0])
		answer := s.answer(args)
		if answer == "" {
			answer = fmt.Sprintf("-ERR unknown command `%s`, with args beginning with: ", args[0])
			for _, a := range args[1:] {
				answer += "`" + a + "`, "
			}
			answer += "\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func (s *Scripted) close() {
	_ = s.l.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// readCommand reads one command as clients send it: an array of bulk strings.
func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*')
	if err != nil || n < 1 || n > 1<<16 {
		return nil, fmt.Errorf("read a command of %d: %w", n, orShort(err))
	}
	args := make([]string, n)
	for i := range args {
		n, err := readLength(r, '$')
		if err != nil || n < 0 || n > 1<<20 {
			return nil, fmt.Errorf("read an argument of %d: %w", n, orShort(err))
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:n])
	}
	return args, nil
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q is no %c", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func orShort(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Bulk is the answer of a string.
func Bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// Array is the answer of a list of answers.
func Array(items ...string) string {
	return fmt.Sprintf("*%d\r\n%s", len(items), strings.Join(items, ""))
}
