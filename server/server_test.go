package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/edge/operator"
	"rollcall/server"
	"rollcall/server/config"
)

const (
	appID     = "rollcallTestAppId000001"
	appKey    = "testAppKey0000000000001"
	masterKey = "testMasterKey0000000001"
	hookKey   = "testHookKey00000000001"
)

// settings are those of a server on free ports, in memory, with one app.
func settings() config.Config {
	cfg := config.Default()
	cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.Sweep = 50 * time.Millisecond
	cfg.Apps = []config.App{{ID: appID, AppKey: appKey, MasterKey: masterKey, HookKey: hookKey}}
	return cfg
}

func start(t *testing.T, cfg config.Config) *server.Server {
	t.Helper()
	s, err := server.New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// ask sends a request on a connection of its own and returns the status and the body.
func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	status, _, answer := exchange(t, method, url, body, headers...)
	return status, answer
}

func hook(t *testing.T, s *server.Server, name, peer string) {
	t.Helper()
	status, body := ask(t, "POST", "http://"+s.Listen()+"/1.1/functions/"+name, `{"peerId":"`+peer+`","closeCode":1}`,
		"X-LC-Id", appID, "X-LC-Key", appKey, "X-LC-Hook-Key", hookKey)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", name, status, body)
	}
}

func TestOperatorsSeeLifeAndReadiness(t *testing.T) {
	s := start(t, settings())
	for path, want := range map[string]string{"/livez": "alive", "/readyz": "ready", "/status": `"phase": "ready"`} {
		if status, body := ask(t, "GET", "http://"+s.Admin()+path, ""); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/livez", "/metrics", "/status", "/v1/peer/why?id=tom", "/debug/pprof/"} {
		if status, _ := ask(t, "GET", "http://"+s.Listen()+path, ""); status == http.StatusOK {
			t.Errorf("apps reach %s", path)
		}
	}
}

func TestALeaseEndsByItself(t *testing.T) {
	s := start(t, settings()) // an empty store has nothing to wait for: leases run at once
	report := fmt.Sprintf(`{"events":[{"peer":"tom","session":"s","state":"online","time":%d,"ttl":1}]}`, time.Now().UnixMilli())
	status, body := ask(t, "POST", "http://"+s.Listen()+"/v1/events", report, "X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	if status != http.StatusOK || !strings.Contains(body, `"accepted":1`) {
		t.Fatalf("%d %s", status, body)
	}
	// The sweep, not the question, writes what ran out and counts it.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if statusOf(t, s).Expired["expired"] == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a lease of 1s has not ended after 10s")
		}
	}
	status, body = ask(t, "GET", "http://"+s.Admin()+"/v1/peer/why?id=tom", "")
	for _, want := range []string{`"status":"offline"`, `"cause":"expired"`, "without another report"} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("an operator is answered %d %s, without %s", status, body, want)
		}
	}
}

// statusOf returns the status that operators read.
func statusOf(t *testing.T, s *server.Server) (st operator.Status) {
	t.Helper()
	code, body := ask(t, "GET", "http://"+s.Admin()+"/status", "")
	if err := json.Unmarshal([]byte(body), &st); err != nil || code != http.StatusOK {
		t.Fatalf("the status is answered %d %s", code, body)
	}
	return st
}

func TestStopIsCleanAndRepeats(t *testing.T) {
	s := start(t, settings())
	hook(t, s, "_clientOnline", "tom")
	s.Stop(context.Background())
	s.Stop(context.Background())
	if _, err := http.Get("http://" + s.Listen() + "/"); err == nil {
		t.Error("a stopped server answers")
	}
}

func TestAStartThatFailsLeavesNothingOpen(t *testing.T) {
	cfg := settings()
	cfg.Data = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(cfg.Data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start(t.Context())
	if err == nil || config.HintOf(err) == "" {
		t.Errorf("got %v, want an error with a hint", err)
	}
	if _, err := http.Get("http://" + s.Admin() + "/livez"); err == nil {
		t.Error("the operator listener is still open")
	}
}

func TestKeysAreMadeOnceAndNeverShown(t *testing.T) {
	cfg := settings()
	cfg.Apps, cfg.Data = nil, filepath.Join(t.TempDir(), "data")
	first := start(t, cfg)
	app := first.Apps()[0]
	if !first.Made() || len(app.ID) != 24 || len(app.AppKey) != 24 || len(app.MasterKey) != 24 || len(app.HookKey) != 24 {
		t.Errorf("made %v: %+v", first.Made(), app)
	}
	text := fmt.Sprintf("%v %+v %#v %s", app, app, app, app)
	b, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", app.MasterKey, "app", app)
	for _, key := range []config.Secret{app.AppKey, app.MasterKey, app.HookKey} {
		if strings.Contains(text+string(b)+log.String(), key.Reveal()) {
			t.Errorf("a key shows: %s %s %s", text, b, log.String())
		}
	}
	first.Stop(context.Background())
	second := start(t, cfg)
	if second.Made() || second.Apps()[0] != app {
		t.Errorf("the second start has other keys: %+v", second.Apps()[0])
	}
}

func TestNoLabelOfAMetricHoldsAPeer(t *testing.T) {
	s := start(t, settings())
	hook(t, s, "_clientOnline", "somebody-we-know")
	_, body := ask(t, "GET", "http://"+s.Admin()+"/metrics", "")
	if !strings.Contains(body, `rollcall_reports_total{source="leancloud",verdict="taken"} 1`) {
		t.Errorf("the report is not counted:\n%s", body)
	}
	if age := regexp.MustCompile(`rollcall_last_report_age_seconds\{source="leancloud"\} (\S+)`).FindStringSubmatch(body); age == nil {
		t.Error("nobody can see when the source was last heard")
	} else if v, err := strconv.ParseFloat(age[1], 64); err != nil || v < 0 || v > 60 {
		t.Errorf("the last report is %s s old", age[1])
	}
	for _, no := range []string{"somebody-we-know", appKey, masterKey, hookKey} {
		if strings.Contains(body, no) {
			t.Errorf("the metrics show %q", no)
		}
	}
}
