package leancloud_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"rollcall/edge/leancloud"
)

// TestParseCredentials: an app id and a key in the names that Parse's SDKs give them, in headers or
// in a text/plain body, are judged as LeanCloud's are, under the path of Parse too.
func TestParseCredentials(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	srv.hook(t, "online", "Tom", false)
	const right, wrong = `{"result":["1"]}`, `{"code":401,"error":"Unauthorized."}`
	ask := func(rest string) []byte { return []byte(`{"peerIds":["Tom"]` + rest + `}`) }
	plain := func(key string) []byte {
		return ask(fmt.Sprintf(`,"_ApplicationId":%q,%s,"_ClientVersion":"js8.6.2","_InstallationId":"x"`, appID, key))
	}
	for _, path := range []string{"/1.1/functions/getOnOffStatus", "/1/functions/getOnOffStatus", "/parse/functions/getOnOffStatus", "/parse/Functions/getOnOffStatus/"} {
		for _, tt := range []struct {
			name string
			head http.Header
			body []byte
			want string
		}{
			{"JavaScript key in the body", headers("Content-Type", "text/plain"), plain(`"_JavaScriptKey":"` + appKey + `"`), right},
			{"client key in the body", headers("Content-Type", "text/plain"), plain(`"_ClientKey":"` + appKey + `"`), right},
			{"REST key in the body", headers("Content-Type", "text/plain"), plain(`"_RESTAPIKey":"` + appKey + `"`), right},
			{"master key in the body", headers("Content-Type", "text/plain"), plain(`"_MasterKey":"` + masterKey + `"`), right},
			{"a wrong JavaScript key in the body", headers("Content-Type", "text/plain"), plain(`"_JavaScriptKey":"x"`), wrong},
			{"a wrong master key in the body", headers("Content-Type", "text/plain"), plain(`"_MasterKey":"x"`), wrong},
			{"JavaScript key", headers("X-Parse-Application-Id", appID, "X-Parse-JavaScript-Key", appKey), ask(""), right},
			{"client key", headers("X-Parse-Application-Id", appID, "X-Parse-Client-Key", appKey), ask(""), right},
			{"REST key", headers("X-Parse-Application-Id", appID, "X-Parse-REST-API-Key", appKey), ask(""), right},
			{"Windows key", headers("X-Parse-Application-Id", appID, "X-Parse-Windows-Key", appKey), ask(""), right},
			{"master key", headers("X-Parse-Application-Id", appID, "X-Parse-Master-Key", masterKey), ask(""), right},
			{"no key", headers("X-Parse-Application-Id", appID), ask(""), wrong},
			{"a wrong key", headers("X-Parse-Application-Id", appID, "X-Parse-Client-Key", "x"), ask(""), wrong},
		} {
			t.Run(path+" "+tt.name, func(t *testing.T) {
				resp, body := srv.send(t, http.MethodPost, path, tt.head, tt.body)
				status := 200
				if tt.want == wrong {
					status = 401
				}
				want(t, resp, body, status, tt.want)
			})
		}
	}
	for _, path := range []string{"/parse/call/getOnOffStatus", "/parse/classes/Tom", "/parse/", "/parse/functions/"} {
		resp, body := srv.send(t, http.MethodPost, path, asClient(), ask(""))
		want(t, resp, body, 404, "code 1")
	}
}

// TestEverySDKsHeadersAreAllowed: what the SDKs of any age send from a page passes the preflight,
// also of those whose headers are not documented; what belongs to no SDK is not allowed.
func TestEverySDKsHeadersAreAllowed(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	preflight := func(asked string) (allowed string) {
		h := headers("Origin", "https://app.example", "Access-Control-Request-Method", "POST")
		if asked != "" {
			h.Set("Access-Control-Request-Headers", asked)
		}
		for _, path := range []string{"/1.1/functions/getOnOffStatus", "/1.1/call/x", "/parse/functions/getOnOffStatus", "/1.2/rtm/clients/check-online"} {
			resp, body := srv.send(t, http.MethodOptions, path, h, nil)
			want(t, resp, body, 200, "")
			allowed = ", " + strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers")) + ","
		}
		return allowed
	}
	plain := preflight("")
	for _, name := range []string{
		"X-LC-Installation-Id", "X-LC-Client-Version", "X-LC-App-Build-Version", "X-LC-App-Display-Version", "X-LC-OS-Version",
		"X-LeanCloud-Revocable-Session", "X-LC-UA", "X-Parse-Application-Id", "X-Parse-Request-Id", "Content-Type",
	} {
		if !strings.Contains(plain, ", "+strings.ToLower(name)+",") {
			t.Errorf("%s is not allowed", name)
		}
	}
	asked := preflight("content-type, x-lc-app-name,X-LC-Another-One , x-evil, x-lc-bad\tone, x-parse-cloud-context")
	for name, ok := range map[string]bool{"x-lc-app-name": true, "x-lc-another-one": true, "x-parse-cloud-context": true, "x-evil": false, "x-lc-bad": false} {
		if got := strings.Contains(asked, ", "+name); got != ok {
			t.Errorf("%s: allowed %v, want %v", name, got, ok)
		}
	}
	if strings.Count(asked, "content-type") != 1 {
		t.Errorf("a header is named twice: %s", asked)
	}
	if long := preflight("x-lc-" + strings.Repeat("x", 4000)); long != plain {
		t.Error("a list of 4,000 characters is looked at")
	}
}

// TestHeadOfAFunction: a call of a function is no reading, so HEAD is refused as a method, whatever
// the credentials.
func TestHeadOfAFunction(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	for _, path := range []string{"/1.1/functions/getOnOffStatus", "/1.1/call/getOnOffStatus", "/1.1/functions/_clientOnline", "/parse/functions/getOnOffStatus"} {
		for _, h := range []http.Header{asClient(), asHook(), headers()} {
			resp, _ := srv.send(t, http.MethodHead, path, h, nil)
			if resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(resp.Header.Get("Allow"), "POST") {
				t.Errorf("HEAD %s: %d, allowed %q", path, resp.StatusCode, resp.Header.Get("Allow"))
			}
		}
	}
	resp, _ := srv.send(t, http.MethodHead, "/1.1/functions/_ops/metadatas", asMaster(), nil)
	if resp.StatusCode != 200 {
		t.Errorf("HEAD of the metadatas: %d", resp.StatusCode)
	}
}
