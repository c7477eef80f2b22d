package rest

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"rollcall/ask"
	"rollcall/internal/api"
	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// A question is what POST /v1/peers/query asks.
type question struct {
	peers  []presence.PeerID
	since  *string
	fields ask.Fields
}

var fieldNames = []struct {
	name string
	bit  ask.Fields
}{
	{"since", ask.Since},
	{"last_seen", ask.LastSeen},
	{"cause", ask.Cause},
	{"devices", ask.Devices},
	{"activity", ask.Activity},
	{"active_at", ask.ActiveAt},
	{"reachable", ask.Reachable},
	{"sessions", ask.Sessions},
}

// masterFields are those that only the app's server sees: what a user has, and where it is.
const masterFields = ask.Devices | ask.Reachable | ask.Sessions

func parseQuestion(body []byte) (q question, err error) {
	var in struct {
		Peers  *[]*presence.PeerID `json:"peers"`
		Since  *string             `json:"since"`
		Fields []string            `json:"fields"`
	}
	if err := api.Decode(body, &in); err != nil {
		return q, err
	}
	if in.Peers == nil {
		return q, api.Errorf("invalid", "peers is missing: a list of ids")
	}
	q.since = in.Since
	q.peers = make([]presence.PeerID, len(*in.Peers))
	for i, p := range *in.Peers {
		if p == nil {
			return q, api.Errorf("invalid", "peer %d is null", i)
		}
		q.peers[i] = *p
	}
	for _, name := range in.Fields {
		at := slices.IndexFunc(fieldNames, func(f struct {
			name string
			bit  ask.Fields
		},
		) bool {
			return f.name == name
		})
		if at < 0 {
			return q, api.Errorf("invalid", "there is no field %.64q; there are since, last_seen, cause, devices, activity, active_at, reachable and sessions", name)
		}
		q.fields |= fieldNames[at].bit
	}
	return q, nil
}

// query answers what peers are, in the order in which they were named.
func (d *Door) query(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	body, err := c.ReadBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	if ids, ok := plainjson.List(body, "peers", make([][]byte, 0, 16+len(body)/32), math.MaxInt); ok {
		return d.statuses(w, r, c, ids)
	}
	q, err := parseQuestion(body)
	if err != nil {
		return err
	}
	if q.fields != 0 && !c.Detailed() || q.fields&masterFields != 0 && !c.Master() {
		return api.Errorf("forbidden", "this key may ask for the status only")
	}
	if q.since == nil && q.fields == 0 {
		ids := make([][]byte, len(q.peers))
		for i, p := range q.peers {
			ids[i] = []byte(p)
		}
		return d.statuses(w, r, c, ids)
	}
	return d.summaries(w, r, c, &q)
}

// admit checks how many ids are asked, and each of them.
func (d *Door) admit(c *api.Caller, peers []presence.PeerID, limit int) error {
	if len(peers) > limit {
		return api.Errorf("too_many_peers", "one query may name %d peers", limit).WithLimit(limit)
	}
	if err := api.CheckPeers(peers); err != nil {
		return err
	}
	d.queries.Add(1)
	d.ids.Add(int64(len(peers)))
	return c.TakeIDs(len(peers))
}

// statuses answers the plain question, which most are.
func (d *Door) statuses(w http.ResponseWriter, r *http.Request, c *api.Caller, ids [][]byte) error {
	peers := api.PeersOf(ids)
	if err := d.admit(c, peers, d.cfg.MaxPeers); err != nil {
		return err
	}
	var answer ask.Answer[presence.Status]
	if err := d.deps.Ask.Statuses(r.Context(), viewOf(c), ids, &answer); err != nil {
		return refusal(err)
	}
	statuses, age := answer.Read()
	markAge(w, age)
	size := 16
	for i := range ids {
		size += len(ids[i]) + 36
	}
	b := append(make([]byte, 0, size), `{"peers":[`...)
	for i := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = ask.AppendPeer(b, &ask.Peer{ID: peers[i], Status: statuses[i]}, 0)
	}
	api.WriteBytes(w, http.StatusOK, append(b, "]}\n"...))
	return nil
}

