// Package audittest tries a kind that asks its product who is online: with the answers that the
// product's documentation shows, with every value of them replaced, and with what servers and
// proxies send in place of an answer.
package audittest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// App is the app of the source that asks.
const App = "the-app"

// A Suite is what there is to try of a kind.
type Suite struct {
	Auditor webhook.Auditor
	// Source are the settings of the source; App, ID, Kind and the address are filled in. Its key
	// is the one that Product takes.
	Source webhook.Source
	Path   string // what the address of the product has behind its host, such as "/api"
	// Product answers as the product does. It answers wrong keys and calls that are none of its own
	// with an error.
	Product http.Handler
	// Peers are asked about, and Want is what Product says of them.
	Peers []presence.PeerID
	Want  map[presence.PeerID]webhook.Found
	// Asks reports whether r is the call that asks, not one for a token.
	Asks func(r *http.Request) bool
	// Count returns how many peers are asked about by a call with that body.
	Count func(r *http.Request, body []byte) int
	// Free says that the settings may be without a key.
	Free bool
	// Unnamed says that an answer names those online alone, so that a missing peer is offline.
	Unnamed bool
	// At is the time that an answer has in itself; 0: that of its header counts.
	At presence.Millis
}

// A server is a product, whose answers to the calls that ask may be altered.
type server struct {
	*httptest.Server
	t     testing.TB
	suite *Suite

	mu    sync.Mutex
	alter func(w http.ResponseWriter, r *http.Request, honest *httptest.ResponseRecorder)
	asks  int // calls that ask
	calls int
	most  int // peers of one call
	total int // peers of all calls
}

func (s *Suite) open(t testing.TB) *server {
	srv := &server{t: t, suite: s}
	srv.Server = httptest.NewTLSServer(srv)
	t.Cleanup(srv.Close)
	srv.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return srv
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	asks := s.suite.Asks(r)
	s.mu.Lock()
	s.calls++
	alter := s.alter
	if asks {
		s.asks++
		n := s.suite.Count(r, body)
		s.most, s.total = max(s.most, n), s.total+n
	}
	s.mu.Unlock()
	if !asks || alter == nil {
		s.suite.Product.ServeHTTP(w, r)
		return
	}
	honest := httptest.NewRecorder()
	s.suite.Product.ServeHTTP(honest, r)
	alter(w, r, honest)
}

// source returns the source that asks this server.
func (s *server) source() webhook.Source {
	source := s.suite.Source
	source.App, source.ID, source.Kind = App, "source", s.suite.Auditor
	source.Reconcile.URL, source.Reconcile.Auditor = s.URL+s.suite.Path, s.suite.Auditor
	source.Reconcile.Passes = new(webhook.Passes)
	return source
}

func (s *server) ask(source *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	return s.suite.Auditor.Ask(s.t.Context(), s.Client(), source, peers)
}

// set makes every answer to a call that asks go through alter.
func (s *server) set(alter func(w http.ResponseWriter, r *http.Request, honest *httptest.ResponseRecorder)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alter = alter
}

// Run tries everything.
func Run(t *testing.T, s Suite) {
	t.Run("honest", s.honest)
	t.Run("settings", s.settings)
	t.Run("many", s.many)
	t.Run("keys", s.keys)
	t.Run("transport", s.transport)
	t.Run("bodies", s.bodies)
	t.Run("values", s.values)
}

func (s *Suite) honest(t *testing.T) {
	srv := s.open(t)
	source := srv.source()
	for range 2 {
		got, err := srv.ask(&source, s.Peers)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Peers, s.Want) {
			t.Errorf("got  %+v\nwant %+v", got.Peers, s.Want)
		}
		if got.At == 0 || s.At != 0 && got.At != s.At {
			t.Errorf("the answer is of %d", got.At)
		}
	}
	if got, err := srv.ask(&source, nil); err != nil || len(got.Peers) != 0 {
		t.Errorf("of no peer: %+v, %v", got, err)
	}
	// A product that gives tokens gives one for both.
	if other := srv.calls - srv.asks; other > 1 {
		t.Errorf("%d calls beside the %d that ask", other, srv.asks)
	}
}

