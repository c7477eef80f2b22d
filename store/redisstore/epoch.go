package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// An identity is each primary's run id and replication id, and the epoch: a change may mean that
// acknowledged writes are lost.
type identity struct {
	*shared
	owner *ownership
	lost  func(why string, asOf int64) // called when the epoch is another than before

	turn chan struct{} // held while the epoch is compared

	mu    sync.Mutex
	of    map[string]string // by address
	epoch string
}

// linkUp records the identity behind a link that has come up. It fails when Redis does not return
// the epoch, without which it is not known whether data was lost.
func (o *recovery) linkUp(k *conn.Link, who string) error {
	was, known := o.ident.swap(k.Addr(), who)
	if k.Born() && !known {
		return nil
	}
	if was != who {
		o.noteDataLoss("primary "+k.Name(), k.ReceivedAt())
	}
	if err := o.ident.checkAt(k); err != nil {
		return err
	}
	o.box.Again()
	o.conn.RenewOthers(k)
	o.signal(nil)
	return nil
}

// swap notes what answers at an address, and returns what did before.
func (d *identity) swap(addr, who string) (was string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was, known = d.of[addr]
	d.of[addr] = who
	return was, known
}

// checkAt compares the epoch before the cache trusts the link k again. Of a Cluster one primary has
// it: for the others it is compared when that one can be reached, and its absence does not keep
// them down.
func (d *identity) checkAt(k *conn.Link) error {
	if !d.conn.Reaches(d.keys.epoch()) {
		return nil
	}
	ctx, cancel := d.conn.Within(d.conn.Context(), time.Second)
	defer cancel()
	err := d.check(ctx)
	if err != nil && d.conn.LinkOf(d.keys.epoch()) == k {
		return fmt.Errorf("read the epoch: %w", err)
	}
	return nil
}

// open reads the first epoch.
func (d *identity) open(ctx context.Context) error {
	if err := d.conn.SyncClock(ctx); err != nil {
		return fmt.Errorf("ask redis for the time: %w", conn.Unavailable(err))
	}
	epoch, err := d.read(ctx)
	if err != nil {
		return fmt.Errorf("read the epoch, %s: %w", d.keys.epoch(), conn.Unavailable(err))
	}
	d.epoch = epoch
	return nil
}

// raiseFloor puts the revisions of peers without a state above those that may have been given out
// for states that are gone: these may run ahead of the clock by a write or a few.
func (o *recovery) raiseFloor() {
	for {
		was := o.floor.Load()
		if o.floor.CompareAndSwap(was, max(was, uint64(o.conn.Now()))+1000) {
			return
		}
	}
}

// read returns the epoch, a value that is lost with everything else, and writes a new one when it
// is.
func (d *identity) read(ctx context.Context) (string, error) {
	key := d.keys.epoch()
	v, err := d.conn.Do(ctx, d.conn.B().Get().Key(key).Build()).ToString()
	if err == nil || !rueidis.IsRedisNil(err) {
		return v, err
	}
	mine := fmt.Sprintf("%d-%s", d.conn.Now(), d.conn.Name())
	err = d.conn.Do(ctx, d.conn.B().Set().Key(key).Value(mine).Nx().Build()).Error()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", err
	}
	return d.conn.Do(ctx, d.conn.B().Get().Key(key).Build()).ToString()
}

// check reads the epoch and, when it is another than before, has answers carry an age before it
// returns. An epoch of the wrong type decides nothing.
func (d *identity) check(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return conn.Unavailable(ctx.Err())
	}
	epoch, err := d.read(ctx)
	if conn.IsWrongType(err) {
		_ = d.wrongType(d.keys.epoch())
		return nil
	}
	if err != nil {
		return conn.Unavailable(err)
	}
	d.owner.doubtOwner()
	_ = d.owner.owned(ctx)
	d.mu.Lock()
	was := d.epoch
	d.epoch = epoch
	d.mu.Unlock()
	if was != epoch {
		d.lost("epoch "+epoch, d.conn.Millis())
	}
	return nil
}

// same checks an epoch that was read together with states. When it is not the one that is known,
// Redis was emptied or replaced before its link reported it: then an answer goes out with an age or
// not at all.
func (d *identity) same(ctx context.Context, read []byte) error {
	d.mu.Lock()
	same := d.epoch == string(read)
	d.mu.Unlock()
	if same {
		return nil
	}
	return d.check(ctx)
}

// sum returns a number that is another one when Redis is.
func (d *identity) sum() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sum uint64
	add := func(text string) {
		h := uint64(14695981039346656037)
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
		sum += h // the order of the primaries does not matter
	}
	add("epoch " + d.epoch)
	for _, k := range d.conn.Links() {
		add(d.of[k.Addr()])
	}
	return sum
}

// horizonLag is longer than any write goes on after it took its time.
const horizonLag = 10 * time.Second

// Horizon implements [presence.Shared].
func (s *Store) Horizon(now presence.Millis) uint64 {
	return uint64(max(min(now, s.conn.Now()).Add(-horizonLag), 0))
}
