package configload_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"rollcall/internal/configload"
)

type mode string

func (m *mode) UnmarshalText(b []byte) error {
	if s := string(b); s != "sum" && s != "last" {
		return errors.New("neither sum nor last")
	}
	*m = mode(b)
	return nil
}

func (m mode) MarshalText() ([]byte, error) { return []byte(m), nil }

type app struct {
	ID     string
	AppKey string `config:",secret"`
}

type settings struct {
	Listen  string
	On      bool
	Max     int
	MaxBody int64 `config:",bytes"`
	Policy  mode
	Tags    []string
	HTTP    struct {
		IdleTimeout time.Duration
		MaxIDs      uint8
	}
	Rules struct{ Lease time.Duration } `config:",inline"`
	Apps  []app
	Fn    func()
	Inner string `config:"-"`
}

func defaults() settings {
	s := settings{Listen: ":3000", Max: 3, MaxBody: 1 << 20, Policy: "sum"}
	s.HTTP.IdleTimeout = time.Minute
	return s
}

// load returns what text makes of the defaults, and its mistakes, one a line.
func load(text string) (settings, string) {
	s := defaults()
	l := configload.New(&s)
	l.YAML("c", []byte(text))
	if err := l.Err(); err != nil {
		return s, err.Error()
	}
	return s, ""
}

func TestAFileSetsWhatItNames(t *testing.T) {
	want := defaults()
	want.Listen, want.On, want.Max, want.MaxBody, want.Policy = "127.0.0.1:1", true, -7, 64<<10, "last"
	want.Tags = []string{"a", "b"}
	want.HTTP.IdleTimeout, want.HTTP.MaxIDs, want.Rules.Lease = 36*time.Hour, 200, 1500*time.Millisecond
	want.Apps = []app{{"one", "k1"}, {"two", ""}}
	text := "listen: 127.0.0.1:1\non: true\nmax: -7\nmax_body: 64KiB\npolicy: last\ntags: [a, b]\n" +
		"http:\n  idle_timeout: 1d12h\n  max_ids: 200\nlease: 1.5s\napps:\n  - id: one\n    app_key: k1\n  - {id: two}\n"
	for name, text := range map[string]string{
		"as it is":                  text,
		"with a byte order mark":    "\ufeff" + text,
		"with CRLF":                 strings.ReplaceAll(text, "\n", "\r\n"),
		"with CRLF and the mark":    "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"),
		"with a document start":     "---\n" + text,
		"with comments and anchors": "# c\n" + strings.Replace(text, "tags: [a, b]", "tags: &t [a, b] # c", 1),
	} {
		got, mistakes := load(text)
		if mistakes != "" {
			t.Errorf("%s: %s", name, mistakes)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestNothingWrittenLeavesTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "\ufeff", "---\n", "~\n", "http:\n", "{}\n", "apps: []\n"} {
		got, mistakes := load(text)
		if mistakes != "" || got.Listen != ":3000" || got.HTTP.IdleTimeout != time.Minute || len(got.Apps) != 0 {
			t.Errorf("%q: got %+v, %s", text, got, mistakes)
		}
	}
}

