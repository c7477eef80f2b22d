package outage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"rollcall/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const now = presence.Millis(1_767_225_600_000)

// A shelf is a store in a map.
type shelf struct {
	states  map[presence.Key][]byte
	away    bool
	waits   map[presence.PeerID]bool
	signals int
}

var errGone = errors.New("gone")

func (s *shelf) Replay(_ context.Context, list []Record) []error {
	errs := make([]error, len(list))
	for i, r := range list {
		if s.away || s.waits[r.Report.Peer] {
			errs[i] = errGone
			continue
		}
		s.states[r.Report.Key()] = Over(s.states[r.Report.Key()], list[i:i+1], now, &rules)
	}
	return errs
}

func (s *shelf) Waits(error) (waits, held bool)       { return !s.away, false }
func (s *shelf) Last(presence.Key) (p []byte, k bool) { return nil, false }
func (s *shelf) Signal([]presence.Key)                { s.signals++ }

var rules = presence.DefaultRules()

func report(peer string, i int) presence.Report {
	return presence.Report{
		App: "a", Peer: presence.PeerID(peer), Source: presence.SourceLeanCloud, Kind: presence.KindOnline, At: now.Add(0) + presence.Millis(i), ID: fmt.Sprint(i),
	}
}

func open(t *testing.T, below Below) *Box {
	t.Helper()
	b, err := Open(Config{Dir: t.TempDir(), Bytes: 1 << 20, Rules: rules, Log: slog.New(slog.DiscardHandler)}, below)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestNoOrderLeavesAPeerInTheOverlay: whenever the spool is drained between the steps of a report
// that goes there, and whenever another report comes between the steps of a drain, the overlay is
// empty when the spool is.
func TestNoOrderLeavesAPeerInTheOverlay(t *testing.T) {
	spool := func(t *testing.T, b *Box, peer string, i int) {
		t.Helper()
		if err := b.Spool([]presence.Report{report(peer, i)}, now, make([]presence.Outcome, 1)); err != nil {
			t.Error(err)
		}
	}
	for _, stage := range []string{"before the append", "after the append", "after the replay"} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprint(stage, " ", away), func(t *testing.T) {
				s := &shelf{states: map[presence.Key][]byte{}, away: away}
				b := open(t, s)
				times := 0
				b.onPause = func(at string) {
					if at != stage || times > 3 {
						return
					}
					times++
					if at == "after the replay" {
						spool(t, b, "tom", 100+times) // behind, and of the same peer
						return
					}
					s.away = !s.away // it goes and comes
					records, err := b.spool.Next(b.cursor.at, 16)
					if err != nil {
						t.Error(err)
					}
					if len(records) > 0 {
						b.deliver(t.Context(), records)
					}
				}
				for i := range 4 {
					spool(t, b, "tom", i)
					b.Again()
					b.Drain(t.Context())
				}
				b.onPause, s.away = nil, false
				b.Again()
				if !b.Drain(t.Context()) || b.Overlaid() || len(b.overlay) > 0 || b.Spooling() || b.spool.Len() > 0 {
					t.Errorf("overlay %v, %d records in the spool, spooling %v", b.overlay, b.spool.Len(), b.Spooling())
				}
				if s.signals == 0 {
					t.Error("no read follows")
				}
			})
		}
	}
}

// TestARecordThatWaitsHoldsUpNoOther, and its peer stays in the overlay until it is applied; a box
// that opens on the spool of another process knows who waits.
func TestARecordThatWaitsHoldsUpNoOther(t *testing.T) {
	s := &shelf{states: map[presence.Key][]byte{}, waits: map[presence.PeerID]bool{"tom": true}}
	b := open(t, s)
	for i, peer := range []string{"tom", "ann", "tom", "bob"} {
		if err := b.Spool([]presence.Report{report(peer, i)}, now, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
	}
	tom, ann := presence.Key{App: "a", Peer: "tom"}, presence.Key{App: "a", Peer: "ann"}
	if !b.Drain(t.Context()) || b.Waiting() != 2 || len(b.Waits([]presence.Key{tom, ann})) != 1 {
		t.Errorf("%d wait, of %v", b.Waiting(), b.Waits([]presence.Key{tom, ann}))
	}
	if l, ok := b.Layer(tom); !ok || len(l.Records) != 2 || l.Summary.Status != presence.Online {
		t.Errorf("the overlay has %+v of tom", l)
	}
	if _, ok := b.Layer(ann); ok {
		t.Error("ann is in the overlay, and nothing of ann in the spool")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Open(b.cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if w := next.Waits([]presence.Key{ann, tom}); len(w) == 0 || w[len(w)-1] != 1 || !next.Spooling() {
		t.Errorf("after a restart %v wait", w)
	}
	s.waits = nil
	next.Again()
	if !next.Drain(t.Context()) || next.Overlaid() || next.Spooling() {
		t.Error("the spool is not drained")
	}
}
