// Package leancloud asks the IM of LeanCloud who is online, as long as it runs. Its hooks are no
// webhooks: they report by the LeanCloud dialect, and a source of this kind is that source.
package leancloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Kind asks LeanCloud.
type Kind struct{}

// Name returns "leancloud".
func (Kind) Name() string { return string(presence.SourceLeanCloud) }

// Defaults returns a lease of a week, as that of the hooks.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 7 * 24 * time.Hour, Hold: 10 * time.Second, Elsewhere: "/1.1/functions/_clientOnline and _clientOffline"}
}

// Check wants the id under which the hooks report, and settings for asking.
func (k Kind) Check(s *webhook.Source) error {
	switch {
	case s.ID != presence.SourceLeanCloud:
		return fmt.Errorf("id is %.40q; of kind leancloud it is leancloud, under which its hooks report", s.ID)
	case !s.Reconcile.On():
		return errors.New("reconcile is missing; a source of kind leancloud can only be asked")
	}
	return nil
}

// Verify proves nothing: the hooks have a door of their own.
func (Kind) Verify(*webhook.Call) error { return webhook.ErrUnproven }

// Read reads nothing.
func (Kind) Read(*webhook.Call, *webhook.Batch) error {
	return webhook.Shape("the hooks of LeanCloud are calls of its dialect")
}

// Sign signs nothing.
func (Kind) Sign(*webhook.Request, *webhook.Source, presence.Millis) error {
	return errors.New("the hooks of LeanCloud are calls of its dialect, which have a key and no signature")
}

// Reply answers with a status.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }

// Limits: 20 ids a call. The hooks name no sessions.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 20, Counted: true} }

const maxPeers = 20

// CheckAsk wants the address of the app's API and its master key.
func (Kind) CheckAsk(s *webhook.Source) error {
	if err := s.Reconcile.CheckBase("leancloud", "https://api.example.com"); err != nil {
		return err
	}
	if err := s.Reconcile.CheckSecure(); err != nil {
		return err
	}
	return s.Reconcile.CheckKey("the master key of the app at LeanCloud")
}

// Ask calls check-online with the master key. The answer is yes or no.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return ask(ctx, client, s, key, part, f)
		})
	})
}

// maxAnswer is the most bytes of an answer: the ids of 20 peers, of 4 KiB each at most, as JSON may
// write them.
const maxAnswer = 1 << 20

func ask(ctx context.Context, client *http.Client, s *webhook.Source, key string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	body, err := json.Marshal(map[string]any{"client_ids": peers})
	if err != nil {
		return 0, err
	}
	id := s.AppID
	if id == "" {
		id = string(s.App)
	}
	q := webhook.Query{URL: s.Reconcile.Base("") + "/1.2/rtm/clients/check-online", Body: body, Max: maxAnswer, Header: http.Header{
		"X-Lc-Id": {id}, "X-Lc-Key": {key + ",master"},
	}}
	answer, at, err := q.Do(ctx, client)
	if err != nil {
		return 0, err
	}
	return at, read(answer, peers, f)
}

// read takes the ids of those online. Any other is offline, so an id that is none, or was not asked
// for, spoils the whole.
func read(body []byte, peers []presence.PeerID, f *webhook.Findings) error {
	var in struct {
		Results []presence.PeerID `json:"results"`
	}
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return err
	}
	if in.Results == nil {
		return webhook.ErrAnswer("results is missing")
	}
	online := make(map[presence.PeerID]bool, len(in.Results))
	for _, id := range in.Results {
		if !f.Asked(id) {
			return webhook.ErrAnswer("one of its ids was not asked for")
		}
		online[id] = true
	}
	for _, peer := range peers {
		f.Add(peer, webhook.Found{Online: online[peer]})
	}
	return nil
}
