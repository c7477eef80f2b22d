package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMisuse(t *testing.T) {
	for _, args := range []string{"-servers nope", "-works query-20,nope", "-peers 10", "-seconds 0", "-rounds 0", "-nope", "extra", "-conns 100 -peers 1999"} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &stderr, &stderr); code != 2 {
			t.Errorf("%s: exit code %d, want 2 (%s)", args, code, &stderr)
		}
	}
	if code := run(t.Context(), []string{"-h"}, &bytes.Buffer{}, &bytes.Buffer{}); code != 0 {
		t.Errorf("-h: exit code %d, want 0", code)
	}
}

func TestParse(t *testing.T) {
	o, err := parse(strings.Fields("-servers rollcall,constant -works mixed -quick -rounds 3"), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(o.servers), " "); got != "constant rollcall" {
		t.Errorf("servers %s, want the order of the table", got)
	}
	if got := strings.Join(names(o.works), " "); got != "mixed" {
		t.Errorf("works %s", got)
	}
	if o.rounds != 3 || o.peers != 20_000 || !o.named {
		t.Errorf("a quick run of 3 rounds is %+v", o)
	}
}

func TestAStoppedRunFailsAndLeavesNothing(t *testing.T) {
	if err := checkHost(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if code := run(ctx, []string{"-quick", "-servers", "constant", "-dir", dir}, &out, &out); code != 1 {
		t.Errorf("exit code %d, want 1 (%s)", code, &out)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheWholeRoad(t *testing.T) {
	if err := checkHost(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "out.json")
	var stdout, stderr bytes.Buffer
	args := []string{"-quick", "-servers", nameConstant, "-works", "query-20,hooks,open-loop", "-rounds", "2", "-seconds", "0.05", "-dir", dir, "-json", file}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for _, want := range []string{"## query-20", "## hooks", "## open-loop", "| constant"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, &stdout)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Results) != 3 || len(rep.Results[0].Windows) != 2 || rep.Results[0].CPU <= 0 {
		t.Errorf("the figures are %s", b)
	}
}

func TestARevisionIsMeasuredBesideTheWorkingTree(t *testing.T) {
	if err := checkHost(); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	args := []string{"-quick", "-servers", nameEmbedded, "-before", "HEAD", "-works", "query-20", "-peers", "1000", "-dir", t.TempDir()}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for _, want := range []string{"| " + nameBefore, "× " + nameEmbedded, "as it was at HEAD"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, &stdout)
		}
	}

	stderr.Reset()
	args[4] = "no-such-revision"
	if code := run(t.Context(), args, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "build revision no-such-revision") {
		t.Errorf("a revision that is not there: exit code %d, %s", code, &stderr)
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	rep := &report{samples: map[[2]string][]sample{}, works: works[:1]}
	cost := func(d time.Duration) sample {
		return sample{length: time.Second, answered: 1, used: map[string]time.Duration{"x": d}}
	}
	w, floor, other := works[0], &target{name: nameConstant}, &target{name: "other"}
	// The machine is at half speed in the second round: no ratio may see that.
	for _, slow := range []time.Duration{1, 2, 1} {
		rep.add(w, floor, cost(10*time.Microsecond*slow))
		rep.add(w, other, cost(15*time.Microsecond*slow))
	}
	got := rep.result(w, other)
	if got.OverConstant == nil || *got.OverConstant != 1.5 {
		t.Errorf("ratio %v, want 1.5", got.OverConstant)
	}
	if got.UnderNode != nil {
		t.Errorf("a ratio to a server that did not run: %v", *got.UnderNode)
	}
	if got.CPU != 15 || got.CPUMin != 15 || got.CPUMax != 30 {
		t.Errorf("cost %v (%v to %v), want 15 (15 to 30)", got.CPU, got.CPUMin, got.CPUMax)
	}
	var out bytes.Buffer
	rep.markdown(&out)
	if !strings.Contains(out.String(), "1.50 ×") || !strings.Contains(out.String(), "–") {
		t.Errorf("the report is\n%s", &out)
	}
}

func TestNearCachesAreSetBesideTheEmbeddedStore(t *testing.T) {
	w := works[0]
	rep := &report{samples: map[[2]string][]sample{}, works: works[:1]}
	here := &target{name: nameEmbedded}
	warm := &target{name: "warm", cached: func(context.Context) (float64, float64, error) { return 0, 0, nil }}
	for _, misses := range []float64{0, 30} {
		rep.add(w, here, sample{length: time.Second, answered: 1, used: map[string]time.Duration{"x": 20 * time.Microsecond}})
		rep.add(w, warm, sample{length: time.Second, answered: 1, used: map[string]time.Duration{"x": 25 * time.Microsecond}, hits: 1000 - misses, misses: misses})
	}
	if got := rep.result(w, here); got.OverEmbedded != nil || got.CacheHits != nil {
		t.Errorf("the embedded store is compared with itself: %v, %v", got.OverEmbedded, got.CacheHits)
	}
	var out bytes.Buffer
	rep.markdown(&out)
	if !strings.Contains(out.String(), "1.25 ×") || !strings.Contains(out.String(), "98.50 %") {
		t.Errorf("the report is\n%s", &out)
	}
}
