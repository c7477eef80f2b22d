package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/server/config"
)

// TestReceiversAreChecked: what is wrong with a receiver of changes is named with its place,
// without a secret.
func TestReceiversAreChecked(t *testing.T) {
	const app = "apps:\n- {id: one, hook_key: " + hookKey + "}\n"
	const secret = "the-secret-of-the-receiver"
	const good = "id: crm, url: \"https://app.example.com/presence\", secret: " + secret
	for _, c := range []struct{ name, text, want string }{
		{"the least", "{" + good + "}", ""},
		{"all", "{" + good + ", app: one, secret_old: another-secret-of-it, only: [online, offline, unknown], timeout: 1m, give_up: 7d, max_queue: 1GiB}", ""},
		{"no id", "{url: \"https://a.example.com\", secret: " + secret + "}", "changes[0].id is missing"},
		{"a slash in the id", "{id: a/b, url: \"https://a.example.com\", secret: " + secret + "}", "changes[0].id is \"a/b\""},
		{"a long id", "{id: " + strings.Repeat("x", 65) + ", url: \"https://a.example.com\", secret: " + secret + "}", "changes[0].id has 65 bytes"},
		{"an id twice", "{" + good + "}\n- {" + good + "}", "changes[1].id"},
		{"another app", "{" + good + ", app: two}", "changes[0].app"},
		{"no url", "{id: a, secret: " + secret + "}", "changes[0].url is missing"},
		{"a path for a url", "{id: a, url: /presence, secret: " + secret + "}", "changes[0].url is \"/presence\""},
		{"another scheme", "{id: a, url: \"ftp://a.example.com\", secret: " + secret + "}", "changes[0].url is \"ftp"},
		{"a query", "{id: a, url: \"https://a.example.com/?x=1\", secret: " + secret + "}", "without a query"},
		{"a password in the url", "{id: a, url: \"https://u:" + secret + "@a.example.com/\", secret: " + secret + "}", "changes[0].url has a user"},
		{"no secret", "{id: a, url: \"https://a.example.com\"}", "changes[0].secret is missing"},
		{"a short secret", "{id: a, url: \"https://a.example.com\", secret: abc}", "changes[0].secret has 3 bytes"},
		{"the same secret twice", "{" + good + ", secret_old: " + secret + "}", "changes[0].secret_old"},
		{"a status that is none", "{" + good + ", only: [online, away]}", "changes[0].only has \"away\""},
		{"a status twice", "{" + good + ", only: [online, online]}", "changes[0].only has \"online\" twice"},
		{"a timeout beyond the range", "{" + good + ", timeout: 2m}", "changes[0].timeout"},
		{"a queue beyond the range", "{" + good + ", max_queue: 1KiB}", "changes[0].max_queue"},
		{"a setting that is none", "{" + good + ", retries: 3}", "unknown key"},
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(app+"changes:\n- "+c.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, _, err := config.Load(t.Context(), config.Sources{File: file})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want it to name %s", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("%s: the error shows the secret: %v", c.name, err)
		case err == nil:
			if list, err := cfg.Receivers([]presence.AppID{"one"}); err != nil || len(list) != 1 || list[0].App != "one" {
				t.Errorf("%s: %+v, %v", c.name, list, err)
			}
		}
	}
}

// TestReceiversHaveDefaults, also with the app that is made at the first start; without one that is
// meant they are refused.
func TestReceiversHaveDefaults(t *testing.T) {
	cfg := config.Default()
	cfg.Changes = []config.Receiver{{ID: "crm", URL: "http://localhost", Secret: "the-secret-of-the-receiver", Only: []string{"offline"}}}
	list, err := cfg.Receivers([]presence.AppID{"made"})
	if err != nil {
		t.Fatal(err)
	}
	if r := list[0]; r.App != "made" || r.Timeout != 5*time.Second || r.GiveUp != 24*time.Hour || r.MaxBytes != 64<<20 || !slices.Equal(r.Only, []presence.Status{presence.Offline}) {
		t.Errorf("%+v", r)
	}
	if _, err := cfg.Receivers([]presence.AppID{"one", "two"}); err == nil || !strings.Contains(err.Error(), "changes[0].app is missing") {
		t.Errorf("with two apps: %v", err)
	}
	cfg.Changes[0].App = "three"
	if _, err := cfg.Receivers([]presence.AppID{"one", "two"}); err == nil || !strings.Contains(err.Error(), "none of the apps") {
		t.Errorf("with another app: %v", err)
	}
}

// TestPlainHTTPIsWarnedOf, but on this machine.
func TestPlainHTTPIsWarnedOf(t *testing.T) {
	for address, want := range map[string]bool{"http://10.0.0.7/in": true, "https://10.0.0.7/in": false, "http://127.0.0.1:80/in": false, "http://localhost/in": false, "http://[::1]/in": false} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		text := "changes:\n- {id: crm, url: \"" + address + "\", secret: the-secret-of-the-receiver}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := config.Load(t.Context(), config.Sources{File: file})
		if err != nil {
			t.Fatal(err)
		}
		warned := false
		for _, w := range warnings {
			warned = warned || strings.Contains(w.Text, "is not https")
		}
		if warned != want {
			t.Errorf("%s: %v", address, warnings)
		}
	}
}

// An address that is refused is not shown when it may hold a secret: logs are read by many.
func TestARefusedAddressShowsNoSecret(t *testing.T) {
	const secret = "the-token-in-the-address"
	for _, address := range []string{
		"https://a.example.com/?token=" + secret, "http://u:" + secret + "@a.example.com/?x", "http://u:" + secret + "@[::1", "u:" + secret + "@a.example.com",
	} {
		err := (&config.Receiver{ID: "a", URL: address, Secret: "the-secret-of-the-receiver"}).Validate()
		if err == nil || !strings.Contains(err.Error(), "url ") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
