package webhook_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/tencent"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A stay is the time that a device is connected to one of two IM services.
type stay struct {
	user, class string
	tencent     bool
	from, to    presence.Millis
}

// A delivery is one report of an IM service, when it arrives.
type delivery struct {
	stay   *stay
	begins bool
	at     presence.Millis
}

// changeover is an app that moves from LeanCloud to Tencent within four weeks: of the connections
// that a device makes, ever more go to Tencent.
type changeover struct {
	*rand.Rand
	stays      []*stay
	deliveries []delivery
}

const weeks = 4

func drawChangeover(seed uint64, users int, begin presence.Millis) *changeover {
	c := &changeover{Rand: rand.New(rand.NewPCG(seed, 0))}
	end := begin.Add(weeks * 7 * 24 * time.Hour)
	within := func(least, most time.Duration) time.Duration {
		return least + time.Duration(c.Int64N(int64(most-least)))
	}
	for u := range users {
		for _, class := range []string{"ios", "web"} {
			for at := begin.Add(within(0, 12*time.Hour)); at < end; {
				s := &stay{user: fmt.Sprint("u", u), class: class, from: at, to: at.Add(within(time.Minute, 9*time.Hour))}
				s.tencent = c.Float64() < float64(at-begin)/float64(end-begin)
				c.stays = append(c.stays, s)
				c.deliver(s)
				at = s.to.Add(within(20*time.Second, 10*time.Hour))
			}
		}
	}
	slices.SortStableFunc(c.deliveries, func(a, b delivery) int { return int(a.at - b.at) })
	return c
}

// deliver has both reports of s arrive up to three seconds late. One in twenty of Tencent's is sent
// again.
func (c *changeover) deliver(s *stay) {
	for _, begins := range []bool{true, false} {
		at := s.to
		if begins {
			at = s.from
		}
		c.deliveries = append(c.deliveries, delivery{s, begins, at + presence.Millis(c.IntN(3000))})
		if s.tencent && c.IntN(20) == 0 {
			c.deliveries = append(c.deliveries, delivery{s, begins, at + presence.Millis(3000+c.IntN(30_000))})
		}
	}
}

// truth reports whether user is connected anywhere at at; sure is false when a report of its may be
// on its way, or came just now.
func (c *changeover) truth(user string, at presence.Millis) (online, sure bool) {
	sure = true
	for _, s := range c.stays {
		if s.user != user {
			continue
		}
		online = online || s.from <= at && at < s.to
		for _, edge := range []presence.Millis{s.from, s.to} {
			if away := at - edge; away > -1000 && away < 15_000 {
				sure = false
			}
		}
	}
	return online, sure
}

// TestAChangeoverShowsOneTruth: an app that is on Tencent and on LeanCloud's hooks shows whether a
// user is connected to either, through four weeks in which its devices move.
func TestAChangeoverShowsOneTruth(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playChangeover(t, seed) })
	}
}

func playChangeover(t *testing.T, seed uint64) {
	const begin presence.Millis = 1767225600000
	at := begin
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, begin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	ring, err := api.NewKeyring([]api.App{{ID: "one", MasterKey: "master-key-000000001", HookKey: hookKey}})
	if err != nil {
		t.Fatal(err)
	}
	clock := func() presence.Millis { return at }
	cfg := api.DefaultConfig()
	cfg.Limits = limit.Limits{}
	gate := api.NewGate(cfg, api.Deps{Keys: ring, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() int64 { return int64(at) }})
	service := presence.NewService(st, presence.DefaultConfig())
	in := intake.New(intake.DefaultConfig(), intake.Deps{Service: service, Now: clock})
	kind := tencent.Kind{}
	door := webhook.New([]webhook.Source{{
		App: "one", ID: "tencent", Kind: kind, Secret: secret, AppID: "1400000000", Lease: kind.Defaults().Lease, Hold: kind.Defaults().Hold,
	}}, webhook.Deps{Intake: in, Gate: gate, Now: clock})
	handler := gate.Handler(door.Routes())
	hooks := intake.Sender{App: "one", Source: presence.SourceLeanCloud, Lease: 7 * 24 * time.Hour}

	c := drawChangeover(seed, 20, begin)
	checked, online, moved := 0, 0, map[bool]int{}
	for _, d := range c.deliveries {
		at = d.at
		moved[d.stay.tencent]++
		if d.stay.tencent {
			callTencent(t, handler, d, at)
		} else {
			e := intake.Event{Peer: presence.PeerID(d.stay.user), Tag: d.stay.class, Kind: presence.KindOnline}
			if !d.begins {
				e.Kind, e.Cause = presence.KindOffline, presence.CauseLogout
			}
			if _, err := in.Take(context.Background(), &hooks, &e); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			user := fmt.Sprint("u", c.IntN(20))
			want, sure := c.truth(user, at)
			if !sure {
				continue
			}
			var state presence.State
			if err := service.Load(context.Background(), presence.Key{App: "one", Peer: presence.PeerID(user)}, &state); err != nil {
				t.Fatal(err)
			}
			status := state.Summary().At(at, service.Rules()).Status
			if checked++; (status == presence.Online) != want {
				t.Fatalf("on day %d %s is shown %v; connected: %v\n%+v\n%+v", (at-begin)/86_400_000, user, status, want, state.Sessions, state.Slots)
			}
			if want {
				online++
			}
		}
	}
	if checked < 5000 || online < checked/4 || online > checked*3/4 || moved[true] < 500 || moved[false] < 500 {
		t.Errorf("the story is too tame: %d looks, %d online, reports by service %v", checked, online, moved)
	}
}

func callTencent(t *testing.T, handler http.Handler, d delivery, at presence.Millis) {
	t.Helper()
	action, reason, when := "Login", "Register", d.stay.from
	if !d.begins {
		action, reason, when = "Logout", "Unregister", d.stay.to
	}
	stamp := fmt.Sprint(int64(at) / 1000)
	sum := sha256.Sum256([]byte(secret + stamp))
	body := fmt.Sprintf(`{"CallbackCommand":"State.StateChange","EventTime":%d,"Info":{"Action":"%s","To_Account":"%s","Reason":"%s"}}`, when, action, d.stay.user, reason)
	r := httptest.NewRequest(http.MethodPost, webhook.Prefix+"one/tencent?SdkAppid=1400000000&OptPlatform="+d.stay.class+
		"&RequestTime="+stamp+"&Sign="+hex.EncodeToString(sum[:]), strings.NewReader(body))
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}