func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "listn: x", `c:1:1: unknown key "listn"; did you mean "listen"?`},
		{"unknown key deep down", "http:\n  idle_timeot: 1s", `c:2:3: http: unknown key "idle_timeot"; did you mean "idle_timeout"?`},
		{"unknown key like nothing", "zzzzzz: 1", `c:1:1: unknown key "zzzzzz"`},
		{"a key cut short", "http:\n  idle: 1s", `c:2:3: http: unknown key "idle"; did you mean "idle_timeout"?`},
		{"unknown key in a list", "apps:\n  - id: x\n    key: y", `c:3:5: apps[0]: unknown key "key"`},
		{"a field that is no setting", "inner: x\nfn: y", "c:1:1: unknown key \"inner\"\nc:2:1: unknown key \"fn\"; did you mean \"on\"?"},
		{"twice", "max: 1\nmax: 2", "c:2:1: max: written twice; the first is in line 1"},
		{"twice deep down", "http: {max_ids: 1, max_ids: 2}", "c:1:20: http.max_ids: written twice; the first is in line 1"},
		{"no unit", "http: {idle_timeout: 5}", `c:1:22: http.idle_timeout: "5" has no unit; did you mean 5s?`},
		{"no unit either", "lease: 1e3", `c:1:8: lease: "1e3" has no unit; did you mean 1e3s?`},
		{"not a duration", "lease: soon", `c:1:8: lease: "soon" is not a duration; write 250ms, 10s, 5m, 24h or 7d`},
		{"an exponent", "lease: 1e3s", `c:1:8: lease: "1e3s" is not a duration; write 250ms, 10s, 5m, 24h or 7d`},
		{"half a day", "lease: 1.5d", `c:1:8: lease: "1.5d" is not a duration; write 250ms, 10s, 5m, 24h or 7d`},
		{"not a number", "max: many", `c:1:6: max: "many" is not a whole number`},
		{"a fraction", "max: 1.5", `c:1:6: max: "1.5" is not a whole number`},
		{"digits of another script", "max: ٣", `c:1:6: max: "٣" is not a whole number`},
		{"too large", "max: 99999999999999999999", `c:1:6: max: "99999999999999999999" is too large`},
		{"too large for its field", "http: {max_ids: 256}", `c:1:17: http.max_ids: "256" is out of range`},
		{"a size of another kind", "max_body: 1MB", `c:1:11: max_body: "1MB" is not a size; write bytes, or 64KiB, 1MiB, 1GiB`},
		{"a size that runs over", "max_body: 9223372036854775807GiB", `c:1:11: max_body: "9223372036854775807GiB" is too large`},
		{"yes for true", "on: yes", `c:1:5: on: "yes" is neither true nor false`},
		{"a word that is none", "policy: first", `c:1:9: policy: neither sum nor last`},
		{"a list for a text", "listen: [a]", "c:1:9: listen: wants a text, found a list"},
		{"keys for a number", "max: {a: 1}", "c:1:6: max: wants a number, found keys with values"},
		{"keys in a list of texts", "tags: [{a: 1}]", "c:1:8: tags: wants plain values in its list, found keys with values"},
		{"one value for keys", "http: 3", "c:1:7: http: wants keys with values, found one value"},
		{"one value for a list", "apps: one", `c:1:7: apps: wants a list, each entry beginning with "- ", found one value`},
		{"a text for an entry", "apps: [one]", "c:1:8: apps[0]: wants keys with values, found one value"},
		{"no value", "max:", "c:1:5: max: has no value; leave the line out to take the default"},
		{"a list at the top", "- a\n- b", "c:1:1: wants keys with values, found a list"},
		{"two documents", "max: 1\n---\nmax: 2", `c: the file holds a second document (a line "---"); only one is read`},
		{"a NUL", "max: 1\nlisten: a\x00b", "c:2:10: not YAML: the control character U+0000; is this a text file?"},
		{"a stray control byte", "# ü\x1b[1m", "c:1:4: not YAML: the control character U+001B; is this a text file?"},
		{"a byte that is no UTF-8", "max: 1\n\nlisten: \xff", "c:3:9: not YAML: the byte 0xff is not UTF-8"},
		{"not YAML", "max: 1\n\tlisten: x", "c:2: not YAML: found a tab character that violates indentation"},
		{"a merge key", "a: &a {max: 1}\n<<: *a", "c:1:1: unknown key \"a\"\nc:2:1: unknown key \"<<\""},
		{"all at once, in order", "max: x\nnope: 1\nhttp:\n  idle_timeout: 3", "c:1:6: max: \"x\" is not a whole number\nc:2:1: unknown key \"nope\"\nc:4:17: http.idle_timeout: \"3\" has no unit; did you mean 3s?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := load(tt.text); got != tt.want {
				t.Errorf("%s\ngot\n%s\nwant\n%s", tt.text, got, tt.want)
			}
		})
	}
}

func TestALongValueIsNotRepeatedWhole(t *testing.T) {
	_, got := load("max: " + strings.Repeat("a", 5000))
	if len(got) > 120 {
		t.Errorf("the message has %d bytes", len(got))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("# filler\n", 10<<20/9)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no such file",
		dir:                        "this is a directory, not a file",
		loop:                       "the file is a symbolic link that leads back to itself",
		large:                      "the file is larger than 1 MiB; is it the right one?",
	} {
		s := defaults()
		l := configload.New(&s)
		l.File(t.Context(), name)
		if err := l.Err(); err == nil || err.Error() != name+": "+want {
			t.Errorf("got %v, want %s: %s", err, name, want)
		}
	}
}

