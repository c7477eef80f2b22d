package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"rollcall/internal/configload"
	"rollcall/internal/wake"
	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// A Store keeps peer states in Redis. It is safe for many goroutines, and for many processes on one
// Redis.
type Store struct {
	*shared
	owner  *ownership
	ident  *identity
	nodes  *nodeBook
	reader *reader
	writer *writer
	index  *indexes
	audit  *auditor
	outage *recovery
}

// An OpenError is why a store did not open, for the operator.
type OpenError = conn.OpenError

// Open connects to Redis, checks what it may do there, and starts to listen. An error is an
// [OpenError].
func Open(ctx context.Context, cfg Config, deps Deps) (*Store, error) {
	deps.fill()
	p, err := cfg.place(deps.URL)
	if err = errors.Join(err, configload.Validate(&cfg)); err != nil {
		return nil, &OpenError{Err: err, Settings: true}
	}
	s := newStore(cfg, deps)
	if s.conn, err = conn.Open(p, s.connOptions(), s.cache, linkEvents{s}); err != nil {
		return nil, p.Explain(fmt.Errorf("connect to redis: %w", err))
	}
	if err := s.open(ctx, p); err != nil {
		_ = s.Close()
		return nil, p.Explain(err)
	}
	return s, nil
}

// newStore returns a store without a connection.
func newStore(cfg Config, deps Deps) *Store {
	b := newShared(cfg, deps)
	s := &Store{shared: b}
	s.owner = &ownership{shared: b, turn: make(chan struct{}, 1)}
	s.ident = &identity{shared: b, owner: s.owner, of: map[string]string{}, turn: make(chan struct{}, 1)}
	s.nodes = &nodeBook{shared: b, book: map[presence.NodeID]struct{}{}, spared: map[presence.NodeID]time.Time{}}
	s.reader = &reader{shared: b, owner: s.owner, ident: s.ident}
	s.writer = newWriter(b, s.owner, s.nodes, s.reader)
	s.index = &indexes{shared: b, owner: s.owner, nodes: s.nodes, reader: s.reader, writer: s.writer}
	s.audit = &auditor{
		shared: b, owner: s.owner, reader: s.reader, writer: s.writer, index: s.index, ident: s.ident,
		lost: wake.NewSignal(),
	}
	s.outage = &recovery{
		shared: b, owner: s.owner, ident: s.ident, nodes: s.nodes, writer: s.writer,
		wake: wake.NewSignal(), reindex: s.audit.lost,
	}
	s.ident.lost = s.outage.noteDataLoss
	return s
}

func (s *Store) connOptions() conn.Options {
	name := processName()
	return conn.Options{
		Name: name, Deadline: s.cfg.Deadline, Force: s.cfg.Force, Log: s.log,
		Track: s.keys.prefixes(), Probes: s.keys.probes(), ClockKey: s.keys.nodes(),
		Probe: func(slot uint16) string { return s.keys.probe(slot, name) },
	}
}

// processName returns a name of this process among those on the same Redis.
func processName() string {
	var name [6]byte
	_, _ = rand.Read(name[:]) // never fails
	return hex.EncodeToString(name[:])
}

// open checks the server and starts the links.
func (s *Store) open(ctx context.Context, p conn.Place) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.conn.CheckServer(ctx); err != nil {
		return err
	}
	if err := s.owner.openOwner(ctx, p); err != nil {
		return err
	}
	if err := s.ident.open(ctx); err != nil {
		return err
	}
	s.outage.raiseFloor()
	if err := s.wrap(); err != nil {
		return err
	}
	if err := s.conn.Start(ctx); err != nil {
		return err
	}
	s.conn.Go(s.outage.run)
	s.conn.Go(s.audit.runAudit)
	return s.conn.Wait(ctx)
}

// linkEvents takes what the links report.
type linkEvents struct{ s *Store }

// Written forgets what is cached under the summary keys and notifies the listeners.
func (e linkEvents) Written(names []string) { e.s.invalidate(names) }

func (e linkEvents) Up(k *conn.Link, identity string) error { return e.s.outage.linkUp(k, identity) }

// Lost has the owner read again: with one primary, what answers next may be another Redis. A
// Cluster is checked regularly.
func (e linkEvents) Lost() {
	if !e.s.conn.Clustered() {
		e.s.owner.doubtOwner()
	}
}

func (e linkEvents) Flushed(k *conn.Link) error { return e.s.ident.checkAt(k) }

func (e linkEvents) Down() {
	if !e.s.conn.Clustered() {
		e.s.outage.open.Store(true)
	}
	e.s.outage.wake.Wake()
}

func (e linkEvents) Look() { e.s.signal(nil) }
func (e linkEvents) Wake() { e.s.outage.wake.Wake() }

// Where returns the addresses of the store, for the operator; there is no password in it.
func (s *Store) Where() string { return s.conn.Where() }

// Now returns the time of Redis, which all nodes share: nodes that judge leases by it agree,
// whatever their own clocks show.
func (s *Store) Now() presence.Millis { return s.conn.Now() }

// Epoch implements [presence.Shared]: it is another one when Redis is.
func (s *Store) Epoch() uint64 { return s.ident.sum() }

// Counts implements [presence.Store].
func (s *Store) Counts(ctx context.Context, app presence.AppID, now presence.Millis) (presence.Counts, error) {
	return s.audit.Counts(ctx, app, now)
}

// Audit walks over every peer and mends what it finds. It runs by itself every hour, and after a
// loss.
func (s *Store) Audit(ctx context.Context, now presence.Millis) (AuditReport, error) {
	return s.audit.Audit(ctx, now)
}

// Close ends what runs in the background and closes the connections.
func (s *Store) Close() error {
	if s.conn.Close() {
		s.outage.closeSpool()
	}
	return nil
}

// invalidate forgets what is cached under the summary keys and notifies the listeners.
func (s *Store) invalidate(summaries []string) {
	keys := make([]presence.Key, 0, len(summaries))
	for _, name := range summaries {
		if name == s.keys.summary {
			s.owner.doubtOwner()
			// what is cached may be another app's: the next question asks Redis
			s.conn.RenewOthers(nil)
			continue
		}
		key, ok := s.keys.peerOf(name)
		if !ok {
			continue
		}
		s.cache.Drop(s.cache.KnownSpace(key.App), []byte(key.Peer))
		keys = append(keys, key)
	}
	if len(keys) > 0 {
		s.signal(keys)
	}
}
