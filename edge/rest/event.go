package rest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// causes are the words of the generic JSON for why a session ended; those of presence are taken too.
var causes = map[string]presence.Cause{
	"link_lost": presence.CauseLost, "timeout": presence.CauseLost, "api_kick": presence.CauseKicked,
}

// reportOf turns e into a report heard at now.
func (d *Door) reportOf(app presence.AppID, e *event, now presence.Millis) (presence.Report, error) {
	r := presence.Report{
		App: app, Peer: presence.PeerID(e.User.s), Source: presence.SourceAPI, Session: presence.SessionID(e.Session.s),
		Device: e.Platform.s, At: presence.Millis(e.Time.f), Incarnation: presence.Millis(e.Inc.f), Seq: uint64(e.Seq), ID: e.ID.s, Hold: d.cfg.Hold,
	}
	if e.Peer.s != "" {
		if e.User.s != "" && e.User.s != e.Peer.s {
			return r, invalidField("peer", "invalid", "user and peer differ")
		}
		r.Peer = presence.PeerID(e.Peer.s)
	}
	switch e.State.s {
	case "online":
		r.Kind = presence.KindOnline
	case "offline":
		r.Kind = presence.KindOffline
	case "touch":
		r.Kind = presence.KindTouch
	case "":
		return r, invalidField("state", "invalid", "the state is missing: online, offline or touch")
	default:
		return r, invalidField("state", "invalid", "the state %.32q is none of online, offline and touch", e.State.s)
	}
	if e.Why.s != "" {
		cause, ok := causes[e.Why.s]
		if !ok {
			cause, _ = presence.ParseCause(e.Why.s) // a reason we do not know is no reason
		}
		r.Cause = cause
	}
	if r.Kind == presence.KindOffline && (r.Cause == presence.CauseLogout || r.Cause == presence.CauseKicked || r.Cause == presence.CauseReplaced) {
		r.Hold = 0
	}
	r.Lease = time.Duration(math.Ceil(e.TTL.f*1000)) * time.Millisecond
	switch {
	case r.Session != "":
	case r.At != 0:
		// Reports with a time but no session have an order: one session for each platform, the newest word wins.
		r.Session = presence.SessionID("platform:" + e.Platform.s)
	default:
		r.Tag = e.Platform.s
	}
	if r.At == 0 {
		r.At, r.Received, r.Seq = now, true, 0
	}
	if e.Node.s != "" && r.Session != "" {
		r.Node = nodeID(app, e.Node.s)
	}
	return r, fieldOf(&r, r.Validate())
}

// fieldOf returns err with the field of the event that it is about, as far as it is known.
func fieldOf(r *presence.Report, err error) error {
	if err == nil {
		return nil
	}
	field, text := "", strings.TrimPrefix(err.Error(), "invalid: ")
	switch {
	case presence.CheckPeer(r.Peer) != nil:
		field = "user"
	case len(r.Session) > presence.MaxName:
		field = "session"
	case len(r.Device) > presence.MaxName || len(r.Tag) > presence.MaxName:
		field = "platform"
	case len(r.ID) > presence.MaxName:
		field = "id"
	case len(r.Node) > presence.MaxName:
		field = "node"
	}
	return &fieldError{field, "invalid", text}
}

// nodeID keeps the nodes of two apps apart, and both from the nodes of rollcall itself.
func nodeID(app presence.AppID, node string) presence.NodeID {
	return presence.NodeID("api:" + string(app) + ":" + node)
}

// tally is what became of a batch of events. Its words sum up to the number of events.
type tally struct {
	Accepted int       `json:"accepted"`                     // counted now
	Double   int       `json:"double"`                       // counted before
	Late     int       `json:"late"`                         // overtaken by a newer word
	Stale    int       `json:"stale"`                        // older than reports may be
	Ignored  int       `json:"ignored"`                      // not understood, or about nothing known
	Full     int       `json:"full"`                         // the peer has as many sessions as one may have
	Expired  int       `json:"expired_on_arrival,omitempty"` // taken, and their lease was over by then
	Errors   []problem `json:"errors,omitempty"`
}

// A problem says why an event was not understood; only the first few are reported. Its code is "invalid", "bad_json", or a reason in
// the time or type of its field.
type problem struct {
	Index int    `json:"index"`
	Code  string `json:"code"`
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
}

const maxProblems = 10

