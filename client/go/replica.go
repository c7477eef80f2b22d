package rollcall

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A ChangesRequest asks what changed in the app.
type ChangesRequest struct {
	Cursor string        // of the last answer; empty the first time
	Limit  int           // of changes; 0 for the server's own limit
	Wait   time.Duration // how long to wait while nothing has changed, in whole seconds, up to 10
}

// Changes are what changed in the app after a cursor: each peer once, with its latest state.
type Changes struct {
	Changes []Peer `json:"changes"`
	Cursor  string `json:"cursor"` // of the next call
	// ListAgain says that not all changes are known: list the peers that are online after this
	// call, and go on from its cursor.
	ListAgain bool          `json:"list_again"`
	More      bool          `json:"more"` // there are more already
	Age       time.Duration `json:"-"`    // as in Peer
}

// An answerChanges is the answer on the wire.
type answerChanges struct {
	Changes
	Stale float64 `json:"stale"` // seconds
}

// maxWait is the longest wait of a call: shorter than the patience with one try.
const maxWait = 10 * time.Second

// Changes asks what changed in the app after a cursor. It takes the master key. For a copy that is
// kept by it see [Client.Replicate].
func (c *Client) Changes(ctx context.Context, r ChangesRequest) (Changes, error) {
	var out answerChanges
	_, err := c.call(ctx, http.MethodGet, r.path(), nil, into(&out, out.complete))
	if err != nil {
		return Changes{}, err
	}
	return out.aged(), nil
}

func (r *ChangesRequest) path() string {
	q := url.Values{"wait": {strconv.Itoa(int(min(max(r.Wait, 0), maxWait) / time.Second))}}
	if r.Cursor != "" {
		q.Set("cursor", r.Cursor)
	}
	if r.Limit != 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	return "/v1/changes?" + q.Encode()
}

func (a *answerChanges) complete() bool { return a.Changes.Changes != nil && a.Cursor != "" }

// aged returns what a says, with its age in all its parts.
func (a *answerChanges) aged() Changes {
	out := a.Changes
	out.Age = time.Duration(a.Stale * float64(time.Second))
	for i := range out.Changes {
		out.Changes[i].Age = out.Age
	}
	return out
}

// A Replica is a copy of who is online in the app, which [Client.Replicate] keeps. Its functions
// are called from one goroutine; those that are nil are not called.
type Replica struct {
	// Cursor is where an earlier replica stopped, if its copy was kept too; empty begins with a
	// list.
	Cursor string
	// Listed is called with all peers that are online: they replace the copy.
	Listed func(online []string)
	// Changed is called with each peer that changed since, in order. The same state may come again.
	Changed func(Peer)
	// Kept is called when all up to cursor is in the copy.
	Kept func(cursor string)
	// Aged is called while the server cannot read its store, with for how long, and with 0 when it
	// can again: until then changes may be missing.
	Aged func(time.Duration)
}

// Replicate keeps a copy of who is online in the app: it lists when it has to, and takes the
// changes. It connects again after a break and goes on where it was. It returns when ctx ends, with
// nil, or with an [*Error] that a retry would not change. It takes the master key.
func (c *Client) Replicate(ctx context.Context, r Replica) error {
	k := keeper{Replica: r, client: c}
	return c.keep(ctx, func(b *backoff) error {
		for {
			if err := k.step(ctx); err != nil {
				return err
			}
			b.tries = 0
		}
	})
}

// A keeper keeps a replica.
type keeper struct {
	Replica
	client *Client
	age    time.Duration
	lists  int // in a row, without a page of changes between
}

// step reads one page of changes, and lists when it says so.
func (k *keeper) step(ctx context.Context) error {
	var answer answerChanges
	ask := ChangesRequest{Cursor: k.Cursor, Wait: maxWait}
	_, err := k.client.once(ctx, http.MethodGet, ask.path(), nil, into(&answer, answer.complete))
	if err != nil {
		return k.anew(err, &k.Cursor)
	}
	page := answer.aged()
	if page.Age > 0 || k.age > 0 {
		if k.age = page.Age; k.Aged != nil {
			k.Aged(page.Age)
		}
	}
	if page.ListAgain {
		if err := k.list(ctx); err != nil {
			return err
		}
	} else {
		k.lists = 0
	}
	for _, p := range page.Changes {
		if k.Changed != nil {
			k.Changed(p)
		}
	}
	k.Cursor = page.Cursor
	if k.Kept != nil {
		k.Kept(k.Cursor)
	}
	return nil
}

// list lists all peers that are online. A server that has it list again and again gets pauses.
func (k *keeper) list(ctx context.Context) error {
	if k.lists > 0 && !pause(ctx, min(firstWait<<min(k.lists, 10), longWait)) {
		return ctx.Err()
	}
	k.lists++
	all := []string{}
	for cursor := ""; ; {
		q := url.Values{"online": {"1"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page Page
		if _, err := k.client.once(ctx, http.MethodGet, "/v1/peers?"+q.Encode(), nil, into(&page, func() bool { return page.Peers != nil })); err != nil {
			return k.anew(err, &cursor)
		}
		if all = append(all, page.Peers...); page.Cursor == "" {
			break
		}
		cursor = page.Cursor
	}
	if k.Listed != nil {
		k.Listed(all)
	}
	return nil
}

// anew returns err, or, when err is that the server does not know a cursor any more, one that a
// retry without it may change.
func (k *keeper) anew(err *Error, cursor *string) error {
	if err.Code != "invalid" || *cursor == "" {
		return err
	}
	*cursor = ""
	again := *err
	again.Status = http.StatusServiceUnavailable
	return &again
}
