package rtm

import (
	"encoding/base64"
	"fmt"
)

// A format is how commands are written on a connection.
type format uint8

const (
	formatProto format = iota
	formatBase64
	formatJSON
)

// subprotocols are those that are spoken. Their last digit is how a client wants messages that came
// while it was away, which is nothing to presence.
var subprotocols = map[string]format{
	"lc.protobuf2.1": formatProto, "lc.protobuf2.2": formatProto, "lc.protobuf2.3": formatProto,
	// Of the JavaScript SDK before 3.5, in the same frames.
	"lc.protobuf.1": formatProto, "lc.protobuf.3": formatProto,
	"lc.proto2base64.1": formatBase64, "lc.proto2base64.3": formatBase64, "lc.protobase64.1": formatBase64, "lc.protobase64.3": formatBase64,
	"lc.json.1": formatJSON, "lc.json.3": formatJSON,
}

// decode reads one message, with up to ids of the ids it asks about. The request may alias b.
func (f format) decode(b []byte, ids int) (request, error) {
	switch f {
	case formatBase64:
		raw := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
		n, err := base64.StdEncoding.Decode(raw, b)
		if err != nil {
			return request{}, fmt.Errorf("%w: %w", errUnparseable, err)
		}
		return decodeProto(raw[:n], ids)
	case formatJSON:
		return decodeJSON(b, ids)
	default:
		return decodeProto(b, ids)
	}
}

func (f format) encode(a *answer) ([]byte, error) {
	switch f {
	case formatBase64:
		return base64.StdEncoding.AppendEncode(nil, appendProto(nil, a)), nil
	case formatJSON:
		return encodeJSON(a)
	default:
		return appendProto(make([]byte, 0, 256), a), nil
	}
}
