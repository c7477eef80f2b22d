package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"testing"
	"time"

	"rollcall/presence"
)

var (
	withMaster = &App{ID: "a", Key: "k", MasterKey: "m", HookKey: "h"}
	other      = &App{ID: "b", Key: "k", MasterKey: "m", HookKey: "h"}
	hookOnly   = &App{ID: "a", Key: "k", HookKey: "h"}
	keyOnly    = &App{ID: "a", Key: "k"}
)

// Anyone with a copy of an app can sign what its app key signs: that must give no more than the app
// key.
func TestTicketsSignedWithTheAppKeyHaveItsRights(t *testing.T) {
	tickets := NewTickets()
	for _, tt := range []struct {
		name string
		app  *App
		want bool
	}{
		{"with a master key", withMaster, true},
		{"with a hook key only", hookOnly, true},
		{"without a secret that the app does not carry", keyOnly, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ticket, _ := tickets.Issue(tt.app, NewPass(nil, true, 1))
			p, _ := tickets.Redeem(t.Context(), tt.app, ticket, 1)
			if p == nil || p.Detail != tt.want {
				t.Fatalf("a ticket with detail gives %+v, want detail %v", p, tt.want)
			}
			forged := NewPass(nil, true, 1)
			if p := tickets.Renew(tt.app, tickets.Renewal(tt.app, &forged), 1); p == nil || p.Detail != tt.want {
				t.Errorf("a renewal with detail gives %+v, want detail %v", p, tt.want)
			}
			carried := &App{ID: tt.app.ID, Key: tt.app.Key}
			if p := tickets.Renew(tt.app, tickets.Renewal(carried, &forged), 1); p != nil && p.Detail {
				t.Error("signed with the app key alone a renewal gives detail")
			}
		})
	}
}

