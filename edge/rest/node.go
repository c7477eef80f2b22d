package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// maxNodeLease is the longest lease a node may ask for.
const maxNodeLease = time.Hour

// ResyncBodies is how many times MaxBody the body of a resync may be.
const ResyncBodies = 16

// maxNodes bounds how many nodes' leases are remembered; beyond it they get the default.
const maxNodes = 10_000

// leaseOf returns the lease of node: the one it asks for now, or asked for last, or the default.
func (d *Door) leaseOf(node presence.NodeID, asked time.Duration) time.Duration {
	d.nodesMu.Lock()
	defer d.nodesMu.Unlock()
	if asked > 0 {
		if _, known := d.nodes[node]; known || len(d.nodes) < maxNodes {
			d.nodes[node] = asked
		}
		return asked
	}
	if lease := d.nodes[node]; lease > 0 {
		return lease
	}
	return d.cfg.NodeLease
}

func pathNode(r *http.Request, c *api.Caller) (presence.NodeID, error) {
	name := r.PathValue("node")
	node := nodeID(presence.AppID(c.App.ID), name)
	if name == "" || len(node) > presence.MaxName {
		return "", api.Refuse("invalid", "the node id is empty or too long")
	}
	return node, nil
}

// beat takes a heartbeat: it renews all sessions of a node at once.
func (d *Door) beat(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	var in struct {
		Lease num `json:"lease"`
	}
	if err := d.signed(w, r, c, d.cfg.MaxBody, &in); err != nil {
		return err
	}
	node, err := pathNode(r, c)
	if err != nil {
		return err
	}
	if in.Lease < 0 || time.Duration(in.Lease) > maxNodeLease/time.Second {
		return api.Refuse("invalid", "lease is not between 1 and %d seconds", maxNodeLease/time.Second)
	}
	lease := d.leaseOf(node, time.Duration(in.Lease)*time.Second)
	if err := d.service.Beat(r.Context(), node, lease, false, d.cfg.Now()); err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, map[string]any{"lease": lease / time.Second})
	return nil
}

// drain is the last heartbeat of a node that shuts down: its sessions have the grace to come back elsewhere.
func (d *Door) drain(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	var in struct{}
	if err := d.signed(w, r, c, d.cfg.MaxBody, &in); err != nil {
		return err
	}
	node, err := pathNode(r, c)
	if err != nil {
		return err
	}
	if err := d.service.Beat(r.Context(), node, d.cfg.DrainGrace, true, d.cfg.Now()); err != nil {
		return refusal(err)
	}
	d.nodesMu.Lock()
	delete(d.nodes, node)
	d.nodesMu.Unlock()
	api.WriteJSON(w, http.StatusOK, map[string]any{"grace": d.cfg.DrainGrace / time.Second})
	return nil
}

