package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"

	"rollcall/presence"
)

// An Auditor is a kind whose product can be asked who is online. Its method is called by many
// goroutines at once.
type Auditor interface {
	Kind
	// Limits returns what the product allows.
	Limits() Limits
	// CheckAsk returns what is wrong with the settings of a source that is asked, or nil; each
	// begins with the name of the setting.
	CheckAsk(*Source) error
	// Ask asks the product of s about peers, at most Limits().Peers of them, in one or more calls.
	// A peer of which the product gave no clear answer is missing from the answer: that is no word
	// that it is offline. An error is no answer about any of them; one that matches [ErrRefused]
	// says that asking again changes nothing before the settings do.
	//
	// The client follows no redirects and has a deadline. The answer of a product may hold secrets
	// of its users: what is not a field of Answer is not kept, and not part of an error.
	Ask(ctx context.Context, client *http.Client, s *Source, peers []presence.PeerID) (Answer, error)
}

// Reconcile is how the product of a source is asked who is online. The zero value: it is not.
type Reconcile struct {
	Every   time.Duration // between the beginnings of two rounds
	Rate    float64       // calls a second
	Lag     time.Duration // see [Limits]
	Confirm time.Duration // the least time between the two answers that take a peer offline
	Brake   float64       // the share of those asked that may turn in one round
	// Auditor is what asks: the kind of the source, or that of the backend which answers for it.
	Auditor Auditor
	URL     string // of the API; empty takes that of the product, where there is one
	// Key proves who asks, under the name KeyID where keys have names. KeyOld is tried when the
	// product refuses it.
	KeyID, Key, KeyOld string
	User               string  // the administrator in whose name the product is asked
	Domain             string  // of the peers, where it is part of their names at the product
	Passes             *Passes // the tokens made with the keys; nil makes one for each call
}

// On reports whether the product is asked.
func (r *Reconcile) On() bool { return r.Every > 0 }

// ErrRefused: the product does not accept the key, or does not know the app.
var ErrRefused = errors.New("the product refuses the key or the app")

// Limits are what a product allows who asks it.
type Limits struct {
	Peers int           // the most ids of one Ask
	Rate  float64       // calls a second of a source that sets none
	Lag   time.Duration // how old an answer may be by itself, and how late its events; 0 is 10 s
	// Counted says that the events of the product name no sessions, so that an answer is about the
	// number of them.
	Counted bool
}

// An Answer is what a product said, at one time.
type Answer struct {
	// At is the time of the answer by the clock of the product, such as its Date header, in Unix
	// milliseconds; zero when the product does not say.
	At    presence.Millis
	Peers map[presence.PeerID]Found
}

// Found is what a product said of one peer; presence makes reports of it.
type Found = presence.Found

// A FoundSession is one session in the answer of a product.
type FoundSession = presence.FoundSession
