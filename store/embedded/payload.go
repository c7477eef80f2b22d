package embedded

import (
	"encoding/binary"
	"errors"

	"rollcall/presence"
)

// A payload is what the frames of log and sections hold:
//
//	time, 8 bytes: the greatest of the updates
//	length of the entries, 4 bytes
//	entries: app number, peer and packed state, each with its length as a uvarint
//	apps: uvarint count, then number and name of each app that an entry names
const payloadHead = 12

// beginPayload makes room for frame and payload head.
func beginPayload(b []byte) []byte {
	return append(b[:0], make([]byte, frameHead+payloadHead)...)
}

// appendEntry appends one state as frames hold it.
func appendEntry(b []byte, app uint32, peer string, packed []byte) []byte {
	b = binary.AppendUvarint(b, uint64(app))
	b = binary.AppendUvarint(b, uint64(len(peer)))
	b = append(b, peer...)
	b = binary.AppendUvarint(b, uint64(len(packed)))
	return append(b, packed...)
}

// endPayload completes the payload of the frame b, whose entries are there.
func endPayload(b []byte, now presence.Millis, used []*app) []byte {
	binary.LittleEndian.PutUint64(b[frameHead:], uint64(now))
	binary.LittleEndian.PutUint32(b[frameHead+8:], uint32(len(b)-frameHead-payloadHead))
	b = binary.AppendUvarint(b, uint64(len(used)))
	for _, a := range used {
		b = binary.AppendUvarint(b, uint64(a.num))
		b = binary.AppendUvarint(b, uint64(len(a.id)))
		b = append(b, a.id...)
	}
	return b
}

var errPayload = errors.New("its checksum matches, but its content cannot be decoded")

// timeOf returns when the frame with this payload was written; zero when it is none.
func timeOf(payload []byte) presence.Millis {
	if len(payload) < payloadHead {
		return 0
	}
	return presence.Millis(binary.LittleEndian.Uint64(payload))
}

// decodePayload calls fn for the entries of a payload; their slices are part of it.
func decodePayload(b []byte, fn func(app presence.AppID, peer, packed []byte) error) (presence.Millis, error) {
	if len(b) < payloadHead {
		return 0, errPayload
	}
	now := presence.Millis(binary.LittleEndian.Uint64(b))
	n := int64(binary.LittleEndian.Uint32(b[8:]))
	if n > int64(len(b)-payloadHead) {
		return 0, errPayload
	}
	entries, rest := b[payloadHead:payloadHead+n], b[payloadHead+n:]
	names, err := decodeApps(rest)
	if err != nil {
		return 0, err
	}
	// Frames mostly name one app after the other many times.
	var lastNum uint64
	var last presence.AppID
	known := false
	for len(entries) > 0 {
		num, w := binary.Uvarint(entries)
		if w <= 0 {
			return 0, errPayload
		}
		entries = entries[w:]
		var peer, packed []byte
		if peer, entries = cutBytes(entries); entries == nil {
			return 0, errPayload
		}
		if packed, entries = cutBytes(entries); entries == nil {
			return 0, errPayload
		}
		if !known || num != lastNum {
			if last, known = names[num]; !known {
				return 0, errPayload
			}
			lastNum = num
		}
		if err := fn(last, peer, packed); err != nil {
			return 0, err
		}
	}
	return now, nil
}

func decodeApps(b []byte) (map[uint64]presence.AppID, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)) {
		return nil, errPayload
	}
	b = b[w:]
	names := make(map[uint64]presence.AppID, n)
	for range n {
		num, w := binary.Uvarint(b)
		if w <= 0 {
			return nil, errPayload
		}
		var name []byte
		if name, b = cutBytes(b[w:]); b == nil {
			return nil, errPayload
		}
		names[num] = presence.AppID(name)
	}
	if len(b) > 0 {
		return nil, errPayload
	}
	return names, nil
}

// cutBytes takes bytes with their length off b; rest is nil when b is too short.
func cutBytes(b []byte) (v, rest []byte) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil
	}
	rest = b[w+int(n):]
	if rest == nil {
		rest = []byte{}
	}
	return b[w : w+int(n)], rest
}

// appendRecord is appendEntry for a peer that is bytes already.
func appendRecord(b []byte, app uint32, peer, packed []byte) []byte {
	b = binary.AppendUvarint(b, uint64(app))
	b = binary.AppendUvarint(b, uint64(len(peer)))
	b = append(b, peer...)
	b = binary.AppendUvarint(b, uint64(len(packed)))
	return append(b, packed...)
}
