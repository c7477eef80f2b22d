package gateway

import (
	"context"
	"fmt"

	"rollcall/presence"
)

// Kicks are remembered by the same store, as the lease of a session without a socket, in an app of
// their own: so they are durable, shared by the nodes and gone by themselves, and no peer looks
// different for having been kicked.
const (
	kickApp     = "#kicks"
	kickSource  = presence.Source("kick")
	kickSession = presence.SessionID("kick")
)

func kickKey(k presence.Key) presence.Key { return presence.Key{App: k.App + kickApp, Peer: k.Peer} }

// Kick ends every session of a peer on every node, and makes what it logged in with void: tokens
// and signatures from before now. An unknown peer is no error, nor is an id under which no peer can
// be present. The error matches presence.ErrUnavailable when the store does not answer; the caller
// must then retry.
func (g *Gateway) Kick(ctx context.Context, app presence.AppID, peer presence.PeerID, reason string) error {
	if presence.CheckPeer(peer) != nil {
		return nil
	}
	key := presence.Key{App: app, Peer: peer}
	now := g.Now()
	mark := presence.Report{
		App: kickKey(key).App, Peer: peer, Source: kickSource, Session: kickSession, Kind: presence.KindOnline,
		At: now, Lease: g.cfg.Kicked, Device: cut(reason, 128),
	}
	if err := g.Service.Report(ctx, []presence.Report{mark}, now, make([]presence.Outcome, 1)); err != nil {
		return fmt.Errorf("remember the kick: %w", err)
	}
	var reports []presence.Report
	for _, ss := range g.registry.sessions(key) {
		if g.takeOver(ss, g.endEvent(ss, presence.CauseKicked, reason)) {
			reports = append(reports, g.offline(ss, presence.CauseKicked, now))
			g.ended(ss, presence.CauseKicked, reason)
		}
	}
	reports, err := g.kickElsewhere(ctx, key, now, reports)
	if err != nil || len(reports) == 0 {
		return err
	}
	if err := g.Service.Report(ctx, reports, now, make([]presence.Outcome, len(reports))); err != nil {
		for _, r := range reports {
			g.offlineQueue.Add(r)
		}
		return fmt.Errorf("report the kick: %w", err)
	}
	return nil
}

// kickElsewhere adds the ends of what other nodes, or this one before it was restarted, hold of
// key.
func (g *Gateway) kickElsewhere(ctx context.Context, key presence.Key, now presence.Millis, reports []presence.Report) ([]presence.Report, error) {
	var st presence.State
	if err := g.Service.Load(ctx, key, &st); err != nil {
		for _, r := range reports {
			g.offlineQueue.Add(r)
		}
		return nil, fmt.Errorf("read the sessions to kick: %w", err)
	}
	here := map[presence.SessionID]bool{}
	for _, r := range reports {
		here[r.Session] = true
	}
	for i := range st.Sessions {
		if o := &st.Sessions[i]; o.Source == presence.SourceGateway && !o.Ended && !here[o.ID] {
			reports = append(reports, endOf(key, o, presence.CauseKicked, now))
		}
	}
	return reports, nil
}

// endOf returns the report that ends a session of the store, wherever it is held.
func endOf(key presence.Key, o *presence.Session, cause presence.Cause, now presence.Millis) presence.Report {
	return presence.Report{
		App: key.App, Peer: key.Peer, Source: o.Source, Session: o.ID, Kind: presence.KindOffline,
		At: max(now, o.At), Incarnation: o.Incarnation, Cause: cause,
	}
}

// Kicked returns when key was last kicked, and zero when it was not within what is remembered.
func (g *Gateway) Kicked(ctx context.Context, key presence.Key) (presence.Millis, error) {
	at, _, err := g.kick(ctx, key)
	return at, err
}

// standsAfterKicks fails with [ErrKicked] and ends ss, which the store has taken, when its peer was
// kicked after made. The wire has asked before, but a kick may have come in between: it is
// remembered first and then looks for sessions, and a login is placed first and then asks, so one
// of the two sees the other.
func (g *Gateway) standsAfterKicks(ctx context.Context, ss *Session, made presence.Millis) error {
	kicked, err := g.Kicked(ctx, ss.key)
	if err != nil {
		g.drop(ss)
		return err
	}
	if made > kicked {
		return nil
	}
	if g.takeOver(ss, nil) {
		g.offlineQueue.Add(g.offline(ss, presence.CauseKicked, g.Now()))
	}
	return ErrKicked
}

func (g *Gateway) kick(ctx context.Context, key presence.Key) (at presence.Millis, reason string, err error) {
	var st presence.State
	if err := g.Service.Load(ctx, kickKey(key), &st); err != nil {
		return 0, "", fmt.Errorf("read the last kick: %w", err)
	}
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.ID == kickSession {
			return s.At, s.Device, nil
		}
	}
	return 0, "", nil
}

// cut shortens s to at most n bytes, between runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
