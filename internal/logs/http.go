package logs

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// httpLog takes the lines that net/http writes to its own log. Most are about broken clients and are for those who look
// closely; two kinds need a hand.
type httpLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	told time.Time
}

// NewHTTP returns a logger for http.Server.ErrorLog that writes to l.
func NewHTTP(l *slog.Logger) *log.Logger { return log.New(&httpLog{log: l}, "", 0) }

func (h *httpLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.HasPrefix(text, "http: panic serving"):
		h.log.Error("a request made the program panic", "text", text)
	case strings.HasPrefix(text, "http: Accept error"):
		if h.minute() {
			h.log.Warn("connections cannot be accepted", "text", text)
		}
	default:
		h.log.Debug("broken request", "text", text)
	}
	return len(line), nil
}

// minute reports whether a minute has passed since it last did.
func (h *httpLog) minute() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.told.IsZero() && time.Since(h.told) < time.Minute {
		return false
	}
	h.told = time.Now()
	return true
}
