package emqx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Limits: as many ids as an address of 6 KB has room for; the longest may be alone in it.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 10} }

const (
	maxPeers   = 100
	maxAddress = 6000 // bytes of ids in one address; EMQX takes 8000 with all else
	pageSize   = 1000
	maxPages   = 20
)

// CheckAsk wants the address of the API and an API key. EMQX cannot look for clients by an
// attribute.
func (Kind) CheckAsk(s *webhook.Source) error {
	if err := s.Reconcile.CheckBase("emqx", "http://emqx.example.com:18083"); err != nil {
		return err
	}
	if s.User != "" && s.User != "username" && s.User != "clientid" {
		return errors.New("reconcile is set and user is " + s.User + ", by which EMQX finds no clients; it can be asked by username or clientid")
	}
	if s.Reconcile.KeyID == "" {
		return errors.New("reconcile.key_id is missing; it is the API Key of EMQX")
	}
	return s.Reconcile.CheckKey("the Secret Key of the API Key")
}

// Ask lists the clients that are connected with one of the names. A session is a client, and its
// incarnation the time of the connection, as in the events.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	c := caller{ctx: ctx, client: client, base: s.Reconcile.Base("") + "/api/v5/clients?", by: s.User}
	if c.by == "" {
		c.by = "username"
	}
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		c.header = http.Header{}
		r := http.Request{Header: c.header}
		r.SetBasicAuth(s.Reconcile.KeyID, key)
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return c.ask(part, f)
		})
	})
}

type caller struct {
	ctx    context.Context
	client *http.Client
	header http.Header
	base   string
	by     string // the parameter that names a peer
}

// ask asks about peers in as few calls as addresses have room for.
func (c *caller) ask(peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	var earliest presence.Millis
	for first := true; len(peers) > 0; first = false {
		n, size := 0, 0
		for n < len(peers) && (n == 0 || size+len(url.QueryEscape(string(peers[n]))) < maxAddress) {
			size += len(c.by) + 2 + len(url.QueryEscape(string(peers[n])))
			n++
		}
		at, err := c.pages(peers[:n], f)
		if err != nil {
			return 0, err
		}
		if first || at < earliest {
			earliest = at
		}
		peers = peers[n:]
	}
	return earliest, nil
}

// pages reads all pages about peers. A peer without a client is offline.
func (c *caller) pages(peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	query := url.Values{"fields": {strings.Join(fields, ",")}, "conn_state": {"connected"}, "limit": {strconv.Itoa(pageSize)}}
	for _, p := range peers {
		query.Add(c.by, string(p))
	}
	var at presence.Millis
	found := map[presence.PeerID][]webhook.FoundSession{}
	for page := 1; ; page++ {
		if page > maxPages {
			return 0, webhook.ErrAnswer("it has too many pages")
		}
		query.Set("page", strconv.Itoa(page))
		body, date, err := c.get(query)
		if err != nil {
			return 0, err
		}
		if page == 1 {
			at = date
		}
		more, err := c.read(body, f, found)
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
	}
	if len(found) == 0 && len(peers) > 1 {
		if err := c.several(); err != nil {
			return 0, err
		}
	}
	for _, p := range peers {
		if sessions := found[p]; len(sessions) > 0 {
			f.Add(p, webhook.Sessions(sessions))
		} else {
			f.Add(p, webhook.Found{})
		}
	}
	return at, nil
}

// maxPage is the most bytes of a page: those of its rows, with long names.
const maxPage = 4 << 20

func (c *caller) get(query url.Values) ([]byte, presence.Millis, error) {
	q := webhook.Query{Method: http.MethodGet, URL: c.base + query.Encode(), Header: c.header.Clone(), Max: maxPage}
	return q.Do(c.ctx, c.client)
}

// fields are those that are asked for.
var fields = []string{"clientid", "username", "connected", "connected_at", "is_bridge"}

// errOld: before 5.6 EMQX looks at one of several names only, so all others would be offline. It
// does not know the parameter fields either, by which it is known.
var errOld = fmt.Errorf("%w: EMQX before 5.6 cannot be asked about several clients", webhook.ErrRefused)

type page struct {
	Data []row `json:"data"`
	Meta struct {
		More webhook.Flag `json:"hasnext"`
	} `json:"meta"`
}

// A row is one client, by the fields that are asked for.
type row struct {
	ClientID    webhook.Text `json:"clientid"`
	Username    webhook.Text `json:"username"`
	Connected   webhook.Flag `json:"connected"`
	ConnectedAt webhook.Text `json:"connected_at"`
	Bridge      webhook.Flag `json:"is_bridge"`
	// Two that are not asked for.
	Protocol json.RawMessage `json:"proto_name"`
	Node     json.RawMessage `json:"node"`
}

func readPage(body []byte) (*page, error) {
	var in page
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return nil, err
	}
	if in.Data == nil || in.Meta.More != webhook.FlagTrue && in.Meta.More != webhook.FlagFalse {
		return nil, webhook.ErrAnswer("data or meta.hasnext is missing")
	}
	for i := range in.Data {
		if in.Data[i].Protocol != nil || in.Data[i].Node != nil {
			return nil, errOld
		}
	}
	return &in, nil
}

// read takes the clients of one page, and reports whether there is another. A client that is not
// clear, or has none of the names, spoils the whole: who has none is offline.
func (c *caller) read(body []byte, f *webhook.Findings, found map[presence.PeerID][]webhook.FoundSession) (more bool, err error) {
	in, err := readPage(body)
	if err != nil {
		return false, err
	}
	for i := range in.Data {
		r := &in.Data[i]
		peer := presence.PeerID(r.Username)
		if c.by == "clientid" {
			peer = presence.PeerID(r.ClientID)
		}
		at, err := time.Parse(time.RFC3339Nano, string(r.ConnectedAt))
		switch {
		case err != nil || r.ClientID == "" || r.Bridge == webhook.FlagUnclear || !f.Asked(peer):
			return false, webhook.ErrAnswer("a client is not clear")
		case r.Connected == webhook.FlagFalse, r.Bridge == webhook.FlagTrue:
			continue
		case r.Connected != webhook.FlagTrue:
			return false, webhook.ErrAnswer("a client is not clear")
		}
		begun := presence.Millis(at.UnixMilli())
		found[peer] = append(found[peer], webhook.FoundSession{ID: presence.SessionID(r.ClientID), Since: begun, Incarnation: begun})
	}
	return in.Meta.More == webhook.FlagTrue, nil
}

// several returns errOld when EMQX does not know the parameter fields. Without any client it finds
// out nothing, and there is nothing to be wrong about.
func (c *caller) several() error {
	body, _, err := c.get(url.Values{"fields": {"clientid"}, "limit": {"1"}})
	if err != nil {
		return err
	}
	_, err = readPage(body)
	return err
}
