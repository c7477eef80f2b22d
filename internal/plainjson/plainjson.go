// Package plainjson reads in place the plain shapes that clients send most, without garbage.
// Everything else it leaves to encoding/json: a body that it does not take is not plain, which says
// nothing about whether it is JSON.
package plainjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// List reads an object of one member, a list of strings without escapes in valid UTF-8, as
// {"peers":["a","b"]} for the member peers. It appends the strings to list as slices of body. For
// anything else, and for more strings than limit, ok is false.
func List(body []byte, member string, list [][]byte, limit int) (_ [][]byte, ok bool) {
	i := Skip(body, 0)
	if i >= len(body) || body[i] != '{' {
		return list, false
	}
	i = Skip(body, i+1)
	if n := len(member); len(body)-i < n+2 || body[i] != '"' || string(body[i+1:i+1+n]) != member || body[i+1+n] != '"' {
		return list, false
	}
	i = Skip(body, i+len(member)+2)
	if i >= len(body) || body[i] != ':' {
		return list, false
	}
	i = Skip(body, i+1)
	if i >= len(body) || body[i] != '[' {
		return list, false
	}
	i = Skip(body, i+1)
	if i < len(body) && body[i] == ']' {
		return list, closes(body, i+1)
	}
	ascii := true
	for len(list) < limit {
		if i >= len(body) || body[i] != '"' {
			return list, false
		}
		end, plain := stringEnd(body, i+1)
		if end < 0 {
			return list, false
		}
		ascii = ascii && plain
		list = append(list, body[i+1:end:end])
		if i = end + 1; i+1 < len(body) && body[i] == ',' && body[i+1] == '"' {
			i++
			continue
		}
		switch i = Skip(body, i); {
		case i >= len(body):
			return list, false
		case body[i] == ',':
			i = Skip(body, i+1)
		case body[i] == ']':
			return list, closes(body, i+1) && (ascii || utf8.Valid(body))
		default:
			return list, false
		}
	}
	return list, false
}

// closes reports whether nothing but the closing brace is left.
func closes(body []byte, i int) bool {
	i = Skip(body, i)
	return i < len(body) && body[i] == '}' && Skip(body, i+1) == len(body)
}

// Skip returns the first place from i on that is not white space.
func Skip(body []byte, i int) int {
	for i < len(body) && (body[i] == ' ' || body[i] == '\n' || body[i] == '\r' || body[i] == '\t') {
		i++
	}
	return i
}

// stringEnd returns where the quote is that ends the string starting at i, and whether all of it is
// ASCII; -1 for a string with escapes or control characters, or without end. It looks at eight
// bytes at a time.
func stringEnd(body []byte, i int) (end int, ascii bool) {
	ascii = true
	for {
		for i+8 <= len(body) {
			if odd := oddOf(binary.LittleEndian.Uint64(body[i:])); odd != 0 {
				i += bits.TrailingZeros64(odd) / 8
				break
			}
			i += 8
		}
		if i >= len(body) {
			return -1, ascii
		}
		switch b := body[i]; {
		case b == '"':
			return i, ascii
		case b == '\\' || b < 0x20:
			return -1, ascii
		case b >= utf8.RuneSelf:
			ascii = false
		}
		i++
	}
}

// oddOf sets the highest bit of the first byte of v that is a quote, a backslash, a control
// character or not ASCII. Bits of bytes behind it may be set as well.
func oddOf(v uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	// With bit 1 turned the quote comes next to the control characters.
	low := (v ^ ones*0x02) - ones*0x21
	slash := (v ^ ones*'\\') - ones
	return (low | slash | v) & high
}

// Flat reads an object of strings without escapes, integers, true, false and null, in valid UTF-8.
// It calls field with every name and value in order, as they stand in body. For anything else it
// returns false, perhaps after some calls.
func Flat(body []byte, field func(name, value []byte)) bool {
	i := Skip(body, 0)
	if i >= len(body) || body[i] != '{' {
		return false
	}
	ascii := true
	for i = Skip(body, i+1); ; i = Skip(body, i+1) {
		if i >= len(body) || body[i] != '"' {
			return false
		}
		end, plain := stringEnd(body, i+1)
		if end < 0 {
			return false
		}
		ascii = ascii && plain
		name := body[i+1 : end]
		if i = Skip(body, end+1); i >= len(body) || body[i] != ':' {
			return false
		}
		i = Skip(body, i+1)
		after, plain := scalarEnd(body, i)
		if after < 0 {
			return false
		}
		ascii = ascii && plain
		field(name, body[i:after])
		if i = Skip(body, after); i >= len(body) {
			return false
		}
		if body[i] == '}' {
			return Skip(body, i+1) == len(body) && (ascii || utf8.Valid(body))
		}
		if body[i] != ',' {
			return false
		}
	}
}

// scalarEnd returns where the plain value that starts at i ends; -1 for any other.
func scalarEnd(body []byte, i int) (after int, ascii bool) {
	if i < len(body) && body[i] == '"' {
		end, ascii := stringEnd(body, i+1)
		if end < 0 {
			return -1, ascii
		}
		return end + 1, ascii
	}
	after = i
	for after < len(body) && (body[after] == '-' || body[after] >= '0' && body[after] <= '9' || body[after] >= 'a' && body[after] <= 'z') {
		after++
	}
	switch word := body[i:after]; {
	case string(word) == "true", string(word) == "false", string(word) == "null", string(word) == "0":
		return after, true
	case Integer(word) && word[0] != '0' && (word[0] != '-' || word[1] != '0'):
		return after, true
	}
	return -1, true
}

// Depth returns how deep body is nested, brackets in strings aside, whether or not it is JSON.
func Depth(body []byte) (most int) {
	level, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case quoted:
			if b == '\\' {
				i++
			} else if b == '"' {
				quoted = false
			}
		case b == '"':
			quoted = true
		case b == '[' || b == '{':
			level++
			most = max(most, level)
		case b == ']' || b == '}':
			level--
		}
	}
	return most
}

// Integer reports whether the JSON number b is an integer; minus zero is none.
func Integer(b []byte) bool {
	digits := bytes.TrimPrefix(b, []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) > 0 && string(b) != "-0"
}
