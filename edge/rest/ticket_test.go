package rest_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
)

// buy returns a ticket that who buys with body.
func (h *house) buy(who, body string) string {
	h.Helper()
	status, got := h.call(who, "POST", "/v1/ticket", body)
	var out struct {
		Ticket        string
		Expires, Ends int64
	}
	if err := json.Unmarshal([]byte(got), &out); err != nil || status != 200 || out.Ticket == "" || out.Ends-out.Expires != (api.RenewalLife-api.TicketLife).Milliseconds() {
		h.Fatalf("a ticket for %s: %d %s", body, status, got)
	}
	return out.Ticket
}

func ticketPath(ticket string, peers ...string) string {
	path := "/v1/watch?app=" + appID + "&ticket=" + ticket
	for _, p := range peers {
		path += "&peer=" + p
	}
	return path
}

// refused expects a stream to be refused.
func (h *house) refused(what string, head http.Header, path string, status int) {
	h.Helper()
	res := h.do(head, "GET", path, "")
	_ = res.Body.Close()
	if res.StatusCode != status {
		h.Errorf("%s: %d, want %d", what, res.StatusCode, status)
	}
}

func lastID(id string) http.Header { return http.Header{"Last-Event-Id": {id}} }

func TestTicket(t *testing.T) {
	h := open(t)
	ticket := h.buy("app", "")
	path := ticketPath(ticket, "tom")
	s := h.stream(nil, path)
	id := s.expect("snapshot tom=unknown").ID
	h.refused("a second stream beside the first", nil, path, 401)
	s.close()
	// A browser connects again to the same address, with its last id.
	again := h.stream(lastID(id), path)
	again.expect("resume")
	again.close()
	for name, after := range map[string]time.Duration{"within the life of a ticket": time.Second, "after a night": 12 * time.Hour, "just before a day is over": api.RenewalLife - time.Minute} {
		h.ahead.Store(after.Milliseconds())
		next := h.stream(lastID(id), path)
		next.next()
		next.close()
		if t.Failed() {
			t.Log(name)
		}
	}
	h.ahead.Store((api.RenewalLife + time.Minute).Milliseconds())
	h.refused("a renewal of a day ago", lastID(id), path, 401)
	h.ahead.Store(0)
	ticket = h.buy("app", "")
	path = ticketPath(ticket, "tom")
	h.ahead.Store((api.TicketLife + time.Minute).Milliseconds())
	h.refused("an expired ticket", nil, path, 401)
	h.ahead.Store(0)
	h.refused("another app", nil, strings.Replace(path, appID, otherApp, 1), 401)
	// Streams only.
	h.expect("nobody", "POST", "/v1/peers/query?app="+appID+"&ticket="+ticket, `{"peers":[]}`, 401, "")
	flipped := []byte(ticket)
	flipped[3] ^= 1
	h.refused("a ticket with another bit", nil, ticketPath(string(flipped), "tom"), 401)
	// Never.
	h.refused("a key in the address", nil, "/v1/watch?app="+appID+"&key="+appKey+"&peer=tom", 401)
}

// A stream that is cut before its first event was whole: the same address opens it again, by the
// renewal that its first bytes carry and by the ticket alone, and goes on where an id given before
// says.
func TestAStreamThatIsCutAtItsFirstBytesComesBack(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1"}]}`)
	path := ticketPath(h.buy("app", ""), "tom")
	first := func(head string) string {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, head)
		var got []byte
		for b := make([]byte, 1); ; {
			if _, err := c.Read(b); err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			got = append(got, b...)
			_, body, ok := strings.Cut(string(got), "\r\n\r\n")
			if ok && (strings.HasSuffix(body, "\n\n") || !strings.Contains(string(got), " 200 ")) {
				return body // of the stream no more than this is read
			}
		}
	}
	idOf := func(block string) string {
		for line := range strings.Lines(block) {
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				return strings.TrimSpace(id)
			}
		}
		t.Fatalf("the first bytes are %q: no id", block)
		return ""
	}
	block := first("")
	if strings.Contains(block, "data:") {
		t.Errorf("the id comes only with the first event: %q", block)
	}
	id := idOf(block)
	// By the ticket alone: it is good again as soon as the server has seen that the stream is gone.
	h.await(30*time.Second, func() bool {
		res := h.do(nil, "GET", path, "")
		_ = res.Body.Close()
		return res.StatusCode == 200
	})
	// By the renewal, also when the ticket's life is over.
	h.ahead.Store(time.Hour.Milliseconds())
	s := h.stream(lastID(id), path)
	whole := s.expect("snapshot tom=online").ID
	s.close()
	// With an id that names what is known the first bytes name it too.
	token, _, _ := strings.Cut(whole, api.RenewalMark)
	if again, _, _ := strings.Cut(idOf(first("Last-Event-ID: "+whole+"\r\n")), api.RenewalMark); again != token {
		t.Errorf("the first bytes of a stream that goes on have the token %q, want %q", again, token)
	}
}

