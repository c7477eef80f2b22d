package embedded

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"

	"rollcall/presence"
)

// scanStep is how many records a walk reads before it lets go of its epoch.
const scanStep = 256

// A cursor is the last peer that was listed, by its place in the order of the hash. The hash is
// seeded by the process, so the cursor names the run that made it.
type cursor struct {
	position
	peer string // within the tag; empty: from the tag on
}

const cursorHead = 8 + 1 + 4

func (s *Store) format(c cursor) string {
	b := binary.BigEndian.AppendUint64(nil, s.run)
	b = append(b, byte(c.shard))
	b = binary.BigEndian.AppendUint32(b, c.tag)
	return base64.RawURLEncoding.EncodeToString(append(b, c.peer...))
}

func (s *Store) parse(text string) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < cursorHead {
		return c, fmt.Errorf("%w: not a cursor of this list", presence.ErrInvalid)
	}
	if binary.BigEndian.Uint64(b) != s.run {
		return c, fmt.Errorf("%w: the cursor is of an earlier run of the server; start the list again", presence.ErrInvalid)
	}
	c.shard, c.tag, c.peer = int(b[8]), binary.BigEndian.Uint32(b[9:]), string(b[cursorHead:])
	return c, nil
}

type listed struct {
	tag  uint32
	peer string
}

// List returns up to limit peers of an app that are online at now, after a cursor.
func (s *Store) List(ctx context.Context, id presence.AppID, after string, limit int, now presence.Millis) ([]presence.PeerID, string, error) {
	if s.closed.Load() {
		return nil, "", errClosed
	}
	c, err := s.parse(after)
	if err != nil {
		return nil, "", err
	}
	a := s.apps.lookup(id)
	if a == nil || limit <= 0 {
		return nil, "", nil
	}
	var (
		peers []presence.PeerID
		run   []listed
	)
	for {
		if err := ctx.Err(); err != nil {
			return nil, "", unavailable(err)
		}
		run = run[:0]
		next, more := s.index.scan(c.shard, c.tag, min(scanStep, limit), func(tag, app uint32, peer, packed []byte) {
			if app != a.num || tag == c.tag && c.peer != "" && string(peer) <= c.peer {
				return
			}
			if st, _ := presence.PeekStatus(packed, now, &s.deps.Rules); st == presence.Online {
				run = append(run, listed{tag, string(peer)})
			}
		})
		slices.SortFunc(run, func(x, y listed) int {
			return cmp.Or(cmp.Compare(x.tag, y.tag), cmp.Compare(x.peer, y.peer))
		})
		for _, l := range run {
			peers = append(peers, presence.PeerID(l.peer))
			if len(peers) == limit {
				return peers, s.format(cursor{position{c.shard, l.tag}, l.peer}), nil
			}
		}
		switch {
		case more:
			c = cursor{position: position{c.shard, next}}
		case c.shard+1 < shards:
			c = cursor{position: position{shard: c.shard + 1}}
		default:
			return peers, "", nil
		}
	}
}
