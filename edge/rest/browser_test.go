package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/browsertest"
	"rollcall/watch"
)

type pageLine struct{ By, Event, Peer, Status, Failed string }

// A page of another origin watches with the browser's own EventSource and a ticket, and with our
// client and a key. When every connection is cut the EventSource comes back by itself, with a spent
// ticket and the renewal in its last id.
func TestAPageInABrowserWatches(t *testing.T) {
	h := open(t, func(_ *api.Config, w *watch.Config) { w.Tick = 20 * time.Millisecond })
	mux := http.NewServeMux()
	// One file, as a page without a bundler has it.
	mux.HandleFunc("/rollcall.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../client/js/rollcall.js")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/page.html")
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	h.events(`{"events":[{"peer":"tom","state":"online","session":"1"}]}`)
	_, body := h.call("app", "POST", "/v1/ticket", "")
	var sold struct{ Ticket string }
	if err := json.Unmarshal([]byte(body), &sold); err != nil {
		t.Fatal(err)
	}
	q := url.Values{"server": {h.URL}, "app": {appID}, "key": {appKey}, "ticket": {sold.Ticket}}
	said := browsertest.Open[pageLine](t, pages.URL+"/?"+q.Encode())
	var early []pageLine // said before anybody asked: the two connections of the page know no order
	expect := func(want pageLine) {
		t.Helper()
		if i := slices.Index(early, want); i >= 0 {
			early = slices.Delete(early, i, i+1)
			return
		}
		for end := time.After(60 * time.Second); ; {
			select {
			case got := <-said:
				if got.Failed != "" {
					t.Fatal(got.Failed)
				}
				if got == want {
					return
				}
				early = append(early, got)
			case <-end:
				t.Fatalf("the page does not say %+v", want)
			}
		}
	}
	expect(pageLine{By: "EventSource", Event: "snapshot", Peer: "tom", Status: "online"})
	expect(pageLine{By: "client", Peer: "bob", Status: "online"})
	h.events(`{"events":[{"peer":"ann","state":"online","session":"1"}]}`)
	expect(pageLine{By: "EventSource", Event: "change", Peer: "ann", Status: "online"})
	h.CloseClientConnections()
	http.DefaultClient.CloseIdleConnections() // ours were cut as well
	h.events(`{"events":[{"peer":"tom","state":"offline","session":"1","why":"logout"}]}`)
	for { // a snapshot or a resume, as old as the last token was
		got := <-said
		if got.By == "EventSource" && got.Peer == "tom" && got.Status == "offline" && (got.Event == "resume" || got.Event == "snapshot") {
			break
		}
		if got.Failed != "" {
			t.Fatal(got.Failed)
		}
	}
	h.events(`{"events":[{"peer":"tom","state":"online","session":"2"}]}`)
	expect(pageLine{By: "EventSource", Event: "change", Peer: "tom", Status: "online"})
}
