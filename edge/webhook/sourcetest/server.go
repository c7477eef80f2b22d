package sourcetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/store/embedded"
)

const (
	app = "the-app"
	id  = "source"
)

// A Server is a door with one source, over a store in memory.
type Server struct {
	tb      testing.TB
	handler http.Handler
	door    *webhook.Door
	service *presence.Service
	now     presence.Millis
	reads   atomic.Int64
}

// spy counts what is read.
type spy struct {
	webhook.Kind
	reads *atomic.Int64
}

func (s spy) Read(c *webhook.Call, b *webhook.Batch) error {
	s.reads.Add(1)
	return s.Kind.Read(c, b)
}

func (s spy) OfApp(c *webhook.Call) bool {
	named, ok := s.Kind.(webhook.AppNamer)
	return !ok || named.OfApp(c)
}

// Open returns a server with source, at now.
func Open(tb testing.TB, source webhook.Source, now presence.Millis) *Server {
	tb.Helper()
	return open(tb, source, now, nil)
}

func open(tb testing.TB, source webhook.Source, now presence.Millis, record func(*webhook.Call) bool) *Server {
	tb.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	s := &Server{tb: tb, service: presence.NewService(st, presence.DefaultConfig()), now: now}
	ring, err := api.NewKeyring([]api.App{{ID: app, MasterKey: "master-key-000000000"}})
	if err != nil {
		tb.Fatal(err)
	}
	clock := func() presence.Millis { return s.now }
	gate := api.NewGate(api.DefaultConfig(), api.Deps{
		Keys: ring, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() int64 { return int64(s.now) },
	})
	in := intake.New(intake.DefaultConfig(), intake.Deps{Service: s.service, Now: clock})
	source.App, source.ID, source.Kind = app, id, spy{source.Kind, &s.reads}
	s.door = webhook.New([]webhook.Source{source}, webhook.Deps{Intake: in, Gate: gate, Now: clock, Record: record})
	s.handler = gate.Handler(s.door.Routes())
	return s
}

// Send sends c over TLS and returns the answer.
func (s *Server) Send(c Call) (status int, body string) { return s.send(c, true) }

func (s *Server) send(c Call, secure bool) (int, string) {
	method := c.Method
	if method == "" {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, webhook.Prefix+app+"/"+id+c.Path, strings.NewReader(c.Body))
	r.Header.Set("Content-Type", "application/json")
	for name, value := range c.Header {
		r.Header.Set(name, value)
	}
	if secure {
		r.TLS = &tls.ConnectionState{}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// Advance moves the clock of the server on.
func (s *Server) Advance(by time.Duration) { s.now = s.now.Add(by) }

// State returns what is known of peer.
func (s *Server) State(peer string) presence.State {
	s.tb.Helper()
	var st presence.State
	if err := s.service.Load(context.Background(), presence.Key{App: app, Peer: presence.PeerID(peer)}, &st); err != nil {
		s.tb.Fatal(err)
	}
	return st
}

// Stats returns the counts of the source.
func (s *Server) Stats() webhook.Stats { return s.door.Stats()[0] }

// open returns the ids of the open sessions of st.
func (s *Server) open(st *presence.State) string {
	var ids []string
	for i := range st.Sessions {
		if x := &st.Sessions[i]; x.Live(s.now) {
			ids = append(ids, string(x.ID))
		}
	}
	return fmt.Sprint(ids)
}
