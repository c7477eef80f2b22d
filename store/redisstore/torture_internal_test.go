package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// A word is what a foreign writer has said of one peer, and when Redis had taken it.
type word struct {
	mu       sync.Mutex
	seq      int // odd while a write is under way
	online   bool
	acked    time.Time
	notified bool      // the store was notified of a later write, so that it must know this one
	marked   time.Time // when that later write was made last
}

// A torture is a cache whose link is killed again and again while another program writes.
type torture struct {
	store  *Store
	server *redistest.Server
	words  []word
	reads  atomic.Int64
	stale  atomic.Int64
	kills  atomic.Int64
	latest atomic.Int64 // how long after a write an answer did not know it, at worst
	batch  int          // ids in one question
}

// A peer is left alone for rest after a write. It is less than the time between two kills, for each
// of them empties the cache and would hide what was wrong in it.
const rest = 500 * time.Millisecond

// markerOf names the peer that is written after word seq of peer i. Signals come in the order of
// the writes, so when the store is notified of it, however late, it was notified of the word, or
// has lost the link since.
func markerOf(i, seq int) string { return fmt.Sprintf("marker-%d-%d", i, seq) }

func newTorture(t *testing.T, peers int) *torture {
	server := redistest.Run(t)
	proxy := redistest.RunProxy(t, server.Addr)
	// so that answers and signals, on two connections, overtake each other
	proxy.Delay(time.Millisecond)
	cfg := At("redis://" + proxy.Addr)
	cfg.Deadline = 5 * time.Second
	s, err := cfg.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := &torture{store: s, server: server, words: make([]word, peers), batch: 20}
	stop := s.Listen(w.listen)
	t.Cleanup(stop)
	return w
}

// listen notes which markers the store was notified of.
func (w *torture) listen(keys []presence.Key) {
	for _, k := range keys {
		var i, seq int
		if n, _ := fmt.Sscanf(string(k.Peer), "marker-%d-%d", &i, &seq); n != 2 {
			continue
		}
		d := &w.words[i]
		d.mu.Lock()
		d.notified = d.notified || d.seq == seq
		d.mu.Unlock()
	}
}

func peerOf(i int) string { return fmt.Sprint("peer-", i) }

// write lets a foreign writer say two words about each peer in turn, so close to one another that
// the read which the first brings about is under way when the second comes, and then leave the peer
// alone.
func (w *torture) write(ctx context.Context, t *testing.T) {
	conn, err := redistest.Dial(w.server.Addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for ctx.Err() == nil {
		i := rand.IntN(len(w.words))
		d := &w.words[i]
		d.mu.Lock()
		// again: the link may have been lost
		if d.seq > 0 && !d.notified && time.Since(d.marked) > rest/10 {
			d.marked = time.Now()
			marker := markerOf(i, d.seq)
			d.mu.Unlock()
			if _, err := conn.Do("SET", DefaultConfig().SummaryPrefix+marker, "0", "EX", "60"); err != nil {
				t.Error(err)
				return
			}
			continue
		}
		if d.seq > 0 && !d.notified || time.Since(d.acked) < 3*rest/2 {
			d.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
			continue
		}
		d.seq++
		d.mu.Unlock()
		online := !d.online
		for k := range 2 {
			value := "0"
			if online == (k == 1) {
				value = "1"
			}
			if _, err := conn.Do("SET", DefaultConfig().SummaryPrefix+peerOf(i), value); err != nil {
				t.Error(err)
				return
			}
			if k == 0 {
				time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
			}
		}
		d.mu.Lock()
		d.seq++
		d.online, d.acked, d.notified = online, time.Now(), false
		d.mu.Unlock()
	}
}

// read asks for a batch of peers at a time and counts answers that are not what was last said, of
// which the store was notified.
func (w *torture) read(ctx context.Context, t *testing.T) {
	type seen struct {
		seq    int
		online bool
		old    bool
		acked  time.Time
	}
	ids, index, before, out := make([][]byte, w.batch), make([]int, w.batch), make([]seen, w.batch), make([]presence.Status, w.batch)
	for ctx.Err() == nil {
		now := time.Now()
		for k := range ids {
			index[k] = rand.IntN(len(w.words))
			ids[k] = []byte(peerOf(index[k]))
			d := &w.words[index[k]]
			d.mu.Lock()
			before[k] = seen{d.seq, d.online, d.seq%2 == 0 && d.notified, d.acked}
			d.mu.Unlock()
		}
		if _, err := w.store.Statuses(ctx, "", ids, w.store.conn.Now(), out); err != nil {
			continue // or flagged with its age
		}
		for k := range ids {
			if !before[k].old {
				continue
			}
			d := &w.words[index[k]]
			d.mu.Lock()
			same := d.seq == before[k].seq
			d.mu.Unlock()
			if !same {
				continue
			}
			w.reads.Add(1)
			if (out[k] == presence.Online) != before[k].online {
				w.stale.Add(1)
				w.latest.Store(max(w.latest.Load(), int64(now.Sub(before[k].acked))))
			}
		}
	}
}

// kill ends the connection that listens, every 0.7 s.
func (w *torture) kill(ctx context.Context, t *testing.T) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(700 * time.Millisecond):
		}
		list, _ := w.server.Do(t, "CLIENT", "LIST").(string)
		for line := range strings.Lines(list) {
			fields := map[string]string{}
			for f := range strings.FieldsSeq(line) {
				name, value, _ := strings.Cut(f, "=")
				fields[name] = value
			}
			if strings.Contains(fields["flags"], "B") {
				if n, _ := w.server.Do(t, "CLIENT", "KILL", "ID", fields["id"]).(int64); n == 1 {
					w.kills.Add(1)
				}
			}
		}
	}
}

