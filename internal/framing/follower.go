package framing

import "bytes"

// A place is where in a connection a follower is.
type place uint8

const (
	atStart place = iota // before a request line
	inHead
	inBody
	atChunk // before a chunk's size
	inChunk
	afterChunk
	inTrailer
	upgrading // behind the head of a request to upgrade
	opaque    // HTTP/2
)

// A follower knows where in a stream of HTTP/1 requests it is.
type follower struct {
	place place
	begun bool  // some request line has been seen
	left  int64 // bytes of the body or chunk to come

	length  int64 // of the body; -1: not named
	chunked bool
	old     bool // HTTP/1.0
	upgrade bool

	target target
}

// A target is the beginning of the path that a request line asks for: enough to find its door.
type target struct {
	text [16]byte
	n    uint8
}

// note keeps what line asks for, which may be no request line at all, or one that has not ended.
func (t *target) note(line []byte) {
	_, asked, _ := bytes.Cut(line, []byte(" "))
	asked, _, _ = bytes.Cut(asked, []byte(" "))
	if _, rest, absolute := bytes.Cut(asked, []byte("://")); absolute && asked[0] != '/' {
		asked = rest[max(bytes.IndexByte(rest, '/'), 0):]
	}
	t.n = uint8(copy(t.text[:], asked))
}

func (t *target) String() string { return string(t.text[:t.n]) }

// follow goes on through b and returns how many bytes have been judged good. The rest, when ok, is
// the start of a line that has not ended yet, or what follows a request to upgrade.
func (f *follower) follow(b []byte) (n int, ok bool) {
	for n < len(b) {
		switch f.place {
		case opaque:
			return len(b), true
		case upgrading:
			return n, true
		case inBody, inChunk:
			step := min(f.left, int64(len(b)-n))
			f.left -= step
			n += int(step)
			switch {
			case f.left > 0:
			case f.place == inBody:
				f.place = atStart
			default:
				f.place = afterChunk
			}
		default:
			end := bytes.IndexByte(b[n:], '\n')
			if end < 0 {
				return n, true
			}
			if !f.line(b[n : n+end+1]) {
				return n, false
			}
			n += end + 1
		}
	}
	return n, true
}

// line judges a line with its end.
func (f *follower) line(line []byte) bool {
	if f.place == atStart && len(line) > len("\r\n") {
		f.target.note(line)
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return false
	}
	line = line[:len(line)-2]
	switch f.place {
	case atStart:
		return f.requestLine(line)
	case inHead:
		if len(line) == 0 {
			f.headEnd()
			return true
		}
		return f.field(line)
	case atChunk:
		return f.chunkSize(line)
	case afterChunk:
		f.place = atChunk
		return len(line) == 0
	default: // inTrailer
		if len(line) == 0 {
			f.place = atStart
			return true
		}
		_, _, ok := cutField(line)
		return ok
	}
}

func (f *follower) requestLine(line []byte) bool {
	const version = " HTTP/1.x"
	if len(line) == 0 {
		return true // some clients send an empty line behind a body; net/http judges how many
	}
	first := !f.begun
	f.begun = true
	at := len(line) - len(version)
	if at < 0 || string(line[at:at+len(version)-1]) != version[:len(version)-1] || bytes.IndexByte(line, '\r') >= 0 {
		if first && string(line) == "PRI * HTTP/2.0" {
			f.place = opaque
			return true
		}
		return false
	}
	minor := line[len(line)-1]
	f.place, f.length, f.chunked, f.upgrade = inHead, -1, false, false
	f.old = minor == '0'
	return minor == '0' || minor == '1'
}

// cutField splits a field line. A line that begins with a space continues the one before it:
// clients no longer send that, and servers differ about it.
func cutField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || line[0] == ' ' || line[0] == '\t' || line[colon-1] == ' ' || line[colon-1] == '\t' {
		return nil, nil, false
	}
	return line[:colon], line[colon+1:], true
}

func (f *follower) field(line []byte) bool {
	name, value, ok := cutField(line)
	if !ok {
		return false
	}
	switch len(name) {
	case len("upgrade"):
		if is(name, "upgrade") && is(bytes.Trim(value, " \t"), "websocket") {
			f.upgrade = true
		}
	case len("content-length"):
		if is(name, "content-length") {
			length, ok := decimal(bytes.Trim(value, " \t"))
			if !ok || f.length >= 0 || f.chunked {
				return false
			}
			f.length = length
		}
	case len("transfer-encoding"):
		if is(name, "transfer-encoding") {
			if !is(bytes.Trim(value, " \t"), "chunked") || f.length >= 0 || f.chunked || f.old {
				return false
			}
			f.chunked = true
		}
	}
	return true
}

func (f *follower) headEnd() {
	switch {
	case f.chunked:
		f.place = atChunk
	case f.length > 0:
		f.place, f.left = inBody, f.length
	case f.upgrade:
		f.place = upgrading
	default:
		f.place = atStart
	}
}

func (f *follower) chunkSize(line []byte) bool {
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		line = line[:i]
	}
	if len(line) == 0 || len(line) > 15 {
		return false
	}
	var size int64
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return false
		}
		size = size<<4 | int64(c)
	}
	f.place, f.left = inChunk, size
	if size == 0 {
		f.place = inTrailer
	}
	return true
}

// is reports whether b is the lower-case word, whatever its letter case.
func is(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
