package wukongim

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Limits: WuKongIM documents no most of ids.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 10} }

const maxPeers = 200

// CheckAsk wants the address of the API. WuKongIM takes calls without a token unless managerToken
// is set there.
func (Kind) CheckAsk(s *webhook.Source) error {
	return s.Reconcile.CheckBase("wukongim", "http://im.example.com:5001")
}

// Ask calls onlinestatus. The answer is yes or no: the events name connections, and it has none.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return ask(ctx, client, s, key, part, f)
		})
	})
}

// maxPerPeer is how many bytes of an answer are about one peer, at most.
const maxPerPeer = 4 << 10

func ask(ctx context.Context, client *http.Client, s *webhook.Source, key string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	body, err := json.Marshal(peers)
	if err != nil {
		return 0, err
	}
	q := webhook.Query{URL: s.Reconcile.Base("") + "/user/onlinestatus", Body: body, Max: 64<<10 + int64(len(peers))*maxPerPeer, Header: http.Header{}}
	if key != "" {
		q.Header["token"] = []string{key}
	}
	answer, at, err := q.Do(ctx, client)
	if err != nil {
		return 0, err
	}
	return at, read(answer, peers, f)
}

// read takes a row for each class of device that is online. Older versions send the ids of users
// online in place of rows. A user without a row is offline, so a row that is not clear, or about a
// user that was not asked for, spoils the whole.
func read(body []byte, peers []presence.PeerID, f *webhook.Findings) error {
	var rows []json.RawMessage
	if err := webhook.DecodeAnswer(body, &rows); err != nil {
		return err
	}
	if rows == nil {
		return webhook.ErrAnswer("it is no list")
	}
	online := make(map[presence.PeerID]bool, len(rows))
	for _, raw := range rows {
		row := struct {
			User   webhook.Text `json:"uid"`
			Online webhook.Text `json:"online"`
		}{Online: "1"}
		var err error
		if bytes.HasPrefix(raw, []byte(`"`)) {
			err = json.Unmarshal(raw, &row.User)
		} else {
			row.Online = ""
			err = json.Unmarshal(raw, &row)
		}
		peer := presence.PeerID(row.User)
		if err != nil || !f.Asked(peer) || row.Online != "0" && row.Online != "1" {
			return webhook.ErrAnswer("one of its rows is not clear")
		}
		if row.Online == "1" {
			online[peer] = true
		}
	}
	for _, peer := range peers {
		f.Add(peer, webhook.Found{Online: online[peer]})
	}
	return nil
}
