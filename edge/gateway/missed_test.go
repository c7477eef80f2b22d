package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/gateway"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// cutService passes on no signal while it is cut, as a link to Redis that is down.
type cutService struct {
	gateway.Service
	cut    bool
	signal func([]presence.Key)
}

func (s *cutService) Listen(fn func([]presence.Key)) (stop func()) {
	s.signal = fn
	return s.Service.Listen(func(keys []presence.Key) {
		if !s.cut {
			fn(keys)
		}
	})
}

// A session is ended by another node while no signal comes through. Once the link is up its client
// is sent the end, and does not stay in the belief that it is present.
func TestAnEndWhoseSignalWasLostIsSentWhenTheLinkIsUp(t *testing.T) {
	for name, end := range map[string]func(*model) error{
		"kick": func(m *model) error {
			return m.nodes[1].gw.Kick(context.Background(), appID, "tom", "because")
		},
		"another device": func(m *model) error {
			m.play(step{what: "login", node: 1, peer: "tom", tag: "Web", device: "d2"})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, bubbleNow())
				if err != nil {
					t.Fatal(err)
				}
				m := &model{t: t, store: store, events: map[string][]string{}}
				link := &cutService{Service: presence.NewService(store, presence.DefaultConfig())}
				m.nodes[0] = newModelNodeOver(t, store, link, "node-0", true, m.note)
				m.nodes[1] = newModelNode(t, store, "node-1", true, m.note)
				m.play(step{what: "login", peer: "tom", tag: "Web", device: "d1"}, step{what: "login", peer: "ann", tag: "-", device: "-"})
				link.cut = true
				if err := end(m); err != nil {
					t.Error(err)
				}
				m.nodes[0].pass(time.Second)
				link.cut = false
				link.signal(nil)
				m.nodes[0].pass(time.Second)
				if id := m.clients[0].present(); id != "" {
					t.Errorf("the client takes itself for present as %s", id)
				}
				if n := m.nodes[0].gw.Stats().Sessions; n != 1 || m.clients[1].present() == "" {
					t.Errorf("the node holds %d sessions, want that of ann", n)
				}
				m.close()
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
