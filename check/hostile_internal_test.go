package check

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// short lets a test fail soon by what is never answered.
func short(t *testing.T) {
	w, s := within, soonest
	within, soonest = 300*time.Millisecond, 300*time.Millisecond
	t.Cleanup(func() { within, soonest = w, s })
}

func config(url string) Config {
	return Config{URL: url, App: "app", AppKey: "the-app-key", MasterKey: "the-master-key", HookKey: "the-hook-key", Hold: 10 * time.Millisecond}
}

// serve answers with handler, which finds the body read, so that it notices when the caller goes.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		handler(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// runAll runs all checks and returns their results.
func runAll(t *testing.T, cfg Config) map[string]Result {
	t.Helper()
	got := map[string]Result{}
	report, err := Run(t.Context(), cfg, func(r Result) { got[r.Name] = r })
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Checks) != len(got) {
		t.Errorf("%d results, reported %d", len(report.Checks), len(got))
	}
	return got
}

// A server that does anything but what rollcall does ends every check, and none is ok.
func TestHostileServers(t *testing.T) {
	short(t)
	flood := func(w http.ResponseWriter, r *http.Request, chunk string) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) { flood(w, r, strings.Repeat("x", 32<<10)) },
		"an endless event": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			flood(w, r, "event: snapshot\ndata: {}\n\n")
		},
		"an endless line": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			flood(w, r, "data: "+strings.Repeat("x", 32<<10))
		},
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"/x", http.StatusTemporaryRedirect)
		},
		"a large head": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100<<10)) },
		"empty":        func(http.ResponseWriter, *http.Request) {},
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x1b[2J<html>") },
		"wrong JSON": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":[1,2],"peers":7,"server":"\u001b[2J"}`)
		},
		"a bad route": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"server":"file:///etc/passwd"}`)
		},
		"hangs up":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a bad socket":  badSocket(false),
		"a sock. flood": badSocket(true),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, handler)
			for check, r := range runAll(t, config(s.URL)) {
				if r.Result == OK && check != "connect" && check != "route" && check != "clock" && check != cleanUp {
					t.Errorf("%s is ok: %s", check, r.Text)
				}
				if r.Result == Failed && r.Cure == "" || strings.ContainsAny(r.Text, "\x1b\n") || len(r.Text) > 1000 {
					t.Errorf("%s: %q %q", check, r.Text, r.Cure)
				}
				if regexp.MustCompile("the-(app|master|hook)-key").MatchString(r.Text) {
					t.Errorf("%s: a key is in the text: %s", check, r.Text)
				}
			}
		})
	}
}

// badSocket leads to a socket that answers nonsense, or without end.
func badSocket(endless bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/route" {
			fmt.Fprintf(w, `{"server":"ws://%s/rtm"}`, r.Host)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"lc.json.3"}})
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		for i := 0; endless || i < 3; i++ {
			if conn.Write(r.Context(), websocket.MessageText, []byte("\xff nonsense")) != nil {
				return
			}
		}
		_, _, _ = conn.Read(r.Context())
	}
}

// What accepts connections and says nothing keeps nothing waiting.
func TestAPortThatSaysNothing(t *testing.T) {
	short(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := runAll(t, config("https://"+l.Addr().String()))
	if r := got["tls"]; r.Result != Failed || got["function"].Result != Skipped {
		t.Errorf("tls: %+v, function: %+v", r, got["function"])
	}
	_ = l.Close()
	if got := runAll(t, config("http://"+l.Addr().String())); got["connect"].Result != Failed || got["hooks"].Result != Skipped {
		t.Errorf("a closed port: %+v", got)
	}
}

// A hook that is taken without a key is said, and the probe is ended.
func TestHooksWithoutAKeyAreFound(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	got := runAll(t, config(s.URL))
	if r := got["hooks"]; r.Result != Failed || r.Cure != page+"#"+cureHooks {
		t.Errorf("%+v", r)
	}
	if got[cleanUp].Name == "" {
		t.Error("the probe was not ended")
	}
}

// A clock that is off is found by what the server says of it, or by the Date of any answer.
func TestClocks(t *testing.T) {
	for _, tt := range []struct {
		off    time.Duration
		info   bool
		result string
	}{{0, true, OK}, {2 * time.Second, true, OK}, {time.Minute, true, Failed}, {-time.Minute, true, Failed}, {0, false, OK}, {-time.Hour, false, Failed}} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			at := time.Now().Add(tt.off)
			w.Header().Set("Date", at.UTC().Format(http.TimeFormat))
			if !tt.info {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			fmt.Fprintf(w, `{"now":%d}`, at.UnixMilli())
		})
		cfg := config(s.URL)
		cfg.Only = []string{"clock"}
		if r := runAll(t, cfg)["clock"]; r.Result != tt.result {
			t.Errorf("%+v: %+v", tt, r)
		}
	}
}

// When the caller stops, the rest is skipped.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	})
	report, err := Run(ctx, config(s.URL), func(Result) {})
	if err != nil || report.OK {
		t.Fatalf("%+v, %v", report, err)
	}
	if r := report.Checks[len(report.Checks)-1]; r.Result != Skipped || r.Text != "interrupted" {
		t.Errorf("the last is %+v", r)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		seen, local, remote string
		right               bool
	}{
		{"203.0.113.5", "203.0.113.5", "198.51.100.1", true},
		{"203.0.113.5", "192.168.1.2", "198.51.100.1", true}, // translated on the way
		{"127.0.0.1", "127.0.0.1", "127.0.0.1", true},
		{"192.168.1.2", "192.168.1.2", "192.168.1.9", true},
		{"192.168.1.3", "10.0.0.2", "192.168.1.9", true}, // a network within
		{"127.0.0.1", "203.0.113.5", "198.51.100.1", false},
		{"172.18.0.3", "203.0.113.5", "198.51.100.1", false},
		{"198.51.100.1", "203.0.113.5", "198.51.100.1", false},
		{"::1", "2001:db8::5", "2001:db8::1", false},
		{"127.0.0.9", "127.0.0.1", "127.0.0.1", false},
	} {
		why := addressProblem(netip.MustParseAddr(tt.seen), netip.MustParseAddr(tt.local), netip.MustParseAddr(tt.remote))
		if (why == "") != tt.right {
			t.Errorf("%+v: %q", tt, why)
		}
	}
}

// Secret keys are not sent where they can be read.
func TestSecretKeysAreNotSentInTheOpen(t *testing.T) {
	c, err := newChecker(config("http://im.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	c.remote = netip.MustParseAddr("198.51.100.1")
	if c.secrets() == nil {
		t.Error("they are sent over http")
	}
	c.remote = netip.MustParseAddr("127.0.0.1")
	if c.secrets() != nil {
		t.Error("they are not sent on this machine")
	}
}

func TestWrongSettings(t *testing.T) {
	for _, url := range []string{"", "im.example.com", "ftp://h", "https://", "https://u:p@h", "https://h?x", "https://h#x", "%"} {
		if _, err := Run(t.Context(), config(url), func(Result) {}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	cfg := config("http://h")
	cfg.Only = []string{"nothing"}
	if _, err := Run(t.Context(), cfg, func(Result) {}); err == nil || !strings.Contains(err.Error(), "function") {
		t.Errorf("a check that is none: %v", err)
	}
}

// Every cure has its heading, and every check is on the page, in both languages.
func TestEveryCureIsDocumented(t *testing.T) {
	source, err := os.ReadFile("cures.go")
	if err != nil {
		t.Fatal(err)
	}
	var cures []string
	for _, m := range regexp.MustCompile(`= "([a-z0-9-]+)"`).FindAllStringSubmatch(string(source), -1) {
		cures = append(cures, m[1])
	}
	doc, err := os.ReadFile("../" + page)
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(string(doc), -1) {
		headings = append(headings, strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	slices.Sort(cures)
	slices.Sort(headings)
	if !slices.Equal(cures, headings) {
		t.Errorf("cures are %v\nheadings  %v", cures, headings)
	}
	twin, err := os.ReadFile("../docs/zh/check.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cure := range cures {
		if !strings.Contains(string(twin), "`#"+cure+"`") {
			t.Errorf("the Chinese page has no cure %s", cure)
		}
	}
	for _, name := range Names() {
		for _, text := range []string{string(doc), string(twin)} {
			if !strings.Contains(text, "| `"+name+"` |") {
				t.Errorf("a page does not name %s", name)
			}
		}
	}
}