// run goes on until the link was killed and lost and enough reports true, for d at most.
func (w *torture) run(t *testing.T, d time.Duration, enough func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { w.write(ctx, t) })
	wg.Go(func() { w.kill(ctx, t) })
	for range 3 {
		wg.Go(func() { w.read(ctx, t) })
	}
	lost := func() int64 { return w.store.Stats()["links_lost"] }
	for ctx.Err() == nil && (w.kills.Load() == 0 || lost() == 0 || !enough()) {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d reads that could have been stale, %d were (%v after the write at worst); the link was killed %d times and lost %d times; %d hits, %d misses",
		w.reads.Load(), w.stale.Load(), time.Duration(w.latest.Load()), w.kills.Load(), lost(), w.store.cache.Stats()["near_cache_hits"], w.store.cache.Stats()["near_cache_misses"])
	if w.kills.Load() == 0 || lost() == 0 {
		t.Errorf("the link was not lost within %v: the fault did not take hold", d)
	}
}

// nearCacheIsNeverStale is the promise; a run without one of the two guards shows that the test
// would see it broken.
func nearCacheIsNeverStale(t *testing.T, batch int, least, kills int64) {
	w := newTorture(t, 300)
	w.batch = batch
	hits := func() int64 { return w.store.cache.Stats()["near_cache_hits"] }
	w.run(t, 2*redistest.Patience, func() bool { return w.reads.Load() >= least && w.kills.Load() >= kills && hits() >= least/4 })
	if w.stale.Load() != 0 {
		t.Errorf("%d of %d answers were stale", w.stale.Load(), w.reads.Load())
	}
	if w.reads.Load() < least || hits() < least/4 {
		t.Errorf("only %d reads and %d hits, want %d and a quarter", w.reads.Load(), hits(), least)
	}
}

func TestNearCacheIsNeverStale(t *testing.T) {
	nearCacheIsNeverStale(t, 20, 5_000, 4)
}

func TestNearCacheNeedsItsMarker(t *testing.T) {
	w := newTorture(t, 300)
	w.store.cache.Without.Marks = true
	w.run(t, redistest.Patience, func() bool { return w.stale.Load() > 0 })
	if w.stale.Load() == 0 {
		t.Error("without the marker no answer was stale: the torture is too mild")
	}
}

func TestNearCacheNeedsItsEpoch(t *testing.T) {
	w := newTorture(t, 300)
	w.store.cache.Without.Epochs = true
	w.run(t, redistest.Patience, func() bool { return w.stale.Load() > 0 })
	if w.stale.Load() == 0 {
		t.Error("without the epoch no answer was stale: the torture is too mild")
	}
}
