package api_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rollcall/internal/api"
)

const (
	appKey    = "UtOCzqb67d3sN12Kts4URwy8"
	masterKey = "DyJegPlemooo4X1tg94gQkw1"
	hookKey   = "hook-key-of-the-first-app"
	android   = "android-key-of-the-first"
)

func ring(t testing.TB) *api.Keyring {
	t.Helper()
	k, err := api.NewKeyring([]api.App{
		{ID: "one", Key: appKey, MasterKey: masterKey, HookKey: hookKey, AndroidKey: android},
		{ID: "two", Key: "the-second-app-has-this-key", MasterKey: "the-second-app-has-this-master"},
		{ID: "bare"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(stamp, key string) string {
	sum := md5.Sum([]byte(stamp + key))
	return hex.EncodeToString(sum[:]) + "," + stamp
}

func TestHeaders(t *testing.T) {
	const stamp = "1453014943466"
	const client, master, hook, none = api.Client, api.Master, api.Hook, api.None
	tests := []struct {
		name    string
		headers string // "name: value" by "|"
		want    api.Rights
	}{
		{"nothing", "", none},
		{"id and key", "X-LC-Id: one|X-LC-Key: " + appKey, client},
		{"the older family", "X-AVOSCloud-Application-Id: one|X-AVOSCloud-Application-Key: " + appKey, client},
		{"the oldest family", "X-Uluru-Application-Id: one|X-Uluru-Application-Key: " + appKey, client},
		{"families mixed", "X-Uluru-Application-Id: one|X-LC-Key: " + appKey, client},
		{"id alone", "X-LC-Id: one", none},
		{"key alone", "X-LC-Key: " + appKey, none},
		{"a wrong id wins over a right one behind it", "X-LC-Id: no|X-AVOSCloud-Application-Id: one|X-LC-Key: " + appKey, none},
		{"an empty id counts as absent", "X-LC-Id: |X-AVOSCloud-Application-Id: one|X-LC-Key: " + appKey, client},
		{"a wrong key wins over a right one behind it", "X-LC-Id: one|X-LC-Key: no|X-Uluru-Application-Key: " + appKey, none},
		{"the key of another app", "X-LC-Id: two|X-LC-Key: " + appKey, none},
		{"an app nobody knows", "X-LC-Id: three|X-LC-Key: " + appKey, none},
		{"key in another letter case", "X-LC-Id: one|X-LC-Key: " + strings.ToUpper(appKey), none},

		{"master key by suffix", "X-LC-Id: one|X-LC-Key: " + masterKey + ",master", master},
		{"master key without suffix is a client", "X-LC-Id: one|X-LC-Key: " + masterKey, client},
		{"app key with master suffix", "X-LC-Id: one|X-LC-Key: " + appKey + ",master", none},
		{"wrong key with master suffix", "X-LC-Id: one|X-LC-Key: wrong,master", none},
		{"other suffix", "X-LC-Id: one|X-LC-Key: " + masterKey + ",other", none},
		{"suffix and more", "X-LC-Id: one|X-LC-Key: " + masterKey + ",mastermind", none},
		{"suffix twice", "X-LC-Id: one|X-LC-Key: " + masterKey + ",master,master", none},
		{"only the suffix", "X-LC-Id: one|X-LC-Key: ,master", none},
		{"master header", "X-LC-Id: one|X-AVOSCloud-Master-Key: " + masterKey, master},
		{"old master header", "X-LC-Id: one|X-Uluru-Master-Key: " + masterKey, master},
		{"master header with the app key", "X-LC-Id: one|X-Uluru-Master-Key: " + appKey, none},
		{"master header beside a wrong key", "X-LC-Id: one|X-LC-Key: wrong|X-Uluru-Master-Key: " + masterKey, master},

		{"signature as documented", "X-LC-Id: one|X-LC-Sign: d5bcbb897e19b2f6633c716dfdfaf9be," + stamp, client},
		{"signature in capitals", "X-LC-Id: one|X-LC-Sign: D5BCBB897E19B2F6633C716DFDFAF9BE," + stamp, client},
		{"master signature as documented", "X-LC-Id: one|X-LC-Sign: e074720658078c898aa0d4b1b82bdf4b," + stamp + ",master", master},
		{"old signature header", "X-LC-Id: one|X-AVOSCloud-Request-Sign: " + sign(stamp, appKey), client},
		{"timestamp in seconds", "X-LC-Id: one|X-LC-Sign: " + sign("1453014943", appKey), client},
		{"timestamp of long ago", "X-LC-Id: one|X-LC-Sign: " + sign("1", appKey), client},
		{"android signature", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, android) + ",ax-sig-1", client},
		{"android signature without its suffix", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, android), none},
		{"app signature with android suffix", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, appKey) + ",ax-sig-1", none},
		{"app signature with master suffix", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, appKey) + ",master", none},
		{"master signature without its suffix", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, masterKey), none},
		{"unknown suffix", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, appKey) + ",other", none},
		{"no timestamp", "X-LC-Id: one|X-LC-Sign: " + strings.TrimSuffix(sign("", appKey), ","), none},
		{"empty timestamp", "X-LC-Id: one|X-LC-Sign: " + sign("", appKey), none},
		{"timestamp altered", "X-LC-Id: one|X-LC-Sign: " + sign(stamp, appKey) + "1", none},
		{"signature for another app", "X-LC-Id: two|X-LC-Sign: " + sign(stamp, appKey), none},
		{"signature without id", "X-LC-Sign: " + sign(stamp, appKey), none},
		{"right signature beside a wrong key", "X-LC-Id: one|X-LC-Key: wrong|X-LC-Sign: " + sign(stamp, appKey), client},
		{"right key beside a broken signature", "X-LC-Id: one|X-LC-Sign: zzz,1|X-LC-Key: " + appKey, client},
		{"commas only", "X-LC-Id: one|X-LC-Sign: ,,,", none},
		{"not hex", "X-LC-Id: one|X-LC-Sign: " + strings.Repeat("z", 32) + ",1", none},

		{"hook key with a client's", "X-LC-Id: one|X-LC-Hook-Key: " + hookKey + "|X-LC-Key: " + appKey, client | hook},
		{"hook key with the master's", "X-LC-Id: one|X-LC-Hook-Key: " + hookKey + "|X-LC-Key: " + masterKey + ",master", master | hook},
		{"hook key alone", "X-LC-Id: one|X-LC-Hook-Key: " + hookKey, none},
		{"wrong hook key", "X-LC-Id: one|X-LC-Hook-Key: wrong|X-LC-Key: " + appKey, client},
		{"hook key where none is configured", "X-LC-Id: two|X-LC-Hook-Key: " + hookKey + "|X-LC-Key: the-second-app-has-this-key", client},

		{"an unset key refuses", "X-LC-Id: bare|X-LC-Key: x", none},
		{"an unset master key refuses", "X-LC-Id: bare|X-LC-Key: ,master", none},
		{"an unset key refuses its signature", "X-LC-Id: bare|X-LC-Sign: " + sign("1", ""), none},
		{"an unset master key refuses its signature", "X-LC-Id: bare|X-LC-Sign: " + sign("1", "") + ",master", none},
		{"an unset android key refuses its signature", "X-LC-Id: two|X-LC-Sign: " + sign("1", "") + ",ax-sig-1", none},
		{"a bearer means nothing in the dialect", "X-LC-Id: one|Authorization: Bearer " + masterKey, none},
	}
	k := ring(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			app, got := k.Check(api.FromHeader(header(tt.headers)))
			if got != tt.want {
				t.Errorf("rights: got %b, want %b", got, tt.want)
			}
			if (app != nil) != (tt.want != none) {
				t.Errorf("app %v with rights %b", app, got)
			}
		})
	}
}

