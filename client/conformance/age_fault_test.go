//go:build faults

package conformance_test

import (
	"testing"

	"rollcall/internal/redistest"
	"rollcall/server/config"
)

// Redis freezes: what a client asks and what it watches has an age, until Redis is back. It takes a
// mark of the server, which comes after 15 s of silence.
func TestFaultClientsShowHowOldAnswersAre(t *testing.T) {
	eachClient(t, func(t *testing.T, argv []string) {
		redis := redistest.Run(t)
		s := open(t, func(cfg *config.Config) {
			cfg.Data, cfg.Store = t.TempDir(), config.Secret("redis://"+redis.Addr)
		})
		s.do(t, step{Server: "report", Peer: "tom", State: "online"})
		s.do(t, step{Server: "report", Peer: "ann", State: "online"})
		d := drive(t, argv, s.proxy.url(), "")
		say := func(do, name string, peers ...string) {
			d.say(command(map[string]any{"do": do, "name": name, "peers": peers}))
		}
		say("query", "", "tom", "ann") // an outage answers what was asked before
		if got := d.receive(); got["query"] != "tom=online ann=online" {
			t.Fatalf("received %v in health", got)
		}
		say("watch", "early", "tom")
		if got := d.receive(); got["update"] != "early" || got["age"] != nil {
			t.Fatalf("received %v in health", got)
		}
		redis.Freeze()
		t.Cleanup(redis.Thaw)
		for { // until the server has noticed
			say("query", "", "tom")
			got := d.receive()
			if got["query"] != "tom=online" {
				t.Fatalf("received %v in the outage", got)
			}
			if age, _ := got["age"].(float64); age > 0 {
				break
			}
		}
		say("watch", "late", "ann")
		aged := map[any]bool{}
		for !aged["early"] || !aged["late"] {
			switch got := d.receive(); {
			case got["update"] != nil:
				if age, _ := got["age"].(float64); got["update"] != "late" || age <= 0 {
					t.Fatalf("received %v in the outage", got)
				}
			case got["aged"] != nil:
				aged[got["aged"]] = got["age"].(float64) > 0
			default:
				t.Fatalf("received %v in the outage", got)
			}
		}
		redis.Thaw()
		for aged["early"] || aged["late"] {
			if got := d.receive(); got["aged"] != nil {
				aged[got["aged"]] = got["age"].(float64) > 0
			} else {
				t.Fatalf("received %v after the outage", got)
			}
		}
	})
}
