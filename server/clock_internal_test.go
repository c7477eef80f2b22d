package server

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
)

func TestTheClockRunsByTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock()
		start := c.Now()
		time.Sleep(36 * time.Hour)
		if got := c.Now().Sub(start); got != 36*time.Hour {
			t.Errorf("36h later the clock has run %v", got)
		}
	})
	// Only a time that kept its monotonic reading is measured by it.
	if c := NewClock(); !strings.Contains(c.start.String(), "m=") {
		t.Error("the start of the clock has lost its monotonic reading")
	}
}

func TestAClockMayGoByTheStore(t *testing.T) {
	c := NewClock().By(func() presence.Millis { return 7 })
	if c.Now() != 7 || c.Up() < 0 {
		t.Errorf("now %d, up %v", c.Now(), c.Up())
	}
}
