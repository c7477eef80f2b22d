package rest

import (
	"errors"
	"fmt"
	"net/http"

	"rollcall/ask"
	"rollcall/internal/api"
	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// list pages through who is online: GET /v1/peers?online&cursor=…&limit=….
func (d *Door) list(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	q := c.Query
	if v := q.Get("online"); !q.Has("online") || v != "" && v != "1" && v != "true" {
		return api.Errorf("invalid", "only those who are online can be listed: say ?online")
	}
	limit := d.cfg.Page
	if v := q.Get("limit"); q.Has("limit") {
		var ok bool
		if limit, ok = number(v); !ok || limit < 1 || limit > d.cfg.Page {
			return api.Errorf("invalid", "limit must be a number from 1 to %d", d.cfg.Page).WithLimit(d.cfg.Page)
		}
	}
	peers, next, err := d.deps.Ask.List(r.Context(), viewOf(c), q.Get("cursor"), limit)
	switch {
	case errors.Is(err, ask.ErrCursor):
		return api.Errorf("invalid", "cursor is not one that this server gave out; start again without it")
	case err != nil:
		return refusal(err)
	}
	b := []byte(`{"peers":[`)
	for i, p := range peers {
		if i > 0 {
			b = append(b, ',')
		}
		b = plainjson.AppendString(b, string(p))
	}
	b = append(b, `],"cursor":`...)
	b = plainjson.AppendString(b, next)
	api.WriteBytes(w, http.StatusOK, append(b, "}\n"...))
	return nil
}

// number reads ASCII digits.
func number(s string) (n int, ok bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// erase forgets a peer everywhere; on disk its traces go with the next compaction.
func (d *Door) erase(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	key, err := knownPeer(r, c)
	if err != nil {
		return err
	}
	if err := d.deps.Service.Erase(r.Context(), []presence.Key{key}, d.deps.Now()); err != nil {
		return refusal(fmt.Errorf("erase a peer: %w", err))
	}
	api.WriteJSON(w, http.StatusOK, map[string]any{"erased": key.Peer})
	return nil
}
