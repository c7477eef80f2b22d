package conformance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/server"
	"rollcall/server/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appID     = "conformance"
	appKey    = "app-key-of-conformance"
	masterKey = "master-key-of-conformance"
	// Of user tokens.
	tokenSecret = "token-secret-of-the-conformance-cases"
	wrongKey    = "no-key-of-conformance"

	patience = 30 * time.Second // far beyond any wait of a client; only a broken one meets it
)

type step struct {
	Say     json.RawMessage
	Receive map[string]any
	Any     []map[string]any // to be received, in any order
	Server  string
	Peer    string
	State   string
	Pages   []page
	Times   int
}

type playCase struct {
	Name       string
	Key        string
	Signatures bool // the server wants login signatures
	Steps      []step
}

func TestClients(t *testing.T) {
	var cases []playCase
	b, err := os.ReadFile("cases.json")
	if err == nil {
		err = json.Unmarshal(b, &cases)
	}
	if err != nil || len(cases) == 0 {
		t.Fatal(err, len(cases))
	}
	eachClient(t, func(t *testing.T, argv []string) {
		// Most of a case is waiting for a retry, so some run at once.
		next := make(chan playCase)
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for c := range next {
					t.Run(c.Name, func(t *testing.T) { play(t, c, argv) })
				}
			})
		}
		for _, c := range cases {
			next <- c
		}
		close(next)
		work.Wait()
	})
}

// eachClient runs test for every client and way it watches, with the command of its driver.
func eachClient(t *testing.T, test func(t *testing.T, argv []string)) {
	goDriver := filepath.Join(t.TempDir(), "driver")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", goDriver, "./driver").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, argv := range map[string][]string{
		"go": {goDriver}, "js": {"node", "../js/driver.mjs"}, "js over sockets": {"env", "ROLLCALL_TRANSPORT=socket", "node", "../js/driver.mjs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, argv)
		})
	}
}

func play(t *testing.T, c playCase, argv []string) {
	s := open(t, func(cfg *config.Config) { cfg.RTM.Signatures = c.Signatures })
	d := drive(t, argv, s.proxy.url(), c.Key)
	for i, st := range c.Steps {
		switch {
		case st.Say != nil:
			d.say(st.Say)
		case st.Receive != nil:
			if got := d.receive(); !reflect.DeepEqual(got, st.Receive) {
				t.Fatalf("step %d: received %v, want %v", i, got, st.Receive)
			}
		case st.Any != nil:
			d.receiveAll(st.Any)
		default:
			s.do(t, st)
		}
	}
	d.quit()
}

// A stage is a server behind a proxy.
type stage struct {
	proxy *proxy
	srv   *server.Server
	count int
	watch *bufio.Scanner
	set   []func(*config.Config)
}

// open starts a server that keeps nothing, with settings of its own.
func open(t *testing.T, set ...func(*config.Config)) *stage {
	t.Helper()
	s := &stage{proxy: newProxy(t), set: set}
	s.start(t)
	t.Cleanup(func() { s.srv.Stop(context.Background()) })
	return s
}

func (s *stage) start(t *testing.T) {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.Apps = []config.App{{ID: appID, AppKey: appKey, MasterKey: masterKey}}
	for _, set := range s.set {
		set(&cfg)
	}
	srv, err := server.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.srv = srv
	s.proxy.to(srv.Listen())
}

func (s *stage) do(t *testing.T, st step) {
	t.Helper()
	switch st.Server {
	case "report":
		s.count++
		event := map[string]any{"peer": st.Peer, "state": st.State, "session": "1", "why": "logout", "time": time.Now().UnixMilli() + int64(s.count)}
		b, _ := json.Marshal(map[string]any{"events": []any{event}})
		_ = s.call(t, "POST", "/v1/events", string(b)).Body.Close()
	case "cut":
		s.proxy.cut()
	case "drop":
		s.proxy.cut()
		s.proxy.heal()
	case "heal":
		s.proxy.heal()
	case "page":
		var tricks []trick
		for _, pg := range st.Pages {
			tricks = append(tricks, pg.answer)
		}
		s.proxy.play(tricks...)
	case "lose":
		s.proxy.play(slices.Repeat([]trick{s.proxy.lose}, max(1, st.Times))...)
	case "restart":
		s.srv.Stop(context.Background())
		s.start(t)
	case "wait": // until the clock has moved, which versions are made of
		for start := time.Now().UnixMilli(); time.Now().UnixMilli() < start+20; {
			time.Sleep(time.Millisecond)
		}
	case "watch":
		res := s.call(t, "GET", "/v1/watch?peer=flag&peer="+st.Peer, "")
		t.Cleanup(func() { _ = res.Body.Close() })
		s.watch = bufio.NewScanner(res.Body)
		s.nextEvent(t, "snapshot", st.Peer)
	case "does": // what its client says, in a while
		peer, want, _ := strings.Cut(st.Peer, "=")
		for got, end := "", time.Now().Add(time.Minute); !strings.Contains(got, `"activity":"`+want+`"`); time.Sleep(20 * time.Millisecond) {
			res := s.call(t, "POST", "/v1/peers/query", `{"peers":["`+peer+`"],"fields":["activity"]}`)
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if got = string(b); time.Now().After(end) {
				t.Fatalf("the server knows %s, want %s", got, st.Peer)
			}
		}
	case "told": // nothing but a flag that is raised now
		s.do(t, step{Server: "report", Peer: "flag", State: "online"})
		if got := s.nextEvent(t, "change", "flag"); strings.Contains(got, strings.Split(st.Peer, "=")[0]) {
			t.Fatalf("the watcher was told %s", got)
		}
	default:
		t.Fatalf("there is no step %q", st.Server)
	}
}

