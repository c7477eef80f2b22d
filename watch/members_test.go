package watch_test

import (
	"regexp"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

// Streams, sockets and operators have the same members in the same order; only the frame is the
// door's.
func TestTheMembersOfABatch(t *testing.T) {
	tom := &watch.Update{Peer: "tom", Status: presence.Online, Since: 1000, Version: 3}
	ann := &watch.Update{Peer: "ann", Status: presence.Offline, Cause: presence.CauseLost, Since: 2000, LastSeen: 1500, Version: 4}
	for _, c := range []struct {
		batch  watch.Batch
		detail presence.Detail
		want   string
	}{
		{watch.Batch{Kind: watch.Snapshot}, presence.DetailFull, `"peers":\[\]`},
		{watch.Batch{Kind: watch.Change, Updates: []*watch.Update{tom, ann}}, presence.DetailBrief, `"peers":\[{"peer":"tom","status":"online"},{"peer":"ann","status":"offline"}\]`},
		{
			watch.Batch{Kind: watch.Resume, Updates: []*watch.Update{tom, ann}, More: true, Age: 1500 * time.Millisecond},
			presence.DetailFull,
			`"peers":\[{"peer":"tom","status":"online","since":1000,"version":3},` +
				`{"peer":"ann","status":"offline","since":2000,"last_seen":1500,"cause":"lost","version":4}\],"more":true,"stale":1.500`,
		},
		{watch.Batch{Kind: watch.Mark, Age: time.Second}, presence.DetailFull, `"at":\d{13},"stale":1.000`},
	} {
		if got := c.batch.AppendMembers(nil, c.detail); !regexp.MustCompile(`^` + c.want + `$`).Match(got) {
			t.Errorf("%s: %s, want %s", c.batch.Kind, got, c.want)
		}
	}
}