func header(s string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(s, "|") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Set(name, value)
		}
	}
	return h
}

func TestBodyKeyHasNoSuffix(t *testing.T) {
	k := ring(t)
	for key, want := range map[string]api.Rights{
		appKey: api.Client, masterKey: api.Client, masterKey + ",master": api.None,
	} {
		if _, got := k.Check(api.Presented{ID: "one", BodyKey: key}); got != want {
			t.Errorf("body key %q: got %b, want %b", key, got, want)
		}
	}
}

func TestNative(t *testing.T) {
	k := ring(t)
	tests := []struct {
		name, target, headers string
		want                  api.Rights
	}{
		{"bearer with the id in a header", "/", "X-LC-Id: one|Authorization: Bearer " + masterKey, api.Master},
		{"bearer with the id in the query", "/?app=one", "Authorization: bearer " + masterKey, api.Master},
		{"bearer without id", "/", "Authorization: Bearer " + masterKey, api.None},
		{"bearer with the app key", "/?app=one", "Authorization: Bearer " + appKey, api.None},
		{"another scheme", "/?app=one", "Authorization: Basic " + masterKey, api.None},
		{"a header's id wins", "/?app=one", "X-LC-Id: two|X-LC-Key: " + appKey, api.None},
		{"a key in the query is not read", "/?app=one&key=" + appKey, "", api.None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.target, nil)
			r.Header = header(tt.headers)
			if _, got := k.Check(api.FromRequest(r)); got != tt.want {
				t.Errorf("got %b, want %b", got, tt.want)
			}
		})
	}
}

func TestUnusableApps(t *testing.T) {
	for name, apps := range map[string][]api.App{
		"no id":                      {{Key: "k"}},
		"twice":                      {{ID: "a"}, {ID: "a"}},
		"master key shipped in apps": {{ID: "a", Key: "k", MasterKey: "k"}},
	} {
		if _, err := api.NewKeyring(apps); !errors.Is(err, api.ErrApps) {
			t.Errorf("%s: got %v, want ErrApps", name, err)
		}
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	app := ring(t).Lookup("one")
	text, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s %v %s", app, *app, *app, app, app.LogValue(), text)
	for _, secret := range []string{appKey, masterKey, hookKey, android} {
		if strings.Contains(out, secret) {
			t.Errorf("a secret is printed: %s", out)
		}
	}
}

// FuzzSign: whatever a signature header holds, only the right one passes.
func FuzzSign(f *testing.F) {
	for _, s := range []string{sign("1", appKey), sign("1", masterKey) + ",master", ",", "", "a,b,c,d", sign("", appKey)} {
		f.Add(s)
	}
	k := ring(f)
	f.Fuzz(func(t *testing.T, s string) {
		_, rights := k.Check(api.Presented{ID: "one", Sign: s})
		if rights == api.None {
			return
		}
		parts := strings.Split(s, ",")
		key := appKey
		if len(parts) == 3 && parts[2] != "" {
			key = map[string]string{"master": masterKey, "ax-sig-1": android}[parts[2]]
		}
		if len(parts) < 2 || parts[1] == "" || key == "" || sign(parts[1], key) != strings.ToLower(parts[0])+","+parts[1] {
			t.Errorf("%q passed with %b", s, rights)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	k := ring(b)
	for name, h := range map[string]http.Header{
		"key":  header("X-LC-Id: one|X-LC-Key: " + appKey),
		"sign": header("X-LC-Id: one|X-LC-Sign: " + sign("1453014943466", appKey)),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, rights := k.Check(api.FromHeader(h)); rights != api.Client {
					b.Fatal(rights)
				}
			}
		})
	}
}