// An app that spends all the tickets it may leaves another app's alone.
func TestUsedTicketsAreBookedByApp(t *testing.T) {
	tickets := NewTickets()
	refused := 0
	for range maxUsed + 1 {
		ticket, _ := tickets.Issue(withMaster, NewPass(nil, false, 1))
		if p, _ := tickets.Redeem(t.Context(), withMaster, ticket, 1); p == nil {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d tickets of %d are refused", refused, maxUsed+1)
	}
	ticket, _ := tickets.Issue(other, NewPass(nil, false, 1))
	if p, _ := tickets.Redeem(t.Context(), other, ticket, 1); p == nil {
		t.Error("another app's ticket is refused")
	}
}

// A ticket opens one stream at a time, and is good again when that is gone, for as long as it runs.
func TestATicketOpensOneStreamAtATime(t *testing.T) {
	tickets := NewTickets()
	ticket, expires := tickets.Issue(withMaster, NewPass(nil, false, 0))
	if expires != TicketLife.Milliseconds() {
		t.Errorf("it expires at %d", expires)
	}
	for round := range 3 {
		p, release := tickets.Redeem(t.Context(), withMaster, ticket, int64(round))
		if p == nil {
			t.Fatalf("round %d: refused", round)
		}
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		if twice, _ := tickets.Redeem(impatient, withMaster, ticket, int64(round)); twice != nil {
			t.Errorf("round %d: a second stream is let in beside the first", round)
		}
		release()
		release()
	}
	// A reader that comes back before its end is noticed waits for it, and of two only one gets in.
	_, release := tickets.Redeem(t.Context(), withMaster, ticket, 4)
	in := make(chan *Pass, 2)
	for range 2 {
		go func() {
			p, _ := tickets.Redeem(t.Context(), withMaster, ticket, 5)
			in <- p
		}()
	}
	time.Sleep(50 * time.Millisecond)
	release()
	if a, b := <-in, <-in; (a == nil) == (b == nil) {
		t.Errorf("of two that wait %v and %v get in", a, b)
	}
	if p, _ := tickets.Redeem(t.Context(), withMaster, ticket, expires); p != nil {
		t.Error("it is taken when its life is over")
	}
	if p := tickets.Renew(withMaster, ticket, 0); p != nil {
		t.Error("it is taken for a renewal")
	}
}

// A chain of renewals ends a day after the purchase, however often it was renewed.
func TestRenewalsEndADayAfterThePurchase(t *testing.T) {
	tickets := NewTickets()
	pass := NewPass([]presence.PeerID{"tom"}, true, 1000)
	p := &pass
	const night = 10 * time.Hour
	for now := int64(1000); now < 1000+RenewalLife.Milliseconds(); now += night.Milliseconds() {
		if p = tickets.Renew(withMaster, tickets.Renewal(withMaster, p), now); p == nil {
			t.Fatalf("after %v it is over", time.Duration(now)*time.Millisecond)
		}
	}
	if got := tickets.Renew(withMaster, tickets.Renewal(withMaster, p), 1000+RenewalLife.Milliseconds()); got != nil {
		t.Error("after a day it goes on")
	}
	if !p.Detail || !p.Bound || p.Ends() != 1000+RenewalLife.Milliseconds() {
		t.Errorf("the last of the chain is %+v", p)
	}
	if tickets.Renew(other, tickets.Renewal(withMaster, &pass), 1000) != nil {
		t.Error("another app takes it")
	}
}

// A pass that was bought for a list is for that list, in any order, and for no other.
func TestAPassIsBoundToItsList(t *testing.T) {
	pass := NewPass([]presence.PeerID{"tom", "ann"}, false, 0)
	c := &Caller{Pass: &pass}
	for _, tt := range []struct {
		peers []presence.PeerID
		ok    bool
	}{
		{[]presence.PeerID{"tom", "ann"}, true},
		{[]presence.PeerID{"ann", "tom", "ann"}, true},
		{[]presence.PeerID{"tom"}, false},
		{[]presence.PeerID{"tom", "ann", "eve"}, false},
		{[]presence.PeerID{"toma", "nn"}, false},
		{nil, false},
	} {
		if err := c.MayWatch(tt.peers); (err == nil) != tt.ok {
			t.Errorf("%q: %v, want let in: %v", tt.peers, err, tt.ok)
		}
	}
	free := NewPass(nil, false, 0)
	for _, c := range []*Caller{{Pass: &free}, {}} {
		if err := c.MayWatch([]presence.PeerID{"eve"}); err != nil {
			t.Errorf("a caller that is bound to nothing: %v", err)
		}
	}
}

// Tickets and renewals of the first release are taken for as long as they were good there, with the
// rights of the app key. The streams that they open end as any other does.
func TestTicketsOfTheFirstReleaseAreTaken(t *testing.T) {
	tickets := NewTickets()
	for _, app := range []*App{withMaster, keyOnly} {
		secret := app.MasterKey
		if secret == "" {
			secret = app.Key
		}
		first := func(kind byte, expires int64) string {
			head := make([]byte, firstHead)
			head[0], head[1] = kind, byte(Master)
			binary.BigEndian.PutUint64(head[2:], uint64(expires))
			return base64.RawURLEncoding.EncodeToString(append(head, signTicket(app, secret, head)...))
		}
		const now = 1_000_000_000
		p, release := tickets.Redeem(t.Context(), app, first(1, now+1), now)
		if p == nil || p.Detail || p.Bound {
			t.Fatalf("a ticket gives %+v", p)
		}
		release()
		if p, _ := tickets.Redeem(t.Context(), app, first(1, now), now); p != nil {
			t.Error("a ticket is taken after its end")
		}
		if p := tickets.Renew(app, first(2, now+1), now); p == nil || p.Detail || p.Ends() != now+1+(24*time.Hour-15*time.Minute).Milliseconds() {
			t.Errorf("a renewal gives %+v", p)
		}
		if p := tickets.Renew(app, first(2, now), now); p != nil {
			t.Error("a renewal is taken after its end")
		}
		if p := tickets.Renew(app, first(1, now+1), now); p != nil {
			t.Error("a ticket is taken for a renewal")
		}
	}
}

// With an app key alone anybody makes tickets of any time. One of a time to come keeps its place in
// the book no longer than another, so that it takes nothing from the app's own tickets.
func TestTicketsOfATimeToComeDoNotFillTheBook(t *testing.T) {
	tickets := NewTickets()
	const now, later = 1_000_000, 1_000_000 + 31_000
	for i := range maxUsed {
		ticket, _ := tickets.Issue(keyOnly, NewPass(nil, false, now+int64(i)*1_000_000))
		if p, _ := tickets.Redeem(t.Context(), keyOnly, ticket, now); p == nil {
			t.Fatalf("ticket %d is refused", i)
		}
	}
	ticket, _ := tickets.Issue(keyOnly, NewPass(nil, false, later))
	if p, _ := tickets.Redeem(t.Context(), keyOnly, ticket, later); p == nil {
		t.Error("30 s later the book is full of tickets of a time to come")
	}
}
