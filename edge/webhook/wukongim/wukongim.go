// Package wukongim reads the webhooks of WuKongIM: user.onlinestatus.
//
// WuKongIM signs nothing and sends no header of ours, so the secret is a part of the address:
// .../ingest/APP/SOURCE/SECRET.
package wukongim

import (
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what WuKongIM sends.
type Kind struct{}

// Name returns "wukongim".
func (Kind) Name() string { return "wukongim" }

// Defaults returns a lease of a day: a restart sends no offlines.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

// Verify wants the secret in the path.
func (Kind) Verify(c *webhook.Call) error { return c.PathSecret() }

// Sign puts the secret into the path.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, _ presence.Millis) error {
	r.PathSecret(s.Secret)
	return nil
}

var classes = map[string]string{"0": "app", "1": "web", "2": "pc"}

// A word is one string of the list: UID-FLAG-ONLINE, or UID-FLAG-ONLINE-SESSION-DEVICES-TOTAL. The
// uid may have a minus in it.
type word struct{ user, flag, online, session, devices, total string }

func parse(text string) (w word, ok bool) {
	parts := strings.Split(text, "-")
	numeric := func(from int) bool {
		for _, p := range parts[from:] {
			if p == "" || strings.Trim(p, "0123456789") != "" {
				return false
			}
		}
		return true
	}
	n := len(parts)
	switch {
	case n >= 6 && numeric(n-5):
		w = word{strings.Join(parts[:n-5], "-"), parts[n-5], parts[n-4], parts[n-3], parts[n-2], parts[n-1]}
	case n >= 3 && numeric(n-2):
		w = word{user: strings.Join(parts[:n-2], "-"), flag: parts[n-2], online: parts[n-1]}
	}
	return w, w.user != "" && (w.online == "0" || w.online == "1")
}

// endLag is how much older the end of all counts than its receipt: WuKongIM tries a call three
// times in 15 s while others go on, so the word of a newer connection may have come before.
const endLag = 15 * time.Second

// again is how long a word that comes again is the same call. A WuKongIM that was restarted counts
// its connections from one, so a word that comes later may be about another.
const again = time.Minute

// Read reads a list of words. They have no time, so they count in the order of their receipt; one
// that names a connection counts once in a minute, however often the call is repeated.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var list []webhook.Text
	if event := c.Query.Get("event"); event != "" && event != "user.onlinestatus" {
		b.Ignore()
		return nil
	}
	if err := c.Decode(&list); err != nil {
		return err
	}
	for _, text := range list {
		w, ok := parse(string(text))
		if !ok {
			b.Ignore()
			continue
		}
		w.add(string(text)+"@"+strconv.FormatInt(int64(c.Now)/again.Milliseconds(), 10), b)
	}
	return nil
}

func (w *word) add(id string, b *webhook.Batch) {
	class := classes[w.flag]
	if class == "" {
		class = "flag" + w.flag
	}
	e := intake.Event{Peer: presence.PeerID(w.user), Platform: class, Kind: presence.KindOnline}
	if w.online == "0" {
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLost
	}
	if w.session == "" {
		b.Add(&e) // counted by class
		return
	}
	e.Session, e.ID = presence.SessionID(class+"/"+w.session), id
	b.Add(&e)
	if w.online == "0" && w.total == "0" {
		// The last connection has closed: of what else is open here the end was lost.
		b.Add(&intake.Event{Peer: e.Peer, Kind: presence.KindEndAll, Lag: endLag, Cause: presence.CauseLost, ID: id})
	}
}

// Reply answers with a status; only 200 is success.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
