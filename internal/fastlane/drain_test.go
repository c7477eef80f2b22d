package fastlane_test

import (
	"bufio"
	"testing"
	"testing/synctest"
	"time"
)

// While the server drains, an idle connection stays, and what comes on it is net/http's to answer.
func TestADrainingLaneHandsRequestsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		say(t, c, ask)
		answered(t, r, 200, "hi")
		if err := lane.Drain(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		say(t, c, ask)
		answered(t, r, 200, "slow")
		if taken, handed := lane.Stats(); taken != 1 || handed != 1 {
			t.Errorf("%d answered in the lane, %d handed over", taken, handed)
		}
	})
}
