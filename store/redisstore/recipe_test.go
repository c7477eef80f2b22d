package redisstore_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/internal/npmtest"
	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestRecipeIsTakenOver: a Redis that the recipe has filled answers from the first query on, and
// what rollcall adopts keeps its word.
func TestRecipeIsTakenOver(t *testing.T) {
	s, url := redisOf(t)
	s.Do(t, "SET", "onOffStatus:tom", "1")
	s.Do(t, "SET", "onOffStatus:ann", "0", "EX", "604800")
	s.Do(t, "SET", "onOffStatus:bob", "0", "EX", "3600")
	s.Do(t, "SET", "onOffStatus:odd", "maybe")
	s.Do(t, "LPUSH", "onOffStatus:list", "1")
	n := startNode(t, config(url), "n")
	is := func(peer string, want presence.Status) {
		t.Helper()
		got, _, err := n.ask(peer)
		if err != nil || got[0] != want {
			t.Errorf("%s is %v, %v; want %v", peer, got[0], err, want)
		}
	}
	is("tom", presence.Online)
	is("ann", presence.Offline)
	is("bob", presence.Offline)
	is("odd", presence.Unknown)
	is("list", presence.Unknown)
	is("nobody", presence.Unknown)

	out := make([]presence.Summary, 1)
	if _, err := n.st.Summaries(context.Background(), []presence.Key{{App: "app", Peer: "bob"}}, out); err != nil {
		t.Fatal(err)
	}
	since := n.st.Now().Sub(out[0].Since)
	if want := 7*24*time.Hour - time.Hour; since < want-time.Minute || since > want+time.Minute {
		t.Errorf("bob has been offline for %v, want %v as the expiry of his key tells", since, want)
	}

	// The recipe goes on writing.
	s.Do(t, "SET", "onOffStatus:tom", "0", "EX", "604800")
	n.see(patience, presence.Offline, "tom")
	s.Do(t, "SET", "onOffStatus:tom", "1")
	n.see(patience, presence.Online, "tom")
	s.Do(t, "DEL", "onOffStatus:ann")
	n.see(patience, presence.Unknown, "ann")

	// The session that the recipe knew of ends by the logout that comes to us.
	if err := n.report(n.hook(presence.KindOffline, "tom")); err != nil {
		t.Fatal(err)
	}
	is("tom", presence.Offline)
	if got := s.Do(t, "GET", "onOffStatus:tom"); got != "0" {
		t.Errorf("the recipe's key holds %v, want 0", got)
	}
	if ttl, _ := s.Do(t, "TTL", "onOffStatus:tom").(int64); ttl < 604700 || ttl > 604800 {
		t.Errorf("the recipe's key expires in %d s, want 604800", ttl)
	}
	if err := n.report(n.hook(presence.KindOnline, "bob")); err != nil {
		t.Fatal(err)
	}
	if ttl := s.Do(t, "TTL", "onOffStatus:bob"); ttl != int64(-1) {
		t.Errorf("the key of a peer that is online expires in %v s", ttl)
	}
}

// TestAuditAdopts: peers that only the recipe knows get a lease, lost index entries come back, and
// foreign words on peers that we know are put right.
func TestAuditAdopts(t *testing.T) {
	s, url := redisOf(t)
	n := startNode(t, config(url), "n")
	for _, p := range []string{"tom", "ann", "bob"} {
		if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	s.Do(t, "SET", "onOffStatus:ghost", "1")
	s.Do(t, "SET", "onOffStatus:ann", "0")
	keys, _ := s.Do(t, "KEYS", "rc:lease:*").([]any)
	for _, k := range keys {
		s.Do(t, "ZREM", k.(string), ":bob")
	}
	r, err := n.st.Audit(t.Context(), n.st.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r.Peers != 4 || r.Adopted != 1 || r.Unindexed != 1 || r.Foreign != 1 {
		t.Errorf("the audit says %+v, want 4 peers, 1 adopted, 1 unindexed, 1 foreign", r)
	}
	if got := s.Do(t, "GET", "onOffStatus:ann"); got != "1" {
		t.Errorf("the summary of ann is %v after the audit, want 1", got)
	}
	due, err := n.st.Due(t.Context(), n.st.Now().Add(8*24*time.Hour), 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) != 4 {
		t.Errorf("in eight days %d peers are due, want 4: %v", len(due), due)
	}
	if r, err = n.st.Audit(t.Context(), n.st.Now()); err != nil || r.Adopted+r.Unindexed+r.Foreign != 0 {
		t.Errorf("a second audit says %+v, %v; want nothing to mend", r, err)
	}
}

// TestForeignWordsChangeNoAnswer: the recipe that still writes beside rollcall moves no peer that
// rollcall has a state of, whatever the policy of the hooks; the next change, or the audit, puts
// its key right.
func TestForeignWordsChangeNoAnswer(t *testing.T) {
	s, url := redisOf(t)
	n := startNode(t, config(url), "n")
	for _, policy := range []presence.Policy{presence.PolicySum, presence.PolicyLast} {
		peer := "tom " + policy.String()
		hook := func(kind presence.Kind) {
			t.Helper()
			r := n.hook(kind, peer)
			r.Policy = policy
			if err := n.report(r); err != nil {
				t.Fatal(err)
			}
		}
		word := func(want string) {
			t.Helper()
			if got := s.Do(t, "GET", "onOffStatus:"+peer); got != want {
				t.Errorf("%v: the key holds %v, want %s", policy, got, want)
			}
		}
		hook(presence.KindOnline)
		s.Do(t, "SET", "onOffStatus:"+peer, "0", "EX", "604800")
		invalidated(t, n, peer)
		n.see(patience, presence.Online, peer)
		word("0")
		if r, err := n.st.Audit(t.Context(), n.st.Now()); err != nil || r.Foreign != 1 {
			t.Errorf("%v: the audit says %+v, %v; want 1 foreign word", policy, r, err)
		}
		word("1")
		hook(presence.KindOffline)
		s.Do(t, "SET", "onOffStatus:"+peer, "1")
		invalidated(t, n, peer)
		n.see(patience, presence.Offline, peer)
		if r, err := n.st.Audit(t.Context(), n.st.Now()); err != nil || r.Foreign != 1 {
			t.Errorf("%v: the audit says %+v, %v; want 1 foreign word", policy, r, err)
		}
		word("0")
		s.Do(t, "SET", "onOffStatus:"+peer, "1")
		hook(presence.KindOnline)
		hook(presence.KindOffline)
		word("0")
		n.see(patience, presence.Offline, peer)
	}
}

// invalidated waits until the node has received the signal of a write of the peer's key, so that
// what it answers is read anew.
func invalidated(t *testing.T, n *node, peer string) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		before := n.st.Stats()["near_cache_misses"]
		if _, _, err := n.ask(peer); err != nil {
			t.Fatal(err)
		}
		if n.st.Stats()["near_cache_misses"] > before {
			return
		}
		if time.Since(begun) > patience {
			t.Fatal("the write was not heard of")
		}
	}
}

