package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// An event is one report in the generic JSON. Senders differ in how they write numbers and ids, so all is taken whose meaning is
// plain; a field that is not is kept with the reason, see [event.problem].
type event struct {
	User     text    `json:"user"`
	Peer     text    `json:"peer"` // the same
	State    text    `json:"state"`
	Session  text    `json:"session"`
	Node     text    `json:"node"`
	Time     numeric `json:"time"`
	Inc      numeric `json:"inc"`
	Seq      rising  `json:"seq"`
	Platform text    `json:"platform"`
	Why      text    `json:"why"`
	ID       text    `json:"id"`
	TTL      numeric `json:"ttl"`
}

// A text is a string, or a whole number for which its decimal digits stand.
type text struct {
	s     string
	wrong bool
}

// UnmarshalJSON reads any value and keeps whether it is none of a text.
func (t *text) UnmarshalJSON(b []byte) error {
	switch c := b[0]; {
	case c == 'n':
	case c == '"':
		return json.Unmarshal(b, &t.s)
	case c == '-' || c >= '0' && c <= '9':
		t.s, t.wrong = digits(string(b))
	default:
		t.wrong = true
	}
	return nil
}

// digits returns the decimal digits of a JSON number; wrong is true for one that is not whole, or too great to be exact.
func digits(s string) (text string, wrong bool) {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return s, len(s) > 40
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return "", true
	}
	return strconv.FormatInt(int64(f), 10), false
}

// A numeric is a number, or a string of one.
type numeric struct {
	f     float64
	wrong bool
}

// UnmarshalJSON reads any value and keeps whether it is none of a number.
func (n *numeric) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		s = strings.TrimSpace(s)
	}
	if s == "null" || s == "" {
		return nil
	}
	var err error
	n.f, err = strconv.ParseFloat(s, 64)
	n.wrong = err != nil || math.IsNaN(n.f) || math.IsInf(n.f, 0)
	return nil
}

// A rising is a whole number that is not less than 0, or a string of one. What is not one is none: senders may write anything there.
type rising uint64

// UnmarshalJSON reads any value.
func (n *rising) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		*n = rising(v)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f < 1<<63 {
		*n = rising(f)
	}
	return nil
}

// A fieldError says which field of an event is wrong, and how.
type fieldError struct {
	field, code, text string
}

func (e *fieldError) Error() string { return "invalid: " + e.text }

// Is makes a fieldError match [presence.ErrInvalid].
func (e *fieldError) Is(target error) bool { return target == presence.ErrInvalid }

func invalidField(field, code, format string, args ...any) error {
	return &fieldError{field, code, fmt.Sprintf(format, args...)}
}

// parseEvent reads one event of a batch. The error says what is wrong with it.
func parseEvent(raw []byte) (event, error) {
	var e event
	if err := strictjson.Check(raw, api.MaxDepth-2); err != nil {
		var at *strictjson.Error
		if errors.As(err, &at) {
			return e, &fieldError{at.Member, "bad_json", "the event is not usable JSON: " + err.Error()}
		}
		return e, err
	}
	if raw[0] != '{' {
		return e, invalidField("", "invalid", "the event is not an object")
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, invalidField("", "invalid", "a field has the wrong type")
	}
	return e, e.problem()
}

// Times from 2001 to 2286, in milliseconds. What is one in another unit is taken for a mistake; no clock is off by just that.
const (
	leastMillis = 1e12
	mostMillis  = 1e13
)

// problem returns what is wrong with a field of e by itself, or nil.
func (e *event) problem() error {
	for _, f := range []struct {
		name string
		t    *text
	}{
		{"user", &e.User},
		{"peer", &e.Peer},
		{"state", &e.State},
		{"session", &e.Session},
		{"node", &e.Node},
		{"platform", &e.Platform},
		{"why", &e.Why},
		{"id", &e.ID},
	} {
		if f.t.wrong {
			return invalidField(f.name, "wrong_type", "%s is neither a text nor a whole number", f.name)
		}
	}
	for _, f := range []struct {
		name string
		n    *numeric
	}{{"time", &e.Time}, {"inc", &e.Inc}, {"ttl", &e.TTL}} {
		switch {
		case f.n.wrong:
			return invalidField(f.name, "wrong_type", "%s is not a number", f.name)
		case f.n.f < 0:
			return invalidField(f.name, "out_of_range", "%s is less than 0", f.name)
		}
	}
	if err := timeProblem(e.Time.f); err != nil {
		return err
	}
	if e.Inc.f > 1<<47-1 {
		return invalidField("inc", "out_of_range", "inc is not in Unix milliseconds")
	}
	if e.TTL.f > presence.MaxLease.Seconds() {
		return invalidField("ttl", "out_of_range", "ttl is not between 0 and %d seconds", presence.MaxLease/time.Second)
	}
	return nil
}

// timeProblem returns what is wrong with a time of a report, or nil; 0 is no time.
func timeProblem(t float64) error {
	switch {
	case t >= leastMillis/1000 && t < mostMillis/1000:
		return invalidField("time", "time_in_seconds", "time is in seconds; write Unix milliseconds")
	case t >= leastMillis*1000 && t < mostMillis*1000:
		return invalidField("time", "time_in_microseconds", "time is in microseconds; write Unix milliseconds")
	case t >= leastMillis*1e6 && t < mostMillis*1e6:
		return invalidField("time", "time_in_nanoseconds", "time is in nanoseconds; write Unix milliseconds")
	}
	if t > 1<<47-1 {
		return invalidField("time", "out_of_range", "time is not in Unix milliseconds")
	}
	return nil // a clock that is decades off is still a clock
}
