package fastlane_test

import (
	"bufio"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A head that is not whole yet costs the lane's buffer alone, whatever it asks for.
func TestAHeadThatDoesNotEndStaysInTheLane(t *testing.T) {
	for _, begun := range []string{
		"G", "GET /v1/info", "GET /v1/info HTTP/1.1\r\n", "GET /v1/info HTTP/1.1\r\nHost: a\r\nX-A: b\r\n", "POST /hot HTTP/1.1\r\nExpect: 100-continue\r",
	} {
		synctest.Test(t, func(t *testing.T) {
			p, lane := start(t, true, nil)
			c := p.dial()
			defer c.Close()
			for _, b := range begun {
				say(t, c, string(b))
			}
			synctest.Wait()
			if _, handed := lane.Stats(); handed != 0 {
				t.Errorf("%q is handed over", begun)
			}
			if after := ends(t, c); after != 5*time.Second {
				t.Errorf("%q is ended after %v", begun, after)
			}
		})
	}
}

func TestAHeadThatComesInPiecesIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		say(t, c, ask)
		answered(t, r, 200, "hi")
		for _, b := range "GET /cold HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n" {
			say(t, c, string(b))
		}
		answered(t, r, 200, "slow")
		if lane, handed := lane.Stats(); lane != 1 || handed != 1 {
			t.Errorf("%d are answered in the lane, %d handed over", lane, handed)
		}
	})
}

// What net/http refuses before a head is whole it gets at once.
func TestAHeadThatIsWrongIsHandedOverAtOnce(t *testing.T) {
	for _, wrong := range []string{
		"GET\r\n", "GET  HTTP/1.1\r\n", "GET /a b HTTP/1.1\r\n", "GET /a HTTP/3.0\r\n", "GET a HTTP/1.1\r\n", "GET /a HTTP/1.1\n", "\x16\x03\x01",
		"GET /a HTTP/1.1\r\n a: b\r\n", "GET /a HTTP/1.1\r\na : b\r\n", "GET /a HTTP/1.1\r\nno colon\r\n", "GET /a HTTP/1.1\r\na: \x01",
		"GET /a HTTP/1.1\r\nLong: " + strings.Repeat("a", 9<<10),
	} {
		synctest.Test(t, func(t *testing.T) {
			p, lane := start(t, true, nil)
			c := p.dial()
			defer c.Close()
			go func() { _, _ = c.Write([]byte(wrong)) }()
			synctest.Wait()
			if _, handed := lane.Stats(); handed != 1 {
				t.Errorf("%.40q waits for the rest", wrong)
			}
		})
	}
}
