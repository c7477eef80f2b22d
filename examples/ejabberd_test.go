package examples_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	rollcall "rollcall/client/go"
	"rollcall/edge/webhook"
	kind "rollcall/edge/webhook/ejabberd"
	"rollcall/internal/childtest"
	"rollcall/internal/npmtest"
	"rollcall/presence"
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

// ejabberdWorld starts a rollcall with a source of kind ejabberd.
func ejabberdWorld(t *testing.T, secret string) (w *world, source string) {
	t.Helper()
	bin := build(t, "../cmd/rollcall")
	config := filepath.Join(t.TempDir(), "rollcall.yaml")
	text := fmt.Sprintf("apps:\n- id: %s\n  app_key: %s\n  hook_key: %s\n  master_key: %s\nsources:\n- id: chat\n  kind: ejabberd\n  secret: %s\n", app, appKey, hookKey, masterKey, secret)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(listen string) *process {
		return run(t, exec.Command(filepath.Join(bin, "rollcall"), "serve", "--config", config, "--data", "", "--listen", listen, "--admin", "127.0.0.1:0"), `^ *apps +(http\S+)`)
	}
	w = &world{T: t, server: serve("127.0.0.1:0"), serve: serve}
	var err error
	if w.client, err = rollcall.New(rollcall.Config{URL: w.server.address, App: app, MasterKey: masterKey}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w, w.server.address + "/ingest/" + app + "/chat"
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

// asked asks it as a reconciliation does: it names the sessions that the module reports.
func (e *ejabberd) asked() {
	e.Helper()
	s := webhook.Source{Kind: kind.Kind{}, Reconcile: webhook.Reconcile{URL: "http://" + e.address + "/api", User: "admin@im.example", Key: "the-password-of-admin", Domain: "im.example"}}
	answer, err := kind.Kind{}.Ask(e.Context(), http.DefaultClient, &s, []presence.PeerID{"ann", "bob", "a stranger"})
	if err != nil {
		e.Fatal(err)
	}
	slices.SortFunc(answer.Peers["ann"].Sessions, func(a, b webhook.FoundSession) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if want := map[presence.PeerID]webhook.Found{"ann": webhook.Sessions([]webhook.FoundSession{{ID: oddly}, {ID: "web"}}), "bob": {}}; !reflect.DeepEqual(answer.Peers, want) {
		e.Errorf("ejabberd answers %+v, want %+v", answer.Peers, want)
	}
	s.Reconcile.Key = "another-password"
	if _, err := (kind.Kind{}).Ask(e.Context(), http.DefaultClient, &s, []presence.PeerID{"ann"}); !errors.Is(err, webhook.ErrRefused) {
		e.Errorf("with a wrong password: %v, want it refused", err)
	}
}

// oddly is how a client may name its device.
const oddly = `das "Telefón"/1 \ &`

// A real ejabberd reports the sessions of real clients: what they do, what becomes of them, and
// what is left of it after a crash of either side.
func TestEjabberd(t *testing.T) {
	npmtest.Install(t, "ejabberd/testdata")
	w, source := ejabberdWorld(t, "the-secret-of-ejabberd")
	im := newEjabberd(t)
	im.configure(source, "another-secret")
	im.start()
	for _, jid := range []string{"admin@im.example", "ann@im.example", "bob@im.example", "eve@resume.example"} {
		user, host, _ := strings.Cut(jid, "@")
		if err := im.call("register", map[string]string{"user": user, "host": host, "password": "the-password-of-" + user}); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(peer, session, cause string) {
		t.Helper()
		got := map[string]string{}
		im.until(peer+" has a session "+session+" that ended as "+cause, func() bool { got = w.ended(peer); return got[session] == cause })
	}

	// A call that proves nothing changes nothing, and is made again once it can be proven.
	phone := im.login("ann@im.example/" + oddly)
	im.until("ejabberd has logged it", func() bool { return strings.Contains(im.lines(), "rollcall takes no report") })
	w.expect("ann=unknown bob=unknown eve=unknown")
	im.configure(source, "the-secret-of-ejabberd")
	if err := im.call("reload_config", nil); err != nil {
		t.Fatal(err)
	}
	w.expect("ann=online")

	web := im.login("ann@im.example/web")
	im.asked()
	phone.say(t, "stop")
	ends("ann", oddly, "logout")
	w.expect("ann=online")
	web.kill()
	w.expect("ann=offline")
	ends("ann", "web", "lost")

	// The same resource again: the end of the first is none of the second.
	first, second := im.login("bob@im.example/phone"), im.login("bob@im.example/phone")
	first.expect(t, "disconnected")
	w.expect("bob=online")
	if err := im.call("kick_session", map[string]string{"user": "bob", "host": "im.example", "resource": "phone", "reason": "enough"}); err != nil {
		t.Fatal(err)
	}
	second.expect(t, "disconnected")
	w.expect("bob=offline")
	ends("bob", "phone", "kicked")

	// A connection that breaks is resumed; its session goes on meanwhile.
	eve := im.login("eve@resume.example/phone")
	w.expect("eve=online")
	eve.expect(t, "stream management is enabled")
	eve.say(t, "drop")
	eve.expect(t, "stream management is resumed")
	w.expect("eve=online")

	// A module that is started again reports anew what it has ended.
	if err := im.call("restart_module", map[string]string{"host": "resume.example", "module": "mod_rollcall"}); err != nil {
		t.Fatal(err)
	}
	w.expect("eve=online")

	// A rollcall that has forgotten everything learns of the sessions that go on.
	if err := w.server.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.server = w.serve(strings.TrimPrefix(w.server.address, "http://"))
	w.expect("eve=online ann=unknown")

	// An ejabberd that crashes says nothing, and the leases end; one that stops says so.
	_ = im.cmd.Process.Kill()
	w.expect("eve=offline")
	ends("eve", "phone", "expired")
	eve.kill()
	im.start()
	im.login("eve@resume.example/phone")
	w.expect("eve=online")
	_ = im.cmd.Process.Signal(syscall.SIGTERM)
	w.expect("eve=offline")
	ends("eve", "phone", "lost")
}
