package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

const (
	auditEvery = time.Hour
	scanCount  = 1000
	// censusAtOnce is how many peers are few enough for Counts to take a census every time it is
	// asked.
	censusAtOnce = 20_000
)

// A census counts peers by walking over all of them: nothing that a report writes pays for
// counting. While it takes long, counts are as old as twenty times what it takes.
type census struct {
	mu      sync.Mutex
	running chan struct{} // closed when the one under way is done
	taken   time.Time
	took    time.Duration
	counts  map[presence.AppID]presence.Counts
	peers   int
	err     error
}

// Counts implements [presence.Store].
func (a *auditor) Counts(ctx context.Context, app presence.AppID, now presence.Millis) (presence.Counts, error) {
	if a.conn.Closed() {
		return presence.Counts{}, conn.ErrClosed
	}
	c := &a.census
	c.mu.Lock()
	old := c.counts != nil && c.peers > censusAtOnce && time.Since(c.taken) < 20*c.took
	if old {
		n := c.counts[app]
		c.mu.Unlock()
		return n, nil
	}
	// One that is under way may have passed the caller's own writes by: only a store that is slow
	// to walk joins it.
	done := c.running
	if done == nil {
		done = make(chan struct{})
		c.running = done
		a.conn.Go(func() { a.takeCensus(done, now) })
	} else if c.peers <= censusAtOnce {
		c.mu.Unlock()
		select {
		case <-done:
			return a.Counts(ctx, app, now)
		case <-ctx.Done():
			return presence.Counts{}, fmt.Errorf("count the peers: %w", conn.Unavailable(ctx.Err()))
		}
	}
	known := c.counts != nil && c.err == nil
	c.mu.Unlock()
	wait := ctx.Done()
	if known {
		soon, cancel := a.conn.Deadline(ctx)
		defer cancel()
		wait = soon.Done()
	}
	select {
	case <-done:
	case <-wait:
		if !known || ctx.Err() != nil {
			return presence.Counts{}, fmt.Errorf("count the peers: %w", conn.Unavailable(context.DeadlineExceeded))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return presence.Counts{}, c.err
	}
	return c.counts[app], nil
}

func (a *auditor) takeCensus(done chan struct{}, now presence.Millis) {
	begun := time.Now()
	counts := map[presence.AppID]presence.Counts{}
	today := a.day(now)
	peers := 0
	err := a.walk(a.conn.Context(), map[string]struct{}{}, func(key presence.Key, state []byte, summary string) {
		var st presence.State
		peers++
		if a.newer(state) {
			state = a.reader.plainState(state, summary, a.rules.OfflineMemory, now)
		}
		if len(state) == 0 || st.Unpack(state) != nil {
			return
		}
		n := counts[key.App]
		if st.Status != presence.Unknown {
			n.Known++
		}
		if st.Status == presence.Online {
			n.Online++
		}
		if st.Day == today && st.Status != presence.Unknown {
			n.Today++
		}
		counts[key.App] = n
	})
	c := &a.census
	c.mu.Lock()
	if err == nil {
		c.counts, c.peers = counts, peers
	} else {
		err = fmt.Errorf("count the peers: %w", conn.Unavailable(err))
	}
	c.err, c.taken, c.took, c.running = err, time.Now(), time.Since(begun), nil
	c.mu.Unlock()
	close(done)
}

// day returns the local day of m, in days since 1970, as the rules count it.
func (a *auditor) day(m presence.Millis) int32 {
	return int32(m.Add(a.rules.DayOffset) / presence.Millis(24*time.Hour/time.Millisecond))
}

// walk calls see for every summary key in Redis, with the packed state (the recipe's value stands
// for one where there is none) and the summary. A key may come twice when tables are resized; see
// is called for the first only, unless seen is nil; then a peer that the recipe's value alone says
// is offline comes with since when. What is out of reach is an error, after all the rest.
func (a *auditor) walk(ctx context.Context, seen map[string]struct{}, see func(key presence.Key, state []byte, summary string)) error {
	patterns := []string{glob(a.keys.summary) + "*"}
	if a.keys.summary != "" {
		patterns = append(patterns, glob(a.keys.others())+"*")
	}
	if err := a.owner.owned(ctx); err != nil {
		return err
	}
	failed := a.conn.Uncovered()
	for _, k := range a.conn.Links() {
		n := k.Client()
		if n == nil || k.Down() {
			failed = errors.Join(failed, conn.ErrDown)
			continue
		}
		for _, pattern := range patterns {
			if err := a.walkNode(ctx, n, pattern, seen, see); err != nil {
				failed = errors.Join(failed, err)
				break
			}
		}
	}
	return failed
}

func (a *auditor) walkNode(ctx context.Context, n rueidis.Client, pattern string, seen map[string]struct{}, see func(presence.Key, []byte, string)) error {
	for cursor := uint64(0); ; {
		if a.conn.Closed() {
			return conn.ErrClosed
		}
		step, cancel := context.WithTimeout(ctx, 5*time.Second)
		entry, err := n.Do(step, n.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Build()).AsScanEntry()
		if err == nil {
			err = a.walkKeys(step, entry.Elements, seen, see)
		}
		cancel()
		if err != nil {
			return err
		}
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}

func (a *auditor) walkKeys(ctx context.Context, found []string, seen map[string]struct{}, see func(presence.Key, []byte, string)) error {
	var keys []presence.Key
	var both []string
	for _, name := range found {
		key, ok := a.keys.peerOf(name)
		if _, twice := seen[name]; !ok || twice {
			continue
		}
		if seen != nil {
			seen[name] = struct{}{}
		}
		keys = append(keys, key)
		both = append(both, a.keys.stateKey(name), name)
	}
	if len(both) == 0 {
		return nil
	}
	values, err := a.reader.getAll(ctx, both)
	if err != nil {
		return err
	}
	if seen == nil {
		if err := a.readSince(ctx, both, values); err != nil {
			return err
		}
	}
	for i, k := range keys {
		state, summary := values[2*i], string(values[2*i+1])
		if summary != "0" && summary != "1" {
			continue // gone meanwhile, or another's key under an empty prefix
		}
		if state == nil {
			if seen == nil && summary == "0" {
				continue // gone meanwhile
			}
			state = a.reader.recipeState(summary == "1", a.rules.OfflineMemory, a.conn.Now())
		}
		see(k, state, summary)
	}
	return nil
}

// readSince sets the states of peers that have none and whose summaries say that they are offline.
// Both state key and summary key of each are in names, and values are theirs.
func (a *auditor) readSince(ctx context.Context, names []string, values [][]byte) error {
	var ask []string
	var index, offline []int
	for i := 0; i < len(names); i += 2 {
		if values[i] == nil && string(values[i+1]) == "0" {
			ask, index, offline = append(ask, names[i+1]), append(index, i), append(offline, len(ask))
		}
	}
	if len(ask) == 0 {
		return nil
	}
	return a.reader.readOffline(ctx, ask, index, offline, values, a.conn.Now())
}

var globQuote = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func glob(prefix string) string { return globQuote.Replace(prefix) }
