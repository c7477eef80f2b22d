//go:build unix

package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"rollcall/internal/browsertest"
	"rollcall/internal/npmtest"
)

// A page in Chromium loads the SDK from another origin than rollcall's, logs in and shows two
// friends, who turn green and grey as they come and go.
func TestAPageInABrowserShowsFriendsComeAndGo(t *testing.T) {
	npmtest.Install(t, sdkDir)
	p := startProcess(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/sdk.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(sdkDir, "node_modules/leancloud-realtime/dist/im-browser.min.js"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/page.html")
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	q := url.Values{
		"app": {appID}, "key": {"testAppKey0000000000001"}, "server": {"http://" + p.addr}, "me": {"tom"}, "friends": {"jerry,spike"},
	}
	said := browsertest.Open[pageLine](t, pages.URL+"/?"+q.Encode())
	const grey, green = "rgb(128, 128, 128)", "rgb(0, 160, 0)"
	expectSaid(t, said, pageLine{LoggedIn: "tom"})
	expectSaid(t, said, pageLine{Friend: "jerry", Colour: grey})
	expectSaid(t, said, pageLine{Friend: "spike", Colour: grey})
	jerry := p.stay(nil, "jerry")
	expectSaid(t, said, pageLine{Friend: "jerry", Colour: green})
	fmt.Fprintln(jerry.in, "close")
	expectSaid(t, said, pageLine{Friend: "jerry", Colour: grey})
	p.stay(nil, "spike")
	expectSaid(t, said, pageLine{Friend: "spike", Colour: green})
}

type pageLine struct {
	LoggedIn string `json:"loggedIn"`
	Friend   string `json:"friend"`
	Colour   string `json:"colour"`
	Failed   string `json:"failed"`
}

func expectSaid(t *testing.T, said <-chan pageLine, want pageLine) {
	t.Helper()
	select {
	case got := <-said:
		if got != want {
			t.Fatalf("the page says %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("the page says nothing for %v, want %+v", patience, want)
	}
}