func TestVariables(t *testing.T) {
	s := defaults()
	l := configload.New(&s)
	l.YAML("c", []byte("max: 1\nlisten: file\n"))
	l.Env("T_", []string{
		"T_MAX=2", "T_HTTP_IDLE_TIMEOUT=9s", "T_TAGS=a, b", "T_LISTEN=", "PATH=/bin",
		"T_LISTENN=x", "T_OTHER=x", "T_PORT=tcp://10.0.0.1:3000", "T_SERVICE_HOST=10.0.0.1", "T_PORT_3000_TCP=x", "T_MAX_BODY=much",
	}, "T_OTHER")
	l.Set("max", "3", "--max")
	if s.Max != 3 || s.HTTP.IdleTimeout != 9*time.Second || !reflect.DeepEqual(s.Tags, []string{"a", "b"}) {
		t.Errorf("got %+v", s)
	}
	if s.Listen != "file" {
		t.Errorf("an empty variable set listen to %q", s.Listen)
	}
	if got, want := l.Warnings().Error(), "T_LISTENN: this variable is not a setting; did you mean T_LISTEN?"; got != want {
		t.Errorf("warnings: got %q, want %q", got, want)
	}
	if got, want := l.Err().Error(), `T_MAX_BODY: max_body: "much" is not a size; write bytes, or 64KiB, 1MiB, 1GiB`; got != want {
		t.Errorf("mistakes: got %q, want %q", got, want)
	}
}

func TestRanges(t *testing.T) {
	type settings struct {
		Wait  time.Duration `range:"1s..1d12h"`
		Ping  time.Duration `range:"0s,1s.."`
		Body  int           `config:",bytes" range:"4KiB..64MiB"`
		Zone  int           `range:"-14..14"`
		Small uint8         `range:"..7"`
		Rate  float64       `range:"0.."`
		Level string        `range:"info,warn"`
		Deep  struct {
			Max int `range:"1.."`
		}
	}
	good := settings{Wait: time.Second, Body: 64 << 20, Zone: -14, Small: 7, Rate: 0.5, Level: "warn"}
	good.Deep.Max = 1
	for _, tt := range []struct{ key, value, want string }{
		{"wait", "1s", ""},
		{"wait", "36h", ""},
		{"wait", "999ms", "wait is 999ms, not between 1s and 36h"},
		{"wait", "2d", "wait is 2d, not between 1s and 36h"},
		{"ping", "0", ""},
		{"ping", "7d", ""},
		{"ping", "1ms", "ping is 1ms, not 0s or at least 1s"},
		{"body", "4KiB", ""},
		{"body", "1KiB", "body is 1KiB, not between 4KiB and 64MiB"},
		{"zone", "14", ""},
		{"zone", "-15", "zone is -15, not between -14 and 14"},
		{"small", "8", "small is 8, not at most 7"},
		{"rate", "0", ""},
		{"rate", "-0.1", "rate is -0.1, not at least 0"},
		{"level", "info", ""},
		{"level", "loud", `level is "loud", not one of info, warn`},
		{"deep.max", "0", "deep.max is 0, not at least 1"},
	} {
		s := good
		l := configload.New(&s)
		l.Set(tt.key, tt.value, "--it")
		l.Finish()
		got := ""
		if err := l.Err(); err != nil {
			got = strings.TrimPrefix(err.Error(), "--it: ")
		}
		if got != tt.want {
			t.Errorf("%s=%s: got %q, want %q", tt.key, tt.value, got, tt.want)
		}
		if err := configload.Ranges(&s); (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s=%s: without a loader got %v, want %q", tt.key, tt.value, err, tt.want)
		}
	}
}

// A range that no value could be read from is found by the first test that loads anything.
func TestARangeThatCannotBeReadPanics(t *testing.T) {
	defer func() {
		if r := recover(); r == nil {
			t.Error("it is taken")
		}
	}()
	var s struct {
		Wait time.Duration `range:"1..5"`
	}
	_ = configload.Ranges(&s)
}

// The keys of the releases before add to the list that replaced them, each by what counts last for
// it.
func TestFormerKeys(t *testing.T) {
	s := struct {
		Hosts []string `was:"door.hosts,gate.names"`
		Door  struct{ Max int }
	}{}
	l := configload.New(&s)
	l.YAML("c", []byte("door:\n  hosts: [a]\ngate: {names: [b, c]}\nhosts: [d]\n"))
	l.Env("T_", []string{"T_DOOR_HOSTS=e"})
	l.Finish()
	if got := strings.Join(s.Hosts, " "); got != "d e b c" || l.Err() != nil {
		t.Errorf("got %s, %v", got, l.Err())
	}
	want := "c:3:15: gate.names is deprecated; write hosts\nT_DOOR_HOSTS: door.hosts is deprecated; write hosts"
	if got := l.Warnings().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if keys := configload.Keys(&s); len(keys) != 2 {
		t.Errorf("former keys are listed: %v", keys)
	}
}

