package rollcall

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// A backoff says how long to wait before trying again: longer each time, never twice the same, and at least what the
// server asks for.
type backoff struct {
	tries int
	least time.Duration // the server's retry
}

const (
	firstWait = 200 * time.Millisecond
	longWait  = 30 * time.Second
)

// repeat calls once, which holds a connection until it breaks, again and again until ctx ends. It returns nil then, or a
// refusal that trying again would not change.
func (b *backoff) repeat(ctx context.Context, once func() error) error {
	for {
		err := once()
		switch {
		case ctx.Err() != nil:
			return nil
		case final(err):
			return err
		}
		b.wait(ctx, err)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// wait waits, or until ctx ends.
func (b *backoff) wait(ctx context.Context, err error) {
	d := min(firstWait<<min(b.tries, 10), longWait)
	d = d/2 + rand.N(d)
	if b.tries > 0 {
		d = max(d, b.least)
	}
	var e *Error
	if errors.As(err, &e) {
		d = max(d, e.RetryAfter)
	}
	b.tries++
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
