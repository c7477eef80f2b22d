package gateway_test

import (
	"fmt"
	"sort"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// A message is a decoded one, read here without the server's own decoder: numbers are int64, texts
// string, messages message, and repeated fields lists.
type message map[protowire.Number]any

// inner are the fields that hold messages, by path.
var inner = map[string]bool{"/102": true, "/103": true, "/110": true, "/113": true}

func parse(t testing.TB, b []byte) message {
	t.Helper()
	return parseAt(t, b, "")
}

func parseAt(t testing.TB, b []byte, path string) message {
	t.Helper()
	m := message{}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("a broken tag at %s", path)
		}
		b = b[n:]
		var v any
		switch kind {
		case protowire.VarintType:
			var u uint64
			u, n = protowire.ConsumeVarint(b)
			v = int64(u)
		case protowire.BytesType:
			var raw []byte
			raw, n = protowire.ConsumeBytes(b)
			at := fmt.Sprintf("%s/%d", path, num)
			if n >= 0 && inner[at] {
				v = parseAt(t, raw, at)
			} else {
				v = string(raw)
			}
		default:
			t.Fatalf("a field of type %d at %s", kind, path)
		}
		if n < 0 {
			t.Fatalf("a field that is cut short at %s", path)
		}
		b = b[n:]
		if path == "/102" && (num == 8 || num == 9) {
			list, _ := m[num].([]string)
			m[num] = append(list, v.(string))
			continue
		}
		m[num] = v
	}
	return m
}

func (m message) sub(n protowire.Number) message {
	s, _ := m[n].(message)
	return s
}

func (m message) text(n protowire.Number) string {
	s, _ := m[n].(string)
	return s
}

func (m message) number(n protowire.Number) int64 {
	v, _ := m[n].(int64)
	return v
}

func (m message) has(n protowire.Number) bool {
	_, ok := m[n]
	return ok
}

func (m message) list(n protowire.Number) []string {
	l, _ := m[n].([]string)
	return l
}

// build writes a message.
func build(m message) []byte {
	nums := make([]int, 0, len(m))
	for n := range m {
		nums = append(nums, int(n))
	}
	sort.Ints(nums)
	var b []byte
	for _, i := range nums {
		n := protowire.Number(i)
		switch v := m[n].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case int64:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case []string:
			for _, s := range v {
				b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
			}
		case message:
			b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), build(v))
		default:
			panic(fmt.Sprintf("field %d is a %T", n, v))
		}
	}
	return b
}

// Field numbers that the tests name often.
const (
	fCmd, fOp, fApp, fPeer, fI, fInstallation, fService, fServerTs = 1, 2, 3, 4, 5, 6, 8, 9
	fSession, fError                                               = 102, 103

	sT, sN, sS, sUA, sR, sTag, sDevice, sAsked, sOnline, sSt, sTTL, sCode, sReason, sDeviceToken = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14

	opOpen, opClose, opOpened, opClosed, opQuery, opResult, opRefresh, opRefreshed = 1, 4, 5, 6, 7, 8, 12, 13
)

// open is a login by hand.
func open(peer string, i int, session message) message {
	if session == nil {
		session = message{}
	}
	return message{fCmd: 0, fOp: opOpen, fApp: appID, fPeer: peer, fI: i, fSession: session}
}

func query(i int, ids ...string) message {
	return message{fCmd: 0, fOp: opQuery, fI: i, fSession: message{sAsked: ids}}
}

// ask sends a command and returns the next one that comes.
func (c *client) ask(m message) message {
	c.t.Helper()
	c.send(build(m))
	return parse(c.t, c.receive())
}

// login opens a session and returns its token.
func (c *client) login(peer string, session message) string {
	c.t.Helper()
	a := c.ask(open(peer, 1, session))
	if a.number(fOp) != opOpened {
		c.t.Fatalf("the login of %s was answered by %v", peer, a)
	}
	return a.sub(fSession).text(sSt)
}

// code returns the error code of an answer, or 0.
func (m message) code() int64 { return m.sub(fError).number(1) }
