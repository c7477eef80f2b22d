package leancloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"rollcall/internal/plainjson"
)

// params are the parameters of a call, by exact name. Of a name that comes twice the last counts.
type params map[string]json.RawMessage

// text returns the parameter called name when it is a string, else "".
func (p params) text(name string) string { return textOf(p[name]) }

// textOf returns the string that raw holds, and "" for a value of another kind.
func textOf(raw json.RawMessage) (s string) {
	switch {
	case len(raw) == 0 || raw[0] != '"':
		return ""
	case bytes.IndexByte(raw, '\\') < 0: // raw is valid, so there is nothing to decode
		return string(raw[1 : len(raw)-1])
	}
	_ = json.Unmarshal(raw, &s)
	return s
}

// parse reads body as the parameters of a call. An empty body has none.
func (h *Handler) parse(body []byte, form bool) (params, *fault) {
	if len(body) == 0 {
		return nil, nil
	}
	if form {
		return parseForm(body)
	}
	body = repair(body)
	if plainjson.Depth(body) > h.cfg.MaxDepth {
		return nil, bad(fmt.Sprintf("The body is nested deeper than %d.", h.cfg.MaxDepth))
	}
	var p params
	switch first := firstByte(body); {
	case !json.Valid(body):
		return nil, errMalformed
	case first == '[':
		return nil, bad("The body is a list; parameters are expected by name, such as {\"peerIds\":[]}.")
	case first != '{':
		return nil, errMalformed
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, errMalformed
	}
	return p, nil
}

// parseForm reads a flat form: one value is a string, several are a list. A semicolon is a
// character as any other; a field that is not escaped as it should be is refused by its name.
func parseForm(body []byte) (params, *fault) {
	values := url.Values{}
	for pair := range strings.SplitSeq(string(body), "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return nil, bad(fmt.Sprintf("The name %.64q of a form field is not escaped as it should be.", rawName))
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return nil, bad(fmt.Sprintf("The form field %.64q is not escaped as it should be.", name))
		}
		values[name] = append(values[name], value)
	}
	p := make(params, len(values))
	for name, list := range values {
		var raw []byte
		var err error
		if len(list) == 1 {
			raw, err = json.Marshal(list[0])
		} else {
			raw, err = json.Marshal(list)
		}
		if err != nil {
			return nil, errMalformed
		}
		p[name] = raw
	}
	return p, nil
}

func firstByte(body []byte) byte {
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 {
		return body[0]
	}
	return 0
}

// repair replaces what is not UTF-8 by U+FFFD, one for each longest start of a character that
// breaks off, as the original's decoder does: encoding/json would put one for each byte, and the id
// would be another.
func repair(body []byte) []byte {
	if utf8.Valid(body) {
		return body
	}
	out := make([]byte, 0, len(body)+16)
	for len(body) > 0 {
		r, n := utf8.DecodeRune(body)
		if r == utf8.RuneError && n == 1 {
			out = append(out, "\uFFFD"...)
			n = broken(body)
		} else {
			out = append(out, body[:n]...)
		}
		body = body[n:]
	}
	return out
}

// broken returns how many bytes the longest start of a character has that b begins with and that
// does not go on; at least 1.
func broken(b []byte) int {
	lo, hi, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		if c == 0xE0 {
			lo = 0xA0
		} else if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F
		}
	}
	n := 1
	for n <= need && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}
