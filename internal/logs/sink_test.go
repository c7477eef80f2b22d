package logs_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"rollcall/internal/logs"
)

func TestTheLogNeverHoldsUpWhoLogs(t *testing.T) {
	release := make(chan struct{})
	w := &stuckWriter{release: release}
	sink := logs.NewSink(w)
	log := slog.New(slog.NewTextHandler(sink, nil))
	for range 5000 {
		log.Info("a line") // would hang here
	}
	if sink.Dropped() < 3000 {
		t.Errorf("%d lines dropped of 5000 while the writer was stuck", sink.Dropped())
	}
	sink.Close(time.Millisecond) // and is left behind
	close(release)
	sink.Close(time.Minute)
	if text := w.text.String(); !strings.Contains(text, "lines are missing here") {
		t.Errorf("the gap is not told; %d bytes were written", len(text))
	}
}

type stuckWriter struct {
	release chan struct{}
	text    strings.Builder
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	<-w.release
	return w.text.Write(b)
}
