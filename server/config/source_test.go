package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/server/config"
)

// TestSources: what is wrong with a list of sources is named with its place, without a secret.
func TestSources(t *testing.T) {
	const app = "apps:\n- {id: one, hook_key: " + hookKey + "}\n"
	const secret = "the-secret-of-the-source"
	for _, c := range []struct{ name, text, want string }{
		{"one app may be left out", "{id: a, kind: emqx, secret: " + secret + "}", ""},
		{"two", "{id: a, kind: emqx, secret: " + secret + "}\n- {id: b, app: one, kind: openim, secret: " + secret + "}", ""},
		{"a network in place of a secret", "{id: a, kind: emqx, allow: [10.0.0.0/8]}", ""},
		{"an id twice", "{id: a, kind: emqx, secret: " + secret + "}\n- {id: a, kind: openim, secret: " + secret + "}", "sources[1].id"},
		{"an id twice, once with the name of the app", "{id: a, kind: emqx, secret: " + secret + "}\n- {id: a, app: one, kind: openim, secret: " + secret + "}", "sources[1].id"},
		{"another app", "{id: a, app: two, kind: emqx, secret: " + secret + "}", "sources[0].app"},
		{"neither secret nor network", "{id: a, kind: emqx}", "sources[0].secret"},
		{"the old secret alone", "{id: a, kind: emqx, secret_old: " + secret + "}", "sources[0].secret_old"},
		{"a short secret", "{id: a, kind: emqx, secret: abc}", "sources[0].secret"},
		{"the name of a built-in source", "{id: api, kind: emqx, secret: " + secret + "}", "sources[0].id"},
		{"a name that no path has", "{id: .., kind: emqx, secret: " + secret + "}", "sources[0].id"},
		{"a slash", "{id: a/b, kind: emqx, secret: " + secret + "}", "sources[0].id"},
		{"no kind", "{id: a, secret: " + secret + "}", "sources[0].kind"},
		{"asking a kind that cannot be asked", "{id: a, kind: rongcloud, secret: " + secret + ", reconcile: {every: 1h, key: " + secret + "}}", "sources[0].reconcile.url is missing; rongcloud itself cannot be asked"},
		{"a backend that answers for it", "{id: a, kind: rongcloud, secret: " + secret + ", reconcile: {url: \"https://im.example.com/online\", key: " + secret + "}}", ""},
		{"LeanCloud, which can only be asked", "{id: leancloud, kind: leancloud, reconcile: {url: \"https://api.example.com\", key: " + secret + "}}", ""},
		{"LeanCloud under another id", "{id: old, kind: leancloud, reconcile: {url: \"https://api.example.com\", key: " + secret + "}}", "sources[0].id is \"old\"; of kind leancloud it is leancloud"},
		{"LeanCloud that is not asked", "{id: leancloud, kind: leancloud}", "reconcile is missing"},
		{"LeanCloud with a secret", "{id: leancloud, kind: leancloud, secret: " + secret + ", reconcile: {url: \"https://api.example.com\", key: " + secret + "}}", "have no use"},
		{"the name of LeanCloud's hooks for another kind", "{id: leancloud, kind: emqx, secret: " + secret + "}", "part of rollcall"},
		{"an address with a password", "{id: a, kind: openim, secret: " + secret + ", reconcile: {url: \"https://u:" + secret + "@x/\", key: " + secret + "}}", "sources[0].reconcile.url has a name or a password"},
		{"a share without its sign", "{id: a, kind: emqx, secret: " + secret + ", reconcile: {brake: 2}}", "write 2%"},
		{"a share that brakes nothing", "{id: a, kind: emqx, secret: " + secret + ", reconcile: {brake: 90%}}", "between 0.1% and 50%"},
		{"a map", "{id: a, kind: jq, secret: " + secret + ", map: '{peer: .user}', sign: {header: X-Sig, hash: sha1}}", ""},
		{"no map", "{id: a, kind: jq, secret: " + secret + "}", "sources[0].map is missing"},
		{"a map with a mistake", "{id: a, kind: jq, secret: " + secret + ", map: '{peer: .user'}", "sources[0].map is no program of jq: line 1, column 13: unexpected EOF"},
		{"a map of another kind", "{id: a, kind: emqx, secret: " + secret + ", map: .}", "sources[0].map is set, and kind emqx has a format of its own"},
		{"a signature of another kind", "{id: a, kind: emqx, secret: " + secret + ", sign: {header: X-Sig}}", "sign is set, and kind emqx signs in its own way"},
		{"an unknown hash", "{id: a, kind: jq, secret: " + secret + ", map: ., sign: {header: X-Sig, hash: md5}}", "sources[0].sign.hash is \"md5\""},
		{"a kind nearly", "{id: a, kind: emqxx, secret: " + secret + "}", "did you mean emqx?"},
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(app+"sources:\n- "+c.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := config.Load(t.Context(), config.Sources{File: file})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want it to name %s", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("%s: the error shows the secret: %v", c.name, err)
		}
	}
}

// TestAsked: a check of the configuration names the sources that are not asked, and why.
func TestAsked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "apps:\n- {id: one, hook_key: " + hookKey + "}\nsources:\n" +
		"- {id: a, kind: openim, secret: a-secret, reconcile: {url: \"http://10.0.0.5:10002\", key: k}}\n" +
		"- {id: b, kind: openim, secret: a-secret}\n- {id: c, kind: zim, secret: a-secret, appid: x}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(t.Context(), config.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Asked()
	if len(got) != 3 || !got[0].Asked || got[0].String() != "source a (openim) is asked" {
		t.Fatalf("%+v", got)
	}
	for i, want := range map[int]string{1: "reconcile is not set", 2: "zim has no call for it"} {
		if got[i].Asked || !strings.Contains(got[i].String(), want) {
			t.Errorf("%v, want it to say that %s", got[i], want)
		}
	}
}
