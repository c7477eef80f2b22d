//go:build faults

package docs_test

import (
	"regexp"
	"testing"
	"time"
)

// A Parse Server that is killed takes its LiveQuery connections along: the lease of its node ends.
func TestFaultAKilledParseServerLeavesNoUserOnline(t *testing.T) {
	s := startParseServer(t)
	stay := s.node(s.address, s.rollcall, "stay.js")
	printed := start(t, stay)
	online := regexp.MustCompile(`(?m)^(\S+) is 1$`)
	eventually(t, "a user is online", func() bool { return online.MatchString(printed.String()) })
	peer := online.FindStringSubmatch(printed.String())[1]
	if err := s.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	eventually(t, "the user is offline", func() bool { return status(t, s.rollcall, peer) == isOffline })
	t.Logf("offline %v after the kill", time.Since(killed))
}
