package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " R 5370 5370 2097 0 -1 4194304 100 0 0 0 123 45 7 8 20 0 1 0 71291 3133440 394\n"
	for _, name := range []string{"(cat)", "(a b)", "(x) R 1 2)", "((((" + ")", "(rollcall: 1 2 3)"} {
		got, err := parseStat([]byte("5375 " + name + tail))
		if want := 168 * clockTick; err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "5375 (cat) R 1 2", "5375 (cat) R 1 2 3 4 5 6 7 8 9 10 eleven 12 13"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestParseSchedstat(t *testing.T) {
	if got, err := parseSchedstat([]byte("850308258901 258901 14\n")); err != nil || got != 850308258901 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 2", "x 2 3"} {
		if got, err := parseSchedstat([]byte(bad)); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestParseStolen(t *testing.T) {
	before := parseStolen([]byte("cpu  100 0 50 800 0 0 10 40 7 7\ncpu0 1 2 3\n"))
	after := parseStolen([]byte("cpu  150 0 60 820 0 0 10 60 99 99\n"))
	if got := after.percentSince(before); got != 20 {
		t.Errorf("got %v %%, want 20: 20 ticks of 100", got)
	}
	if got := before.percentSince(before); got != 0 {
		t.Errorf("no time passed, yet %v %% was stolen", got)
	}
	if got := parseStolen(nil); got != (stolenTime{}) {
		t.Errorf("nothing to read gives %v", got)
	}
}

// proc writes files of a /proc of our own.
func proc(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func stat(ticks string) string {
	return "7 (x) R 1 1 1 0 -1 0 0 0 0 0 " + ticks + " 0 0 0 20 0 1 0 1 1 1\n"
}

func TestCPUSince(t *testing.T) {
	tests := []struct {
		name          string
		before, after map[string]string
		want          time.Duration
	}{
		{
			"threads are added up to the nanosecond",
			map[string]string{"7/stat": stat("10"), "7/task/7/schedstat": "1000 0 1", "7/task/8/schedstat": "500 0 1"},
			map[string]string{"7/stat": stat("90"), "7/task/7/schedstat": "1700 0 1", "7/task/8/schedstat": "501 0 1"},
			701,
		},
		{
			"a new thread counts from its birth",
			map[string]string{"7/stat": stat("10"), "7/task/7/schedstat": "1000 0 1"},
			map[string]string{"7/stat": stat("90"), "7/task/7/schedstat": "1100 0 1", "7/task/9/schedstat": "30 0 1"},
			130,
		},
		{
			"a thread that ended leaves only ticks",
			map[string]string{"7/stat": stat("10"), "7/task/7/schedstat": "1000 0 1", "7/task/8/schedstat": "500 0 1"},
			map[string]string{"7/stat": stat("12"), "7/task/7/schedstat": "1700 0 1"},
			2 * clockTick,
		},
		{
			"a kernel without schedstat leaves only ticks",
			map[string]string{"7/stat": stat("10"), "7/task/7/comm": "x"},
			map[string]string{"7/stat": stat("13"), "7/task/7/comm": "x"},
			3 * clockTick,
		},
		{
			"children of children belong to it, old and new",
			map[string]string{
				"7/stat": stat("0"), "7/task/7/schedstat": "100 0 1", "7/task/7/children": "20 ",
				"20/stat": stat("0"), "20/task/20/schedstat": "1000 0 1", "20/task/20/children": "",
			},
			map[string]string{
				"7/stat": stat("0"), "7/task/7/schedstat": "101 0 1", "7/task/7/children": "20 ",
				"20/stat": stat("0"), "20/task/20/schedstat": "1010 0 1", "20/task/20/children": "21 ",
				"21/stat": stat("0"), "21/task/21/schedstat": "5 0 1",
			},
			16,
		},
		{
			"a child that ended between two looks is not an error",
			map[string]string{"7/stat": stat("0"), "7/task/7/schedstat": "100 0 1", "7/task/7/children": ""},
			map[string]string{"7/stat": stat("0"), "7/task/7/schedstat": "103 0 1", "7/task/7/children": "99 "},
			3,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, err := cpuOf(proc(t, tt.before), 7)
			if err != nil {
				t.Fatal(err)
			}
			after, err := cpuOf(proc(t, tt.after), 7)
			if err != nil {
				t.Fatal(err)
			}
			if got := after.since(before); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if _, err := cpuOf(t.TempDir(), 7); err == nil {
		t.Error("a process that is gone costs nothing, want an error")
	}
}

// The kernel's two accounts of this very process must agree.
func TestCPUOfThisProcess(t *testing.T) {
	before, err := cpuOf("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	began := ownCPU()
	for ownCPU()-began < 100*time.Millisecond {
	}
	burned := ownCPU() - began
	after, err := cpuOf("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after.since(before); got < burned-2*clockTick {
		t.Errorf("burned %v, accounted for %v", burned, got)
	}
	if rss, err := rssOf("/proc", os.Getpid()); err != nil || rss < 1<<20 || rss > 4<<30 {
		t.Errorf("resident memory %d, %v", rss, err)
	}
}
