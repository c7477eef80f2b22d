package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"rollcall/intake"
	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/server"
)

const (
	appID     = "rollcallTestAppId000001"
	appKey    = "testAppKey0000000000001"
	masterKey = "testMasterKey0000000001"
	hookKey   = "testHookKey00000000001"
)

// settings are those of a server on free ports, in memory, with one app.
func settings() server.Config {
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.Sweep = 50 * time.Millisecond
	cfg.Apps = []server.App{{ID: appID, AppKey: appKey, MasterKey: masterKey, HookKey: hookKey}}
	return cfg
}

func start(t *testing.T, cfg server.Config) *server.Server {
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
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
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
	if err == nil || server.HintOf(err) == "" {
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
	for _, key := range []server.Secret{app.AppKey, app.MasterKey, app.HookKey} {
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

func TestWhatStandsLaterCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("listen: :1\nadmin: 127.0.0.1:2\ndata: file\nsweep: 100ms\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := server.Load(t.Context(), server.Sources{
		File:    file,
		Environ: []string{"LEANCLOUD_APP_PORT=4", "ROLLCALL_ADMIN=127.0.0.1:5", "ROLLCALL_DATA=variable", "LEANCLOUD_APP_ID=x", "LEANCLOUD_APP_HOOK_KEY=" + hookKey},
		Flags:   []server.Flag{{Key: "data", Value: "flag", Name: "--data"}},
	})
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if cfg.Listen != ":4" || cfg.Admin != "127.0.0.1:5" || cfg.Data != "flag" || cfg.Sweep != 100*time.Millisecond || cfg.HTTP.IdleTimeout != time.Minute {
		t.Errorf("got listen %s, admin %s, data %s, sweep %v", cfg.Listen, cfg.Admin, cfg.Data, cfg.Sweep)
	}
	if len(cfg.Apps) != 1 || cfg.Apps[0].ID != "x" || cfg.Apps[0].HookKey.Reveal() != hookKey {
		t.Errorf("apps: %+v", cfg.Apps)
	}
}

// Configurations of the release before go on: both of its settings for proxies add to the one of
// today.
func TestFormerNamesOfProxies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("leancloud:\n  trusted_proxies: [10.0.0.1]\ngate:\n  proxies: 192.168.0.0/16\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := server.Load(t.Context(), server.Sources{File: file, Environ: []string{"ROLLCALL_PROXIES=127.0.0.1", "ROLLCALL_GATE_PROXIES=172.16.0.0/12"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cfg.Proxies); got != "[127.0.0.1/32 172.16.0.0/12 10.0.0.1/32]" {
		t.Errorf("got %s", got)
	}
	if len(warnings) != 2 || !strings.Contains(warnings.Error(), "ROLLCALL_GATE_PROXIES: gate.proxies is deprecated; write proxies") {
		t.Errorf("warnings: %v", warnings)
	}
}

func TestVariablesOverrideTheAppOfTheSameID(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("apps:\n- {id: a, app_key: aaaaaaaaaaaaaaaa}\n- {id: b, app_key: bbbbbbbbbbbbbbbb}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := server.Load(t.Context(), server.Sources{File: file, Environ: []string{"LEANCLOUD_APP_ID=b", "LEANCLOUD_APP_KEY=cccccccccccccccc"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Apps) != 2 || cfg.Apps[1].AppKey.Reveal() != "cccccccccccccccc" {
		t.Errorf("got %d apps, the second with %q", len(cfg.Apps), cfg.Apps[1].AppKey.Reveal())
	}
}

func TestTheDefaultsAreValid(t *testing.T) {
	if _, warnings, err := server.Load(t.Context(), server.Sources{}); err != nil || len(warnings) != 0 {
		t.Error(err, warnings)
	}
}

// The ranges of leases and holds end where reports of more are refused.
func TestRangesEndAtTheBoundsOfReports(t *testing.T) {
	cfg := server.DefaultConfig()
	ends := map[string]time.Duration{
		"presence.lease": presence.MaxLease, "leancloud.hook_lease": presence.MaxLease, "gateway.kicked": presence.MaxLease,
		"rtm.token_life": presence.MaxLease, "rtm.signature_life": presence.MaxLease,
		"leancloud.hold": presence.MaxHold, "gateway.hold": presence.MaxHold, "rest.hold": presence.MaxHold,
		"rest.node_lease": intake.MaxNodeLease, "rest.drain_grace": intake.MaxNodeLease,
	}
	for _, k := range configload.Keys(&cfg) {
		if end, ok := ends[k.Path]; ok && !strings.HasSuffix(k.Range, ".."+configload.FormatDuration(end)) {
			t.Errorf("%s: range %s, want its end at %v", k.Path, k.Range, end)
		}
		delete(ends, k.Path)
	}
	if len(ends) != 0 {
		t.Errorf("no such settings: %v", ends)
	}
}

// TestEveryRoomNamesItsKeys: whatever a room finds wrong with a setting is shown where that setting
// was written.
func TestEveryRoomNamesItsKeys(t *testing.T) {
	cfg := server.DefaultConfig()
	for _, k := range configload.Keys(&cfg) {
		value := map[string]string{"int": "-1", "int64": "-1", "float64": "-1", "Duration": "-15h"}[k.Type.Name()]
		if value == "" {
			continue
		}
		if k.Range == "" {
			t.Errorf("%s has no range", k.Path)
		}
		_, _, err := server.Load(t.Context(), server.Sources{Flags: []server.Flag{{Key: k.Path, Value: value, Name: "--it"}}})
		var problems configload.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s may be %s", k.Path, value)
			continue
		}
		if problems[0].Where != "--it" || problems[0].Key != k.Path {
			t.Errorf("%s: the mistake is shown at %q, key %q: %s", k.Path, problems[0].Where, problems[0].Key, problems[0].Text)
		}
	}
}
