package redisstore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// A script is Lua that runs in Redis, called by its hash; the text goes along only when the server has forgotten it.
type script struct{ text, sum string }

func newScript(text string) script {
	h := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(h[:])}
}

type scriptCall struct{ keys, args []string }

// While a slot moves, a call waits this long between two tries, at first and at most.
const (
	tryAgainFirst = 2 * time.Millisecond
	tryAgainMost  = 50 * time.Millisecond
)

// exec runs the script once for every call, in one pipeline per primary. While the keys of a call are on their way from one
// primary of a Cluster to another, it is tried again until they are in one place or ctx ends.
func (s *Store) exec(ctx context.Context, sc script, calls []scriptCall) ([]rueidis.RedisResult, error) {
	cmds := make([]rueidis.Completed, len(calls))
	for i, c := range calls {
		cmds[i] = s.client.B().Evalsha().Sha1(sc.sum).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
	}
	results, err := s.multi(ctx, cmds)
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
			c := calls[i]
			if re.IsNoScript() {
				s.stats.reloads.Add(1)
			} else {
				s.stats.triedAgain.Add(1)
				if s.allLeft(ctx, c.keys) {
					c = c.onFirstKey()
				} else {
					moving = true
				}
			}
			again = append(again, i)
			cmds = append(cmds, s.client.B().Eval().Script(sc.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build())
		}
		if len(again) == 0 || moving && !sleep(ctx, wait, s.cfg.Deadline/4) {
			return results, nil
		}
		more, err := s.multi(ctx, cmds)
		if err != nil {
			return results, nil // what was refused stays so; the others have run
		}
		for k, i := range again {
			results[i] = more[k]
		}
	}
}

// onFirstKey names only the first key of the call to Redis, and has the script find the others behind its arguments. That is
// how keys that are nowhere yet can be written to the primary that a slot is moving to, which refuses a call that names
// several of which one is missing.
func (c scriptCall) onFirstKey() scriptCall {
	return scriptCall{keys: c.keys[:1], args: append(slices.Clip(c.args), c.keys[1:]...)}
}

// allLeft reports whether the slot of keys is moving and none of them is where it moves from; none can come back there. As
// long as one is, the others must not be written elsewhere: the key would be in two places, and its move would fail.
func (s *Store) allLeft(ctx context.Context, keys []string) bool {
	if s.single != nil || s.route.Load() == nil {
		return false
	}
	k := s.linkOf(slotOf(keys[0]))
	if k == nil {
		return false
	}
	from := s.client.Nodes()[k.addr]
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

// sleep waits for d and reports true, or reports false when less than left would remain of ctx: a call that is given no time
// looks as if Redis were away.
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
