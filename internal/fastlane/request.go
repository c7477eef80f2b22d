package fastlane

import (
	"bytes"
	"net/netip"
	"time"
)

// Routes are the requests that the lane knows. They do not change.
type Routes struct {
	// Targets are the request lines without version, such as "POST /a". What comes often stands
	// first.
	Targets []string
	// Fields are the names of header fields that Answer reads. A request that has one of them twice
	// is not plain.
	Fields []string
	// Foreign are fields that make a request not plain, besides those that matter to HTTP itself.
	Foreign []string
	// MaxBody is the largest body that is taken.
	MaxBody int
	// Answer appends the whole answer to out. It must not keep r. With ok false nothing has been
	// done, and the request is net/http's. With last the connection is closed behind the answer.
	Answer func(r *Request, out []byte) (answer []byte, last, ok bool)
	// Answered, when set, is called with how long each answer took.
	Answered func(time.Duration)
}

// A Request is a plain request. Everything in it is valid until Answer returns.
type Request struct {
	Target int      // which of the targets
	Fields [][]byte // values in the order of Routes.Fields; nil when absent
	Body   []byte
	Remote netip.Addr // of the connection
	Conn   *any       // for Answer to remember something of this connection; nothing at first
	Date   []byte     // now, for the Date field
}

// table is Routes made ready for matching.
type table struct {
	routes *Routes
	lines  [][]byte
	fields [maxName + 1][]field
}

// maxName is the longest name of a field that is looked up.
const maxName = 40

type field struct {
	name string // in lower case
	role role
	at   int // in Request.Fields
}

type role uint8

const (
	wanted role = iota
	foreign
	length
	host
	connection
)

func newTable(r *Routes) *table {
	t := &table{routes: r}
	for _, target := range r.Targets {
		t.lines = append(t.lines, []byte(target+" HTTP/1.1\r\n"))
	}
	add := func(name string, role role, at int) {
		t.fields[len(name)] = append(t.fields[len(name)], field{string(bytes.ToLower([]byte(name))), role, at})
	}
	add("content-length", length, 0)
	add("host", host, 0)
	add("connection", connection, 0)
	for _, name := range [...]string{"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer", "te"} {
		add(name, foreign, 0)
	}
	for _, name := range r.Foreign {
		add(name, foreign, 0)
	}
	for i, name := range r.Fields {
		add(name, wanted, i)
	}
	return t
}

// verdict is what a buffer holds at its start.
type verdict uint8

const (
	plain verdict = iota // a whole head that the lane knows
	more                 // the start of one
	other                // something else
)

// maxHead is the largest head that is taken.
const maxHead = 8 << 10

// head reads the head at the start of b into r and returns its size and that of the body.
func (t *table) head(b []byte, r *Request) (size, body int, v verdict) {
	target, v := t.target(b)
	if v != plain {
		return 0, 0, v
	}
	r.Target = target
	clear(r.Fields)
	body = -1
	hosts := 0
	for i := len(t.lines[target]); ; {
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			if len(b) > maxHead {
				return 0, 0, other
			}
			return 0, 0, more
		}
		line := b[i : i+end]
		i += end + 1
		if i > maxHead || end == 0 || line[end-1] != '\r' {
			return 0, 0, other
		}
		line = line[:end-1]
		if len(line) == 0 {
			if body < 0 || hosts != 1 {
				return 0, 0, other
			}
			return i, body, plain
		}
		name, value, ok := cut(line)
		if !ok {
			return 0, 0, other
		}
		f, known := t.find(name)
		switch {
		case !known:
		case f.role == wanted && r.Fields[f.at] == nil:
			r.Fields[f.at] = value
		case f.role == length && body < 0:
			if body, ok = decimal(value); !ok || body > t.routes.MaxBody {
				return 0, 0, other
			}
		case f.role == host && plainHost(value):
			hosts++
		case f.role == connection && fold(value, "keep-alive"):
		default:
			return 0, 0, other
		}
	}
}

func (t *table) target(b []byte) (int, verdict) {
	v := other
	for i, line := range t.lines {
		if len(b) >= len(line) {
			if string(b[:len(line)]) == string(line) {
				return i, plain
			}
		} else if string(b) == string(line[:len(b)]) {
			v = more
		}
	}
	return 0, v
}

func (t *table) find(name []byte) (field, bool) {
	if len(name) <= maxName {
		for _, f := range t.fields[len(name)] {
			if fold(name, f.name) {
				return f, true
			}
		}
	}
	return field{}, false
}

// cut splits a field line whose name is a token and whose value is printable ASCII; net/http judges
// all others.
func cut(line []byte) (name, value []byte, ok bool) {
	i := 0
	for i < len(line) && token[line[i]] {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return nil, nil, false
	}
	name, value = line[:i], line[i+1:]
	if !printable(value) {
		return nil, nil, false
	}
	for len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	for len(value) > 0 && value[len(value)-1] == ' ' {
		value = value[:len(value)-1]
	}
	return name, value, true
}

// token are the characters of a field's name.
var token = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0
	}
	return t
}()

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func plainHost(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == ':' || c == '-' || c == '[' || c == ']') {
			return false
		}
	}
	return len(b) > 0
}

// fold reports whether b is the lower-case word, whatever its letter case.
func fold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if c != word[i] && (c < 'A' || c > 'Z' || c+'a'-'A' != word[i]) {
			return false
		}
	}
	return true
}

func decimal(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
