package ejabberd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Limits: each peer is a call of its own.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: 1, Rate: 50} }

// CheckAsk wants the address of mod_http_api. It takes calls without a key from addresses that its
// api_permissions allow.
func (Kind) CheckAsk(s *webhook.Source) error {
	if err := s.Reconcile.CheckBase("ejabberd", "https://im.example.com:5443/api"); err != nil {
		return err
	}
	if s.User != "jid" && s.Reconcile.Domain == "" {
		return errors.New("reconcile.domain is missing; it is the virtual host of the peers, since user is not jid")
	}
	return nil
}

// Ask calls user_sessions_info for each peer. A session is the resource.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	named := slices.DeleteFunc(slices.Clone(peers), func(p presence.PeerID) bool {
		_, _, ok := Name(s, p)
		return !ok
	})
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(named, 1, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return ask(ctx, client, s, key, part[0], f)
		})
	})
}

// maxAnswer is the most bytes of an answer about one peer.
const maxAnswer = 1 << 20

func ask(ctx context.Context, client *http.Client, s *webhook.Source, key string, peer presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	user, host, _ := Name(s, peer)
	body, err := json.Marshal(map[string]string{"user": user, "host": host})
	if err != nil {
		return 0, err
	}
	q := webhook.Query{URL: s.Reconcile.Base("") + "/user_sessions_info", Body: body, Max: maxAnswer, Header: http.Header{}}
	r := http.Request{Header: q.Header}
	switch {
	case s.Reconcile.User != "":
		r.SetBasicAuth(s.Reconcile.User, key)
	case key != "":
		q.Header.Set("Authorization", "Bearer "+key)
	}
	answer, at, err := q.Do(ctx, client)
	if err != nil {
		return 0, err
	}
	return at, read(answer, peer, at, f)
}

// Name parts the JID of peer at the server of s. It reports whether the peer can have one: none of
// these characters may be in the name of a user, and a server might cut the name there.
func Name(s *webhook.Source, peer presence.PeerID) (user, host string, ok bool) {
	user, host = string(peer), s.Reconcile.Domain
	if s.User == "jid" {
		user, host, ok = strings.Cut(string(peer), "@")
		if !ok {
			return "", "", false
		}
	}
	return user, host, user != "" && host != "" && !strings.ContainsAny(user, "\"&'/:<>@ \t\r\n") && !strings.ContainsAny(host, "/@ \t\r\n")
}

func read(body []byte, peer presence.PeerID, at presence.Millis, f *webhook.Findings) error {
	var in []struct {
		Resource webhook.Text    `json:"resource"`
		Uptime   *webhook.Number `json:"uptime"` // seconds
	}
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return err
	}
	if in == nil {
		return webhook.ErrAnswer("it is no list")
	}
	if len(in) == 0 {
		f.Add(peer, webhook.Found{})
		return nil
	}
	list := make([]webhook.FoundSession, 0, len(in))
	for _, s := range in {
		if s.Uptime == nil {
			return webhook.ErrAnswer("a session has no uptime")
		}
		found := webhook.FoundSession{ID: presence.SessionID(s.Resource)}
		if up := presence.Millis(*s.Uptime) * 1000; up > 0 && up < at {
			found.Since = at - up
		}
		list = append(list, found)
	}
	f.Add(peer, webhook.Sessions(list))
	return nil
}
