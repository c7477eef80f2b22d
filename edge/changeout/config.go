package changeout

import (
	"log/slog"
	"net/http"
	"time"

	"rollcall/feed"
	"rollcall/presence"
)

// A Receiver is a server that changes are posted to.
type Receiver struct {
	App presence.AppID
	// ID names the receiver in the store, in metrics and in the log. Another receiver of the same
	// id goes on where the first ended.
	ID  string
	URL string
	// Secret signs the calls; SecretOld, if there is one, signs them too.
	Secret, SecretOld string
	// Only are the statuses that are sent; none is all.
	Only []presence.Status
	// Timeout is how long one call may take.
	Timeout time.Duration
	// GiveUp is how old what waits may get, and MaxBytes how large, before the receiver must list
	// again.
	GiveUp   time.Duration
	MaxBytes int
}

// Deps are what a [Sender] stands on.
type Deps struct {
	Service *presence.Service
	// Store keeps the cursors, and is where the feed reads.
	Store presence.Store
	Feed  *feed.Feed
	// Shared says that other nodes use the store.
	Shared bool
	Now    func() presence.Millis
	Log    *slog.Logger
	// Journal is the directory that keeps what waits over a restart; empty keeps it in memory.
	Journal string
	// Transport makes the calls; nil is HTTP over TCP.
	Transport http.RoundTripper
	// UserAgent is what calls show as such.
	UserAgent string
}