// resync takes the complete list of a node's sessions: those on it are online, all others of the node end. What the node
// reported after the time of the list stands.
func (d *Door) resync(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	limit := ResyncBodies * d.cfg.MaxBody
	if c.Signed { // the signature proves itself when the body has come, and a stranger must not have that much kept
		limit = d.cfg.MaxBody
	}
	body, err := d.signedBody(w, r, c, limit)
	if err != nil {
		return err
	}
	node, err := pathNode(r, c)
	if err != nil {
		return err
	}
	sessions, n, err := listOf(body, "sessions", d.cfg.MaxSessions)
	switch {
	case err != nil:
		return err
	case n < 0:
		return api.Refuse("invalid", "sessions is missing: the list of all sessions of the node")
	case n > d.cfg.MaxSessions:
		return api.Refuse("too_many_events", "one resync may name %d sessions", d.cfg.MaxSessions).WithLimit(d.cfg.MaxSessions)
	}
	var in struct {
		Time numeric `json:"time"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return api.Refuse("bad_json", "the body has the wrong shape")
	}
	now := d.cfg.Now()
	if in.Time.wrong || in.Time.f < 0 {
		return api.Refuse("invalid", "time is less than 0, or not a number")
	}
	if err := timeProblem(in.Time.f); err != nil {
		return api.Refuse("invalid", "%s", strings.TrimPrefix(err.Error(), "invalid: "))
	}
	at := presence.Millis(in.Time.f) // by the clock of the node, however far ahead: it also stamped what the list is compared with
	if at == 0 {
		at = now
	}
	app := presence.AppID(c.App.ID)
	var t tally
	reports := make([]presence.Report, 0, n)
	listed := make(map[sessionKey]struct{}, n)
	for i, raw := range sessions {
		rep, err := d.listed(app, node, raw, at, now)
		if err != nil { // the others count, and the session that it names is not ended for it
			ids := named(raw)
			if len(ids) == 0 {
				return refusalOf(i, err)
			}
			for _, id := range ids {
				listed[id] = struct{}{}
			}
			t.ignore(i, err)
			continue
		}
		listed[sessionKey{rep.Peer, rep.Session}] = struct{}{}
		reports = append(reports, rep)
	}
	ended, err := d.missing(r, node, listed, at, in.Time.f != 0)
	if err != nil {
		return refusal(err)
	}
	if err := d.apply(r, append(reports, ended...), now, &t); err != nil {
		return refusal(err)
	}
	api.WriteJSON(w, http.StatusOK, struct {
		tally
		Ended int `json:"ended"`
	}{t, len(ended)})
	return nil
}

// statesAtOnce bounds how many whole states a resync holds in memory.
const statesAtOnce = 4096

type sessionKey struct {
	peer    presence.PeerID
	session presence.SessionID
}

// listed returns the report of one session of a resync.
func (d *Door) listed(app presence.AppID, node presence.NodeID, raw json.RawMessage, at, now presence.Millis) (presence.Report, error) {
	e, err := parseEvent(raw)
	if err != nil {
		return presence.Report{}, err
	}
	if e.Session.s == "" {
		return presence.Report{}, invalidField("session", "invalid", "it has no session id")
	}
	e.State, e.Node = text{s: "online"}, text{}
	rep, err := d.reportOf(app, &e, now)
	if err != nil {
		return rep, err
	}
	rep.Node = node
	// The list is a word of its own time: a session that is on it lives, however long ago it began, and whatever was concluded since.
	rep.Received = false
	switch {
	case e.Time.f == 0 && at == now:
		d.receipts.stamp(&rep, now)
	case e.Time.f == 0:
		rep.At = at
	case rep.At < at:
		rep.Start, rep.At, rep.Seq = rep.At, at, 0
	}
	return rep, nil
}

// named returns the sessions that an entry of a resync may be about when it is not understood; none when it does not say.
func named(raw json.RawMessage) (ids []sessionKey) {
	var at *strictjson.Error
	if errors.As(strictjson.Check(raw, api.MaxDepth-2), &at) && at.Kind == strictjson.ErrDuplicate {
		switch strings.ToLower(at.Member) {
		case "user", "peer", "session":
			return nil // which of the two is meant is not known
		}
	}
	var e struct {
		User    text `json:"user"`
		Peer    text `json:"peer"`
		Session text `json:"session"`
	}
	if err := json.Unmarshal(raw, &e); err != nil || e.Session.s == "" {
		return nil
	}
	for _, peer := range []string{e.User.s, e.Peer.s} {
		if peer != "" {
			ids = append(ids, sessionKey{presence.PeerID(peer), presence.SessionID(e.Session.s)})
		}
	}
	return ids
}

// refusalOf refuses a whole list for its session i, since what the list does not name is ended.
func refusalOf(i int, err error) error {
	code := "invalid"
	if f := (*fieldError)(nil); errors.As(err, &f) && f.code == "bad_json" {
		code = "bad_json"
	}
	return api.Refuse(code, "session %d: %v", i, err)
}

// missing returns an end for every session of node that is not listed and began before at, which is by the node's own clock or not.
func (d *Door) missing(r *http.Request, node presence.NodeID, listed map[sessionKey]struct{}, at presence.Millis, own bool) ([]presence.Report, error) {
	keys, err := d.service.Store().OnNode(r.Context(), node, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("ask for the peers of a node: %w", err)
	}
	var ended []presence.Report
	states := make([]presence.State, min(len(keys), statesAtOnce))
	for some := range slices.Chunk(keys, statesAtOnce) {
		if err := d.service.Store().Loads(r.Context(), some, states[:len(some)]); err != nil {
			return nil, fmt.Errorf("read the peers of a node: %w", err)
		}
		for k, key := range some {
			for _, s := range states[k].Sessions {
				if _, ok := listed[sessionKey{key.Peer, s.ID}]; ok || s.Node != node || !s.Live(at) {
					continue
				}
				stood, end := s.At, at
				if !own { // the list was made now, whatever the clock of the node says
					stood, end = s.Seen(), max(at, s.At+1)
				}
				if stood >= at {
					continue
				}
				ended = append(ended, presence.Report{
					App: key.App, Peer: key.Peer, Source: s.Source, Session: s.ID, Device: s.Device, Kind: presence.KindOffline,
					At: end, Incarnation: s.Incarnation, Cause: presence.CauseLost, Hold: d.cfg.Hold,
				})
			}
		}
	}
	return ended, nil
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
