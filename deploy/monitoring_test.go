// Package deploy_test holds what operators install to what the server gives.
package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// exists are the metrics of the server, with those of the process and of Prometheus itself.
func exists(t *testing.T) map[string]bool {
	t.Helper()
	source, err := os.ReadFile("../edge/operator/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"up": true, "process_resident_memory_bytes": true, "process_cpu_seconds_total": true}
	for _, m := range regexp.MustCompile(`"(rollcall_\w+)"`).FindAllStringSubmatch(string(source), -1) {
		names[m[1]] = true
	}
	if len(names) < 20 {
		t.Fatalf("%d metrics; the search is wrong", len(names))
	}
	return names
}

// used returns the metrics that a query names.
func used(query string) []string {
	return regexp.MustCompile(`\b(rollcall_\w+|process_\w+|up)\b`).FindAllString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(query, ""), -1)
}

func check(t *testing.T, names map[string]bool, where, query string) {
	t.Helper()
	found := used(query)
	if len(found) == 0 {
		t.Errorf("%s: %q names no metric", where, query)
	}
	for _, name := range found {
		if !names[name] && !names[strings.TrimSuffix(name, "_bucket")] {
			t.Errorf("%s asks for %s, which no server gives", where, name)
		}
	}
}

func TestTheBoardAsksForMetricsThatExist(t *testing.T) {
	b, err := os.ReadFile("grafana/rollcall.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID          int
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	names, ids, queries := exists(t), map[int]bool{}, 0
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			check(t, names, p.Title, target.Expr)
			queries++
		}
	}
	if queries < 20 {
		t.Errorf("%d queries", queries)
	}
}

func TestTheRulesAskForMetricsThatExist(t *testing.T) {
	b, err := os.ReadFile("prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	faults, err := os.ReadFile("alerts_faults_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := exists(t)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			check(t, names, r.Alert, r.Expr)
			if !strings.Contains(string(tests), `count(ALERTS{alertname="`+r.Alert+`"`) {
				t.Errorf("no test has %s fire", r.Alert)
			}
			if !strings.Contains(string(faults), `"`+r.Alert+`"`) {
				t.Errorf("no fault has %s fire", r.Alert)
			}
		}
	}
}

func TestTheRulesFire(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "prometheus/rules.yml"}, {"test", "rules", "prometheus/rules_test.yml"}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
