package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"rollcall/internal/disk"
	"rollcall/internal/lograte"
	"rollcall/presence"
)

// heartbeats keeps on disk when each node was last alive, so that after a restart the sessions of a
// dead node end with the last_seen that they had, and so that it is known which nodes have sent a
// heartbeat at all.
//
// A heartbeat costs one short write into the page cache, which survives the process. Only the first
// heartbeat of a node and its drain are synced: a loss of power may set the others back by as much
// as the system had not written yet. It is never worth refusing to start for: reading stops at the
// first record whose checksum does not match.
//
//	0  4 bytes: CRC-32C of the rest of the record
//	4  1 byte: flags
//	5  8 bytes: time of the heartbeat, Unix milliseconds
//	13 2 bytes: length of the node id
//	15 the node id
//
// Integers are big endian. The last record of a node counts. Store.nodes.mu guards it.
type heartbeats struct {
	log     *log      // nil: nothing is kept
	file    disk.File // nil after a failure, until it is written anew
	at      int64
	trouble lograte.Episode // of writing
}

const (
	heartbeatsName = "heartbeats"
	heartbeatHead  = 15
	// heartbeatGone marks a node that was found lost and whose sessions have ended.
	heartbeatGone = 1
	// compactHeartbeats is from what size on the file is written anew when most of it is old.
	compactHeartbeats = 64 << 10
	// maxHeartbeats bounds what is read of a file at the start, in bytes.
	maxHeartbeats = 64 << 20
)

var heartbeatSum = crc32.MakeTable(crc32.Castagnoli)

func appendHeartbeat(b []byte, id presence.NodeID, seen presence.Millis, flags byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(seen))
	b = binary.BigEndian.AppendUint16(b, uint16(len(id)))
	b = append(b, id...)
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], heartbeatSum))
	return b
}

// parseHeartbeats returns when each node in b was last alive.
func parseHeartbeats(b []byte) map[presence.NodeID]presence.Millis {
	seen := map[presence.NodeID]presence.Millis{}
	for len(b) >= heartbeatHead {
		n := heartbeatHead + int(binary.BigEndian.Uint16(b[13:]))
		if n > len(b) || crc32.Checksum(b[4:n], heartbeatSum) != binary.BigEndian.Uint32(b) {
			break
		}
		id, at := presence.NodeID(b[heartbeatHead:n]), presence.Millis(binary.BigEndian.Uint64(b[5:]))
		if b[4]&heartbeatGone != 0 {
			delete(seen, id)
		} else {
			seen[id] = max(seen[id], at)
		}
		b = b[n:]
	}
	return seen
}

// readHeartbeats returns what an earlier process has left.
func readHeartbeats(l *log, names []string) (map[presence.NodeID]presence.Millis, error) {
	if !slices.Contains(names, heartbeatsName) {
		return nil, nil
	}
	f, err := l.fs.Open(l.path(heartbeatsName))
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := make([]byte, min(size, maxHeartbeats))
	if n, err := f.ReadAt(b, 0); n < len(b) && err != io.EOF {
		return nil, errors.Join(fmt.Errorf("read %s: %w", l.path(heartbeatsName), err), f.Close())
	}
	return parseHeartbeats(b), f.Close()
}

// note records that a node was alive at seen. Nothing that is acknowledged depends on it, so a
// failure is logged, not returned.
func (s *Store) note(id presence.NodeID, seen presence.Millis, flags byte, sync bool) {
	h := &s.nodes.heartbeats
	if h.log == nil || len(id) > presence.MaxName {
		return
	}
	err := s.writeHeartbeat(id, seen, flags, sync)
	if begins, _ := h.trouble.Note(err); begins {
		s.deps.Log.Warn("heartbeat write failed; last_seen may be too early after a restart", "file", h.log.path(heartbeatsName), "err", err)
	}
}

func (s *Store) writeHeartbeat(id presence.NodeID, seen presence.Millis, flags byte, sync bool) error {
	h := &s.nodes.heartbeats
	if h.file == nil || h.at > compactHeartbeats && h.at > 4*int64(len(s.nodes.byID))*(heartbeatHead+64) {
		return s.rewriteHeartbeats()
	}
	b := appendHeartbeat(nil, id, seen, flags)
	_, err := h.file.WriteAt(b, h.at)
	if err == nil && sync {
		err = h.file.Sync()
	}
	if err != nil {
		err = errors.Join(err, h.file.Close())
		h.file = nil
		return err
	}
	h.at += int64(len(b))
	return nil
}

// rewriteHeartbeats writes the file anew, with the nodes that are known, and syncs it.
func (s *Store) rewriteHeartbeats() error {
	h := &s.nodes.heartbeats
	if h.file != nil {
		_ = h.file.Close() // it is replaced
		h.file = nil
	}
	var b []byte
	for id, n := range s.nodes.byID {
		if n.seen != 0 {
			b = appendHeartbeat(b, id, n.seen, 0)
		}
	}
	f, err := disk.Replace(h.log.fs, h.log.path(heartbeatsName), func(f disk.File) error { return disk.WriteAt(f, b, 0) })
	if err != nil {
		return err
	}
	h.file, h.at = f, int64(len(b))
	return nil
}

// closeHeartbeats lets go of the file. Store.nodes.mu is held.
func (s *Store) closeHeartbeats() {
	if h := &s.nodes.heartbeats; h.file != nil {
		_ = h.file.Close() // what it holds is a hint
		h.file = nil
	}
}
