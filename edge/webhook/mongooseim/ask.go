package mongooseim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/ejabberd"
	"rollcall/presence"
)

// Limits: one query lists the sessions of so many.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 5} }

const maxPeers = 50

// CheckAsk wants the address of the GraphQL API for administrators, and the password of its user.
func (Kind) CheckAsk(s *webhook.Source) error {
	if err := s.Reconcile.CheckBase("mongooseim", "http://im.example.com:5551/api/graphql"); err != nil {
		return err
	}
	if s.User != "jid" && s.Reconcile.Domain == "" {
		return errors.New("reconcile.domain is missing; it is the domain of the peers, since user is not jid")
	}
	if s.Reconcile.User == "" {
		return errors.New("reconcile.user is missing; it is the user of the GraphQL listener")
	}
	return s.Reconcile.CheckKey("the password of the GraphQL listener")
}

// Ask lists the sessions of each peer, all in one query. A session is the resource.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	named := slices.DeleteFunc(slices.Clone(peers), func(p presence.PeerID) bool {
		_, _, ok := ejabberd.Name(s, p)
		return !ok
	})
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(named, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return ask(ctx, client, s, key, part, f)
		})
	})
}

// maxPerPeer is how many bytes of an answer are about one peer, at most.
const maxPerPeer = 16 << 10

func ask(ctx context.Context, client *http.Client, s *webhook.Source, key string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	jids := make([]string, len(peers))
	for i, p := range peers {
		user, host, _ := ejabberd.Name(s, p)
		jids[i] = user + "@" + host
	}
	body, err := question(jids)
	if err != nil {
		return 0, err
	}
	q := webhook.Query{URL: s.Reconcile.Base(""), Body: body, Max: 64<<10 + int64(len(peers))*maxPerPeer, Header: http.Header{}}
	r := http.Request{Header: q.Header}
	r.SetBasicAuth(s.Reconcile.User, key)
	answer, at, err := q.Do(ctx, client)
	if err != nil {
		return 0, err
	}
	return at, read(answer, peers, jids, f)
}

// alias is the name of the sessions of peer i in a query and in its answer.
func alias(i int) string { return "u" + strconv.Itoa(i) }

// question returns the query about jids, which are variables of it.
func question(jids []string) ([]byte, error) {
	var head, fields strings.Builder
	variables := map[string]string{}
	for i, jid := range jids {
		u := alias(i)
		head.WriteString("$" + u + ":JID!,")
		fields.WriteString(u + ":listUserSessions(user:$" + u + "){user}")
		variables[u] = jid
	}
	return json.Marshal(map[string]any{
		"query": "query(" + strings.TrimSuffix(head.String(), ",") + "){session{" + fields.String() + "}}", "variables": variables,
	})
}

type session struct {
	JID webhook.Text `json:"user"`
}

// read takes the sessions of each peer. One with an error has null in their place.
func read(body []byte, peers []presence.PeerID, jids []string, f *webhook.Findings) error {
	var in struct {
		Data struct {
			Session map[string][]session `json:"session"`
		} `json:"data"`
	}
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return err
	}
	if in.Data.Session == nil {
		return webhook.ErrAnswer("data.session is missing")
	}
	for i, peer := range peers {
		list := in.Data.Session[alias(i)]
		if list == nil {
			continue
		}
		found := webhook.Found{}
		sessions := make([]webhook.FoundSession, 0, len(list))
		for _, s := range list {
			bare, resource, _ := strings.Cut(string(s.JID), "/")
			if !strings.EqualFold(bare, jids[i]) {
				resource = "" // which no session has
			}
			sessions = append(sessions, webhook.FoundSession{ID: presence.SessionID(resource)})
		}
		if len(sessions) > 0 {
			found = webhook.Sessions(sessions)
		}
		f.Add(peer, found)
	}
	return nil
}
