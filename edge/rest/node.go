package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/presence"
)

// ResyncBodies is how many times MaxBody the body of a resync may be.
const ResyncBodies = 16

// pathNode returns the node that the path of r names.
func (d *Door) pathNode(r *http.Request, c *api.Caller) (presence.NodeID, error) {
	from := d.sender(c)
	node, err := from.Node(r.PathValue("node"))
	if err != nil {
		return "", api.Errorf("invalid", "the node id is empty or too long")
	}
	return node, nil
}

// beat takes a heartbeat: it renews all sessions of a node at once.
func (d *Door) beat(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	var in struct {
		Lease num `json:"lease"`
	}
	if err := d.signed(w, r, c, d.cfg.MaxBody, &in); err != nil {
		return err
	}
	node, err := d.pathNode(r, c)
	if err != nil {
		return err
	}
	if in.Lease < 0 || time.Duration(in.Lease) > intake.MaxNodeLease/time.Second {
		return api.Errorf("invalid", "lease is not between 1 and %d seconds", intake.MaxNodeLease/time.Second)
	}
	lease, err := d.deps.Intake.Heartbeat(r.Context(), node, time.Duration(in.Lease)*time.Second)
	if err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, map[string]any{"lease": lease / time.Second})
	return nil
}

// drain is the last heartbeat of a node that shuts down: its sessions have the grace to come back
// elsewhere.
func (d *Door) drain(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	var in struct{}
	if err := d.signed(w, r, c, d.cfg.MaxBody, &in); err != nil {
		return err
	}
	node, err := d.pathNode(r, c)
	if err != nil {
		return err
	}
	grace, err := d.deps.Intake.Drain(r.Context(), node)
	if err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, map[string]any{"grace": grace / time.Second})
	return nil
}

// resync takes the complete list of a node's sessions, see [intake.Resync].
func (d *Door) resync(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	limit := ResyncBodies * d.cfg.MaxBody
	// The signature proves itself when the body has come, and an unknown caller must not have that
	// much kept.
	if c.Signed {
		limit = d.cfg.MaxBody
	}
	body, err := d.signedBody(w, r, c, limit)
	if err != nil {
		return err
	}
	node, err := d.pathNode(r, c)
	if err != nil {
		return err
	}
	sessions, n, err := listOf(body, "sessions", d.cfg.MaxSessions)
	switch {
	case err != nil:
		return err
	case n < 0:
		return api.Errorf("invalid", "sessions is missing: the list of all sessions of the node")
	case n > d.cfg.MaxSessions:
		return api.Errorf("too_many_events", "one resync may name %d sessions", d.cfg.MaxSessions).WithLimit(d.cfg.MaxSessions)
	}
	at, err := intake.ParseTime(body)
	if err != nil {
		return api.Errorf(codeOf(err), "%s", strings.TrimPrefix(err.Error(), "invalid: "))
	}
	list := d.deps.Intake.Resync(d.sender(c), node, at, n)
	for i, raw := range sessions {
		// All is refused, since what the list does not name is ended.
		if err := list.AddJSON(raw); err != nil {
			return api.Errorf(codeOf(err), "session %d: %v", i, err)
		}
	}
	tally, ended, err := list.Send(r.Context())
	if err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, struct {
		intake.Tally
		Ended int `json:"ended"`
	}{tally, ended})
	return nil
}

// codeOf returns the code with which a whole list is refused for err.
func codeOf(err error) string {
	if f := (*intake.FieldError)(nil); errors.As(err, &f) && f.Code == "bad_json" {
		return "bad_json"
	}
	return "invalid"
}

// num is a whole number written as a number or as a string of one.
type num int64

func (n *num) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" || s == "" {
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || f != float64(int64(f)) {
			return fmt.Errorf("%w: %.32s is not a whole number", presence.ErrInvalid, s)
		}
		v = int64(f)
	}
	*n = num(v)
	return nil
}
