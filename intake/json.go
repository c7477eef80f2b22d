package intake

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// causes are the names in the generic JSON for why a session ended; those of presence are taken
// too.
var causes = map[string]presence.Cause{
	"link_lost": presence.CauseLost, "timeout": presence.CauseLost, "api_kick": presence.CauseKicked,
}

// MaxDepth is how deep an event in JSON may nest.
const MaxDepth = 14

// fields are an event in the generic JSON. Senders differ in how they write numbers and ids, so all
// is taken whose meaning is plain; a field that is not is kept with the reason, see
// [fields.problem].
type fields struct {
	User     text    `json:"user"`
	Peer     text    `json:"peer"` // the same
	State    text    `json:"state"`
	Session  text    `json:"session"`
	Prefix   text    `json:"prefix"`
	Node     text    `json:"node"`
	Time     numeric `json:"time"`
	Inc      numeric `json:"inc"`
	Seq      rising  `json:"seq"`
	Platform text    `json:"platform"`
	Why      text    `json:"why"`
	ID       text    `json:"id"`
	TTL      numeric `json:"ttl"`
	Activity text    `json:"activity"`
	ActiveAt numeric `json:"active_at"`
	Reach    text    `json:"reach"`
}

// ParseEvent reads one event in the generic JSON of POST /v1/events. The error is a [*FieldError],
// or says where raw is no JSON; it matches presence.ErrInvalid in the first case.
func ParseEvent(raw []byte) (Event, error) {
	f, err := parse(raw)
	if err != nil {
		return Event{}, err
	}
	return f.report()
}

// parseMade is [ParseEvent] for an object that this program wrote, which is JSON and has no member
// twice.
func parseMade(raw []byte) (Event, error) {
	f, err := read(raw)
	if err != nil {
		return Event{}, err
	}
	return f.report()
}

// report returns f as an event that reports a session or the end of all.
func (f *fields) report() (Event, error) {
	e, err := f.event()
	if err != nil {
		return e, err
	}
	switch f.State.s {
	case "online":
		e.Kind = presence.KindOnline
	case "offline":
		e.Kind = presence.KindOffline
	case "touch":
		e.Kind = presence.KindTouch
	case "end_all":
		e.Kind = presence.KindEndAll
	case "reach":
		e.Kind = presence.KindReach
	case "":
		return e, invalidField("state", "invalid", "the state is missing: online, offline, touch, end_all or reach")
	default:
		return e, invalidField("state", "invalid", "the state %.32q is none of online, offline, touch, end_all and reach", f.State.s)
	}
	switch {
	case (e.Kind == presence.KindReach) != (f.Reach.s != ""):
		return e, invalidField("reach", "invalid", "an event of the state reach, and no other, says the reach of a platform: yes, quiet or no")
	case e.Kind == presence.KindReach && e.Session != "":
		return e, invalidField("session", "invalid", "a reach is that of a platform, not of a session")
	case f.Activity.s != "" && e.Kind != presence.KindOnline && e.Kind != presence.KindTouch:
		return e, invalidField("activity", "invalid", "an activity is that of a session that is online or touched")
	case e.Kind == presence.KindEndAll && e.Session != "":
		return e, invalidField("session", "invalid", "an end_all names no session; prefix says which it ends")
	case e.Kind != presence.KindEndAll && e.Prefix != "":
		return e, invalidField("prefix", "invalid", "a prefix is that of an end_all")
	}
	return e, nil
}

// parseSession reads one session of a resync: an event that names no state and no node.
func parseSession(raw []byte) (Event, error) {
	f, err := parse(raw)
	if err != nil {
		return Event{}, err
	}
	if f.Session.s == "" {
		return Event{}, invalidField("session", "invalid", "it has no session id")
	}
	e, err := f.event()
	e.Kind, e.Node = presence.KindOnline, ""
	return e, err
}

// event returns f but for its state.
func (f *fields) event() (Event, error) {
	e := Event{
		Peer: presence.PeerID(f.User.s), Session: presence.SessionID(f.Session.s), Prefix: presence.SessionID(f.Prefix.s), Platform: f.Platform.s, Node: f.Node.s,
		At: presence.Millis(f.Time.f), Seq: uint64(f.Seq), Incarnation: presence.Millis(f.Inc.f), ID: f.ID.s,
		Lease: time.Duration(math.Ceil(f.TTL.f*1000)) * time.Millisecond,
	}
	if f.Peer.s != "" {
		if f.User.s != "" && f.User.s != f.Peer.s {
			return e, invalidField("peer", "invalid", "user and peer differ")
		}
		e.Peer = presence.PeerID(f.Peer.s)
	}
	if f.Why.s != "" {
		cause, ok := causes[f.Why.s]
		if !ok {
			cause, _ = presence.ParseCause(f.Why.s) // an unknown reason is no reason
			if cause == presence.CauseReconciled {
				cause = presence.CauseUnknown // no source says that of itself
			}
		}
		e.Cause = cause
	}
	var ok bool
	if e.Activity, ok = presence.ParseActivity(f.Activity.s); !ok && f.Activity.s != "" || ok && e.Activity == presence.ActivityUnknown {
		return e, invalidField("activity", "invalid", "the activity %.32q is none of foreground, idle and background", f.Activity.s)
	}
	if e.Reach, ok = presence.ParseReach(f.Reach.s); !ok && f.Reach.s != "" || ok && e.Reach == presence.ReachUnknown {
		return e, invalidField("reach", "invalid", "the reach %.32q is none of yes, quiet and no", f.Reach.s)
	}
	if e.ActiveAt = presence.Millis(f.ActiveAt.f); e.ActiveAt != 0 && e.Activity == presence.ActivityUnknown {
		return e, invalidField("active_at", "invalid", "active_at without an activity says nothing")
	}
	return e, nil
}