func (t *tally) ignore(i int, err error) {
	t.Ignored++
	if len(t.Errors) >= maxProblems {
		return
	}
	p := problem{Index: i, Code: "invalid", Error: fmt.Sprintf("%.160s", strings.ToValidUTF8(err.Error(), "\ufffd"))}
	if f := (*fieldError)(nil); errors.As(err, &f) {
		p.Field, p.Code = fmt.Sprintf("%.64s", strings.ToValidUTF8(f.field, "\ufffd")), f.code
	}
	t.Errors = append(t.Errors, p)
}

func (t *tally) count(v presence.Verdict) {
	switch v {
	case presence.Taken, presence.Swallowed:
		t.Accepted++
	case presence.Double:
		t.Double++
	case presence.Late:
		t.Late++
	case presence.Stale:
		t.Stale++
	case presence.Full:
		t.Full++
	case presence.Expired:
		t.Expired++
	default:
		t.Ignored++
	}
}

func (t *tally) add(o *tally) {
	t.Accepted += o.Accepted
	t.Double += o.Double
	t.Late += o.Late
	t.Stale += o.Stale
	t.Ignored += o.Ignored
	t.Full += o.Full
	t.Expired += o.Expired
}

// report takes a batch of reports. An event that is not understood is ignored and told; the others count.
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
		return api.Refuse("invalid", "events is missing: a list of reports")
	case n > d.cfg.MaxEvents:
		return api.Refuse("too_many_events", "one call may carry %d events", d.cfg.MaxEvents).WithLimit(d.cfg.MaxEvents)
	}
	now := d.cfg.Now()
	app := presence.AppID(c.App.ID)
	var t tally
	reports := make([]presence.Report, 0, n)
	for i, raw := range events {
		e, err := parseEvent(raw)
		if err != nil {
			t.ignore(i, err)
			continue
		}
		rep, err := d.reportOf(app, &e, now)
		if err != nil {
			t.ignore(i, err)
			continue
		}
		if rep.Received && rep.Session != "" {
			d.receipts.stamp(&rep, now)
		}
		reports = append(reports, rep)
	}
	d.events.Add(int64(n))
	if err := d.apply(r, reports, now, &t); err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, t)
	return nil
}

// listOf returns the elements of the list called name in a body, at most limit of them, and how many there are, -1 without a list.
func listOf(body []byte, name string, limit int) (list [][]byte, n int, err error) {
	list, n, err = strictjson.Split(body, name, limit, "time")
	switch {
	case errors.Is(err, strictjson.ErrShape):
		return nil, 0, api.Refuse("bad_json", "the body is not an object with a list called %s", name)
	case err != nil:
		return nil, 0, api.Refuse("bad_json", "the body is not usable JSON: %v", err)
	}
	return list, n, nil
}

// apply counts reports. Each online or touch that names a node is a heartbeat of it, if it has sent one before.
func (d *Door) apply(r *http.Request, reports []presence.Report, now presence.Millis, t *tally) error {
	a, err := d.service.Attend(r.Context(), reports, now, func(node presence.NodeID) time.Duration { return d.leaseOf(node, 0) })
	if err != nil {
		return err
	}
	if err := d.applyAll(r, reports, now, t); err != nil {
		return err
	}
	return d.service.Attended(r.Context(), a, reports, now)
}

func (d *Door) applyAll(r *http.Request, reports []presence.Report, now presence.Millis, t *tally) error {
	batches := slices.Collect(slices.Chunk(reports, reportsAtOnce))
	if len(batches) <= 1 {
		return d.count(r.Context(), reports, now, t)
	}
	// Some at a time, since a store that is far is waited for more than it works. Reports are merged alike in any order.
	tallies, errs := make([]tally, batchesAtOnce), make([]error, batchesAtOnce)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range batchesAtOnce {
		wg.Go(func() {
			for errs[w] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(batches) {
					return
				}
				errs[w] = d.count(r.Context(), batches[n], now, &tallies[w])
			}
		})
	}
	wg.Wait()
	for i := range tallies {
		t.add(&tallies[i])
	}
	return errors.Join(errs...)
}

const (
	reportsAtOnce = 500 // in one update of the store
	batchesAtOnce = 4
)

// count applies one batch and adds what became of it to t.
func (d *Door) count(ctx context.Context, reports []presence.Report, now presence.Millis, t *tally) error {
	out := make([]presence.Outcome, len(reports))
	if err := d.service.Report(ctx, reports, now, out); err != nil {
		return err
	}
	for i := range out {
		t.count(out[i].Verdict)
	}
	return nil
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
	if err := d.gate.CheckSignature(r, c, body); err != nil {
		return nil, err
	}
	if len(body) == 0 {
		body = []byte("{}") // a beat needs no words
	}
	return body, nil
}
