package v1

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/frame"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

func TestBatchesOnTheWire(t *testing.T) {
	tom := &watch.Update{Peer: "tom", Status: presence.Online, Since: 1764280000000, Version: 7}
	ann := &watch.Update{Peer: `a"n`, Status: presence.Offline, Since: 1764280000000, LastSeen: 1764279999000, Cause: presence.CauseLogout, Version: 8}
	tests := []struct {
		name   string
		batch  watch.Batch
		detail presence.Detail
		want   string
	}{
		{
			"a snapshot with everything",
			watch.Batch{Kind: watch.Snapshot, Updates: []*watch.Update{tom, ann}, More: true},
			presence.DetailFull,
			`{"op":"snapshot","peers":[{"peer":"tom","status":"online","since":1764280000000,"version":7},` +
				`{"peer":"a\"n","status":"offline","since":1764280000000,"last_seen":1764279999000,"cause":"logout","version":8}],"more":true}`,
		},
		{
			"a change with statuses only",
			watch.Batch{Kind: watch.Change, Updates: []*watch.Update{ann}},
			presence.DetailBrief,
			`{"op":"change","peers":[{"peer":"a\"n","status":"offline"}]}`,
		},
		{
			"an empty resume during an outage",
			watch.Batch{Kind: watch.Resume, Age: 1500 * time.Millisecond},
			presence.DetailBrief,
			`{"op":"resume","peers":[],"stale":1.500}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(appendBatch(nil, &test.batch, test.detail)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			var got string
			r := frame.Reader{Limit: 1 << 20}
			before := []byte("another frame")
			out := forms[test.detail].Append(before, &test.batch)
			if string(out[:len(before)]) != string(before) {
				t.Errorf("the frame overwrote what was before it: %q", out)
			}
			if err := r.Feed(masked(out[len(before):]), func(op frame.Op, payload []byte) error {
				got += string(payload)
				if op != frame.Text {
					t.Errorf("op is %v, want text", op)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("the frame holds %s\nwant %s", got, test.want)
			}
		})
	}
}

// masked returns a server's frame as a client would send it, with a mask of zeros.
func masked(b []byte) []byte {
	head := 2
	switch b[1] {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	out := append([]byte{}, b[:head]...)
	out[1] |= 0x80
	return append(append(out, 0, 0, 0, 0), b[head:]...)
}

func TestMessagesThatAreRefused(t *testing.T) {
	known := &api.Caller{App: &api.App{}}
	long := strings.Repeat("x", gateway.MaxTag+1)
	tests := []struct {
		name   string
		caller *api.Caller
		m      message
		want   string
	}{
		{"anything before hello", &api.Caller{}, message{Op: "watch"}, "unauthorized"},
		{"an unknown op", known, message{Op: "dance"}, "invalid"},
		{"present without a peer", known, message{Op: "present"}, "invalid"},
		{"present with a long tag", known, message{Op: "present", Peer: "tom", Tag: long}, "invalid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := &wire{door: &Door{}, caller: test.caller}
			var e *api.Error
			if err := w.obey(context.Background(), nil, &test.m); !errors.As(err, &e) || e.Code != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}

func TestUpgradesThatAreRefused(t *testing.T) {
	for kind, want := range map[gateway.Refusal]string{
		gateway.RefusedDraining: "shutting_down", gateway.RefusedOrigin: "forbidden", gateway.RefusedRate: "rate_limited",
		gateway.RefusedEarly: "rate_limited", gateway.RefusedFull: "full", gateway.RefusedHandshake: "invalid",
	} {
		if got := upgradeCode(kind); got != want {
			t.Errorf("%v is answered by %s, want %s", kind, got, want)
		}
	}
}
