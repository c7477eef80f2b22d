package rest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/plainjson"
	"rollcall/presence"
	"rollcall/watch"
)

// A question is what POST /v1/peers/query asks.
type question struct {
	peers  []string
	since  *string
	fields fields
}

// fields are what an answer tells of a peer beside its status.
type fields uint8

const (
	fieldSince fields = 1 << iota
	fieldLastSeen
	fieldCause
	fieldDevices
)

var fieldNames = []struct {
	name string
	bit  fields
}{{"since", fieldSince}, {"last_seen", fieldLastSeen}, {"cause", fieldCause}, {"devices", fieldDevices}}

func parseQuestion(body []byte) (q question, err error) {
	var in struct {
		Peers  *[]*string `json:"peers"`
		Since  *string    `json:"since"`
		Fields []string   `json:"fields"`
	}
	if err := api.Decode(body, &in); err != nil {
		return q, err
	}
	if in.Peers == nil {
		return q, api.Refuse("invalid", "peers is missing: a list of ids")
	}
	q.since = in.Since
	q.peers = make([]string, len(*in.Peers))
	for i, p := range *in.Peers {
		if p == nil {
			return q, api.Refuse("invalid", "peer %d is null", i)
		}
		q.peers[i] = *p
	}
	for _, name := range in.Fields {
		at := slices.IndexFunc(fieldNames, func(f struct {
			name string
			bit  fields
		},
		) bool {
			return f.name == name
		})
		if at < 0 {
			return q, api.Refuse("invalid", "there is no field %.64q; there are since, last_seen, cause and devices", name)
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
	if q.fields != 0 && !c.Detailed() || q.fields&fieldDevices != 0 && !c.Master() {
		return api.Refuse("forbidden", "this key may ask for the status only")
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
func (d *Door) admit(c *api.Caller, n, limit int, id func(int) string) error {
	if n > limit {
		return api.Refuse("too_many_peers", "one query may name %d peers", limit).WithLimit(limit)
	}
	for i := range n {
		if err := presence.CheckPeer(presence.PeerID(id(i))); err != nil {
			return api.Refuse("invalid", "peer %d: %v", i, err)
		}
	}
	d.queries.Add(1)
	d.ids.Add(int64(n))
	return c.TakeIDs(n)
}

// statuses answers the plain question, which most are.
func (d *Door) statuses(w http.ResponseWriter, r *http.Request, c *api.Caller, ids [][]byte) error {
	if err := d.admit(c, len(ids), d.cfg.MaxPeers, func(i int) string { return string(ids[i]) }); err != nil {
		return err
	}
	out := make([]presence.Status, len(ids))
	age, err := d.service.Statuses(r.Context(), presence.AppID(c.App.ID), ids, d.cfg.Now(), out)
	if err != nil {
		return refusal(err)
	}
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
		b = append(b, `{"peer":`...)
		b = watch.AppendString(b, string(ids[i]))
		b = append(b, `,"status":"`...)
		b = append(b, out[i].String()...)
		b = append(b, `"}`...)
	}
	api.WriteBytes(w, http.StatusOK, append(b, "]}\n"...))
	return nil
}

// summaries answers a question with fields or with a token.
func (d *Door) summaries(w http.ResponseWriter, r *http.Request, c *api.Caller, q *question) error {
	limit := d.cfg.MaxPeers
	if q.fields&fieldDevices != 0 {
		limit = d.cfg.MaxDevices
	}
	if err := d.admit(c, len(q.peers), limit, func(i int) string { return q.peers[i] }); err != nil {
		return err
	}
	app := presence.AppID(c.App.ID)
	keys := make([]presence.Key, len(q.peers))
	for i, p := range q.peers {
		keys[i] = presence.Key{App: app, Peer: presence.PeerID(p)}
	}
	now := d.cfg.Now()
	poll := watch.Poll{Summaries: make([]presence.Summary, len(keys))}
	var err error
	if q.since != nil {
		poll, err = d.cfg.Tokens.Look(r.Context(), d.service, &watch.Question{App: app, Keys: keys, Since: *q.since, Detail: detailOf(c), Now: now})
	} else {
		poll.Age, err = d.service.Summaries(r.Context(), keys, now, poll.Summaries)
	}
	if err != nil {
		return refusal(err)
	}
	states, err := d.states(r, keys, &poll, &q.fields)
	if err != nil {
		return refusal(err)
	}
	b := append(make([]byte, 0, 64+96*len(keys)), `{"peers":[`...)
	first := true
	for i := range keys {
		if poll.Changed != nil && !poll.Changed[i] {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = d.appendPeer(b, keys[i], &poll.Summaries[i], states[keys[i].Peer], q.fields, now)
	}
	b = append(b, ']')
	if q.since != nil {
		b = append(b, `,"complete":`...)
		b = strconv.AppendBool(b, poll.Changed == nil)
		b = append(b, `,"token":"`...)
		b, _ = poll.Token.AppendText(b)
		b = append(b, '"')
	}
	markAge(w, poll.Age)
	api.WriteBytes(w, http.StatusOK, append(b, "}\n"...))
	return nil
}

// detailOf returns how much c may see of a peer.
func detailOf(c *api.Caller) watch.Detail {
	if c.Detailed() {
		return watch.Full
	}
	return watch.Brief
}

// states reads the whole states of the peers whose devices are asked for and which are online, in one call. They come from the store
// itself and never with an age: an answer that has one loses the field.
func (d *Door) states(r *http.Request, keys []presence.Key, poll *watch.Poll, f *fields) (map[presence.PeerID]*presence.State, error) {
	if poll.Age > 0 {
		*f &^= fieldDevices
	}
	if *f&fieldDevices == 0 {
		return nil, nil
	}
	found := map[presence.PeerID]*presence.State{}
	var online []presence.Key
	for i, key := range keys {
		if poll.Changed != nil && !poll.Changed[i] || poll.Summaries[i].Status != presence.Online {
			continue
		}
		if _, twice := found[key.Peer]; !twice {
			found[key.Peer] = nil
			online = append(online, key)
		}
	}
	out := make([]presence.State, len(online))
	if err := d.service.Store().Loads(r.Context(), online, out); err != nil {
		if poll.Age = d.service.Age(); poll.Age > 0 { // the outage began after the summaries were read
			*f &^= fieldDevices
			return nil, nil
		}
		return nil, fmt.Errorf("read %d peers: %w", len(online), err)
	}
	for i, key := range online {
		found[key.Peer] = &out[i]
	}
	return found, nil
}

// appendPeer appends what is asked of one peer; st is its whole state, nil when that is not needed.
func (d *Door) appendPeer(b []byte, key presence.Key, s *presence.Summary, st *presence.State, f fields, now presence.Millis) []byte {
	b = append(b, `{"peer":`...)
	b = watch.AppendString(b, string(key.Peer))
	b = append(b, `,"status":"`...)
	b = append(b, s.Status.String()...)
	b = append(b, '"')
	if s.Status != presence.Unknown {
		if f&fieldSince != 0 {
			b = append(b, `,"since":`...)
			b = strconv.AppendInt(b, int64(s.Since), 10)
		}
		if f&fieldLastSeen != 0 {
			b = append(b, `,"last_seen":`...)
			b = strconv.AppendInt(b, int64(s.LastSeen), 10)
		}
	}
	if f&fieldCause != 0 && s.Status == presence.Offline {
		b = append(b, `,"cause":"`...)
		b = append(b, s.Cause.String()...)
		b = append(b, '"')
	}
	if f&fieldDevices != 0 {
		b = append(b, `,"devices":[`...)
		for i, name := range devices(st, d.service.Leases(now)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = watch.AppendString(b, name)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// devices returns what the open sessions of st run on, each once, in order; none when st is nil.
func devices(st *presence.State, leases presence.Millis) []string {
	if st == nil {
		return nil
	}
	var names []string
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(leases) {
			names = append(names, s.Device)
		}
	}
	for i := range st.Slots {
		if s := &st.Slots[i]; s.Live(leases) {
			names = append(names, s.Tag)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 0 && names[0] == "" {
		names = names[1:] // nobody said
	}
	return names
}

// markAge says in the head that an answer is from before the store went out of reach.
func markAge(w http.ResponseWriter, age time.Duration) {
	if age > 0 {
		w.Header().Set("Rollcall-Stale", api.Age(age))
	}
}

// peer answers what one peer is, with all that the caller may see.
func (d *Door) peer(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	key, err := pathPeer(r, c)
	if err != nil {
		return err
	}
	if err := d.admit(c, 1, 1, func(int) string { return string(key.Peer) }); err != nil {
		return err
	}
	now := d.cfg.Now()
	var out [1]presence.Summary
	age, err := d.service.Summaries(r.Context(), []presence.Key{key}, now, out[:])
	if err != nil {
		return refusal(err)
	}
	var f fields
	if c.Detailed() {
		f = fieldSince | fieldLastSeen | fieldCause
	}
	if c.Master() {
		f |= fieldDevices
	}
	keys, poll := []presence.Key{key}, watch.Poll{Summaries: out[:], Age: age}
	states, err := d.states(r, keys, &poll, &f)
	if err != nil {
		return refusal(err)
	}
	markAge(w, poll.Age)
	b := d.appendPeer(nil, key, &out[0], states[key.Peer], f, now)
	api.WriteBytes(w, http.StatusOK, append(b, '\n'))
	return nil
}
