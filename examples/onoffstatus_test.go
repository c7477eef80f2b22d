package examples_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/browsertest"
	"rollcall/internal/childtest"
	"rollcall/internal/npmtest"
)

// build builds commands of this module into a folder of the test.
func build(t *testing.T, packages ...string) string {
	t.Helper()
	bin := t.TempDir()
	if out, err := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", bin}, packages...)...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// A printing is what a child has printed so far.
type printing struct {
	mu  sync.Mutex
	buf bytes.Buffer
	cmd *exec.Cmd
}

func (p *printing) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

// lines returns what was printed, each line with a line feed before and behind it.
func (p *printing) lines() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "\n" + p.buf.String()
}

// prints starts a command that ends with the test.
func prints(t *testing.T, environ []string, name string, args ...string) *printing {
	t.Helper()
	p := &printing{cmd: exec.Command(name, args...)}
	p.cmd.Env = append(os.Environ(), environ...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second // a shell's own child may hold the pipe
	wait, err := childtest.Start(p.cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = wait()
		if t.Failed() {
			t.Logf("%s printed:%s", filepath.Base(name), p.lines())
		}
	})
	return p
}

// expect waits until a line was printed.
func (p *printing) expect(t *testing.T, line string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(p.lines(), "\n"+line+"\n"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no line %q in:%s", line, p.lines())
		}
	}
}

// free returns an address that nothing listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The guide of LeanCloud, done over: the real leanengine and three clients see one truth, also when
// one of them is killed.
func TestTheGuideDoneOver(t *testing.T) {
	npmtest.Install(t, "onoffstatus")
	bin := build(t, "../cmd/rollcall", "./onoffstatus")
	functions := free(t)
	environ := []string{"LEANCLOUD_APP_ID=" + app, "LEANCLOUD_APP_KEY=" + appKey, "LEANCLOUD_APP_HOOK_KEY=" + hookKey, "LEANCLOUD_APP_MASTER_KEY=" + masterKey}

	serve := exec.Command(filepath.Join(bin, "rollcall"), "serve", "--data", "", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	serve.Env = append(append(os.Environ(), environ...), "ROLLCALL_HOOKS_URL=http://"+functions)
	server := run(t, serve, `^ *apps +(http\S+)`).address
	_, port, _ := net.SplitHostPort(functions)
	environ = append(environ, "SERVER="+server, "LEANCLOUD_APP_PORT="+port)

	host := prints(t, environ, "node", "onoffstatus/host.js")
	host.expect(t, "functions listen on "+functions)
	tom := prints(t, environ, "node", "onoffstatus/client.js", "tom", "jerry", "spike")
	looks := prints(t, environ, "onoffstatus/client.sh", "tom", "jerry", "spike")
	tom.expect(t, "tom is logged in")
	jerry := prints(t, environ, filepath.Join(bin, "onoffstatus"), "jerry", "tom", "spike")

	tom.expect(t, "spike null")
	tom.expect(t, "jerry 1")
	looks.expect(t, `{"result":["1","1",null]}`)
	jerry.expect(t, "tom online")
	host.expect(t, "tom came")
	host.expect(t, "jerry came")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+functions+"/1.1/functions/onlineFriends", strings.NewReader(`{"friends":["spike","jerry"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"X-LC-Id": app, "X-LC-Key": appKey, "Content-Type": "application/json"} {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil || answer.String() != `{"result":["jerry"]}` {
		t.Errorf("the function host answers %s, %v", answer.String(), err)
	}

	_ = jerry.cmd.Process.Kill()
	tom.expect(t, "jerry 0")
	looks.expect(t, `{"result":["1","0",null]}`)
	host.expect(t, "jerry went")
}

// The page with a live list, in a browser: it sees a user come and go, and is itself present.
func TestThePage(t *testing.T) {
	bin := build(t, "../cmd/rollcall", "./onoffstatus")
	environ := []string{"ROLLCALL_APP_ID=" + app, "ROLLCALL_APP_KEY=" + appKey, "ROLLCALL_MASTER_KEY=" + masterKey}
	serve := exec.Command(filepath.Join(bin, "rollcall"), "serve", "--data", "", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	serve.Env = append(append(os.Environ(), environ...), "ROLLCALL_GATEWAY_HOLD=1s")
	server := run(t, serve, `^ *apps +(http\S+)`).address
	pages := exec.Command("node", "page/server.js")
	pages.Env = append(append(os.Environ(), environ...), "ROLLCALL_URL="+server, "LISTEN=127.0.0.1:0")
	page := run(t, pages, `^the page is at (http\S+)$`).address

	client := []string{"LEANCLOUD_APP_ID=" + app, "LEANCLOUD_APP_KEY=" + appKey, "SERVER=" + server}
	jerry := prints(t, client, filepath.Join(bin, "onoffstatus"), "jerry", "tom")
	type line struct{ Jerry, Spike, Failed string }
	shown := logged(t, page)
	defer shown.Close()
	seen := browsertest.Open[line](t, shown.URL+"/?me=tom&friends=jerry,spike")
	wait := func(want line) {
		t.Helper()
		for timeout := time.After(patience); ; {
			select {
			case got := <-seen:
				if got == want {
					return
				}
				if got.Failed != "" {
					t.Fatal(got.Failed)
				}
			case <-timeout:
				t.Fatalf("the page does not show %+v", want)
			}
		}
	}
	wait(line{Jerry: "online", Spike: "unknown"})
	jerry.expect(t, "tom online")
	_ = jerry.cmd.Process.Kill()
	wait(line{Jerry: "offline", Spike: "unknown"})
}

// logged serves a page with one script more, which logs what its list shows.
func logged(t *testing.T, page string) *httptest.Server {
	t.Helper()
	const script = `<script>
		const shown = () => console.log(JSON.stringify(Object.fromEntries([...document.querySelectorAll('li')].map((li) => [li.textContent, li.dataset.status]))));
		new MutationObserver(shown).observe(document.querySelector('ul'), { subtree: true, childList: true, attributes: true });
	</script>`
	target, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(resp *http.Response) error {
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			return nil
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(strings.NewReader(string(b) + script))
		resp.ContentLength = int64(len(b) + len(script))
		resp.Header.Del("Content-Length")
		return err
	}
	return httptest.NewServer(proxy)
}
