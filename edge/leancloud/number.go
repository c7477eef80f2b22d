package leancloud

import (
	"math"
	"strconv"
	"strings"

	"rollcall/internal/plainjson"
)

// decimal returns the text of a JSON number as the recipe keeps it: plain integers as they are, all
// others as JavaScript writes them.
func decimal(number []byte) string {
	if plainjson.Integer(number) {
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

// isNumber reports whether the JSON value raw is a number.
func isNumber(raw []byte) bool { return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' }
