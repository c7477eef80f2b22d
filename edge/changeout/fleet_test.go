package changeout_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/edge/changeout"
	"rollcall/feed"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/store/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func now() presence.Millis { return presence.MillisOf(time.Now()) }

const (
	secret    = "secret-of-the-receiver"
	secretOld = "old-secret-of-the-receiver"
	hold      = 10 * time.Second
)

// A backend is a receiver that keeps a copy of the app as the page says: by versions, and by a list
// when it must list again.
type backend struct {
	t     testing.TB
	store presence.Store // that it lists from

	mu     sync.Mutex
	status int           // that it answers; 0 is 200
	slow   time.Duration // before it answers
	copy   map[presence.PeerID]entry
	turns  map[presence.PeerID][]string // statuses in the order of their first arrival
	strict bool                         // a version that goes back is a fault
	sent
}

// What was sent to a backend.
type sent struct {
	calls    []call
	lists    int
	lost     int
	whys     []string
	received int
	url      string // of the last call
}

func (b *backend) seen() sent {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sent
	s.calls, s.whys = slices.Clone(s.calls), slices.Clone(s.whys)
	return s
}

type entry struct {
	status  string
	version uint64
}

type call struct {
	at      time.Time
	changes int
}

type batch struct {
	App     string
	At      int64
	Changes []struct {
		Peer     presence.PeerID
		Status   string
		Since    int64
		LastSeen int64 `json:"last_seen"`
		Cause    string
		Version  uint64
	}
	ListAgain bool `json:"list_again"`
	Why       string
	Lost      int
}

func newBackend(t testing.TB, store presence.Store) *backend {
	return &backend{t: t, store: store, copy: map[presence.PeerID]entry{}, turns: map[presence.PeerID][]string{}, strict: true}
}

// RoundTrip is the backend with the network before it.
func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	status, slow := b.status, b.slow
	b.mu.Unlock()
	if slow > 0 {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(slow):
		}
	}
	if status == 0 {
		status = http.StatusOK
		b.take(r, body)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(nil)), Request: r}, nil
}

// take verifies a call and puts what it says into the copy.
func (b *backend) take(r *http.Request, body []byte) {
	if !signed(r, body, secret) {
		b.t.Errorf("the call is signed %q", r.Header.Get(api.SignatureHeader))
	}
	var c batch
	if err := json.Unmarshal(body, &c); err != nil || c.App != "app" || c.At == 0 || len(c.Changes) > 500 {
		b.t.Errorf("%v: %.300s", err, body)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.url = r.URL.String()
	b.calls = append(b.calls, call{time.Now(), len(c.Changes)})
	b.received += len(c.Changes)
	if c.ListAgain {
		b.lists++
		b.lost += c.Lost
		b.whys = append(b.whys, c.Why)
		b.list()
	}
	for _, ch := range c.Changes {
		if old := b.copy[ch.Peer]; ch.Version <= old.version {
			if b.strict && ch.Version < old.version {
				b.t.Errorf("%s has version %d after %d", ch.Peer, ch.Version, old.version)
			}
			continue
		}
		b.copy[ch.Peer] = entry{ch.Status, ch.Version}
		b.turns[ch.Peer] = append(b.turns[ch.Peer], ch.Status)
	}
}

// list reads the app anew. Versions stay: what was older stays older.
func (b *backend) list() {
	online := map[presence.PeerID]bool{}
	for cursor := ""; ; {
		peers, next, err := b.store.List(context.Background(), "app", cursor, 100, now())
		if err != nil {
			b.t.Error(err)
			return
		}
		for _, p := range peers {
			online[p] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for p := range b.copy {
		if !online[p] {
			b.copy[p] = entry{"offline", b.copy[p].version}
		}
	}
	for p := range online {
		b.copy[p] = entry{"online", b.copy[p].version}
	}
}

func signed(r *http.Request, body []byte, key string) bool {
	want := hex.EncodeToString(api.Sign(key, r.Header.Get(api.TimeHeader), r.Method, r.URL.RequestURI(), body))
	return slices.Contains(strings.Split(r.Header.Get(api.SignatureHeader), ","), "v2="+want)
}

// answer sets what b answers.
func (b *backend) answer(status int, slow time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status, b.slow = status, slow
}

// claims are those of a store that nodes share.
type claims struct {
	mu    sync.Mutex
	owner map[string]string
	until map[string]time.Time
}

// A nodeStore is the store as one node of several sees it.
type nodeStore struct {
	*embedded.Store
	node   string
	claims *claims
}

func (s nodeStore) Claim(_ context.Context, name string, ttl time.Duration) bool {
	c := s.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until[name]) && c.owner[name] != s.node {
		return false
	}
	c.owner[name], c.until[name] = s.node, time.Now().Add(ttl)
	return true
}

func (nodeStore) Epoch() uint64                      { return 1 }
func (nodeStore) Horizon(now presence.Millis) uint64 { return uint64(now) - 1 }

// A blindStore signals nothing but that it may have missed everything, all the time, as a Redis
// does that refuses client tracking.
type blindStore struct {
	*embedded.Store
	walks atomic.Int64
}

func (s *blindStore) Listen(fn func(keys []presence.Key)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() {
		for ctx.Err() == nil {
			fn(nil)
			time.Sleep(50 * time.Millisecond)
		}
	})
	return func() { cancel(); loop.Wait() }
}

func (s *blindStore) Walk(ctx context.Context, fn func(key presence.Key, packed []byte) error) error {
	s.walks.Add(1)
	return s.Store.Walk(ctx, fn)
}

// A fleet is some nodes on one store, in fake time.
type fleet struct {
	t        testing.TB
	store    *embedded.Store
	shared   bool
	claims   *claims
	dir      string
	backend  *backend
	receiver changeout.Receiver
	// transport is the backend, without a network.
	transport http.RoundTripper
	blind     *blindStore // in place of the store, if not nil
	presence  presence.Config
	feed      feed.Config
	nodes     []*node
	runs      int
}

type node struct {
	f      *fleet
	place  int
	svc    *presence.Service
	feed   *feed.Feed
	sender *changeout.Sender
	stop   context.CancelFunc
	loops  sync.WaitGroup
}

func newFleet(t testing.TB, shared bool) *fleet {
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		t: t, store: store, shared: shared, dir: t.TempDir(), backend: newBackend(t, store),
		claims: &claims{owner: map[string]string{}, until: map[string]time.Time{}},
		receiver: changeout.Receiver{
			App: "app", ID: "crm", URL: "http://backend.example.com/presence", Secret: secret, SecretOld: secretOld,
			Timeout: 5 * time.Second, GiveUp: 24 * time.Hour, MaxBytes: 64 << 20,
		},
	}
	f.transport, f.presence, f.feed = f.backend, presence.DefaultConfig(), feed.DefaultConfig()
	t.Cleanup(func() {
		for len(f.nodes) > 0 {
			f.nodes[0].kill()
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fleet) start(place int) *node {
	f.runs++
	var store presence.Store = f.store
	if f.blind != nil {
		store = f.blind
	}
	if f.shared {
		store = nodeStore{f.store, fmt.Sprint("node-", f.runs), f.claims}
	}
	n := &node{f: f, place: place, svc: presence.NewService(store, f.presence)}
	n.feed = feed.New(f.feed, feed.Deps{Service: n.svc, Source: store})
	var err error
	n.sender, err = changeout.Open([]changeout.Receiver{f.receiver}, changeout.Deps{
		Service: n.svc, Store: store, Feed: n.feed, Shared: f.shared, Now: now, Log: slog.New(slog.DiscardHandler),
		Journal: filepath.Join(f.dir, fmt.Sprint("changes-", place)), Transport: f.transport, UserAgent: "rollcall/test",
	})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.loops.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
				if _, err := n.svc.Sweep(ctx, now()); err != nil && ctx.Err() == nil {
					f.t.Error(err)
				}
			}
		}
	})
	f.nodes = append(f.nodes, n)
	return n
}

