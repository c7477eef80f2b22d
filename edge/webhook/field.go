package webhook

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"rollcall/presence"
)

// Products write numbers as text and text as numbers, and change their minds between versions. What
// has a plain meaning is taken, anything else is as if the field were missing.

// Text is a string, or a number for which its digits stand.
type Text string

// UnmarshalJSON reads any value.
func (t *Text) UnmarshalJSON(b []byte) error {
	*t = ""
	var s string
	switch {
	case b[0] == '"' && bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b):
		s = string(b[1 : len(b)-1]) // as nearly all are
	case b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		s = string(b)
	}
	*t = Text(s)
	return nil
}

// Number is a whole number, or a string of one; a fraction is cut off.
type Number int64

// UnmarshalJSON reads any value.
func (n *Number) UnmarshalJSON(b []byte) error {
	*n = 0
	var t Text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	s := strings.TrimSpace(string(t))
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = Number(v)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
		*n = Number(f)
	}
	return nil
}

// Millis returns n as a time in Unix milliseconds; 0, which is the time of receipt, when it cannot
// be one.
func (n Number) Millis() presence.Millis {
	if n < 1e12 || n >= 1e13 {
		return 0
	}
	return presence.Millis(n)
}

// SecondsMillis returns n, a time in Unix seconds, in milliseconds; 0 when it cannot be one.
func (n Number) SecondsMillis() presence.Millis {
	if n < 1e9 || n >= 1e10 {
		return 0
	}
	return presence.Millis(n * 1000)
}

// A Flag is a truth value in an answer.
type Flag uint8

// What a flag may be; it is absent when there is none.
const (
	FlagAbsent Flag = iota
	FlagTrue
	FlagFalse
	FlagUnclear // neither true nor false
)

// UnmarshalJSON reads any value.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*f = FlagTrue
	case "false":
		*f = FlagFalse
	default:
		*f = FlagUnclear
	}
	return nil
}
