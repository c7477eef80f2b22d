package gateway_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/edge/gateway"
	"rollcall/presence"
)

// byAddress are limits of an address that a test can reach.
func byAddress(early, newPeers, logins int) func(*gateway.Config) {
	return func(c *gateway.Config) {
		c.ConnectRate, c.EarlySockets, c.NewPeerRate, c.LoginRate = 1e6, early, newPeers, logins
	}
}

// Sockets that have had no session are few; one that logged in, said hello or is gone is none of
// them.
func TestSocketsWithoutALoginAreFewByAddress(t *testing.T) {
	w := newWorld(t, settings{gateway: byAddress(5, 0, 0)})
	for i := range 20 { // none of these stays early
		if i%2 == 0 {
			w.dial("lc.protobuf2.3").login(fmt.Sprint("peer-", i), nil)
		} else {
			w.speak(appKey)
		}
	}
	var idle []*client
	for range 5 {
		idle = append(idle, w.dial("lc.protobuf2.3"))
	}
	if _, err := w.tryDial("lc.protobuf2.3", nil); err == nil {
		t.Error("a sixth socket without a login is let in")
	}
	if n := w.gw.Stats().Refused["early"]; n != 1 {
		t.Errorf("counted %d times, want once", n)
	}
	_ = idle[0].conn.CloseNow()
	w.until("the closed one is not counted", func() bool {
		c, err := w.tryDial("lc.protobuf2.3", nil)
		if err == nil {
			c.login("late", nil)
		}
		return err == nil
	})
}

// Logins of unknown peers are few; those of known ones go on, at both doors.
func TestLoginsOfUnknownPeersAreFewByAddress(t *testing.T) {
	w := newWorld(t, settings{gateway: byAddress(0, 2, 0)}) // ten at once
	for i := range 10 {
		w.dial("lc.protobuf2.3").login(fmt.Sprint("peer-", i), nil)
	}
	if a := w.dial("lc.protobuf2.3").ask(open("stranger", 1, nil)); a.code() != 4113 {
		t.Errorf("an eleventh unknown peer is answered by %v", a)
	}
	if got := w.speak(appKey).ask(2, `{"op":"present","id":2,"peer":"stranger"}`); got["code"] != "rate_limited" || got["retry_after"] != 10.0 {
		t.Errorf("on the native socket it is answered by %v", got)
	}
	if got := w.status("stranger"); got != presence.Unknown {
		t.Errorf("the peer that was refused is %v", got)
	}
	for i := range 10 {
		w.dial("lc.protobuf2.3").login(fmt.Sprint("peer-", i), nil)
	}
	if st := w.gw.Stats(); st.Refused["new_peers"] != 2 || st.Refused["unavailable"] != 0 {
		t.Errorf("counted %v", st.Refused)
	}
}

func TestLoginsAreFewByAddressAndByApp(t *testing.T) {
	for name, set := range map[string]func(*gateway.Config){
		"by address": byAddress(0, 0, 2), // ten at once
		"by app":     func(c *gateway.Config) { c.AppLoginRate = 2 },
	} {
		w := newWorld(t, settings{gateway: set})
		c := w.dial("lc.protobuf2.3")
		for range 10 {
			c.login("Tom", nil)
		}
		if a := c.ask(open("Tom", 1, nil)); a.code() != 4113 {
			t.Errorf("%s: an eleventh login is answered by %v", name, a)
		}
		if n := w.gw.Stats().Refused["logins"]; n != 1 {
			t.Errorf("%s: counted %d times", name, n)
		}
	}
}

// With connect_rate off, nothing is counted by address.
func TestNoRateByAddressAtAll(t *testing.T) {
	w := newWorld(t, settings{gateway: func(c *gateway.Config) { c.EarlySockets, c.NewPeerRate, c.LoginRate = 1, 1, 1 }})
	for i := range 10 {
		w.dial("lc.protobuf2.3").login(fmt.Sprint("peer-", i), nil)
		w.dial("lc.protobuf2.3")
	}
	if got := w.gw.Config().LoginTime; got != time.Minute {
		t.Errorf("a socket without a login has %v", got)
	}
}