// nextEvent returns the data of the watcher's next event, which must be called name and speak of
// peer.
func (s *stage) nextEvent(t *testing.T, name, peer string) string {
	t.Helper()
	event := ""
	for s.watch.Scan() {
		line := s.watch.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			event = v
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && event != "mark" {
			if event != name || !strings.Contains(data, `"`+peer+`"`) {
				t.Fatalf("the watcher was told %s %s, want a %s about %s", event, data, name, peer)
			}
			return data
		}
	}
	t.Fatal("the watcher's stream ended")
	return ""
}

func (s *stage) call(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.srv.Listen()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("Authorization", "Bearer "+masterKey)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %d %s", path, res.StatusCode, b)
	}
	return res
}

// A driven is a client library at work.
type driven struct {
	testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan map[string]any
}

func drive(t *testing.T, argv []string, url, key string) *driven {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "ROLLCALL_URL="+url, "ROLLCALL_APP="+appID)
	switch key {
	case "":
		cmd.Env = append(cmd.Env, "ROLLCALL_KEY="+appKey)
	case "wrong":
		cmd.Env = append(cmd.Env, "ROLLCALL_KEY="+wrongKey)
	case "tickets":
		cmd.Env = append(cmd.Env, "ROLLCALL_KEY="+appKey, "ROLLCALL_TICKETS=1")
	case "signed":
		cmd.Env = append(cmd.Env, "ROLLCALL_KEY="+appKey, "ROLLCALL_SIGN="+masterKey)
	case "tokens":
		cmd.Env = append(cmd.Env, "ROLLCALL_TOKENS="+tokenSecret, "ROLLCALL_TOKEN_LIFE=2")
	case "master":
		cmd.Env = append(cmd.Env, "ROLLCALL_MASTER_KEY="+masterKey)
	default:
		t.Fatalf("there is no key %q", key)
	}
	cmd.Stderr = os.Stderr
	d := &driven{TB: t, cmd: cmd, lines: make(chan map[string]any, 100)}
	var err error
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			var v map[string]any
			if err := json.Unmarshal(scan.Bytes(), &v); err != nil {
				v = map[string]any{"not JSON": scan.Text()}
			}
			d.lines <- v
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return d
}

func (d *driven) say(line json.RawMessage) {
	d.Helper()
	if _, err := fmt.Fprintf(d.in, "%s\n", strings.ReplaceAll(string(line), "\n", " ")); err != nil {
		d.Fatal(err)
	}
}

func (d *driven) receive() map[string]any {
	d.Helper()
	select {
	case v, ok := <-d.lines:
		if !ok {
			d.Fatal("the driver ended")
		}
		return v
	case <-time.After(patience):
		d.Fatal("the driver says nothing")
	}
	return nil
}

// receiveAll receives all of want, in any order.
func (d *driven) receiveAll(want []map[string]any) {
	d.Helper()
	left := slices.Clone(want)
	for len(left) > 0 {
		got := d.receive()
		i := slices.IndexFunc(left, func(v map[string]any) bool { return reflect.DeepEqual(v, got) })
		if i < 0 {
			d.Fatalf("received %v, want one of %v", got, left)
		}
		left = slices.Delete(left, i, i+1)
	}
}

// quit ends the driver; it must have had nothing more to say.
func (d *driven) quit() {
	d.Helper()
	_ = d.in.Close()
	for v := range d.lines {
		if v["ended"] == nil && v["present"] == nil {
			d.Errorf("the driver also said %v", v)
		}
	}
}
