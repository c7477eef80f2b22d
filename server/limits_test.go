package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/edge/rest"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/server"
	"rollcall/server/config"
)

// limited returns a server whose limits are none of the defaults.
func limited(t *testing.T) *server.Server {
	cfg := settings()
	cfg.REST.MaxPeers, cfg.REST.MaxDevices, cfg.REST.MaxEvents, cfg.REST.MaxSessions, cfg.REST.Page = 50, 20, 11, 12, 13
	cfg.REST.MaxBody, cfg.SSE.MaxBody = 5000, 6000
	cfg.Watch.Peers, cfg.Watch.Watchers, cfg.Watch.Watched, cfg.Watch.Buffer = 40, 3, 60, 5000
	cfg.Watch.AddressWatchers, cfg.Watch.AddressPeers = 1, 25
	cfg.Feed.Page, cfg.Feed.Readers = 14, 2
	cfg.Gateway.MaxSockets, cfg.Gateway.EarlyLimit, cfg.Gateway.MessageLimit = 4, 2000, 7000
	return start(t, cfg)
}

// ids returns n ids as JSON strings.
func ids(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"p%d"`, i)
	}
	return strings.Join(all, ",")
}

// padded returns a body of n bytes.
func padded(body string, n int) string { return body + strings.Repeat(" ", n-len(body)) }

// A trial does something of the size n and returns how it was refused; "" when it was not.
type trial struct {
	what string
	try  func(t *testing.T, s *server.Server, n int) string
	code string
}

func call(t *testing.T, s *server.Server, method, path, body string) string {
	t.Helper()
	status, answer := ask(t, method, "http://"+s.Listen()+path, body, "X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	if status == http.StatusOK {
		return ""
	}
	var refused struct{ Code string }
	if err := json.Unmarshal([]byte(answer), &refused); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return refused.Code
}

// open opens a stream and leaves it open; it returns how it was refused.
func open(t *testing.T, s *server.Server, method, query, body string) string {
	t.Helper()
	return refusedBy(t, do(t, http.DefaultClient, method, "http://"+s.Listen()+"/v1/watch"+query, body, "Content-Type", "application/json"))
}

// readChanges opens a stream of changes and leaves it open; it returns how it was refused.
func readChanges(t *testing.T, s *server.Server) string {
	t.Helper()
	res := do(t, http.DefaultClient, "GET", "http://"+s.Listen()+"/v1/changes", "", "Accept", "text/event-stream")
	return refusedBy(t, res)
}

// refusedBy returns the code of a stream that was refused.
func refusedBy(t *testing.T, res *http.Response) string {
	t.Helper()
	if res.StatusCode == http.StatusOK {
		return ""
	}
	var refused struct{ Code string }
	if err := json.Unmarshal([]byte(read(t, res)), &refused); err != nil {
		t.Fatal(err)
	}
	return refused.Code
}

// openAs is open with the app key.
func openAs(t *testing.T, s *server.Server, key, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.Listen()+"/v1/watch", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("X-LC-Key", key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return refusedBy(t, res)
}

// A wire is a socket of the native protocol.
type wire struct {
	testing.TB
	*websocket.Conn
}

func dial(t *testing.T, s *server.Server) (*wire, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.Listen()+"/v1/socket", nil)
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return &wire{t, c}, err
}

// say sends a message and returns how it was refused: the code of an error, that of a close, or
// nothing.
func (w *wire) say(message string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	if err := w.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		w.Fatal(err)
	}
	for {
		_, b, err := w.Read(ctx)
		if err != nil {
			return fmt.Sprint("closed with ", int(websocket.CloseStatus(err)))
		}
		var answer struct{ Op, Code string }
		if err := json.Unmarshal(b, &answer); err != nil {
			w.Fatal(err)
		}
		if answer.Op == "ok" || answer.Op == "error" {
			return answer.Code
		}
	}
}

// dialRTM opens a socket of LeanCloud's realtime protocol.
func dialRTM(t *testing.T, s *server.Server) (*wire, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.Listen()+"/rtm", &websocket.DialOptions{Subprotocols: []string{"lc.json.3"}})
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return &wire{t, c}, err
}

// rtm sends a command and returns the next one that comes.
func (w *wire) rtm(command string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	if err := w.Write(ctx, websocket.MessageText, []byte(command)); err != nil {
		w.Fatal(err)
	}
	_, b, err := w.Read(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

func hello(n int) string {
	return padded(fmt.Sprintf(`{"op":"hello","app":%q,"key":%q,"id":1}`, appID, masterKey), n)
}

// greeted returns a socket that has said hello.
func greeted(t *testing.T, s *server.Server) *wire {
	t.Helper()
	w, err := dial(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if refused := w.say(hello(200)); refused != "" {
		t.Fatal(refused)
	}
	return w
}

var trials = map[string][]trial{
	"peers_per_query": {
		{"query", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/peers/query", `{"peers":[`+ids(n)+`]}`)
		}, "too_many_peers"},
		{"poll", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/peers/query", `{"peers":[`+ids(n)+`],"since":""}`)
		}, "too_many_peers"},
	},
	"peers_per_device_query": {
		{"query", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/peers/query", `{"peers":[`+ids(n)+`],"fields":["devices"]}`)
		}, "too_many_peers"},
	},
	"peers_per_watch": {
		{"in the address", func(t *testing.T, s *server.Server, n int) string {
			return open(t, s, "GET", "?peer=a"+strings.Repeat("&peer=b", n-1), "")
		}, "too_many_peers"},
		{"in the body", func(t *testing.T, s *server.Server, n int) string {
			return open(t, s, "POST", "", `{"peers":[`+ids(n)+`]}`)
		}, "too_many_peers"},
		{"on a socket", func(t *testing.T, s *server.Server, n int) string {
			return greeted(t, s).say(`{"op":"watch","id":2,"peers":[` + ids(n) + `]}`)
		}, "too_many_peers"},
		{"added on a socket", func(t *testing.T, s *server.Server, n int) string {
			w := greeted(t, s)
			if refused := w.say(`{"op":"watch","id":2,"peers":["first"]}`); refused != "" {
				t.Fatal(refused)
			}
			return w.say(`{"op":"watch","id":3,"peers":[` + ids(n-1) + `]}`)
		}, "too_many_peers"},
	},
	"events_per_batch": {
		{"events", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/events", `{"events":[{}`+strings.Repeat(`,{}`, n-1)+`]}`)
		}, "too_many_events"},
	},
	"sessions_per_resync": {
		{"resync", func(t *testing.T, s *server.Server, n int) string {
			one := `{"peer":"a","session":"1"}`
			return call(t, s, "PUT", "/v1/nodes/gw/sessions", `{"sessions":[`+one+strings.Repeat(","+one, n-1)+`]}`)
		}, "too_many_events"},
	},
	"peers_per_page": {
		{"list", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "GET", fmt.Sprint("/v1/peers?online&limit=", n), "")
		}, "invalid"},
	},
	"changes_per_page": {
		{"changes", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "GET", fmt.Sprint("/v1/changes?limit=", n), "")
		}, "invalid"},
	},
	"change_readers": {
		{"streams", func(t *testing.T, s *server.Server, n int) (refused string) {
			for range n {
				refused = readChanges(t, s)
			}
			return refused
		}, "too_many_watchers"},
	},
	"body_bytes": {
		{"query", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/peers/query", padded(`{"peers":["a"]}`, n))
		}, "too_large"},
		{"events", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/events", padded(`{"events":[]}`, n))
		}, "too_large"},
		{"beat", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/nodes/gw/beat", padded(`{"lease":3}`, n))
		}, "too_large"},
	},
	"resync_body_bytes": {
		{"resync", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "PUT", "/v1/nodes/gw/sessions", padded(`{"sessions":[]}`, n))
		}, "too_large"},
	},
	"watch_body_bytes": {
		{"watch", func(t *testing.T, s *server.Server, n int) string {
			return open(t, s, "POST", "", padded(`{"peers":["a"]}`, n))
		}, "too_large"},
	},
	"json_depth": {
		{"query", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/peers/query", `{"peers":["a"],"x":`+strings.Repeat("[", n-1)+strings.Repeat("]", n-1)+`}`)
		}, "bad_json"},
		{"events", func(t *testing.T, s *server.Server, n int) string {
			return reported(t, s, "POST", "/v1/events", `{"events":[{"peer":"a","state":"online","x":`+strings.Repeat("[", n-3)+strings.Repeat("]", n-3)+`}]}`)
		}, "bad_json"},
		{"on a socket", func(t *testing.T, s *server.Server, n int) string {
			return greeted(t, s).say(`{"op":"unwatch","id":2,"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`)
		}, "bad_json"},
	},
	"peer_id_bytes": {
		{"query", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "POST", "/v1/peers/query", `{"peers":["`+strings.Repeat("x", n)+`"]}`)
		}, "invalid"},
		{"one", func(t *testing.T, s *server.Server, n int) string {
			return call(t, s, "GET", "/v1/peers/"+strings.Repeat("x", n), "")
		}, "invalid"},
		{"resync", func(t *testing.T, s *server.Server, n int) string {
			return reported(t, s, "PUT", "/v1/nodes/gw/sessions", `{"sessions":[{"peer":"`+strings.Repeat("x", n)+`","session":"1"}]}`)
		}, "invalid"},
		{"event", func(t *testing.T, s *server.Server, n int) string {
			return reported(t, s, "POST", "/v1/events", `{"events":[{"peer":"`+strings.Repeat("x", n)+`","state":"online"}]}`)
		}, "invalid"},
		{"watch", func(t *testing.T, s *server.Server, n int) string {
			return open(t, s, "GET", "?peer="+strings.Repeat("x", n), "")
		}, "invalid"},
		{"present", func(t *testing.T, s *server.Server, n int) string {
			return greeted(t, s).say(`{"op":"present","id":2,"peer":"` + strings.Repeat("x", n) + `"}`)
		}, "invalid"},
	},
	"watchers": {
		{"streams", func(t *testing.T, s *server.Server, n int) (refused string) {
			for range n {
				refused = open(t, s, "GET", "?peer=a", "")
			}
			return refused
		}, "too_many_watchers"},
		{"sockets", func(t *testing.T, s *server.Server, n int) (refused string) {
			for range n {
				refused = greeted(t, s).say(`{"op":"watch","id":2,"peers":["a"]}`)
			}
			return refused
		}, "too_many_watchers"},
	},
	"watchers_per_address": {
		{"streams", func(t *testing.T, s *server.Server, n int) (refused string) {
			for range n {
				refused = openAs(t, s, appKey, `{"peers":["a"]}`)
			}
			return refused
		}, "too_many_watchers"},
	},
	"peers_watched_per_address": {
		{"streams", func(t *testing.T, s *server.Server, n int) string {
			return openAs(t, s, appKey, `{"peers":[`+ids(n)+`]}`)
		}, "too_many_watched"},
	},
	"peers_watched": {
		{"streams", func(t *testing.T, s *server.Server, n int) string {
			if refused := open(t, s, "POST", "", `{"peers":[`+ids(40)+`]}`); refused != "" {
				t.Fatal(refused)
			}
			return open(t, s, "POST", "", `{"peers":[`+ids(n-40)+`]}`)
		}, "too_many_watched"},
		{"sockets", func(t *testing.T, s *server.Server, n int) string {
			if refused := greeted(t, s).say(`{"op":"watch","id":2,"peers":[` + ids(40) + `]}`); refused != "" {
				t.Fatal(refused)
			}
			return greeted(t, s).say(`{"op":"watch","id":2,"peers":[` + ids(n-40) + `]}`)
		}, "too_many_watched"},
	},
	"sockets": {
		{"sockets", func(t *testing.T, s *server.Server, n int) string {
			for range n - 1 {
				greeted(t, s)
			}
			res := talk(t, s.Listen(), fmt.Sprintf(handshake, 13, ""))
			if res.StatusCode == http.StatusSwitchingProtocols {
				return ""
			}
			var refused struct{ Code string }
			if err := json.Unmarshal([]byte(read(t, res)), &refused); err != nil {
				t.Fatal(err)
			}
			return refused.Code
		}, "full"},
	},
	"hello_bytes": {
		{"hello", func(t *testing.T, s *server.Server, n int) string {
			w, err := dial(t, s)
			if err != nil {
				t.Fatal(err)
			}
			return w.say(hello(n))
		}, "closed with 1009"},
	},
	"message_bytes": {
		{"watch", func(t *testing.T, s *server.Server, n int) string {
			return greeted(t, s).say(padded(`{"op":"watch","id":2,"peers":["a"]}`, n))
		}, "closed with 1009"},
	},
	"frame_bytes": nil, // binds the server, see below
}

