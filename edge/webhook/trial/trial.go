package trial

import (
	"context"
	"errors"
	"strconv"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A Result is what there is to know of a call.
type Result struct {
	// Proof is nil when the proof is right, or was not tried, and the app that the call names is
	// that of the source; see webhook.ErrUnproven and webhook.ErrExpired.
	Proof error
	// Tried says that there is a secret to try the proof with, and a proof: that of a call that was
	// recorded is struck out.
	Tried bool
	// Shape is nil when the body is one of the product, and matches webhook.ErrShape otherwise.
	Shape error
	// Events are those that can be used.
	Events []Event
	// Problems are why others cannot; Ignored counts those that say nothing about presence.
	Problems []string
	Ignored  int
	// Reply is what the product would be answered.
	Reply webhook.Reply
}

// An Event is what a call says of one peer.
type Event struct {
	presence.Report
	// Verdict is what becomes of it when the peer is not known.
	Verdict presence.Verdict
	// Unknown and Online are what the peer is after it, when it was not known before, and when the
	// same session was reported online a minute earlier.
	Unknown, Online presence.Status
}

// Try reads r, received at now, as a call to s. An error matches [ErrFile], or this program
// failed.
func Try(ctx context.Context, s *webhook.Source, r *Request, now presence.Millis) (*Result, error) {
	c, err := r.call(s)
	if err != nil {
		return nil, err
	}
	c.Now = now
	res := &Result{}
	_, recorded := r.Recorded()
	if res.Tried = s.Secret != "" && !recorded; res.Tried {
		res.Proof = s.Verify(c)
	}
	w, err := newWorld(s, now)
	if err != nil {
		return nil, err
	}
	batch := w.in.Batch(w.from, 1)
	b := webhook.Fill(batch)
	if res.Shape = s.Kind.Read(c, b); res.Shape == nil {
		res.Ignored = b.Ignored()
		err = w.events(ctx, batch.Reports(), res)
	}
	if err == nil {
		tally, failed := batch.Send(ctx)
		for _, p := range tally.Errors {
			res.Problems = append(res.Problems, p.Error)
		}
		res.Reply = s.Kind.Reply(c, webhook.Outcome{Err: errors.Join(res.Proof, res.Shape, failed), Tally: tally})
	}
	return res, errors.Join(err, w.store.Close())
}

// events adds what reports say. Each is tried by itself: on a peer of an app of its own.
func (w *world) events(ctx context.Context, reports []presence.Report, res *Result) error {
	for i := range reports {
		e := Event{Report: reports[i]}
		r := reports[i]
		var err error
		r.App = presence.AppID("unknown-" + strconv.Itoa(i))
		if e.Unknown, e.Verdict, err = w.after(ctx, r); err != nil {
			return err
		}
		r.App = presence.AppID("online-" + strconv.Itoa(i))
		if e.Online, _, err = w.after(ctx, before(&r), r); err != nil {
			return err
		}
		res.Events = append(res.Events, e)
	}
	return nil
}

// before returns the online of the session that r is about, a minute earlier.
func before(r *presence.Report) presence.Report {
	o := *r
	o.Kind, o.Cause, o.ID = presence.KindOnline, 0, ""
	o.At = o.At.Add(-time.Minute)
	if r.Kind == presence.KindEndAll { // of a session whose id begins so
		o.Session += "session"
	}
	if o.Lease > 0 { // else it ends with its node
		o.Lease = max(o.Lease, 2*time.Minute)
	}
	return o
}

// after returns the status of a peer after reports, and the verdict on the last.
func (w *world) after(ctx context.Context, reports ...presence.Report) (presence.Status, presence.Verdict, error) {
	out := make([]presence.Outcome, 1)
	for i := range reports {
		if err := w.service.Report(ctx, reports[i:i+1], w.in.Now(), out); err != nil {
			return 0, 0, err
		}
	}
	var st presence.State
	err := w.service.Load(ctx, reports[0].Key(), &st)
	return st.Status, out[0].Verdict, err
}

// A world is a store in memory without a peer.
type world struct {
	store   *embedded.Store
	service *presence.Service
	in      *intake.Intake
	from    intake.Sender
}

func newWorld(s *webhook.Source, now presence.Millis) (*world, error) {
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now)
	if err != nil {
		return nil, err
	}
	service := presence.NewService(store, presence.DefaultConfig())
	return &world{
		store: store, service: service, from: s.Sender(),
		in: intake.New(intake.DefaultConfig(), intake.Deps{Service: service, Now: func() presence.Millis { return now }}),
	}, nil
}
