package ask

import (
	"errors"
	"fmt"

	"rollcall/ask/token"
	"rollcall/presence"
)

// ErrView: a question without an app or a viewer. It is a fault of the door that asked.
var ErrView = errors.New("question without a viewer")

// A Viewer is the kind of caller that asks. Nothing is hidden from any of them today: the same
// question has the same answer for all. The zero Viewer is none.
type Viewer uint8

const (
	// Public is a client with an app key: anybody who has the app.
	Public Viewer = iota + 1
	// Server is the app's own server, with its master key, or the operator.
	Server
	// Named is a client that has proven which peer it is.
	Named
)

// A View is what a question sees: the peers of an app, as a viewer may see them.
type View struct {
	App    presence.AppID
	Viewer Viewer
	Who    presence.PeerID // of Named
}

// ViewOf returns the view of app for a caller that has its master key or has not; who is the peer
// that it has proven to be, "" for none.
func ViewOf(app presence.AppID, master bool, who presence.PeerID) View {
	switch {
	case master:
		return View{App: app, Viewer: Server}
	case who != "":
		return View{App: app, Viewer: Named, Who: who}
	}
	return View{App: app, Viewer: Public}
}

// Check returns an error matching [ErrView] for a view that names no app or no viewer.
func (v View) Check() error {
	if v.App == "" || v.Viewer < Public || v.Viewer > Named || (v.Viewer == Named) != (v.Who != "") {
		return fmt.Errorf("%w: app %q, viewer %d", ErrView, v.App, v.Viewer)
	}
	return nil
}

// List starts the fingerprint of a list of peers as v sees it. A token is for one viewer with a
// name: to another it names nothing.
func (v View) List() uint64 {
	list := token.ListOf(v.App)
	if v.Viewer == Named {
		list ^= token.Fingerprint("viewer " + string(v.Who))
	}
	return list
}

// key returns the key of a peer in v.
func (v View) key(peer presence.PeerID) presence.Key { return presence.Key{App: v.App, Peer: peer} }