// The limits of /v1/info may be reached, and may not be passed by one.
func TestLimitsHoldExactly(t *testing.T) {
	limits := func(s *server.Server) map[string]int {
		_, body := ask(t, "GET", "http://"+s.Listen()+"/v1/info", "")
		var info struct{ Limits map[string]int }
		if err := json.Unmarshal([]byte(body), &info); err != nil {
			t.Fatal(err)
		}
		return info.Limits
	}
	bounded, usual := limits(limited(t)), limits(start(t, settings()))
	fixed := map[string]bool{"json_depth": true, "peer_id_bytes": true}
	for name, limit := range bounded {
		rows, known := trials[name]
		if !known {
			t.Errorf("nobody tries %s", name)
		}
		if (limit == usual[name]) != fixed[name] {
			t.Errorf("%s is shown as %d with and as %d without the setting", name, limit, usual[name])
		}
		for _, row := range rows {
			t.Run(name+" "+row.what, func(t *testing.T) {
				t.Cleanup(http.DefaultClient.CloseIdleConnections)
				if got := row.try(t, limited(t), limit); got != "" {
					t.Errorf("%d, which is allowed, is refused: %s", limit, got)
				}
				if got := row.try(t, limited(t), limit+1); got != row.code {
					t.Errorf("%d, one more than is allowed: %q, want %q", limit+1, got, row.code)
				}
			})
		}
	}
	for name := range trials {
		if bounded[name] == 0 {
			t.Errorf("/v1/info does not tell %s", name)
		}
	}
}

