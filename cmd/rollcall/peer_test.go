package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A peer is printed with what a product that was asked said of it.
func TestPeerShowsWhatWasAnswered(t *testing.T) {
	for n, want := range map[int]string{-1: "asked: online", 0: "asked: offline", 3: "asked: 3 open"} {
		var p explained
		text := fmt.Sprintf(`{"reports":[{"kind":"count","count":%d,"verdict":"unsure"}]}`, n)
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := printPeer(&out, &p); err != nil || !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "unsure") {
			t.Errorf("%d: %v\n%s", n, err, out.String())
		}
	}
}
