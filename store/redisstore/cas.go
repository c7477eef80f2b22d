package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// compareAndSet writes the states of the jobs that have not failed and returns those that another
// writer came before.
func (w *writer) compareAndSet(ctx context.Context, writes []*job, now presence.Millis) ([]*job, error) {
	var able []*job
	var calls []conn.Call
	for _, j := range writes {
		if j.resumed && j.err == nil {
			w.wrote(j)
			j.resumed = false
		} else if j.err == nil {
			able = append(able, j)
			j.sent = true
			calls = append(calls, w.casCall(j, now))
		}
	}
	if len(calls) == 0 {
		return nil, nil
	}
	w.stats.cas.Add(int64(len(calls)))
	begun := time.Now()
	results, err := w.conn.Exec(ctx, casScript, calls)
	if err != nil {
		return nil, err
	}
	var again []*job
	for i, j := range able {
		stands, err := w.written(j, results[i])
		_, answered := rueidis.IsRedisErr(err)
		j.sent = err != nil && !answered
		switch {
		case err != nil:
			w.conn.FailedSince(begun, j.summary, err)
			if !answered && !j.retried && ctx.Err() == nil {
				// The connection broke. Whether the script ran shows when it runs again: then our
				// own state stands there.
				j.retried = true
				again = append(again, j)
				continue
			}
			j.err = fmt.Errorf("write a state: %w", conn.Unavailable(err))
		case stands != nil:
			j.was, j.stands = stands, true
			again = append(again, j)
		}
	}
	return again, nil
}

// written reads what the script returned for j: nil when it is written, else the state that stands,
// which may be empty.
func (w *writer) written(j *job, result rueidis.RedisResult) (stands []byte, err error) {
	v, err := result.ToMessage()
	if err != nil {
		return nil, err
	}
	if v.IsInt64() {
		if n, _ := v.AsInt64(); n > 1 {
			w.stats.overwritten.Add(1)
			w.log.Error("peer key of the wrong type overwritten", "peer", fmt.Sprintf("%.80q", j.key.Peer),
				"state", n&2 != 0, "summary", n&4 != 0)
		}
		w.wrote(j)
		return nil, nil
	}
	b, err := v.AsBytes()
	if err != nil {
		return nil, err
	}
	if j.retried && string(b) == string(j.next) {
		w.wrote(j)
		return nil, nil
	}
	return append([]byte{}, b...), nil
}

// wrote keeps the books of a state that was written.
func (w *writer) wrote(j *job) {
	j.landed = true
	if presence.Rev(j.was) == 0 && len(j.was) > 0 && !j.damaged {
		w.stats.adopted.Add(1)
	}
	if len(j.next) > 0 {
		return
	}
	// Revisions are to rise over a removal, too, and no record of the last one is left.
	for {
		f := w.floor.Load()
		if f >= j.st.Rev || w.floor.CompareAndSwap(f, j.st.Rev) {
			return
		}
	}
}

func (w *writer) casCall(j *job, now presence.Millis) conn.Call {
	rev := ""
	if presence.Rev(j.was) != 0 || j.stands || j.damaged {
		rev = string(j.was[:min(8, len(j.was))])
	}
	stateFor, summary, summaryFor := "0", "", "0"
	switch j.st.Status {
	case presence.Online:
		summary = "1"
	case presence.Offline:
		left := j.st.Since.Add(w.rules.OfflineMemory).Sub(now)
		summary, summaryFor, stateFor = "0", seconds(left), seconds(max(left, w.rules.Tombstones))
	default:
		summary, stateFor = "-", seconds(w.rules.Tombstones)
	}
	if j.effect != presence.Shown {
		summary = ""
	}
	return conn.Call{
		Keys: []string{j.stateAt, j.summary},
		Args: []string{rev, string(j.next), stateFor, summary, summaryFor},
	}
}

// seconds rounds up, and is at least one: what has run out is settled by the sweep, not by Redis.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// settle removes, or moves to the new deadline, the index entries that the jobs have claimed,
// unless they were written meanwhile.
func (w *writer) settle(ctx context.Context, done []*job) error {
	var calls []conn.Call
	var of []*job
	for _, j := range done {
		for _, c := range j.claimed {
			if j.written[c.index] || !w.conn.Reaches(c.index) {
				continue
			}
			to := ""
			if e, needed := entryIn(j.needed, c.index); needed && !(c.idle && j.idle) {
				if e.deadline == 0 {
					continue
				}
				to = formatScore(score(e.deadline))
			}
			calls = append(calls, conn.Call{Keys: []string{c.index}, Args: []string{j.member, formatScore(c.score), to}})
			of = append(of, j)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	begun := time.Now()
	results, err := w.conn.Exec(ctx, settleScript, calls)
	if err != nil {
		return err
	}
	for i, j := range of {
		index := calls[i].Keys[0]
		switch err := results[i].Error(); {
		case conn.IsWrongType(err):
			err = w.wrongType(index)
			if !j.landed {
				j.err = err
			}
		case err != nil && j.landed:
			w.conn.FailedSince(begun, index, err) // the entry stays, for nothing
		case err != nil:
			w.conn.FailedSince(begun, index, err)
			j.err = fmt.Errorf("settle the index %s: %w", index, conn.Unavailable(err))
		}
	}
	return nil
}
