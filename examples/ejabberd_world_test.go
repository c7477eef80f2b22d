package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rollcall "rollcall/client/go"
	"rollcall/internal/childtest"
)

// An ejabberd is a real one with mod_rollcall, set up as its README says.
type ejabberd struct {
	*testing.T
	*printing
	dir, address string
}

// block returns the first block of a language in the README of the example.
func block(t *testing.T, language string) string {
	t.Helper()
	b, err := os.ReadFile("ejabberd/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "```"+language+"\n")
	text, _, found := strings.Cut(text, "```")
	if !found {
		t.Fatalf("the README has no block of %s", language)
	}
	return text
}

// newEjabberd compiles the module and returns an ejabberd that has not been configured.
func newEjabberd(t *testing.T) *ejabberd {
	t.Helper()
	e := &ejabberd{T: t, dir: t.TempDir(), address: free(t)}
	if out, err := exec.Command("erlc", "-pa", beams(t), "-o", e.dir, "ejabberd/mod_rollcall.erl").CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("erlc: %v\n%s", err, out)
	}
	return e
}

// configure has it report to url.
func (e *ejabberd) configure(url, secret string) {
	e.Helper()
	_, port, _ := net.SplitHostPort(e.address)
	module := strings.NewReplacer("https://HOST/ingest/APP/ID", url, "SECRET", secret, "60s", "2s").Replace(block(e.T, "yaml"))
	config, err := os.ReadFile("ejabberd/testdata/ejabberd.yml")
	if err == nil {
		text := strings.NewReplacer("PORT", port, "MODULES\n", module).Replace(string(config))
		err = os.WriteFile(filepath.Join(e.dir, "ejabberd.yml"), []byte(text), 0o600)
	}
	if err != nil {
		e.Fatal(err)
	}
}

// beams returns the folder of ejabberd's modules.
func beams(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/*/ejabberd-*/ebin")
	if err != nil || len(found) == 0 {
		t.Fatalf("there is no ejabberd: make setup installs it (%v)", err)
	}
	return found[0]
}

// start starts it without a name, so that it starts no port mapper.
func (e *ejabberd) start() {
	e.Helper()
	e.printing = prints(e.T, []string{
		"ERL_LIBS=" + filepath.Dir(filepath.Dir(beams(e.T))), "EJABBERD_CONFIG_PATH=" + filepath.Join(e.dir, "ejabberd.yml"),
		"EJABBERD_LOG_PATH=" + filepath.Join(e.dir, "ejabberd.log"), "ERL_CRASH_DUMP_SECONDS=0",
	}, "erl", "-noinput", "-pa", e.dir, "-mnesia", "dir", `"`+filepath.Join(e.dir, "mnesia")+`"`, "-s", "ejabberd")
	e.until("ejabberd is ready", func() bool { return e.call("status", nil) == nil })
}

// call makes a call of the API of ejabberd.
func (e *ejabberd) call(command string, arguments map[string]string) error {
	body, err := json.Marshal(arguments)
	if err != nil {
		return err
	}
	if arguments == nil {
		body = []byte("{}")
	}
	res, err := http.Post("http://"+e.address+"/api/"+command, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if answer, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered %s %s: %w", command, res.Status, answer, err)
	}
	return nil
}

func (e *ejabberd) until(what string, reached func() bool) {
	e.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			e.Fatalf("not within %v: %s; ejabberd printed:%s", patience, what, e.lines())
		}
	}
}

// A device is npm's XMPP client, logged in.
type device struct {
	*printing
	says io.WriteCloser
	wait func() error
}

func (d *device) say(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(d.says, line); err != nil {
		t.Fatal(err)
	}
}

func (d *device) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.wait()
}

// login connects jid, whose user is registered.
func (e *ejabberd) login(jid string) *device {
	e.Helper()
	d := &device{printing: &printing{cmd: exec.Command("node", "ejabberd/testdata/client.js", e.address, jid)}}
	d.cmd.Stdout, d.cmd.Stderr = d.printing, d.printing
	var err error
	if d.says, err = d.cmd.StdinPipe(); err != nil {
		e.Fatal(err)
	}
	wait, err := childtest.Start(d.cmd)
	if err != nil {
		e.Fatal(err)
	}
	done := false
	d.wait = func() error {
		if done {
			return nil
		}
		done = true
		return wait()
	}
	e.Cleanup(d.kill)
	d.expect(e.T, "online "+jid)
	return d
}

// An ejabberdWorld is a rollcall and an ejabberd that reports to it, and that it asks.
type ejabberdWorld struct {
	*world
	im      *ejabberd
	url     string // of the source
	program string
	admin   string // the address
}

const sourceSecret = "the-secret-of-ejabberd"

func newEjabberdWorld(t *testing.T) *ejabberdWorld {
	t.Helper()
	w := &ejabberdWorld{im: newEjabberd(t), program: filepath.Join(build(t, "../cmd/rollcall"), "rollcall"), admin: free(t)}
	config := filepath.Join(t.TempDir(), "rollcall.yaml")
	text := strings.NewReplacer("APP-KEY", appKey, "HOOK-KEY", hookKey, "MASTER-KEY", masterKey, "APP", app, "SECRET", sourceSecret, "EJABBERD", w.im.address).Replace(`apps:
- {id: APP, app_key: APP-KEY, hook_key: HOOK-KEY, master_key: MASTER-KEY}
sources:
- id: chat
  kind: ejabberd
  secret: SECRET
  user: jid
  reconcile: {url: "http://EJABBERD/api", user: admin@im.example, key: the-password-of-admin, lag: 1s, confirm: 1s}
`)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(listen string) *process {
		return run(t, exec.Command(w.program, "serve", "--config", config, "--data", "", "--listen", listen, "--admin", w.admin), `^ *apps +(http\S+)`)
	}
	w.world = &world{T: t, server: serve("127.0.0.1:0"), serve: serve}
	w.url = w.server.address + "/ingest/" + app + "/chat"
	var err error
	if w.client, err = rollcall.New(rollcall.Config{URL: w.server.address, App: app, MasterKey: masterKey}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

// reconcile asks ejabberd about peers, or all that it has reported, and returns what was printed.
func (w *ejabberdWorld) reconcile(peers ...string) string {
	w.Helper()
	cmd := exec.Command(w.program, "reconcile", "run", "chat", "--admin", w.admin)
	if len(peers) > 0 {
		cmd.Args = append(cmd.Args, "--ids", "-")
		cmd.Stdin = strings.NewReader(strings.Join(peers, "\n"))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// ends waits until a session has ended so.
func (w *ejabberdWorld) ends(peer, session, cause string) {
	w.Helper()
	w.im.until(peer+" has a session "+session+" that ended as "+cause, func() bool { return w.ended(peer)[session] == cause })
}

// ended returns why each session of a peer ended, by its id; "" is one that is open.
func (w *world) ended(peer string) map[string]string {
	w.Helper()
	why, err := w.client.Why(w.Context(), peer)
	var all struct {
		Sessions []struct {
			Session, Cause string
			Open           bool
		}
	}
	if err == nil {
		err = json.Unmarshal(why.All, &all)
	}
	if err != nil {
		w.Fatal(err)
	}
	causes := map[string]string{}
	for _, s := range all.Sessions {
		causes[s.Session] = s.Cause
		if s.Open {
			causes[s.Session] = ""
		}
	}
	return causes
}
