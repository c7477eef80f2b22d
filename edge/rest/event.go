package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/native"
	"rollcall/presence"
)

// An event is one report in the generic JSON. Senders differ in how they write numbers, so both forms are taken.
type event struct {
	User     string `json:"user"`
	Peer     string `json:"peer"` // the same
	State    string `json:"state"`
	Session  string `json:"session"`
	Node     string `json:"node"`
	Time     num    `json:"time"`
	Inc      num    `json:"inc"`
	Platform string `json:"platform"`
	Why      string `json:"why"`
	ID       string `json:"id"`
	TTL      num    `json:"ttl"`
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

// causes are the words of the generic JSON for why a session ended; those of presence are taken too.
var causes = map[string]presence.Cause{
	"link_lost": presence.CauseLost, "timeout": presence.CauseLost, "api_kick": presence.CauseKicked,
}

// reportOf turns e into a report heard at now.
func (d *Door) reportOf(app presence.AppID, e *event, now presence.Millis) (presence.Report, error) {
	r := presence.Report{
		App: app, Peer: presence.PeerID(e.User), Source: presence.SourceAPI, Session: presence.SessionID(e.Session),
		Device: e.Platform, At: presence.Millis(e.Time), Incarnation: presence.Millis(e.Inc), ID: e.ID, Hold: d.cfg.Hold,
	}
	if e.Peer != "" {
		if e.User != "" && e.User != e.Peer {
			return r, fmt.Errorf("%w: user and peer differ", presence.ErrInvalid)
		}
		r.Peer = presence.PeerID(e.Peer)
	}
	switch e.State {
	case "online":
		r.Kind = presence.KindOnline
	case "offline":
		r.Kind = presence.KindOffline
	case "touch":
		r.Kind = presence.KindTouch
	case "":
		return r, fmt.Errorf("%w: the state is missing: online, offline or touch", presence.ErrInvalid)
	default:
		return r, fmt.Errorf("%w: the state %.32q is none of online, offline and touch", presence.ErrInvalid, e.State)
	}
	if e.Why != "" {
		cause, ok := causes[e.Why]
		if !ok {
			cause, _ = presence.ParseCause(e.Why) // a reason we do not know is no reason
		}
		r.Cause = cause
	}
	if r.Kind == presence.KindOffline && (r.Cause == presence.CauseLogout || r.Cause == presence.CauseKicked || r.Cause == presence.CauseReplaced) {
		r.Hold = 0
	}
	if e.TTL < 0 || time.Duration(e.TTL) > presence.MaxLease/time.Second {
		return r, fmt.Errorf("%w: ttl is not between 0 and %d seconds", presence.ErrInvalid, presence.MaxLease/time.Second)
	}
	r.Lease = time.Duration(e.TTL) * time.Second
	switch {
	case r.Session != "":
	case r.At != 0:
		// Reports with a time but no session have an order: one session for each platform, the newest word wins.
		r.Session = presence.SessionID("platform:" + e.Platform)
	default:
		r.Tag = e.Platform
	}
	if r.At == 0 {
		r.At, r.Received = now, true
	}
	if e.Node != "" && r.Session != "" {
		r.Node = nodeID(app, e.Node)
	}
	return r, r.Validate()
}

// nodeID keeps the nodes of two apps apart, and both from the nodes of rollcall itself.
func nodeID(app presence.AppID, node string) presence.NodeID {
	return presence.NodeID("api:" + string(app) + ":" + node)
}

// tally is what became of a batch of events. Its words sum up to the number of events.
type tally struct {
	Accepted int       `json:"accepted"` // counted now
	Double   int       `json:"double"`   // counted before
	Late     int       `json:"late"`     // overtaken by a newer word
	Stale    int       `json:"stale"`    // older than reports may be
	Ignored  int       `json:"ignored"`  // not understood, or about nothing known
	Full     int       `json:"full"`     // the peer has as many sessions as one may have
	Errors   []problem `json:"errors,omitempty"`
}

// A problem says why an event was not understood; only the first few are told. Its code is one of the refusals'.
type problem struct {
	Index int    `json:"index"`
	Code  string `json:"code"`
	Error string `json:"error"`
}

const maxProblems = 10

func (t *tally) ignore(i int, err error) {
	t.Ignored++
	if len(t.Errors) < maxProblems {
		t.Errors = append(t.Errors, problem{i, "invalid", fmt.Sprintf("%.160s", err.Error())})
	}
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
}

// report takes a batch of reports. An event that is not understood is ignored and told; the others count.
func (d *Door) report(w http.ResponseWriter, r *http.Request, c *native.Caller) error {
	var in struct {
		Events *[]json.RawMessage `json:"events"`
	}
	if err := d.signed(w, r, c, d.cfg.MaxBody, &in); err != nil {
		return err
	}
	if in.Events == nil {
		return native.Refuse("invalid", "events is missing: a list of reports")
	}
	if len(*in.Events) > d.cfg.MaxEvents {
		return native.Refuse("too_many_events", "one call may carry %d events", d.cfg.MaxEvents).WithLimit(d.cfg.MaxEvents)
	}
	now := d.cfg.Now()
	app := presence.AppID(c.App.ID)
	var t tally
	reports := make([]presence.Report, 0, len(*in.Events))
	for i, raw := range *in.Events {
		var e event
		err := json.Unmarshal(raw, &e)
		if err != nil {
			t.ignore(i, fmt.Errorf("%w: a field has the wrong type", presence.ErrInvalid))
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
	d.events.Add(int64(len(*in.Events)))
	if err := d.apply(r, reports, now, &t); err != nil {
		return refusal(err)
	}
	native.WriteJSON(w, http.StatusOK, t)
	return nil
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
func (d *Door) signed(w http.ResponseWriter, r *http.Request, c *native.Caller, limit int, v any) error {
	body, err := c.ReadBody(w, r, limit)
	if err != nil {
		return err
	}
	if err := d.gate.CheckSignature(r, c, body); err != nil {
		return err
	}
	if len(body) == 0 {
		body = []byte("{}") // a beat needs no words
	}
	return native.Decode(body, v)
}