// reported makes a call that reports a list and returns the code of the first entry that was
// refused.
func reported(t *testing.T, s *server.Server, method, path, body string) string {
	t.Helper()
	_, answer := ask(t, method, "http://"+s.Listen()+path, body, "X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	var tally struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal([]byte(answer), &tally); err != nil {
		t.Fatal(err)
	}
	if len(tally.Errors) == 0 {
		return ""
	}
	return tally.Errors[0].Code
}

// No frame is longer than the limit, and a long snapshot fills them.
func TestFramesAreAsLongAsConfigured(t *testing.T) {
	cfg := settings()
	cfg.Watch.Buffer = 5000
	s := start(t, cfg)
	all := make([]string, 500)
	for i := range all {
		all[i] = fmt.Sprintf(`"%d %s"`, i, strings.Repeat(`\"`, i%120))
	}
	res := do(t, http.DefaultClient, "POST", "http://"+s.Listen()+"/v1/watch", `{"peers":[`+strings.Join(all, ",")+`]}`, "Content-Type", "application/json")
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	longest, frame := 0, 0
	b := make([]byte, 1)
	for line := ""; !strings.HasPrefix(line, "data: {") || strings.Contains(line, `"more":true`); {
		line = ""
		for !strings.HasSuffix(line, "\n") {
			if _, err := res.Body.Read(b); err != nil {
				t.Fatal(err)
			}
			line += string(b)
		}
		frame += len(line)
		if line == "\n" {
			frame = 0
		}
		longest = max(longest, frame)
	}
	if longest > cfg.Watch.Buffer || longest < cfg.Watch.Buffer/3 {
		t.Errorf("the longest of the frames has %d bytes, of %d", longest, cfg.Watch.Buffer)
	}
}

