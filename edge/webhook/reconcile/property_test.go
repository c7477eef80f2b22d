package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// inFlight is how late events are at most: as late as the lag says they may be.
const inFlight = 9 * time.Second

// A person logs in and out at the product. Events of it are late by any time up to inFlight, and
// some ends are lost.
type person struct {
	id      presence.PeerID
	session presence.SessionID // "": logged out
	known   time.Time          // from when on the product's event of the login has arrived
}

// live lets p live on at the product for a while.
func (p *person) live(w *world, draw *rand.Rand, n int, end time.Time) {
	for time.Now().Before(end) {
		time.Sleep(time.Duration(draw.Int64N(int64(20 * time.Minute))))
		e := intake.Event{Peer: p.id, At: now()}
		w.product.mu.Lock()
		if p.session == "" {
			p.session = presence.SessionID(fmt.Sprintf("%s-%d", p.id, n))
			n++
			e.Kind, e.Session = presence.KindOnline, p.session
			w.product.online[p.id] = []webhook.FoundSession{{ID: p.session}}
			p.known = time.Now().Add(inFlight)
		} else {
			e.Kind, e.Session, e.Cause = presence.KindOffline, p.session, presence.CauseLogout
			delete(w.product.online, p.id)
			p.session = ""
		}
		w.product.mu.Unlock()
		if e.Kind == presence.KindOffline && draw.IntN(15) == 0 {
			continue // the event is lost
		}
		if w.product.counted {
			e.Session, e.At = "", 0
		}
		time.AfterFunc(time.Duration(draw.Int64N(int64(inFlight))), func() {
			from := w.source.Sender()
			if _, err := w.in.Take(w.t.Context(), &from, &e); err != nil {
				w.t.Error(err)
			}
		})
	}
}

// Whatever is under way between the product and the server, in any order, no peer that the product
// has is shown offline; and what lost ends left wrong is right after a round.
func TestNoneIsShownOfflineThatIsThere(t *testing.T) {
	for seed := range uint64(3) {
		each(t, func(t *testing.T, w *world) {
			w.source.Reconcile.Every = 10 * time.Minute
			w.start()
			end := time.Now().Add(8 * time.Hour)
			people := make([]*person, 12)
			for i := range people {
				people[i] = &person{id: presence.PeerID(fmt.Sprint("p", i))}
				draw := rand.New(rand.NewPCG(seed, uint64(i)))
				go people[i].live(w, draw, 0, end)
			}
			for time.Now().Before(end) {
				time.Sleep(5 * time.Second)
				synctest.Wait()
				w.product.mu.Lock()
				for _, p := range people {
					if p.session != "" && time.Now().After(p.known) && w.status(p.id) != presence.Online {
						w.product.mu.Unlock()
						t.Fatalf("seed %d, at %v: %s is shown %v, and the product has it", seed, time.Now(), p.id, w.status(p.id))
					}
				}
				w.product.mu.Unlock()
			}
			time.Sleep(45 * time.Minute) // the last step of each, and two rounds
			w.product.mu.Lock()
			defer w.product.mu.Unlock()
			for _, p := range people {
				if is := w.status(p.id) == presence.Online; is != (p.session != "") {
					t.Errorf("seed %d: %s is shown %v, the product has %q", seed, p.id, w.status(p.id), p.session)
				}
			}
			if st := w.stats(); st.Ghost == 0 || st.Full == 0 {
				t.Errorf("nothing was found: %+v", st)
			}
		})
	}
}
