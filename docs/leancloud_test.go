// Package docs_test runs what the pages of docs show: each test takes the code from the page
// itself.
package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/npmtest"
)

const (
	appID     = "moving"
	appKey    = "app-key-of-the-moving-app"
	masterKey = "master-key-of-the-moving-app"
	hookKey   = "hook-key-of-the-moving-app"

	patience = 2 * time.Minute // far beyond any start
)

var keys = []string{
	"LEANCLOUD_APP_ID=" + appID, "LEANCLOUD_APP_KEY=" + appKey,
	"LEANCLOUD_APP_MASTER_KEY=" + masterKey, "LEANCLOUD_APP_HOOK_KEY=" + hookKey,
}

// pages are the English page and its Chinese twin.
var pages = []string{"leancloud.md", "zh/leancloud.md"}

var fence = regexp.MustCompile("(?ms)^ *```(\\w+)\n(.*?)^ *```$")

// code returns the fenced blocks of one language on a page, without the indent of the list that
// they stand in.
func code(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(page))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language {
			found = append(found, regexp.MustCompile(`(?m)^   `).ReplaceAllString(m[2], ""))
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s shows no %s", page, language)
	}
	return found
}

// A rollcall is a server that runs, and its program.
type rollcall struct {
	PID                          int
	Listen, Admin, program, data string
}

// startRollcall builds and starts the server, with settings as in the environment, and returns its
// address.
func startRollcall(t *testing.T, settings ...string) string {
	t.Helper()
	return startServer(t, settings...).Listen
}

func startServer(t *testing.T, settings ...string) (running rollcall) {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data)
	cmd.Env = slices.Concat(os.Environ(), keys, []string{"ROLLCALL_PROXIES=127.0.0.0/8"}, settings)
	start(t, cmd)
	eventually(t, "rollcall listens", func() bool {
		b, err := os.ReadFile(filepath.Join(data, "running.json"))
		return err == nil && json.Unmarshal(b, &running) == nil
	})
	running.program, running.data = program, data
	return running
}