// TestNodeFunctionReadsBeside: a function of the recipe, in Node with ioredis, reads by MGET what
// rollcall writes.
func TestNodeFunctionReadsBeside(t *testing.T) {
	dir := filepath.Join("testdata", "ioredis")
	npmtest.Install(t, dir)
	s, url := redisOf(t)
	n := startNode(t, config(url), "n")
	for _, p := range []string{"tom", "ann", "a b", "x{y}z", "中文"} {
		if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.report(n.hook(presence.KindOffline, "ann")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("node", filepath.Join(dir, "function.js"), s.Addr, "tom", "ann", "nobody", "a b", "x{y}z", "中文").CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), `["1","0",null,"1","1","1"]`; got != want {
		t.Errorf("the function answers %s, want %s", got, want)
	}
}

// TestMemoryAtItsLimit: volatile-lru with memory at its limit evicts offline peers, and no one who
// is online.
func TestMemoryAtItsLimit(t *testing.T) {
	server := redistest.Run(t, "--maxmemory-policy", "volatile-lru")
	n := startNode(t, config("redis://"+server.Addr), "n")
	online := numbered("online", 2000)
	batch := func(kind presence.Kind, peers []string) {
		t.Helper()
		for len(peers) > 0 {
			k := min(500, len(peers))
			reports := make([]presence.Report, k)
			for i, p := range peers[:k] {
				reports[i] = n.hook(kind, p)
			}
			if err := n.report(reports...); err != nil {
				t.Fatal(err)
			}
			peers = peers[k:]
		}
	}
	batch(presence.KindOnline, online)
	used, err := strconv.Atoi(server.Info(t, "memory", "used_memory"))
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", strconv.Itoa(used+8_000_000))
	for i := range 24 {
		away := numbered("away"+strings.Repeat("x", 40)+string(rune('a'+i)), 1000)
		batch(presence.KindOnline, away)
		batch(presence.KindOffline, away)
	}
	if got := server.Info(t, "stats", "evicted_keys"); got == "0" {
		t.Fatal("nothing was evicted: the memory was not at its limit")
	}
	missing := 0
	for _, p := range online {
		if server.Do(t, "GET", "onOffStatus:"+p) != "1" {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d peers that are online were evicted", missing, len(online))
	}
	n.see(patience, presence.Online, online...)
}

// TestOfflinePeersLeaveTheIndex: who has been offline for an hour has no index entry after the next
// audit, is known as long as ever by the expiry of his keys, and is back in the index when he is
// back.
func TestOfflinePeersLeaveTheIndex(t *testing.T) {
	s, url := redisOf(t)
	n := startNode(t, config(url), "n")
	peers := numbered("p", 40)
	for _, kind := range []presence.Kind{presence.KindOnline, presence.KindOffline} {
		var reports []presence.Report
		for _, p := range peers {
			reports = append(reports, n.hook(kind, p), n.socket(kind, "socket "+p))
		}
		if err := n.report(reports...); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.report(n.hook(presence.KindOnline, "stays")); err != nil {
		t.Fatal(err)
	}
	entries := func() (k int) {
		for b := range 64 {
			c, _ := s.Do(t, "ZCARD", fmt.Sprint("rc:lease:", b)).(int64)
			k += int(c)
		}
		return k
	}
	audit := func(after time.Duration, idle int) {
		t.Helper()
		r, err := n.st.Audit(t.Context(), n.st.Now().Add(after))
		if err != nil || r.Idle != idle || r.Unindexed != 0 || r.Peers != 81 {
			t.Errorf("after %v the audit says %+v, %v; want %d idle of 81 peers", after, r, err, idle)
		}
	}
	audit(30*time.Minute, 0)
	if k := entries(); k != 81 {
		t.Errorf("the index has %d entries, want 81", k)
	}
	audit(61*time.Minute, 80)
	audit(2*time.Hour, 0)
	if k := entries(); k != 1 {
		t.Errorf("the index has %d entries after the audit, want that of who is online", k)
	}
	for _, key := range []string{"rc:{onOffStatus:p7}:s", "onOffStatus:p7"} {
		if ttl, _ := s.Do(t, "TTL", key).(int64); ttl < 604_000-2*3600 || ttl > 604_800 {
			t.Errorf("%s expires in %d s, want what is left of seven days", key, ttl)
		}
	}
	n.see(patience, presence.Offline, peers...)
	if c, err := n.st.Counts(t.Context(), "app", n.st.Now()); err != nil || c.Known != 81 || c.Online != 1 {
		t.Errorf("counted are %+v, %v; want 81 known, 1 online", c, err)
	}
	// Half an hour after the peer went nothing relies on the entry any more.
	back := n.st.Now().Add(31 * time.Minute)
	r := presence.Report{App: "app", Peer: "p7", Source: presence.SourceLeanCloud, Kind: presence.KindOnline, At: back}
	if err := n.svc.Report(t.Context(), []presence.Report{r}, back, make([]presence.Outcome, 1)); err != nil {
		t.Fatal(err)
	}
	if due, err := n.st.Due(t.Context(), back.Add(8*24*time.Hour), 100); err != nil || len(due) != 2 {
		t.Errorf("in eight days %v are due, %v; want p7 and stays", due, err)
	}
	// What the expiry does in the end.
	s.Do(t, "PEXPIRE", "rc:{onOffStatus:p8}:s", "1")
	s.Do(t, "PEXPIRE", "onOffStatus:p8", "1")
	n.see(patience, presence.Unknown, "p8")
}

// TestTheRecipesWordIsAnAssumption: a recipe that goes on writing to this Redis and forwards its
// hooks, before or after, makes no second session: the last logout takes the peer offline.
func TestTheRecipesWordIsAnAssumption(t *testing.T) {
	s, url := redisOf(t)
	n := startNode(t, config(url), "n")
	device := func(kind presence.Kind, peer, tag string, policy presence.Policy) presence.Report {
		r := n.hook(kind, peer)
		r.Tag, r.Policy = tag, policy
		return r
	}
	for _, audited := range []bool{false, true} {
		for _, policy := range []presence.Policy{presence.PolicySum, presence.PolicyLast} {
			for _, tag := range []string{"", "phone"} {
				for _, first := range []presence.Kind{presence.KindOnline, presence.KindOffline} {
					peer := fmt.Sprint("tom ", audited, policy, tag, first)
					s.Do(t, "SET", "onOffStatus:"+peer, "1")
					n.see(patience, presence.Online, peer)
					key, state := presence.Key{App: "app", Peer: presence.PeerID(peer)}, presence.State{}
					err := n.st.Load(t.Context(), key, &state)
					why := n.svc.Explain(key, &state, n.st.Now())
					if err != nil || !strings.Contains(why.Why, "this is assumed until the first report") {
						t.Errorf("%s: %q, %v", peer, why.Why, err)
					}
					if audited {
						if _, err := n.st.Audit(t.Context(), n.st.Now()); err != nil {
							t.Fatal(err)
						}
					}
					if first == presence.KindOnline {
						if err := n.report(device(first, peer, tag, policy)); err != nil {
							t.Fatal(err)
						}
						n.see(patience, presence.Online, peer)
						s.Do(t, "SET", "onOffStatus:"+peer, "1")
					}
					if err := n.report(device(presence.KindOffline, peer, tag, policy)); err != nil {
						t.Fatal(err)
					}
					n.see(patience, presence.Offline, peer)
					if got := s.Do(t, "GET", "onOffStatus:"+peer); got != "0" {
						t.Errorf("%s: the recipe's key holds %v, want 0", peer, got)
					}
				}
			}
		}
	}
	// A socket, or a session of the events, replaces it too.
	s.Do(t, "SET", "onOffStatus:ann", "1")
	if err := n.report(n.socket(presence.KindOnline, "ann")); err != nil {
		t.Fatal(err)
	}
	ended := n.socket(presence.KindOffline, "ann")
	ended.At += 2 // a tie is won by online
	if err := n.report(ended); err != nil {
		t.Fatal(err)
	}
	n.see(patience, presence.Offline, "ann")
}
