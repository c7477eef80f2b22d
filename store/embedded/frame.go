package embedded

import "encoding/binary"

// maxState bounds one packed state.
const maxState = 2 << 20

// appendEntry appends one state as frames hold it: app, peer, packed state.
func appendEntry(b []byte, app uint32, peer string, packed []byte) []byte {
	b = binary.AppendUvarint(b, uint64(app))
	b = binary.AppendUvarint(b, uint64(len(peer)))
	b = append(b, peer...)
	b = binary.AppendUvarint(b, uint64(len(packed)))
	return append(b, packed...)
}
