package operator

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPagesOfTheWebDoNotReachTheOperatorListener(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	tests := []struct {
		bound, host string
		want        int
	}{
		{"127.0.0.1:3001", "127.0.0.1:3001", http.StatusOK},
		{"127.0.0.1:3001", "localhost:9999", http.StatusOK},
		{"127.0.0.1:3001", "localhost", http.StatusOK},
		{"[::1]:3001", "[::1]:3001", http.StatusOK},
		{"[::1]:3001", "[::1]", http.StatusOK},
		{"127.0.0.1:3001", "evil.example:3001", http.StatusForbidden},
		{"127.0.0.1:3001", "localhost.evil.example", http.StatusForbidden},
		{"127.0.0.1:3001", "127.0.0.1.evil.example", http.StatusForbidden},
		{"127.0.0.1:3001", "", http.StatusForbidden},
		{"127.0.0.1:3001", "10.0.0.5:3001", http.StatusForbidden},
		{"127.0.0.1:3001", "metrics.internal:3001", http.StatusOK}, // the setting names it
		{"10.0.0.5:3001", "rollcall.internal:3001", http.StatusForbidden},
		{"10.0.0.5:3001", "10.0.0.5:3001", http.StatusOK},
		{"10.0.0.5:3001", "METRICS.internal.", http.StatusOK},
		{"[::]:3001", "rollcall.internal:3001", http.StatusForbidden},
		{"[::]:3001", "evil.example", http.StatusForbidden},
		{"[::]:3001", "", http.StatusForbidden},
		{"[::]:3001", "localhost:3001", http.StatusOK},
		{"[::]:3001", "[2001:db8::5]:3001", http.StatusOK},
		{"[::]:3001", "bound.example:3001", http.StatusOK}, // the listener was asked for by it
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "/status", nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		OnlyNamed(tt.bound, "bound.example:3001", []string{"metrics.internal"}, ok).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("bound to %s, asked as %q: got %d, want %d", tt.bound, tt.host, w.Code, tt.want)
		}
	}
}
