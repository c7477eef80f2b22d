package changes

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"rollcall/ask"
	"rollcall/ask/token"
	"rollcall/feed"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// Config are the settings of the door. Start from [DefaultConfig].
type Config struct {
	// Feed are the settings of the registers.
	Feed feed.Config `config:",inline"`
	// Page is how many changes one answer may have, and one event of a stream at most a thousand.
	Page int `range:"1..100000"`
	// Wait is the longest that a call may wait for a change.
	Wait time.Duration `range:"1s..5m"`
	// Readers is how many readers this node may have at a time. One app has at most half of what
	// the others leave, when there are several.
	Readers int `range:"1..100000"`
	// Mark is the longest silence on a stream. Keep it below what proxies take for dead.
	Mark time.Duration `range:"1s..1h"`
	// Stall is how long an event may wait for a reader that takes nothing, before the stream ends.
	Stall time.Duration `range:"1s..5m"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{Feed: feed.DefaultConfig(), Page: 10_000, Wait: time.Minute, Readers: 1000, Mark: 15 * time.Second, Stall: 10 * time.Second}
}

// usualPage is how many changes an answer has unless asked otherwise, and an event at most.
const usualPage = 1000

// Deps are what a [Door] is given beside its settings.
type Deps struct {
	Feed    *feed.Feed
	Tokens  *token.Sealer // seals the cursors
	Readers *limit.Shared // what is left of Config.Readers; nil is without bound
}

// A Door answers readers of changes.
type Door struct {
	cfg    Config
	deps   Deps
	closed context.Context
	end    context.CancelFunc
}

// New returns a door.
func New(cfg Config, deps Deps) *Door {
	d := &Door{cfg: cfg, deps: deps}
	d.closed, d.end = context.WithCancel(context.Background())
	return d
}

// Close ends every call that waits and every stream.
func (d *Door) Close() { d.end() }

// read reads a page for r, until the door is closed.
func (d *Door) read(r *http.Request, read *reading, limit int, wait time.Duration) (feed.Page, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.closed, cancel)()
	page, err := d.deps.Feed.Read(ctx, read.app, read.from, limit, wait)
	if err != nil && d.closed.Err() != nil {
		err = feed.ErrClosed
	}
	return page, err
}

// Routes returns the calls of the door.
func (d *Door) Routes() []api.Route {
	return []api.Route{
		{Method: http.MethodGet, Path: "/v1/changes", Need: api.NeedMaster, Query: []string{"cursor", "limit", "wait"}, Stream: true, Handler: d.get},
	}
}

// A reading is what one call asks for.
type reading struct {
	app   presence.AppID
	from  feed.Cursor
	limit int
	wait  time.Duration
}

// get answers one page, or a stream of them.
func (d *Door) get(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	form := formOf(r.Header.Values("Accept"))
	if form == formNone {
		return api.Errorf("not_acceptable", "this call answers application/json or text/event-stream only")
	}
	read, err := d.parse(r, c)
	if err != nil {
		return err
	}
	// The servers of an app may stand at one address.
	share := d.deps.Readers.Hold(string(c.App.ID), netip.Addr{})
	if !share.Grow(1) {
		return api.Errorf("too_many_watchers", "this node has as many readers of changes as it may").WithRetry(5 * time.Second)
	}
	defer share.Release()
	rc := http.NewResponseController(w)
	// The server's deadlines are for an answer that does not wait; they would end this one.
	_ = rc.SetReadDeadline(time.Time{})
	if form == formStream {
		d.stream(w, r, rc, &read)
		return nil
	}
	_ = rc.SetWriteDeadline(time.Now().Add(read.wait + d.cfg.Stall))
	page, err := d.read(r, &read, read.limit, read.wait)
	if err != nil {
		return refusal(err)
	}
	api.WriteBytes(w, http.StatusOK, append(appendPage(nil, &page, d.seal(read.app, &page)), '\n'))
	return nil
}

// parse reads what a call asks for.
func (d *Door) parse(r *http.Request, c *api.Caller) (read reading, err error) {
	q := c.Query
	read = reading{app: c.App.ID, limit: min(usualPage, d.cfg.Page)}
	if q.Has("limit") {
		n, err := strconv.ParseUint(q.Get("limit"), 10, 31)
		if err != nil || n < 1 || n > uint64(d.cfg.Page) {
			return read, api.Errorf("invalid", "limit must be a number from 1 to %d", d.cfg.Page).WithLimit(d.cfg.Page)
		}
		read.limit = int(n)
	}
	if most := int(d.cfg.Wait / time.Second); q.Has("wait") {
		n, err := strconv.ParseUint(q.Get("wait"), 10, 31)
		if err != nil || n > uint64(most) {
			return read, api.Errorf("invalid", "wait must be a number of seconds from 0 to %d", most).WithLimit(most)
		}
		read.wait = time.Duration(n) * time.Second
	}
	text := r.Header.Get("Last-Event-Id")
	if text == "" {
		text = q.Get("cursor")
	}
	plain, ok := d.deps.Tokens.OpenChanges(read.app, text)
	if ok {
		read.from, err = feed.ParseCursor(plain)
	}
	if !ok || err != nil {
		return read, api.Errorf("invalid", "cursor is not one that this server gave out; start again without it")
	}
	return read, nil
}

// refusal puts what the feed says into the words of the API.
func refusal(err error) error {
	switch {
	case errors.Is(err, feed.ErrClosed):
		return api.Errorf("shutting_down", "the server is going; connect again").WithRetry(time.Second)
	case errors.Is(err, feed.ErrGone):
		return api.Errorf("unauthorized", "the app is no more")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.Errorf("unavailable", "the caller went away")
	}
	return err
}

// seal returns the cursor of page as clients keep it.
func (d *Door) seal(app presence.AppID, page *feed.Page) string {
	return d.deps.Tokens.SealChanges(app, page.Cursor.String())
}

// appendPage appends page, whose sealed cursor is given, as a JSON object.
func appendPage(b []byte, page *feed.Page, cursor string) []byte {
	b = append(b, `{"changes":[`...)
	for i := range page.Changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendChange(b, &page.Changes[i])
	}
	b = append(b, `],"cursor":"`...)
	b = append(b, cursor...)
	b = append(b, `","list_again":`...)
	b = strconv.AppendBool(b, page.ListAgain)
	b = append(b, `,"more":`...)
	b = strconv.AppendBool(b, page.More)
	if page.Age > 0 {
		b = append(append(b, `,"stale":`...), ask.AgeText(page.Age)...)
	}
	return append(b, '}')
}

// appendChange appends c as watchers with the master key see it.
func appendChange(b []byte, c *feed.Change) []byte {
	fields := ask.Since | ask.Cause | ask.Version
	if c.Status == presence.Offline {
		fields |= ask.LastSeen // of one that is online it moves all the time
	}
	return ask.AppendPeer(b, &ask.Peer{
		ID: c.Peer, Status: c.Status, Cause: c.Cause, Since: c.Since, LastSeen: c.LastSeen, Version: c.Version,
	}, fields)
}

// The forms of an answer.
const (
	formNone = iota
	formPage
	formStream
)

// formOf returns the form that a client with these Accept headers takes: a stream only when it is
// named.
func formOf(headers []string) int {
	form := formNone
	if len(headers) == 0 {
		form = formPage
	}
	for _, h := range headers {
		for part := range strings.SplitSeq(h, ",") {
			m, params, err := mime.ParseMediaType(part)
			if err != nil || params["q"] == "0" {
				continue
			}
			switch m {
			case "text/event-stream":
				return formStream
			case "*/*", "application/*", "application/json":
				form = formPage
			}
		}
	}
	return form
}
