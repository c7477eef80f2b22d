package rtm

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
	"unsafe"

	"rollcall/presence"

	"google.golang.org/protobuf/encoding/protowire"
)

// errUnparseable: the message is none of this wire.
var errUnparseable = errors.New("unparseable command")

// The fields of the wire; see the message tables in docs/leancloud.md.
const (
	fieldCmd          = 1
	fieldOp           = 2
	fieldAppID        = 3
	fieldPeerID       = 4
	fieldI            = 5
	fieldInstallation = 6
	fieldService      = 8
	fieldServerTs     = 9
	fieldSession      = 102
	fieldError        = 103

	sessionT             = 1
	sessionN             = 2
	sessionS             = 3
	sessionUA            = 4
	sessionR             = 5
	sessionTag           = 6
	sessionDeviceID      = 7
	sessionPeerIDs       = 8
	sessionOnlinePeerIDs = 9
	sessionSt            = 10
	sessionStTTL         = 11
	sessionCode          = 12
	sessionReason        = 13
	sessionDeviceToken   = 14

	errorCode   = 1
	errorReason = 2
	errorDetail = 4
)

// decodeProto reads a command. Nothing is allocated but the list of ids asked about, up to ids of
// them; texts alias b. Unknown fields are skipped; groups, which no client sends and which nest
// without end, are not.
func decodeProto(b []byte, ids int) (request, error) {
	q := request{op: -1}
	hasCmd := false
	err := fields(b, func(n protowire.Number, f field) (err error) {
		switch n {
		case fieldCmd:
			hasCmd = true
			q.cmd, err = f.int32()
		case fieldOp:
			q.op, err = f.int32()
		case fieldAppID:
			q.appID, err = f.text()
		case fieldPeerID:
			var peer string
			peer, err = f.text()
			q.peer, q.peerID = true, presence.PeerID(peer)
		case fieldI:
			var i int32
			i, err = f.int32()
			q.i = some(int64(i))
		case fieldInstallation:
			q.installation, err = f.text()
		case fieldService:
			var s int32
			s, err = f.int32()
			q.service = some(int64(s))
		case fieldSession:
			err = q.decodeSession(f, ids)
		}
		return err
	})
	if err == nil && !hasCmd {
		err = fmt.Errorf("%w: no cmd", errUnparseable)
	}
	return q, err
}

func (q *request) decodeSession(f field, ids int) error {
	if f.kind != protowire.BytesType {
		return errWireType
	}
	return fields(f.bytes, func(n protowire.Number, f field) (err error) {
		switch n {
		case sessionT:
			q.t, err = f.int64()
		case sessionN:
			q.n, err = f.text()
		case sessionS:
			q.s, err = f.text()
		case sessionUA:
			q.ua, err = f.text()
		case sessionR:
			var v int64
			v, err = f.int64()
			q.r = v != 0
		case sessionTag:
			q.tag, err = f.text()
		case sessionDeviceID:
			q.deviceID, err = f.text()
		case sessionPeerIDs:
			if f.kind != protowire.BytesType {
				return errWireType
			}
			if len(q.asked) < ids {
				q.asked = append(q.asked, f.bytes)
			}
		case sessionSt:
			q.st, err = f.text()
		case sessionDeviceToken:
			q.deviceToken, err = f.text()
		}
		return err
	})
}

var errWireType = fmt.Errorf("%w: a field of another type", errUnparseable)

// A field is the value of one field: a number or bytes.
type field struct {
	kind   protowire.Type
	number uint64
	bytes  []byte
}

// fields calls each with every field of b.
func fields(b []byte, each func(protowire.Number, field) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: a broken tag", errUnparseable)
		}
		b = b[n:]
		f := field{kind: kind}
		switch kind {
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		case protowire.Fixed32Type:
			_, n = protowire.ConsumeFixed32(b)
		case protowire.Fixed64Type:
			_, n = protowire.ConsumeFixed64(b)
		default:
			return fmt.Errorf("%w: a group", errUnparseable)
		}
		if n < 0 {
			return fmt.Errorf("%w: a field that is cut short", errUnparseable)
		}
		b = b[n:]
		if err := each(num, f); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) int64() (int64, error) {
	if f.kind != protowire.VarintType {
		return 0, errWireType
	}
	return int64(f.number), nil
}

// int32 cuts a longer number to its lower half, as every protobuf library does.
func (f *field) int32() (int32, error) {
	v, err := f.int64()
	return int32(v & math.MaxUint32), err
}

func (f *field) text() (string, error) {
	if f.kind != protowire.BytesType {
		return "", errWireType
	}
	if !utf8.Valid(f.bytes) {
		return "", fmt.Errorf("%w: text that is not UTF-8", errUnparseable)
	}
	return unsafe.String(unsafe.SliceData(f.bytes), len(f.bytes)), nil
}

// appendProto appends a as the wire has it.
func appendProto(b []byte, a *answer) []byte {
	// cmd is written also when it is zero: without it clients do not see a session command.
	b = appendInt(b, fieldCmd, int64(a.cmd))
	if a.op != 0 {
		b = appendInt(b, fieldOp, int64(a.op))
	}
	b = appendText(b, fieldPeerID, string(a.peerID))
	if a.i.is {
		b = appendInt(b, fieldI, a.i.value)
	}
	b = appendText(b, fieldInstallation, a.installation)
	if a.service != 0 {
		b = appendInt(b, fieldService, int64(a.service))
	}
	if a.serverTs != 0 {
		b = appendInt(b, fieldServerTs, a.serverTs)
	}
	if s := a.session; s != nil {
		b = appendSub(b, fieldSession, s.append)
	}
	if f := a.failure; f != nil {
		b = appendSub(b, fieldError, f.append)
	}
	return b
}

func (s *sessionAnswer) append(b []byte) []byte {
	for _, id := range s.online {
		b = protowire.AppendTag(b, sessionOnlinePeerIDs, protowire.BytesType)
		b = protowire.AppendBytes(b, id)
	}
	b = appendText(b, sessionSt, s.st)
	if s.stTTL != 0 {
		b = appendInt(b, sessionStTTL, int64(s.stTTL))
	}
	if s.code != 0 {
		b = appendInt(b, sessionCode, int64(s.code))
	}
	return appendText(b, sessionReason, s.reason)
}

func (f *failure) append(b []byte) []byte {
	b = appendInt(b, errorCode, int64(f.code)) // required
	b = protowire.AppendTag(b, errorReason, protowire.BytesType)
	b = protowire.AppendString(b, f.reason) // required
	return appendText(b, errorDetail, f.detail)
}

func appendInt(b []byte, n protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
}

func appendText(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

// appendSub appends a message inside a message.
func appendSub(b []byte, n protowire.Number, sub func([]byte) []byte) []byte {
	var room [512]byte
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), sub(room[:0]))
}
