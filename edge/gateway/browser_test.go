package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"rollcall/internal/npmtest"
)

const browserDir = "testdata/browser"

// A page in Chromium loads the SDK from another origin than rollcall's, logs in and shows two friends, who turn green and
// grey as they come and go.
func TestAPageInABrowserShowsFriendsComeAndGo(t *testing.T) {
	npmtest.Install(t, sdkDir)
	npmtest.Install(t, browserDir)
	p := startProcess(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/sdk.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(sdkDir, "node_modules/leancloud-realtime/dist/im-browser.min.js"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(browserDir, "page.html"))
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	q := url.Values{
		"app": {appID}, "key": {"testAppKey0000000000001"}, "server": {"http://" + p.addr}, "me": {"tom"}, "friends": {"jerry,spike"},
	}
	said := openPage(t, pages.URL+"/?"+q.Encode())
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

// openPage opens a page in Chromium and returns what it logs.
func openPage(t *testing.T, address string) <-chan pageLine {
	t.Helper()
	cmd := exec.Command("node", "browser.js", address)
	cmd.Dir = browserDir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan pageLine, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var l pageLine
			if json.Unmarshal(sc.Bytes(), &l) == nil && l != (pageLine{}) {
				said <- l
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // the script closes the browser and ends
		<-done
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return said
}

func expectSaid(t *testing.T, said <-chan pageLine, want pageLine) {
	t.Helper()
	select {
	case got := <-said:
		if got != want {
			t.Fatalf("the page says %+v, want %+v", got, want)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("the page says nothing for a minute, want %+v", want)
	}
}
