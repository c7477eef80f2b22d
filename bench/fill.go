package main

import (
	"context"
	"time"
)

// fillByHooks reports every peer to a server by the hooks of the dialect: one for a peer that is
// online, two for one that is offline but known. Batches of native events would be quicker, but a
// session that they open is another one than the hooks' own, and no hook of the run could end it.
//
// A connection sends many hooks in one go and then reads as many answers, so that a server that
// syncs before it answers is not waited for a million times in a row; the hooks of one peer stay in
// order, because they share a connection.
func fillByHooks(ctx context.Context, t *target) error {
	const lanes, batch = 256, 32
	return t.eachLane(ctx, lanes, func(c *conn, lane int) error {
		w := t.wire()
		var out []byte
		sent := 0
		flush := func() error {
			if _, err := c.Write(out); err != nil {
				return err
			}
			for ; sent > 0; sent-- {
				answer, err := w.read(c)
				if err != nil {
					return err
				}
				if err := w.judge(answer); err != nil {
					return err
				}
			}
			out = out[:0]
			return nil
		}
		for p := lane; p < len(t.truth.state); p += lanes {
			out = append(out, w.hook(p, true)...)
			sent++
			if t.truth.state[p] == offline {
				out = append(out, w.hook(p, false)...)
				sent++
			}
			if sent >= batch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return flush()
	})
}

// verify asks a server about every peer that its store should know.
func verify(ctx context.Context, t *target, lanes int) error {
	return verifyFrom(ctx, t, lanes, 0)
}

// verifyFrom asks a server about as many peers as its store should know, the first of which is
// from.
func verifyFrom(ctx context.Context, t *target, lanes, from int) error {
	return t.eachLane(ctx, lanes, func(c *conn, lane int) error {
		w := t.wire()
		const batch = 500
		for first := lane * batch; first < len(t.truth.state); first += lanes * batch {
			end := min(first+batch, len(t.truth.state))
			peers, states := make([]int, end-first), make([]byte, end-first)
			for i := range peers {
				peers[i] = from + first + i
				states[i] = t.truth.of(peers[i])
			}
			if _, err := c.Write(w.query(peers, states)); err != nil {
				return err
			}
			answer, err := w.read(c)
			if err != nil {
				return err
			}
			if err := w.judge(answer); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachLane runs do on so many connections at once and returns the first error, after all have
// ended.
func (t *target) eachLane(ctx context.Context, lanes int, do func(c *conn, lane int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	patience := time.Minute + time.Duration(len(t.truth.state))*500*time.Microsecond
	conns, closeAll, err := dialAll(ctx, t.addr, lanes, patience)
	if err != nil {
		return err
	}
	defer closeAll()
	done := make(chan struct{})
	for lane, c := range conns {
		go func() {
			defer func() { done <- struct{}{} }()
			if err := do(c, lane); err != nil {
				fail(err) // closes the other connections too
			}
		}()
	}
	for range lanes {
		<-done
	}
	return context.Cause(ctx)
}
