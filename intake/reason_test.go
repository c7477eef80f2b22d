package intake_test

import (
	"testing"

	"rollcall/intake"
	"rollcall/presence"
)

// The reason "reconciled" is that of rollcall: a source that gives it has given none.
func TestNoSourceGivesTheReasonReconciled(t *testing.T) {
	for why, want := range map[string]presence.Cause{
		"logout": presence.CauseLogout, "reconciled": presence.CauseUnknown, "timeout": presence.CauseLost, "no such": presence.CauseUnknown,
	} {
		e, err := intake.ParseEvent([]byte(`{"peer":"tom","session":"1","state":"offline","why":"` + why + `"}`))
		if err != nil || e.Cause != want {
			t.Errorf("%s: %v, %v; want %v", why, e.Cause, err, want)
		}
	}
}
