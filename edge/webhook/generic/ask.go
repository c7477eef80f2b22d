package generic

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rollcall/edge/webhook"
	"rollcall/internal/api"
	"rollcall/presence"
)

// Limits: a backend takes 500 ids a call, and says how many calls a second it bears by the setting.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 5} }

const maxPeers = 500

// CheckAsk wants the address of the backend and the key that signs the calls.
func (Kind) CheckAsk(s *webhook.Source) error {
	switch {
	case s.Reconcile.URL == "" && s.Kind.Name() == "generic":
		return errors.New("reconcile.url is missing; of generic it is the address of the backend that has the answer")
	case s.Reconcile.URL == "":
		return errors.New("reconcile.url is missing; " + s.Kind.Name() + " itself cannot be asked, so it is the address of a backend of yours that answers for it")
	}
	return s.Reconcile.CheckKey("a secret of your choice that signs the calls to reconcile.url")
}

// Ask sends {"app":…,"peers":[…]} to the address of s, signed as POST /v1/events is in the second
// version of signatures.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return ask(ctx, client, s, key, part, f)
		})
	})
}

func ask(ctx context.Context, client *http.Client, s *webhook.Source, key string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	body, err := json.Marshal(map[string]any{"app": s.App, "peers": peers})
	if err != nil {
		return 0, err
	}
	u, err := url.Parse(s.Reconcile.URL)
	if err != nil {
		return 0, errors.New("the address of the backend cannot be read")
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	q := webhook.Query{URL: s.Reconcile.URL, Body: body, Max: 64<<10 + int64(len(peers))*maxPerPeer, Header: http.Header{
		api.TimeHeader:      {stamp},
		api.SignatureHeader: {"v2=" + hex.EncodeToString(api.Sign(key, stamp, http.MethodPost, u.RequestURI(), body))},
	}}
	answer, date, err := q.Do(ctx, client)
	if err != nil {
		return 0, err
	}
	at, err := read(answer, f)
	if at == 0 {
		at = date
	}
	return at, err
}

// maxPerPeer is how many bytes of an answer are about one peer, at most.
const maxPerPeer = 4 << 10

// read takes what body says into f and returns its time, 0 without one.
func read(body []byte, f *webhook.Findings) (presence.Millis, error) {
	var in struct {
		At    webhook.Number    `json:"at"`
		Peers map[string]answer `json:"peers"`
	}
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return 0, err
	}
	if in.Peers == nil {
		return 0, webhook.ErrAnswer("peers is missing")
	}
	for id, a := range in.Peers {
		if found, ok := a.found(); ok {
			f.Add(presence.PeerID(id), found)
		}
	}
	return in.At.Millis(), nil
}

// An answer is about one peer.
type answer struct {
	Online   webhook.Flag `json:"online"`
	Sessions []struct {
		Session  webhook.Text   `json:"session"`
		Platform webhook.Text   `json:"platform"`
		Since    webhook.Number `json:"since"`
	} `json:"sessions"`
}

// found reports whether a is clear.
func (a *answer) found() (webhook.Found, bool) {
	switch {
	case a.Online == webhook.FlagFalse && len(a.Sessions) == 0:
		return webhook.Found{}, true
	case a.Online != webhook.FlagTrue:
		return webhook.Found{}, false
	case len(a.Sessions) == 0:
		return webhook.Found{Online: true}, true
	}
	list := make([]webhook.FoundSession, 0, len(a.Sessions))
	for _, s := range a.Sessions {
		list = append(list, webhook.FoundSession{ID: presence.SessionID(s.Session), Platform: string(s.Platform), Since: s.Since.Millis()})
	}
	return webhook.Sessions(list), true
}
