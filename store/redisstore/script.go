package redisstore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"

	"github.com/redis/rueidis"
)

// A script is Lua that runs in Redis, called by its hash; the text goes along only when the server has forgotten it.
type script struct{ text, sum string }

func newScript(text string) script {
	h := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(h[:])}
}

type scriptCall struct{ keys, args []string }

// exec runs the script once for every call, in one pipeline per primary.
func (s *Store) exec(ctx context.Context, sc script, calls []scriptCall) ([]rueidis.RedisResult, error) {
	cmds := make([]rueidis.Completed, len(calls))
	for i, c := range calls {
		cmds[i] = s.client.B().Evalsha().Sha1(sc.sum).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
	}
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	var again []int
	cmds = cmds[:0]
	for i := range results {
		re, ok := rueidis.IsRedisErr(results[i].Error())
		if ok && (re.IsNoScript() || re.IsTryAgain()) {
			c := calls[i]
			again = append(again, i)
			cmds = append(cmds, s.client.B().Eval().Script(sc.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build())
		}
	}
	if len(again) == 0 {
		return results, nil
	}
	s.stats.reloads.Add(int64(len(again)))
	more, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for k, i := range again {
		results[i] = more[k]
	}
	return results, nil
}
