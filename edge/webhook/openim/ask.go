package openim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Limits: OpenIM documents no most; 200 ids with their tokens are an answer of some 100 KiB.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 10} }

const maxPeers = 200

// administrator is the one of OpenIM's own configuration.
const administrator = "imAdmin"

// CheckAsk wants the address of the API and the secret of the server.
func (Kind) CheckAsk(s *webhook.Source) error {
	if err := s.Reconcile.CheckBase("openim", "https://im.example.com/api"); err != nil {
		return err
	}
	return s.Reconcile.CheckKey("the secret in OpenIM's config/share.yml")
}

// Ask calls get_users_online_status with the token of an administrator. The answer holds the tokens
// of users: they are not read.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	c := caller{ctx: ctx, client: client, base: s.Reconcile.Base("")}
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return s.Reconcile.Passes.WithPass(key,
				func() (string, error) { return c.token(s.Reconcile.User, key) },
				func(token string) (presence.Millis, error) { return c.ask(token, part, f) })
		})
	})
}

type caller struct {
	ctx    context.Context
	client *http.Client
	base   string
}

// call posts in and reads the data of the answer into data, a pointer, and returns the time of the
// answer. OpenIM answers errors with status 200.
func (c *caller) call(path, token string, in, data any, most int64) (presence.Millis, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	q := webhook.Query{URL: c.base + path, Body: body, Max: most, Header: http.Header{
		"operationID": {"rollcall-" + strconv.FormatUint(rand.Uint64(), 36)},
	}}
	if token != "" {
		q.Header["token"] = []string{token}
	}
	answer, at, err := q.Do(c.ctx, c.client)
	if err != nil {
		return 0, err
	}
	out := struct {
		Code *webhook.Number `json:"errCode"`
		Data any             `json:"data"`
	}{Data: data}
	if err := webhook.DecodeAnswer(answer, &out); err != nil {
		return 0, err
	}
	switch {
	case out.Code == nil:
		return 0, webhook.ErrAnswer("errCode is missing")
	case *out.Code >= 1500 && *out.Code < 1600, *out.Code == noPermission, token == "" && *out.Code > 1000 && *out.Code < 1100:
		return 0, fmt.Errorf("%w: its error is %d", webhook.ErrRefused, *out.Code)
	case *out.Code != 0:
		return 0, webhook.ErrAnswer(fmt.Sprintf("its error is %d", *out.Code))
	}
	return at, nil
}

// noPermission is the error of a call by one that is no administrator. Those from 1500 to 1599 are
// about the token; from 1001 on, of a call for a token, about the user and the secret.
const noPermission = 1002

// maxToken is the most bytes of an answer with a token.
const maxToken = 64 << 10

func (c *caller) token(user, secret string) (string, error) {
	if user == "" {
		user = administrator
	}
	var in struct {
		Token webhook.Text `json:"token"`
	}
	if _, err := c.call("/auth/get_admin_token", "", map[string]string{"secret": secret, "userID": user}, &in, maxToken); err != nil {
		return "", err
	}
	if in.Token == "" {
		return "", webhook.ErrAnswer("token is missing")
	}
	return string(in.Token), nil
}

// maxPerPeer is how many bytes of an answer are about one peer, at most: there is a token for each
// of its connections.
const maxPerPeer = 16 << 10

func (c *caller) ask(token string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	var list []user
	at, err := c.call("/user/get_users_online_status", token, map[string]any{"userIDs": peers}, &list, 64<<10+int64(len(peers))*maxPerPeer)
	if err != nil {
		return 0, err
	}
	return at, read(list, f)
}

type user struct {
	ID     webhook.Text `json:"userID"`
	Status webhook.Text `json:"status"` // 1 or 0, and in older versions a word
	Detail []struct {
		PlatformID webhook.Number `json:"platformID"`
		Platform   webhook.Text   `json:"platform"`
	} `json:"detailPlatformStatus"`
}

func read(list []user, f *webhook.Findings) error {
	if list == nil {
		return webhook.ErrAnswer("data is missing")
	}
	for i := range list {
		u := &list[i]
		switch u.Status {
		case "0", "offline":
			if len(u.Detail) == 0 {
				f.Add(presence.PeerID(u.ID), webhook.Found{})
			}
		case "1", "online":
			found := webhook.Found{Online: true}
			sessions := make([]webhook.FoundSession, 0, len(u.Detail))
			for _, d := range u.Detail {
				class := platforms[d.PlatformID]
				if class == "" {
					class = names[strings.ToLower(string(d.Platform))]
				}
				if class == "" {
					sessions = nil
					break // a class that has no name here: no more than that it is online
				}
				sessions = append(sessions, webhook.FoundSession{ID: presence.SessionID(class), Platform: class})
			}
			if len(sessions) > 0 {
				found = webhook.Sessions(sessions)
			}
			f.Add(presence.PeerID(u.ID), found)
		}
	}
	return nil
}

// names are those of older versions, which have no number.
var names = map[string]string{
	"ios": "ios", "android": "android", "windows": "windows", "osx": "mac", "web": "web", "miniweb": "miniweb", "linux": "linux",
	"androidpad": "androidpad", "apad": "androidpad", "ipad": "ipad", "admin": "admin",
}
