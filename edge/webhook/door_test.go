package webhook_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/easemob"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/openim"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/store/embedded"
)

const (
	now     presence.Millis = 1767225700000
	secret                  = "a-secret-of-the-path"
	hookKey                 = "hook-key-00000000001"
)

// slowStore keeps nothing while away, until its caller goes.
type slowStore struct {
	presence.Store
	away bool
}

func (s *slowStore) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	if s.away {
		<-ctx.Done()
		return errors.Join(presence.ErrUnavailable, ctx.Err())
	}
	return s.Store.Update(ctx, keys, now, merge)
}

// doorTest is a door for two apps.
type doorTest struct {
	testing.TB
	door    *webhook.Door
	gate    *api.Gate
	intake  *intake.Intake
	handler http.Handler
	store   *slowStore
	log     bytes.Buffer
}

func openDoor(t testing.TB, list ...webhook.Source) *doorTest {
	t.Helper()
	kept, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &doorTest{TB: t, store: &slowStore{Store: kept}}
	ring, err := api.NewKeyring([]api.App{{ID: "one", MasterKey: "master-key-000000001", HookKey: hookKey}, {ID: "two", MasterKey: "master-key-000000002"}})
	if err != nil {
		t.Fatal(err)
	}
	clock := func() presence.Millis { return now }
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg := api.DefaultConfig()
	if _, bench := t.(*testing.B); bench {
		cfg.Limits = limit.Limits{}
	}
	gate := api.NewGate(cfg, api.Deps{
		Keys: ring, Proxies: proxies, Log: slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: func() int64 { return int64(now) },
	})
	d.gate = gate
	d.intake = intake.New(intake.DefaultConfig(), intake.Deps{Service: presence.NewService(d.store, presence.DefaultConfig()), Now: clock})
	d.door = webhook.New(list, webhook.Deps{Intake: d.intake, Gate: gate, Now: clock, Proxies: proxies})
	d.handler = gate.Handler(d.door.Routes())
	return d
}

func source(app presence.AppID, id presence.Source, kind webhook.Kind) webhook.Source {
	return webhook.Source{App: app, ID: id, Kind: kind, Secret: secret, Lease: time.Hour, Hold: time.Second, Insecure: true}
}

const online = `{"event":"client.connected","username":"u1","clientid":"c1","timestamp":1767225600123,"connected_at":1767225600123}`

func request(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.RemoteAddr = "203.0.113.7:4711"
	r.Header.Set("Authorization", "Bearer "+secret)
	return r
}

// expect sends r and wants an answer of status.
func (d *doorTest) expect(name string, r *http.Request, status int) *httptest.ResponseRecorder {
	d.Helper()
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if w.Code != status {
		d.Errorf("%s: %d %.200s, want %d", name, w.Code, w.Body, status)
	}
	return w
}

func TestDoor_findsSourcesByTheirAppAndName(t *testing.T) {
	one, two := source("one", "hub", emqx.Kind{}), source("two", "hub", emqx.Kind{})
	two.Secret = "another-secret-000"
	d := openDoor(t, one, two)
	d.expect("its own", request("/ingest/one/hub", online), 200)
	d.expect("of another app under the same name", request("/ingest/two/hub", online), 401)
	for _, path := range []string{"/ingest/one/none", "/ingest/none/hub", "/ingest/one%2Fhub/x", "/ingest/o%6Ee/hub%00", "/ingest/one", "/ingest/", "/ingest/one/"} {
		d.expect(path, request(path, online), 404)
	}
	d.expect("an escaped letter", request("/ingest/o%6Ee/hub", online), 200)
	for _, path := range []string{"/ingest//hub", "/ingest/one/../hub", "/ingest/one//hub"} {
		d.expect(path, request(path, online), 400)
	}
	r := request("/ingest/one/hub", "")
	r.Method = http.MethodGet
	d.expect("GET", r, 405)
	r.Method = http.MethodHead
	d.expect("HEAD", r, 405)
	r.Method = http.MethodOptions
	d.expect("OPTIONS", r, 204)
	if n := len(d.door.Counts()); n != 2*10+2 { // one of them has had an event
		t.Errorf("strangers' names make %d counts, want those of two sources", n)
	}
}

func TestDoor_allow(t *testing.T) {
	s := source("one", "hub", emqx.Kind{})
	s.Secret, s.Insecure = "", false
	s.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	d := openDoor(t, s)
	for _, c := range []struct {
		socket, forwarded string
		status            int
	}{
		{"203.0.113.7:1", "", 200},
		{"198.51.100.7:1", "", 403},
		{"[2001:db8::7]:1", "", 200},
		{"[2001:db9::7]:1", "", 403},
		{"[::ffff:203.0.113.7]:1", "", 200},
		{"198.51.100.7:1", "203.0.113.7", 403},
		{"127.0.0.1:1", "203.0.113.7", 200},
		{"127.0.0.1:1", "203.0.113.7, 198.51.100.7", 403},
		{"127.0.0.1:1", "", 403},
	} {
		r := request("/ingest/one/hub", online)
		r.RemoteAddr = c.socket
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		d.expect(c.socket+" for "+c.forwarded, r, c.status)
	}
}

