package conformance_test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// names returns n ids, long enough that they do not fit into one message of a socket together.
func names(of string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%04d-%040d", of, i, i)
	}
	return list
}

func command(v map[string]any) json.RawMessage {
	b, _ := json.Marshal(v)
	return b
}

// A watcher of the server follows 3,000 peers at most and takes 100 messages at once. What an app
// watches beyond that, in several watches, is the client's to spread.
func TestWatchesBeyondTheLimitsOfOneSocket(t *testing.T) {
	eachClient(t, func(t *testing.T, argv []string) {
		s := open(t)
		d := drive(t, argv, s.proxy.url(), "")
		watch := func(name string, peers []string) {
			d.say(command(map[string]any{"do": "watch", "name": name, "peers": peers}))
		}
		all := func(name string, peers []string, status string) (want []map[string]any) {
			for _, p := range peers {
				want = append(want, map[string]any{"update": name, "peer": p + "=" + status})
			}
			return want
		}
		a, b := names("a", 2000), names("b", 2000)
		watch("a", a)
		watch("b", b)
		d.receiveAll(append(all("a", a, "unknown"), all("b", b, "unknown")...))
		watch("c", names("c", 3001))
		d.receiveAll([]map[string]any{{"ended": "c", "refused": "too_many_peers"}})

		// More messages than a socket takes at once, about peers that are followed already.
		var want []map[string]any
		for i := range 150 {
			name := fmt.Sprint("w", i)
			watch(name, a[i:i+1])
			want = append(want, all(name, a[i:i+1], "unknown")...)
		}
		d.receiveAll(want)

		s.proxy.cut()
		s.do(t, step{Server: "report", Peer: a[0], State: "online"})
		s.do(t, step{Server: "report", Peer: b[1999], State: "online"})
		s.proxy.heal()
		d.receiveAll(append(append(all("a", a[:1], "online"), all("w0", a[:1], "online")...), all("b", b[1999:], "online")...))
	})
}
