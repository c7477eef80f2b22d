package rollcall

import (
	"context"
	"math/rand/v2"
	"time"
)

// A backoff says how long to wait before a retry: longer each time, never twice the same, and at
// least what the server asks for.
type backoff struct {
	tries int           // since the last success
	least time.Duration // the server's retry
}

const (
	firstWait = 200 * time.Millisecond
	longWait  = 30 * time.Second
)

// next returns how long to wait after err.
func (b *backoff) next(err *Error) time.Duration {
	d := min(firstWait<<min(b.tries, 10), longWait)
	d = d/2 + rand.N(d)
	if b.tries > 0 {
		d = max(d, b.least)
	}
	b.tries++
	return max(d, err.RetryAfter)
}

// keep calls once, which holds a connection until it breaks, again and again until ctx ends. It
// returns nil then, or an error that a retry would not change.
func (c *Client) keep(ctx context.Context, once func(*backoff) error) error {
	var b backoff
	for {
		err := once(&b)
		if ctx.Err() != nil {
			return nil
		}
		e := unreachable("connect", err)
		// A ticket or a user token may be too old; the next one is not.
		newer := c.cfg.Ticket != nil && e.Code == "unauthorized" || c.token != nil && e.Code == codeEnded
		if !e.Temporary() && !newer {
			return e
		}
		if c.cfg.Retrying != nil {
			c.cfg.Retrying(e)
		}
		if !pause(ctx, b.next(e)) {
			return nil
		}
	}
}

// pause waits for d; it reports false when ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
