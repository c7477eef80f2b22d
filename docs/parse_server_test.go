package docs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/internal/browsertest"
	"rollcall/internal/npmtest"
)

// parsePages are the page about Parse Server and its Chinese twin.
var parsePages = []string{"parse-server.md", "zh/parse-server.md"}

// parseKeys are the keys of a rollcall and of the example beside it.
var parseKeys = []string{"ROLLCALL_APP_ID=" + appID, "ROLLCALL_APP_KEY=" + appKey, "ROLLCALL_MASTER_KEY=" + masterKey, "ROLLCALL_HOOK_KEY=" + hookKey}

// A parseServer is the example that the page describes, beside a rollcall.
type parseServer struct {
	rollcall, address string
	printed           fmt.Stringer
	process           *exec.Cmd
}

// startParseServer installs and starts the example.
func startParseServer(t *testing.T) *parseServer {
	t.Helper()
	example, err := filepath.Abs("../examples/parse-server")
	if err != nil {
		t.Fatal(err)
	}
	npmtest.Install(t, example)
	s := &parseServer{rollcall: startRollcall(t, "ROLLCALL_RTM_SIGNATURES=true"), address: "127.0.0.1:" + freePort(t)}
	s.process = exec.Command("node", filepath.Join(example, "server.js"))
	s.process.Dir = t.TempDir() // where it writes its logs
	s.process.Env = append(append(os.Environ(), parseKeys...), "ROLLCALL_URL=http://"+s.rollcall, "LISTEN="+s.address)
	s.printed = start(t, s.process)
	eventually(t, "Parse Server listens", func() bool { return strings.Contains(s.printed.String(), "parse-server listens") })
	return s
}

// asked counts the calls of the function that Parse Server answered itself.
func (s *parseServer) asked() int {
	return strings.Count(s.printed.String(), "Ran cloud function getOnOffStatus")
}

// node runs a script of the example, as an app that has Parse Server and LiveQuery at parse, and
// rollcall at ours.
func (s *parseServer) node(parse, ours, script string) *exec.Cmd {
	cmd := exec.Command("node", "../examples/parse-server/"+script)
	cmd.Env = append(append(os.Environ(), parseKeys...), "PARSE=http://"+parse+"/parse", "LIVEQUERY=ws://"+parse, "ROLLCALL_URL=http://"+ours)
	return cmd
}

// The example lives its day in the real Parse Server, with the real SDK: straight, and through the
// proxy of the page, where rollcall answers the path itself.
func TestParseServerHasPresence(t *testing.T) {
	s := startParseServer(t)
	day := func(t *testing.T, parse, ours string) {
		t.Helper()
		out, err := s.node(parse, ours, "check.js").CombinedOutput()
		if err != nil || strings.Count(string(out), "ok ") < 10 {
			t.Fatalf("check.js: %v\n%s", err, out)
		}
	}
	t.Run("cloud function", func(t *testing.T) {
		day(t, s.address, s.rollcall)
		if s.asked() == 0 {
			t.Error("Parse Server answered no call of the function")
		}
	})
	t.Run("split by path", func(t *testing.T) {
		before := s.asked()
		config := strings.NewReplacer("127.0.0.1:3000", s.rollcall, "127.0.0.1:1337", s.address).Replace(code(t, parsePages[0], "nginx")[0])
		port := freePort(t)
		startNginx(t, port, config)
		domain := "127.0.0.1:" + port
		listens(t, "nginx", domain)
		day(t, domain, domain)
		inAPage(t, domain)
		if s.asked() != before {
			t.Error("Parse Server answered calls of the function that the proxy leads to rollcall")
		}
	})
}

// inAPage asks in a browser, from a page of another origin, as Parse's SDK does there.
func inAPage(t *testing.T, domain string) {
	t.Helper()
	page := fmt.Sprintf(`<!doctype html><script src="/parse.js"></script><script>
		Parse.initialize(%q, %q);
		Parse.serverURL = 'http://%s/parse';
		Parse.Cloud.run('getOnOffStatus', { peerIds: ['stranger', 'stranger'] }).then(
			(words) => console.log(JSON.stringify({ Words: JSON.stringify(words) })),
			(err) => console.log(JSON.stringify({ Failed: String(err) })));
	</script>`, appID, appKey, domain)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/parse.js" {
			http.ServeFile(w, r, "../examples/parse-server/node_modules/parse/dist/parse.min.js")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, page)
	}))
	defer app.Close()
	type line struct{ Words, Failed string }
	if got := <-browsertest.Open[line](t, app.URL); got.Words != "[null,null]" {
		t.Errorf("in a browser the SDK gets %+v", got)
	}
}
