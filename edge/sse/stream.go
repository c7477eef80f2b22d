package sse

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"rollcall/ask"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

// Config are the settings of the door. Start from [DefaultConfig].
type Config struct {
	// Stall is how long a frame may wait for a reader that takes nothing, before the reader is
	// closed.
	Stall time.Duration `range:"1s..5m"`
	// MaxBody is the largest body that names peers.
	MaxBody int `config:",bytes" range:"4KiB..64MiB"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config { return Config{Stall: 10 * time.Second, MaxBody: 1 << 20} }

// A Door serves streams of a hub.
type Door struct {
	cfg  Config
	deps Deps
}

// Deps are what a [Door] is given beside its settings.
type Deps struct {
	Hub  *watch.Hub
	Gate *api.Gate
}

// New returns a door.
func New(cfg Config, deps Deps) *Door { return &Door{cfg: cfg, deps: deps} }

// Routes returns the calls of the door.
func (d *Door) Routes() []api.Route {
	return []api.Route{
		{Method: http.MethodGet, Path: "/v1/watch", Need: api.NeedAsker, Query: []string{"peer*", "since"}, Ticket: true, Stream: true, Handler: d.get},
		{Method: http.MethodPost, Path: "/v1/watch", Need: api.NeedAsker, Ticket: true, Stream: true, Handler: d.post},
	}
}

// admit takes the share of a watcher for c before the ids of the call are read: most of a crowd are
// refused here, for no more than that. The caller must release the share.
func (d *Door) admit(r *http.Request, c *api.Caller) (*api.Watching, error) {
	if !accepts(r.Header.Values("Accept")) {
		return nil, api.Errorf("not_acceptable", "this call answers text/event-stream only")
	}
	return c.Watch()
}

// get watches the peers named in the query: peer=a&peer=b.
func (d *Door) get(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	share, err := d.admit(r, c)
	if err != nil {
		return err
	}
	defer share.Release()
	q := c.Query
	token := tokenOf(r)
	if token == "" {
		token = q.Get("since")
	}
	return d.stream(w, r, c, share, api.PeersOf(q["peer"]), token)
}

// post watches the peers named in the body: {"peers":["a","b"],"since":"token"}.
func (d *Door) post(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	share, err := d.admit(r, c)
	if err != nil {
		return err
	}
	defer share.Release()
	body, err := c.ReadBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	var in struct {
		Peers []presence.PeerID `json:"peers"`
		Since string            `json:"since"`
	}
	if err := api.Decode(body, &in); err != nil {
		return err
	}
	api.Recycle(body) // what was decoded are copies
	token := tokenOf(r)
	if token == "" {
		token = in.Since
	}
	return d.stream(w, r, c, share, in.Peers, token)
}

// tokenOf returns the token of the last event that a reader has, without the renewal behind it.
func tokenOf(r *http.Request) string {
	token, _, _ := strings.Cut(r.Header.Get("Last-Event-Id"), api.RenewalMark)
	return token
}

func (d *Door) stream(w http.ResponseWriter, r *http.Request, c *api.Caller, share *api.Watching, peers []presence.PeerID, token string) error {
	if err := checkPeers(peers, d.deps.Hub.Config().Peers); err != nil {
		return err
	}
	if err := c.MayWatch(peers); err != nil {
		return err
	}
	if err := c.TakeIDs(len(peers)); err != nil {
		return err
	}
	detail := presence.DetailBrief
	if c.Detailed() {
		detail = presence.DetailFull
	}
	c.FreeBody()
	if err := share.Add(len(peers)); err != nil {
		return err
	}
	watcher, err := d.deps.Hub.Watch(r.Context(), ask.ViewOf(c.App.ID, c.Master(), c.Peer()), peers, detail, token)
	if err != nil && !errors.Is(err, watch.ErrClosed) {
		return Refusal(err)
	}
	s := &stream{Door: d, w: w, queue: queueOf(r), rc: http.NewResponseController(w), caller: c, watcher: watcher, detail: detail, token: token}
	if c.Pass != nil {
		s.renewal = d.deps.Gate.Tickets.Renewal(d.deps.Gate.Current(c), c.Pass.For(peers))
	}
	s.chunked = r.ProtoAtLeast(1, 1)
	if r.ProtoMajor < 2 { // over HTTP/2 it would end every other call of the connection
		w.Header().Set("Connection", "close") // a stream is the last thing on its connection
	}
	if watcher == nil {
		// The server stops. A browser whose stream is refused never asks again; one that ends, it
		// opens anew.
		s.begin()
		s.bye(watch.ReasonShutdown)
		return nil
	}
	watcher.Close(s.run(r.Context()))
	return nil
}

// checkPeers returns why a watcher may not follow peers, of which there may be limit.
func checkPeers(peers []presence.PeerID, limit int) error {
	if len(peers) == 0 {
		return api.Errorf("invalid", "no peer is named")
	}
	if len(peers) > limit {
		return api.Errorf("too_many_peers", "one watcher may follow %d peers", limit).WithLimit(limit)
	}
	return api.CheckPeers(peers)
}

// Refusal puts what the hub says into the words of the API.
func Refusal(err error) error {
	switch {
	case errors.Is(err, watch.ErrLimit):
		return api.Errorf("too_many_watchers", "%v", err).WithRetry(5 * time.Second)
	case errors.Is(err, presence.ErrUnavailable):
		return api.Errorf("unavailable", "the store did not answer; trying again is safe").WithRetry(time.Second)
	case errors.Is(err, context.Canceled):
		return api.Errorf("unavailable", "the caller went away")
	}
	return err
}

type stream struct {
	// What the hub touches stands together: among a thousand streams each cache line costs as much
	// as the work.
	caller *api.Caller
	form   *watch.Form // without the renewal of a ticket
	timed  bool        // a write deadline is set
	// Bytes that may be on their way: what was when the kernel was asked, and what was written
	// since.
	unasked int
	left    []byte // what the kernel did not take of a frame that the hub pushed
	fault   error  // of writing such a frame
	queue   queue
	offer   offer

	*Door
	w       http.ResponseWriter
	rc      *http.ResponseController
	watcher *watch.Watcher
	detail  presence.Detail
	// The server writes this answer in chunks, as every answer of HTTP/1.1 without a length.
	chunked bool

	buf     []byte
	token   string // with which the reader came
	renewal string // of its ticket, if it has one
}

// run writes the batches of the watcher until the client or the watcher ends, and returns why.
func (s *stream) run(ctx context.Context) watch.Reason {
	if ends := s.caller.Ends(); ends != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(ends-s.deps.Gate.Now())*time.Millisecond, errExpired)
		defer cancel()
	}
	s.begin()
	s.form = formOf(s.detail, s.chunked)
	if s.queue.plain {
		s.watcher.Attach((*pusher)(s))
	}
	for {
		if err := s.finish(); err != nil {
			return reasonOf(err)
		}
		if !s.taken(ctx) {
			if ctx.Err() != nil {
				return s.gone(ctx)
			}
			s.bye(watch.ReasonSlow)
			return watch.ReasonSlow
		}
		b, err := s.watcher.Next(ctx)
		switch {
		case errors.Is(err, watch.ErrClosed):
			s.bye(s.watcher.Reason())
			return s.watcher.Reason()
		case err != nil:
			return s.gone(ctx)
		case b.Kind == watch.Stuck:
			continue
		}
		s.buf = appendEvent(s.buf, &b, s.detail, s.renewal)
		if err := s.flush(); err != nil {
			return reasonOf(err)
		}
	}
}

// begin sends the head of the answer, and queues what comes before all events.
func (s *stream) begin() {
	// The server's deadlines are for a request and its answer; they would end the stream.
	_ = s.rc.SetReadDeadline(time.Time{})
	_ = s.rc.SetWriteDeadline(time.Time{})
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx
	s.w.WriteHeader(http.StatusOK)
	// Readers wait for different times before they connect again, so that a restart does not bring
	// all back at once.
	s.buf = strconv.AppendInt(append(s.buf[:0], "retry: "...), 1000+rand.Int64N(4000), 10)
	// The first bytes have an id: a reader that is cut off before its first event is whole comes
	// back with a renewal, and goes on where it was.
	if s.token != "" || s.renewal != "" {
		s.buf = append(append(s.buf, "\nid: "...), safeID(s.token)...)
		s.buf = appendRenewal(s.buf, s.renewal)
	}
	s.buf = append(s.buf, "\n\n"...)
}

// errExpired: the ticket or the user token of a stream has ended.
var errExpired = errors.New("the ticket or the user token of the stream has ended")

// gone says why a stream ends whose context is over: the reader went away, or what let
// it in has ended.
func (s *stream) gone(ctx context.Context) watch.Reason {
	if !errors.Is(context.Cause(ctx), errExpired) {
		return watch.ReasonGone
	}
	s.bye(watch.ReasonExpired)
	return watch.ReasonExpired
}

// safeID returns id without what would end the field in an event.
func safeID(id string) string {
	if strings.ContainsAny(id, "\r\n\x00") {
		return ""
	}
	return id
}

// appendRenewal appends a renewal to an event id.
func appendRenewal(out []byte, renewal string) []byte {
	if renewal == "" {
		return out
	}
	return append(append(out, api.RenewalMark...), renewal...)
}

// reasonOf says why a stream ends whose write failed with err.
func reasonOf(err error) watch.Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return watch.ReasonSlow
	}
	return watch.ReasonGone
}

const (
	backlog  = 32 << 10              // bytes under way beyond which nothing more is written
	lookback = 50 * time.Millisecond // how soon a backlog is looked at again
	lookRare = 8 * lookback          // how often at least, when it does not move
)

// taken waits until the reader has taken most of what is under way, so that what changes meanwhile
// merges instead of queueing, and so that there is room for a last message. It reports false when
// the reader takes nothing for the stall.
func (s *stream) taken(ctx context.Context) bool {
	if s.unasked <= backlog {
		return true // not more than that was written since it was known
	}
	n := s.queue.length()
	s.unasked = n
	if n <= backlog {
		return true
	}
	wait := lookback
	t := time.NewTimer(wait)
	defer t.Stop()
	for moved := time.Now(); time.Since(moved) < s.cfg.Stall; {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
		now := s.queue.length()
		s.unasked = now
		if now <= backlog {
			return true
		}
		if now < n {
			moved, wait = time.Now(), lookback
		}
		n = now
		// A thousand that stopped must not cost what a thousand that read do.
		wait = min(wait*2, lookRare)
		t.Reset(wait)
	}
	return false
}

// appendEvent appends b as an event; renewal is that of the reader's ticket, if it has one.
func appendEvent(out []byte, b *watch.Batch, d presence.Detail, renewal string) []byte {
	out = append(out, "event: "...)
	out = append(out, b.Kind.String()...)
	if !b.Token.IsZero() {
		out = append(out, "\nid: "...)
		out, _ = b.Token.AppendText(out)
		out = appendRenewal(out, renewal)
	}
	out = b.AppendMembers(append(out, "\ndata: {"...), d)
	return append(out, "}\n\n"...)
}

// keepBuffer is what a stream keeps for its frames: most are of a few peers, behind one that is of
// all.
const keepBuffer = 1 << 10

// flush writes what is in the buffer. What is known to fit into the kernel needs no deadline; for
// the rest the reader has the stall time.
func (s *stream) flush() error {
	switch fits := s.queue.tcp != nil && len(s.buf) <= backlog; {
	case !fits:
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.cfg.Stall))
		s.timed = true
	case s.timed:
		_ = s.rc.SetWriteDeadline(time.Time{}) // it would fail a later write that has room
		s.timed = false
	}
	_, err := s.w.Write(s.buf)
	if err == nil {
		err = s.rc.Flush()
	}
	s.unasked += len(s.buf)
	s.emptied()
	return err
}

// bye says why the stream ends, if the reader still takes anything.
func (s *stream) bye(reason watch.Reason) {
	s.buf = append(s.buf, "event: bye\ndata: {\"reason\":\""...)
	s.buf = append(s.buf, reason...)
	s.buf = append(s.buf, "\"}\n\n"...)
	_ = s.rc.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := s.w.Write(s.buf); err == nil {
		_ = s.rc.Flush()
	}
}
