package gateway_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/internal/api"
	"rollcall/presence"
)

// slowLogin lets the first login wait on its way to the store, as one does whose packet is late.
type slowLogin struct {
	gateway.Service
	held    atomic.Bool
	entered chan struct{}
	release chan struct{}
}

func (s *slowLogin) Report(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	for i := range reports {
		if reports[i].Kind == presence.KindOnline && reports[i].Source == presence.SourceGateway && !s.held.Swap(true) {
			close(s.entered)
			<-s.release
		}
	}
	return s.Service.Report(ctx, reports, now, out)
}

// A login that is overtaken while it waits for the store must not bring its session back behind the
// back of what ended it: nothing would ever end it again.
func TestALoginThatLostItsPlaceWhileItOpenedLeavesNothing(t *testing.T) {
	tests := []struct {
		name          string
		first, second message // no second: the peer is kicked
		code          int64
	}{
		{"another device with the tag", message{sTag: "Mobile", sDevice: "a"}, message{sTag: "Mobile", sDevice: "b"}, 4111},
		{"a kick", message{sTag: "Mobile", sDevice: "a"}, nil, 4115},
		{"a kick without a tag", nil, nil, 4115},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slow := &slowLogin{entered: make(chan struct{}), release: make(chan struct{})}
			w := newWorld(t, settings{service: func(s gateway.Service) gateway.Service {
				slow.Service = s
				return slow
			}})
			a, b := w.dial("lc.protobuf2.3"), w.dial("lc.protobuf2.3")
			a.send(build(open("Tom", 1, tt.first)))
			<-slow.entered
			if tt.second != nil {
				b.login("Tom", tt.second)
			} else if err := w.gw.Kick(context.Background(), appID, "Tom", ""); err != nil {
				t.Fatal(err)
			}
			close(slow.release)
			if m := parse(t, a.receive()); m.number(fCmd) != 7 || m.code() != tt.code {
				t.Errorf("the login that lost its place was answered by %v", m)
			}
			if tt.second != nil {
				if q := b.ask(query(9, "Tom")); q.number(fOp) != opResult {
					t.Errorf("the login that took the place does not stay: %v", q)
				}
				b.ask(message{fCmd: 0, fOp: 4, fPeer: "Tom", fI: 10})
			}
			if got := w.status("Tom"); got == presence.Online {
				t.Error("Tom is online and nobody is there")
			}
			if n := w.gw.Stats().Sessions; n != 0 {
				t.Errorf("%d sessions are counted, want none", n)
			}
		})
	}
}

// A node begins to stop while a login waits for the store. The login is not answered, and its
// session has the node's grace as all others have: the client is on its way to another node.
func TestALoginThatItsNodesDrainOvertakesHasTheGrace(t *testing.T) {
	slow := &slowLogin{entered: make(chan struct{}), release: make(chan struct{})}
	w := newWorld(t, settings{service: func(s gateway.Service) gateway.Service {
		slow.Service = s
		return slow
	}})
	c := w.dial("lc.protobuf2.3")
	c.send(build(open("Tom", 1, nil)))
	<-slow.entered
	drained := make(chan error, 1)
	go func() { drained <- w.gw.Drain(context.Background()) }()
	if got := c.closeCode(); got != 1001 {
		t.Errorf("the socket is closed with %d, want 1001", got)
	}
	close(slow.release)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	w.closeDoors()
	if got := w.status("Tom"); got != presence.Online {
		t.Errorf("Tom is %v, want online", got)
	}
}

// kickBetween kicks Tom right after a login has read that no kick is recorded.
type kickBetween struct {
	presence.Store
	once sync.Once
	kick func()
}

func (s *kickBetween) Load(ctx context.Context, key presence.Key, st *presence.State) error {
	err := s.Store.Load(ctx, key, st)
	if key.App != appID {
		s.once.Do(s.kick)
	}
	return err
}

// A kick that comes between the check of a login and its place in the registry finds no session to
// end, and the login finds no kick: it asks again.
func TestAKickBesideALoginThatIsAdmittedEndsIt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		login func(now presence.Millis, st string) message
		code  int64
	}{
		{"by token", func(_ presence.Millis, st string) message { return message{sR: 1, sSt: st} }, 4112},
		{"by signature", func(now presence.Millis, _ string) message {
			return message{sT: int64(now), sN: "n", sS: api.SignLogin(masterKey, appID, "Tom", int64(now), "n")}
		}, 4102},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newStore(t)
			first := newWorld(t, settings{store: store, rtm: func(c *rtm.Config) { c.Signatures = true }})
			made := first.clock.Load()
			st := first.dial("lc.protobuf2.3").login("Tom", message{sT: made, sN: "f", sS: api.SignLogin(masterKey, appID, "Tom", made, "f")})
			first.close()
			between := &kickBetween{Store: store}
			var online atomic.Int64
			w := newWorld(t, settings{
				store: between, node: "node-2", clock: presence.Millis(first.clock.Load()).Add(time.Second),
				rtm: func(c *rtm.Config) { c.Signatures = true },
				events: func(e gateway.Event) {
					if e.Online {
						online.Add(1)
					}
				},
			})
			between.kick = func() {
				if err := w.gw.Kick(context.Background(), appID, "Tom", "because"); err != nil {
					t.Error(err)
				}
			}
			now := presence.Millis(w.clock.Load())
			if a := w.dial("lc.protobuf2.3").ask(open("Tom", 1, tt.login(now, st))); a.code() != tt.code {
				t.Errorf("the login was answered by %v, want code %d", a, tt.code)
			}
			w.until("Tom is offline", func() bool { return w.status("Tom") == presence.Offline && w.gw.Idle() })
			if st := w.gw.Stats(); st.Sessions != 0 || online.Load() != 0 || st.Refused["login"] != 1 {
				t.Errorf("%d sessions are open, %d logins told of, counted %v", st.Sessions, online.Load(), st.Refused)
			}
			later := int64(w.clock.Load())
			w.dial("lc.protobuf2.3").login("Tom", message{sT: later, sN: "l", sS: api.SignLogin(masterKey, appID, "Tom", later, "l")})
		})
	}
}

// A kick, a logout and the end of the socket that come together end a session once: in the counts,
// and for the hooks of logins, whose receivers would otherwise count it for ever.
func TestASessionThatEndsInSeveralWaysEndsOnce(t *testing.T) {
	var began, ended atomic.Int64
	w := newWorld(t, settings{events: func(e gateway.Event) {
		if e.Online {
			began.Add(1)
		} else {
			ended.Add(1)
		}
	}})
	const rounds = 100
	for range rounds {
		c := w.dial("lc.protobuf2.3")
		c.login("Tom", nil)
		c.send(build(message{fCmd: 0, fOp: opClose, fPeer: "Tom", fI: 2}))
		var both sync.WaitGroup
		both.Go(func() {
			if err := w.gw.Kick(context.Background(), appID, "Tom", ""); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() { w.gw.CloseSockets(1001, "") })
		both.Wait()
		_ = c.conn.CloseNow()
	}
	w.until("all sockets are gone", func() bool { return w.gw.Stats().Sockets == 0 })
	w.until("every session has ended once", func() bool { return ended.Load() == rounds && w.gw.Stats().Sessions == 0 })
	if began.Load() != rounds {
		t.Errorf("%d logins are told of, want %d", began.Load(), rounds)
	}
	if w.status("Tom") == presence.Online {
		t.Error("Tom is online")
	}
}
