//go:build faults && linux

package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A fault is made on a real server, and has its alerts fire.
type fault struct {
	name  string
	fires []string // and no other
	make  func(s *scene)
}

// Every alert has a fault here; TestTheRulesAskForMetricsThatExist looks for it.
var faults = []fault{
	{"server killed", []string{"RollcallNotReady"}, serverKilled},
	{"disk full", []string{"RollcallStoreTrouble"}, diskFull},
	{"disk hangs", []string{"RollcallGhostBound"}, diskHangs},
	{"redis killed", []string{"RollcallStoreTrouble", "RollcallSpoolGrowing", "RollcallGhostBound"}, redisKilled},
	{"watchers do not read", []string{"RollcallWatchersSlow"}, slowWatchers},
	{"connections are used up", []string{"RollcallSocketsNear"}, manyConnections},
	{"reports come late", []string{"RollcallLateShare"}, lateReports},
	{"source falls silent", []string{"RollcallSourceSilent"}, silentSource},
	{"source has another secret", []string{"RollcallSourceUnproven"}, wrongSecret},
	{"product answers an empty list", []string{"RollcallReconcileBraked"}, emptyList},
	{"product refuses the key", []string{"RollcallReconcileRefused", "RollcallReconcileStale"}, keyRefused},
	{"clock ahead", []string{"RollcallClockWrong"}, clockAhead},
	{"app refuses its hooks", []string{"RollcallHooksFailing"}, hooksFail},
	{"receiver refuses changes", []string{"RollcallChangesNotTaken"}, changesRefused},
	{"offlines are not reported", []string{"RollcallMissingOfflines"}, noOfflines},
	{"certificate near its end", []string{"RollcallCertificateEnds"}, oldCertificate},
}

// TestFaultAlertsFire: what a server shows under a fault has the alerts of the fault fire, and
// before the fault none.
func TestFaultAlertsFire(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := &scene{T: t}
			f.make(s)
			s.judge(f.fires)
		})
	}
}

// TestFaultACalmServerFiresNone: a server with reports, sockets, watchers and hooks has no alert
// pending, on disk and on Redis.
func TestFaultACalmServerFiresNone(t *testing.T) {
	for name, calm := range map[string]func(*scene){"disk": calmOnDisk, "redis": calmOnRedis} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scene{T: t}
			calm(s)
			s.calm = len(s.scrapes)
			s.judge(nil)
		})
	}
}

// A scene is the scrapes of one server. Time is stretched: a scrape stands for one every quarter of
// a minute, as docs/monitoring.md has Prometheus ask.
type scene struct {
	*testing.T
	config  string              // a file of settings; "" for none
	scrapes []map[string]string // value by series
	calm    int                 // how many of them are from before the fault
}

// judge has the rules evaluated over the scrapes: before the fault nothing is firing, at the end
// the alerts that are wanted are, and no other.
func (s *scene) judge(wanted []string) {
	s.Helper()
	if s.calm < 8 {
		s.Fatalf("%d scrapes before the fault", s.calm)
	}
	var b strings.Builder
	rules, err := filepath.Abs("prometheus/rules.yml")
	if err != nil {
		s.Fatal(err)
	}
	fmt.Fprintf(&b, "rule_files: [%s]\nevaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n", rules)
	for _, series := range s.series() {
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", series, s.values(series))
	}
	b.WriteString("    promql_expr_test:\n")
	expect := func(step int, expr string, want int) {
		fmt.Fprintf(&b, "      - {expr: 'count(%s) or vector(0)', eval_time: %ds, exp_samples: [{labels: '{}', value: %d}]}\n", expr, 15*step, want)
	}
	expect(s.calm-1, `ALERTS`, 0)
	for _, alert := range wanted {
		expect(len(s.scrapes)-1, `count by (alertname) (ALERTS{alertname="`+alert+`",alertstate="firing"})`, 1)
	}
	expect(len(s.scrapes)-1, `ALERTS{alertname!~"`+strings.Join(wanted, "|")+`"}`, 0)
	file := filepath.Join(s.TempDir(), "test.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		s.Fatal(err)
	}
	if out, err := exec.Command("promtool", "test", "rules", file).CombinedOutput(); err != nil {
		s.Errorf("promtool: %v\n%s\n%s", err, out, b.String())
	}
}

// series returns the series of the scrapes that the rules ask for.
func (s *scene) series() []string {
	rules, err := os.ReadFile("prometheus/rules.yml")
	if err != nil {
		s.Fatal(err)
	}
	asked := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(rollcall_\w+|up)\b`).FindAllString(string(rules), -1) {
		asked[name] = true
	}
	found := map[string]bool{}
	for _, scrape := range s.scrapes {
		for series := range scrape {
			if name, _, _ := strings.Cut(series, "{"); asked[name] {
				found[series] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// values returns what the scrapes have of a series, as promtool reads them.
func (s *scene) values(series string) string {
	list := make([]string, len(s.scrapes))
	for i, scrape := range s.scrapes {
		list[i] = "_"
		if v, ok := scrape[series]; ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				s.Fatalf("%s is %q", series, v)
			}
			list[i] = strconv.FormatFloat(n, 'f', -1, 64)
		}
	}
	return strings.Join(list, " ")
}

// stretch has the ages in a series grow as slowly as the scrapes are apart, when a scrape really is
// for so many milliseconds.
func (s *scene) stretch(name string, really float64) {
	for _, scrape := range s.scrapes {
		for series, v := range scrape {
			if strings.HasPrefix(series, name+"{") {
				n, err := strconv.ParseFloat(v, 64)
				if err != nil {
					s.Fatal(err)
				}
				scrape[series] = strconv.FormatFloat(n*15_000/really, 'f', -1, 64)
			}
		}
	}
}
