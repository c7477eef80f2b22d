package examples_test

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rollcall/edge/webhook"
	kind "rollcall/edge/webhook/ejabberd"
	"rollcall/internal/npmtest"
	"rollcall/presence"
)

const (
	ann, bob, eve = "ann@im.example", "bob@im.example", "eve@resume.example"

	// oddly is how a client may name its device.
	oddly = `das "Telefón"/1 \ &`
)

// A real ejabberd reports the sessions of real clients: what they do, what becomes of them, and
// what is left of it after a crash of either side.
func TestEjabberd(t *testing.T) {
	npmtest.Install(t, "ejabberd/testdata")
	w := newEjabberdWorld(t)
	w.im.configure(w.url, "another-secret")
	w.im.start()
	for _, jid := range []string{"admin@im.example", ann, bob, eve} {
		user, host, _ := strings.Cut(jid, "@")
		if err := w.im.call("register", map[string]string{"user": user, "host": host, "password": "the-password-of-" + user}); err != nil {
			t.Fatal(err)
		}
	}
	phone := w.refused()
	w.twoDevices(phone)
	w.oneResource()
	w.resumed()
	w.forgotten()
	w.crashed()
}

// refused logs ann in while ejabberd has a wrong secret: a call that proves nothing changes
// nothing, and is made again once it can be proven. Meanwhile ejabberd can be asked.
func (w *ejabberdWorld) refused() *device {
	w.Helper()
	phone := w.im.login(ann + "/" + oddly)
	w.im.until("ejabberd has logged it", func() bool { return strings.Contains(w.im.lines(), "rollcall takes no report") })
	w.expect(ann + "=unknown " + bob + "=unknown " + eve + "=unknown")
	if out := w.reconcile(ann, bob); !strings.Contains(out, ann+"  online\n") {
		w.Errorf("a reconciliation prints %s", out)
	}
	w.expect(ann + "=online " + bob + "=unknown")

	w.im.configure(w.url, sourceSecret)
	if err := w.im.call("reload_config", nil); err != nil {
		w.Fatal(err)
	}
	w.im.until("the reports are taken", func() bool { return strings.Contains(w.im.lines(), "rollcall answers again") })
	return phone
}

// twoDevices: the first logs out, the second is killed.
func (w *ejabberdWorld) twoDevices(phone *device) {
	w.Helper()
	web := w.im.login(ann + "/web")
	w.im.asked()
	phone.say(w.T, "stop")
	w.ends(ann, oddly, "logout")
	w.expect(ann + "=online")
	web.kill()
	w.expect(ann + "=offline")
	w.ends(ann, "web", "lost")
}

// oneResource: of two connections with one resource the end of the first is none of the second.
func (w *ejabberdWorld) oneResource() {
	w.Helper()
	first, second := w.im.login(bob+"/phone"), w.im.login(bob+"/phone")
	first.expect(w.T, "disconnected")
	w.expect(bob + "=online")
	if err := w.im.call("kick_session", map[string]string{"user": "bob", "host": "im.example", "resource": "phone", "reason": "enough"}); err != nil {
		w.Fatal(err)
	}
	second.expect(w.T, "disconnected")
	w.expect(bob + "=offline")
	w.ends(bob, "phone", "kicked")
}

// resumed: a connection that breaks is resumed, and its session goes on meanwhile, even through a
// start of the module.
func (w *ejabberdWorld) resumed() {
	w.Helper()
	phone := w.im.login(eve + "/phone")
	w.expect(eve + "=online")
	phone.expect(w.T, "stream management is enabled")
	phone.say(w.T, "drop")
	phone.expect(w.T, "stream management is resumed")
	w.expect(eve + "=online")
	if err := w.im.call("restart_module", map[string]string{"host": "resume.example", "module": "mod_rollcall"}); err != nil {
		w.Fatal(err)
	}
	w.expect(eve + "=online")
}

// forgotten: a rollcall that has forgotten everything learns of the sessions that go on.
func (w *ejabberdWorld) forgotten() {
	w.Helper()
	if err := w.server.end(syscall.SIGTERM); err != nil {
		w.Fatal(err)
	}
	w.server = w.serve(strings.TrimPrefix(w.server.address, "http://"))
	w.expect(eve + "=online " + ann + "=unknown")
}

// crashed: an ejabberd that crashes says nothing, and the leases end; one that stops says so.
func (w *ejabberdWorld) crashed() {
	w.Helper()
	_ = w.im.cmd.Process.Kill()
	w.expect(eve + "=offline")
	w.ends(eve, "phone", "expired")
	w.im.start()
	w.im.login(eve + "/web")
	w.expect(eve + "=online")
	_ = w.im.cmd.Process.Signal(syscall.SIGTERM)
	w.expect(eve + "=offline")
	w.ends(eve, "web", "lost")
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
