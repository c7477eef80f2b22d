package redisstore

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// An entry is one index entry that a state needs.
type entry struct {
	index    string
	deadline presence.Millis // 0 in an index of a node
	node     presence.NodeID // on which some session hangs
}

// without removes the entry of an index.
func without(list []entry, index string) []entry {
	return slices.DeleteFunc(list, func(e entry) bool { return e.index == index })
}

func has(list []entry, index string) bool {
	for _, e := range list {
		if e.index == index {
			return true
		}
	}
	return false
}

// entries returns the index entries that the state of j needs.
func (w *writer) entries(j *job) []entry {
	var list []entry
	if j.st.Forgotten() {
		return nil
	}
	if d := j.st.Deadline(&w.rules); d != 0 {
		list = append(list, entry{index: w.keys.leaseIndex(j.bucket), deadline: d})
	}
	for i := range j.st.Sessions {
		ss := &j.st.Sessions[i]
		// as [presence.State.On] says
		if ss.Node != "" && !ss.Ended && j.st.Status == presence.Online {
			e := entry{index: w.keys.nodeIndex(ss.Node, j.bucket)}
			if !ss.Leased() {
				e.node = ss.Node
			}
			switch at := slices.IndexFunc(list, func(o entry) bool { return o.index == e.index }); {
			case at < 0:
				list = append(list, e)
			case e.node != "":
				list[at] = e
			}
		}
	}
	return list
}

// score makes the score of an index entry: its deadline, less a random part of a millisecond that
// identifies the write. Redis keeps scores as doubles, which hold both until the year 2500.
func score(deadline presence.Millis) float64 {
	return float64(deadline) - float64(1+rand.IntN(1023))/1024
}

func formatScore(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// An indexAsk is a command on the index entry of a job: it writes it, or reads its score.
type indexAsk struct {
	j     *job
	index string
	write bool
}

// indexFirst writes the entries that the new states need and the old ones did not have, and reads
// the scores of those that are to go. A job whose entry cannot be written fails; an entry that
// cannot be read stays, for nothing.
func (w *writer) indexFirst(ctx context.Context, writes []*job, now presence.Millis) error {
	var cmds []rueidis.Completed
	var asks []indexAsk
	for _, j := range writes {
		for _, e := range j.needed {
			was, had := entryIn(j.before, e.index)
			// also when the entry stands: the session had a lease of its own
			if e.node != "" && was.node != e.node {
				if j.err = w.nodes.knowNode(ctx, e.node, now); j.err != nil {
					break
				}
			}
			if had && (e.deadline == 0 || was.deadline <= e.deadline) {
				continue // what stands is early enough; if it was claimed, the settling moves it
			}
			if !w.conn.Reaches(e.index) {
				j.err = conn.ErrDown
				break
			}
			cmds = append(cmds, w.conn.B().Zadd().Key(e.index).ScoreMember().ScoreMember(score(cmp.Or(e.deadline, now)), j.member).Build())
			asks = append(asks, indexAsk{j, e.index, true})
			j.wrote(e.index)
		}
		for _, e := range j.gone {
			if j.err == nil && w.conn.Reaches(e.index) {
				cmds = append(cmds, w.conn.B().Zscore().Key(e.index).Member(j.member).Build())
				asks = append(asks, indexAsk{j, e.index, false})
			}
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	begun := time.Now()
	results, err := w.conn.DoMulti(ctx, cmds)
	if err != nil {
		return err
	}
	return w.takeIndexed(asks, results, begun)
}

// takeIndexed takes the results of asks, which were sent at begun.
func (w *writer) takeIndexed(asks []indexAsk, results []rueidis.RedisResult, begun time.Time) error {
	for i, a := range asks {
		err := results[i].Error()
		switch {
		case rueidis.IsRedisNil(err):
		case conn.IsWrongType(err):
			a.j.err = w.wrongType(a.index)
		case err != nil:
			w.conn.FailedSince(begun, a.index, err)
			a.j.err = fmt.Errorf("write the index %s: %w", a.index, conn.Unavailable(err))
		case !a.write:
			score, err := results[i].AsFloat64()
			if err != nil {
				return fmt.Errorf("read the index %s: %w", a.index, err)
			}
			a.j.claimed = append(a.j.claimed, claim{index: a.index, score: score})
		}
	}
	return nil
}

func entryIn(list []entry, index string) (entry, bool) {
	for _, e := range list {
		if e.index == index {
			return e, true
		}
	}
	return entry{}, false
}

func (j *job) wrote(index string) {
	if j.written == nil {
		j.written = map[string]bool{}
	}
	j.written[index] = true
}

// Claims are index entries that this process has read to have them settled: what was due, and peers
// on a lost node.
type claims struct {
	mu sync.Mutex
	of map[string][]claim // by member
}

type claim struct {
	index string
	score float64
	idle  bool // not needed if the peer is still offline, as it has been for long
}

func (c *claims) add(member string, cl claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.of[member]
	for i := range list {
		if list[i].index == cl.index {
			list[i] = cl
			return
		}
	}
	c.of[member] = append(list, cl)
}

func (c *claims) take(member string) []claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.of[member]
	delete(c.of, member)
	return list
}
