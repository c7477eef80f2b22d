package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"rollcall/presence"
)

func unknown(b *bench) {
	b.is(presence.Unknown, "nobody", "")
	if st := b.load(keyOf("nobody")); !st.Forgotten() || st.Rev != 0 {
		b.Errorf("the state of nobody is %+v, want the zero state", st)
	}
	if s := b.summary("nobody"); s != (presence.Summary{}) {
		b.Errorf("the summary of nobody is %+v, want the zero summary", s)
	}
	b.counts(presence.Counts{})
	if got := b.list(10); len(got) != 0 {
		b.Errorf("%q are listed in an empty store", got)
	}
	if got := b.due(10); len(got) != 0 {
		b.Errorf("%v are due in an empty store", got)
	}
	b.answered(b.Store.Statuses(b.ctx, app, nil, b.now, nil))
	b.answered(b.Store.Summaries(b.ctx, nil, nil))
	b.must(b.Store.Update(b.ctx, nil, b.now, nil))
}

func batchInOrder(b *bench) {
	b.report(b.on("a", "1"), b.on("b", "1"), b.on("c", "1"))
	b.now++
	b.report(b.off("c", "1"))
	got := b.statuses(app, "c", "a", "x", "b", "a", "x", "c")
	want := []presence.Status{
		presence.Offline, presence.Online, presence.Unknown, presence.Online, presence.Online, presence.Unknown, presence.Offline,
	}
	for i := range want {
		if got[i] != want[i] {
			b.Errorf("answer %d is %v, want %v", i, got[i], want[i])
		}
	}
	keys := []presence.Key{keyOf("c"), keyOf("x"), keyOf("a")}
	out := make([]presence.Summary, 3)
	b.answered(b.Store.Summaries(b.ctx, keys, out))
	for i, want := range []presence.Status{presence.Offline, presence.Unknown, presence.Online} {
		if out[i].Status != want {
			b.Errorf("summary %d says %v, want %v", i, out[i].Status, want)
		}
	}
}

func bigBatch(b *bench) {
	peers := names("p", 10_000)
	reports := make([]presence.Report, 0, len(peers))
	for i, p := range peers {
		if i%2 == 0 {
			reports = append(reports, b.on(p, "1"))
		}
	}
	for len(reports) > 0 {
		n := min(1000, len(reports))
		b.report(reports[:n]...)
		reports = reports[n:]
	}
	for i, got := range b.statuses(app, peers...) {
		want := presence.Unknown
		if i%2 == 0 {
			want = presence.Online
		}
		if got != want {
			b.Fatalf("%s is %v, want %v", peers[i], got, want)
		}
	}
}

// bigLoads reads many states at once, in order, with repetitions, unknown peers and peers of two
// apps among them.
func bigLoads(b *bench) {
	b.must(b.Store.Loads(b.ctx, nil, nil))
	peers := names("p", 10_000)
	var reports []presence.Report
	for i, p := range peers {
		if i%2 == 0 {
			reports = append(reports, b.on(p, "s"+p))
		}
	}
	for some := range slices.Chunk(reports, 1000) {
		b.report(some...)
	}
	other := b.on("p0", "of another app")
	other.App = "other"
	b.report(other)
	keys := []presence.Key{{App: "other", Peer: "p0"}, keyOf("p2"), keyOf("p2")}
	want := []presence.SessionID{"of another app", "sp2", "sp2"}
	for i, p := range peers {
		keys = append(keys, keyOf(p))
		if want = append(want, ""); i%2 == 0 {
			want[len(want)-1] = presence.SessionID("s" + p)
		}
	}
	for i, st := range b.loads(keys...) {
		var got presence.SessionID
		if len(st.Sessions) > 0 {
			got = st.Sessions[0].ID
		}
		if got != want[i] || st.Forgotten() != (want[i] == "") || len(st.Sessions) > 1 {
			b.Fatalf("state %d, of %v, is %+v, want the session %q", i, keys[i], st, want[i])
		}
	}
}

func appsApart(b *bench) {
	r := b.on("tom", "1")
	r.App = "other"
	b.report(r)
	b.is(presence.Unknown, "tom")
	b.isIn("other", presence.Online, "tom")
	b.isIn("", presence.Unknown, "tom")
	b.counts(presence.Counts{})
	if got := b.list(10); len(got) != 0 {
		b.Errorf("%q of another app are listed", got)
	}
	b.report(b.on("tom", "1"))
	b.erase(presence.Key{App: "other", Peer: "tom"})
	b.is(presence.Online, "tom")
	b.isIn("other", presence.Unknown, "tom")
	// An app and a peer that read the same when run together are still two.
	r.App, r.Peer = "ap", "ptim"
	b.report(r)
	b.is(presence.Unknown, "tim")
}