// Ask asks once with the tokens that are kept, and wants the whole answer.
func Ask(t *testing.T, s Suite, kept *webhook.Passes) {
	t.Helper()
	srv := s.open(t)
	source := srv.source()
	source.Reconcile.Passes = kept
	got, err := srv.ask(&source, s.Peers)
	if err != nil || !reflect.DeepEqual(got.Peers, s.Want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func (s *Suite) settings(t *testing.T) {
	srv := s.open(t)
	source := srv.source()
	if err := s.Auditor.CheckAsk(&source); err != nil {
		t.Errorf("the settings: %v", err)
	}
	source.Reconcile.Key = ""
	if err := s.Auditor.CheckAsk(&source); !s.Free && (err == nil || !strings.HasPrefix(err.Error(), "reconcile.key ")) {
		t.Errorf("without a key: %v", err)
	}
	limits := s.Auditor.Limits()
	if limits.Peers < 1 || limits.Peers > 500 || limits.Rate <= 0 {
		t.Errorf("the limits are %+v", limits)
	}
}

// many asks about more peers than a call may carry.
func (s *Suite) many(t *testing.T) {
	srv := s.open(t)
	source := srv.source()
	peers := slices.Clone(s.Peers)
	for len(peers) < 500 {
		peers = append(peers, presence.PeerID(fmt.Sprintf("%s-%03d", strings.Repeat("long", 15), len(peers))))
	}
	got, err := srv.ask(&source, peers)
	if err != nil {
		t.Fatal(err)
	}
	for peer, want := range s.Want {
		if !reflect.DeepEqual(got.Peers[peer], want) {
			t.Errorf("among many %s is %+v, want %+v", peer, got.Peers[peer], want)
		}
	}
	for peer, found := range got.Peers {
		if _, ok := s.Want[peer]; !ok && found.Online {
			t.Errorf("%s is online", peer)
		}
	}
	if srv.total != 500 || srv.most > s.Auditor.Limits().Peers {
		t.Errorf("%d peers in %d calls, at most %d in one", srv.total, srv.asks, srv.most)
	}
}

func (s *Suite) keys(t *testing.T) {
	srv := s.open(t)
	right := srv.source()
	key := right.Reconcile.Key
	wrong := right
	wrong.Reconcile.Key = "a-key-that-is-wrong"
	if got, err := srv.ask(&wrong, s.Peers); !errors.Is(err, webhook.ErrRefused) || got.Peers != nil {
		t.Errorf("with a wrong key: %+v, %v", got, err)
	}
	wrong.Reconcile.KeyOld = key
	if got, err := srv.ask(&wrong, s.Peers); err != nil || len(got.Peers) != len(s.Want) {
		t.Errorf("with the old key: %+v, %v", got, err)
	}
	wrong.Reconcile.KeyOld = "another-wrong-key"
	if _, err := srv.ask(&wrong, s.Peers); !errors.Is(err, webhook.ErrRefused) {
		t.Errorf("with two wrong keys: %v", err)
	}
}

// check holds what was answered against what is so. A peer that is online must not be found
// offline, unless the answer could not but leave it out; one that is offline must not be online.
func (s *Suite) check(t *testing.T, what string, source *webhook.Source, got webhook.Answer, err error, shortened bool) {
	t.Helper()
	if err != nil {
		if got.Peers != nil {
			t.Errorf("%s: an error, and an answer %+v", what, got)
		}
		s.discreet(t, what, source, err)
		return
	}
	for peer, found := range got.Peers {
		switch want, ok := s.Want[peer]; {
		case !slices.Contains(s.Peers, peer):
			t.Errorf("%s: an answer about %q, which was not asked for", what, peer)
		case found.Online && ok && !want.Online:
			t.Errorf("%s: %s is online", what, peer)
		case !found.Online && ok && want.Online && !(s.Unnamed && shortened):
			t.Errorf("%s: %s is offline", what, peer)
		case !found.Online && len(found.Sessions) > 0, found.Listed && len(found.Sessions) == 0:
			t.Errorf("%s: %s is %+v", what, peer, found)
		}
	}
}

// discreet: an error holds no key, no id and no part of an address with a query.
func (s *Suite) discreet(t *testing.T, what string, source *webhook.Source, err error) {
	t.Helper()
	hidden := []string{source.Reconcile.Key, source.Secret, "sig=", "?", Planted}
	for _, p := range s.Peers {
		hidden = append(hidden, `"`+string(p)+`"`)
	}
	for _, text := range hidden {
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error shows %q: %v", what, text, err)
		}
	}
	if len(err.Error()) > 200 {
		t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
	}
}

// Planted is in every body that is no answer: it must not be in an error.
const Planted = "token-of-a-user"

func (s *Suite) transport(t *testing.T) {
	srv := s.open(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed to %s", r.URL.Path)
	}))
	defer elsewhere.Close()
	for status, refused := range map[int]bool{
		301: false, 302: false, 307: false, 308: false, 400: false, 401: true, 403: true, 404: false, 413: false, 429: false, 500: false, 502: false, 503: false, 504: false,
	} {
		srv.set(func(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) {
			w.Header().Set("Location", elsewhere.URL+"/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write(append(honest.Body.Bytes(), Planted...))
		})
		source := srv.source()
		got, err := srv.ask(&source, s.Peers)
		if err == nil || errors.Is(err, webhook.ErrRefused) != refused {
			t.Errorf("%d: %v, refused must be %v", status, err, refused)
		}
		s.check(t, fmt.Sprint(status), &source, got, err, false)
	}
	srv.set(func(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) {
		w.Header().Set("Content-Length", fmt.Sprint(honest.Body.Len()))
		_, _ = w.Write(honest.Body.Bytes()[:honest.Body.Len()/2])
		panic(http.ErrAbortHandler)
	})
	source := srv.source()
	if got, err := srv.ask(&source, s.Peers); err == nil {
		t.Errorf("a connection that broke: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{})
	srv.set(func(http.ResponseWriter, *http.Request, *httptest.ResponseRecorder) {
		cancel()
		<-asked
	})
	_, err := s.Auditor.Ask(ctx, srv.Client(), &source, s.Peers)
	close(asked)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a product that does not answer: %v", err)
	} else {
		s.discreet(t, "a product that does not answer", &source, err)
	}
	srv.Close()
	if _, err = srv.ask(&source, s.Peers); err == nil {
		t.Error("a product that is down answers")
	} else {
		s.discreet(t, "a product that is down", &source, err)
	}
}