// The page of the native API gives the defaults, and every limit by the words of its row.
func TestThePageShowsTheDefaults(t *testing.T) {
	b, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(b), "\n## Limits\n")
	page, _, _ = strings.Cut(page, "\n## ")
	c := config.Default()
	n := func(v int) string { // as 10,000
		s := fmt.Sprint(v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	}
	kib := func(v int) string {
		if v%(1<<20) == 0 {
			return fmt.Sprint(v>>20, " MiB")
		}
		return fmt.Sprint(v>>10, " KiB")
	}
	rate := func(r limit.Rate) string {
		return n(int(r.PerSecond)) + " a second, " + n(int(r.Burst)) + " at once"
	}
	l, g := c.Gate.Limits, c.Gateway
	rows := map[string]string{
		"ids in one query":                                 n(c.REST.MaxPeers),
		"ids in one query for devices":                     n(c.REST.MaxDevices),
		"peers one watcher follows":                        n(c.Watch.Peers),
		"watchers on one node":                             n(c.Watch.Watchers),
		"peers watched on one node":                        "an eighth of the memory, at 600 bytes each",
		"readers of changes on one node":                   n(c.Feed.Readers),
		"changes in one answer":                            n(c.Feed.Page),
		"wait of one call for changes":                     fmt.Sprint(c.Feed.Wait.Seconds(), " s"),
		"changed peers that a node remembers of an app":    n(c.Feed.Feed.Peers),
		"watchers of one address":                          n(c.Watch.AddressWatchers),
		"peers watched by one address":                     n(c.Watch.AddressPeers),
		"connections to one node":                          "nine tenths of its descriptors",
		"bodies under way, but for secret keys":            kib(c.HTTP.BodyMemory),
		"time for an answer to be read":                    fmt.Sprint(c.HTTP.AnswerTimeout.Seconds(), " s"),
		"sockets on one node":                              "nine tenths of its descriptors",
		"sockets opened, by address":                       n(g.ConnectRate) + " a minute, " + n(g.ConnectRate/2) + " at once",
		"sockets without a `hello` or a login, by address": n(g.EarlySockets) + ", each for " + fmt.Sprint(g.LoginTime.Minutes(), " min"),
		"logins on sockets, by address":                    n(g.LoginRate) + " a minute, " + n(5*g.LoginRate) + " at once",
		"logins on sockets, by app":                        n(g.AppLoginRate) + " a minute, " + n(5*g.AppLoginRate) + " at once",
		"logins of unknown peers, by address":              n(g.NewPeerRate) + " a minute, " + n(5*g.NewPeerRate) + " at once",
		"logins of unknown peers, by app":                  n(g.AppNewPeerRate) + " a minute, " + n(5*g.AppNewPeerRate) + " at once",
		"events in one call":                               n(c.REST.MaxEvents),
		"sessions in one resync":                           n(c.REST.MaxSessions),
		"body":                                             kib(c.REST.MaxBody) + " (resync " + kib(rest.ResyncBodies*c.REST.MaxBody) + ")",
		"message on a socket":                              kib(g.MessageLimit) + ", the `hello` " + kib(g.EarlyLimit),
		"messages on a socket":                             n(g.MessageRate) + " a second, " + n(2*g.MessageRate) + " at once",
		"nesting of a body or a message":                   n(api.MaxDepth),
		"peer id":                                          n(presence.MaxPeer) + " bytes, no control characters",
		"time for a body to arrive":                        fmt.Sprint(c.HTTP.BodyTimeout.Seconds(), " s"),
		"calls with the app key, by address":               rate(l.Ask),
		"peers named with the app key, by address":         rate(l.AskPeers),
		"calls with the master or hook key, by address":    rate(l.Serve),
		"streams opened, by key and address":               rate(l.Streams),
		"calls with a wrong key, by address":               rate(l.Refused),
	}
	for what, want := range rows {
		if !strings.Contains(page, "\n| "+what+" | "+want+" | ") {
			t.Errorf("the page has no row: %s | %s", what, want)
		}
	}
	if got := strings.Count(page, "\n| ") - 2; got != len(rows) { // the head and the line below it
		t.Errorf("the page has %d rows, %d are known", got, len(rows))
	}
}
