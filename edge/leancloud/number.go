package leancloud

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// decimal returns the text of a JSON number as the recipe keeps it: plain integers as they are, all others as JavaScript writes
// them.
func decimal(number []byte) string {
	if integer(number) {
		return string(number)
	}
	f, _ := strconv.ParseFloat(string(number), 64) // out of range is infinite
	switch a := math.Abs(f); {
	case f == 0:
		return "0"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strconv.FormatFloat(f, 'f', -1, 64), "+") + "inity"
	case a >= 1e21 || a < 1e-6:
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
		return mantissa + "e" + exponent[:1] + strings.TrimLeft(exponent[1:], "0")
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// integer reports whether the JSON number b is a plain integer; minus zero is none.
func integer(b []byte) bool {
	digits := bytes.TrimPrefix(b, []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) > 0 && string(b) != "-0"
}

// isNumber reports whether the JSON value raw is a number.
func isNumber(raw []byte) bool { return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' }
