// Package strictjson reports whether bytes are JSON that every parser reads alike.
//
// encoding/json takes more than that: a key twice (the last wins), "PeerID" for "peerId", bytes
// that are not UTF-8 and halves of surrogate pairs (both become U+FFFD, so two ids become one), and
// ten thousand levels. A proxy in front of us may read such a body otherwise than we do.
package strictjson

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// What can be wrong with a document.
var (
	ErrSyntax    = errors.New("not JSON")
	ErrDepth     = errors.New("nested too deep")
	ErrDuplicate = errors.New("a key appears twice")
	ErrUTF8      = errors.New("not valid UTF-8")
)

// Check returns nil when b is one JSON value nested at most depth deep, in valid UTF-8, with no key
// twice in one object, whatever its letter case; else an [Error] that matches one of the four.
func Check(b []byte, depth int) error {
	c := checker{b: b, outer: depth}
	c.space()
	if err := c.value(depth); err != nil {
		return &Error{Kind: err, Offset: c.i, Member: c.within}
	}
	c.space()
	if c.i != len(b) {
		return &Error{Kind: ErrSyntax, Offset: c.i}
	}
	return nil
}

// An Error says what is wrong with a document, and where.
type Error struct {
	Kind   error // one of the sentinels of this package
	Offset int
	Member string // of the outermost object, when it is in one; may hold U+FFFD
}

func (e *Error) Error() string { return fmt.Sprintf("%v at byte %d", e.Kind, e.Offset) }

func (e *Error) Unwrap() error { return e.Kind }

type checker struct {
	b      []byte
	i      int
	outer  int    // the depth of the outermost value
	within string // the member of the outermost object that is read
}

func (c *checker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return
		}
	}
}

func (c *checker) peek() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

func (c *checker) value(depth int) error {
	switch ch := c.peek(); {
	case ch == '{':
		return c.object(depth)
	case ch == '[':
		return c.array(depth)
	case ch == '"':
		_, err := c.str()
		return err
	case ch == '-' || ch >= '0' && ch <= '9':
		return c.number()
	case ch == 't':
		return c.word("true")
	case ch == 'f':
		return c.word("false")
	case ch == 'n':
		return c.word("null")
	}
	return ErrSyntax
}

func (c *checker) word(w string) error {
	if !strings.HasPrefix(string(c.b[c.i:min(len(c.b), c.i+len(w))]), w) {
		return ErrSyntax
	}
	c.i += len(w)
	return nil
}

// enter moves past an opening bracket and reports whether something stands before end.
func (c *checker) enter(depth int, end byte) (some bool, err error) {
	if depth == 0 {
		return false, ErrDepth
	}
	c.i++
	c.space()
	if c.peek() == end {
		c.i++
		return false, nil
	}
	return true, nil
}

// more moves past a comma, or past end, and reports whether something follows.
func (c *checker) more(end byte) (some bool, err error) {
	c.space()
	switch c.peek() {
	case ',':
		c.i++
		c.space()
		return true, nil
	case end:
		c.i++
		return false, nil
	}
	return false, ErrSyntax
}

func (c *checker) array(depth int) error {
	some, err := c.enter(depth, ']')
	for some && err == nil {
		if err = c.value(depth - 1); err == nil {
			some, err = c.more(']')
		}
	}
	return err
}

func (c *checker) object(depth int) error {
	var seen keys
	some, err := c.enter(depth, '}')
	for some && err == nil {
		if err = c.member(depth, &seen); err == nil {
			some, err = c.more('}')
		}
	}
	return err
}

func (c *checker) member(depth int, seen *keys) error {
	if c.peek() != '"' {
		return ErrSyntax
	}
	if depth == c.outer {
		c.within = "" // until the next key is read
	}
	key, err := c.str()
	if err != nil {
		return err
	}
	if depth == c.outer {
		c.within = key
	}
	if !seen.add(fold(key)) {
		return ErrDuplicate
	}
	if err := c.colon(); err != nil {
		return err
	}
	return c.value(depth - 1)
}

// keys are those of one object. Most have few; a map only when there are more.
type keys struct {
	few  [8]string
	n    int
	many map[string]struct{}
}

