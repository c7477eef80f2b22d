package server_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/redistest"
	"rollcall/server/config"
)

// door asks what tom is and returns the status of the answer, and whether the answer has an age.
type door struct {
	name string
	ask  func(t *testing.T) (status int, aged bool)
	mute bool // its protocol has no room for an age
}

// Redis freezes: every door that says what peers are goes on answering, from what is known, with
// its age.
func TestEveryDoorAnswersAlikeInAnOutage(t *testing.T) {
	redis := redistest.Run(t)
	cfg := settings()
	cfg.Data = t.TempDir()
	cfg.Store = config.Secret("redis://" + redis.Addr)
	// A busy machine is no outage, and slow.
	cfg.Redis.Deadline, cfg.Redis.Stale = 2*time.Second, 10*time.Minute
	s := start(t, cfg)
	hook(t, s, "_clientOnline", "tom")
	doors := doorsOf(t, s.Listen(), s.Admin())
	for _, d := range doors {
		if status, aged := d.ask(t); status != http.StatusOK || aged {
			t.Fatalf("%s in health: %d, with an age: %v", d.name, status, aged)
		}
	}
	redis.Freeze()
	t.Cleanup(redis.Thaw)
	query := doors[0]
	for end := time.Now().Add(redistest.Patience); ; time.Sleep(20 * time.Millisecond) {
		if status, aged := query.ask(t); status == http.StatusOK && aged {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no answer has an age after Redis froze")
		}
	}
	for _, d := range doors {
		if status, aged := d.ask(t); status != http.StatusOK || aged == d.mute {
			t.Errorf("%s in the outage: %d, with an age: %v", d.name, status, aged)
		}
	}
}

// doorsOf returns every door of a server that says what peers are. Tom is watched already, so that
// a watch that begins reads no more.
func doorsOf(t *testing.T, listen, admin string) []door {
	base := "http://" + listen
	url := "http://" + admin + "/v1/watch?peer=tom"
	watched, err := http.Get(url) //nolint:noctx // it stays open
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watched.Body.Close() })
	call := func(method, path, body string, headers ...string) func(*testing.T) (int, bool) {
		return func(t *testing.T) (int, bool) {
			t.Helper()
			status, head, _ := exchange(t, method, base+path, body, headers...)
			return status, head.Get("Rollcall-Stale") != ""
		}
	}
	stream := func(url, line string, headers ...string) func(*testing.T) (int, bool) {
		return func(t *testing.T) (int, bool) {
			t.Helper()
			return firstLine(t, url, line, headers...)
		}
	}
	app := []string{"X-LC-Id", appID, "X-LC-Key", appKey}
	master := []string{"X-LC-Id", appID, "X-LC-Key", masterKey + ",master"}
	return []door{
		{name: "query", ask: call("POST", "/v1/peers/query", `{"peers":["tom"]}`, app...)},
		{name: "query with since", ask: call("POST", "/v1/peers/query", `{"peers":["tom"],"since":""}`, app...)},
		{name: "query with fields", ask: call("POST", "/v1/peers/query", `{"peers":["tom"],"fields":["since","last_seen","devices"]}`, master...)},
		{name: "one peer", ask: call("GET", "/v1/peers/tom", "", app...)},
		{name: "one peer for the master key", ask: call("GET", "/v1/peers/tom", "", master...)},
		{name: "function", ask: call("POST", "/1.1/functions/getOnOffStatus", `{"peerIds":["tom"]}`, app...)},
		{name: "function as a form", ask: call("POST", "/1.1/functions/getOnOffStatus", "peerIds=%5B%22tom%22%5D", append(app, "Content-Type", "application/x-www-form-urlencoded")...)},
		{name: "check-online", ask: call("POST", "/1.2/rtm/clients/check-online", `{"client_ids":["tom"]}`, master...)},
		{name: "stream", ask: stream(base+"/v1/watch?peer=tom", "data: ", app...)},
		{name: "operator's stream", ask: stream("http://"+admin+"/v1/watch?peer=tom", "data: ")},
		{name: "socket", ask: func(t *testing.T) (int, bool) {
			t.Helper()
			return socketWatch(t, "ws://"+listen+"/v1/socket")
		}},
		{name: "realtime protocol", ask: rtmQuery(t, "ws://"+listen+"/"), mute: true},
	}
}

func exchange(t *testing.T, method, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
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
	return resp.StatusCode, resp.Header, string(b)
}

// firstLine opens a stream and looks for an age in the first line that begins with prefix.
func firstLine(t *testing.T, url, prefix string, headers ...string) (int, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, false
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), prefix) {
			if !strings.Contains(lines.Text(), `"tom"`) {
				t.Errorf("the first line is %s", lines.Text())
			}
			return http.StatusOK, strings.Contains(lines.Text(), `"stale":`)
		}
	}
	t.Fatal("the stream ended before its first line")
	return 0, false
}

func socketWatch(t *testing.T, url string) (int, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	for _, m := range []string{`{"op":"hello","app":"` + appID + `","key":"` + appKey + `"}`, `{"op":"watch","peers":["tom"]}`} {
		if err := c.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	_, got, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), `{"op":"snapshot"`) {
		t.Logf("the socket says %s", got)
		return http.StatusServiceUnavailable, false
	}
	return http.StatusOK, strings.Contains(string(got), `"stale":`)
}

// rtmQuery logs in once, since a login in an outage is another matter.
func rtmQuery(t *testing.T, url string) func(*testing.T) (int, bool) {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"lc.json.3"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	say := func(t *testing.T, m string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := c.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
		_, got, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	if got := say(t, `{"cmd":"session","op":"open","appId":"`+appID+`","peerId":"ann","i":1,"ua":"net/1","deviceId":"d"}`); !strings.Contains(got, `"opened"`) {
		t.Fatal(got)
	}
	return func(t *testing.T) (int, bool) {
		t.Helper()
		if got := say(t, `{"cmd":"session","op":"query","peerId":"ann","i":2,"sessionPeerIds":["tom"]}`); !strings.Contains(got, `"onlineSessionPeerIds":["tom"]`) {
			t.Logf("the realtime protocol says %s", got)
			return http.StatusServiceUnavailable, false
		}
		return http.StatusOK, false
	}
}
