package conn

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// A Script is Lua that runs in Redis, called by its hash; the text goes along only when the server
// has forgotten it.
type Script struct{ text, sum string }

func NewScript(text string) Script {
	h := sha1.Sum([]byte(text))
	return Script{text, hex.EncodeToString(h[:])}
}

type Call struct{ Keys, Args []string }

// While a slot moves, a call waits this long between two tries, at first and at most.
const (
	tryAgainFirst = 2 * time.Millisecond
	tryAgainMost  = 50 * time.Millisecond
)

// Exec runs the script once for every call, in one pipeline per primary. While the keys of a call
// are on their way from one primary of a Cluster to another, it is tried again until they are in
// one place or ctx ends.
func (c *Conn) Exec(ctx context.Context, sc Script, calls []Call) ([]rueidis.RedisResult, error) {
	cmds := make([]rueidis.Completed, len(calls))
	for i, call := range calls {
		cmds[i] = c.client.B().Evalsha().Sha1(sc.sum).Numkeys(int64(len(call.Keys))).Key(call.Keys...).Arg(call.Args...).Build()
	}
	results, err := c.DoMulti(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for wait := tryAgainFirst; ; wait = min(2*wait, tryAgainMost) {
		var again []int
		moving := false
		cmds = cmds[:0]
		for i := range results {
			re, ok := rueidis.IsRedisErr(results[i].Error())
			if !ok || !re.IsNoScript() && !re.IsTryAgain() {
				continue
			}
			call := calls[i]
			if re.IsNoScript() {
				c.stats.reloads.Add(1)
			} else {
				c.stats.triedAgain.Add(1)
				if c.allLeft(ctx, call.Keys) {
					call = call.onFirstKey()
				} else {
					moving = true
				}
			}
			again = append(again, i)
			cmds = append(cmds, c.client.B().Eval().Script(sc.text).Numkeys(int64(len(call.Keys))).Key(call.Keys...).Arg(call.Args...).Build())
		}
		if len(again) == 0 || moving && !sleep(ctx, wait, c.opts.Deadline/4) {
			return results, nil
		}
		more, err := c.DoMulti(ctx, cmds)
		if err != nil {
			return results, nil // what was refused stays so; the others have run
		}
		for k, i := range again {
			results[i] = more[k]
		}
	}
}

// onFirstKey names only the first key of the call to Redis, and has the script find the others
// behind its arguments. That is how keys that are nowhere yet can be written to the primary that a
// slot is moving to, which refuses a call that names several of which one is missing.
func (c Call) onFirstKey() Call {
	return Call{Keys: c.Keys[:1], Args: append(slices.Clip(c.Args), c.Keys[1:]...)}
}

// allLeft reports whether the slot of keys is moving and none of them is where it moves from; none
// can come back there. As long as one is, the others must not be written elsewhere: the key would
// be in two places, and its move would fail.
func (c *Conn) allLeft(ctx context.Context, keys []string) bool {
	if c.single != nil || c.route.Load() == nil {
		return false
	}
	k := c.LinkOf(keys[0])
	if k == nil {
		return false
	}
	from := c.client.Nodes()[k.addr]
	if from == nil {
		return false
	}
	re, ok := rueidis.IsRedisErr(from.Do(ctx, from.B().Mget().Key(keys...).Build()).Error())
	if !ok {
		return false
	}
	_, asked := re.IsAsk()
	return asked
}

// sleep waits for d and reports true, or reports false when less than left would remain of ctx: a
// call that is given no time looks as if Redis were down.
func sleep(ctx context.Context, d, left time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d+left {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
