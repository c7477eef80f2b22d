package presence_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

// An answer counts when no hook has come for the quiet before it; =0 and =2 name a number, =? says
// that there is some session.
func TestCountOfASlot(t *testing.T) {
	playAll(t, presence.PolicySum, []slotCase{
		{"a lost logout", "+@0 =0@100", "10"},
		{"a hook in the quiet before", "+@0 =0@29", "11"},
		{"the same at its end", "+@0 =0@30", "10"},
		{"a hook that came while it was asked", "+@0 =0@100 +@200 =0@199", "1011"},
		{"a lost login", "+@0 -@10 =?@100", "101"},
		{"a logout in the quiet before", "+@0 -@80 =?@100", "100"},
		{"nobody was heard of", "=?@0 -@60", "10"},
		{"nor is the peer there", "=0@0", "-"},
		{"it agrees", "+@0 =?@100 =1@200 -@300 =0@400", "11100"},
		{"more are open than were counted", "+@0 =3@100 -@200 -@201 -@202", "11110"},
		{"fewer are", "+@0 +@1 +@2 =1@100 -@200", "11110"},
		{"none of several", "+@0 +@1 +@2 =0@100 -@200 +@211", "111001"},
		{"a session that was given up was another device", "+@0 +@1 +@700 -@701 -@702 =?@800 +@900 -@901", "11110111"},
		{"each tag ends", "+phone@0 +pad@1 =0@100 -phone@200", "1100"},
		{"but one with a hook in the quiet before", "+phone@0 +pad@90 =0@100 -pad@200", "1110"},
		{"one tag is live, and the number is not looked at", "+phone@0 =3@100 -phone@200", "110"},
		{"a tag that was found again ends by its logout", "+phone@0 -phone@10 =?@100 -phone@200", "1010"},
		{"its next login takes the place of what was found", "+phone@0 -phone@10 =?@100 +phone@200 -phone@300", "10110"},
		{"a tag that was forgotten since its last hook", "+phone@0 -phone@80 +pad@95 -pad@96 =?@109", "10100"},
	})
}

func TestCountOfASlotByTheLastHook(t *testing.T) {
	playAll(t, presence.PolicyLast, []slotCase{
		{"a lost logout", "+phone@0 =0@100 +pad@200", "101"},
		{"a lost login", "+@0 -@10 =2@100 -phone@200", "1010"},
		{"a hook in the quiet before", "+@0 =0@29 -@60 =?@89", "1100"},
		{"it agrees", "+@0 =3@100 -@200", "110"},
	})
}

// What becomes of an answer, what it leaves, and what a store has to do with it.
func TestCountIsJudged(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		name, hooks, answer string
		verdict             presence.Verdict
		effect              presence.Effect
	}{
		{"agrees", "+@0", "=?@100", presence.Double, presence.Same},
		{"agrees on the number", "+@0 +@1", "=2@100", presence.Double, presence.Same},
		{"agrees that there is none", "+@0 -@1", "=0@100", presence.Double, presence.Same},
		{"agrees on a peer that is not known", "", "=0@100", presence.Double, presence.Same},
		{"is too old for an end", "+@0", "=0@29.999", presence.Unsure, presence.Same},
		{"is too old for a number", "+@0", "=2@29.999", presence.Unsure, presence.Same},
		{"is too old for a beginning", "+@0 -@80", "=?@109.999", presence.Unsure, presence.Same},
		{"is too old for a forgotten tag", "+phone@0 -phone@80 +pad@95 -pad@96", "=?@125", presence.Unsure, presence.Same},
		{"ends", "+@0", "=0@30", presence.Taken, presence.Shown},
		{"begins", "+@0 -@1", "=?@31", presence.Taken, presence.Shown},
		{"finds more", "+@0", "=2@30", presence.Taken, presence.Shown},
		{"renews", "+@0", "=?@302401", presence.Taken, presence.Shown}, // by a later day
		{"does not renew before half of the lease", "+@0", "=?@302400", presence.Double, presence.Same},
	} {
		_, st := play(t, c.hooks, presence.PolicySum)
		r := hook(t, c.answer, presence.PolicySum)
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		o, e := st.Apply(&r, r.At, &rules)
		if o.Verdict != c.verdict || e != c.effect {
			t.Errorf("%s: %v with effect %d, want %v with %d", c.name, o.Verdict, e, c.verdict, c.effect)
		}
		if until := r.At.Add(rules.Lease); c.name == "renews" && st.Until != until {
			t.Errorf("the lease ends at %d, want %d", st.Until, until)
		}
	}
}

// A peer that an answer has ended says so, in a format that other releases leave alone.
func TestCountSaysWhyThePeerIsOffline(t *testing.T) {
	_, st := play(t, "+@0 =0@100", presence.PolicySum)
	if s := st.Summary(); s.Cause != presence.CauseReconciled || s.Since != t0.Add(100*time.Second) || s.LastSeen != s.Since {
		t.Errorf("%+v", s)
	}
	b := st.Pack(nil)
	if b[8]>>4 != 2 || presence.PeekSummary(b) != st.Summary() {
		t.Errorf("format %d: %+v", b[8]>>4, presence.PeekSummary(b))
	}
	if _, st := play(t, "+@0 =0@100 +@200", presence.PolicySum); st.Pack(nil)[8]>>4 != 1 {
		t.Error("the peer is back, and packed in a later format")
	}
	svc := presence.NewService(nil, presence.DefaultConfig())
	e := svc.Explain(presence.Key{}, &st, t0.Add(time.Hour))
	if want := "offline since " + t0.Add(100*time.Second).Time().Format("2006-01-02 15:04:05Z") + " because its source was asked then"; !strings.HasPrefix(e.Why, want) {
		t.Errorf("%q, want %q", e.Why, want)
	}
	_, st = play(t, "+@0 -@1 =?@100", presence.PolicySum)
	e = svc.Explain(presence.Key{}, &st, t0.Add(160*time.Second))
	if want := "online because leancloud was asked 1 min 0 s ago and held it"; !strings.HasPrefix(e.Why, want) {
		t.Errorf("%q, want %q", e.Why, want)
	}
}
