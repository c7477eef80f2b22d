package logs

import (
	"log"
	"log/slog"
	"strings"
	"time"

	"rollcall/internal/lograte"
)

// httpLog takes the lines that net/http writes to its own log. Most are about broken clients and
// are for those who look closely; two kinds need a hand.
type httpLog struct {
	log    *slog.Logger
	accept lograte.Line // of errors of Accept
}

// NewHTTP returns a logger for http.Server.ErrorLog that writes to l.
func NewHTTP(l *slog.Logger) *log.Logger {
	return log.New(&httpLog{log: l, accept: lograte.Line{Every: time.Minute.Milliseconds()}}, "", 0)
}

func (h *httpLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.HasPrefix(text, "http: panic serving"):
		h.log.Error("a request made the program panic", "text", text)
	case strings.HasPrefix(text, "http: Accept error"):
		if unsaid, due := h.accept.Due(time.Now().UnixMilli()); due {
			h.log.Warn("connections cannot be accepted", "unsaid", unsaid, "text", text)
		}
	default:
		h.log.Debug("broken request", "text", text)
	}
	return len(line), nil
}
