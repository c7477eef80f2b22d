package leancloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"rollcall/internal/plainjson"
)

// hole stands for null in a list of ids. It is no UTF-8, so no report can name it, and it is
// answered as unknown.
var hole = []byte{0xff}

// listIDs reads the elements of raw, a valid JSON list. The recipe makes a key of every element by
// putting it behind a string, so an element that is no string is the id of its JavaScript text: one
// odd element must not keep the rest from being answered. null is an id that no peer has.
func listIDs(raw []byte, ids [][]byte, limit int, name string) ([][]byte, *fault) {
	i := plainjson.Skip(raw, 1)
	for raw[i] != ']' {
		if len(ids) == limit {
			return ids, &fault{
				status: http.StatusRequestEntityTooLarge, code: codeTooMuch,
				text: fmt.Sprintf("The parameter %s lists more than %d ids.", name, limit),
			}
		}
		end := valueEnd(raw, i)
		ids = append(ids, idOf(raw[i:end]))
		if i = plainjson.Skip(raw, end); raw[i] == ',' {
			i = plainjson.Skip(raw, i+1)
		}
	}
	return ids, nil
}

// idOf returns the id that an element of a list stands for, as a part of element where that is
// possible.
func idOf(element []byte) []byte {
	switch {
	case element[0] == '"' && bytes.IndexByte(element, '\\') < 0:
		return element[1 : len(element)-1]
	case string(element) == "null":
		return hole
	case plainjson.Integer(element):
		return element
	}
	id, _ := appendText([]byte{}, element, 0)
	return id
}

// appendText appends the text that JavaScript's String makes of the value that starts at raw[i],
// and returns where the value ends. Integers keep all their digits. raw is valid JSON, nested no
// deeper than MaxDepth.
func appendText(b, raw []byte, i int) (_ []byte, end int) {
	switch raw[i] {
	case '[':
		for i = plainjson.Skip(raw, i+1); raw[i] != ']'; {
			if raw[i] == ',' {
				b = append(b, ',')
				i = plainjson.Skip(raw, i+1)
			}
			if raw[i] == 'n' { // null in a list is no text
				i += len("null")
			} else {
				b, i = appendText(b, raw, i)
			}
			i = plainjson.Skip(raw, i)
		}
		return b, i + 1
	case '{':
		return append(b, "[object Object]"...), valueEnd(raw, i)
	}
	end = valueEnd(raw, i)
	switch value := raw[i:end]; {
	case value[0] == '"':
		b = append(b, textOf(json.RawMessage(value))...)
	case isNumber(value):
		b = append(b, decimal(value)...)
	default:
		b = append(b, value...)
	}
	return b, end
}

// valueEnd returns where the value that starts at raw[i] ends; raw is valid JSON.
func valueEnd(raw []byte, i int) int {
	for level := 0; i < len(raw); {
		switch raw[i] {
		case '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			i++
		case '[', '{':
			level++
			i++
			continue
		case ']', '}':
			level--
			i++
		case ',', ':', ' ', '\t', '\r', '\n': // between the values of a list or an object
			i++
			continue
		default:
			n := bytes.IndexAny(raw[i:], ",]} \t\r\n")
			if n < 0 {
				return len(raw)
			}
			i += n
		}
		if level == 0 {
			return i
		}
	}
	return i
}