// add reports whether key is new.
func (k *keys) add(key string) bool {
	if slices.Contains(k.few[:k.n], key) {
		return false
	}
	if k.n < len(k.few) {
		k.few[k.n] = key
		k.n++
		return true
	}
	if k.many == nil {
		k.many = map[string]struct{}{}
	}
	_, twice := k.many[key]
	k.many[key] = struct{}{}
	return !twice
}

// fold brings the spellings of a key that encoding/json takes for the same to one: it folds ASCII
// and the two letters of other scripts that fold into it.
func fold(key string) string {
	return strings.ToLower(foldInto.Replace(key))
}

var foldInto = strings.NewReplacer("\u017f", "s", "\u212a", "k")

// str passes over a string and returns what it says.
func (c *checker) str() (string, error) {
	c.i++
	start := c.i
	plain := true
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; {
		case ch == '"':
			raw := c.b[start:c.i]
			c.i++
			if !utf8.Valid(raw) {
				return "", ErrUTF8
			}
			if plain {
				return string(raw), nil
			}
			return unescape(raw), nil
		case ch < 0x20:
			return "", ErrSyntax
		case ch == '\\':
			plain = false
			if err := c.escape(); err != nil {
				return "", err
			}
		default:
			c.i++
		}
	}
	return "", ErrSyntax
}

func (c *checker) escape() error {
	if c.i+1 >= len(c.b) {
		return ErrSyntax
	}
	switch c.b[c.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.i += 2
		return nil
	case 'u':
	default:
		return ErrSyntax
	}
	u, ok := hex4(c.b[c.i+2:])
	if !ok {
		return ErrSyntax
	}
	c.i += 6
	switch {
	case u >= 0xdc00 && u <= 0xdfff:
		return ErrUTF8 // a second half without a first
	case u < 0xd800 || u > 0xdfff:
		return nil
	}
	if c.i+1 < len(c.b) && c.b[c.i] == '\\' && c.b[c.i+1] == 'u' {
		if v, ok := hex4(c.b[c.i+2:]); ok && v >= 0xdc00 && v <= 0xdfff {
			c.i += 6
			return nil
		}
	}
	return ErrUTF8
}

func hex4(b []byte) (u rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, ch := range b[:4] {
		switch {
		case ch >= '0' && ch <= '9':
			ch -= '0'
		case ch >= 'a' && ch <= 'f':
			ch -= 'a' - 10
		case ch >= 'A' && ch <= 'F':
			ch -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(ch)
	}
	return u, true
}

// unescape returns the text of a string whose escapes are known to be right. It serves to compare
// keys only.
func unescape(raw []byte) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		switch ch := raw[i+1]; ch {
		case 'u':
			u, _ := hex4(raw[i+2:])
			i += 6
			if u >= 0xd800 && u <= 0xdbff {
				v, _ := hex4(raw[i+2:])
				u = (u-0xd800)<<10 | (v - 0xdc00) + 0x10000
				i += 6
			}
			out = utf8.AppendRune(out, u)
		default:
			if at := strings.IndexByte("bfnrt", ch); at >= 0 {
				ch = "\b\f\n\r\t"[at]
			}
			out = append(out, ch)
			i += 2
		}
	}
	return string(out)
}

func (c *checker) number() error {
	if c.peek() == '-' {
		c.i++
	}
	switch ch := c.peek(); {
	case ch == '0':
		c.i++
	case ch >= '1' && ch <= '9':
		c.digits()
	default:
		return ErrSyntax
	}
	if c.peek() == '.' {
		c.i++
		if !c.digits() {
			return ErrSyntax
		}
	}
	if ch := c.peek(); ch == 'e' || ch == 'E' {
		c.i++
		if ch := c.peek(); ch == '+' || ch == '-' {
			c.i++
		}
		if !c.digits() {
			return ErrSyntax
		}
	}
	return nil
}

func (c *checker) digits() bool {
	start := c.i
	for ch := c.peek(); ch >= '0' && ch <= '9'; ch = c.peek() {
		c.i++
	}
	return c.i > start
}