func TestAFlagThatIsNoSetting(t *testing.T) {
	s := defaults()
	l := configload.New(&s)
	l.Set("maxx", "1", "--set")
	if got, want := l.Err().Error(), `--set: unknown key "maxx"; did you mean "max"?`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatARoomFindsIsShownWhereItWasWritten(t *testing.T) {
	s := defaults()
	l := configload.New(&s)
	l.YAML("c", []byte("http:\n  idle_timeout: 1s\napps:\n  - id: x\n"))
	l.Check("http", errors.Join(errors.New("idle_timeout is too short"), errors.New("all of it is odd")))
	l.Check("apps[0]", errors.New("id: is odd"))
	l.Check("", errors.New("max is odd"))
	want := "c:1:1: http: all of it is odd\nc:2:17: http.idle_timeout is too short\n" +
		"c:4:9: apps[0].id is odd\nmax is odd"
	if got := l.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s := struct {
		Key time.Duration `config:",secret"` // a type that refuses most texts
	}{}
	l := configload.New(&s)
	l.Set("key", "hunter2", "--key")
	if got := l.Err().Error(); strings.Contains(got, "hunter2") {
		t.Errorf("the mistake shows the value: %s", got)
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "2001:db8::1": "2001:db8::1/128", "10.0.0.0/8": "10.0.0.0/8", "2001:db8::/32": "2001:db8::/32",
		"proxy.example.com": "", "10.0.0.0/33": "", "10.0.0": "", "fe80::1%eth0": "", "192.0.2.7:80": "",
	} {
		var s struct{ Proxies []netip.Prefix }
		l := configload.New(&s)
		l.YAML("c", []byte("proxies: ['"+text+"']\n"))
		if want == "" {
			if err := l.Err(); err == nil || !strings.Contains(err.Error(), "c:1:11: proxies: \""+text+"\" is neither an address nor a network; write 192.0.2.7 or 10.0.0.0/8") {
				t.Errorf("%s: got %v", text, err)
			}
			continue
		}
		if err := l.Err(); err != nil || len(s.Proxies) != 1 || s.Proxies[0].String() != want {
			t.Errorf("%s: got %v, %v, want %s", text, s.Proxies, err, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "-8h": -8 * time.Hour,
	} {
		got, err := configload.ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
		again, err := configload.ParseDuration(configload.FormatDuration(got))
		if err != nil || again != got {
			t.Errorf("%s is written %s and read as %v, %v", text, configload.FormatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "5", "d", "-1d", "1d-2h", "1d2", "99999d", "1h 2m", "∞"} {
		if got, err := configload.ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestKeysAreNamedAfterTheirFields(t *testing.T) {
	s := defaults()
	var got []string
	for _, k := range configload.Keys(&s) {
		got = append(got, k.Path+"="+k.Default)
	}
	want := "listen=:3000 on=false max=3 max_body=1MiB policy=sum tags= http.idle_timeout=1m http.max_ids=0 lease=0s apps="
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
}

// FuzzYAML: whatever a file holds, it is either taken or refused with a place, and never a panic.
func FuzzYAML(f *testing.F) {
	for _, text := range []string{
		"listen: :3000\nhttp:\n  idle_timeout: 1m\napps:\n  - id: a\n    app_key: b\n", "a: &a [*a]", "http: &h {max_ids: 1}\napps: [*h]",
		"\ufeffmax: 1\r\n", "- - - -", "? {}\n: 1", "max: !!binary eA==", "max: !!int [1]", "{{{{", "&a *a", "tags: &t [x, *t]", "<<: {max: 1}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := defaults()
		l := configload.New(&s)
		l.YAML("c", []byte(text))
		var problems configload.Problems
		if err := l.Err(); err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("%q: %v", text, err)
		}
		for _, p := range problems {
			if !strings.HasPrefix(p.Where, "c") || p.Text == "" {
				t.Errorf("%q: a mistake without place or text: %+v", text, p)
			}
		}
	})
}

// A value that stood inside another setting's is shown there when it is wrong, and yields to one
// that was written by itself.
func TestAValueWithinAnother(t *testing.T) {
	type config struct {
		Store string
		Wait  time.Duration
		Size  int
	}
	c := config{Size: 1}
	l := configload.New(&c)
	l.Set("store", "x?wait=soon&size=2", "--store")
	l.Set("size", "3", "--size")
	l.Within("store", "wait", "soon")
	l.Within("store", "size", "2")
	l.Finish()
	if c.Size != 3 {
		t.Errorf("size is %d, want 3, which was written by itself", c.Size)
	}
	if err := l.Err(); err == nil || !strings.HasPrefix(err.Error(), `--store: wait: "soon" is not a duration`) {
		t.Errorf("got %v", err)
	}
}
