package presence_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

const (
	inflightLag = presence.Millis(10_000) // how late events are at most
	confirmGap  = presence.Millis(15_000) // until the second answer
)

// A held is one session as its source holds it.
type held struct {
	id         presence.SessionID
	start, end presence.Millis
	arrives    presence.Millis // its beginning; 0 when that is lost
}

// A moment is something that happens in a history.
type moment struct {
	at presence.Millis
	do func()
}

// A crossing is a history in which events on their way cross the answers of their source.
type crossing struct {
	*rand.Rand
	rules          presence.Rules
	named, numbers bool
	without        string // a rule that does not hold: "quiet" or "confirm"
	quiet          presence.Millis
	held           []held
	exact          bool // the events alone show what is so
	st             presence.State
	moments        []moment
	found          map[presence.Finding]int
	story          []string
	wrong          string
}

func (c *crossing) at(at presence.Millis, do func()) {
	i, _ := slices.BinarySearchFunc(c.moments, at, func(m moment, at presence.Millis) int { return cmp.Or(cmp.Compare(m.at, at), -1) })
	c.moments = slices.Insert(c.moments, i, moment{at, do})
}

func (c *crossing) upTo(most presence.Millis) presence.Millis {
	return presence.Millis(c.Int64N(int64(most) + 1))
}

// live draws the sessions of devices and their events, of which some are lost.
func (c *crossing) live(devices int, lost bool) {
	for d := range devices {
		at := t0 + c.upTo(60_000)
		for n := range 1 + c.IntN(4) {
			s := held{id: presence.SessionID(fmt.Sprint(d, "/", n)), start: at, end: at + 1000 + c.upTo(120_000)}
			at = s.end + 1000 + c.upTo([]presence.Millis{4000, 60_000}[c.IntN(2)])
			if !lost || c.IntN(5) > 0 {
				s.arrives = s.start + c.upTo(inflightLag-1)
				c.event(presence.KindOnline, s.id, s.start, s.arrives)
			}
			if !lost || c.IntN(5) > 0 {
				c.event(presence.KindOffline, s.id, s.end, s.end+c.upTo(inflightLag-1))
			}
			c.held = append(c.held, s)
		}
	}
	c.exact = !lost && (c.named || devices == 1)
}

func (c *crossing) event(kind presence.Kind, id presence.SessionID, at, arrives presence.Millis) {
	r := presence.Report{App: "a", Peer: "tom", Source: "im", Kind: kind, At: arrives}
	if c.named {
		r.Session, r.At = id, at
	}
	if kind == presence.KindOffline {
		r.Cause = presence.CauseLogout
	}
	c.at(arrives, func() { c.merge(arrives, r) })
}

func (c *crossing) merge(now presence.Millis, r presence.Report) {
	o, _ := c.st.Apply(&r, now, &c.rules)
	c.story = append(c.story, fmt.Sprintf("%d %v %q at %d count %d: %v, %v", now-t0, r.Kind, r.Session, r.At-t0, r.Count, o.Verdict, c.st.Status))
}

// ask has the source asked at at. Its answer is as old as the quiet at the most; it is looked at,
// and merged, some time after.
func (c *crossing) ask(at presence.Millis, again bool) {
	view := at - c.upTo(c.quiet)
	f := &presence.Found{Listed: c.numbers}
	for _, s := range c.held {
		if s.start <= view && view < s.end {
			f.Online, f.Sessions = true, append(f.Sessions, presence.FoundSession{ID: s.id})
		}
	}
	if !f.Listed {
		f.Sessions = nil
	}
	asked := presence.Asked{App: "a", Source: "im", At: at, Quiet: time.Duration(c.quiet) * time.Millisecond, Counted: !c.named}
	if c.without == "quiet" {
		asked.Quiet = 0
	}
	now := at + c.upTo(2000)
	c.at(now, func() {
		reports, find := asked.Reports("tom", f, &c.st, now, &c.rules)
		c.found[find]++
		takes := find == presence.FindingGhost || find == presence.FindingSessions && !c.named
		if takes && c.without != "confirm" && !again {
			c.ask(at+confirmGap+c.upTo(5000), true)
			return
		}
		merged := now + c.upTo(20_000)*presence.Millis(c.IntN(2))
		c.at(merged, func() {
			was := c.st.Status
			for _, r := range reports {
				c.merge(merged, r)
			}
			if was == presence.Online && c.st.Status == presence.Offline {
				c.judge(merged, view)
			}
		})
	})
}

// judge looks at a peer that the answer of view has just turned offline: its source must not hold a
// session that began before it, or whose beginning has come.
func (c *crossing) judge(now, view presence.Millis) {
	for _, s := range c.held {
		if now < s.end && (s.start <= view || s.arrives != 0 && s.arrives <= now) {
			c.wrong = fmt.Sprintf("%d: turned offline by an answer of %d, and its source holds %+v", now-t0, view-t0, s)
		}
	}
}

// look checks that a peer whose source holds a session, the news of which has come, is shown
// online, where the events alone would have it so.
func (c *crossing) look(now presence.Millis) {
	if !c.exact || c.st.Status == presence.Online {
		return
	}
	for _, s := range c.held {
		if s.start+inflightLag <= now && now < s.end {
			c.wrong = fmt.Sprintf("%d: %v, and its source holds %+v", now-t0, c.st.Status, s)
		}
	}
}

func (c *crossing) play() {
	for len(c.moments) > 0 && c.wrong == "" {
		m := c.moments[0]
		c.moments = c.moments[1:]
		m.do()
		c.look(m.at)
	}
}

// cross plays one history.
func cross(seed uint64, without string, found map[presence.Finding]int) *crossing {
	c := &crossing{Rand: rand.New(rand.NewPCG(seed, 12)), rules: presence.DefaultRules(), without: without, found: found}
	c.named, c.numbers, c.quiet = c.IntN(2) == 0, c.IntN(2) == 0, 30_000
	if c.named {
		c.quiet = inflightLag
	}
	c.live(1+c.IntN(3), c.IntN(2) == 0)
	end := t0
	for _, s := range c.held {
		end = max(end, s.end+30_000)
	}
	for range 1 + c.IntN(8) {
		c.ask(t0+c.upTo(end-t0), false)
	}
	for _, s := range c.held[:c.IntN(len(c.held)+1)] {
		c.ask(s.end+c.upTo(5000), false) // while the news of it is on its way
	}
	for range 10 {
		c.at(t0+c.upTo(end-t0), func() {})
	}
	c.play()
	return c
}

// Issue 12, line 12: whatever events are on their way while the source is asked, no answer takes
// offline a peer whose source holds a session. The control takes the quiet, or the second answer,
// away, and finds such peers.
func TestAnswersNeverTakeOfflineWhoIsThere(t *testing.T) {
	histories := uint64(20_000)
	found := map[presence.Finding]int{}
	for seed := range histories {
		if c := cross(seed, "", found); c.wrong != "" {
			t.Fatalf("seed %d, named %v, numbers %v: %s\n%s", seed, c.named, c.numbers, c.wrong, strings.Join(c.story, "\n"))
		}
	}
	for f := presence.FindingAgrees; f <= presence.FindingUnsure; f++ {
		if found[f] < 1000 {
			t.Errorf("%d answers were %v: the histories are too tame", found[f], f)
		}
	}
	for _, rule := range []string{"quiet", "confirm"} {
		seed := uint64(0)
		for ; seed < histories && cross(seed, rule, map[presence.Finding]int{}).wrong == ""; seed++ {
		}
		if seed == histories {
			t.Errorf("without the rule %s no history goes wrong: the test sees nothing", rule)
		}
	}
}
