package frame

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Append appends one whole frame to b. Servers do not mask.
func Append(b []byte, op Op, payload []byte) []byte {
	b = append(b, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// AppendClose appends a close frame. A reason is cut to what fits; [CloseNone] has neither code nor reason.
func AppendClose(b []byte, code int, reason string) []byte {
	if code == CloseNone {
		return Append(b, Close, nil)
	}
	payload := make([]byte, 2, maxControl)
	binary.BigEndian.PutUint16(payload, uint16(code))
	if len(reason) > maxControl-2 {
		reason = strings.TrimRightFunc(reason[:maxControl-2], func(r rune) bool { return r == utf8.RuneError })
	}
	return Append(b, Close, append(payload, reason...))
}
