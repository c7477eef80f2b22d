package api_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"rollcall/internal/api"
)

// While keys are rotated both are right, wherever a key is, and what the old ones let through is
// counted and logged.
func TestOldKeysAreRight(t *testing.T) {
	var out strings.Builder
	old := api.OldKeys{Key: "old-" + appKey, MasterKey: "old-" + masterKey, HookKey: "old-" + hookKey, AndroidKey: "old-" + android}
	app := api.App{ID: "one", Key: appKey, MasterKey: masterKey, HookKey: hookKey, AndroidKey: android, Old: old}
	k, err := api.NewLoggedKeyring([]api.App{app}, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	const stamp = "1453014943466"
	uses := map[string]int64{}
	for _, tt := range []struct {
		header string // with KEY, MASTER, HOOK, ANDROID, or their signatures
		want   api.Rights
		old    []string
	}{
		{"X-LC-Key: KEY", api.Client, []string{"app_key_old"}},
		{"X-LC-Key: MASTER", api.Client, []string{"master_key_old"}},
		{"X-LC-Key: MASTER,master", api.Master, []string{"master_key_old"}},
		{"X-Uluru-Master-Key: MASTER", api.Master, []string{"master_key_old"}},
		{"Authorization: Bearer MASTER", api.Master, []string{"master_key_old"}},
		{"X-LC-Key: KEY|X-LC-Hook-Key: HOOK", api.Client | api.Hook, []string{"app_key_old", "hook_key_old"}},
		{"X-LC-Sign: SIGN-KEY", api.Client, []string{"app_key_old"}},
		{"X-LC-Sign: SIGN-MASTER,master", api.Master, []string{"master_key_old"}},
		{"X-LC-Sign: SIGN-ANDROID,ax-sig-1", api.Client, []string{"android_key_old"}},
		{"X-LC-Key: KEY,master", api.None, nil},
		{"X-LC-Key: KEY!", api.None, nil},
	} {
		for _, prefix := range []string{"", "old-"} {
			text := strings.NewReplacer(
				"SIGN-KEY", sign(stamp, prefix+appKey), "SIGN-MASTER", sign(stamp, prefix+masterKey), "SIGN-ANDROID", sign(stamp, prefix+android),
				"KEY", prefix+appKey, "MASTER", prefix+masterKey, "HOOK", prefix+hookKey,
			).Replace(strings.NewReplacer("X-LC-Key", "X-Lc-K", "Hook-Key", "Hook-K", "Master-Key", "Master-K").Replace(tt.header))
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			r.Header.Set("X-LC-Id", "one")
			for line := range strings.SplitSeq(text, "|") {
				name, value, _ := strings.Cut(line, ": ")
				name = strings.NewReplacer("X-Lc-K", "X-LC-Key", "Hook-K", "Hook-Key", "Master-K", "Master-Key").Replace(name)
				r.Header.Set(name, value)
			}
			if _, got := k.Check(api.FromRequest(r)); got != tt.want {
				t.Errorf("%s with %q before each key: rights %v, want %v", tt.header, prefix, got, tt.want)
			}
			if prefix != "" {
				for _, kind := range tt.old {
					uses[kind]++
				}
			}
		}
	}
	at := api.LoginSignature{Time: 1453014943466, Nonce: "n", Sign: api.SignLogin(old.MasterKey, "one", "tom", 1453014943466, "n")}
	if !at.Right(k.Lookup("one"), "tom") || at.Right(k.Lookup("one"), "ann") {
		t.Error("a login signed with the old master key is not for its peer alone")
	}
	uses["master_key_old"]++
	for _, u := range k.OldUses() {
		if u.App != "one" || u.Count != uses[u.Key.String()] {
			t.Errorf("%s let %d calls through, want %d", u.Key, u.Count, uses[u.Key.String()])
		}
	}
	if n := strings.Count(out.String(), "old key used"); n != 4 || strings.Contains(out.String(), "old-") {
		t.Errorf("%d lines, want one for each kind and no key in them:\n%s", n, out.String())
	}
}

// What one set of keys made is good with the next, as long as the key that made it is the old one.
func TestTicketsOutliveARotation(t *testing.T) {
	k, err := api.NewKeyring([]api.App{{ID: "one", Key: appKey, MasterKey: masterKey}})
	if err != nil {
		t.Fatal(err)
	}
	tickets := api.NewTickets()
	ticket, _ := tickets.Issue(k.Lookup("one"), api.NewPass(nil, true, 1))
	pass := api.NewPass(nil, true, 1)
	renewal := tickets.Renewal(k.Lookup("one"), &pass)
	for _, tt := range []struct {
		old  string
		good bool
	}{{masterKey, true}, {"", false}} {
		if err := k.Replace([]api.App{{ID: "one", Key: appKey, MasterKey: "the-new-" + masterKey, Old: api.OldKeys{MasterKey: tt.old}}}); err != nil {
			t.Fatal(err)
		}
		p, release := tickets.Redeem(t.Context(), k.Lookup("one"), ticket, 2)
		if (p != nil) != tt.good {
			t.Errorf("with the old key %q a ticket gives %+v", tt.old, p)
		}
		if release != nil {
			release()
		}
		if p := tickets.Renew(k.Lookup("one"), renewal, 2); (p != nil) != tt.good {
			t.Errorf("with the old key %q a renewal gives %+v", tt.old, p)
		}
	}
	if err := k.Replace([]api.App{{ID: "one", Key: appKey, MasterKey: masterKey, Old: api.OldKeys{Key: masterKey}}}); err == nil || k.Lookup("one").MasterKey == masterKey {
		t.Errorf("a master key that is an old app key too was taken: %v", err)
	}
}
