package rest

import (
	"net/http"

	"rollcall/internal/api"
	"rollcall/presence"
)

// OnlineTime is the answer of GET /v1/peers/{id}/online-time.
type OnlineTime struct {
	Peer presence.PeerID `json:"peer"`
	Days []OnlineDay     `json:"days"`
}

// An OnlineDay is how long a peer was online on one local day.
type OnlineDay struct {
	Day      string `json:"day"`
	OnlineMS int64  `json:"online_ms"`
}

// onlineTime answers how long a peer was online on each of the last days.
func (d *Door) onlineTime(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	key, err := pathPeer(r, c)
	if err != nil {
		return err
	}
	if !d.deps.Service.Rules().OnlineTime {
		return api.Errorf("switched_off", "online time is not kept; the setting presence.online_time is off")
	}
	days, err := d.deps.Ask.OnlineTime(r.Context(), viewOf(c), key.Peer)
	if err != nil {
		return refusal(err)
	}
	out := OnlineTime{Peer: key.Peer, Days: make([]OnlineDay, 0, len(days))}
	for _, day := range days {
		out.Days = append(out.Days, OnlineDay{Day: day.Date(), OnlineMS: day.Online.Milliseconds()})
	}
	api.WriteJSON(w, http.StatusOK, out)
	return nil
}
