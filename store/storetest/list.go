package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"rollcall/presence"
)

func (b *bench) onlineAll(peers []string) {
	b.Helper()
	for len(peers) > 0 {
		n := min(500, len(peers))
		reports := make([]presence.Report, n)
		for i, p := range peers[:n] {
			reports[i] = b.leased(p, "1", 24*hour)
		}
		b.report(reports...)
		peers = peers[n:]
	}
}

func listOnce(b *bench) {
	peers := names("p", 1500)
	b.onlineAll(peers)
	b.report(b.on("gone", "1"))
	b.now++
	b.report(b.off("gone", "1"))
	other := b.on("elsewhere", "1")
	other.App = "other"
	b.report(other)
	slices.Sort(peers)
	for _, limit := range []int{1, 7, 100, 1500, 5000} {
		got := b.list(limit)
		slices.Sort(got)
		if !slices.Equal(got, peers) {
			b.Errorf("pages of %d list %d peers, want %d", limit, len(got), len(peers))
		}
	}
	b.pass(24 * hour)
	if got := b.list(100); len(got) != 0 {
		b.Errorf("%d peers are listed whose lease has run out", len(got))
	}
}

func listUnderChange(b *bench) {
	stay := names("stay", 600)
	b.onlineAll(stay)
	b.onlineAll(names("leave", 600))
	seen := map[presence.PeerID]int{}
	rng := rand.New(rand.NewPCG(1, 2))
	for cursor, page := "", 0; ; page++ {
		peers, next, err := b.Store.List(b.ctx, app, cursor, 25, b.now)
		b.must(err)
		for _, p := range peers {
			seen[p]++
		}
		if next == "" {
			break
		}
		cursor = next
		b.now++
		// Meanwhile the store grows, some leave, some are erased, and those who stay change.
		b.onlineAll(names(fmt.Sprint("new", page, "-"), 100))
		var reports []presence.Report
		for range 20 {
			reports = append(reports, b.on(fmt.Sprint("stay", rng.IntN(600)), fmt.Sprint("again", page)))
			reports = append(reports, b.off(fmt.Sprint("leave", rng.IntN(600)), "1"))
		}
		b.report(reports...)
		b.erase(keyOf(fmt.Sprint("leave", rng.IntN(600))), keyOf(fmt.Sprint("leave", rng.IntN(600))))
		if page > 10_000 {
			b.Fatal("the listing does not end")
		}
	}
	for _, p := range stay {
		if seen[presence.PeerID(p)] != 1 {
			b.Errorf("%s was online throughout and is listed %d times", p, seen[presence.PeerID(p)])
		}
	}
	for p, n := range seen {
		if n > 1 {
			b.Errorf("%s is listed %d times", p, n)
		}
	}
}

func badCursor(b *bench) {
	b.onlineAll(names("p", 100))
	_, next, err := b.Store.List(b.ctx, app, "", 10, b.now)
	b.must(err)
	if next == "" {
		b.Fatal("a page of 10 of 100 has no next")
	}
	for _, cursor := range []string{"!", "x", "\x00", next + "%", "%%%%%%%%%%%%%%%%%%%%%%%%%"} {
		if _, _, err := b.Store.List(b.ctx, app, cursor, 10, b.now); err == nil {
			b.Errorf("the cursor %q was taken", cursor)
		}
	}
}
