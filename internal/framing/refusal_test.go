package framing_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What the handler never sees is refused in the shape of every other refusal.
func TestRefusalsAreJSONThatPagesMayRead(t *testing.T) {
	addr, _ := serve(t, nil)
	long := strings.Repeat("y", 40<<10)
	tests := []struct {
		name, request string
		status        int
		text          string
	}{
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "Bad Request"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, "Bad Request: missing required Host header"},
		{"a name that is none", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400, "Bad Request: invalid header name"},
		{"not HTTP", "hello\r\n\r\n", 400, "Bad Request"},
		{"a large head", "GET / HTTP/1.1\r\nHost: a\r\nX-A: " + long + "\r\n\r\n", 431, "Request Header Fields Too Large"},
		{"an expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417, "Expectation Failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(talk(t, addr, tt.request, false))), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var got struct {
				Code  int
				Error string
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || json.Unmarshal(body, &got) != nil || got.Code != 1 || got.Error != tt.text || res.StatusCode != tt.status {
				t.Errorf("got %d %s, %v; want %d, code 1, %q", res.StatusCode, body, err, tt.status, tt.text)
			}
			if res.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") || !res.Close {
				t.Errorf("got headers %v, close %v; want allow-origin *, JSON, close", res.Header, res.Close)
			}
		})
	}
}
