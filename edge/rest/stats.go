package rest

import (
	"net/http"

	"rollcall/internal/api"
	"rollcall/presence"
)

// AppStats is what GET /v1/stats answers of one app.
type AppStats struct {
	Online int64 `json:"online"` // now
	Known  int64 `json:"known"`  // online, or offline and remembered
	Today  int64 `json:"today"`  // distinct peers that came online on the present local day

	// Days are the last thirty, the oldest first, today's last; as this node has sampled them.
	Days []Day `json:"days"`
	// Of the app on this node, over the last minute.
	Rates api.Rates `json:"per_second"`
	// Watchers are those of the app on this node, and the peers they follow.
	Watchers int `json:"watchers"`
	Watched  int `json:"watched"`
}

// A Sample is what other rooms count of an app.
type Sample struct {
	presence.Counts
	Rates             api.Rates
	Watchers, Watched int
}

func (d *Door) stats(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	app := c.App.ID
	s, err := d.deps.Sample(r.Context(), app)
	if err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, AppStats{
		Online: s.Online, Known: s.Known, Today: s.Today, Days: d.deps.History.Days(app), Rates: s.Rates, Watchers: s.Watchers, Watched: s.Watched,
	})
	return nil
}
