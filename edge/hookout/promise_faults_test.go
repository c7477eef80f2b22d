//go:build faults

package hookout_test

import "testing"

// TestFaultWhatIsSentOnlineIsSentOffline is TestWhatIsSentOnlineIsSentOffline at length.
func TestFaultWhatIsSentOnlineIsSentOffline(t *testing.T) {
	for _, shared := range []bool{true, false} {
		playSeeds(t, 1000, 2000, shared)
	}
}
