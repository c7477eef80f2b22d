package rest

import (
	"net/http"

	"rollcall/internal/api"
)

// why explains why a peer is shown as it is.
func (d *Door) why(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	key, err := knownPeer(r, c)
	if err != nil {
		return err
	}
	why, err := d.deps.Ask.Why(r.Context(), viewOf(c), key.Peer)
	if err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, why)
	return nil
}
