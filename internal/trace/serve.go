package trace

import (
	"log/slog"
	"net/http"
	"time"

	"rollcall/internal/lograte"
)

// slow is from when on a request is worth a line.
const slow = time.Second

// A Log writes a line for each request with a trace that was refused, failed or slow, ten in a
// second at most.
type Log struct {
	log  *slog.Logger
	line lograte.Line
}

// NewLog returns a Log on log.
func NewLog(log *slog.Logger) *Log { return &Log{log: log, line: lograte.Line{Every: 100}} }

// Serve has next answer r, whose context has c from then on. A long request is never slow.
func (l *Log) Serve(w http.ResponseWriter, r *http.Request, c Context, door string, long bool, next http.Handler) {
	r = r.WithContext(With(r.Context(), c))
	s := &status{ResponseWriter: w}
	start := time.Now()
	next.ServeHTTP(s, r)
	took := time.Since(start)
	if long {
		took = 0
	}
	l.Note(c, door, s.code, took)
}

// Note writes the line of a request that was answered with code, when it is worth one.
func (l *Log) Note(c Context, door string, code int, took time.Duration) {
	if code < http.StatusBadRequest && took < slow {
		return
	}
	unsaid, due := l.line.Due(time.Now().UnixMilli())
	if !due {
		return
	}
	log := l.log.With("trace", c.ID(), "span", c.Span(), "door", door, "status", code, "took", took.Round(time.Microsecond), "unsaid", unsaid)
	switch {
	case code >= http.StatusInternalServerError:
		log.Info("request failed")
	case code >= http.StatusBadRequest:
		log.Info("request refused")
	default:
		log.Info("request was slow")
	}
}

// A status is a response whose status is remembered.
type status struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (s *status) WriteHeader(code int) {
	if s.code == 0 && code >= http.StatusOK {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
