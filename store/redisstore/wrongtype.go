package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// repeatEvery is how often the log repeats a warning that lasts until an operator acts.
const repeatEvery = 10 * time.Minute

// wrongTypes are keys of another type where an index belongs, put there by another program. They
// are never touched: what can do without the index does, and when one is gone an audit mends what
// is missing.
type wrongTypes struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// wrongType records that the key of an index has another type, and logs it.
func (s *shared) wrongType(key string) {
	x := &s.wrongTypes
	x.mu.Lock()
	last, known := x.said[key]
	say := !known || time.Since(last) > repeatEvery
	if say {
		x.said[key] = time.Now()
	}
	x.mu.Unlock()
	if say {
		s.log.Error("index key has the wrong type", "key", key,
			"hint", "rename or delete it, or give rollcall another prefix; rollcall does not touch it")
	}
}

// wrongTypeError returns the error of a call that cannot do without the index.
func (s *shared) wrongTypeError(key string) error {
	s.wrongType(key)
	return fmt.Errorf("%w: the key %q is of another type and not ours", presence.ErrUnavailable, key)
}

// checkWrongTypes looks whether keys that stood in the way are gone, and has the indexes mended
// when one is.
func (o *recovery) checkWrongTypes(ctx context.Context) {
	x := &o.wrongTypes
	x.mu.Lock()
	keys := make([]string, 0, len(x.said))
	for k := range x.said {
		keys = append(keys, k)
	}
	x.mu.Unlock()
	gone := 0
	for _, k := range keys {
		if o.stands(ctx, k) {
			continue
		}
		x.mu.Lock()
		delete(x.said, k)
		x.mu.Unlock()
		o.log.Info("index key of the wrong type removed", "key", k)
		gone++
	}
	if gone > 0 {
		o.nodes.mu.Lock()
		clear(o.nodes.book) // a report for a node makes it known again
		o.nodes.mu.Unlock()
		select {
		case o.audit.auditNow <- struct{}{}:
		default:
		}
	}
}

// stands reports whether a key is still of another type, as far as is known.
func (o *recovery) stands(ctx context.Context, key string) bool {
	var err error
	switch key {
	case o.keys.nodes():
		err = o.conn.Do(ctx, o.conn.B().Hget().Key(key).Field("").Build()).Error()
	case o.keys.epoch():
		err = o.conn.Do(ctx, o.conn.B().Get().Key(key).Build()).Error()
	default:
		err = o.conn.Do(ctx, o.conn.B().Zscore().Key(key).Member("").Build()).Error()
	}
	return err != nil && !rueidis.IsRedisNil(err)
}

func (s *shared) wrongTypeCount() int64 {
	x := &s.wrongTypes
	x.mu.Lock()
	defer x.mu.Unlock()
	return int64(len(x.said))
}
