package easemob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Limits: 100 ids a call; Easemob takes 100 calls a second, together with those about accounts.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 10} }

const maxPeers = 100

// china is the address of most apps; docs/sources.md says where the console has that of others.
const china = "https://a1.easemob.com"

// CheckAsk wants the app key and the credentials of the app.
func (Kind) CheckAsk(s *webhook.Source) error {
	if org, app, ok := strings.Cut(s.AppID, "#"); !ok || org == "" || app == "" {
		return errors.New("appid is missing or has no #; to be asked, easemob wants the app key, such as org#app")
	}
	if err := s.Reconcile.CheckBase("easemob", ""); err != nil {
		return err
	}
	if err := s.Reconcile.CheckSecure(); err != nil {
		return err
	}
	if s.Reconcile.KeyID == "" {
		return errors.New("reconcile.key_id is missing; it is the Client ID of the app")
	}
	return s.Reconcile.CheckKey("the ClientSecret of the app")
}

// Ask calls users/batch/status with a token of the app. Easemob answers offline for users that it
// does not know.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	org, app, _ := strings.Cut(s.AppID, "#")
	c := caller{ctx: ctx, client: client, base: s.Reconcile.Base(china) + "/" + url.PathEscape(org) + "/" + url.PathEscape(app)}
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return s.Reconcile.Passes.WithPass(key,
				func() (string, error) { return c.token(s.Reconcile.KeyID, key) },
				func(token string) (presence.Millis, error) { return c.ask(token, part, f) })
		})
	})
}

type caller struct {
	ctx    context.Context
	client *http.Client
	base   string
}

// maxToken is the most bytes of an answer with a token.
const maxToken = 64 << 10

func (c *caller) token(id, secret string) (string, error) {
	body, err := json.Marshal(map[string]string{"grant_type": "client_credentials", "client_id": id, "client_secret": secret})
	if err != nil {
		return "", err
	}
	q := webhook.Query{URL: c.base + "/token", Body: body, Max: maxToken}
	answer, _, err := q.Do(c.ctx, c.client)
	if status := webhook.StatusError(0); errors.As(err, &status) && (status == http.StatusBadRequest || status == http.StatusNotFound) {
		// The credentials are wrong, or the app is unknown.
		return "", fmt.Errorf("%w: %w", webhook.ErrRefused, err)
	}
	if err != nil {
		return "", err
	}
	var in struct {
		Token webhook.Text `json:"access_token"`
	}
	if err := webhook.DecodeAnswer(answer, &in); err != nil {
		return "", err
	}
	if in.Token == "" {
		return "", webhook.ErrAnswer("access_token is missing")
	}
	return string(in.Token), nil
}

// maxPerPeer is how many bytes of an answer are about one peer, at most.
const maxPerPeer = 1 << 10

func (c *caller) ask(token string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	body, err := json.Marshal(map[string]any{"usernames": peers})
	if err != nil {
		return 0, err
	}
	q := webhook.Query{
		URL: c.base + "/users/batch/status", Body: body, Max: 64<<10 + int64(len(peers))*maxPerPeer,
		Header: http.Header{"Authorization": {"Bearer " + token}},
	}
	answer, at, err := q.Do(c.ctx, c.client)
	if err != nil {
		return 0, err
	}
	return at, read(answer, f)
}

func read(body []byte, f *webhook.Findings) error {
	var in struct {
		Data []map[string]webhook.Text `json:"data"`
	}
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return err
	}
	if in.Data == nil {
		return webhook.ErrAnswer("data is missing")
	}
	for _, one := range in.Data {
		for user, status := range one {
			switch status {
			case "online":
				f.Add(presence.PeerID(user), webhook.Found{Online: true})
			case "offline":
				f.Add(presence.PeerID(user), webhook.Found{})
			}
		}
	}
	return nil
}
