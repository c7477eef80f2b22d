package strictjson

import (
	"errors"
	"slices"
)

// ErrShape: JSON, but not an object whose member is a list.
var ErrShape = errors.New("not an object with a list")

// Split returns the elements of the list called key, in any letter case, in the object b. That
// member and those called also may stand there once. Of all else, elements and members, it looks at
// nothing but the syntax, however deep they are: what [Check] refuses in one element does not stand
// against the others, nor do unused fields. Of more than max elements only the first max are
// returned; n counts all, and is -1 when the member is missing or null.
func Split(b []byte, key string, max int, also ...string) (list [][]byte, n int, err error) {
	c := checker{b: b}
	list, n, err = c.split(fold(key), max, also)
	if err != nil {
		return nil, 0, &Error{Kind: err, Offset: c.i, Member: c.within}
	}
	return list, n, nil
}

func (c *checker) split(key string, max int, also []string) (list [][]byte, n int, err error) {
	n = -1
	c.space()
	shape := c.peek() == '{'
	if !shape {
		if err := c.skip(); err != nil {
			return nil, 0, err
		}
	}
	var seen keys
	var some, wrong bool
	if shape {
		some, err = c.enter(1, '}')
	}
	for some && err == nil {
		name, err := c.name()
		if err != nil {
			return nil, 0, err
		}
		if (name == key || slices.Contains(also, name)) && !seen.add(name) {
			return nil, 0, ErrDuplicate
		}
		if name == key && c.peek() == '[' {
			list, n, err = c.elements(max)
		} else {
			wrong = wrong || name == key && c.peek() != 'n'
			err = c.skip()
		}
		if err == nil {
			some, err = c.more('}')
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if err != nil {
		return nil, 0, err
	}
	c.space()
	switch {
	case c.i != len(c.b):
		return nil, 0, ErrSyntax
	case !shape || wrong:
		return nil, 0, ErrShape
	}
	return list, n, nil
}

// name passes over a key and its colon and returns the key, folded; empty for one that is not valid
// UTF-8.
func (c *checker) name() (name string, err error) {
	begin := c.i
	if c.peek() != '"' {
		return "", ErrSyntax
	}
	if c.within, err = c.str(); err == ErrUTF8 {
		c.i, c.within = begin, ""
		return "", c.skipName()
	}
	if err != nil {
		return "", err
	}
	return fold(c.within), c.colon()
}

// elements passes over a list.
func (c *checker) elements(max int) (list [][]byte, n int, err error) {
	some, err := c.enter(1, ']')
	for some && err == nil {
		begin := c.i
		if err = c.skip(); err != nil {
			break
		}
		if n++; n <= max {
			list = append(list, c.b[begin:c.i:c.i])
		}
		some, err = c.more(']')
	}
	return list, n, err
}

// skipName passes over a key and its colon.
func (c *checker) skipName() error {
	if err := c.skipText(); err != nil {
		return err
	}
	return c.colon()
}

func (c *checker) colon() error {
	c.space()
	if c.peek() != ':' {
		return ErrSyntax
	}
	c.i++
	c.space()
	return nil
}

// skip passes over one value of any depth, looking at its syntax alone. It does not recurse: the
// depth is the sender's.
func (c *checker) skip() error {
	var open []byte // the brackets that are to be closed
	for {
		opened, err := c.skipOne(&open)
		if err != nil {
			return err
		}
		if opened {
			continue
		}
		for {
			if len(open) == 0 {
				return nil
			}
			end := open[len(open)-1]
			some, err := c.more(end)
			if err != nil {
				return err
			}
			if some {
				if end == '}' {
					if err := c.skipName(); err != nil {
						return err
					}
				}
				break
			}
			open = open[:len(open)-1]
		}
	}
}

// skipOne passes over a plain value, an empty list or object, or up to the first value in one; then
// it reports true.
func (c *checker) skipOne(open *[]byte) (opened bool, err error) {
	switch ch := c.peek(); {
	case ch == '{' || ch == '[':
		end := ch + 2 // in ASCII
		some, err := c.enter(1, end)
		if err != nil || !some {
			return false, err
		}
		*open = append(*open, end)
		if ch == '{' {
			err = c.skipName()
		}
		return true, err
	case ch == '"':
		return false, c.skipText()
	default:
		return false, c.value(0)
	}
}

// skipText passes over a string, whatever it says.
func (c *checker) skipText() error {
	if c.peek() != '"' {
		return ErrSyntax
	}
	for c.i++; c.i < len(c.b); {
		switch ch := c.b[c.i]; {
		case ch == '"':
			c.i++
			return nil
		case ch < 0x20:
			return ErrSyntax
		case ch == '\\':
			if err := c.escape(); err != nil && err != ErrUTF8 {
				return err
			}
		default:
			c.i++
		}
	}
	return ErrSyntax
}