// What is bought for a list opens that list and no other, by the ticket and by every renewal of it,
// at streams and at sockets.
func TestATicketForAListIsForThatList(t *testing.T) {
	h := open(t)
	for _, who := range []string{"app", "master"} {
		ticket := h.buy(who, `{"peers":["tom","ann"]}`)
		for _, peers := range [][]string{{"eve"}, {"tom"}, {"tom", "ann", "eve"}} {
			h.refused("a ticket for another list", nil, ticketPath(ticket, peers...), 403)
		}
		s := h.stream(nil, ticketPath(ticket, "ann", "tom"))
		id := s.expect("snapshot ann=unknown tom=unknown").ID
		s.close()
		h.refused("a renewal for another peer", lastID(id), ticketPath(ticket, "eve"), 403)
		s = h.stream(lastID(id), ticketPath(ticket, "tom", "ann"))
		s.expect("resume")
		s.close()

		ticket = h.buy(who, `{"peers":["tom","ann"]}`)
		c := h.dial()
		c.say(`{"op":"hello","app":%q,"ticket":%q,"id":1}`, appID, ticket)
		c.expect("ok 1")
		c.say(`{"op":"watch","peers":["eve"],"id":2}`)
		c.expect("error 2 forbidden")
		c.say(`{"op":"watch","peers":["tom","ann"]}`)
		c.expect("snapshot tom=unknown ann=unknown")
		c.say(`{"op":"watch","peers":["tom","ann"],"id":3}`)
		c.expect("error 3 forbidden")
	}
}

// A ticket has the rights of the app key, with whatever key it was bought; it sees more only when
// that was asked for, by a key that may.
func TestATicketHasTheRightsOfTheAppKey(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1"}]}`)
	for _, tt := range []struct {
		who, body string
		full      bool
	}{
		{"app", "", false},
		{"master", "", false},
		{"master", `{"peers":["tom"]}`, false},
		{"master", `{"detail":false}`, false},
		{"master", `{"detail":true}`, true},
		{"master", `{"peers":["tom"],"detail":true}`, true},
	} {
		path := ticketPath(h.buy(tt.who, tt.body), "tom")
		s := h.stream(nil, path)
		e := s.expect("snapshot tom=online")
		s.close()
		again := h.stream(lastID(e.ID), path)
		again.close()
		fresh := h.stream(lastID("x."+strings.SplitN(e.ID, api.RenewalMark, 2)[1]), path).expect("snapshot tom=online")
		for what, e := range map[string]sseEvent{"a ticket": e, "its renewal": fresh} {
			if full := strings.Contains(e.Data, `"since":`); full != tt.full {
				t.Errorf("%s that %s buys with %q sees %s", what, tt.who, tt.body, e.Data)
			}
		}
	}
	h.expect("app", "POST", "/v1/ticket", `{"detail":true}`, 403, `{"code":"forbidden","error":"this key may ask for the status only, so its tickets have no detail"}`)
	h.expect("app", "POST", "/v1/ticket", `{"peers":[]}`, 400, `{"code":"invalid","error":"peers is empty; leave it out for a ticket that is for any peers"}`)
	h.expect("app", "POST", "/v1/ticket", `{"peers":["a\u0001"]}`, 400, "")
	// What was meant to narrow a ticket does not sell a wider one.
	h.expect("app", "POST", "/v1/ticket", `{"peer":["a"]}`, 400, `{"code":"invalid","error":"there is no field \"peer\"; a ticket takes peers and detail"}`)
	h.expect("app", "POST", "/v1/ticket", `{"Peers":["a"]}`, 400, `{"code":"invalid","error":"there is no field \"Peers\"; a ticket takes peers and detail"}`)
	h.expect("app", "POST", "/v1/ticket", `{"peers":null}`, 400, `{"code":"invalid","error":"peers is null; leave it out when it is not asked for"}`)
	h.expect("app", "POST", "/v1/ticket", `null`, 200, "")
	h.expect("app", "POST", "/v1/ticket", `{"peers":7}`, 400, `{"code":"bad_json","error":"the field \"peers\" has the wrong type"}`)
}

// The renewals of a ticket that is for any peers are for those of the stream that gave them out.
func TestARenewalIsForTheListOfItsStream(t *testing.T) {
	h := open(t)
	for _, who := range []string{"app", "master"} {
		ticket := h.buy(who, "")
		s := h.stream(nil, ticketPath(ticket, "tom"))
		id := s.expect("snapshot tom=unknown").ID
		s.close()
		h.refused("a renewal for another peer", lastID(id), ticketPath(ticket, "eve"), 403)
		again := h.stream(lastID(id), ticketPath(ticket, "tom"))
		again.expect("resume")
		again.close()
	}
}

// Tickets and renewals are made and judged by the server's clock, however far that is from the
// machine's.
func TestTicketsGoByTheServersClock(t *testing.T) {
	for _, away := range []time.Duration{-48 * time.Hour, -16 * time.Minute, 16 * time.Minute, 48 * time.Hour} {
		h := open(t)
		h.ahead.Store(away.Milliseconds())
		path := ticketPath(h.buy("app", ""), "tom")
		s := h.stream(nil, path)
		id := s.expect("snapshot tom=unknown").ID
		s.close()
		for _, after := range []time.Duration{time.Minute, 23 * time.Hour} {
			h.ahead.Store((away + after).Milliseconds())
			s = h.stream(lastID(id), path)
			id = s.expect("resume").ID
			s.close()
		}
		h.ahead.Store((away + 25*time.Hour).Milliseconds())
		h.refused("a renewal after a day", lastID(id), path, 401)
	}
}

// A stream ends with its ticket, and says so: the reader buys another.
func TestAStreamEndsWithItsTicket(t *testing.T) {
	h := open(t)
	path := ticketPath(h.buy("app", ""), "tom")
	s := h.stream(nil, path)
	id := s.expect("snapshot tom=unknown").ID
	s.close()
	h.ahead.Store((api.RenewalLife - time.Second).Milliseconds())
	s = h.stream(lastID(id), path)
	s.expect("resume")
	if e := s.next(); e.Name != "bye" || e.Data != `{"reason":"expired"}` {
		t.Errorf("the last event is %+v", e)
	}
}
