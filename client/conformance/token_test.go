package conformance_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"testing"

	"rollcall/server/config"
)

// A client by user tokens asks, watches and is present where nothing else lets it in, and takes
// another token before each ends: its peer stays present, and its watches go on.
func TestUserTokensAreRenewed(t *testing.T) {
	eachClient(t, func(t *testing.T, argv []string) {
		s := open(t, func(cfg *config.Config) {
			cfg.Apps[0].TokenSecret, cfg.Gate.Ask, cfg.Gate.Present = tokenSecret, "token", "token"
		})
		d := drive(t, argv, s.proxy.url(), "tokens")
		made := 0.0
		// next returns the next line that is not about a token.
		next := func() map[string]any {
			for {
				v := d.receive()
				if n, ok := v["token"].(float64); ok {
					made = n
					continue
				}
				return v
			}
		}
		say := func(line string) { d.say(json.RawMessage(line)) }
		say(`{"do":"query","peers":["tom"]}`)
		if got := next(); got["query"] != "tom=unknown" || made != 2 {
			t.Fatalf("%v after %v tokens; the first is too old", got, made)
		}
		say(`{"do":"watch","name":"w","peers":["tom"]}`)
		if got := next(); got["peer"] != "tom=unknown" {
			t.Fatal(got)
		}
		say(`{"do":"present","name":"p","peer":"tom"}`)
		for range 2 {
			if got := next(); got["present"] != "p" && got["peer"] != "tom=online" {
				t.Fatal(got)
			}
		}
		s.do(t, step{Server: "watch", Peer: "tom"})
		for enough := made + 4; made < enough; {
			v := d.receive()
			n, ok := v["token"].(float64)
			if !ok {
				t.Fatalf("after %v tokens: %v", made, v)
			}
			made = n
		}
		s.do(t, step{Server: "told", Peer: "tom=offline"})
		say(`{"do":"query","peers":["tom"]}`)
		if got := next(); got["query"] != "tom=online" {
			t.Errorf("after %v tokens: %v", made, got)
		}
		if refused := s.refused(t); refused["unauthorized"] != "0" || refused["forbidden"] != "0" {
			t.Errorf("refused: %v", refused)
		}
		say(`{"do":"present","name":"a","peer":"ann"}`)
		if got := next(); got["ended"] != "a" || got["refused"] != "forbidden" {
			t.Errorf("present as another: %v", got)
		}
	})
}

// refused returns the counts of refusals by code.
func (s *stage) refused(t *testing.T) map[string]string {
	t.Helper()
	res, err := http.Get("http://" + s.srv.Admin() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^rollcall_native_refused_total\{code="(\w+)"\} (\d+)$`).FindAllStringSubmatch(string(b), -1) {
		counts[m[1]] = m[2]
	}
	return counts
}
