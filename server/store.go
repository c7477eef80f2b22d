package server

import (
	"context"
	"time"

	"rollcall/presence"
)

// An openedStore is a store and what the server shows of it.
type openedStore struct {
	presence.Store
	name      string // for people: "on disk"
	where     string
	lastAlive presence.Millis         // when it surely heard renewals for the last time
	counts    func() map[string]int64 // by names of its own
	trouble   func() string           // why reports cannot be kept now; empty when they can
}

// stepContext bounds a look into the store that nobody waits for long.
func stepContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Second)
}
