package wake_test

import (
	"testing"

	"rollcall/internal/wake"
)

func TestWakeUpsCoalesce(t *testing.T) {
	s := wake.NewSignal()
	for range 3 {
		s.Wake()
	}
	<-s
	select {
	case <-s:
		t.Error("several wake-ups before one receive woke twice")
	default:
	}
	s.Wake()
	<-s
}
