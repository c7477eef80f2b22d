package main

import (
	"cmp"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// feed is a connection on which text arrives in pieces of so many bytes and then ends.
func feed(t *testing.T, text string, piece int) *conn {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close() })
	go func() {
		for len(text) > 0 {
			n := min(piece, len(text))
			if _, err := io.WriteString(there, text[:n]); err != nil {
				return // the reader had enough
			}
			text = text[n:]
		}
		_ = there.Close()
	}()
	return newConn(here)
}

func TestReadHTTP(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	const okay = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		stream string
		want   []string // status and body of each answer
		end    string   // part of the error after them; empty for the end of the stream
	}{
		{"one answer", okay + "Content-Length: 2\r\n\r\n{}", []string{"200 {}"}, ""},
		{"two in a row", okay + "content-length:2\r\n\r\n{}HTTP/1.1 401 Unauthorized\r\nX: y\r\nCONTENT-LENGTH: 3\r\n\r\nabc", []string{"200 {}", "401 abc"}, ""},
		{"no body", okay + "Content-Length: 0\r\n\r\n", []string{"200 "}, ""},
		{"larger than the buffer", okay + "Content-Length: 100000\r\n\r\n" + long, []string{"200 " + long}, ""},
		{"a head of Node", okay + "Access-Control-Allow-Origin: *\r\nContent-Type: application/json; charset=UTF-8\r\nDate: Mon, 23 Nov 2026 03:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\n{}", []string{"200 {}"}, ""},
		{"chunks", okay + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1;x=y\r\n\n\r\n0\r\n\r\n", []string{"200 {}\n"}, ""},
		{"chunks and a trailer, then another", okay + "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n" + okay + "Content-Length: 1\r\n\r\n!", []string{"200 0123456789", "200 !"}, ""},
		{"100 before the answer", "HTTP/1.1 100 Continue\r\n\r\n" + okay + "Content-Length: 1\r\n\r\n!", []string{"200 !"}, ""},
		{"cut in the head", okay, nil, "unexpected EOF"},
		{"cut in the body", okay + "Content-Length: 5\r\n\r\nabc", nil, "unexpected EOF"},
		{"cut in a chunk", okay + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", nil, "unexpected EOF"},
		{"no length", okay + "\r\nabc", nil, "without a length"},
		{"a negative length", okay + "Content-Length: -5\r\n\r\nabc", nil, "content length"},
		{"a chunk of nonsense", okay + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc", nil, "chunk size"},
		{"a chunk beyond reason", okay + "Transfer-Encoding: chunked\r\n\r\nffffffffff\r\nabc", nil, "chunk size"},
		{"hanging up", okay + "Connection: close\r\nContent-Length: 2\r\n\r\n{}", nil, "closes the connection"},
		{"something else", "SSH-2.0-OpenSSH_9.2\r\n\r\n", nil, "not an HTTP answer"},
	}
	for _, tt := range tests {
		for _, piece := range []int{1, 7, 1 << 20} {
			if piece == 1 && len(tt.stream) > 10_000 {
				continue
			}
			c := feed(t, tt.stream, piece)
			for i, want := range tt.want {
				status, body, err := c.readHTTP()
				if err != nil {
					t.Fatalf("%s, pieces of %d, answer %d: %v", tt.name, piece, i, err)
				}
				if got := strings.Join([]string{strconv.Itoa(status), string(body)}, " "); got != want {
					t.Errorf("%s, pieces of %d, answer %d: got %.100q, want %.100q", tt.name, piece, i, got, want)
				}
			}
			_, _, err := c.readHTTP()
			if end := cmp.Or(tt.end, "EOF"); err == nil || !strings.Contains(err.Error(), end) {
				t.Errorf("%s, pieces of %d: then got %v, want %q", tt.name, piece, err, end)
			}
		}
	}
}

func TestReadRESP(t *testing.T) {
	long := "$40000\r\n" + strings.Repeat("x", 40000) + "\r\n"
	tests := []struct {
		name   string
		stream string
		want   []string
		end    string
	}{
		{"status, error, number", "+OK\r\n-ERR x\r\n:5\r\n", []string{"+OK\r\n", "-ERR x\r\n", ":5\r\n"}, ""},
		{"values", "$1\r\n1\r\n$-1\r\n$0\r\n\r\n", []string{"$1\r\n1\r\n", "$-1\r\n", "$0\r\n\r\n"}, ""},
		{"a value that holds line ends", "$4\r\n\r\n\r\n\r\n+OK\r\n", []string{"$4\r\n\r\n\r\n\r\n", "+OK\r\n"}, ""},
		{"lists", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n0\r\n*0\r\n*-1\r\n", []string{"*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n0\r\n", "*0\r\n", "*-1\r\n"}, ""},
		{"a list in a list", "*2\r\n*1\r\n:1\r\n:2\r\n", []string{"*2\r\n*1\r\n:1\r\n:2\r\n"}, ""},
		{"larger than the buffer", long, []string{long}, ""},
		{"cut", "*2\r\n$1\r\n1\r\n", nil, "unexpected EOF"},
		{"nonsense", "hello\r\n", nil, "not a reply"},
		{"a length that is none", "$x\r\n", nil, "not a reply"},
		{"a length beyond reason", "$9223372036854775807\r\n", nil, "not a reply"},
		{"lists without end", strings.Repeat("*1\r\n", 100), nil, "not a reply"},
	}
	for _, tt := range tests {
		for _, piece := range []int{1, 5, 1 << 20} {
			if piece == 1 && len(tt.stream) > 10_000 {
				continue
			}
			c := feed(t, tt.stream, piece)
			for i, want := range tt.want {
				got, err := c.readRESP()
				if err != nil {
					t.Fatalf("%s, pieces of %d, reply %d: %v", tt.name, piece, i, err)
				}
				if string(got) != want {
					t.Errorf("%s, pieces of %d, reply %d: got %.100q, want %.100q", tt.name, piece, i, got, want)
				}
			}
			_, err := c.readRESP()
			if end := cmp.Or(tt.end, "EOF"); err == nil || !strings.Contains(err.Error(), end) {
				t.Errorf("%s, pieces of %d: then got %v, want %q", tt.name, piece, err, end)
			}
		}
	}
}

func FuzzReplyLen(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "$1\r\n1\r\n", "*2\r\n$-1\r\n:1\r\n", "*1\r\n*1\r\n", "$-2\r\n", "\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := replyLen(b, 0)
		if n < 0 || n > len(b) || (err != nil && n != 0) {
			t.Fatalf("a reply of %d bytes in %q (%v)", n, b, err)
		}
		// The rest of the stream says nothing about a whole reply, and less than the whole is none.
		if n > 0 {
			if again, _ := replyLen(b[:n], 0); again != n {
				t.Fatalf("%q is a reply of %d bytes, then of %d", b, n, again)
			}
			if less, _ := replyLen(b[:n-1], 0); less != 0 {
				t.Fatalf("%q is a reply of %d bytes with its last byte missing", b[:n-1], less)
			}
		}
	})
}
