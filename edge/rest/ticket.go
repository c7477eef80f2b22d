package rest

import (
	"encoding/json"
	"net/http"

	"rollcall/internal/api"
	"rollcall/presence"
)

// ticket sells a ticket for one stream: POST /v1/ticket {"peers":["a","b"],"detail":true}. Both are
// optional, and so is the body. A ticket has the name of the caller that buys it, if it has one.
func (d *Door) ticket(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	body, err := c.ReadBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	var in struct {
		Peers  *[]presence.PeerID `json:"peers"`
		Detail bool               `json:"detail"`
	}
	if len(body) > 0 {
		if err := api.Decode(body, &in); err != nil {
			return err
		}
		if err := onlyTicketFields(body); err != nil {
			return err
		}
	}
	var peers []presence.PeerID
	if in.Peers != nil {
		if peers = *in.Peers; len(peers) == 0 {
			return api.Errorf("invalid", "peers is empty; leave it out for a ticket that is for any peers")
		}
	}
	if len(peers) > d.cfg.MaxPeers {
		return api.Errorf("too_many_peers", "one ticket may name %d peers", d.cfg.MaxPeers).WithLimit(d.cfg.MaxPeers)
	}
	if err := api.CheckPeers(peers); err != nil {
		return err
	}
	if in.Detail && !c.Detailed() {
		return api.Errorf("forbidden", "this key may ask for the status only, so its tickets have no detail")
	}
	pass := api.NewPass(peers, in.Detail, int64(d.deps.Now())).By(c)
	ticket, expires := d.deps.Gate.Tickets.Issue(c.App, pass)
	api.WriteJSON(w, http.StatusOK, map[string]any{"ticket": ticket, "expires": expires, "ends": pass.Ends()})
	return nil
}

// onlyTicketFields refuses a field that a ticket does not take, and one that is null: a misspelt
// "peers" would sell a ticket for any peers.
func onlyTicketFields(body []byte) error {
	var fields map[string]json.RawMessage
	if err := api.Decode(body, &fields); err != nil {
		return err
	}
	for name, value := range fields {
		switch {
		case name != "peers" && name != "detail":
			return api.Errorf("invalid", "there is no field %.64q; a ticket takes peers and detail", name)
		case string(value) == "null":
			return api.Errorf("invalid", "%s is null; leave it out when it is not asked for", name)
		}
	}
	return nil
}
