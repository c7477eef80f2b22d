package conformance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	rollcall "rollcall/client/go"
	"rollcall/internal/browsertest"
)

// pages serves a page of testdata, and the JavaScript client under /client/.
func pages(t *testing.T, name string, s *stage, scripts ...string) (address string) {
	t.Helper()
	mux := http.NewServeMux()
	// What an app's server does.
	mux.HandleFunc("POST /ticket", func(w http.ResponseWriter, r *http.Request) {
		var peers []string
		if err := json.NewDecoder(r.Body).Decode(&peers); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, s.ticket(t, peers))
	})
	mux.Handle("/client/", http.StripPrefix("/client/", http.FileServer(http.Dir("../js"))))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/"+name) })
	for i, script := range scripts {
		mux.HandleFunc(fmt.Sprintf("/block%d.js", i+1), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, script)
		})
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL + "/?" + url.Values{"server": {s.proxy.url()}, "app": {appID}, "key": {appKey}}.Encode()
}

// await passes over what a page says until it has said all of want, in any order.
func await[Line comparable](t *testing.T, said <-chan Line, want ...Line) {
	t.Helper()
	for left, end := slices.Clone(want), time.After(2*patience); len(left) > 0; {
		select {
		case got := <-said:
			if i := slices.Index(left, got); i >= 0 {
				left = slices.Delete(left, i, i+1)
			}
		case <-end:
			t.Fatalf("the page does not say %+v", left)
		}
	}
}

type watchLine struct {
	Watch  int
	Peer   string
	Status string

	Query, Retry, Refused, Failed string
}

// A browser has six connections to a server over HTTP/1.1. Six watches, and more, leave room for a
// query; each gets what it follows, also after a cut, and closing one takes nothing from the
// others.
func TestSixWatchesOfAPageLeaveRoomForAQuery(t *testing.T) {
	t.Parallel()
	s := open(t)
	report := func(peer, state string) { s.do(t, step{Server: "report", Peer: peer, State: state}) }
	report("shared", "online")
	said := browsertest.Open[watchLine](t, pages(t, "watches.html", s))
	var want []watchLine
	for i := range 6 {
		want = append(want, watchLine{Watch: i, Peer: "shared", Status: "online"}, watchLine{Watch: i, Peer: fmt.Sprintf("p%d", i), Status: "unknown"})
	}
	await(t, said, append(want, watchLine{Query: "unknown"}, watchLine{Watch: 6, Peer: "sse", Status: "unknown"}, watchLine{Refused: "invalid"})...)

	report("p1", "online")
	report("sse", "online")
	await(t, said, watchLine{Watch: 1, Peer: "p1", Status: "online"}, watchLine{Watch: 6, Peer: "sse", Status: "online"})

	s.proxy.cut()
	report("p2", "online")
	s.proxy.heal()
	await(t, said, watchLine{Watch: 2, Peer: "p2", Status: "online"})

	report("p3", "offline") // the page closes that watch
	await(t, said, watchLine{Watch: 3, Peer: "p3", Status: "offline"})
	report("p3", "online")
	report("shared", "offline") // and then all others
	want = nil
	for _, i := range []int{0, 1, 2, 4, 5} {
		want = append(want, watchLine{Watch: i, Peer: "shared", Status: "offline"})
	}
	await(t, said, want...)
	for {
		select {
		case got := <-said:
			if got.Watch == 3 && got.Failed == "" {
				t.Errorf("a watch that was closed said %+v", got)
			}
			continue
		default:
		}
		break
	}
}

type tabLine struct {
	Tab    string
	On     bool
	Peer   string
	Status string
	Failed string
}

// Two tabs of one app are two connections, whether the app names one device for both or none:
// closing the second leaves the peer online, and the first present.
func TestTwoTabsOfAPageAreTwoConnections(t *testing.T) {
	for name, device := range map[string]string{"one device": "laptop", "no device": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			said := browsertest.Open[tabLine](t, pages(t, "tabs.html", s)+"&same="+device)
			await(t, said, tabLine{Tab: "a", On: true}, tabLine{Tab: "b", On: true}, tabLine{Peer: "tom", Status: "online"}, tabLine{Peer: "flag", Status: "unknown"})
			// Until the server knows that the tab was closed.
			for open := 2; open != 1; time.Sleep(10 * time.Millisecond) {
				var why struct {
					Status   string
					Sessions []struct{ Open bool }
				}
				res := s.call(t, "GET", "/v1/peers/tom/why", "")
				err := json.NewDecoder(res.Body).Decode(&why)
				_ = res.Body.Close()
				open = 0
				for _, one := range why.Sessions {
					if one.Open {
						open++
					}
				}
				if err != nil || why.Status != "online" {
					t.Fatalf("tom is %q, with %d sessions open (%v)", why.Status, open, err)
				}
			}
			s.do(t, step{Server: "report", Peer: "flag", State: "online"})
			for got := range said {
				switch got {
				case tabLine{Peer: "flag", Status: "online"}:
					return
				case tabLine{Peer: "tom", Status: "offline"}, tabLine{Tab: "a"}:
					t.Fatalf("the page says %+v", got)
				}
			}
		})
	}
}

// ticket buys a ticket for peers with the app key.
func (s *stage) ticket(t *testing.T, peers []string) string {
	c, err := rollcall.New(rollcall.Config{URL: "http://" + s.srv.Listen(), App: appID, Key: appKey})
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	ticket, err := c.Ticket(t.Context(), rollcall.TicketRequest{Peers: peers})
	if err != nil {
		t.Error(err)
	}
	return ticket.Ticket
}