func anyBytes(b *bench) {
	ids := []string{
		"{", "}", "{}", "{a}", "}{", "a{b}c", "{a}{b}", " ", "  ", "a b", "\r\n", "a\r\nDEL x\r\n", "\x00", "a\x00b", "\x00a", ":", "a:b",
		"*", "?", "[a]", "\\", "\"", "'", "%", "$1", "rc:x", "onOffStatus:a", "\xff\xfe", "\xf0\x9f\x98\x80", "é", "e\u0301", "A", "a", "0", "-1",
		strings.Repeat("x", presence.MaxPeer), strings.Repeat("{", 254), strings.Repeat("y", 255), strings.Repeat("界", 85),
		strings.Repeat("z", 127), strings.Repeat("z", 128),
	}
	var reports []presence.Report
	for i, id := range ids {
		if i%2 == 0 {
			reports = append(reports, b.on(id, "1"))
		}
	}
	b.report(reports...)
	for i, got := range b.statuses(app, ids...) {
		want := presence.Unknown
		if i%2 == 0 {
			want = presence.Online
		}
		if got != want {
			b.Errorf("%q is %v, want %v", cut(ids[i]), got, want)
		}
	}
	listed := map[string]bool{}
	for _, p := range b.list(7) {
		listed[p] = true
	}
	for i, id := range ids {
		if listed[id] != (i%2 == 0) {
			b.Errorf("%q listed: %t", cut(id), listed[id])
		}
	}
	b.pass(presence.MaxLease)
	if got := len(b.sweep(5)); got < len(reports) {
		b.Errorf("%d peers expired, want %d at least", got, len(reports))
	}
	b.is(presence.Unknown, ids...)
}

func longIDs(b *bench) {
	long := strings.Repeat("x", 64<<10)
	b.report(b.on(long[:presence.MaxPeer], "1"))
	b.is(presence.Unknown, long, long[:presence.MaxPeer+1], "")
	b.is(presence.Online, long[:presence.MaxPeer])
}

func judgedAtRead(b *bench) {
	b.report(b.on("tom", "1"))
	b.is(presence.Online, "tom")
	b.now = b.now.Add(b.on("tom", "1").Lease) - 1
	b.is(presence.Online, "tom")
	b.now++
	b.is(presence.Offline, "tom")
	b.pass(b.Rules.OfflineMemory - 1e6)
	b.is(presence.Offline, "tom")
	b.now++
	b.is(presence.Unknown, "tom")
	if s := b.summary("tom"); s.Status != presence.Online {
		b.Errorf("a summary is as last written; this one says %v, want online", s.Status)
	}
}

func countsFollow(b *bench) {
	b.report(b.on("a", "1"), b.on("b", "1"), b.on("c", "1"))
	b.counts(presence.Counts{Online: 3, Known: 3, Today: 3})
	b.now++
	b.report(b.off("c", "1"))
	b.counts(presence.Counts{Online: 2, Known: 3, Today: 3})
	b.report(b.on("a", "2"), b.off("b", "1"))
	b.counts(presence.Counts{Online: 1, Known: 3, Today: 3})
	b.erase(keyOf("c"))
	b.counts(presence.Counts{Online: 1, Known: 2, Today: 2})
	b.pass(2 * b.on("a", "1").Lease)
	b.sweep(10)
	b.counts(presence.Counts{Online: 0, Known: 2, Today: 2})
	b.pass(b.Rules.OfflineMemory)
	b.sweep(10)
	b.counts(presence.Counts{})
}

func todayOnce(b *bench) {
	b.report(b.on("a", "1"))
	b.report(b.off("a", "1"))
	b.report(b.on("a", "2"))
	b.report(b.on("b", "1"))
	b.counts(presence.Counts{Online: 2, Known: 2, Today: 2})
	b.pass(24 * hour)
	b.sweep(10)
	b.counts(presence.Counts{Online: 0, Known: 2, Today: 0})
	b.report(b.on("a", "3"))
	b.counts(presence.Counts{Online: 1, Known: 2, Today: 1})
}

func closed(b *bench) {
	b.report(b.on("tom", "1"))
	b.must(b.Store.Close())
	b.must(b.Store.Close())
	check := func(what string, err error) {
		if !errors.Is(err, presence.ErrUnavailable) {
			b.Errorf("%s on a closed store: %v, want presence.ErrUnavailable", what, err)
		}
	}
	_, err := b.Store.Statuses(b.ctx, app, [][]byte{[]byte("tom")}, b.now, make([]presence.Status, 1))
	check("statuses", err)
	_, err = b.Store.Summaries(b.ctx, []presence.Key{keyOf("tom")}, make([]presence.Summary, 1))
	check("summaries", err)
	check("load", b.Store.Load(b.ctx, keyOf("tom"), &presence.State{}))
	check("loads", b.Store.Loads(b.ctx, []presence.Key{keyOf("tom")}, make([]presence.State, 1)))
	_, err = b.tryReport(b.on("tom", "2"))
	check("update", err)
	_, err = b.Store.Due(b.ctx, b.now, 1)
	check("due", err)
	_, _, err = b.Store.List(b.ctx, app, "", 1, b.now)
	check("list", err)
	_, err = b.Store.Counts(b.ctx, app, b.now)
	check("counts", err)
	check("beat", b.Store.Heartbeat(b.ctx, "n", hour, false, b.now))
	_, err = b.Store.LostNodes(b.ctx, b.now)
	check("lost nodes", err)
	_, err = b.Store.OnNode(b.ctx, "n", 1)
	check("on node", err)
	_, err = b.Store.Heartbeats(b.ctx, []presence.NodeID{"n"})
	check("beats", err)
	check("drop node", b.Store.DropNode(b.ctx, "n", b.now))
}

func contextOver(b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	calls := 0
	err := b.Store.Update(ctx, []presence.Key{keyOf("tom")}, b.now, func(int, *presence.State) presence.Effect {
		calls++
		return presence.Same
	})
	if err != nil && !errors.Is(err, presence.ErrUnavailable) {
		b.Errorf("update: %v, want presence.ErrUnavailable or nothing", err)
	}
	if err == nil && calls == 0 {
		b.Error("update says that it is done, and merged nothing")
	}
}

var _ testing.TB = (*bench)(nil)
