package watch

import (
	"strconv"
	"testing"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A countPusher puts into bytes what it is given, and counts them.
type countPusher struct {
	form *Form
	n    int
}

func (t *countPusher) Ready() bool { return true }
func (t *countPusher) Push(b *Batch) bool {
	t.n += len(b.In(t.form))
	return true
}

// BenchmarkDeliver is what one change costs for one of a thousand watchers, without the write.
func BenchmarkDeliver(b *testing.B) {
	b.Run("same lists", func(b *testing.B) { deliver(b, false, presence.DetailFull) })
	b.Run("app key same lists", func(b *testing.B) { deliver(b, false, presence.DetailBrief) })
	b.Run("own lists", func(b *testing.B) { deliver(b, true, presence.DetailFull) })
	b.Run("app key own lists", func(b *testing.B) { deliver(b, true, presence.DetailBrief) })
}

// deliver notifies a thousand watchers of one peer again and again. The hub's goroutine has ended,
// so that nothing else runs.
func deliver(b *testing.B, own bool, d presence.Detail) {
	const n = 1000
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, 1_764_280_000_000)
	if err != nil {
		b.Fatal(err)
	}
	service := presence.NewService(store, presence.DefaultConfig())
	h := New(DefaultConfig(), Deps{Service: service, Source: store})
	close(h.quit)
	<-h.done
	form := &Form{Append: func(out []byte, b *Batch) []byte {
		out = append(out, "event: change\nid: "...)
		out, _ = b.Token.AppendText(out)
		out = append(out, "\ndata: {\"peers\":["...)
		for _, w := range b.Updates {
			out = append(out, w.JSON(d)...)
		}
		return append(out, "]}\n\n"...)
	}}
	for i := range n {
		peers := []presence.PeerID{"tom"}
		if own {
			peers = append(peers, presence.PeerID("own-"+strconv.Itoa(i)))
		}
		w, err := h.Watch(b.Context(), ask.View{App: "app", Viewer: ask.Public}, peers, d, "")
		if err != nil {
			b.Fatal(err)
		}
		w.Attach(&countPusher{form: form})
		if _, err := w.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		w.turn.Unlock()
	}
	e := h.peers[presence.Key{App: "app", Peer: "tom"}]
	b.ReportAllocs()
	b.ResetTimer()
	version := uint64(1)
	for i := 0; i < b.N; i += n {
		version++
		status := presence.Online
		if version%2 == 0 {
			status = presence.Offline
		}
		h.now = round{number: h.now.number + 1, before: h.ticket.Load()}
		e.update.Store(&Update{Peer: "tom", Status: status, Since: 1764280000000 + presence.Millis(version), LastSeen: 1764280000000, Version: version, ticket: h.ticket.Add(1), size: 200})
		h.publish([]*entry{e})
	}
	b.StopTimer()
	if h.stats.batches.Load() < int64(b.N) {
		b.Fatalf("%d batches for %d", h.stats.batches.Load(), b.N)
	}
	h.unlisten()
	if err := store.Close(); err != nil {
		b.Error(err)
	}
}