func TestDoor_insecure(t *testing.T) {
	s := source("one", "hub", emqx.Kind{})
	d := openDoor(t, s)
	d.expect("plain HTTP, where that is allowed", request("/ingest/one/hub", online), 200)
	s.Insecure = false
	d.door.Replace([]webhook.Source{s})
	for _, c := range []struct {
		socket string
		proto  []string
		status int
	}{
		{"203.0.113.7:1", nil, 403},
		{"203.0.113.7:1", []string{"https"}, 403},
		{"127.0.0.1:1", []string{"HTTPS"}, 200},
		{"127.0.0.1:1", []string{"http"}, 403},
		{"127.0.0.1:1", []string{"https", "http"}, 403},
		{"127.0.0.1:1", []string{"https, http"}, 403},
		{"127.0.0.1:1", nil, 403},
	} {
		r := request("/ingest/one/hub", online)
		r.RemoteAddr = c.socket
		r.Header["X-Forwarded-Proto"] = c.proto
		d.expect(fmt.Sprint(c.socket, c.proto), r, c.status)
	}
	if st := d.door.Stats()[0]; st.Unproven != 6 || st.Calls != 8 {
		t.Errorf("%d of %d calls are unproven, want 6 of 8", st.Unproven, st.Calls)
	}
}

func TestDoor_replaceKeepsCounts(t *testing.T) {
	s, gone := source("one", "hub", emqx.Kind{}), source("two", "hub", emqx.Kind{})
	d := openDoor(t, s, gone)
	d.expect("before", request("/ingest/one/hub", online), 200)
	s.Secret, s.SecretOld = "a-newer-secret-000", secret
	d.door.Replace([]webhook.Source{s})
	d.expect("with the old secret", request("/ingest/one/hub", online), 200)
	d.expect("of a source that is gone", request("/ingest/two/hub", online), 404)
	if st := d.door.Stats(); len(st) != 1 || st[0].Calls != 2 || st[0].Accepted != 1 || st[0].Double != 1 {
		t.Errorf("after a change of the secret the counts are %+v, want those before and one more", st)
	}
	s.Kind = openim.Kind{}
	d.door.Replace([]webhook.Source{s})
	if n := d.door.Stats()[0].Calls; n != 0 {
		t.Errorf("of another kind it has %d calls, want none", n)
	}
}

func TestDoor_answersWithinItsTimeWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, source("one", "hub", emqx.Kind{}), source("one", "openim", openim.Kind{}))
		d.store.away = true
		start := time.Now()
		w := d.expect("a plain kind", request("/ingest/one/hub", online), 503)
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("the answer took %v, want 1.5 s", took)
		}
		if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"unavailable"`) {
			t.Errorf("the answer is %v %s", w.Header(), w.Body)
		}
		d.expect("one with an answer of its own", request("/ingest/one/openim/"+secret, `{"callbackCommand":"callbackAfterUserOnlineCommand","userID":"u1"}`), 503)
		if st := d.door.Stats()[0]; st.Failed != 1 || st.Accepted != 0 || st.LastEvent != 0 {
			t.Errorf("the counts are %+v, want one failed call", st)
		}
	})
}

// countedBody counts what is read of it.
type countedBody struct {
	io.Reader
	n *int
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	*b.n += n
	return n, err
}

func TestDoor_readsNoBodyOfAStranger(t *testing.T) {
	d := openDoor(t, source("one", "hub", emqx.Kind{}), source("one", "easemob", easemob.Kind{}))
	read := 0
	r := request("/ingest/one/hub", "")
	r.Body, r.ContentLength = io.NopCloser(countedBody{strings.NewReader(online), &read}), int64(len(online))
	r.Header.Set("Authorization", "Bearer wrong")
	if d.expect("a wrong secret", r, 401); read != 0 {
		t.Errorf("%d bytes of it are read, want none", read)
	}
	r = request("/ingest/one/easemob", "")
	r.Body, r.ContentLength = io.NopCloser(countedBody{strings.NewReader(strings.Repeat(" ", 1<<20)), &read}), -1
	if d.expect("a large body of a kind with the proof in it", r, 413); read > 64<<10+1 {
		t.Errorf("%d bytes of it are read, want 64 KiB at most", read)
	}
	sum := md5.Sum([]byte("id" + secret + "1767225600123"))
	body := `{"callId":"id","timestamp":1767225600123,"security":"` + hex.EncodeToString(sum[:]) + `","appkey":"a#b","user":"a#b_u1@x/ios_1","status":"online"}`
	d.expect("one of that kind", request("/ingest/one/easemob", body), 200)
}

func TestDoor_theRateOfStrangers(t *testing.T) {
	d := openDoor(t, source("one", "hub", emqx.Kind{}))
	limited := 0
	for range 250 {
		r := request("/ingest/one/hub", online)
		r.Header.Set("Authorization", "Bearer wrong")
		w := httptest.NewRecorder()
		if d.handler.ServeHTTP(w, r); w.Code == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("250 wrong secrets are refused at no rate")
	}
	d.expect("the product at the same address", request("/ingest/one/hub", online), 200)
}

// TestDoor_theSecretOfThePathIsShownNowhere: neither in an answer nor in the log, at any level.
func TestDoor_theSecretOfThePathIsShownNowhere(t *testing.T) {
	d := openDoor(t, source("one", "openim", openim.Kind{}))
	for _, path := range []string{"/ingest/one/openim/", "/ingest/one/other/", "/ingest/none/openim/", "/ingest//openim/", "/ingest/one/openim/x/"} {
		for _, method := range []string{"POST", "PUT", "GET", "HEAD", "DELETE"} {
			r := request(path+secret, `{"callbackCommand":`)
			r.Method = method
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, r)
			if answer := fmt.Sprint(w.Header(), w.Body); strings.Contains(answer, secret) {
				t.Errorf("%s %s: the answer shows the secret: %s", method, path, answer)
			}
		}
	}
	if strings.Contains(d.log.String(), secret) {
		t.Errorf("the log shows the secret: %s", &d.log)
	}
}
