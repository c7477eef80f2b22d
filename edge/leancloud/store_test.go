package leancloud_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"rollcall/presence"
)

// mapStore keeps states in a map.
type mapStore struct {
	mu    sync.Mutex
	rules presence.Rules
	peers map[presence.Key]presence.State
	fail  error
}

func newStore(testing.TB) *mapStore {
	return &mapStore{rules: presence.DefaultRules(), peers: map[presence.Key]presence.State{}}
}

func (m *mapStore) Statuses(_ context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range peers {
		st := m.peers[presence.Key{App: app, Peer: presence.PeerID(p)}]
		out[i], _ = presence.PeekStatus(st.Pack(nil), now, &m.rules)
	}
	return m.fail
}

func (m *mapStore) Update(_ context.Context, keys []presence.Key, _ presence.Millis, merge presence.Merge) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for i, k := range keys {
		st := m.peers[k]
		merge(i, &st)
		m.peers[k] = st
	}
	return nil
}

func (m *mapStore) Counts(_ context.Context, app presence.AppID, now presence.Millis) (c presence.Counts, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, st := range m.peers {
		if s, _ := presence.PeekStatus(st.Pack(nil), now, &m.rules); k.App == app && s == presence.Online {
			c.Online++
			c.Today++
		}
	}
	return c, m.fail
}

func (m *mapStore) Summaries(context.Context, []presence.Key, []presence.Summary) error { panic("no") }

func (m *mapStore) Load(context.Context, presence.Key, *presence.State) error { panic("no") }

func (m *mapStore) Due(context.Context, presence.Millis, int) ([]presence.Key, error) { panic("no") }

func (m *mapStore) List(context.Context, presence.AppID, string, int, presence.Millis) ([]presence.PeerID, string, error) {
	panic("no")
}

func (m *mapStore) LostNodes(context.Context, presence.Millis) ([]presence.LostNode, error) {
	panic("no")
}

func (m *mapStore) OnNode(context.Context, presence.NodeID, int) ([]presence.Key, error) {
	panic("no")
}
func (m *mapStore) DropNode(context.Context, presence.NodeID) error { panic("no") }
func (m *mapStore) Listen(func([]presence.Key)) func()              { panic("no") }
func (m *mapStore) Close() error                                    { return nil }

func (m *mapStore) Beat(context.Context, presence.NodeID, time.Duration, bool, presence.Millis) error {
	panic("no")
}
