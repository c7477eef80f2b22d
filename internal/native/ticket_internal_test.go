package native

import (
	"testing"

	"rollcall/internal/credentials"
)

// Whoever has a copy of an app can sign what its app key signs: that must give no more than the app key.
func TestTicketsSignedWithTheAppKeyHaveItsRights(t *testing.T) {
	tickets := NewTickets()
	for _, tt := range []struct {
		name   string
		app    credentials.App
		rights credentials.Rights
		want   credentials.Rights
	}{
		{"master rights without a master key", credentials.App{ID: "a", Key: "k"}, credentials.Master, credentials.Client},
		{"hook rights without a master key", credentials.App{ID: "a", Key: "k"}, credentials.Hook | credentials.Client, credentials.Client},
		{"every right without a master key", credentials.App{ID: "a", Key: "k"}, 0xff, credentials.Client},
		{"master rights with one", credentials.App{ID: "a", Key: "k", MasterKey: "m"}, credentials.Master, credentials.Master},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tickets.Redeem(&tt.app, sell(&tt.app, kindTicket, tt.rights, 100), 1); got != tt.want {
				t.Errorf("a ticket gives %b, want %b", got, tt.want)
			}
			if got := tickets.Renew(&tt.app, sell(&tt.app, kindRenewal, tt.rights, 100), 1); got != tt.want {
				t.Errorf("a renewal gives %b, want %b", got, tt.want)
			}
		})
	}
}

// An app that spends all the tickets it may leaves another app's alone.
func TestUsedTicketsAreBookedByApp(t *testing.T) {
	tickets := NewTickets()
	greedy, other := &credentials.App{ID: "a", Key: "k", MasterKey: "m"}, &credentials.App{ID: "b", Key: "k", MasterKey: "m"}
	refused := 0
	for range maxUsed + 1 {
		ticket, _ := tickets.Sell(greedy, credentials.Client, 1)
		if tickets.Redeem(greedy, ticket, 1) == credentials.None {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d tickets of %d are refused", refused, maxUsed+1)
	}
	ticket, _ := tickets.Sell(other, credentials.Client, 1)
	if tickets.Redeem(other, ticket, 1) != credentials.Client {
		t.Error("another app's ticket is refused")
	}
}
