package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/redisstore"
	"rollcall/transfer"
)

const app = presence.AppID("chat")

func inMemory(t testing.TB) *presence.Service {
	t.Helper()
	s, err := embedded.Open(embedded.Config{}, embedded.Deps{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return presence.NewService(s, presence.DefaultConfig())
}

// crowd reports what 400 peers did in the last hours, by hooks and by named sessions.
func crowd(t testing.TB, s *presence.Service, now presence.Millis) (keys []presence.Key) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 400 {
		key := presence.Key{App: app, Peer: presence.PeerID(fmt.Sprint("p", i))}
		keys = append(keys, key)
		at := now.Add(-20 * time.Hour)
		for n := range 1 + rng.IntN(5) {
			at = at.Add(time.Duration(1+rng.IntN(200)) * time.Minute)
			r := presence.Report{App: app, Peer: key.Peer, Kind: presence.KindOnline, At: at, Source: presence.SourceLeanCloud, ID: fmt.Sprint(i, "/", n)}
			if rng.IntN(2) == 0 {
				r.Source, r.Session, r.ID = presence.SourceAPI, presence.SessionID(fmt.Sprint(rng.IntN(2))), ""
			}
			if rng.IntN(2) == 0 {
				r.Kind, r.Cause = presence.KindOffline, presence.Cause(rng.IntN(3))
			}
			if err := s.Report(t.Context(), []presence.Report{r}, at, make([]presence.Outcome, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return keys
}

func export(t testing.TB, s *presence.Service, now presence.Millis) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := transfer.Export(t.Context(), s, &b, transfer.Header{Kind: transfer.KindExport, Time: now, Apps: []transfer.App{{ID: app}}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func importer(s transfer.Destination, now presence.Millis) *transfer.Import {
	return &transfer.Import{
		To: s, Has: func(id presence.AppID) bool { return id == app }, Now: func() presence.Millis { return now },
		Tombstones: presence.DefaultRules().Tombstones,
	}
}

func mustImport(t testing.TB, s *presence.Service, file []byte, now presence.Millis) transfer.Result {
	t.Helper()
	r, err := transfer.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	done, err := importer(s, now).Run(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// answers returns what s says of keys, without revisions.
func answers(t testing.TB, s *presence.Service, keys []presence.Key, now presence.Millis) []string {
	t.Helper()
	all := make([]string, len(keys))
	for i, k := range keys {
		var st presence.State
		if err := s.Load(t.Context(), k, &st); err != nil {
			t.Fatal(err)
		}
		sum := st.Summary().At(now, s.Rules())
		sum.Rev = 0
		all[i] = fmt.Sprintf("%s %+v %d sessions %+v", k.Peer, sum, len(st.Sessions), st.Slots)
	}
	return all
}

func TestEmbeddedToRedisToEmbedded(t *testing.T) {
	server := redistest.Run(t)
	cfg := redisstore.DefaultConfig()
	cfg.RecipeApp, cfg.Deadline = app, 30*time.Second
	redis, err := redisstore.Open(t.Context(), cfg, redisstore.Deps{URL: "redis://" + server.Addr, Rules: presence.DefaultRules(), Apps: []presence.AppID{app}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })

	one, two, three := inMemory(t), presence.NewService(redis, presence.DefaultConfig()), inMemory(t)
	now := redis.Now()
	keys := crowd(t, one, now)
	want := answers(t, one, keys, now)
	for i, s := range []*presence.Service{two, three, one} { // back to where it came from, too
		file := export(t, []*presence.Service{one, two, three}[i], now)
		if s != one {
			if done := mustImport(t, s, file, now); done.Changed != done.Peers || done.Peers != int64(len(keys)) {
				t.Errorf("import %d: %+v", i, done)
			}
		}
		if again := mustImport(t, s, file, now); again.Changed != 0 || again.Peers != int64(len(keys)) {
			t.Errorf("import %d, repeated: %+v", i, again)
		}
		for k, got := range answers(t, s, keys, now) {
			if got != want[k] {
				t.Fatalf("after import %d\n%s\ninstead of\n%s", i, got, want[k])
			}
		}
	}
}

// What comes before a bad line is merged; the line and a code say where the file is wrong.
func TestImportNamesWhatIsWrong(t *testing.T) {
	now := presence.Millis(1_767_225_600_000)
	from := inMemory(t)
	crowd(t, from, now)
	lines := strings.SplitAfter(string(export(t, from, now)), "\n")
	edit := func(n int, old, by string) string {
		list := append([]string{}, lines...)
		list[n-1] = strings.Replace(list[n-1], old, by, 1)
		return strings.Join(list, "")
	}
	for name, c := range map[string]struct {
		file, code string
		line       int
		peers      int64
	}{
		"empty":             {"", transfer.CodeCut, 1, 0},
		"another file":      {"hello\n", transfer.CodeFormat, 1, 0},
		"a later version":   {edit(1, `"version":1`, `"version":2`), transfer.CodeVersion, 1, 0},
		"no time":           {edit(1, fmt.Sprint(now), "0"), transfer.CodeFormat, 1, 0},
		"cut after a line":  {strings.Join(lines[:12], ""), transfer.CodeCut, 13, 11},
		"cut in a line":     {strings.Join(lines[:12], "")[:len(strings.Join(lines[:12], ""))-20], transfer.CodeCut, 12, 10},
		"no JSON":           {edit(9, `{"app"`, `{app`), transfer.CodeLine, 9, 7},
		"no peer":           {edit(9, `"peer":`, `"pear":`), transfer.CodeLine, 9, 7},
		"another app":       {edit(9, `"app":"chat"`, `"app":"mail"`), transfer.CodeApp, 9, 7},
		"an app that is no": {edit(9, `"app":"chat"`, `"app":"ch at"`), transfer.CodeLine, 9, 7},
		"no state":          {edit(9, `"state":"`, `"state":"","x":"`), transfer.CodeState, 9, 7},
		"a later state":     {edit(9, `"state":"`, `"state":"AAAA`), transfer.CodeNewer, 9, 7},
		"a peer is changed": {edit(9, `"peer":"p`, `"peer":"q`), transfer.CodeChecksum, 402, 400},
		"a peer is missing": {strings.Join(append(append([]string{}, lines[:8]...), lines[9:]...), ""), transfer.CodeChecksum, 401, 399},
		"more after it":     {strings.Join(lines, "") + lines[0], transfer.CodeLine, 403, 400},
		"failed":            {strings.Join(lines[:3], "") + `{"failed":"the store is away"}` + "\n", transfer.CodeCut, 4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := inMemory(t)
			r, err := transfer.NewReader(strings.NewReader(c.file))
			var done transfer.Result
			if err == nil {
				done, err = importer(s, now).Run(t.Context(), r)
			}
			var file *transfer.FileError
			if !errors.As(err, &file) || file.Code != c.code || file.Line != c.line || done.Peers != c.peers {
				t.Errorf("%v after %d peers; want %s at line %d after %d", err, done.Peers, c.code, c.line, c.peers)
			}
		})
	}
}

// A file cut anywhere is refused, and every peer that is merged before is as in the whole one.
func TestAFileCutAnywhereIsRefused(t *testing.T) {
	now := presence.Millis(1_767_225_600_000)
	from := inMemory(t)
	for i := range 3 {
		r := presence.Report{App: app, Peer: presence.PeerID(fmt.Sprint(i)), Source: presence.SourceAPI, Session: "x", Kind: presence.KindOnline, At: now}
		if err := from.Report(t.Context(), []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
	}
	file := export(t, from, now)
	to := inMemory(t)
	for n := range file {
		r, err := transfer.NewReader(bytes.NewReader(file[:n]))
		if err == nil {
			_, err = importer(to, now).Run(t.Context(), r)
		}
		if file := (*transfer.FileError)(nil); !errors.As(err, &file) || file.Code != transfer.CodeCut {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// An export of the day before yesterday brings who is offline, and no open session whose end may be
// forgotten.
func TestAnOldExportOpensNoSession(t *testing.T) {
	made := presence.Millis(1_767_225_600_000)
	from := inMemory(t)
	report := func(peer presence.PeerID, kind presence.Kind) {
		r := presence.Report{App: app, Peer: peer, Source: presence.SourceAPI, Session: "x", Kind: kind, At: made}
		if err := from.Report(t.Context(), []presence.Report{r}, made, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
	}
	report("ann", presence.KindOnline)
	report("bob", presence.KindOffline)
	now := made.Add(48 * time.Hour)
	to := inMemory(t)
	if done := mustImport(t, to, export(t, from, made), now); done.Ended != 1 || done.Peers != 2 {
		t.Errorf("%+v", done)
	}
	for _, peer := range []presence.PeerID{"ann", "bob"} {
		var st presence.State
		if err := to.Load(t.Context(), presence.Key{App: app, Peer: peer}, &st); err != nil {
			t.Fatal(err)
		}
		if sum := st.Summary().At(now, to.Rules()); sum.Status != presence.Offline || sum.Since != made {
			t.Errorf("%s: %+v", peer, sum)
		}
	}
}

type broken struct{ *presence.Service }

func (b broken) Join(ctx context.Context, keys []presence.Key, states []presence.State, now presence.Millis) (int, error) {
	return 0, presence.ErrUnavailable
}

func TestAnImportEndsWithTheStore(t *testing.T) {
	now := presence.Millis(1_767_225_600_000)
	from := inMemory(t)
	crowd(t, from, now)
	r, err := transfer.NewReader(bytes.NewReader(export(t, from, now)))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := importer(broken{}, now).Run(t.Context(), r); !errors.Is(err, presence.ErrUnavailable) || done.Peers != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

func BenchmarkExport(b *testing.B) {
	now := presence.Millis(1_767_225_600_000)
	s := inMemory(b)
	n := len(crowd(b, s, now))
	for b.Loop() {
		export(b, s, now)
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "peers/s")
}

// Whatever a file holds, it is read to its end or refused by a line and a code.
func FuzzReader(f *testing.F) {
	now := presence.Millis(1_767_225_600_000)
	from := inMemory(f)
	r := presence.Report{App: app, Peer: "ann", Source: presence.SourceAPI, Session: "x", Kind: presence.KindOnline, At: now}
	if err := from.Report(f.Context(), []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
		f.Fatal(err)
	}
	file := export(f, from, now)
	f.Add(file)
	f.Add(file[:len(file)-9])
	f.Add([]byte(`{"rollcall":"backup","version":1,"time":5,"apps":[]}` + "\n" + `{"file":"keys.env","content":"YQ=="}` + "\n" + `{"end":true}` + "\n"))
	f.Add([]byte(`{"rollcall":"export","version":1,"time":5}` + "\n" + `{"app":"chat","peer":"ann","state":"AA=="}` + "\n"))
	to := inMemory(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := transfer.NewReader(bytes.NewReader(b))
		if err == nil {
			_, err = importer(to, now).Run(t.Context(), r)
		}
		if file := (*transfer.FileError)(nil); err != nil && (!errors.As(err, &file) || file.Code == "" || file.Line < 1) {
			t.Fatalf("%v", err)
		}
	})
}
