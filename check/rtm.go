package check

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protowire"
)

// A generation is how the realtime SDKs of one time write their commands.
type generation struct {
	subprotocol string
	message     websocket.MessageType
	encode      func(*command) []byte
	decode      func([]byte) (reply, error)
}

// generations are the formats of LeanCloud's SDKs: of old .NET, of most, and of WeChat's without
// bytes.
var generations = []generation{
	{"lc.json.3", websocket.MessageText, (*command).json, replyOfJSON},
	{"lc.protobuf2.3", websocket.MessageBinary, (*command).proto, replyOfProto},
	{"lc.proto2base64.3", websocket.MessageText, func(m *command) []byte {
		return base64.StdEncoding.AppendEncode(nil, m.proto())
	}, func(b []byte) (reply, error) {
		raw, err := base64.StdEncoding.DecodeString(string(b))
		if err != nil {
			return reply{}, err
		}
		return replyOfProto(raw)
	}},
}

// The numbers of the wire.
const (
	opOpen   = 1
	opClose  = 4
	opOpened = 5
	opClosed = 6
	opQuery  = 7
	opFound  = 8

	fieldCmd     = 1
	fieldOp      = 2
	fieldApp     = 3
	fieldPeer    = 4
	fieldI       = 5
	fieldSession = 102
	fieldError   = 103
)

var opNames = map[int]string{opOpen: "open", opClose: "close", opOpened: "opened", opClosed: "closed", opQuery: "query", opFound: "query_result"}

// A command is one of a session.
type command struct {
	op                int
	i                 int
	app, peer, device string
	nonce, sign       string // of a login that is signed
	token             string // a user token of a login, where there is one
	at                int64
	asked             string // of a query
}

func (m *command) json() []byte {
	v := map[string]any{"cmd": "session", "op": opNames[m.op], "appId": m.app, "peerId": m.peer, "i": m.i, "ua": agent}
	if m.op == opOpen {
		v["deviceId"] = m.device
	}
	if m.sign != "" {
		v["t"], v["n"], v["s"] = m.at, m.nonce, m.sign
	}
	if m.token != "" {
		v["st"] = m.token
	}
	if m.asked != "" {
		v["sessionPeerIds"] = []string{m.asked}
	}
	return encode(v)
}

// agent names this program in a login.
const agent = "rollcall-check"

func (m *command) proto() []byte {
	number := func(b []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
	}
	text := func(b []byte, n protowire.Number, s string) []byte {
		if s == "" {
			return b
		}
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
	b := number(nil, fieldCmd, 0)
	b = number(b, fieldOp, uint64(m.op))
	b = text(b, fieldApp, m.app)
	b = text(b, fieldPeer, m.peer)
	b = number(b, fieldI, uint64(m.i))
	var s []byte
	if m.sign != "" {
		s = number(s, 1, uint64(m.at))
		s = text(s, 2, m.nonce)
		s = text(s, 3, m.sign)
	}
	s = text(s, 4, agent)
	if m.op == opOpen {
		s = text(s, 7, m.device)
	}
	s = text(s, 8, m.asked)
	s = text(s, 10, m.token)
	return protowire.AppendBytes(protowire.AppendTag(b, fieldSession, protowire.BytesType), s)
}

// A reply is what the server answers to a command.
type reply struct {
	op     string
	code   int
	reason string
	online []string
}

func replyOfJSON(b []byte) (reply, error) {
	var v struct {
		Cmd, Op, Reason string
		Code            int
		Online          []string `json:"onlineSessionPeerIds"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return reply{}, err
	}
	return reply{op: v.Op, code: v.Code, reason: v.Reason, online: v.Online}, nil
}

var errWire = errors.New("no message of LeanCloud's protocol")

func replyOfProto(b []byte) (r reply, err error) {
	err = eachField(b, func(n protowire.Number, number uint64, bytes []byte) error {
		switch n {
		case fieldOp:
			r.op = opNames[int(number)]
		case fieldSession:
			return eachField(bytes, func(n protowire.Number, number uint64, bytes []byte) error {
				switch n {
				case 9:
					r.online = append(r.online, string(bytes))
				case 12:
					r.code = int(number)
				case 13:
					r.reason = string(bytes)
				}
				return nil
			})
		case fieldError:
			return eachField(bytes, func(n protowire.Number, number uint64, bytes []byte) error {
				switch n {
				case 1:
					r.code = int(number)
				case 2:
					r.reason = string(bytes)
				}
				return nil
			})
		}
		return nil
	})
	return r, err
}

func eachField(b []byte, each func(n protowire.Number, number uint64, bytes []byte) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		var number uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if err := each(num, number, bytes); err != nil {
			return err
		}
	}
	return nil
}
