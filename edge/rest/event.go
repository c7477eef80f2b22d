package rest

import (
	"errors"
	"net/http"

	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// sender returns the name under which a caller reports.
func (d *Door) sender(c *api.Caller) intake.Sender {
	return intake.Sender{App: c.App.ID, Source: presence.SourceAPI, Hold: d.cfg.Hold}
}

// report takes a batch of events. One that is not understood is ignored and named in the answer;
// the others count.
func (d *Door) report(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	body, err := d.signedBody(w, r, c, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	events, n, err := listOf(body, "events", d.cfg.MaxEvents)
	switch {
	case err != nil:
		return err
	case n < 0:
		return api.Errorf("invalid", "events is missing: a list of reports")
	case n > d.cfg.MaxEvents:
		return api.Errorf("too_many_events", "one call may carry %d events", d.cfg.MaxEvents).WithLimit(d.cfg.MaxEvents)
	}
	batch := d.deps.Intake.Batch(d.sender(c), n)
	for _, raw := range events {
		batch.AddJSON(raw)
	}
	d.events.Add(int64(n))
	tally, err := batch.Send(r.Context())
	if err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, tally)
	return nil
}

// listOf returns the elements of the list called name in a body, at most limit of them, and how
// many there are, -1 without a list.
func listOf(body []byte, name string, limit int) (list [][]byte, n int, err error) {
	list, n, err = strictjson.Split(body, name, limit, "time")
	switch {
	case errors.Is(err, strictjson.ErrShape):
		return nil, 0, api.Errorf("bad_json", "the body is not an object with a list called %s", name)
	case err != nil:
		return nil, 0, api.Errorf("bad_json", "the body is not usable JSON: %v", err)
	}
	return list, n, nil
}

// signed reads a body, checks the signature over it when there is one, and decodes it into v.
func (d *Door) signed(w http.ResponseWriter, r *http.Request, c *api.Caller, limit int, v any) error {
	body, err := d.signedBody(w, r, c, limit)
	if err != nil {
		return err
	}
	return api.Decode(body, v)
}

// signedBody reads a body and checks the signature over it when there is one.
func (d *Door) signedBody(w http.ResponseWriter, r *http.Request, c *api.Caller, limit int) ([]byte, error) {
	body, err := c.ReadBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	if err := d.deps.Gate.CheckSignature(r, c, body); err != nil {
		return nil, err
	}
	if len(body) == 0 {
		body = []byte("{}") // a heartbeat needs none
	}
	return body, nil
}