// A text is a string, or a whole number for which its decimal digits stand.
type text struct {
	s     string
	wrong bool
}

// UnmarshalJSON reads any value and keeps whether it is none of a text.
func (t *text) UnmarshalJSON(b []byte) error {
	switch c := b[0]; {
	case c == 'n':
	case c == '"':
		return json.Unmarshal(b, &t.s)
	case c == '-' || c >= '0' && c <= '9':
		t.s, t.wrong = digits(string(b))
	default:
		t.wrong = true
	}
	return nil
}

// digits returns the decimal digits of a JSON number; wrong is true for one that is not whole, or
// too great to be exact.
func digits(s string) (text string, wrong bool) {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return s, len(s) > 40
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return "", true
	}
	return strconv.FormatInt(int64(f), 10), false
}

// A numeric is a number, or a string of one.
type numeric struct {
	f     float64
	wrong bool
}

// UnmarshalJSON reads any value and keeps whether it is none of a number.
func (n *numeric) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		s = strings.TrimSpace(s)
	}
	if s == "null" || s == "" {
		return nil
	}
	var err error
	n.f, err = strconv.ParseFloat(s, 64)
	n.wrong = err != nil || math.IsNaN(n.f) || math.IsInf(n.f, 0)
	return nil
}

// A rising is a whole number that is not less than 0, or a string of one. What is not one is none:
// senders may write anything there.
type rising uint64

// UnmarshalJSON reads any value.
func (n *rising) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		*n = rising(v)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f < 1<<63 {
		*n = rising(f)
	}
	return nil
}

// parse reads the fields of an event. The error says what is wrong with them.
func parse(raw []byte) (fields, error) {
	var f fields
	if err := strictjson.Check(raw, MaxDepth); err != nil {
		var at *strictjson.Error
		if errors.As(err, &at) {
			return f, &FieldError{at.Member, "bad_json", "the event is not usable JSON: " + err.Error()}
		}
		return f, err
	}
	if raw[0] != '{' {
		return f, invalidField("", "invalid", "the event is not an object")
	}
	return read(raw)
}

func read(raw []byte) (fields, error) {
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, invalidField("", "invalid", "a field has the wrong type")
	}
	return f, f.problem()
}

// Times from 2001 to 2286, in milliseconds. What is one in another unit is taken for a mistake; no
// clock is off by just that.
const (
	leastMillis = 1e12
	mostMillis  = 1e13
)

// problem returns what is wrong with a field of f by itself, or nil.
func (f *fields) problem() error {
	for _, p := range []struct {
		name string
		t    *text
	}{
		{"user", &f.User},
		{"peer", &f.Peer},
		{"state", &f.State},
		{"session", &f.Session},
		{"prefix", &f.Prefix},
		{"node", &f.Node},
		{"platform", &f.Platform},
		{"why", &f.Why},
		{"id", &f.ID},
		{"activity", &f.Activity},
		{"reach", &f.Reach},
	} {
		if p.t.wrong {
			return invalidField(p.name, "wrong_type", "%s is neither a text nor a whole number", p.name)
		}
	}
	for _, p := range []struct {
		name string
		n    *numeric
	}{{"time", &f.Time}, {"inc", &f.Inc}, {"ttl", &f.TTL}, {"active_at", &f.ActiveAt}} {
		switch {
		case p.n.wrong:
			return invalidField(p.name, "wrong_type", "%s is not a number", p.name)
		case p.n.f < 0:
			return invalidField(p.name, "out_of_range", "%s is less than 0", p.name)
		}
	}
	if err := timeProblem("time", f.Time.f); err != nil {
		return err
	}
	if err := timeProblem("active_at", f.ActiveAt.f); err != nil {
		return err
	}
	if f.Inc.f > 1<<47-1 {
		return invalidField("inc", "out_of_range", "inc is not in Unix milliseconds")
	}
	if f.TTL.f > presence.MaxLease.Seconds() {
		return invalidField("ttl", "out_of_range", "ttl is not between 0 and %d seconds", presence.MaxLease/time.Second)
	}
	return nil
}

// timeProblem returns what is wrong with the time t in the field called name, or nil; 0 is no time.
func timeProblem(name string, t float64) error {
	switch {
	case t >= leastMillis/1000 && t < mostMillis/1000:
		return invalidField(name, "time_in_seconds", "%s is in seconds; write Unix milliseconds", name)
	case t >= leastMillis*1000 && t < mostMillis*1000:
		return invalidField(name, "time_in_microseconds", "%s is in microseconds; write Unix milliseconds", name)
	case t >= leastMillis*1e6 && t < mostMillis*1e6:
		return invalidField(name, "time_in_nanoseconds", "%s is in nanoseconds; write Unix milliseconds", name)
	}
	if t > 1<<47-1 {
		return invalidField(name, "out_of_range", "%s is not in Unix milliseconds", name)
	}
	return nil // a clock that is decades off is still a clock
}

// ParseTime returns the time of a list, which is the member time of the object body; 0 when it has
// none. The error is a [*FieldError].
func ParseTime(body []byte) (presence.Millis, error) {
	var in struct {
		Time numeric `json:"time"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return 0, invalidField("", "bad_json", "the body has the wrong shape")
	}
	if in.Time.wrong || in.Time.f < 0 {
		return 0, invalidField("time", "invalid", "time is less than 0, or not a number")
	}
	return presence.Millis(in.Time.f), timeProblem("time", in.Time.f)
}
