package strictjson

import "errors"

// ErrShape: JSON, but not an object whose member is a list.
var ErrShape = errors.New("not an object with a list")

// Split returns the elements of the list called key, in any letter case, in the object b. Of the elements it looks at nothing but the
// syntax, however deep they are, so that one which [Check] refuses does not stand against the others; all else is checked as by
// [Check]. Of more than max elements only the first max are returned; n counts all, and is -1 when the member is missing or null.
func Split(b []byte, depth int, key string, max int) (list [][]byte, n int, err error) {
	c := checker{b: b, outer: depth}
	list, n, err = c.split(depth, fold(key), max)
	if err != nil {
		return nil, 0, &Error{Kind: err, Offset: c.i, Member: c.within}
	}
	return list, n, nil
}

func (c *checker) split(depth int, key string, max int) (list [][]byte, n int, err error) {
	n = -1
	c.space()
	shape := c.peek() == '{'
	if !shape {
		if err := c.value(depth); err != nil {
			return nil, 0, err
		}
	}
	var seen keys
	var some, wrong bool
	if shape {
		some, err = c.enter(depth, '}')
	}
	for some && err == nil {
		if c.peek() != '"' {
			return nil, 0, ErrSyntax
		}
		if c.within, err = c.str(); err != nil {
			break
		}
		name := fold(c.within)
		if !seen.add(name) {
			return nil, 0, ErrDuplicate
		}
		if err = c.colon(); err != nil {
			break
		}
		switch {
		case name == key && c.peek() == '[':
			list, n, err = c.elements(max)
		default:
			wrong = wrong || name == key && c.peek() != 'n'
			err = c.value(depth - 1)
		}
		if err == nil {
			some, err = c.more('}')
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

// skip passes over one value of any depth, looking at its syntax alone. It does not recurse: the depth is the sender's.
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

// skipOne passes over a plain value, an empty list or object, or up to the first value in one; then it reports true.
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
