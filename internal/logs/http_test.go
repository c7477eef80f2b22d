package logs_test

import (
	"log/slog"
	"strings"
	"testing"

	"rollcall/internal/logs"
)

func TestHTTPsOwnLogIsSorted(t *testing.T) {
	var out strings.Builder
	l := logs.NewHTTP(slog.New(slog.NewTextHandler(&out, nil)))
	l.Print("http: panic serving 127.0.0.1:1: boom")
	l.Print("http: Accept error: too many open files; retrying in 5ms")
	l.Print("http: Accept error: too many open files; retrying in 10ms")
	l.Print("http: TLS handshake error") // for those who look closely
	want := []string{"a request made the program panic", "connections cannot be accepted"}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("line %d: got %s, want %q", i, lines[i], w)
		}
	}
}
