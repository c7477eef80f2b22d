package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"rollcall/intake"
	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/server/config"
)

const hookKey = "testHookKey00000000001"

func TestWhatStandsLaterCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("listen: :1\nadmin: 127.0.0.1:2\ndata: file\nsweep: 100ms\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := config.Load(t.Context(), config.Sources{
		File:    file,
		Environ: []string{"LEANCLOUD_APP_PORT=4", "ROLLCALL_ADMIN=127.0.0.1:5", "ROLLCALL_DATA=variable", "LEANCLOUD_APP_ID=x", "LEANCLOUD_APP_HOOK_KEY=" + hookKey},
		Flags:   []config.Flag{{Key: "data", Value: "flag", Name: "--data"}},
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
	cfg, warnings, err := config.Load(t.Context(), config.Sources{File: file, Environ: []string{"ROLLCALL_PROXIES=127.0.0.1", "ROLLCALL_GATE_PROXIES=172.16.0.0/12"}})
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
	cfg, _, err := config.Load(t.Context(), config.Sources{File: file, Environ: []string{"LEANCLOUD_APP_ID=b", "LEANCLOUD_APP_KEY=cccccccccccccccc"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Apps) != 2 || cfg.Apps[1].AppKey.Reveal() != "cccccccccccccccc" {
		t.Errorf("got %d apps, the second with %q", len(cfg.Apps), cfg.Apps[1].AppKey.Reveal())
	}
}

func TestTheDefaultsAreValid(t *testing.T) {
	if _, warnings, err := config.Load(t.Context(), config.Sources{}); err != nil || len(warnings) != 0 {
		t.Error(err, warnings)
	}
}

// The ranges of leases and holds end where reports of more are refused.
func TestRangesEndAtTheBoundsOfReports(t *testing.T) {
	cfg := config.Default()
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
	cfg := config.Default()
	for _, k := range configload.Keys(&cfg) {
		value := map[string]string{"int": "-1", "int64": "-1", "float64": "-1", "Duration": "-15h"}[k.Type.Name()]
		if value == "" {
			continue
		}
		if k.Range == "" {
			t.Errorf("%s has no range", k.Path)
		}
		_, _, err := config.Load(t.Context(), config.Sources{Flags: []config.Flag{{Key: k.Path, Value: value, Name: "--it"}}})
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

// What a room is given beside its settings stands in its Deps.
func TestSettingsHoldNoDependencies(t *testing.T) {
	var walk func(path string, v reflect.Type) int
	walk = func(path string, v reflect.Type) (fields int) {
		if v.Kind() == reflect.Slice {
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.Func, reflect.Pointer, reflect.Interface, reflect.Chan:
			t.Errorf("%s is a %s; it belongs into the Deps of its room", path, v)
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Field(i); f.IsExported() {
					fields += 1 + walk(path+"."+f.Name, f.Type)
				}
			}
		}
		return fields
	}
	if n := walk("Config", reflect.TypeFor[config.Config]()); n < 100 {
		t.Errorf("found %d settings; the walk is wrong", n)
	}
}
