package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"rollcall/internal/configload"
	"rollcall/server"
	"rollcall/server/config"
)

// A written is a configuration that tests write anew.
type written struct{ yaml atomic.Value }

func (w *written) load(context.Context) (config.Loaded, error) {
	cfg := config.Default()
	l := configload.New(&cfg)
	l.YAML("c.yaml", []byte(w.yaml.Load().(string)))
	l.Finish()
	return config.Loaded{Config: cfg, Settings: l.Settings()}, l.Err()
}

const theApp = "apps:\n- {id: " + appID + ", app_key: " + appKey + ", master_key: " + masterKey + ", hook_key: " + hookKey + "}\n"

// reloadable starts a server with what is written in yaml, on free ports, and returns what writes
// it.
func reloadable(t *testing.T, yaml string) (*server.Server, *written) {
	t.Helper()
	w := &written{}
	w.yaml.Store("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: \"\"\n" + yaml)
	loaded, err := w.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(loaded.Config, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.OnReload(server.Live{Load: w.load, Loaded: loaded, Level: new(slog.LevelVar)})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s, w
}

func (w *written) write(yaml string) {
	w.yaml.Store("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: \"\"\n" + yaml)
}

// Reloads come while keys are rotated back and forth. A call with a key that is right before and
// after each is never refused.
func TestAReloadRefusesNoKeyThatStays(t *testing.T) {
	rotated := strings.ReplaceAll(theApp, "}", ", app_key_old: anOldAppKey00000000001, master_key_old: anOldMasterKey00000001}")
	swapped := strings.NewReplacer("app_key: "+appKey, "app_key: anOldAppKey00000000001", "app_key_old: anOldAppKey00000000001", "app_key_old: "+appKey).Replace(rotated)
	s, w := reloadable(t, theApp)
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for i := range 4 {
		calls.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				body := fmt.Sprintf(`{"peerIds":["p%d"]}`, i)
				r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+s.Listen()+"/1.1/functions/getOnOffStatus", strings.NewReader(body))
				r.Header.Set("X-LC-Id", appID)
				r.Header.Set("X-LC-Key", appKey)
				r.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("call %d: %d %s", n, resp.StatusCode, b)
					return
				}
			}
		})
	}
	socket := greeted(t, s)
	var reloads sync.WaitGroup
	for i := range 2 {
		reloads.Go(func() {
			for n := range 50 {
				w.write([]string{theApp, rotated, swapped}[(n+i)%3])
				if _, err := s.Reload(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reloads.Wait()
	close(stop)
	calls.Wait()
	if refused := socket.say(`{"op":"present","peer":"tom","id":2}`); refused != "" {
		t.Errorf("a socket from before the reloads is refused: %s", refused)
	}
}

// An app that is gone takes its sockets and streams with it, and its sessions are lost; those of
// the other app stay.
func TestAReloadEndsWhatBelongsToAnAppThatIsGone(t *testing.T) {
	const other = "- {id: other, app_key: theOtherAppKey0000001, master_key: theOtherMasterKey0001}\n"
	s, w := reloadable(t, theApp+other)
	gone := greeted(t, s)
	if refused := gone.say(`{"op":"present","peer":"tom","id":2}`); refused != "" {
		t.Fatal(refused)
	}
	idle := greeted(t, s) // has said hello, and no more
	codes := make(chan websocket.StatusCode, 2)
	for _, c := range []*wire{gone, idle} {
		go func() {
			_, _, err := c.Read(context.Background())
			codes <- websocket.CloseStatus(err)
		}()
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Listen()+"/v1/watch?peer=tom", nil)
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("Authorization", "Bearer "+masterKey)
	stream, err := http.DefaultClient.Do(r)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatal(err, stream)
	}
	w.write("apps:\n" + other)
	done, err := s.Reload(t.Context())
	if err != nil || len(done.Changed) != 1 || done.Changed[0].Key != "apps["+appID+"]" || done.Changed[0].Now != "" {
		t.Fatalf("the reload says %+v, %v", done, err)
	}
	for range 2 {
		if code := <-codes; code != 4100 {
			t.Errorf("a socket of the app was closed with %d, want 4100", code)
		}
	}
	if b, _ := io.ReadAll(stream.Body); !strings.Contains(string(b), "bye") || !strings.Contains(string(b), "expired") {
		t.Errorf("the stream ended with %s", b)
	}
	_ = stream.Body.Close()
	if status, body := ask(t, "GET", "http://"+s.Listen()+"/v1/peer?id=tom", "", "X-LC-Id", appID, "X-LC-Key", appKey); status != http.StatusUnauthorized {
		t.Errorf("the app is answered %d %s", status, body)
	}
	if status, body := ask(t, "GET", "http://"+s.Listen()+"/v1/peer?id=tom", "", "X-LC-Id", "other", "X-LC-Key", "theOtherAppKey0000001"); status != http.StatusOK {
		t.Errorf("the other app is answered %d %s", status, body)
	}
	w.write(theApp + other)
	if done, err = s.Reload(t.Context()); err != nil || len(done.Changed) != 1 || done.Changed[0].Was != "" {
		t.Fatalf("the reload says %+v, %v", done, err)
	}
	status, body := ask(t, "GET", "http://"+s.Listen()+"/v1/peer?id=tom", "", "X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	if status != http.StatusOK || !strings.Contains(body, `"status":"offline"`) || !strings.Contains(body, `"cause":"lost"`) {
		t.Errorf("back again, tom is %d %s", status, body)
	}
	if status, body = ask(t, "GET", "http://"+s.Listen()+"/v1/stats", "", "X-LC-Id", appID, "Authorization", "Bearer "+masterKey); status != http.StatusOK {
		t.Errorf("the statistics of an app that came by a reload: %d %s", status, body)
	}
}

// What is wrong changes nothing and says where; what waits for a start is named, again at each
// reload, and no secret is in an answer.
func TestAReloadSaysWhatItDid(t *testing.T) {
	s, w := reloadable(t, theApp)
	post := func(head ...string) (int, string) { return ask(t, "POST", "http://"+s.Admin()+"/reload", "", head...) }
	w.write(theApp + "sweep: 100ms\ngate: {limits: {ask: {per_second: x}}}\n")
	if status, body := post(); status != http.StatusUnprocessableEntity || !strings.Contains(body, `"where": "c.yaml:7:35"`) {
		t.Errorf("a mistake is answered %d %s", status, body)
	}
	w.write(strings.ReplaceAll(theApp, masterKey, "anotherMasterKey00001") + "sweep: 100ms\ngate: {limits: {ask: {per_second: 1, burst: 1}}}\n")
	for _, want := range [][]string{
		{`"key": "gate.limits.ask.per_second"`, `"now": "1"`, `"key": "apps[` + appID + `].master_key"`, `"was": "sha256:`, `"key": "sweep"`, `"was": "500ms"`},
		{`"changed": null`, `"key": "sweep"`},
	} {
		status, body := post()
		for _, part := range want {
			if status != http.StatusOK || !strings.Contains(body, part) {
				t.Errorf("a reload is answered %d %s, without %s", status, body, part)
			}
		}
		if strings.Contains(body, "anotherMasterKey") || strings.Contains(body, masterKey) {
			t.Errorf("a key is in the answer: %s", body)
		}
	}
	question := func() int {
		status, _ := ask(t, "GET", "http://"+s.Listen()+"/v1/peer?id=tom", "", "X-LC-Id", appID, "X-LC-Key", appKey)
		return status
	}
	if first, second := question(), question(); first != http.StatusOK || second != http.StatusTooManyRequests {
		t.Errorf("at one call a second the calls are answered %d and %d", first, second)
	}
	status, body := ask(t, "GET", "http://"+s.Admin()+"/config", "")
	for _, part := range []string{`"key": "sweep",` + "\n" + `      "value": "500ms",` + "\n" + `      "from": "default"`, `"from": "c.yaml:7:35"`, configload.Fingerprint("anotherMasterKey00001")} {
		if status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("the settings in force are answered %d, without %s", status, part)
		}
	}
	if strings.Contains(body, "anotherMasterKey") {
		t.Error("a key is among the settings")
	}
	if status, body := post("Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("a page of another origin is answered %d %s", status, body)
	}
	plain := start(t, settings())
	if _, err := plain.Reload(t.Context()); err == nil {
		t.Error("a server without sources of its settings was reloaded")
	}
}

// A connection that stays open is judged by the keys of today, in the fast lane too, and each use
// of an old key counts.
func TestAConnectionIsJudgedByTheKeysInForce(t *testing.T) {
	s, w := reloadable(t, theApp)
	c := &http.Client{Transport: &http.Transport{MaxIdleConns: 1}}
	t.Cleanup(c.CloseIdleConnections)
	question := func() int {
		r := do(t, c, http.MethodPost, "http://"+s.Listen()+"/1.1/functions/getOnOffStatus", `{"peerIds":["tom"]}`,
			"X-LC-Id", appID, "X-LC-Key", appKey, "Content-Type", "application/json")
		_ = read(t, r)
		return r.StatusCode
	}
	rotated := strings.ReplaceAll(theApp, "app_key: "+appKey, "app_key: theNextAppKey00000001, app_key_old: "+appKey)
	for _, step := range []struct {
		yaml string
		want int
	}{{theApp, 200}, {rotated, 200}, {strings.ReplaceAll(theApp, appKey, "theNextAppKey00000001"), 401}, {theApp, 200}, {"apps: [{id: other, app_key: theOtherAppKey0000001}]\n", 401}} {
		w.write(step.yaml)
		if _, err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := question(); got != step.want {
				t.Errorf("with %s: %d, want %d", step.yaml, got, step.want)
			}
		}
		if step.yaml == rotated {
			_, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", "")
			if want := `rollcall_old_key_uses_total{app="` + appID + `",key="app_key_old"} 3`; !strings.Contains(metrics, want) {
				t.Errorf("%s is not in the metrics", want)
			}
		}
	}
}
