package presence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

// t0 is an hour at which nothing special happens.
const t0 = presence.Millis(1_767_225_600_000)

// A hook is written as a word: "+" a login, "-" an offline; then what it carries, then "@" and the
// seconds after t0.
//
//   - -      no tag              +phone      tag phone       +again   an automatic login
//     -logout -lost -replaced -kicked            the cause      -phone/lost   both
func hook(t tb, word string, policy presence.Policy) presence.Report {
	t.Helper()
	body, when, _ := strings.Cut(word, "@")
	r := presence.Report{App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Policy: policy, Kind: presence.KindOnline}
	switch body[0] {
	case '-':
		r.Kind = presence.KindOffline
	case '=': // the answer of the product: a number, or ? for some
		r.Kind, r.Cause, r.Count, r.Quiet = presence.KindCount, presence.CauseReconciled, presence.CountUnknown, 30*time.Second
		if body[1:] != "?" {
			r.Count = int(body[1] - '0')
		}
		body = body[:1]
	}
	for _, part := range strings.Split(body[1:], "/") {
		if c, ok := presence.ParseCause(part); ok {
			r.Cause = c
		} else if part == "again" {
			r.Reconnect = true
		} else {
			r.Tag = part
		}
	}
	var seconds float64
	if _, err := fmt.Sscan(when, &seconds); err != nil {
		t.Fatalf("%s: %v", word, err)
	}
	r.At = t0.Add(time.Duration(seconds * float64(time.Second)))
	return r
}

// play applies hooks and returns what a query right after each would say: 1 online, 0 offline, -
// unknown.
func play(t tb, hooks string, policy presence.Policy) (answers string, st presence.State) {
	t.Helper()
	rules := presence.DefaultRules()
	for _, word := range strings.Fields(hooks) {
		r := hook(t, word, policy)
		st.Apply(&r, r.At, &rules)
		st = repack(t, &st)
		answers += answer(st.Status)
	}
	return answers, st
}

func answer(s presence.Status) string { return [...]string{"-", "0", "1"}[s] }

// repack returns st as a store gives it back.
func repack(t tb, st *presence.State) presence.State {
	t.Helper()
	var back presence.State
	if err := back.Unpack(st.Pack(nil)); err != nil {
		t.Fatalf("unpack what was packed: %v\n%+v", err, st)
	}
	return back
}

// A slotCase is a story of hooks and how it shows the peer after each.
type slotCase struct{ name, hooks, want string }

func playAll(t *testing.T, policy presence.Policy, cases []slotCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, _ := play(t, c.hooks, policy); got != c.want {
				t.Errorf("%s: got %s, want %s", c.hooks, got, c.want)
			}
		})
	}
}

func TestSlotSum(t *testing.T) {
	playAll(t, presence.PolicySum, []slotCase{
		{"on then off", "+@0 -@5", "10"},
		{"off for a peer never seen", "-@0", "0"},
		{"on, off, on", "+@0 -@1 +@2", "101"},
		{"swapped pair", "-@0 +@3", "00"},
		{"an early off is forgotten after the window", "-@0 +@10.001", "01"},
		{"an early off counts until the window ends", "-@0 +@10", "00"},
		{"two devices, one leaves", "+@0 +@1 -@2 -@3", "1110"},
		{"two early offs swallow two logins", "-@0 -@1 +@2 +@3 +@4", "00001"},
		{"a lost off is taken after ten minutes", "+@0 +@100 -@700.001", "110"},
		{"a late off is waited for", "+@0 +@100 -@700 -@701", "1110"},
		{"the off of a given-up session proves another device", "+@0 +@100 -@1000 -@1001 +@2000 +@2001 -@9000", "1100111"},
		{"each cause ends", "+@0 -logout@1 +@20 -lost@21 +@40 -kicked@41", "101010"},
		{"replaced without a tag takes nobody offline", "+@0 -replaced@1 +@2 -@3", "1110"},
		{"a logout does not pay for a dead connection", "+@0 +@30 -logout@40 +@50 -@640", "11110"},
		{"a logout that the next login overtook was no second device", "+@0 +@5 -logout@7 +@20 -lost@606", "11111"},
		{"any other end does", "+@0 +@30 -lost@40 +@50 -@640", "11111"},
		{"time alone never gives up the last session", "+@0 +@30 -logout@40 -replaced@700 -@720", "11110"},
		{"nor the last of three", "+@0 +@30 +@31 -logout@40 -logout@41 -replaced@700 -@720", "1111110"},
		{"the lease ends it", "+@0 -@604801 +@604802", "100"},
	})
}

func TestSlotTagged(t *testing.T) {
	playAll(t, presence.PolicySum, []slotCase{
		{"on then off", "+phone@0 -phone@1", "10"},
		{"default is no tag", "+default@0 +@1 -@2 -default@3", "1110"},
		{"two tags are two devices", "+phone@0 +pad@1 -phone@2 -pad@3", "1110"},
		{"a login replaces the older", "+phone@0 +phone@60 -phone/replaced@61 -phone@90", "1110"},
		{"told before the login", "+phone@0 -phone/replaced@60 +phone@61 -phone@90", "1110"},
		{"alone it takes nobody offline", "+phone@0 -phone/replaced@60 -phone@90", "110"},
		{"alone it brings nobody online", "-phone/replaced@60", "0"},
		{"its own login was lost", "-phone/replaced@60 +phone@61 -phone@90", "010"},
		{"and the new one leaves in the same burst", "+phone@0 -phone/logout@60 -phone/replaced@60.5 +phone@61", "1000"},
		{"after ten seconds of quiet at most one is open", "+phone@0 +phone@5 -phone@15.001", "110"},
		{"before that all are believed", "+phone@0 +phone@5 -phone@15 -phone@16", "1110"},
		{"an automatic login waits for the end of the connection before it", "+phone@0 +phone/again@60 -phone/lost@300 -phone/lost@400", "1110"},
		{"but not for a logout", "+phone@0 +phone/again@60 -phone/logout@300", "110"},
		{"and not for ever", "+phone@0 +phone/again@60 -phone/lost@661", "110"},
	})
}

func TestSlotLast(t *testing.T) {
	playAll(t, presence.PolicyLast, []slotCase{
		{"on then off", "+@0 -@5", "10"},
		{"off for a peer never seen", "-@0", "0"},
		{"two on, one off", "+@0 +@1 -@2", "110"},
		{"off then on", "-@0 +@1", "01"},
		{"tags are not looked at", "+phone@0 -pad@1", "10"},
		{"each cause ends", "+@0 -logout@1 +@20 -lost@21 +@40 -kicked@41", "101010"},
		{"but a newer login", "+phone@0 -phone/replaced@5", "11"},
		{"an older hook told again later", "+@5 -@0", "11"},
	})
}
