package tencent

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Limits: 500 ids a call; Tencent takes 200 calls a second of all that the app sends.
func (Kind) Limits() webhook.Limits { return webhook.Limits{Peers: maxPeers, Rate: 20} }

const maxPeers = 500

// china is the address of apps whose data is in China; docs/sources.md has those of other regions.
const china = "https://console.tim.qq.com"

// administrator is the one that every app has.
const administrator = "administrator"

// CheckAsk wants the secret key of the app.
func (Kind) CheckAsk(s *webhook.Source) error {
	if err := s.Reconcile.CheckBase("tencent", ""); err != nil {
		return err
	}
	if err := s.Reconcile.CheckSecure(); err != nil {
		return err
	}
	return s.Reconcile.CheckKey("the secret key of the app, from which signatures are made (密钥)")
}

// Ask calls query_online_status as an administrator of the app.
func (Kind) Ask(ctx context.Context, client *http.Client, s *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	return s.Reconcile.WithKey(func(key string) (webhook.Answer, error) {
		return webhook.InParts(peers, maxPeers, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			return ask(ctx, client, s, key, part, f)
		})
	})
}

// maxPerPeer is how many bytes of an answer are about one peer, at most.
const maxPerPeer = 2 << 10

func ask(ctx context.Context, client *http.Client, s *webhook.Source, key string, peers []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
	body, err := json.Marshal(map[string]any{"To_Account": peers, "IsNeedDetail": 1})
	if err != nil {
		return 0, err
	}
	admin := s.Reconcile.User
	if admin == "" {
		admin = administrator
	}
	q := webhook.Query{Body: body, Max: 64<<10 + int64(len(peers))*maxPerPeer}
	// The address holds the signature.
	q.URL = s.Reconcile.Base(china) + "/v4/openim/query_online_status?" + url.Values{
		"sdkappid": {s.AppID}, "identifier": {admin}, "usersig": {userSig(s.AppID, admin, key, time.Now().Unix())},
		"random": {strconv.FormatUint(uint64(rand.Uint32()), 10)}, "contenttype": {"json"},
	}.Encode()
	answer, at, err := q.Do(ctx, client)
	if err != nil {
		return 0, err
	}
	return at, read(answer, f)
}

// refusals are the codes of an answer that say that the app or the administrator is wrong. Those
// from 70000 to 70099 are about the signature.
var refusals = map[webhook.Number]bool{
	60004: true, // no such app
	60006: true, // the app is disabled
	60010: true, // no administrator
	60021: true, // the address of the caller is not allowed
}

func read(body []byte, f *webhook.Findings) error {
	var in struct {
		Status webhook.Text    `json:"ActionStatus"`
		Code   *webhook.Number `json:"ErrorCode"`
		Result []struct {
			Peer   webhook.Text `json:"To_Account"`
			Status webhook.Text `json:"Status"`
			State  webhook.Text `json:"State"` // its older name
			Detail []device     `json:"Detail"`
		} `json:"QueryResult"`
		// Those of ErrorList are without an answer.
		Errors []struct {
			Peer webhook.Text `json:"To_Account"`
		} `json:"ErrorList"`
	}
	if err := webhook.DecodeAnswer(body, &in); err != nil {
		return err
	}
	switch {
	case in.Code == nil:
		return webhook.ErrAnswer("ErrorCode is missing")
	case refusals[*in.Code] || *in.Code >= 70000 && *in.Code < 70100:
		return fmt.Errorf("%w: its error is %d", webhook.ErrRefused, *in.Code)
	case *in.Code != 0 || in.Status != "OK":
		return webhook.ErrAnswer(fmt.Sprintf("its error is %d", *in.Code))
	}
	for i := range in.Result {
		r := &in.Result[i]
		if r.Status == "" {
			r.Status = r.State
		}
		switch r.Status {
		case "Offline", "PushOnline": // the second has no connection, and gets pushes
			f.Add(presence.PeerID(r.Peer), webhook.Found{})
		case "Online":
			f.Add(presence.PeerID(r.Peer), online(r.Detail))
		}
	}
	for _, e := range in.Errors {
		f.Drop(presence.PeerID(e.Peer))
	}
	return nil
}

type device struct {
	Platform webhook.Text `json:"Platform"`
	Status   webhook.Text `json:"Status"`
}

// online returns the find of a peer that is online with devices. When one of them is of a class
// that has no name in the events, it is no more than that it is online.
func online(devices []device) webhook.Found {
	list := make([]webhook.FoundSession, 0, len(devices))
	for _, d := range devices {
		class := classes[strings.ToLower(string(d.Platform))]
		switch {
		case d.Status == "Online" && class != "":
			list = append(list, webhook.FoundSession{ID: presence.SessionID(class), Platform: class})
		case d.Status != "Offline" && d.Status != "PushOnline":
			return webhook.Found{Online: true}
		}
	}
	if len(list) == 0 {
		return webhook.Found{Online: true}
	}
	return webhook.Sessions(list)
}

// classes are those of the answer by the names that the callback has for them.
var classes = map[string]string{
	"iphone": "ios", "ios": "ios", "ipad": "ipad", "android": "android", "web": "web", "windows": "windows", "mac": "mac",
}
