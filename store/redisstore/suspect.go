package redisstore

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/rueidis"
)

// timedOut reports whether err says that no answer came, as opposed to one that says what is the matter.
func timedOut(err error) bool {
	var net net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &net) && net.Timeout()
}

// confirmWithin is how long a primary that is suspected has to answer, in time that this process had.
const confirmWithin = 500 * time.Millisecond

// suspect asks the primary behind k whether it is there, and calls it away when no answer comes: a call that took too long may have
// waited for a turn of this process, or for one of Redis, on a machine that has too much to do.
func (s *Store) suspect(k *link, why error) {
	if k.away.Load() != 0 || !k.suspected.CompareAndSwap(false, true) {
		return
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer k.suspected.Store(false)
		ctx, cancel := s.pulse.within(s.ctx, confirmWithin)
		defer cancel()
		if err := s.ask(ctx, k); err != nil && s.ctx.Err() == nil {
			s.gone(k, errors.Join(why, err))
		}
	}()
}

// ask asks the primary behind k for a key of our own.
func (s *Store) ask(ctx context.Context, k *link) error {
	key := s.keys.probe(uint16(k.slot.Load()), s.name)
	err := s.do(ctx, s.client.B().Get().Key(key).Build()).Error()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	return err
}
