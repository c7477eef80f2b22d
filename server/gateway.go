package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/edge/hookout"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// nodeID names this process by its machine and its start, so that a restarted node is another node.
func nodeID(now presence.Millis) presence.NodeID {
	host, err := os.Hostname()
	if err != nil || len(host) > 100 {
		host = "node"
	}
	return presence.NodeID(fmt.Sprintf("%s-%d-%d", host, os.Getpid(), now))
}

// openGateway begins to hold sockets.
func (s *Server) openGateway() error {
	node := nodeID(s.clock.Now())
	if err := s.openHooks(node); err != nil {
		return err
	}
	deps := gateway.Deps{
		Service: s.presence, Ask: s.ask, Node: node, Now: s.clock.Now, Log: s.log, Shared: s.store.shared,
		Address: func(r *http.Request) netip.Addr { return limit.Address(r, s.cfg.Proxies) },
	}
	if s.hooks != nil {
		deps.Events = func(e gateway.Event) { s.hooks.Add(hookOf(&e)) }
	}
	gw, err := gateway.New(s.cfg.Gateway, deps)
	if err != nil {
		return err
	}
	s.users = usertoken.New(usertoken.Deps{
		Life: s.cfg.Gate.UserTokenLife, Now: func() int64 { return int64(s.clock.Now()) }, Log: s.log, Kicked: gw.Kicked,
	})
	s.onStop(func(context.Context) { s.users.Close() })
	dialect, err := rtm.New(s.cfg.RTM, rtm.Deps{
		Gateway: gw, Keys: s.ring, Callers: s.callers, Proxies: s.cfg.Proxies, Users: s.users,
		Proof: s.cfg.PresentByToken(), AskByToken: s.cfg.Gate.Ask == api.ByToken,
	})
	if err != nil {
		return err
	}
	if err := gw.Start(); err != nil {
		return err
	}
	s.gateway, s.rtm = gw, dialect
	return nil
}

// hooksFile keeps the hooks that wait, in the data directory.
const hooksFile = "hooks.journal"

// openHooks starts what calls the app's own hooks, on node.
func (s *Server) openHooks(node presence.NodeID) error {
	if s.cfg.Hooks.URL == "" {
		return nil
	}
	deps := hookout.Deps{
		Keys: s.hookKeys, Log: s.log,
		Ledger: &hookout.Ledger{Store: s.store.Store, Node: node, Shared: s.store.shared, Now: s.clock.Now, Akin: gateway.Akin},
	}
	if s.cfg.Data != "" {
		deps.Journal = filepath.Join(s.cfg.Data, hooksFile)
	}
	sender, err := hookout.Open(s.cfg.Hooks, deps)
	if err != nil {
		return err
	}
	s.hooks = sender
	s.presence.TakeOver(sender.Successor())
	stop := s.presence.OnReturn(func(presence.Millis) <-chan struct{} {
		sender.Review()
		return nil
	})
	s.onStop(func(ctx context.Context) {
		stop()
		if err := sender.Close(ctx); err != nil {
			s.log.Error("hook journal close failed", "err", err)
		}
	})
	return nil
}

// hookKeys returns the keys that the hooks of app carry.
func (s *Server) hookKeys(app presence.AppID) (hookout.Keys, bool) {
	a := s.ring.Lookup(app)
	if a == nil {
		return hookout.Keys{}, false
	}
	return hookout.Keys{ID: string(a.ID), Key: a.Key, HookKey: a.HookKey}, true
}

func hookOf(e *gateway.Event) hookout.Event {
	h := hookout.Event{
		App: e.Key.App, Peer: e.Key.Peer, Session: e.Session, Start: e.Start, Online: e.Online, Tag: e.Tag, Reconnect: e.Auto, Cause: e.Cause,
		Reason: e.Reason, ErrorCode: e.Code, At: e.At, Trace: e.Trace.String(),
	}
	if e.Address.IsValid() {
		h.Address = e.Address.String()
	}
	return h
}

// drainTime bounds how long sockets take to be sent away: a stop is over within ten seconds.
const drainTime = 8 * time.Second

// drain sends the sockets of this node elsewhere.
func (s *Server) drain(ctx context.Context) {
	if s.gateway == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := s.gateway.Drain(ctx); err != nil {
		s.log.Error("drain incomplete", "err", err)
	}
}
