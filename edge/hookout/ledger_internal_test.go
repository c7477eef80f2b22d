package hookout

import (
	"testing"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// TestASettlementThatIsRepeatedLeavesANewRecord: the store may have settled a session although it
// failed; before the retry, its own node, which was taken for dead, may have recorded it again.
func TestASettlementThatIsRepeatedLeavesANewRecord(t *testing.T) {
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	ledger := func(node presence.NodeID) *Ledger {
		return &Ledger{Store: store, Node: node, Shared: true, Now: func() presence.Millis { return 2000 }}
	}
	own, survivor := ledger("own"), ledger("survivor")
	r := ref{"app", "tom", "s1", 1000}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(own.enter(t.Context(), []owed{{ref: r}}))
	if mine, err := survivor.claim(t.Context(), []presence.NodeID{"own"}, []ref{r}); err != nil || !mine[0] {
		t.Fatalf("the survivor has claimed %v, %v", mine, err)
	}
	done := []settlement{{r, true}}
	must(survivor.settle(t.Context(), done))
	must(own.enter(t.Context(), []owed{{ref: r}}))
	must(survivor.settle(t.Context(), done))
	if at, err := own.standings(t.Context(), []ref{r}); err != nil || at[0] != here {
		t.Errorf("the session is %v, %v after the retry, not on record on its node", at, err)
	}
	must(own.settle(t.Context(), []settlement{{r, false}}))
	if at, err := own.standings(t.Context(), []ref{r}); err != nil || at[0] != absent {
		t.Errorf("the session is %v, %v after its own node has settled it", at, err)
	}
}
