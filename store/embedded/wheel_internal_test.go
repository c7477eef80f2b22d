package embedded

import (
	"slices"
	"testing"

	"rollcall/presence"
)

// A peer whose deadline moved away from a slot and back has two entries there, and is due once.
func TestADeadlineThatComesBackIsDueOnce(t *testing.T) {
	const (
		peer         = 7
		early, later = presence.Millis(10_000), presence.Millis(20_000)
	)
	w := newWheel()
	w.cover(0, later+second)
	deadline := later
	due := func(now presence.Millis) (found []uint64) {
		w.due(now, func(uint64) presence.Millis { return deadline }, func(p uint64) bool {
			found = append(found, p)
			return true
		})
		return found
	}
	w.arm(peer, later)
	w.arm(peer, early)
	if found := due(early); found != nil {
		t.Errorf("due before its deadline: %d", found)
	}
	if found := due(later); !slices.Equal(found, []uint64{peer}) {
		t.Errorf("due at its deadline: %d", found)
	}
	deadline = 0
	if found := due(later); found != nil || w.len() != 0 {
		t.Errorf("settled and still due: %d, %d armed", found, w.len())
	}
}