// summaries answers a question with fields or with a token.
func (d *Door) summaries(w http.ResponseWriter, r *http.Request, c *api.Caller, q *question) error {
	limit := d.cfg.MaxPeers
	if q.fields&ask.Whole != 0 {
		limit = d.cfg.MaxDevices
	}
	if err := d.admit(c, q.peers, limit); err != nil {
		return err
	}
	poll := ask.Poll{Complete: true}
	var err error
	if q.since != nil {
		poll, err = d.deps.Ask.Poll(r.Context(), viewOf(c), &ask.Question{Peers: q.peers, Fields: q.fields, Detail: detailOf(c), Since: *q.since})
	} else {
		poll.Answer, err = d.deps.Ask.Summaries(r.Context(), viewOf(c), q.peers, q.fields)
	}
	if err != nil {
		return refusal(err)
	}
	known, age := poll.Read()
	b := append(make([]byte, 0, 64+96*len(known)), `{"peers":[`...)
	for i := range known {
		if i > 0 {
			b = append(b, ',')
		}
		b = ask.AppendPeer(b, &known[i], q.fields)
	}
	b = append(b, ']')
	if q.since != nil {
		b = append(b, `,"complete":`...)
		b = strconv.AppendBool(b, poll.Complete)
		b = append(b, `,"token":"`...)
		b, _ = poll.Token.AppendText(b)
		b = append(b, '"')
	}
	markAge(w, age)
	api.WriteBytes(w, http.StatusOK, append(b, "}\n"...))
	return nil
}

// parsePeers reads a body that is a list of ids and nothing else.
func parsePeers(body []byte) ([]presence.PeerID, error) {
	var in struct {
		Peers *[]presence.PeerID `json:"peers"`
	}
	if err := api.Decode(body, &in); err != nil {
		return nil, err
	}
	if in.Peers == nil {
		return nil, api.Errorf("invalid", "peers is missing: a list of ids")
	}
	return *in.Peers, nil
}

// shouldPush answers whether a message to each of some peers is to be pushed.
func (d *Door) shouldPush(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	body, err := c.ReadBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	var peers []presence.PeerID
	if ids, ok := plainjson.List(body, "peers", make([][]byte, 0, 16+len(body)/32), math.MaxInt); ok {
		peers = api.PeersOf(ids)
	} else if peers, err = parsePeers(body); err != nil {
		return err
	}
	if err := d.admit(c, peers, d.cfg.MaxPeers); err != nil {
		return err
	}
	answer, err := d.deps.Ask.ShouldPush(r.Context(), viewOf(c), peers)
	if err != nil {
		return refusal(err)
	}
	pushes, age := answer.Read()
	markAge(w, age)
	b := append(make([]byte, 0, 16+80*len(pushes)), `{"peers":[`...)
	for i := range pushes {
		if i > 0 {
			b = append(b, ',')
		}
		b = ask.AppendPush(b, &pushes[i])
	}
	api.WriteBytes(w, http.StatusOK, append(b, "]}\n"...))
	return nil
}

// detailOf returns how much c may see of a peer.
func detailOf(c *api.Caller) presence.Detail {
	if c.Detailed() {
		return presence.DetailFull
	}
	return presence.DetailBrief
}

// markAge says in the head that an answer is from before the store went out of reach.
func markAge(w http.ResponseWriter, age time.Duration) {
	if age > 0 {
		w.Header().Set("Rollcall-Stale", ask.AgeText(age))
	}
}

// peer answers what one peer is, with all that the caller may see.
func (d *Door) peer(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	key, err := pathPeer(r, c)
	if err != nil {
		return err
	}
	peers := []presence.PeerID{key.Peer}
	if err := d.admit(c, peers, 1); err != nil {
		return err
	}
	var fields ask.Fields
	if c.Detailed() {
		fields = ask.Since | ask.LastSeen | ask.Cause | ask.Activity | ask.ActiveAt
	}
	if c.Master() {
		fields |= ask.Devices
	}
	answer, err := d.deps.Ask.Summaries(r.Context(), viewOf(c), peers, fields)
	if err != nil {
		return refusal(err)
	}
	known, age := answer.Read()
	markAge(w, age)
	api.WriteBytes(w, http.StatusOK, append(ask.AppendPeer(nil, &known[0], fields), '\n'))
	return nil
}
