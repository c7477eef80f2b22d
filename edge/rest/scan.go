package rest

import "unicode/utf8"

// scanPeers reads the plain question {"peers":["a","b"]} without escapes. For anything else it reports false, and the
// strict decoder judges the body. The ids lie in body.
func scanPeers(body []byte) (ids [][]byte, ok bool) {
	b := body
	if b, ok = token(b, '{'); !ok {
		return nil, false
	}
	const key = `"peers"`
	if len(b) < len(key) || string(b[:len(key)]) != key {
		return nil, false
	}
	if b, ok = token(b[len(key):], ':'); !ok {
		return nil, false
	}
	if b, ok = token(b, '['); !ok {
		return nil, false
	}
	ids = make([][]byte, 0, 16+len(b)/32)
	if rest, empty := token(b, ']'); empty {
		b = rest
	} else {
		for {
			if b, ok = token(b, '"'); !ok {
				return nil, false
			}
			end := plainEnd(b)
			if end < 0 {
				return nil, false
			}
			ids = append(ids, b[:end:end])
			b = b[end:]
			b, _ = token(b, '"') // plainEnd found it; this passes the space behind it
			if rest, more := token(b, ','); more {
				b = rest
				continue
			}
			if b, ok = token(b, ']'); !ok {
				return nil, false
			}
			break
		}
	}
	if b, ok = token(b, '}'); !ok || len(b) > 0 {
		return nil, false
	}
	return ids, true
}

// token passes space, one c, and the space behind it, except within a string that c opens.
func token(b []byte, c byte) (rest []byte, ok bool) {
	i := 0
	for i < len(b) && space(b[i]) {
		i++
	}
	if i == len(b) || b[i] != c {
		return b, false
	}
	i++
	if c == '"' {
		return b[i:], true
	}
	for i < len(b) && space(b[i]) {
		i++
	}
	return b[i:], true
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// plainEnd returns where the string at the start of b ends; -1 when it holds an escape, a control character or bytes that
// are not UTF-8, or does not end.
func plainEnd(b []byte) int {
	high := false
	for i, c := range b {
		switch {
		case c == '"':
			if high && !utf8.Valid(b[:i]) {
				return -1
			}
			return i
		case c == '\\' || c < 0x20:
			return -1
		case c >= utf8.RuneSelf:
			high = true
		}
	}
	return -1
}
