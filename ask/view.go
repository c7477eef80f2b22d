package ask

import (
	"errors"
	"fmt"

	"rollcall/presence"
)

// ErrView: a question without an app or a viewer. It is a fault of the door that asked.
var ErrView = errors.New("question without a viewer")

// A Viewer is who asks. Nothing is hidden from any of them today: the same question has the same
// answer for all. The zero Viewer is none.
type Viewer uint8

const (
	// Public is a client with an app key: anybody who has the app.
	Public Viewer = iota + 1
	// Server is the app's own server, with its master key, or the operator.
	Server
)

// A View is what a question sees: the peers of an app, as a viewer may see them.
type View struct {
	App    presence.AppID
	Viewer Viewer
}

// ViewOf returns the view of app for a caller that has its master key or has not.
func ViewOf(app presence.AppID, master bool) View {
	v := View{App: app, Viewer: Public}
	if master {
		v.Viewer = Server
	}
	return v
}

// Check returns an error matching [ErrView] for a view that names no app or no viewer.
func (v View) Check() error {
	if v.App == "" || v.Viewer < Public || v.Viewer > Server {
		return fmt.Errorf("%w: app %q, viewer %d", ErrView, v.App, v.Viewer)
	}
	return nil
}

// key returns the key of a peer in v.
func (v View) key(peer presence.PeerID) presence.Key { return presence.Key{App: v.App, Peer: peer} }