// shell runs a script with the program in the path, and the keys and the operator listener of the
// server in the environment.
func (r *rollcall) shell(t *testing.T, script string) (string, error) {
	t.Helper()
	cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(os.Environ(), keys...), "ROLLCALL_ADMIN="+r.Admin, "PATH="+filepath.Dir(r.program)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// freePort returns a port that nothing listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// post calls a function and returns status and body.
func post(t *testing.T, url, body string, hook bool) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("X-LC-Key", appKey)
	if hook {
		r.Header.Set("X-LC-Hook-Key", hookKey)
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
	return resp.StatusCode, string(bytes.TrimSpace(b))
}

func status(t *testing.T, server, peer string) string {
	t.Helper()
	code, body := post(t, "http://"+server+"/1.1/functions/getOnOffStatus", fmt.Sprintf(`{"peerIds":[%q]}`, peer), false)
	if code != http.StatusOK {
		t.Fatalf("getOnOffStatus answers %d %s", code, body)
	}
	return body
}

const (
	isOnline  = `{"result":["1"]}`
	isOffline = `{"result":["0"]}`
)

// The cloud functions of the page, in the real leanengine, called as LeanCloud calls them.
func TestTheForwarderOfThePageForwardsHooks(t *testing.T) {
	sdks, err := filepath.Abs("leancloud-check")
	if err != nil {
		t.Fatal(err)
	}
	npmtest.Install(t, sdks)
	server := startRollcall(t)
	for i, page := range pages {
		t.Run(page, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(filepath.Join(sdks, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			for j, block := range code(t, page, "js") {
				if err := os.WriteFile(filepath.Join(dir, []string{"forward.js", "cloud.js"}[j]), []byte(block), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			port := freePort(t)
			app := fmt.Sprintf(`const AV = require('leanengine');
				AV.init({ appId: %q, appKey: %q, masterKey: %q, hookKey: %q, serverURL: 'http://127.0.0.1:1' });
				require('./cloud');
				require('http').createServer(AV.express()).listen(%s, '127.0.0.1');`, appID, appKey, masterKey, hookKey, port)
			if err := os.WriteFile(filepath.Join(dir, "app.js"), []byte(app), 0o600); err != nil {
				t.Fatal(err)
			}
			engine := func(rollcall string) (string, fmt.Stringer) {
				cmd := exec.Command("node", "app.js")
				cmd.Dir = dir
				cmd.Env = append(append(os.Environ(), keys...), "ROLLCALL="+rollcall)
				printed := start(t, cmd)
				eventually(t, "leanengine listens", func() bool {
					c, err := net.Dial("tcp", "127.0.0.1:"+port)
					if err == nil {
						_ = c.Close()
					}
					return err == nil
				})
				return "http://127.0.0.1:" + port + "/1.1/functions/", printed
			}
			peer := fmt.Sprintf("tom-%d", i)
			functions, _ := engine("http://" + server)
			for _, step := range []struct{ hook, want string }{{"_clientOnline", isOnline}, {"_clientOffline", isOffline}} {
				code, body := post(t, functions+step.hook, fmt.Sprintf(`{"peerId":%q}`, peer), true)
				if code != http.StatusOK {
					t.Fatalf("%s at leanengine answers %d %s", step.hook, code, body)
				}
				if got := status(t, server, peer); got != step.want {
					t.Errorf("after %s rollcall answers %s, want %s", step.hook, got, step.want)
				}
			}
		})
	}
}

// What the forwarder cannot deliver is in the log of the cloud functions, and the hook itself goes
// on.
func TestTheForwarderOfThePageLogsWhatFailed(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer refuses.Close()
	for _, page := range pages {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "forward.js"), []byte(code(t, page, "js")[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		for address, want := range map[string]string{
			refuses.URL:           "rollcall: _clientOnline failed: 401",
			"http://127.0.0.1:1":  "rollcall: _clientOnline failed: ",
			"https://127.0.0.1:1": "rollcall: _clientOnline failed: ",
		} {
			cmd := exec.Command("node", "-e", `require('./forward').forward('_clientOnline', {peerId: 'tom'}).then(() => console.log('went on'))`)
			cmd.Dir = dir
			cmd.Env = append(append(os.Environ(), keys...), "ROLLCALL="+address)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "went on") {
				t.Errorf("%s, %s: %v\n%s", page, address, err, out)
			}
		}
	}
}

// The split by path, by the real nginx and the real Caddy: presence is answered by rollcall, all
// else by what stood there before.
func TestTheSplitOfThePageTakesNothingElseAway(t *testing.T) {
	server := startServer(t)
	before := startBefore(t)
	for _, page := range pages {
		for _, proxy := range proxies {
			t.Run(proxy.name+"/"+page, func(t *testing.T) {
				domain, host := proxy.start(t, code(t, page, proxy.name)[0], server.Listen, before)
				peer := strings.ReplaceAll(t.Name(), "/", "-")
				for _, hook := range []string{"/1.1/functions/_clientOnline", "/1/functions/_clientOffline", "/1.1/functions/_clientOnline"} {
					if code, body := post(t, domain+hook, fmt.Sprintf(`{"peerId":%q}`, peer), true); code != http.StatusOK {
						t.Fatalf("%s answers %d %s", hook, code, body)
					}
				}
				for _, path := range []string{"/1.1/functions/getOnOffStatus", "/1/functions/getOnOffStatus", "/1.1/call/getOnOffStatus"} {
					if code, body := post(t, domain+path, fmt.Sprintf(`{"peerIds":[%q]}`, peer), false); code != http.StatusOK || body != isOnline {
						t.Errorf("%s answers %d %s", path, code, body)
					}
				}
				elsewhere(t, domain, host, "/v1/route", "/rtm")
				if out, err := server.shell(t, "rollcall check "+domain+" --only function,body,hooks,address,clock"); err != nil {
					t.Errorf("the check of the page: %v\n%s", err, out)
				}
			})
		}
	}
}

// elsewhere fails when one of the paths that rollcall does not serve, or of more, does not lead to
// what stood there before.
func elsewhere(t *testing.T, domain, host string, more ...string) {
	t.Helper()
	for _, path := range append(more, "/1.1/functions/pay", "/1.1/functions/getOnOffStatusOfAll", "/1.1/classes/_User", "/1.1/users/me", "/1.2/rtm/conversations", "/") {
		if code, body := post(t, domain+path, `{}`, false); code != http.StatusOK || body != "before "+host+" "+path {
			t.Errorf("%s answers %d %q, want what stood there before, asked as %s", path, code, body, host)
		}
	}
}

// The second blocks of the page lead sockets and the native API to rollcall as well: the whole
// check passes through them, and still all else goes where it went.
func TestTheBlocksForSocketsOfThePagePassTheCheck(t *testing.T) {
	server := startServer(t)
	before := startBefore(t)
	for _, page := range pages {
		for _, proxy := range proxies {
			t.Run(proxy.name+"/"+page, func(t *testing.T) {
				blocks := code(t, page, proxy.name)
				if proxy.name == "nginx" { // the second location stays
					blocks[1] += blocks[0][strings.Index(blocks[0], "location / {"):]
				}
				domain, host := proxy.start(t, blocks[1], server.Listen, before)
				if out, err := server.shell(t, "rollcall check "+domain+" --hold 500ms"); err != nil {
					t.Errorf("the check: %v\n%s", err, out)
				}
				elsewhere(t, domain, host)
			})
		}
	}
}

// The commands of the page erase a person, and end what LeanCloud's hooks said.
func TestTheCommandsOfThePageDoWhatTheySay(t *testing.T) {
	server := startServer(t)
	for _, page := range pages {
		for _, peer := range []string{"tom", "ann"} {
			if code, body := post(t, "http://"+server.Listen+"/1.1/functions/_clientOnline", fmt.Sprintf(`{"peerId":%q}`, peer), true); code != http.StatusOK {
				t.Fatalf("the hook answers %d %s", code, body)
			}
		}
		blocks := code(t, page, "sh")
		erase := strings.ReplaceAll(blocks[0], "127.0.0.1:3000", server.Listen)
		if out, err := server.shell(t, erase); err != nil || !strings.Contains(out, `{"erased":"tom"}`) || status(t, server.Listen, "tom") != `{"result":[null]}` {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
		// The page's time is in the future of this test, and any past one does.
		end := "sleep 1.1\n" + strings.ReplaceAll(blocks[1], "2027-01-12T00:00:00+08:00", "$(date -Iseconds)")
		if out, err := server.shell(t, end); err != nil || !strings.Contains(out, "1 sessions of leancloud would end") || !strings.Contains(out, "1 sessions of leancloud ended") || status(t, server.Listen, "ann") != isOffline {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

// The twins show the same code; only comments are of their own language.
func TestThePagesShowTheSameCode(t *testing.T) {
	comment := regexp.MustCompile(`(?m)^(//|#).*\n`)
	for _, twins := range []struct{ pages, languages []string }{
		{pages, []string{"js", "nginx", "caddy", "sh"}},
		{parsePages, []string{"sh", "js", "nginx"}},
	} {
		for _, language := range twins.languages {
			var want []string
			for _, page := range twins.pages {
				var got []string
				for _, block := range code(t, page, language) {
					got = append(got, comment.ReplaceAllString(block, ""))
				}
				if want != nil && !slices.Equal(got, want) {
					t.Errorf("%s: the %s differs from that of %s", page, language, twins.pages[0])
				}
				want = got
			}
		}
	}
}
