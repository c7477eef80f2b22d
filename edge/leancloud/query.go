package leancloud

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"slices"

	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// onOffStatus answers for each id in the body whether it is online: "1", "0", or null for an id
// that was never reported.
func (h *Handler) onOffStatus(ctx context.Context, c *call, s *scratch) answer {
	ids, fail := h.idsOf(c, "peerIds", true, s)
	if fail != nil {
		return fail.answer()
	}
	if fail := h.takeIDs(c, len(ids)); fail != nil {
		return fail.answer()
	}
	if fail := h.statuses(ctx, c, ids, s); fail != nil {
		return fail.answer()
	}
	statuses, age := s.statuses.Read()
	const head, tail = `{"result":[`, `]}`
	room := len(head) + len(ids)*longestWord + wordRoom
	out := slices.Grow(s.out[:0], room)[:room]
	at := copy(out, head)
	for _, st := range statuses {
		w := &h.words[st]
		binary.LittleEndian.PutUint64(out[at:], w.text)
		at += w.size
	}
	if len(statuses) > 0 {
		at-- // the last comma
	}
	s.out = append(out[:at], tail...)
	return answer{status: http.StatusOK, body: s.out, age: age}
}

// A word is a status in a list, with its comma. It is written as eight bytes, of which the next
// word overwrites those that are not its own: who is online cannot be guessed, so nothing here
// branches on it.
type word struct {
	text uint64
	size int
}

const (
	longestWord = len(`null,`)
	wordRoom    = 8 // bytes that one write takes
)

func wordOf(text string) word {
	var b [wordRoom]byte
	size := copy(b[:], text)
	return word{binary.LittleEndian.Uint64(b[:]), size}
}

// wordsOf returns the words by status.
func wordsOf(unknownAsOffline bool) (words [presence.Online + 1]word) {
	words[presence.Unknown] = wordOf(`null,`)
	words[presence.Offline] = wordOf(`"0",`)
	words[presence.Online] = wordOf(`"1",`)
	if unknownAsOffline {
		words[presence.Unknown] = words[presence.Offline]
	}
	return words
}

// statuses asks for all ids at once; the answer is in s.
func (h *Handler) statuses(ctx context.Context, c *call, ids [][]byte, s *scratch) *fault {
	h.counters.queries.Add(1)
	h.counters.ids.Add(int64(len(ids)))
	if err := h.Ask.Statuses(ctx, c.view(), ids, &s.statuses); err != nil {
		return h.storeFault(ctx, "ask for statuses", err)
	}
	return nil
}

var comma = []byte{','}

// idsOf returns the ids that the parameter called name lists. With lone a single string or number
// is a list of one.
func (h *Handler) idsOf(c *call, name string, lone bool, s *scratch) ([][]byte, *fault) {
	if name == "peerIds" && !c.form {
		if len(c.body) > smallBody { // so many that growing by and by would cost more than counting
			s.ids = h.roomFor(min(bytes.Count(c.body, comma)+1, h.cfg.MaxIDs), s)
		}
		ids, ok := plainjson.List(c.body, "peerIds", s.ids[:0], h.cfg.MaxIDs)
		s.ids = ids
		if ok {
			return ids, nil
		}
	}
	h.counters.unusual.Add(1)
	p, fail := h.parse(c.body, c.form)
	if fail != nil {
		return nil, fail
	}
	raw := p[name]
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, bad("The parameter " + name + " is missing; a list of ids is expected.")
	case lone && (raw[0] == '"' || isNumber(raw)):
		id, _ := appendText(nil, raw, 0)
		return [][]byte{id}, nil
	case raw[0] != '[':
		return nil, bad("The parameter " + name + " is not a list of ids.")
	}
	ids, fail := listIDs(raw, s.ids[:0], h.cfg.MaxIDs, name)
	s.ids = ids
	return ids, fail
}
