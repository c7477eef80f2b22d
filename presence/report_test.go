package presence_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

// A report that breaks a rule is refused, and the error names what is wrong.
func TestReportIsRefused(t *testing.T) {
	good := sessionReport(t, "on@0")
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 257)
	for _, c := range []struct {
		want   string
		change func(*presence.Report)
	}{
		{"peer id is empty", func(r *presence.Report) { r.Peer = "" }},
		{"peer id has 257 bytes", func(r *presence.Report) { r.Peer = presence.PeerID(long) }},
		{"peer id is not valid UTF-8", func(r *presence.Report) { r.Peer = "\xff" }},
		{"session id has 257 bytes", func(r *presence.Report) { r.Session = presence.SessionID(long) }},
		{"tag has 257", func(r *presence.Report) { r.Tag = long }},
		{"node id is not valid UTF-8", func(r *presence.Report) { r.Node = "\xff" }},
		{"device has 257", func(r *presence.Report) { r.Device = long }},
		{"report id has 257", func(r *presence.Report) { r.ID = long }},
		{"no source", func(r *presence.Report) { r.Source = "" }},
		{"no kind", func(r *presence.Report) { r.Kind = 0 }},
		{"kind 7", func(r *presence.Report) { r.Kind = presence.KindReach + 1 }},
		{"activity 4", func(r *presence.Report) { r.Activity = presence.Foreground + 1 }},
		{"activity 0", func(r *presence.Report) { r.Used = r.At }},
		{"a named session that is there", func(r *presence.Report) { r.Activity, r.Kind = presence.Idle, presence.KindOffline }},
		{"a named session that is there", func(r *presence.Report) { r.Activity, r.Session = presence.Idle, "" }},
		{"last use", func(r *presence.Report) { r.Activity, r.Used = presence.Idle, -1 }},
		{"has no reach", func(r *presence.Report) { r.Reach = presence.ReachNo }},
		{"reach 0", func(r *presence.Report) { r.Kind = presence.KindReach }},
		{"reach 4", func(r *presence.Report) { r.Kind, r.Reach = presence.KindReach, presence.ReachYes+1 }},
		{"not a session", func(r *presence.Report) { r.Kind, r.Reach = presence.KindReach, presence.ReachYes }},
		{"cause 9", func(r *presence.Report) { r.Cause = presence.CauseReconciled + 1 }},
		{"policy 2", func(r *presence.Report) { r.Policy = presence.PolicyLast + 1 }},
		{"time of the report", func(r *presence.Report) { r.At = 0 }},
		{"time of the report", func(r *presence.Report) { r.At = 1 << 50 }},
		{"incarnation", func(r *presence.Report) { r.Incarnation = -1 }},
		{"lease", func(r *presence.Report) { r.Lease = presence.MaxLease + 1 }},
		{"lease", func(r *presence.Report) { r.Lease = -1 }},
		{"hold", func(r *presence.Report) { r.Hold = presence.MaxHold + 1 }},
		{"has no count", func(r *presence.Report) { r.Count = 1 }},
		{"has no count", func(r *presence.Report) { r.Quiet = time.Second }},
		{"about no session", func(r *presence.Report) { counted(r); r.Session = "s" }},
		{"about no session", func(r *presence.Report) { counted(r); r.Tag = "phone" }},
		{"the cause of a count", func(r *presence.Report) { counted(r); r.Cause = presence.CauseLost }},
		{"the count", func(r *presence.Report) { counted(r); r.Count = -2 }},
		{"the quiet", func(r *presence.Report) { counted(r); r.Quiet = presence.MaxQuiet + 1 }},
	} {
		r := good
		c.change(&r)
		if err := r.Validate(); !errors.Is(err, presence.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an ErrInvalid about %q", err, c.want)
		}
	}
}

// Settings that would break a rule are refused, each by its name.
func TestConfigIsRefused(t *testing.T) {
	good := presence.DefaultConfig()
	if err := good.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for _, c := range []struct {
		want   string
		change func(*presence.Config)
	}{
		{"window is 20m0s, longer than detect", func(c *presence.Config) { c.Rules.Window = 20 * time.Minute }},
		{"tombstones is 1h0m0s, shorter than stale", func(c *presence.Config) { c.Rules.Tombstones = time.Hour }},
		{"offline_memory is 1h0m0s, shorter than tombstones", func(c *presence.Config) { c.Rules.OfflineMemory = time.Hour }},
	} {
		bad := good
		c.change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// Every word has one name, and a name is read back as its word.
func TestNames(t *testing.T) {
	for c := presence.CauseUnknown; c <= presence.CauseDrained; c++ {
		if back, ok := presence.ParseCause(c.String()); !ok || back != c {
			t.Errorf("cause %q is read as %v", c, back)
		}
	}
	if _, ok := presence.ParseCause("bored"); ok {
		t.Error("bored is no cause")
	}
	for _, p := range []presence.Policy{presence.PolicySum, presence.PolicyLast} {
		name, err := p.MarshalText()
		var back presence.Policy
		if err != nil || back.UnmarshalText(name) != nil || back != p {
			t.Errorf("policy %q is read as %v", name, back)
		}
	}
	if err := new(presence.Policy).UnmarshalText([]byte("first")); !errors.Is(err, presence.ErrInvalid) {
		t.Errorf("policy first: %v", err)
	}
	names := []string{
		presence.Unknown.String(), presence.Offline.String(), presence.Online.String(),
		presence.KindOnline.String(), presence.KindOffline.String(), presence.KindTouch.String(), presence.Kind(0).String(),
		presence.Cause(99).String(), presence.Taken.String(), presence.Swallowed.String(), presence.Full.String(),
	}
	if got, want := strings.Join(names, " "), "unknown offline online online offline touch invalid unknown taken swallowed full"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if m := presence.MillisOf(time.Time{}); m != 0 || !m.Time().IsZero() {
		t.Error("no time is zero, both ways")
	}
	if now := time.UnixMilli(int64(t0)); presence.MillisOf(now) != t0 || !t0.Time().Equal(now) {
		t.Error("a time is the same there and back")
	}
	if err := presence.CheckPeer("tom"); err != nil {
		t.Error(err)
	}
}

// TestAppIDsCannotMeet: what separates names that are built from app ids is in no app id.
func TestAppIDsCannotMeet(t *testing.T) {
	for _, id := range []presence.AppID{"a", "trial", "FKpS92W2OwOqsDEB7u0NiPha-gzGzoHsz", "4nBxN0fQ8yYc1m2LqkWdT7ZB", "my_app.v2", "0", presence.AppID(strings.Repeat("x", presence.MaxApp))} {
		if err := presence.CheckApp(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []presence.AppID{"", "a:b", "a#kicks", "a/b", "a b", "a,b", "a%3Ab", "{a}", "*", "a\n", "a\x00", "é", "\xff", "a+b", "~a", presence.AppID(strings.Repeat("x", presence.MaxApp+1))} {
		if err := presence.CheckApp(id); !errors.Is(err, presence.ErrInvalid) {
			t.Errorf("%q: %v, want presence.ErrInvalid", id, err)
		}
	}
}

// counted makes r the answer of a product.
func counted(r *presence.Report) {
	r.Kind, r.Cause, r.Session, r.Tag, r.Node, r.Count = presence.KindCount, presence.CauseReconciled, "", "", "", 2
}
