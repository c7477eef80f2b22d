package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/url"
	"slices"
	"strings"
)

// body returns what of a body may be kept. A body of which the rules know no fields is struck
// whole.
func (k *striker) body(body []byte, contentType string) []byte {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return body
	case json.Valid(body):
		return k.json(body, 0)
	case body[0] == '%': // JSON, escaped as in a URL
		if text, err := url.QueryUnescape(string(body)); err == nil && json.Valid([]byte(text)) {
			return []byte(url.QueryEscape(string(k.json([]byte(text), 0))))
		}
	}
	if kind, _, _ := mime.ParseMediaType(contentType); kind == "application/x-www-form-urlencoded" {
		if form, err := url.ParseQuery(string(body)); err == nil {
			return []byte(k.form(form))
		}
	}
	return []byte(struck)
}

// maxWithin is how many texts within texts are read as JSON.
const maxWithin = 4

// json returns body, which is valid, with the order of its members and the digits of its numbers.
func (k *striker) json(body []byte, depth int) []byte {
	w := &writer{striker: k, in: json.NewDecoder(bytes.NewReader(body)), depth: depth}
	w.in.UseNumber()
	if err := w.value("", false); err != nil {
		return []byte(`"` + struck + `"`)
	}
	return w.out.Bytes()
}

// A writer copies one value of JSON.
type writer struct {
	*striker
	in    *json.Decoder
	out   bytes.Buffer
	depth int
}

// value copies the next value, which stands under name. Below a name that is struck, whole is true
// and nothing is written.
func (w *writer) value(name string, whole bool) error {
	t, err := w.in.Token()
	if err != nil {
		return err
	}
	hide := !whole && named(name)
	switch t := t.(type) {
	case json.Delim:
		if hide {
			w.put(struck)
		}
		return w.list(t, name, whole || hide)
	case string:
		if whole {
			return nil
		}
		if hide && t != "" {
			t = struck
		}
		w.put(w.inner(t))
	case json.Number:
		switch {
		case whole:
		case hide || slices.Contains(w.secrets, t.String()):
			w.put(struck)
		default:
			w.out.WriteString(t.String())
		}
	default: // true, false and null are no secrets
		if !whole {
			w.put(t)
		}
	}
	return nil
}

// list copies the rest of an object or an array. The values of an array have the name of it.
func (w *writer) list(open json.Delim, name string, whole bool) error {
	mark := func(b string) {
		if !whole {
			w.out.WriteString(b)
		}
	}
	mark(open.String())
	for i := 0; w.in.More(); i++ {
		if i > 0 {
			mark(",")
		}
		if open == '{' {
			t, err := w.in.Token()
			if err != nil {
				return err
			}
			var ok bool
			if name, ok = t.(string); !ok {
				return errors.New("a member without a name")
			}
			if !whole {
				w.put(w.text(name))
			}
			mark(":")
		}
		if err := w.value(name, whole); err != nil {
			return err
		}
	}
	end, err := w.in.Token()
	if err == nil {
		mark(end.(json.Delim).String())
	}
	return err
}

// inner strikes a text, which may be JSON of its own.
func (w *writer) inner(s string) string {
	if b := strings.TrimSpace(s); len(b) > 1 && (b[0] == '{' || b[0] == '[') && json.Valid([]byte(b)) {
		if w.depth == maxWithin {
			return struck
		}
		return string(w.json([]byte(b), w.depth+1))
	}
	return w.text(s)
}

// put writes v as JSON, without escapes that only a page of the web needs.
func (w *writer) put(v any) {
	e := json.NewEncoder(&w.out)
	e.SetEscapeHTML(false)
	if e.Encode(v) == nil {
		w.out.Truncate(w.out.Len() - 1) // the line feed
	}
}
