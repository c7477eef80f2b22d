package frame

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
)

// Append appends one whole frame to b. Servers do not mask.
func Append(b []byte, op Op, payload []byte) []byte {
	return append(appendHead(b, op, len(payload)), payload...)
}

// Wrap makes one whole frame of what b holds from start on, in its place.
func Wrap(b []byte, start int, op Op) []byte {
	var head [maxHead]byte
	return slices.Insert(b, start, appendHead(head[:0], op, len(b)-start)...)
}

const maxHead = 2 + 8

func appendHead(b []byte, op Op, n int) []byte {
	b = append(b, 0x80|byte(op))
	switch {
	case n < 126:
		return append(b, byte(n))
	case n <= 0xFFFF:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// AppendClose appends a close frame. A reason is cut to what fits; [CloseNone] has neither code nor
// reason.
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
