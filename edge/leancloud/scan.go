package leancloud

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanIDs reads the plain shape of a question, {"peerIds":["a","b"]}: this one key, strings without escapes, valid UTF-8. It
// appends the ids to ids as slices of body, at most limit. For anything else ok is false and encoding/json has the word.
func scanIDs(body []byte, ids [][]byte, limit int) (_ [][]byte, ok bool) {
	i := skip(body, 0)
	if i >= len(body) || body[i] != '{' {
		return ids, false
	}
	i = skip(body, i+1)
	const key = `"peerIds"`
	if len(body)-i < len(key) || string(body[i:i+len(key)]) != key {
		return ids, false
	}
	i = skip(body, i+len(key))
	if i >= len(body) || body[i] != ':' {
		return ids, false
	}
	i = skip(body, i+1)
	if i >= len(body) || body[i] != '[' {
		return ids, false
	}
	i = skip(body, i+1)
	if i < len(body) && body[i] == ']' {
		return ids, closes(body, i+1)
	}
	ascii := true
	for len(ids) < limit {
		if i >= len(body) || body[i] != '"' {
			return ids, false
		}
		end, plain := stringEnd(body, i+1)
		if end < 0 {
			return ids, false
		}
		ascii = ascii && plain
		ids = append(ids, body[i+1:end:end])
		if i = end + 1; i+1 < len(body) && body[i] == ',' && body[i+1] == '"' {
			i++
			continue
		}
		switch i = skip(body, i); {
		case i >= len(body):
			return ids, false
		case body[i] == ',':
			i = skip(body, i+1)
		case body[i] == ']':
			return ids, closes(body, i+1) && (ascii || utf8.Valid(body))
		default:
			return ids, false
		}
	}
	return ids, false
}

// closes reports whether nothing but the closing brace is left.
func closes(body []byte, i int) bool {
	i = skip(body, i)
	return i < len(body) && body[i] == '}' && skip(body, i+1) == len(body)
}

// skip returns the first place from i on that is not white space.
func skip(body []byte, i int) int {
	for i < len(body) && (body[i] == ' ' || body[i] == '\n' || body[i] == '\r' || body[i] == '\t') {
		i++
	}
	return i
}

// stringEnd returns where the quote is that ends the string starting at i, and whether all of it is ASCII; -1 for a string
// with escapes or control characters, or without end. It looks at eight bytes at a time.
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

// oddOf sets the highest bit of the first byte of v that is a quote, a backslash, a control character or not ASCII. Bits of
// bytes behind it may be set as well.
func oddOf(v uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	low := (v ^ ones*0x02) - ones*0x21 // with bit 1 turned the quote comes next to the control characters
	slash := (v ^ ones*'\\') - ones
	return (low | slash | v) & high
}

// scanFlat reads the plain shape of a hook: an object of strings without escapes, integers and the three words, in valid UTF-8. It
// calls field with every name and value in order. For anything else it returns false and encoding/json has the word.
func scanFlat(body []byte, field func(name, value []byte)) bool {
	i := skip(body, 0)
	if i >= len(body) || body[i] != '{' {
		return false
	}
	ascii := true
	for i = skip(body, i+1); ; i = skip(body, i+1) {
		if i >= len(body) || body[i] != '"' {
			return false
		}
		end, plain := stringEnd(body, i+1)
		if end < 0 {
			return false
		}
		ascii = ascii && plain
		name := body[i+1 : end]
		if i = skip(body, end+1); i >= len(body) || body[i] != ':' {
			return false
		}
		i = skip(body, i+1)
		after, plain := scalarEnd(body, i)
		if after < 0 {
			return false
		}
		ascii = ascii && plain
		field(name, body[i:after])
		if i = skip(body, after); i >= len(body) {
			return false
		}
		if body[i] == '}' {
			return skip(body, i+1) == len(body) && (ascii || utf8.Valid(body))
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
	case integer(word) && word[0] != '0' && (word[0] != '-' || word[1] != '0'):
		return after, true
	}
	return -1, true
}
