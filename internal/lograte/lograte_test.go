package lograte_test

import (
	"errors"
	"testing"

	"rollcall/internal/lograte"
)

func TestALineIsDueOnceASecond(t *testing.T) {
	var l lograte.Line
	for _, step := range []struct {
		now, unsaid int64
		due         bool
	}{
		{5000, 0, true},
		{5000, 0, false},
		{5999, 0, false},
		{6000, 2, true},
		{6500, 0, false},
		{2000, 1, true}, // the clock was set back
		{9000, 0, true},
	} {
		if unsaid, due := l.Due(step.now); unsaid != step.unsaid || due != step.due {
			t.Errorf("at %d it is due %v with %d unsaid; want %v with %d", step.now, due, unsaid, step.due, step.unsaid)
		}
	}
}

func TestALineIsDueOnceAPeriod(t *testing.T) {
	l := lograte.Line{Every: 60_000}
	for _, step := range []struct {
		now int64
		due bool
	}{{5000, true}, {64_999, false}, {65_000, true}} {
		if _, due := l.Due(step.now); due != step.due {
			t.Errorf("at %d it is due: %v", step.now, due)
		}
	}
}

func TestAnEpisodeBeginsAndEndsOnce(t *testing.T) {
	var e lograte.Episode
	bad := errors.New("no answer")
	for i, step := range []struct {
		err          error
		begins, over bool
	}{
		{nil, false, false},
		{bad, true, false},
		{bad, false, false},
		{nil, false, true},
		{nil, false, false},
		{bad, true, false},
	} {
		if begins, over := e.Note(step.err); begins != step.begins || over != step.over {
			t.Errorf("try %d: begins %v, over %v; want %v, %v", i, begins, over, step.begins, step.over)
		}
	}
}
