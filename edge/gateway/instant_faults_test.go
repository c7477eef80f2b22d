//go:build faults

package gateway_test

import (
	"fmt"
	"testing"
	"time"
)

// Two devices are present with one tag at one instant, on two nodes and on sockets that have just
// been opened. Exactly one stays, the other is sent so within a second, and the answer to a login
// comes before its end.
func TestFaultOfTwoLoginsAtOneInstantTheLoserIsSentSo(t *testing.T) {
	a, b := twoNodes(t)
	const rounds = 1000
	var slowest time.Duration
	atOnce := 0
	for n := range rounds {
		clients := [2]*speaker{a.speak(appKey), b.speak(appKey)}
		peer := fmt.Sprintf("peer-%d", n)
		type end struct {
			who      int
			conflict bool // the login itself was refused
		}
		ends, begun := make(chan end, 4), time.Now()
		opened := make(chan int, 2)
		for i, c := range clients {
			go func() {
				c.send(fmt.Sprintf(`{"op":"present","id":2,"peer":%q,"device":"d%d","tag":"Web"}`, peer, i))
				present := false
				for {
					m, err := c.next()
					switch {
					case err != nil:
						return
					case m["op"] == "ok" && m["id"] == float64(9):
					case m["op"] == "ok":
						present = true
						opened <- i
					case m["op"] == "ended" && !present:
						t.Errorf("round %d: client %d is sent its end before the answer to its login", n, i)
						ends <- end{who: i}
					case m["op"] == "ended":
						ends <- end{who: i}
					case m["code"] == "conflict":
						ends <- end{i, true}
					default:
						t.Errorf("round %d: client %d is sent %v", n, i, m)
					}
				}
			}()
		}
		var lost end
		select {
		case lost = <-ends:
		case <-time.After(patience):
			t.Fatalf("round %d: no client is sent its end in %v", n, patience)
		}
		slowest = max(slowest, time.Since(begun))
		want := 2
		if lost.conflict {
			want, atOnce = 1, atOnce+1
		}
		for range want {
			select {
			case <-opened:
			case <-time.After(patience):
				t.Fatalf("round %d: not all logins are answered", n)
			}
		}
		a.until("one session is left in the store", func() bool { return liveSessions(t, a, peer) == 1 })
		winner := clients[1-lost.who]
		winner.send(`{"op":"absent","id":9}`)
		select {
		case e := <-ends:
			t.Fatalf("round %d: both lost: %v and %v", n, lost, e)
		case <-time.After(5 * time.Millisecond):
		}
		for _, c := range clients {
			_ = c.conn.CloseNow()
		}
	}
	t.Logf("the slowest of %d was sent after %v; %d were refused at the login", rounds, slowest, atOnce)
}
