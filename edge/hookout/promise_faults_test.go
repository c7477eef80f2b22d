//go:build faults

package hookout_test

import "testing"

// TestFaultWhatIsSentOnlineIsSentOffline is TestWhatIsSentOnlineIsSentOffline at length.
func TestFaultWhatIsSentOnlineIsSentOffline(t *testing.T) {
	playSeeds(t, 1000, 1600, true)
	playSeeds(t, 1000, 1300, false)
}