// end stops the loops of n, but for its sender.
func (n *node) end() {
	n.stop()
	n.loops.Wait()
	n.feed.Close()
	n.f.nodes = slices.DeleteFunc(n.f.nodes, func(o *node) bool { return o == n })
}

// kill ends n without a goodbye.
func (n *node) kill() {
	n.sender.Kill()
	n.end()
}

// close ends n as a stop does.
func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.sender.Close(ctx); err != nil {
		n.f.t.Error(err)
	}
	n.end()
}

// report has the first node take reports.
func (f *fleet) report(reports ...presence.Report) {
	f.t.Helper()
	at := now()
	for i := range reports {
		r := &reports[i]
		r.App, r.Source = "app", "test"
		if r.Session == "" {
			r.Session = "phone"
		}
		if r.At == 0 {
			r.At = at
		}
	}
	if err := f.nodes[0].svc.Report(context.Background(), reports, at, make([]presence.Outcome, len(reports))); err != nil {
		f.t.Fatal(err)
	}
}

func online(peer string) presence.Report {
	return presence.Report{Peer: presence.PeerID(peer), Kind: presence.KindOnline, Lease: 2 * time.Hour, Hold: hold}
}

func offline(peer string, cause presence.Cause) presence.Report {
	r := presence.Report{Peer: presence.PeerID(peer), Kind: presence.KindOffline, Cause: cause}
	if cause.Lost() {
		r.Hold = hold
	}
	return r
}

// check compares the copy with the store, when all is quiet.
func (f *fleet) check() error {
	b := f.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	for peer, e := range b.copy {
		out := make([]presence.Status, 1)
		if _, err := f.store.Statuses(context.Background(), "app", [][]byte{[]byte(peer)}, now(), out); err != nil {
			return err
		}
		if got := out[0].String(); got != e.status {
			return fmt.Errorf("%s is %s, and the backend has %s of version %d", peer, got, e.status, e.version)
		}
	}
	peers, _, err := f.store.List(context.Background(), "app", "", 10_000, now())
	if err != nil {
		return err
	}
	for _, p := range peers {
		if b.copy[p].status != "online" {
			return fmt.Errorf("%s is online, and the backend has %+v", p, b.copy[p])
		}
	}
	return nil
}

// counts returns the counts of the receiver on n.
func (n *node) counts() map[string]int64 {
	all := map[string]int64{}
	for name, v := range n.sender.Counts() {
		all[strings.TrimPrefix(name, "app/crm/")] = v
	}
	return all
}
